/* gdn.cuh - the gated delta rule over the rows of a run; a template by inclusion.
 *
 *    GDN_NAME, GDN_G, GDN_H, GDN_DK, GDN_DV, GDN_SCALE
 *    GDN_COLUMNS          columns that go through the rows together: their state is shared memory
 *    GDN_GATES, GDN_NORM  as in kernels/cpu/state.h; GDN_EPS, GDN_OFFSET of the norm
 *
 * A block takes a run and a head, some columns after the other; a thread takes one column, which no other one
 * touches. */
typedef struct SIMT_PASTE(GDN_NAME, _shared)
{
   float s[GDN_DK][GDN_COLUMNS];
   float each[SIMT_WARPS];
}
SIMT_PASTE(GDN_NAME, _shared);

SIMT_KERNEL(GDN_NAME)
{
   enum { SHARE = GDN_H / GDN_G, META = 7, NORM = 12 + 2 * GDN_GATES };
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(GDN_NAME, _shared), s);
   const simt_i64 head = simt_tile() % GDN_H, t = simt_thread();
   const state_run r = state_run_of(a, META, simt_tile() / GDN_H);
   float *y = (float *)a->ptr[0], *state = (float *)a->ptr[1] + head * GDN_DK * GDN_DV;
   const float *q = (const float *)a->ptr[2], *k = (const float *)a->ptr[3];
   const float *v = (const float *)a->ptr[4], *g = (const float *)a->ptr[5];
   const float *b = (const float *)a->ptr[6];
   const simt_i64 page = (simt_i64)GDN_H * GDN_DK * GDN_DV;

   for (int c0 = 0; c0 < GDN_DV; c0 += GDN_COLUMNS) {
      const simt_i64 c = c0 + t;
      if (t >= GDN_COLUMNS || c >= GDN_DV)
         continue;
      for (int i = 0; i < GDN_DK; i++)
         s->s[i][t] = r.from < 0 ? 0 : state[r.from * page + i * GDN_DV + c];
      for (simt_i64 row = r.first; row < r.first + r.rows; row++) {
         const float *kr = k + (row * GDN_G + head / SHARE) * GDN_DK;
         const float *qr = q + (row * GDN_G + head / SHARE) * GDN_DK;
         float decay = g[row * GDN_H + head], beta = b[row * GDN_H + head], known = 0, o = 0, delta;
#if GDN_GATES
         decay = simt_decay(decay, ((const float *)a->ptr[12])[head],
                            ((const float *)a->ptr[13])[head]);
         beta = simt_sigmoid(beta);
#endif
         const float keep = simt_exp(decay);
         for (int i = 0; i < GDN_DK; i++)
            known = simt_fma(s->s[i][t], kr[i], known);
         delta = beta * (v[(row * GDN_H + head) * GDN_DV + c] - keep * known);
         for (int i = 0; i < GDN_DK; i++) {
            const float now = simt_fma(kr[i], delta, keep * s->s[i][t]);
            s->s[i][t] = now;
            o = simt_fma(now, qr[i], o);
         }
         y[(row * GDN_H + head) * GDN_DV + c] = o * GDN_SCALE;
         if (row + 1 - r.first == r.snap_rows)
            for (int i = 0; i < GDN_DK; i++)
               state[r.snap * page + i * GDN_DV + c] = s->s[i][t];
      }
      for (int i = 0; r.to >= 0 && i < GDN_DK; i++)
         state[r.to * page + i * GDN_DV + c] = s->s[i][t];
   }
#if GDN_NORM
   simt_sync(); /* threads go over columns of others now */
   for (simt_i64 row = r.first; row < r.first + r.rows; row++) {
      float *at = y + (row * GDN_H + head) * GDN_DV, sum = 0;
      const float *w = (const float *)a->ptr[NORM];
      const float *z = (const float *)a->ptr[NORM + 1] + (row * GDN_H + head) * GDN_DV;
      for (simt_i64 i = t; i < GDN_DV; i += SIMT_THREADS)
         sum = simt_fma(at[i], at[i], sum);
      sum = 1.0f / simt_sqrt(simt_block_sum(sum, s->each) / (float)GDN_DV + GDN_EPS);
      for (simt_i64 i = t; i < GDN_DV; i += SIMT_THREADS)
         at[i] = at[i] * sum * (w[i] + GDN_OFFSET) * simt_silu(z[i]);
   }
#endif
}
#undef GDN_NAME
#undef GDN_G
#undef GDN_H
#undef GDN_DK
#undef GDN_DV
#undef GDN_SCALE
#undef GDN_COLUMNS
#undef GDN_GATES
#undef GDN_NORM
#undef GDN_EPS
#undef GDN_OFFSET
