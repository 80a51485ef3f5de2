/* gemm_mma_int8.cuh - a tile's product of codes on matrix instructions for bytes: what gemm_mma.cuh multiplies where inputs are codes. */
#ifndef GEMM_MMA_INT8_CUH
#define GEMM_MMA_INT8_CUH

typedef struct gemm_mma_int8_shared {
   gemm_codes x[GEMM_STAGES];
} gemm_mma_int8_shared;

/* Columns k0 … of the tile: total[tile][4] gains their products, of a group of columns at a time. */
SIMT_FN void gemm_mma_int8_tile(const simt_format f, const simt_u8 *panel, const gemm_codes *x, simt_i64 k0,
                                float (*total)[4])
{
   const int group = simt_group(f);
   simt_u32 w[MMA8_A];

   SIMT_UNROLL
   for (int i = 0; i < MMA8_A; i++)
      w[i] = gemm_int8_word(f, panel, k0 + simt_mma8_ka(simt_lane(), i), simt_mma_row(simt_lane(), i));
   SIMT_UNROLL
   for (int g = 0; g < GEMM_TILE_K; g += group) {
      float d[4], m[4];
      SIMT_UNROLL
      for (int i = 0; i < 4; i++)
         simt_group_scale(f, panel, k0 + g, simt_mma_c_row(simt_lane(), i), &d[i], &m[i]);
      SIMT_UNROLL
      for (int t = 0; t < MMA_TILES; t++) {
         simt_i32 sum[4] = {0, 0, 0, 0};
         simt_u32 b[2];
         SIMT_UNROLL
         for (int i = 0; i < 2; i++) {
            const int k = simt_mma8_kb(simt_lane(), i);
            b[i] = k / group == g / group ? x->x[t * MMA_N + simt_mma_n(simt_lane())][k / 4] : 0;
         }
         simt_mma_i8(sum, w, b);
         SIMT_UNROLL
         for (int i = 0; i < 4; i++) {
            const int n = t * MMA_N + simt_mma_c_col(simt_lane(), i);
            total[t][i] = simt_fma((float)sum[i], d[i] * x->scale[n], total[t][i]);
            if (f.min)
               total[t][i] = simt_fma(m[i], gemm_int8_sum(f, x, n, g), total[t][i]);
         }
      }
   }
}

#endif
