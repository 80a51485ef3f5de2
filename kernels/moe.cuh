/* moe.cuh - which experts a row goes to; slots by expert; sums over a token's slots. Meanings: ir/ref/moe.c;
 * pointers and constants: kernels/cpu/moe.h. A template by inclusion for ROUTE_NAME:
 *
 *    ROUTE_EXPERTS, ROUTE_K, ROUTE_GROUPS, ROUTE_KEPT, ROUTE_TOP, ROUTE_BIAS, ROUTE_NORM, ROUTE_GIVEN,
 *    ROUTE_SCALE, ROUTE_SCORE (a ROUTE_x)
 *
 * A block takes a row. */
#ifndef MOE_CUH
#define MOE_CUH

/* NaN counts as the smallest value. */
SIMT_FN float route_number(float v)
{
   return v == v ? v : -simt_float(0x7f800000u);
}

/* The largest of by[from .. to) that is not taken, lowest index first, for every thread alike; to if there is
 * none. */
SIMT_FN int route_best(const float *by, const simt_u8 *taken, int from, int to, float *value,
                       int *index)
{
   float most = 0;
   int best = to;

   for (int i = from + simt_thread(); i < to; i += SIMT_THREADS)
      if (!taken[i] && (best == to || by[i] > most)) {
         most = by[i];
         best = i;
      }
   value[simt_thread()] = most;
   index[simt_thread()] = best;
   simt_sync();
   for (int n = SIMT_THREADS / 2; n; n /= 2) {
      const int t = simt_thread();
      if (t < n) {
         const int other = index[t + n], mine = index[t];
         const float x = value[t + n], y = value[t];
         if (other < to && (mine == to || x > y || (x == y && other < mine))) {
            value[t] = x;
            index[t] = other;
         }
      }
      simt_sync();
   }
   best = index[0];
   simt_sync(); /* before it is written again */
   return best;
}

SIMT_KERNEL(permute)
{
   SIMT_BEGIN(a);
   simt_i32 *order = (simt_i32 *)a->ptr[0], *offsets = (simt_i32 *)a->ptr[1];
   const simt_i32 *ids = (const simt_i32 *)a->ptr[2];
   const simt_i64 experts = a->konst[P_EXPERTS];
   const simt_i64 slots = a->konst[P_SLOTS] + a->konst[P_PER_SYM] * a->step[a->konst[P_SYM]];

   for (simt_i64 e = simt_thread(); e <= experts; e += SIMT_THREADS) {
      simt_i32 before = 0;
      for (simt_i64 i = 0; i < slots; i++)
         before += ids[i] >= 0 && ids[i] < e;
      offsets[e] = before;
   }
   simt_sync();
   for (simt_i64 e = simt_thread(); e <= experts; e += SIMT_THREADS) {
      simt_i32 at = offsets[e];
      for (simt_i64 i = 0; i < slots; i++)
         if (e < experts ? ids[i] == e : ids[i] < 0 || ids[i] >= experts)
            order[at++] = (simt_i32)i;
   }
}

SIMT_KERNEL(combine)
{
   SIMT_BEGIN(a);
   const simt_i64 row = simt_tile(), k = a->konst[M_K], width = a->konst[M_WIDTH];
   const float *x = (const float *)a->ptr[1] + row * k * width;
   const float *w = (const float *)a->ptr[2] + row * k;

   for (simt_i64 i = simt_thread(); i < width; i += SIMT_THREADS) {
      float sum = 0;
      for (simt_i64 j = 0; j < k; j++)
         sum = simt_fma(w[j], x[j * width + i], sum);
      ((float *)a->ptr[0])[row * width + i] = sum;
   }
}

SIMT_KERNEL(lookup)
{
   SIMT_BEGIN(a);
   const simt_i64 row = simt_tile(), k = a->konst[0];
   const simt_i32 *from = (const simt_i32 *)a->ptr[1] + ((const simt_i32 *)a->ptr[2])[row] * k;

   for (simt_i64 i = simt_thread(); i < k; i += SIMT_THREADS)
      ((simt_i32 *)a->ptr[0])[row * k + i] = from[i];
}

SIMT_KERNEL(remap)
{
   SIMT_BEGIN(a);
   const simt_i64 row = simt_tile(), k = a->konst[REMAP_K], most = a->konst[REMAP_MOST];
   const simt_i64 hash = ((const simt_i32 *)a->ptr[3])[row] * (simt_i64)2654435769u & 0xffffffff;

   for (simt_i64 i = simt_thread(); i < k; i += SIMT_THREADS) {
      const simt_i64 id = ((const simt_i32 *)a->ptr[1])[row * k + i];
      const simt_i32 *places = (const simt_i32 *)a->ptr[2];
      simt_i64 n = 0;

      if (id >= 0 && id < a->konst[REMAP_EXPERTS]) {
         places += id * most;
         while (n < most && places[n] >= 0)
            n++;
      }
      ((simt_i32 *)a->ptr[0])[row * k + i] = n ? places[hash % n] : -1;
   }
}

#endif
