/* embed.cuh - rows of a packed weight as f32; a template by inclusion: EMBED_NAME, EMBED_W (a
 * simt_format), EMBED_SCALE, EMBED_FEATURES 0 or 1. Pointers and constants are those of kernels/cpu/embed.h. */
SIMT_KERNEL(EMBED_NAME)
{
   SIMT_BEGIN(a);
   const simt_i64 row = simt_tile(), depth = a->konst[E_K];
   simt_i64 id = ((const simt_i32 *)a->ptr[1])[row];

#if EMBED_FEATURES
   if (id < 0) {
      const float *from = (const float *)a->ptr[3] + (-1 - id) * depth;
      for (simt_i64 k = simt_thread(); k < depth; k += SIMT_THREADS)
         ((float *)a->ptr[0])[row * depth + k] = from[k] * EMBED_SCALE;
      return;
   }
#endif
   if (id < 0 || id >= a->konst[E_N])
      id = 0;
   const simt_u8 *panel = (const simt_u8 *)a->ptr[2] + id / PANEL_ROWS * a->konst[E_PANEL_BYTES];
   for (simt_i64 k = simt_thread(); k < depth; k += SIMT_THREADS)
      ((float *)a->ptr[0])[row * depth + k] =
         simt_weight(EMBED_W, panel, k, (int)(id % PANEL_ROWS)) * EMBED_SCALE;
}
#undef EMBED_NAME
#undef EMBED_W
#undef EMBED_SCALE
#undef EMBED_FEATURES
