/* attention.cuh - one query row against the pages of its sequence; a template by inclusion.
 *
 *    ATTN_NAME, ATTN_FORM (ATTENTION_whole, _part, _merge)
 *    ATTN_H, ATTN_G, ATTN_D, ATTN_V   heads, kv heads, width of a key, of a value
 *    ATTN_Q                           width of the first part of a query: all of it, but for latent rows
 *    ATTN_BLOCK                       heads of one block: of one kv head, at most
 *    ATTN_WINDOW, ATTN_SCALE, ATTN_CAPPED, ATTN_CAP, ATTN_SINKS, ATTN_LATENT   as in kernels/cpu/attention.h
 *    ATTN_LOAD_Q(base, i), ATTN_LOAD_KV(base, i), ATTN_STORE(base, i, v)   by type
 *    ATTN_KV_BYTES
 *    ATTN_QUANT, ATTN_IN              1: what is stored are codes and scales of groups of 32 (quant.cuh); which pointer follows them
 *
 * Pointers: those of kernels/cpu/attention.h. A block takes a row and some heads that share keys. Positions go in chunks of
 * ATTN_CHUNK: threads score them, then share the value's columns. Chunks are computed apart and folded in order, in one
 * block (whole) or by a kernel of their own (merge) from what a block each has left (part): so the bits are the same, and
 * depend on the row's own q and its visible positions only. */
#ifndef ATTENTION_CUH
#define ATTENTION_CUH

enum { ATTN_EACH = ATTN_CHUNK / SIMT_THREADS };

/* What a row sees. */
typedef struct attn_row {
   simt_i64 row, g, first, last, head0;
   int heads;
} attn_row;

#endif

#define ATTN_PER_KV (ATTN_H / ATTN_G)
#define ATTN_BLOCKS ((ATTN_PER_KV + ATTN_BLOCK - 1) / ATTN_BLOCK)
#define ATTN_OUTS ((ATTN_BLOCK * ATTN_V + SIMT_THREADS - 1) / SIMT_THREADS)
#define ATTN_ENTRY (ATTN_BLOCK * (ATTN_V + 2)) /* floats that a part leaves: m, l, o of each head */

typedef struct SIMT_PASTE(ATTN_NAME, _shared)
{
   float q[ATTN_BLOCK][ATTN_D];
   float p[ATTN_BLOCK][ATTN_CHUNK];
   float each[2][ATTN_BLOCK][SIMT_WARPS];
}
SIMT_PASTE(ATTN_NAME, _shared);

/* The row of tile `number`; positions: the meta array. */
SIMT_FN attn_row SIMT_PASTE(ATTN_NAME, _row)(simt_i64 number, const void *positions)
{
   const int within = (int)(number % ATTN_BLOCKS) * ATTN_BLOCK; /* first head of those of g */
   attn_row r;

   r.row = number / (ATTN_BLOCKS * ATTN_G);
   r.g = number / ATTN_BLOCKS % ATTN_G;
   r.heads = within + ATTN_BLOCK <= ATTN_PER_KV ? ATTN_BLOCK : ATTN_PER_KV - within;
   r.head0 = r.g * ATTN_PER_KV + within;
   r.last = ((const simt_i32 *)positions)[r.row];
   r.first = ATTN_WINDOW && r.last + 1 > ATTN_WINDOW ? r.last + 1 - ATTN_WINDOW : 0;
   return r;
}

SIMT_FN void SIMT_PASTE(ATTN_NAME, _clear)(const attn_row *r, const void *sinks, float *m, float *l,
                                           float *o)
{
   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++) {
      m[h] = -simt_float(0x7f800000u);
      l[h] = 0;
#if ATTN_SINKS
      if (h < r->heads) {
         m[h] = ((const float *)sinks)[r->head0 + h];
         l[h] = 1;
      }
#endif
   }
   SIMT_UNROLL
   for (int i = 0; i < ATTN_OUTS; i++)
      o[i] = 0;
}

SIMT_FN void SIMT_PASTE(ATTN_NAME, _finish)(const simt_args *a, const attn_row *r, const float *l,
                                            const float *o)
{
   SIMT_UNROLL
   for (int i = 0; i < ATTN_OUTS; i++) {
      const int e = simt_thread() + i * SIMT_THREADS, h = e / ATTN_V, c = e % ATTN_V;
      float total = 1;
      SIMT_UNROLL
      for (int k = 0; k < ATTN_BLOCK; k++)
         total = k == h ? l[k] : total;
#if ATTN_QUANT
      attn_quant(a, o[i] / total, r->row, (r->head0 + h) * ATTN_V + c, ATTN_H * ATTN_V, h < r->heads);
#else
      if (h < r->heads)
         ATTN_STORE(a->ptr[0], (r->row * ATTN_H + r->head0 + h) * ATTN_V + c, o[i] / total);
#endif
   }
}

#if ATTN_FORM != ATTENTION_merge

/* The queries of the block, to shared memory. */
SIMT_FN void SIMT_PASTE(ATTN_NAME, _queries)(const simt_args *a, const attn_row *r,
                                             SIMT_PASTE(ATTN_NAME, _shared) * s)
{
   for (int i = simt_thread(); i < ATTN_BLOCK * ATTN_D; i += SIMT_THREADS) {
      const int h = i / ATTN_D, c = i % ATTN_D;
      const simt_i64 head = r->row * ATTN_H + r->head0 + h;
      float v = 0;

      if (h < r->heads && c < ATTN_Q)
         v = ATTN_LOAD_Q(a->ptr[ATTN_IN], head * ATTN_Q + c);
      else if (h < r->heads)
         v = ATTN_LOAD_Q(a->ptr[ATTN_IN + ATTN_LATENT], head * (ATTN_D - ATTN_Q) + c - ATTN_Q);
      s->q[h][c] = v;
   }
   simt_sync();
}

/* m, l and o of the positions of one chunk that the row sees: at least one. */
SIMT_FN void SIMT_PASTE(ATTN_NAME, _chunk)(const attn_row *r, SIMT_PASTE(ATTN_NAME, _shared) * s,
                                           const void *pages, const simt_i32 *table, simt_i64 chunk,
                                           float *m, float *l, float *o)
{
   enum { HEAD_BYTES = (ATTN_LATENT ? 1 : 2) * ATTN_D * PAGE_TOKENS * ATTN_KV_BYTES };
   const simt_i64 c0 = chunk * ATTN_CHUNK;
   float score[ATTN_EACH][ATTN_BLOCK];

   SIMT_UNROLL
   for (int e = 0; e < ATTN_EACH; e++) {
      const simt_i64 at = c0 + e * SIMT_THREADS + simt_thread();
      SIMT_UNROLL
      for (int h = 0; h < ATTN_BLOCK; h++)
         score[e][h] = 0;
      if (at >= r->first && at <= r->last) {
         const simt_u8 *head = attn_head(pages, table, at, r->g, ATTN_G, HEAD_BYTES);
         const simt_i64 in_page = at % PAGE_TOKENS;
         for (int c = 0; c < ATTN_D; c++) {
            const float k =
               ATTN_LOAD_KV(head, ATTN_LATENT ? in_page * ATTN_D + c : c * PAGE_TOKENS + in_page);
            SIMT_UNROLL
            for (int h = 0; h < ATTN_BLOCK; h++)
               score[e][h] = simt_fma(s->q[h][c], k, score[e][h]);
         }
      }
      SIMT_UNROLL
      for (int h = 0; h < ATTN_BLOCK; h++) {
         score[e][h] = score[e][h] * ATTN_SCALE;
#if ATTN_CAPPED
         score[e][h] = simt_softcap(score[e][h], ATTN_CAP);
#endif
         if (at < r->first || at > r->last)
            score[e][h] = -simt_float(0x7f800000u);
      }
   }
   attn_weights(ATTN_BLOCK, ATTN_EACH, &score[0][0], &s->p[0][0], &s->each[0][0][0], m, l);
   SIMT_UNROLL
   for (int i = 0; i < ATTN_OUTS; i++) {
      const int own = simt_thread() + i * SIMT_THREADS, h = own / ATTN_V, c = own % ATTN_V;
      const simt_i64 from = c0 < r->first ? r->first - c0 : 0;
      float sum = 0;
      for (simt_i64 j = from; h < r->heads && j < ATTN_CHUNK && c0 + j <= r->last; j++) {
         const simt_u8 *head = attn_head(pages, table, c0 + j, r->g, ATTN_G, HEAD_BYTES);
         const simt_i64 line = (c0 + j) % PAGE_TOKENS * ATTN_D + c;
         sum = simt_fma(s->p[h][j],
                        ATTN_LOAD_KV(head, ATTN_LATENT ? line : ATTN_D * PAGE_TOKENS + line), sum);
      }
      o[i] = sum;
   }
   /* p and each[1] are written again behind the next barrier only, which all reach when they have read them. */
}

#endif

#if ATTN_FORM == ATTENTION_merge
SIMT_KERNEL(ATTN_NAME)
#else
SIMT_WIDE_KERNEL(ATTN_NAME, 128)
#endif
{
   enum { P = ATTN_IN + 1 + ATTN_SINKS + (ATTN_FORM == ATTENTION_merge ? 0 : 1 + ATTN_LATENT) }; /* tiles */
   SIMT_BEGIN(a);
   float mc[ATTN_BLOCK], lc[ATTN_BLOCK], oc[ATTN_OUTS];
#if ATTN_FORM == ATTENTION_part
   const simt_i64 chunks = a->step[SYM_C], chunk = simt_tile() % chunks;
   const attn_row r = SIMT_PASTE(ATTN_NAME, _row)(simt_tile() / chunks, a->ptr[P + 1]);
   if (chunk < r.first / ATTN_CHUNK || chunk > r.last / ATTN_CHUNK)
      return;
#else
   const attn_row r = SIMT_PASTE(ATTN_NAME, _row)(simt_tile(), a->ptr[P + 1]);
   float m[ATTN_BLOCK], l[ATTN_BLOCK], o[ATTN_OUTS];
   SIMT_PASTE(ATTN_NAME, _clear)(&r, a->ptr[P - 1], m, l, o);
#endif
#if ATTN_FORM == ATTENTION_merge
   for (simt_i64 c = r.first / ATTN_CHUNK; c <= r.last / ATTN_CHUNK; c++) {
      const float *from = (const float *)a->ptr[ATTN_IN] + (simt_tile() * a->step[SYM_C] + c) * ATTN_ENTRY;
      SIMT_UNROLL
      for (int h = 0; h < ATTN_BLOCK; h++) {
         mc[h] = from[h];
         lc[h] = from[ATTN_BLOCK + h];
      }
      SIMT_UNROLL
      for (int i = 0; i < ATTN_OUTS; i++) {
         const int own = simt_thread() + i * SIMT_THREADS;
         oc[i] = own < ATTN_BLOCK * ATTN_V ? from[2 * ATTN_BLOCK + own] : 0;
      }
      attn_fold(ATTN_BLOCK, ATTN_OUTS, m, l, o, mc, lc, oc, ATTN_V);
   }
#else
   SIMT_SHARED(SIMT_PASTE(ATTN_NAME, _shared), s);
   const simt_i32 *table = (const simt_i32 *)a->ptr[P + 3] +
                           ((const simt_i32 *)a->ptr[P + 2])[r.row] * a->step[SYM_B];
   SIMT_PASTE(ATTN_NAME, _queries)(a, &r, s);
#endif
#if ATTN_FORM == ATTENTION_part
   SIMT_PASTE(ATTN_NAME, _chunk)(&r, s, a->ptr[ATTN_IN + 1 + ATTN_LATENT], table, chunk, mc, lc, oc);
   float *to = (float *)a->ptr[0] + simt_tile() * ATTN_ENTRY;
   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++)
      if (simt_thread() == h) {
         to[h] = mc[h];
         to[ATTN_BLOCK + h] = lc[h];
      }
   SIMT_UNROLL
   for (int i = 0; i < ATTN_OUTS; i++)
      if (simt_thread() + i * SIMT_THREADS < ATTN_BLOCK * ATTN_V)
         to[2 * ATTN_BLOCK + simt_thread() + i * SIMT_THREADS] = oc[i];
#elif ATTN_FORM == ATTENTION_whole
   for (simt_i64 c = r.first / ATTN_CHUNK; c <= r.last / ATTN_CHUNK; c++) {
      SIMT_PASTE(ATTN_NAME, _chunk)(&r, s, a->ptr[ATTN_IN + 1 + ATTN_LATENT], table, c, mc, lc, oc);
      attn_fold(ATTN_BLOCK, ATTN_OUTS, m, l, o, mc, lc, oc, ATTN_V);
   }
#endif
#if ATTN_FORM != ATTENTION_part
   SIMT_PASTE(ATTN_NAME, _finish)(a, &r, l, o);
#endif
}
