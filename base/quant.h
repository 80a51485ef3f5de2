/* quant.h - block formats of quantised weights: what their bytes mean, and their planes.
 * Source: ggml block definitions, restated in facts; exact against vectors/quant.json. */
#ifndef BASE_QUANT_H
#define BASE_QUANT_H

#include "dtype.h"

/* Dequantises n elements (a multiple of the block; SCALED types: one row of n) of any dtype of
 * dtypes.def to f32, in the order and rounding of the format's definition. Plain float types are
 * converted. SCALED: code * scale, rounded once. */
void quant_to_f32(dtype t, const void *src, uint64_t n, float *dst);

/* The integer planes of one storage block, such that for element i, with sub = i / sub_block:
 *    value = d * scale[sub] * code[i]  -  dmin * min[sub]
 * exactly in real arithmetic. codes are 0..255 or, for signed formats, -128..127. scale is 1 for
 * formats without sub-block scales; min is the integer minimum (0 where there is none; for q4_0 8,
 * with dmin = d). */
typedef struct quant_planes {
   int16_t code[256];
   int16_t scale[16], min[16];
   float d, dmin;
   uint32_t sub_block; /* elements per scale */
} quant_planes;

void quant_planes_of(dtype t, const void *block, quant_planes *out);

/* The formula over the planes of one block of n elements; the rounding of quant_to_f32. */
void quant_planes_to_f32(const quant_planes *p, uint32_t n, float *dst);

/* The values that the 16 codes of iq4_nl and iq4_xs stand for, ascending. */
extern const int8_t quant_iq4_values[16];

/* Twice the values of the 16 e2m1 codes of mxfp4: sign, two bits of exponent, one of mantissa. */
extern const int8_t quant_e2m1_values[16];

#endif
