/* gemm_int8.cuh - inputs of a product that are codes with scales (base/pack.h), 32 columns at a time, and weights as words of four codes
 * next to them: integer sums, which are exact, then one fma a group of columns that share a weight's scale.
 *
 *    sum = codes . codes of x     total += sum (d s) + m (s (sum of x's codes))     s: of x; d, m: of the weight, w = d code + m
 *
 * Layouts: blocks and sub-blocks of 16 and 32, and whole numbers with f32 scales. */
#ifndef GEMM_INT8_CUH
#define GEMM_INT8_CUH

enum { GEMM_WORDS = GEMM_TILE_K / 4 };

/* Columns k0 … of the rows of a tile. Rows of codes are 16 bytes further apart, so that lanes of a fragment read different banks. */
typedef struct gemm_codes {
   simt_u32 x[GEMM_TILE_ROWS][GEMM_WORDS + 4];
   float scale[GEMM_TILE_ROWS], sum[GEMM_TILE_ROWS];
   simt_u32 halves[GEMM_TILE_ROWS]; /* i16[2]: sums of 16 codes */
} gemm_codes;

/* Starts the copy of columns k0 … of the rows; what is not there becomes 0. Rows of codes are whole groups. */
SIMT_FN void gemm_int8_fetch(const simt_args *a, gemm_codes *to, const simt_u8 *x, const simt_u8 *scales,
                             const gemm_rows *r, simt_i64 k0)
{
   const simt_i64 depth = a->konst[C_K];
   const int half = simt_thread() % 2, m = simt_thread() / 2 % GEMM_TILE_ROWS, part = simt_thread() / 2 / GEMM_TILE_ROWS;
   const int there = m < r->count;
   const simt_i64 row = there ? gemm_row(r, m) / r->share : 0;
   const simt_u8 *s = scales + row * a->konst[C_S_STRIDE] + k0 / 8; /* f32 a group of 32 */

   if (part == 0)
      simt_copy16(&to->x[m][4 * half], x + row * a->konst[C_X_STRIDE] + k0 + 16 * half, there);
   else if (part == 1 && half)
      simt_copy4(&to->scale[m], s, there);
   else if (part == 1)
      simt_copy4(&to->sum[m], s + depth / 8, there);
   else if (part == 2 && half)
      simt_copy4(&to->halves[m], s + depth / 4, there);
   simt_copy_end();
}

/* What stands for the sum of x over the group at column g. */
SIMT_FN float gemm_int8_sum(const simt_format f, const gemm_codes *c, int m, int g)
{
   if (simt_group(f) == GEMM_TILE_K)
      return c->sum[m];
   return c->scale[m] * (float)(short)(c->halves[m] >> (g ? 16 : 0));
}

/* Four bytes less `by` each: bytes below 128, by no more than that. */
SIMT_FN simt_u32 gemm_int8_less(simt_u32 bytes, int by)
{
   return ((bytes | 0x80808080u) - 0x01010101u * (simt_u32)by) ^ 0x80808080u;
}

/* The codes of columns k … k + 3 of row r, a byte each; k is a multiple of 4. */
SIMT_FN simt_u32 gemm_int8_word(const simt_format f, const simt_u8 *panel, simt_i64 k, int r)
{
   const simt_u8 *block = panel + k / f.block * f.block_bytes;
   const int kk = (int)(k % f.block), g = kk % 32 / 4;
   simt_u32 word = 0;

   if (f.kind == PANEL_KIND_SCALED) {
      SIMT_UNROLL
      for (int j = 0; j < 4; j++)
         word |= (simt_u32)block[4 * PANEL_ROWS + (kk + j) * PANEL_ROWS + r] << 8 * j;
      return word;
   }
   const simt_u32 *line = (const simt_u32 *)(block + kk / 32 * f.cell_bytes) + r;
   word = line[g * f.low / 8 * PANEL_ROWS] >> g * f.low % 8 & 0x01010101u * (0xffu >> (8 - f.low));
   if (f.high) {
      const simt_u32 high = line[(f.low + g * f.high / 8) * PANEL_ROWS] >> g * f.high % 8;
      word |= (high & 0x01010101u * (0xffu >> (8 - f.high))) << f.low;
   }
   if (f.code == PANEL_CODE_T || f.code == PANEL_CODE_E) {
      const signed char *values = f.code == PANEL_CODE_T ? simt_iq4_values : simt_e2m1_values;
      simt_u32 out = 0;
      SIMT_UNROLL
      for (int j = 0; j < 4; j++)
         out |= (simt_u32)(simt_u8)values[word >> 8 * j & 15] << 8 * j;
      return out;
   }
   return f.bias ? gemm_int8_less(word, f.bias) : word;
}

/* Columns k0 … of a tile, without fragments: total[GEMM_ROWS_EACH] of rows first … and row r of a panel gains their products. */
SIMT_FN void gemm_int8_tile(const simt_format f, const simt_u8 *panel, const gemm_codes *c, simt_i64 k0, int r,
                            int first, float *total)
{
   const int group = simt_group(f);

   SIMT_UNROLL
   for (int g = 0; g < GEMM_TILE_K; g += group) {
      simt_i32 sum[GEMM_ROWS_EACH];
      float d, m;
      simt_group_scale(f, panel, k0 + g, r, &d, &m);
      SIMT_UNROLL
      for (int i = 0; i < GEMM_ROWS_EACH; i++)
         sum[i] = 0;
      for (int k = g; k < g + group; k += 4) {
         const simt_u32 w = gemm_int8_word(f, panel, k0 + k, r);
         SIMT_UNROLL
         for (int i = 0; i < GEMM_ROWS_EACH; i++)
            sum[i] = simt_dot4(c->x[first + i][k / 4], w, sum[i]);
      }
      SIMT_UNROLL
      for (int i = 0; i < GEMM_ROWS_EACH; i++) {
         total[i] = simt_fma((float)sum[i], d * c->scale[first + i], total[i]);
         if (f.min)
            total[i] = simt_fma(m, gemm_int8_sum(f, c, first + i, g), total[i]);
      }
   }
}

#endif
