/* sparse.cuh - attention of one row over rows that are key and value, its window and then entries; a template by inclusion.
 * Pointers: kernels/cpu/sparse.h.
 *
 *    SPARSE_NAME, SPARSE_H, SPARSE_D, SPARSE_BLOCK (heads of a block, a divisor of SPARSE_H), SPARSE_WINDOW, SPARSE_SCALE
 *    SPARSE_RATIO (0: no entries), SPARSE_CHOSEN, SPARSE_K (ids of a row)
 *    SPARSE_LOAD_Q, SPARSE_LOAD_KV, SPARSE_LOAD_ENTRY(base, i), SPARSE_STORE(base, i, v)
 *    SPARSE_MIXED   whether entries are of another type: a branch in loops costs registers
 *
 * SIMT_THREADS rows at a time: a thread scores one, then they share the columns. Such blocks are folded in order. An empty
 * one folds nothing: a row without entries has the bits of one that has no such state. */
#define SPARSE_OUTS (SPARSE_BLOCK * SPARSE_D / SIMT_THREADS + (SPARSE_BLOCK * SPARSE_D % SIMT_THREADS != 0))

typedef struct SIMT_PASTE(SPARSE_NAME, _shared)
{
   float q[SPARSE_BLOCK][SPARSE_D];
   float p[SPARSE_BLOCK][SIMT_THREADS];
   float each[2][SPARSE_BLOCK][SIMT_WARPS];
   simt_i64 at[SIMT_THREADS]; /* first element of a row */
}
SIMT_PASTE(SPARSE_NAME, _shared);

SIMT_FN float SIMT_PASTE(SPARSE_NAME, _load)(const void *pages, int entries, simt_i64 i)
{
#if SPARSE_MIXED
   if (entries)
      return SPARSE_LOAD_ENTRY(pages, i);
#endif
   (void)entries;
   return SPARSE_LOAD_KV(pages, i);
}

/* Folds `count` rows into m, l, o; the thread's own one begins at element `own`. Threads without a row take another's, those
 * without a column head 0: loops that all go through cost no registers for meeting again. */
SIMT_FN void SIMT_PASTE(SPARSE_NAME, _rows)(SIMT_PASTE(SPARSE_NAME, _shared) * s, const void *pages,
                                            int entries, int count, simt_i64 own, float *m, float *l,
                                            float *o)
{
   const int t = simt_thread();
   float score[SPARSE_BLOCK], mc[SPARSE_BLOCK], lc[SPARSE_BLOCK], oc[SPARSE_OUTS];

   simt_sync(); /* the rows of the last block have been read; queries are there */
   s->at[t] = own;
   SIMT_UNROLL
   for (int h = 0; h < SPARSE_BLOCK; h++)
      score[h] = 0;
   for (int c = 0; c < SPARSE_D; c++) {
      const float k = SIMT_PASTE(SPARSE_NAME, _load)(pages, entries, own + c);
      SIMT_UNROLL
      for (int h = 0; h < SPARSE_BLOCK; h++)
         score[h] = simt_fma(s->q[h][c], k, score[h]);
   }
   SIMT_UNROLL
   for (int h = 0; h < SPARSE_BLOCK; h++)
      score[h] = t < count ? score[h] * SPARSE_SCALE : -simt_float(0x7f800000u);
   attn_weights(SPARSE_BLOCK, 1, score, &s->p[0][0], &s->each[0][0][0], mc, lc);
   SIMT_UNROLL
   for (int i = 0; i < SPARSE_OUTS; i++) {
      const int e = t + i * SIMT_THREADS, c = e % SPARSE_D;
      const int h = e / SPARSE_D < SPARSE_BLOCK ? e / SPARSE_D : 0;
      float sum = 0;
      for (int j = 0; j < count; j++)
         sum = simt_fma(s->p[h][j], SIMT_PASTE(SPARSE_NAME, _load)(pages, entries, s->at[j] + c), sum);
      oc[i] = sum;
   }
   attn_fold(SPARSE_BLOCK, SPARSE_OUTS, m, l, o, mc, lc, oc, SPARSE_D);
}

/* y of a block of heads, from `first` on. */
SIMT_FN void SIMT_PASTE(SPARSE_NAME, _store)(void *y, simt_i64 first, const float *l, const float *o)
{
   SIMT_UNROLL
   for (int i = 0; i < SPARSE_OUTS; i++) {
      const int e = simt_thread() + i * SIMT_THREADS;
      float total = 1;
      SIMT_UNROLL
      for (int h = 0; h < SPARSE_BLOCK; h++)
         total = h == e / SPARSE_D ? l[h] : total;
      if (e < SPARSE_BLOCK * SPARSE_D)
         SPARSE_STORE(y, first + e, o[i] / total);
   }
}

SIMT_KERNEL(SPARSE_NAME)
{
   enum { BLOCKS = SPARSE_H / SPARSE_BLOCK, SOURCES = 1 + (SPARSE_RATIO != 0) };
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(SPARSE_NAME, _shared), s);
   const simt_i64 row = simt_tile() / BLOCKS, t = simt_thread();
   const simt_i64 first = simt_tile() * SPARSE_BLOCK * SPARSE_D; /* of q and y */
   const simt_i64 last = ((const simt_i32 *)a->ptr[4])[row];
   const simt_i64 from = last + 1 > SPARSE_WINDOW ? last + 1 - SPARSE_WINDOW : 0;
   const simt_i32 *table = state_table(a, a->ptr[6], a->ptr[5], row);
#if SPARSE_CHOSEN
   const simt_i32 *ids = (const simt_i32 *)a->ptr[9] + row * SPARSE_K;
#endif
   float m[SPARSE_BLOCK], l[SPARSE_BLOCK], o[SPARSE_OUTS];

   SIMT_UNROLL
   for (int h = 0; h < SPARSE_BLOCK; h++) {
      m[h] = ((const float *)a->ptr[3])[simt_tile() % BLOCKS * SPARSE_BLOCK + h];
      l[h] = 1;
   }
   SIMT_UNROLL
   for (int i = 0; i < SPARSE_OUTS; i++)
      o[i] = 0;
   for (simt_i64 i = t; i < SPARSE_BLOCK * SPARSE_D; i += SIMT_THREADS)
      s->q[i / SPARSE_D][i % SPARSE_D] = SPARSE_LOAD_Q(a->ptr[1], first + i);
   for (int source = 0; source < SOURCES; source++) {
      const void *pages = a->ptr[2];
      simt_i64 count = last + 1 - from;
#if SPARSE_RATIO
      if (source) {
         pages = a->ptr[7];
         table = state_table(a, a->ptr[8], a->ptr[5], row);
         count = state_closed(a->ptr[4], row, SPARSE_RATIO);
#if SPARSE_CHOSEN
         float there = 0; /* ids of entries stand in front */
         for (simt_i64 i = t; i < SPARSE_K; i += SIMT_THREADS)
            there += ids[i] >= 0 ? 1.0f : 0.0f;
         count = (simt_i64)simt_block_sum(there, &s->each[0][0][0]);
#endif
      }
#endif
      for (simt_i64 i = 0; i < count; i += SIMT_THREADS) {
         simt_i64 own = i + t < count ? i + t : 0;
         if (!source)
            own = state_position(table, from + own);
#if SPARSE_CHOSEN
         else
            own = state_entry(table, SPARSE_RATIO, ids[own]);
#elif SPARSE_RATIO
         else
            own = state_entry(table, SPARSE_RATIO, own);
#endif
         SIMT_PASTE(SPARSE_NAME, _rows)
         (s, pages, source, (int)simt_least(SIMT_THREADS, count - i), own * SPARSE_D, m, l, o);
      }
   }
   SIMT_PASTE(SPARSE_NAME, _store)(a->ptr[0], first, l, o);
}
#undef SPARSE_OUTS
#undef SPARSE_NAME
#undef SPARSE_H
#undef SPARSE_D
#undef SPARSE_BLOCK
#undef SPARSE_WINDOW
#undef SPARSE_SCALE
#undef SPARSE_RATIO
#undef SPARSE_CHOSEN
#undef SPARSE_K
#undef SPARSE_LOAD_Q
#undef SPARSE_LOAD_KV
#undef SPARSE_LOAD_ENTRY
#undef SPARSE_STORE
#undef SPARSE_MIXED
