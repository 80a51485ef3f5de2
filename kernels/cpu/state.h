/* state.h - kernels over states that are whole per sequence: a causal convolution, a gated delta
 * net.
 *
 * Rows of one sequence are one run and go through a tile in order, so that the bits of a row depend
 * on its sequence's tokens only, never on how they were split into steps. Tiles of a run are parts
 * of the state that do not touch each other: channels, heads, columns. For run r:
 *
 *    runs[r] = first row, rows     from[r] page of the state before (-1 zeros)
 *    to[r]   page for the state after (-1 not written; may be from[r])
 *    snap_rows[r], snap[r]         after so many rows the state also goes to that page (-1 not) */
#ifndef KERNEL_STATE_H
#define KERNEL_STATE_H

#include "base/plan.h"
#include "codegen/vec.h"

enum { STATE_SYMBOL_MAX = 200, CONV_MAX_WIDTH = 16, CONV_MAX_PARTS = 4, GDN_MAX_KEY = 512 };

/* Channels first .. first + channels of the convolution, written to an output of their own. */
typedef struct conv_part {
   uint32_t first, channels;
   uint32_t block; /* channels of one tile; a head where heads are normed */
   bool norm;      /* each block is divided by the root of (its sum of squares + eps) */
   double eps;
} conv_part;

typedef struct conv_key {
   dtype w;                  /* f32, f16, bf16: in panels */
   uint32_t channels, width; /* C, W */
   bool silu;
   uint32_t num_parts;
   conv_part parts[CONV_MAX_PARTS];
} conv_key;

/* refs: y of each part f32[T][channels], state f32[page][W-1][C], x f32[T][C], w, runs, snap_rows,
 * from, to, snap. */
void conv_symbol(const conv_key *key, char out[STATE_SYMBOL_MAX]);
void conv_emit(vec_module *m, const conv_key *key);
void conv_launch(const conv_key *key, plan_launch *out);

typedef struct gdn_key {
   uint32_t groups, heads, dk, dv; /* G, H */
   double scale;
   bool gates; /* g = decay(x, a, b), beta = sigmoid(x'): instead of g and beta */
   bool norm;  /* y = rmsnorm(o) * silu(z) instead of o */
   double eps, offset;
} gdn_key;

/* refs: y f32[T][H][dv], state f32[page][H][dk][dv], q, k f32[T][G][dk], v f32[T][H][dv], g and
 * beta (gates: x and x') f32[T][H], runs, snap_rows, from, to, snap; gates: a, b f32[H]; norm: w
 * f32[dv], z f32[T][H][dv]. */
void gdn_symbol(const gdn_key *key, char out[STATE_SYMBOL_MAX]);
void gdn_emit(vec_module *m, const gdn_key *key);
void gdn_launch(const gdn_key *key, uint32_t lanes, plan_launch *out);

#endif
