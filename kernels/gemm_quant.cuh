/* gemm_quant.cuh - outputs of a product that leave its kernel as codes and scales. */
#ifndef GEMM_QUANT_CUH
#define GEMM_QUANT_CUH

/* Output n of row m in each of 32 threads that are a group. */
SIMT_FN void gemm_quant(const simt_args *a, float v, simt_i64 m, simt_i64 n, int there)
{
   simt_quant(v, n / SIMT_QUANT_GROUP, a->konst[C_N] / SIMT_QUANT_GROUP, (simt_u8 *)a->ptr[0] + m * a->konst[C_Y_STRIDE],
              (simt_u8 *)a->ptr[1] + m * a->konst[C_Y_SCALES], there);
}

/* A block's outputs, from column n0 on; rows are whole groups. */
SIMT_FN void gemm_quant_tile(const simt_args *a, const float (*y)[GEMM_TILE_COLUMNS], const gemm_rows *r, simt_i64 n0)
{
   simt_sync(); /* every output is there */
   for (int i = simt_thread(); i < GEMM_TILE_ROWS * GEMM_TILE_COLUMNS; i += SIMT_THREADS) {
      const int row = i / GEMM_TILE_COLUMNS, n = i % GEMM_TILE_COLUMNS;
      const int there = row < r->count && n0 + n < a->konst[C_N];
      gemm_quant(a, there ? y[row][n] : 0.0f, there ? gemm_row(r, row) : 0, n0 + n, there);
   }
}

#endif
