/* rows.h - what the sampler does over a whole row of logits, in one fixed order. */
#ifndef RT_ROWS_H
#define RT_ROWS_H

#include "base/base.h"

/* The largest value and the lowest index that has it. False when a value is NaN or +inf, or all are
 * -inf. */
bool rt_row_max(const float *x, uint32_t n, float *out_max, uint32_t *out_at);

/* y = exp(x - max) when y is not NULL; returns the sum. x may have -inf. */
double rt_row_exp(const float *x, uint32_t n, float max, float *y);

/* y = x where a bit is set, of word i / 32 bit i % 32, and -inf elsewhere. */
void rt_row_allow(const float *x, const uint32_t *bits, uint32_t n, float *y);

typedef struct rt_candidate {
   float value;
   int32_t id;
} rt_candidate;

/* The k largest of a row, largest first, equal values by id; returns how many: MIN(k, n). */
uint32_t rt_row_top(const float *x, uint32_t n, uint32_t k, rt_candidate *out);

/* What a logit weighs: exp((x - max) * inverse) in units of 2^-30, to the nearest. Sums of whole
 * numbers have no order, so that a device that adds in parallel picks the same token
 * (kernels/sample.cuh spells it again). */
uint32_t rt_weigh(float x, float max, float inverse);
/* Weighs a row; returns the sum. */
uint64_t rt_row_weigh(const float *x, uint32_t n, float max, float inverse, uint32_t *weights);
/* The same, of which only the sums of RT_ROW_BLOCK weights each are kept. */
enum { RT_ROW_BLOCK = 256 };
uint64_t rt_row_weigh_blocks(const float *x, uint32_t n, float max, float inverse, uint64_t *sums);

/* Collects the logits that weigh at least `floor` > 0, by id; returns how many there are, also when
 * they are more than cap (then out holds the first cap). */
uint32_t rt_row_heavy(const float *x, const uint32_t *weights, uint32_t n, uint32_t floor,
                      rt_candidate *out, uint32_t cap);

/* Sorts by value, largest first, equal values by id. In place; heap sort. */
void rt_sort(rt_candidate *c, uint32_t n);

#endif
