/* route.cuh - the router behind its matmul; a template by inclusion, see moe.cuh. */
typedef struct SIMT_PASTE(ROUTE_NAME, _shared)
{
   float s[ROUTE_EXPERTS], by[ROUTE_EXPERTS], sums[ROUTE_GROUPS];
   float value[SIMT_THREADS], each[SIMT_WARPS];
   int index[SIMT_THREADS];
   simt_u8 taken[ROUTE_EXPERTS], dropped[ROUTE_GROUPS];
}
SIMT_PASTE(ROUTE_NAME, _shared);

#define ROUTE_FN(name) SIMT_PASTE(ROUTE_NAME, name)

/* Logits become scores. */
SIMT_FN void ROUTE_FN(_scores)(ROUTE_FN(_shared) *s, const float *logits)
{
   const int t = simt_thread();

   for (int i = t; i < ROUTE_EXPERTS; i += SIMT_THREADS)
      s->s[i] = route_number(logits[i]);
   simt_sync();
#if ROUTE_SCORE == ROUTE_softmax
   float most = -simt_float(0x7f800000u), sum = 0;
   for (int i = 0; i < ROUTE_EXPERTS; i++)
      most = s->s[i] > most ? s->s[i] : most;
   simt_sync();
   for (int i = t; i < ROUTE_EXPERTS; i += SIMT_THREADS) {
      s->s[i] = s->s[i] == most ? 1.0f : simt_exp(s->s[i] - most);
      sum += s->s[i];
   }
   sum = simt_block_sum(sum, s->each);
   for (int i = t; i < ROUTE_EXPERTS; i += SIMT_THREADS)
      s->s[i] = s->s[i] / sum;
   simt_sync();
#elif ROUTE_SCORE != ROUTE_none
   for (int i = t; i < ROUTE_EXPERTS; i += SIMT_THREADS)
      s->s[i] = ROUTE_SCORE == ROUTE_sigmoid ? simt_sigmoid(s->s[i])
                                              : simt_sqrt(simt_softplus(s->s[i]));
   simt_sync();
#endif
}

#if !ROUTE_GIVEN
#if ROUTE_KEPT < ROUTE_GROUPS
/* The experts of all groups but the best ones are taken. */
SIMT_FN void ROUTE_FN(_groups)(ROUTE_FN(_shared) *s)
{
   enum { EACH = ROUTE_EXPERTS / ROUTE_GROUPS };
   const int t = simt_thread();

   for (int g = 0; g < ROUTE_GROUPS; g++) {
      float sum = 0;
      for (int j = 0; j < ROUTE_TOP; j++) {
         const int best = route_best(s->by, s->taken, g * EACH, (g + 1) * EACH, s->value, s->index);
         sum += s->by[best];
         if (t == 0)
            s->taken[best] = 1;
         simt_sync();
      }
      if (t == 0) {
         s->sums[g] = route_number(sum);
         s->dropped[g] = 0;
      }
   }
   simt_sync();
   for (int j = 0; j < ROUTE_KEPT; j++) {
      const int best = route_best(s->sums, s->dropped, 0, ROUTE_GROUPS, s->value, s->index);
      if (t == 0)
         s->dropped[best] = 1; /* kept: turned round below */
      simt_sync();
   }
   for (int i = t; i < ROUTE_EXPERTS; i += SIMT_THREADS)
      s->taken[i] = !s->dropped[i / EACH];
   simt_sync();
}
#endif

/* The experts of a row, ascending. */
SIMT_FN void ROUTE_FN(_choose)(ROUTE_FN(_shared) *s, const float *bias, simt_i32 *ids)
{
   const int t = simt_thread();

   for (int i = t; i < ROUTE_EXPERTS; i += SIMT_THREADS) {
      s->by[i] = route_number(bias ? s->s[i] + bias[i] : s->s[i]);
      s->taken[i] = 0;
   }
   simt_sync();
#if ROUTE_KEPT < ROUTE_GROUPS
   ROUTE_FN(_groups)(s);
#endif
   /* value 2 of taken: chosen */
   for (int j = 0; j < ROUTE_K; j++) {
      const int best = route_best(s->by, s->taken, 0, ROUTE_EXPERTS, s->value, s->index);
      if (t == 0 && best < ROUTE_EXPERTS)
         s->taken[best] = 2;
      simt_sync();
   }
   int n = 0;
   SIMT_LOOP
   for (int i = 0; t == 0 && i < ROUTE_EXPERTS && n < ROUTE_K; i++)
      if (s->taken[i] == 2)
         ids[n++] = i;
}
#endif

SIMT_KERNEL(ROUTE_NAME)
{
   SIMT_BEGIN(a);
   SIMT_SHARED(ROUTE_FN(_shared), s);
   const simt_i64 row = simt_tile();
   const float *logits = (const float *)a->ptr[ROUTE_GIVEN ? 1 : 2] + row * ROUTE_EXPERTS;
   float *weights = (float *)a->ptr[ROUTE_GIVEN ? 0 : 1] + row * ROUTE_K;
   simt_i32 *ids = (simt_i32 *)a->ptr[ROUTE_GIVEN ? 2 : 0] + row * ROUTE_K;
   float sum = 0;

   ROUTE_FN(_scores)(s, logits);
#if !ROUTE_GIVEN
   ROUTE_FN(_choose)(s, ROUTE_BIAS ? (const float *)a->ptr[3] : 0, ids);
#endif
   if (simt_thread() != 0)
      return;
   for (int j = 0; j < ROUTE_K; j++) {
      const int id = ids[j];
      weights[j] = id >= 0 && id < ROUTE_EXPERTS ? s->s[id] : 0;
      sum += weights[j];
   }
   for (int j = 0; j < ROUTE_K; j++) {
      float w = weights[j];
      if (ROUTE_NORM && sum > 0)
         w = w / sum;
      weights[j] = w * ROUTE_SCALE;
   }
}
#undef ROUTE_FN
#undef ROUTE_NAME
#undef ROUTE_EXPERTS
#undef ROUTE_K
#undef ROUTE_GROUPS
#undef ROUTE_KEPT
#undef ROUTE_TOP
#undef ROUTE_BIAS
#undef ROUTE_NORM
#undef ROUTE_GIVEN
#undef ROUTE_SCALE
#undef ROUTE_SCORE
