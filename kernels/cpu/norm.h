/* norm.h - the sum of squares of a row: one emitter, so that the bits of a norm do not depend on
 * the kernel that it is in. */
#ifndef KERNEL_NORM_H
#define KERNEL_NORM_H

#include "codegen/vec.h"

/* `lanes` elements of the row from i on, as f32. */
typedef vec_value norm_load(void *user, vec_value i, uint32_t lanes);

/* Sum over n elements: four interleaved sums over whole vectors, then what is left. */
vec_value norm_sum_squares(vec_fn *f, int64_t n, norm_load *load, void *user);

/* The same over the elements themselves. */
vec_value norm_sum(vec_fn *f, int64_t n, norm_load *load, void *user);

/* What a row is multiplied by: 1 / sqrt(sum / count + eps); count 1: of the sum itself. */
vec_value norm_factor(vec_fn *f, vec_value sum, int64_t count, double eps);

#endif
