/* indexer.cuh - which entries a row attends to; a template by inclusion. Pointers and scratch: kernels/cpu/sparse.h.
 *
 *    INDEX_NAME, INDEX_SELECT, INDEX_H (heads), INDEX_D, INDEX_RATIO, INDEX_K; INDEX_LOAD(base, i) of entries
 *
 * score: a block takes a row and the entries of a chunk of positions, INDEX_BLOCK of them by INDEX_BLOCK heads at a time; a
 * thread has some of these products. Weighed sums go over the heads in order. select: a block takes a row. */
#ifndef INDEXER_CUH
#define INDEXER_CUH

enum {
   INDEX_BLOCK = 16,
   INDEX_COLUMNS = 64, /* that are in shared memory at once */
   INDEX_PAIRS = INDEX_BLOCK * INDEX_BLOCK / SIMT_THREADS
};

typedef struct index_scoring {
   float q[INDEX_BLOCK][INDEX_COLUMNS + 1], e[INDEX_BLOCK][INDEX_COLUMNS + 1];
   float s[INDEX_BLOCK][INDEX_BLOCK + 1];
} index_scoring;

typedef struct index_choice {
   float each[SIMT_WARPS];
   simt_i32 above[SIMT_THREADS], equal[SIMT_THREADS];
} index_choice;

/* How many of n scores are at least `least`: exact, as they are fewer than 2^24. */
SIMT_FN float index_count(const float *scores, simt_i64 n, simt_u32 least, float *each)
{
   simt_i32 many = 0;

   for (simt_i64 i = simt_thread(); i < n; i += SIMT_THREADS)
      many += simt_order(scores[i]) >= least;
   return simt_block_sum((float)many, each);
}

/* The k-th largest of n scores, bit by bit. */
SIMT_FN simt_u32 index_least(const float *scores, simt_i64 n, int k, float *each)
{
   simt_u32 bits = 0;

   for (int b = 31; b >= 0; b--)
      if (index_count(scores, n, bits | 1u << b, each) >= (float)k)
         bits |= 1u << b;
   return bits;
}

/* Numbers of the k largest, ascending; of those that equal the last one the first ones. A thread takes neighbours. */
SIMT_FN void index_take(const float *scores, simt_i64 n, int k, simt_i32 *ids, index_choice *s)
{
   const simt_u32 least = index_least(scores, n, k, s->each);
   const simt_i64 share = (n + SIMT_THREADS - 1) / SIMT_THREADS;
   const simt_i64 from = simt_thread() * share, to = simt_least(from + share, n);
   simt_i32 above = 0, equal = 0, all = 0;

   for (simt_i64 i = from; i < to; i++) {
      above += simt_order(scores[i]) > least;
      equal += simt_order(scores[i]) == least;
   }
   s->above[simt_thread()] = above;
   s->equal[simt_thread()] = equal;
   simt_sync();
   above = equal = 0; /* of the threads before this one */
   for (int t = 0; t < SIMT_THREADS; t++) {
      all += s->above[t];
      if (t < simt_thread()) {
         above += s->above[t];
         equal += s->equal[t];
      }
   }
   const simt_i32 wanted = k - all; /* of the equal ones */
   for (simt_i64 i = from; i < to; i++) {
      const simt_u32 key = simt_order(scores[i]);
      const simt_i32 at = above + (equal < wanted ? equal : wanted);
      if (key > least || (key == least && equal < wanted))
         ids[at] = (simt_i32)i;
      above += key > least;
      equal += key == least;
   }
}

#endif

#if INDEX_SELECT
SIMT_KERNEL(INDEX_NAME)
{
   enum { PER_CHUNK = (ATTN_CHUNK + INDEX_RATIO - 1) / INDEX_RATIO };
   SIMT_BEGIN(a);
   const simt_i64 chunks = a->step[SYM_C];
   SIMT_SHARED(index_choice, s);
   const simt_i64 row = simt_tile(), closed = state_closed(a->ptr[2], row, INDEX_RATIO);
   const float *scores = (const float *)a->ptr[1] + row * chunks * PER_CHUNK;
   simt_i32 *ids = (simt_i32 *)a->ptr[0] + row * INDEX_K;

   if (closed > INDEX_K) {
      index_take(scores, closed, INDEX_K, ids, s);
      return;
   }
   for (int i = simt_thread(); i < INDEX_K; i += SIMT_THREADS)
      ids[i] = i < closed ? i : -1;
}
#else
SIMT_KERNEL(INDEX_NAME)
{
   enum { PER_CHUNK = (ATTN_CHUNK + INDEX_RATIO - 1) / INDEX_RATIO };
   SIMT_BEGIN(a);
   const simt_i64 chunks = a->step[SYM_C];
   SIMT_SHARED(index_scoring, s);
   const simt_i64 row = simt_tile() / chunks, first = simt_tile() % chunks * PER_CHUNK;
   const simt_i64 closed = state_closed(a->ptr[4], row, INDEX_RATIO);
   const simt_i64 last = simt_least(first + PER_CHUNK, closed);
   const simt_i32 *table = state_table(a, a->ptr[6], a->ptr[5], row);
   const float *q = (const float *)a->ptr[1] + row * INDEX_H * INDEX_D;
   const float *w = (const float *)a->ptr[2] + row * INDEX_H;
   float *scores = (float *)a->ptr[0] + row * chunks * PER_CHUNK;
   const int t = simt_thread();

   if (closed <= INDEX_K)
      return; /* all are seen */
   for (simt_i64 e0 = first; e0 < last; e0 += INDEX_BLOCK) {
      const int entries = (int)simt_least(INDEX_BLOCK, last - e0);
      float total = 0; /* of entry t */
      for (int h0 = 0; h0 < INDEX_H; h0 += INDEX_BLOCK) {
         const int heads = (int)simt_least(INDEX_BLOCK, INDEX_H - h0);
         float sum[INDEX_PAIRS];
         SIMT_UNROLL
         for (int i = 0; i < INDEX_PAIRS; i++)
            sum[i] = 0;
         for (int c0 = 0; c0 < INDEX_D; c0 += INDEX_COLUMNS) {
            const int columns = (int)simt_least(INDEX_COLUMNS, INDEX_D - c0);
            simt_sync(); /* the last columns, and sums, have been read */
            for (int i = t; i < INDEX_BLOCK * INDEX_COLUMNS; i += SIMT_THREADS) {
               const int n = i / INDEX_COLUMNS, c = i % INDEX_COLUMNS;
               float qv = 0, ev = 0;
               if (n < heads && c < columns)
                  qv = q[(h0 + n) * INDEX_D + c0 + c];
               if (n < entries && c < columns)
                  ev = INDEX_LOAD(a->ptr[3], state_entry(table, INDEX_RATIO, e0 + n) * INDEX_D + c0 + c);
               s->q[n][c] = qv;
               s->e[n][c] = ev;
            }
            simt_sync();
            for (int c = 0; c < columns; c++)
               SIMT_UNROLL
            for (int i = 0; i < INDEX_PAIRS; i++) {
               const int pair = t + i * SIMT_THREADS;
               sum[i] = simt_fma(s->q[pair % INDEX_BLOCK][c], s->e[pair / INDEX_BLOCK][c], sum[i]);
            }
         }
         SIMT_UNROLL
         for (int i = 0; i < INDEX_PAIRS; i++) {
            const int pair = t + i * SIMT_THREADS;
            s->s[pair / INDEX_BLOCK][pair % INDEX_BLOCK] = simt_max(0, sum[i]); /* NaN stays */
         }
         simt_sync();
         for (int h = 0; t < entries && h < heads; h++)
            total = simt_fma(w[h0 + h], s->s[t][h], total);
      }
      if (t < entries)
         scores[e0 + t] = total == total ? total : -simt_float(0x7f800000u);
   }
}
#endif
#undef INDEX_NAME
#undef INDEX_SELECT
#undef INDEX_H
#undef INDEX_D
#undef INDEX_RATIO
#undef INDEX_K
#undef INDEX_LOAD
