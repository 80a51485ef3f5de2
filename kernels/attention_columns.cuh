/* attention_columns.cuh - columns of scores in the matrix C of an instruction, and chunks of a column that are folded in order. */
#ifndef ATTENTION_COLUMNS_CUH
#define ATTENTION_COLUMNS_CUH

/* Over the 16 rows of a column of the instruction's C, whose own elements are folded already. */
SIMT_FN float simt_mma_column_max(float v)
{
   for (int m = MMA_C_LANES; m < SIMT_WARP; m *= 2)
      v = simt_max(v, simt_shfl_xor(v, m));
   return v;
}

SIMT_FN float simt_mma_column_sum(float v)
{
   for (int m = MMA_C_LANES; m < SIMT_WARP; m *= 2)
      v += simt_shfl_xor(v, m);
   return v;
}

/* Folds the chunk into m and l of a column, and says what becomes of its o: old o + add o_c. */
SIMT_FN void attn_fold_column(float *m, float *l, float mc, float lc, float *old, float *add)
{
   *old = 1;
   *add = 0;
   if (mc == -simt_float(0x7f800000u))
      return; /* its row sees nothing of the chunk */
   const float top = simt_max(*m, mc);
   *old = simt_exp(*m - top);
   *add = simt_exp(mc - top);
   *m = top;
   *l = simt_fma(*l, *old, lc * *add);
}

#endif
