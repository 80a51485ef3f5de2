/* attention.cuh - one query row against the pages of its sequence; a template by inclusion.
 *
 *    ATTN_NAME
 *    ATTN_H, ATTN_G, ATTN_D, ATTN_V   heads, kv heads, width of a key, of a value
 *    ATTN_Q                           width of the first part of a query: all of it, but for latent rows
 *    ATTN_BLOCK                       heads of one block: of one kv head, at most
 *    ATTN_WINDOW, ATTN_SCALE, ATTN_CAP, ATTN_SINKS, ATTN_LATENT   as in kernels/cpu/attention.h
 *    ATTN_LOAD_Q(base, i), ATTN_LOAD_KV(base, i), ATTN_STORE(base, i, v)   by type
 *    ATTN_KV_BYTES
 *
 * Pointers: y, q, (p,) pages, (sinks,) tiles, positions, seq_of, block_table. A block takes a row and some
 * heads that share keys. Positions go in chunks of SIMT_THREADS, at multiples of it: a thread scores one
 * of them, then the threads share the value's columns. The bits of a row depend on its own q and its
 * visible positions only. */
#ifndef ATTENTION_CUH
#define ATTENTION_CUH

/* Where the line of position `at` and kv head g begins; d elements a line, lines of a head in a page. */
SIMT_FN const simt_u8 *attn_head(const void *pages, const simt_i32 *table, simt_i64 at, simt_i64 g,
                                 simt_i64 groups, simt_i64 head_bytes)
{
   const simt_i64 page = table[at / PAGE_TOKENS];

   return (const simt_u8 *)pages + (page * groups + g) * head_bytes;
}

#endif

typedef struct SIMT_PASTE(ATTN_NAME, _shared)
{
   float q[ATTN_BLOCK][ATTN_D];
   float p[ATTN_BLOCK][SIMT_THREADS];
   float each[2][ATTN_BLOCK][SIMT_WARPS];
}
SIMT_PASTE(ATTN_NAME, _shared);

SIMT_KERNEL(ATTN_NAME)
{
   enum {
      PER_KV = ATTN_H / ATTN_G,
      BLOCKS = (PER_KV + ATTN_BLOCK - 1) / ATTN_BLOCK,
      OUTS = (ATTN_BLOCK * ATTN_V + SIMT_THREADS - 1) / SIMT_THREADS,
      HEAD_BYTES = (ATTN_LATENT ? 1 : 2) * ATTN_D * PAGE_TOKENS * ATTN_KV_BYTES,
      P = 3 + ATTN_LATENT + ATTN_SINKS, /* of tiles */
   };
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(ATTN_NAME, _shared), s);
   const simt_i64 row = simt_tile() / (BLOCKS * ATTN_G), g = simt_tile() / BLOCKS % ATTN_G;
   const int within = (int)(simt_tile() % BLOCKS) * ATTN_BLOCK; /* first head of those of g */
   const int heads = within + ATTN_BLOCK <= PER_KV ? ATTN_BLOCK : PER_KV - within;
   const simt_i64 head0 = g * PER_KV + within;
   const simt_i64 last = ((const simt_i32 *)a->ptr[P + 1])[row];
   const simt_i64 first = ATTN_WINDOW && last + 1 > ATTN_WINDOW ? last + 1 - ATTN_WINDOW : 0;
   const simt_i32 *table =
      (const simt_i32 *)a->ptr[P + 3] + ((const simt_i32 *)a->ptr[P + 2])[row] * a->step[SYM_B];
   const void *pages = a->ptr[2 + ATTN_LATENT];
   const int t = simt_thread();
   float m[ATTN_BLOCK], l[ATTN_BLOCK], o[OUTS];

   for (int i = t; i < ATTN_BLOCK * ATTN_D; i += SIMT_THREADS) {
      const int h = i / ATTN_D, c = i % ATTN_D;
      float v = 0;
      if (h < heads && c < ATTN_Q)
         v = ATTN_LOAD_Q(a->ptr[1], (row * ATTN_H + head0 + h) * ATTN_Q + c);
      else if (h < heads)
         v = ATTN_LOAD_Q(a->ptr[ATTN_LATENT ? 2 : 1],
                         (row * ATTN_H + head0 + h) * (ATTN_D - ATTN_Q) + c - ATTN_Q);
      s->q[h][c] = v;
   }
   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++) {
      m[h] = -simt_float(0x7f800000u);
      l[h] = 0;
#if ATTN_SINKS
      if (h < heads) {
         m[h] = ((const float *)a->ptr[3 + ATTN_LATENT])[head0 + h];
         l[h] = 1;
      }
#endif
   }
   SIMT_UNROLL
   for (int i = 0; i < OUTS; i++)
      o[i] = 0;
   simt_sync();
   for (simt_i64 c0 = first / SIMT_THREADS * SIMT_THREADS; c0 <= last; c0 += SIMT_THREADS) {
      const simt_i64 at = c0 + t;
      float score[ATTN_BLOCK], keep[ATTN_BLOCK];

   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++)
         score[h] = 0;
      if (at >= first && at <= last) {
         const simt_u8 *head = attn_head(pages, table, at, g, ATTN_G, HEAD_BYTES);
         const simt_i64 in_page = at % PAGE_TOKENS;
         for (int c = 0; c < ATTN_D; c++) {
            const float k =
               ATTN_LOAD_KV(head, ATTN_LATENT ? in_page * ATTN_D + c : c * PAGE_TOKENS + in_page);
   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++)
               score[h] = simt_fma(s->q[h][c], k, score[h]);
         }
      }
   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++) {
         score[h] = score[h] * ATTN_SCALE;
#if ATTN_CAPPED
         score[h] = simt_softcap(score[h], ATTN_CAP);
#endif
         if (at < first || at > last)
            score[h] = -simt_float(0x7f800000u);
         const float most = simt_warp_max(score[h]);
         if (simt_lane() == 0)
            s->each[0][h][simt_warp()] = most;
      }
      simt_sync();
   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++) {
         float top = m[h];
         for (int w = 0; w < SIMT_WARPS; w++)
            top = simt_max(top, s->each[0][h][w]);
         const float p = simt_exp(score[h] - top);
         keep[h] = simt_exp(m[h] - top);
         m[h] = top;
         s->p[h][t] = p;
         const float sum = simt_warp_sum(p);
         if (simt_lane() == 0)
            s->each[1][h][simt_warp()] = sum;
      }
      simt_sync();
   SIMT_UNROLL
   for (int h = 0; h < ATTN_BLOCK; h++) {
         float sum = s->each[1][h][0];
         for (int w = 1; w < SIMT_WARPS; w++)
            sum += s->each[1][h][w];
         l[h] = simt_fma(l[h], keep[h], sum);
      }
   SIMT_UNROLL
   for (int i = 0; i < OUTS; i++) {
         const int e = t + i * SIMT_THREADS, h = e / ATTN_V, c = e % ATTN_V;
         float sum = 0, kept = 0;
         if (h >= heads)
            continue;
         SIMT_UNROLL
         for (int k = 0; k < ATTN_BLOCK; k++)
            kept = k == h ? keep[k] : kept;
         for (simt_i64 j = c0 < first ? first - c0 : 0; j < SIMT_THREADS && c0 + j <= last; j++) {
            const simt_u8 *head = attn_head(pages, table, c0 + j, g, ATTN_G, HEAD_BYTES);
            const simt_i64 line = (c0 + j) % PAGE_TOKENS * ATTN_D + c;
            sum = simt_fma(s->p[h][j],
                           ATTN_LOAD_KV(head, ATTN_LATENT ? line : ATTN_D * PAGE_TOKENS + line),
                           sum);
         }
         o[i] = simt_fma(o[i], kept, sum);
      }
      simt_sync(); /* before p and each are written again */
   }
   SIMT_UNROLL
   for (int i = 0; i < OUTS; i++) {
      const int e = t + i * SIMT_THREADS, h = e / ATTN_V, c = e % ATTN_V;
      float total = 1;
      if (h >= heads)
         continue;
      SIMT_UNROLL
      for (int k = 0; k < ATTN_BLOCK; k++)
         total = k == h ? l[k] : total;
      ATTN_STORE(a->ptr[0], (row * ATTN_H + head0 + h) * ATTN_V + c, o[i] / total);
   }
}
#undef ATTN_NAME
#undef ATTN_H
#undef ATTN_G
#undef ATTN_D
#undef ATTN_V
#undef ATTN_Q
#undef ATTN_BLOCK
#undef ATTN_WINDOW
#undef ATTN_SCALE
#undef ATTN_CAPPED
#undef ATTN_CAP
#undef ATTN_SINKS
#undef ATTN_LATENT
#undef ATTN_LOAD_Q
#undef ATTN_LOAD_KV
#undef ATTN_STORE
#undef ATTN_KV_BYTES
