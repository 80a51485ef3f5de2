/* rope_rows.h - cos and sin of token positions, by the rule of base/rope.h.
 *
 * Rows that depend on the position only are computed once and kept. Rows of a prompt whose table
 * depends on the prompt's length are computed when they are asked. */
#ifndef RT_ROPE_ROWS_H
#define RT_ROPE_ROWS_H

#include "base/rope.h"

typedef struct rt_rope rt_rope;

/* For positions below max_positions. Memory is mapped, and touched as positions are used. Errors
 * OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_rope_create(const rope_spec *spec, int64_t max_positions,
                                            rt_rope **out);
void rt_rope_destroy(rt_rope *r);

/* The row, f32[spec->width]: cos then sin, valid until the next call.
 *
 *   num_prompt   tokens of the request's first prompt */
const float *rt_rope_row(rt_rope *r, int64_t num_prompt, int64_t position);

/* Writes the row, f32[spec->width], of a position with three axes; the table must not depend on
 * lengths. */
void rt_rope_fill(rt_rope *r, const int64_t at[ROPE_AXES], float *row);

/* Names the table that rotates a position: equal ids, equal rows. */
uint64_t rt_rope_id(rt_rope *r, int64_t num_prompt, int64_t position);

#endif
