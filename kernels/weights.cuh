/* weights.cuh - one element of a packed weight as f32. Layouts: base/panels.def, whose rows the
 * assembled text writes as simt_format constants. */
#ifndef WEIGHTS_CUH
#define WEIGHTS_CUH

/* A row of panels.def; all fields are constants where it is used. */
typedef struct simt_format {
   int kind, float_bytes, is_bf16; /* kind: PANEL_KIND_x */
   int low, high, block, sub, min, code, bias;
   int scales_at, cell_bytes, block_bytes;
} simt_format;

SIMT_FN float simt_half(const simt_format f, const simt_u8 *at)
{
   simt_u16 h = *(const simt_u16 *)at;

   return f.is_bf16 || f.code == PANEL_CODE_E ? simt_bf16(h) : simt_f16(h);
}

/* The stored code of row r, element kk of a cell of 32. */
SIMT_FN int simt_code(const simt_format f, const simt_u8 *cell, int kk, int r)
{
   int g = kk / 4, j = kk % 4, per = 8 / f.low;
   int code = cell[g / per * 64 + 4 * r + j] >> f.low * (g % per) & ((1 << f.low) - 1);

   if (f.high) {
      int per_high = 8 / f.high;
      int high = cell[f.low * 64 + g / per_high * 64 + 4 * r + j] >> f.high * (g % per_high);
      code |= (high & ((1 << f.high) - 1)) << f.low;
   }
   if (f.code == PANEL_CODE_S)
      return (simt_i8)code;
   if (f.code == PANEL_CODE_T)
      return simt_iq4_values[code];
   if (f.code == PANEL_CODE_E)
      return simt_e2m1_values[code];
   return code;
}

/* Integer scale and minimum of the sub-block that element kk of a super-block of 256 is in. */
SIMT_FN void simt_sub_scale(const simt_format f, const simt_u8 *block, int kk, int r, int *scale,
                            int *min)
{
   int c = kk / 32;
   const simt_u8 *cell = block + c * f.cell_bytes;

   *min = 0;
   if (f.sub == 32) {
      *scale = (simt_i8)cell[f.scales_at + r];
      if (f.min)
         *min = block[((c & ~1) + r / 8) * f.cell_bytes + f.scales_at + 16 + 2 * (r % 8) + c % 2];
   } else {
      simt_u8 both = cell[f.scales_at + 2 * r + kk % 32 / 16];
      *scale = f.min ? both & 15 : (simt_i8)both;
      *min = both >> 4;
   }
}

/* An element of a super-block: d and dmin lie behind the cells. */
SIMT_FN float simt_super(const simt_format f, const simt_u8 *block, int kk, int r)
{
   const simt_u8 *cell = block + kk / 32 * f.cell_bytes;
   const simt_u8 *tail = block + f.block / 32 * f.cell_bytes;
   float d = simt_half(f, tail + 2 * r), v;
   int scale, min;

   simt_sub_scale(f, block, kk, r, &scale, &min);
   v = d * (float)(scale * (simt_code(f, cell, kk % 32, r) - f.bias));
   return f.min ? v - simt_half(f, tail + 32 + 2 * r) * (float)min : v;
}

/* The code of element kk of row r of a block whose scales are floats. */
SIMT_FN float simt_scaled_code(const simt_format f, const simt_u8 *block, int kk, int r)
{
   const simt_u8 code = block[64 + kk * 16 + r];

   return f.code == PANEL_CODE_S ? (float)(simt_i8)code : simt_e4m3(code);
}

/* Element k of row r of a panel. */
SIMT_FN float simt_weight(const simt_format f, const simt_u8 *panel, simt_i64 k, int r)
{
   if (f.kind == PANEL_KIND_FLOAT) {
      const simt_u8 *at = panel + k * f.block_bytes + r * f.float_bytes;
      return f.float_bytes == 4 ? *(const float *)at : simt_half(f, at);
   }
   const simt_u8 *block = panel + k / f.block * f.block_bytes;
   int kk = (int)(k % f.block);
   if (f.kind == PANEL_KIND_SCALED)
      return ((const float *)block)[r] * simt_scaled_code(f, block, kk, r);
   if (f.block == 256)
      return simt_super(f, block, kk, r);
   float d = simt_half(f, block + f.scales_at + 2 * r);
   int code = simt_code(f, block, kk, r);
   if (f.min)
      return simt_fma(d, (float)code, simt_half(f, block + f.scales_at + 32 + 2 * r));
   return d * (float)(code - f.bias);
}

/* Columns that share scales, as many as a product sums at a time. */
SIMT_FN int simt_group(const simt_format f)
{
   return f.block == 16 || (f.block == 256 && f.sub == 16) ? 16 : 32;
}

/* d and m of row r at column k: value = d code + m. */
SIMT_FN void simt_group_scale(const simt_format f, const simt_u8 *panel, simt_i64 k, int r, float *d, float *m)
{
   *d = 1;
   *m = 0;
   if (f.kind == PANEL_KIND_FLOAT)
      return;
   const simt_u8 *block = panel + k / f.block * f.block_bytes;
   if (f.kind == PANEL_KIND_SCALED) {
      *d = ((const float *)block)[r];
   } else if (f.block == 32) {
      *d = simt_half(f, block + f.scales_at + 2 * r);
      if (f.min)
         *m = simt_half(f, block + f.scales_at + 32 + 2 * r);
   } else {
      int scale, min;
      simt_sub_scale(f, block, (int)(k % f.block), r, &scale, &min);
      const simt_u8 *tail = block + f.block / 32 * f.cell_bytes;
      *d = simt_half(f, tail + 2 * r) * (float)scale;
      if (f.min)
         *m = -(simt_half(f, tail + 32 + 2 * r) * (float)min);
   }
}

#endif
