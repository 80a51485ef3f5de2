/* conv.cuh - causal depthwise convolution over the rows of a run; a template by inclusion.
 *
 *    CONV_NAME, CONV_C (channels), CONV_W (width), CONV_PARTS, CONV_SILU, CONV_FORMAT (of the weights)
 *    CONV_PART(p, first, channels, block, norm, eps)   what part p is, by assignment
 *    CONV_TILES   blocks of all parts
 *
 * A block takes a run and a block of channels of one part; a thread takes channels of it, whose last inputs it
 * holds. Heads that are normed are gone over once more. */
typedef struct SIMT_PASTE(CONV_NAME, _shared)
{
   float each[SIMT_WARPS];
}
SIMT_PASTE(CONV_NAME, _shared);

SIMT_KERNEL(CONV_NAME)
{
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(CONV_NAME, _shared), s);
   const state_run r = state_run_of(a, CONV_PARTS + 3, simt_tile() / CONV_TILES);
   simt_i64 tile = simt_tile() % CONV_TILES;
   simt_i64 first = 0, channels = 0, block = 1;
   int part = 0, norm = 0;
   float eps = 0;
   float *state = (float *)a->ptr[CONV_PARTS];
   const float *x = (const float *)a->ptr[CONV_PARTS + 1];
   const simt_u8 *w = (const simt_u8 *)a->ptr[CONV_PARTS + 2];
   const simt_format format = CONV_FORMAT;

   for (part = 0; part < CONV_PARTS; part++) {
      CONV_PART(part, first, channels, block, norm, eps)
      if (tile < (channels + block - 1) / block)
         break;
      tile -= (channels + block - 1) / block;
   }
   const simt_i64 begin = tile * block, many = simt_least(block, channels - begin);
   float *y = (float *)a->ptr[part];
   for (simt_i64 i = simt_thread(); i < many; i += SIMT_THREADS) {
      const simt_i64 c = first + begin + i;
      const simt_u8 *panel = w + c / PANEL_ROWS * CONV_W * format.block_bytes;
      float h[CONV_W];
      SIMT_UNROLL
      for (int j = 0; j < CONV_W - 1; j++)
         h[j] = r.from < 0 ? 0 : state[(r.from * (CONV_W - 1) + j) * CONV_C + c];
      for (simt_i64 row = 0; row < r.rows; row++) {
         float sum;
         h[CONV_W - 1] = x[(r.first + row) * CONV_C + c];
         sum = simt_weight(format, panel, 0, (int)(c % PANEL_ROWS)) * h[0];
         SIMT_UNROLL
         for (int j = 1; j < CONV_W; j++)
            sum = simt_fma(simt_weight(format, panel, j, (int)(c % PANEL_ROWS)), h[j], sum);
         y[(r.first + row) * channels + begin + i] = CONV_SILU ? simt_silu(sum) : sum;
         SIMT_UNROLL
         for (int j = 0; j < CONV_W - 1; j++)
            h[j] = h[j + 1];
         SIMT_UNROLL
         for (int j = 0; j < CONV_W - 1; j++)
            if (row + 1 == r.snap_rows)
               state[(r.snap * (CONV_W - 1) + j) * CONV_C + c] = h[j];
      }
      SIMT_UNROLL
      for (int j = 0; j < CONV_W - 1; j++)
         if (r.to >= 0)
            state[(r.to * (CONV_W - 1) + j) * CONV_C + c] = h[j];
   }
   for (simt_i64 row = 0; norm && row < r.rows; row++) {
      float *at = y + (r.first + row) * channels + begin, sum = 0;
      for (simt_i64 i = simt_thread(); i < many; i += SIMT_THREADS)
         sum = simt_fma(at[i], at[i], sum);
      sum = 1.0f / simt_sqrt(simt_block_sum(sum, s->each) + eps);
      for (simt_i64 i = simt_thread(); i < many; i += SIMT_THREADS)
         at[i] = at[i] * sum;
   }
}
#undef CONV_NAME
#undef CONV_C
#undef CONV_W
#undef CONV_PARTS
#undef CONV_SILU
#undef CONV_FORMAT
#undef CONV_PART
#undef CONV_TILES
