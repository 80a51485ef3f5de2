/* quant.h - 32 values as codes, a scale and sums, as base/pack.h lays them out: one emitter, so
 * that the bits do not depend on the kernel that quantises. */
#ifndef KERNEL_QUANT_H
#define KERNEL_QUANT_H

#include "codegen/vec.h"

enum { QUANT_GROUP = 32 };

/* Where one group of a row goes. */
typedef struct quant_place {
   vec_value codes, scale, dsum, sum16, less;
} quant_place;

/* Group `number` of a row of `groups` groups (i64); codes and scales: of the row. */
quant_place quant_place_of(vec_fn *f, vec_value codes, vec_value scales, vec_value groups,
                           vec_value number);

/* v: the group in QUANT_GROUP / lanes vectors of f32. */
void quant_emit_group(vec_fn *f, const vec_value *v, const quant_place *to);

#endif
