/* gemm_mma_weights.cuh - packed weights as the matrix A of an instruction: codes as bf16, scales apart; floats in bf16 parts. */
#ifndef GEMM_MMA_WEIGHTS_CUH
#define GEMM_MMA_WEIGHTS_CUH

enum {
   MMA_K = 16,
   MMA_TILES = GEMM_TILE_ROWS / MMA_N,
   MMA_PANELS = GEMM_TILE_COLUMNS / PANEL_ROWS / SIMT_WARPS /* of a warp */
};
SIMT_ASSERT(MMA_TILES * MMA_N == GEMM_TILE_ROWS && MMA_PANELS * PANEL_ROWS * SIMT_WARPS == GEMM_TILE_COLUMNS);

/* The largest bf16 part of x, without rounding up past it: what is left is exact. */
SIMT_FN simt_u32 gemm_part(float *x)
{
   const simt_u32 part = simt_bits(*x) & 0xffff0000u;

   *x = *x - simt_float(part);
   return part >> 16;
}

/* f16 has three bits more than one bf16 holds. */
SIMT_FN int gemm_mma_is_halves(const simt_format f)
{
   return f.kind == PANEL_KIND_FLOAT && !f.is_bf16;
}

/* The code of element k of row r as bf16 bits; bf16 weights are their own codes. Of f16: the larger part, and the rest behind it. */
SIMT_FN simt_u32 gemm_mma_code(const simt_format f, const simt_u8 *panel, simt_i64 k, int r, int rest)
{
   if (gemm_mma_is_halves(f)) {
      float w = simt_f16(*(const simt_u16 *)(panel + k * f.block_bytes + 2 * r));
      const simt_u32 large = gemm_part(&w);
      return rest ? simt_bits(w) >> 16 : large;
   }
   if (f.kind == PANEL_KIND_FLOAT)
      return *(const simt_u16 *)(panel + k * f.block_bytes + 2 * r);
   const simt_u8 *block = panel + k / f.block * f.block_bytes;
   const int kk = (int)(k % f.block);
   if (f.kind == PANEL_KIND_SCALED)
      return simt_bits(simt_scaled_code(f, block, kk, r)) >> 16;
   return simt_bits((float)(simt_code(f, block + kk / 32 * f.cell_bytes, kk % 32, r) - f.bias)) >> 16;
}

/* A, from columns k0 … of a panel; rest: of what codes leave of f16. */
SIMT_FN void gemm_mma_w(const simt_format f, const simt_u8 *panel, simt_i64 k0, simt_i64 depth, int rest,
                        simt_u32 *out)
{
   SIMT_UNROLL
   for (int i = 0; i < MMA_A; i++) {
      const simt_i64 k = k0 + simt_mma_ka(simt_lane(), i);
      const int r = simt_mma_row(simt_lane(), i);
      out[i] = k < depth ? gemm_mma_code(f, panel, k, r, rest) : 0;
      out[i] |= k + 1 < depth ? gemm_mma_code(f, panel, k + 1, r, rest) << 16 : 0;
   }
}

#endif
