/* compress.cuh - the entry of the chunk that a row closes, or zeros; a template by inclusion. Pointers:
 * kernels/cpu/sparse.h.
 *
 *    COMPRESS_NAME, COMPRESS_WIDTH (of a row), COMPRESS_START (of values in it), COMPRESS_D, COMPRESS_RATIO, COMPRESS_OVERLAP
 *    COMPRESS_LOAD(base, i)
 *
 * A thread takes a channel: a softmax over the chunk's positions, with overlap those of the chunk before in front. */
#define COMPRESS_WIDE (COMPRESS_D * (1 + COMPRESS_OVERLAP))

/* Where the channel's value of place j lies; its gate is COMPRESS_WIDE behind it. */
SIMT_FN simt_i64 SIMT_PASTE(COMPRESS_NAME, _at)(const simt_i32 *table, simt_i64 first, int before,
                                                int j, simt_i64 column)
{
   const simt_i64 position = first + j - (before ? COMPRESS_RATIO : 0);

   return state_position(table, position) * COMPRESS_WIDTH + COMPRESS_START + column;
}

SIMT_KERNEL(COMPRESS_NAME)
{
   enum { BLOCKS = (COMPRESS_D + SIMT_THREADS - 1) / SIMT_THREADS };
   SIMT_BEGIN(a);
   const simt_i64 row = simt_tile() / BLOCKS;
   const simt_i64 i = simt_tile() % BLOCKS * SIMT_THREADS + simt_thread();
   const simt_i64 end = state_closed(a->ptr[3], row, COMPRESS_RATIO) * COMPRESS_RATIO;
   const simt_i64 first = end - COMPRESS_RATIO;
   const simt_i32 *table = state_table(a, a->ptr[5], a->ptr[4], row);
   const float *place = (const float *)a->ptr[2];
   float most = -simt_float(0x7f800000u), sum = 0, total = 0;

   if (i >= COMPRESS_D)
      return;
   if (end != ((const simt_i32 *)a->ptr[3])[row] + 1) {
      ((float *)a->ptr[0])[row * COMPRESS_D + i] = 0;
      return;
   }
   for (int pooling = 0; pooling < 2; pooling++)
      for (int before = COMPRESS_OVERLAP && first > 0; before >= 0; before--) {
         const simt_i64 column = COMPRESS_OVERLAP && !before ? COMPRESS_D + i : i;
         for (int j = 0; j < COMPRESS_RATIO; j++) {
            const simt_i64 at = SIMT_PASTE(COMPRESS_NAME, _at)(table, first, before, j, column);
            const float gate =
               COMPRESS_LOAD(a->ptr[1], at + COMPRESS_WIDE) + place[j * COMPRESS_WIDE + column];
            if (!pooling) {
               most = simt_max(gate, most);
               continue;
            }
            const float e = simt_exp(gate - most);
            sum += e;
            total = simt_fma(e, COMPRESS_LOAD(a->ptr[1], at), total);
         }
      }
   ((float *)a->ptr[0])[row * COMPRESS_D + i] = total / sum;
}
#undef COMPRESS_WIDE
#undef COMPRESS_NAME
#undef COMPRESS_WIDTH
#undef COMPRESS_START
#undef COMPRESS_D
#undef COMPRESS_RATIO
#undef COMPRESS_OVERLAP
#undef COMPRESS_LOAD
