/* attention_mma.cuh - attention on matrix instructions, its last part: chunks folded in order, in the block that computed them
 * (whole) or by a kernel of their own (merge) from what a block each has left (part). */
#if ATTN_FORM != ATTENTION_merge

/* Of element e of the warp's sums: its column, and where in a value it lies (ATTN_V or more: nowhere). */
SIMT_FN int ATTN_FN(_column)(int e)
{
   return e / 4 % ATTN_NT * MMA_N + simt_mma_c_col(simt_lane(), e % 4);
}

SIMT_FN int ATTN_FN(_value)(int e)
{
   return (simt_warp() + e / (4 * ATTN_NT) * SIMT_WARPS) * ATTN_SIDE + simt_mma_c_row(simt_lane(), e % 4);
}

#endif

#if ATTN_FORM == ATTENTION_merge
SIMT_KERNEL(ATTN_NAME)
#else
SIMT_WIDE_KERNEL(ATTN_NAME, 128)
#endif
{
   enum {
      P = ATTN_IN + 1 + ATTN_SINKS + (ATTN_FORM == ATTENTION_merge ? 0 : 1 + ATTN_LATENT), /* tiles */
      OUTS = ATTN_CT * ATTN_NT * 4,
      WIDE = (ATTN_V + SIMT_THREADS - 1) / SIMT_THREADS
   };
   SIMT_BEGIN(a);
#if ATTN_FORM == ATTENTION_merge
   /* a block is a column: its number is that of the parts, times their columns */
   const int n = (int)(simt_tile() % ATTN_COLS);
   const attn_block b = ATTN_FN(_block)(simt_tile() / ATTN_COLS, a->ptr[P], a->ptr[P + 1]);
   if (n >= b.count)
      return;
   const simt_i64 row = ATTN_FN(_row)(&b, n), head = ATTN_FN(_head)(&b, n);
   const simt_i64 last = ((const simt_i32 *)a->ptr[P + 1])[row];
   const simt_i64 first = ATTN_WINDOW && last + 1 > ATTN_WINDOW ? last + 1 - ATTN_WINDOW : 0;
   float o[WIDE], m = -simt_float(0x7f800000u), l = 0, old, add;

#if ATTN_SINKS
   m = ((const float *)a->ptr[P - 1])[head];
   l = 1;
#endif
   SIMT_UNROLL
   for (int i = 0; i < WIDE; i++)
      o[i] = 0;
   for (simt_i64 c = first / ATTN_CHUNK; c <= last / ATTN_CHUNK; c++) {
      const float *from =
         (const float *)a->ptr[ATTN_IN] + (simt_tile() / ATTN_COLS * a->step[SYM_C] + c) * ATTN_ENTRY;
      attn_fold_column(&m, &l, from[n], from[ATTN_COLS + n], &old, &add);
      SIMT_UNROLL
      for (int i = 0; i < WIDE; i++)
         if (simt_thread() + i * SIMT_THREADS < ATTN_V)
            o[i] = simt_fma(o[i], old,
                            from[2 * ATTN_COLS + n * ATTN_V + simt_thread() + i * SIMT_THREADS] * add);
   }
   SIMT_UNROLL
   for (int i = 0; i < WIDE; i++)
#if ATTN_QUANT
      attn_quant(a, o[i] / l, row, head * ATTN_V + simt_thread() + i * SIMT_THREADS, ATTN_H * ATTN_V,
                 simt_thread() + i * SIMT_THREADS < ATTN_V);
#else
      if (simt_thread() + i * SIMT_THREADS < ATTN_V)
         ATTN_STORE(a->ptr[0], (row * ATTN_H + head) * ATTN_V + simt_thread() + i * SIMT_THREADS, o[i] / l);
#endif
#else
   SIMT_SHARED(ATTN_FN(_shared), s);
   const void *pages = a->ptr[ATTN_IN + 1 + ATTN_LATENT], *positions = a->ptr[P + 1];
#if ATTN_FORM == ATTENTION_part
   const simt_i64 chunks = a->step[SYM_C], chunk = simt_tile() % chunks;
   attn_block b = ATTN_FN(_block)(simt_tile() / chunks, a->ptr[P], positions);
   if (b.count < 1 || chunk < b.low / ATTN_CHUNK || chunk > b.high / ATTN_CHUNK)
      return;
#else
   attn_block b = ATTN_FN(_block)(simt_tile(), a->ptr[P], positions);
   if (b.count < 1)
      return;
#endif
   const simt_i32 *table = (const simt_i32 *)a->ptr[P + 3] +
                           ((const simt_i32 *)a->ptr[P + 2])[b.row0] * a->step[SYM_B];
   float oc[ATTN_CT][ATTN_NT][4];
   ATTN_FN(_queries)(a, &b, s, positions, a->ptr[P - 1]);
#if ATTN_FORM == ATTENTION_part
   ATTN_FN(_chunk)(&b, s, pages, table, chunk, oc);
   simt_sync(); /* what was taken out is known */
   float *to = (float *)a->ptr[0] + simt_tile() * ATTN_ENTRY;
   if (simt_thread() < ATTN_COLS) {
      to[simt_thread()] = ATTN_FN(_top)(s, simt_thread());
      to[ATTN_COLS + simt_thread()] = ATTN_FN(_sum)(s, simt_thread()) + s->bad[simt_thread()];
   }
   SIMT_UNROLL
   for (int e = 0; e < OUTS; e++)
      if (ATTN_FN(_value)(e) < ATTN_V)
         to[2 * ATTN_COLS + ATTN_FN(_column)(e) * ATTN_V + ATTN_FN(_value)(e)] =
            oc[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4];
#else
   float o[ATTN_CT][ATTN_NT][4];
   SIMT_UNROLL
   for (int e = 0; e < OUTS; e++)
      o[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4] = 0;
   for (simt_i64 c = b.low / ATTN_CHUNK; c <= b.high / ATTN_CHUNK; c++) {
      ATTN_FN(_chunk)(&b, s, pages, table, c, oc);
      if (simt_thread() < ATTN_COLS) {
         const int n = simt_thread();
         attn_fold_column(&s->m[n], &s->l[n], ATTN_FN(_top)(s, n), ATTN_FN(_sum)(s, n), &s->old[n],
                          &s->add[n]);
      }
      simt_sync(); /* what is folded how is there, and the weights have been read */
      SIMT_UNROLL
      for (int e = 0; e < OUTS; e++) {
         const int n = ATTN_FN(_column)(e);
         float *own = &o[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4];
         *own = simt_fma(*own, s->old[n], oc[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4] * s->add[n]);
      }
   }
#if ATTN_QUANT
   float (*y)[ATTN_V] = (float (*)[ATTN_V])(void *)s->q; /* behind the last chunk's barriers nobody reads them */
   SIMT_ASSERT(sizeof s->q >= sizeof(float[ATTN_COLS][ATTN_V]));
#endif
   SIMT_UNROLL
   for (int e = 0; e < OUTS; e++) {
      const int n = ATTN_FN(_column)(e), c = ATTN_FN(_value)(e);
      if (n < b.count && c < ATTN_V) {
         const float v = o[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4] / (s->l[n] + s->bad[n]);
#if ATTN_QUANT
         y[n][c] = v;
#else
         ATTN_STORE(a->ptr[0], (ATTN_FN(_row)(&b, n) * ATTN_H + ATTN_FN(_head)(&b, n)) * ATTN_V + c, v);
#endif
      }
   }
#if ATTN_QUANT
   simt_sync(); /* every value is there */
   for (int i = simt_thread(); i < ATTN_COLS * ATTN_V; i += SIMT_THREADS) {
      const int there = i / ATTN_V < b.count, n = there ? i / ATTN_V : 0, c = i % ATTN_V;
      attn_quant(a, there ? y[n][c] : 0.0f, ATTN_FN(_row)(&b, n), ATTN_FN(_head)(&b, n) * ATTN_V + c,
                 ATTN_H * ATTN_V, there);
   }
#endif
#endif
#endif
}
