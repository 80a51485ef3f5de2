/* gemm.cuh - y[M,N] = x[M,K] w[N,K]^T in f32 with a hook for what follows; a template by inclusion.
 *
 *    GEMM_NAME             the kernel
 *    GEMM_W, GEMM_W2       simt_format of the weight, and of a second one (optional)
 *    GEMM_STEPS            statements on `v` (and v2): the epilogue; see m, n, at below
 *    GEMM_GROUPED          1: w is a matrix for each expert, rows are slots (ir/ops.def, permute)
 *    GEMM_INT8             1: x are codes, scales behind them; sums of their products are integers (gemm_int8.cuh)
 *    GEMM_QUANT            1: y are codes, scales behind them (gemm_quant.cuh)
 *    GEMM_X, GEMM_AT_W     which pointers x and w are
 *
 * Pointers and constants are those of kernels/cpu/gemm.h. A block makes GEMM_TILE_ROWS x
 * GEMM_TILE_COLUMNS outputs of one head; a thread makes one column of half of the rows. Every output is
 * one fma per k, ascending: the bits of the CPU's float family, whatever M is. */
#ifndef GEMM_CUH
#define GEMM_CUH

typedef struct gemm_shared {
   float x[GEMM_TILE_ROWS][GEMM_TILE_K];
} gemm_shared;

/* Rows of x, columns k0 …, zero where there is none. */
SIMT_FN void gemm_load_x(const simt_args *a, gemm_shared *s, const simt_u8 *x, const gemm_rows *r,
                         simt_i64 k0)
{
   for (int i = simt_thread(); i < GEMM_TILE_ROWS * GEMM_TILE_K; i += SIMT_THREADS) {
      const int m = i / GEMM_TILE_K;
      const simt_i64 k = k0 + i % GEMM_TILE_K;
      float v = 0;

      if (m < r->count && k < a->konst[C_K])
         v = ((const float *)(x + gemm_row(r, m) / r->share * a->konst[C_X_STRIDE]))[k];
      s->x[i / GEMM_TILE_K][i % GEMM_TILE_K] = v;
   }
}

#endif

typedef struct SIMT_PASTE(GEMM_NAME, _shared) {
#if GEMM_INT8
   gemm_codes in;
#else
   gemm_shared in;
#endif
#if GEMM_QUANT
   float y[GEMM_TILE_ROWS][GEMM_TILE_COLUMNS];
#endif
} SIMT_PASTE(GEMM_NAME, _shared);

SIMT_KERNEL(GEMM_NAME)
{
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(GEMM_NAME, _shared), s);
   const simt_i64 columns = a->konst[C_N];
   const simt_i64 column_tiles = (columns + GEMM_TILE_COLUMNS - 1) / GEMM_TILE_COLUMNS;
   const simt_i64 rest = simt_tile() / column_tiles, head = rest % a->konst[C_HEADS];
#if GEMM_GROUPED
   const gemm_rows r = gemm_slots(a, (const simt_i32 *)a->ptr[GEMM_ORDER],
                                  (const simt_i32 *)a->ptr[GEMM_ORDER + 1], rest);
   const simt_i64 matrix = r.expert < 0 ? 0 : r.expert;
   if (!r.count)
      return;
#else
   const simt_i64 m0 = rest / a->konst[C_HEADS] * GEMM_TILE_ROWS;
   const gemm_rows r = {0, m0, simt_least(GEMM_TILE_ROWS, gemm_num_rows(a) - m0), 1, 0};
   const simt_i64 matrix = head;
#endif
   const simt_i64 depth = r.expert < 0 ? 0 : a->konst[C_K];
   const int column = simt_thread() % GEMM_TILE_COLUMNS;
   const int first = simt_thread() / GEMM_TILE_COLUMNS * GEMM_ROWS_EACH;
   const simt_i64 n = simt_tile() % column_tiles * GEMM_TILE_COLUMNS + column;
   const simt_u8 *x = (const simt_u8 *)a->ptr[GEMM_X] + head * a->konst[C_X_HEAD];
   const simt_u8 *w = (const simt_u8 *)a->ptr[GEMM_AT_W] + matrix * a->konst[C_W_HEAD] +
                      n / PANEL_ROWS * a->konst[C_PANEL_BYTES];
   float sum[GEMM_ROWS_EACH];
#ifdef GEMM_W2
   const simt_u8 *w2 = (const simt_u8 *)a->ptr[GEMM_AT_W + 1] + matrix * a->konst[C_W_HEAD2] +
                       n / PANEL_ROWS * a->konst[C_PANEL_BYTES2];
   float sum2[GEMM_ROWS_EACH];
#endif

   SIMT_UNROLL
   for (int i = 0; i < GEMM_ROWS_EACH; i++) {
      sum[i] = 0;
#ifdef GEMM_W2
      sum2[i] = 0;
#endif
   }
   for (simt_i64 k0 = 0; k0 < depth; k0 += GEMM_TILE_K) {
      simt_sync(); /* the last tile has been read */
#if GEMM_INT8
      gemm_int8_fetch(a, &s->in, x, (const simt_u8 *)a->ptr[GEMM_X + 1], &r, k0);
      simt_copy_wait(0);
      simt_sync(); /* codes are there */
      if (n < columns)
         gemm_int8_tile(GEMM_W, w, &s->in, k0, (int)(n % PANEL_ROWS), first, sum);
#ifdef GEMM_W2
      if (n < columns)
         gemm_int8_tile(GEMM_W2, w2, &s->in, k0, (int)(n % PANEL_ROWS), first, sum2);
#endif
#else
      gemm_load_x(a, &s->in, x, &r, k0);
      simt_sync();
      const int many = (int)simt_least(GEMM_TILE_K, depth - k0);
      for (int k = 0; n < columns && k < many; k++) {
         const float wk = simt_weight(GEMM_W, w, k0 + k, (int)(n % PANEL_ROWS));
         SIMT_UNROLL
         for (int i = 0; i < GEMM_ROWS_EACH; i++)
            sum[i] = simt_fma(s->in.x[first + i][k], wk, sum[i]);
#ifdef GEMM_W2
         const float wk2 = simt_weight(GEMM_W2, w2, k0 + k, (int)(n % PANEL_ROWS));
         SIMT_UNROLL
         for (int i = 0; i < GEMM_ROWS_EACH; i++)
            sum2[i] = simt_fma(s->in.x[first + i][k], wk2, sum2[i]);
#endif
      }
#endif
   }
   SIMT_UNROLL
   for (int i = 0; i < GEMM_ROWS_EACH; i++) {
      float v = sum[i];

      if (first + i >= r.count || n >= columns)
         continue;
      const simt_i64 m = gemm_row(&r, first + i);
      const simt_i64 at = m * a->konst[C_Y_STRIDE] + head * columns + n;
      (void)at;
#ifdef GEMM_W2
      const float v2 = sum2[i];
#endif
      GEMM_STEPS
#if GEMM_QUANT
      s->y[first + i][column] = v;
#else
      ((float *)a->ptr[0])[at] = v;
#endif
   }
#if GEMM_QUANT
   gemm_quant_tile(a, s->y, &r, n - column);
#endif
}
