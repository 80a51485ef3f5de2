/* attention_fold.cuh - where a position's keys are, scores of a block of keys to weights, blocks that are folded in order. */
#ifndef ATTENTION_FOLD_CUH
#define ATTENTION_FOLD_CUH

/* The page of position `at`, from kv head g on; head_bytes of a head in a page. */
SIMT_FN const simt_u8 *attn_head(const void *pages, const simt_i32 *table, simt_i64 at, simt_i64 g,
                                 simt_i64 groups, simt_i64 head_bytes)
{
   const simt_i64 page = table[at / PAGE_TOKENS];

   return (const simt_u8 *)pages + (page * groups + g) * head_bytes;
}

/* Weights p = exp(score - m) and their sum l, for each of `block` heads. A thread has `own` keys, score[own][block]; its number
 * e is key e * SIMT_THREADS + thread of p[block][own * SIMT_THREADS]. each: float[2][block][SIMT_WARPS] of shared memory. What is
 * written here is read behind barriers that all pass, so the next call may follow at once. */
SIMT_FN void attn_weights(int block, int own, const float *score, float *p, float *each, float *m,
                          float *l)
{
   float *sums = each + block * SIMT_WARPS;

   SIMT_UNROLL
   for (int h = 0; h < block; h++) {
      float most = score[h];
      SIMT_UNROLL
      for (int e = 1; e < own; e++)
         most = simt_max(most, score[e * block + h]);
      most = simt_warp_max(most);
      if (simt_lane() == 0)
         each[h * SIMT_WARPS + simt_warp()] = most;
   }
   simt_sync();
   SIMT_UNROLL
   for (int h = 0; h < block; h++) {
      float top = each[h * SIMT_WARPS], sum = 0;
      for (int w = 1; w < SIMT_WARPS; w++)
         top = simt_max(top, each[h * SIMT_WARPS + w]);
      SIMT_UNROLL
      for (int e = 0; e < own; e++) {
         const float v = simt_exp(score[e * block + h] - top);
         p[(h * own + e) * SIMT_THREADS + simt_thread()] = v;
         sum += v;
      }
      m[h] = top;
      sum = simt_warp_sum(sum);
      if (simt_lane() == 0)
         sums[h * SIMT_WARPS + simt_warp()] = sum;
   }
   simt_sync();
   SIMT_UNROLL
   for (int h = 0; h < block; h++) {
      l[h] = sums[h * SIMT_WARPS];
      for (int w = 1; w < SIMT_WARPS; w++)
         l[h] += sums[h * SIMT_WARPS + w];
   }
}

/* Scores that are folded so far: m and l of each head, o of the thread's own elements. */
SIMT_FN void attn_fold(int block, int outs, float *m, float *l, float *o, const float *mc,
                       const float *lc, const float *oc, int width)
{
   float a[16], b[16];

   SIMT_UNROLL
   for (int h = 0; h < block; h++) {
      const float top = simt_max(m[h], mc[h]);
      a[h] = simt_exp(m[h] - top);
      b[h] = simt_exp(mc[h] - top);
      m[h] = top;
      l[h] = simt_fma(l[h], a[h], lc[h] * b[h]);
   }
   SIMT_UNROLL
   for (int i = 0; i < outs; i++) {
      const int own = (simt_thread() + i * SIMT_THREADS) / width;
      float ka = 0, kb = 0;
      SIMT_UNROLL
      for (int h = 0; h < block; h++) {
         ka = h == own ? a[h] : ka;
         kb = h == own ? b[h] : kb;
      }
      o[i] = simt_fma(o[i], ka, oc[i] * kb);
   }
}

#endif
