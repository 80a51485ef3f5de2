/* gemm.h - y[M,N] = x[M,K] w[N,K]^T with an epilogue, for every weight format.
 *
 * w is packed in panels of 16 rows (base/pack.h). Two families:
 *    float   x is f32; w is widened exactly; one fma per k, ascending, per output. Any layout.
 *            With AMX, bf16 weights take x in three bf16 parts (gemm_amx.c) for any M.
 *    int8    x is quantised (pack.h: codes and scales, group pack_quant_group); integer dot
 *            products per block, f32 across blocks, ascending. Layouts of block formats.
 * An output's bits depend on its own row and column only: not on M, the tile or the thread.
 *
 * A tile is 64 rows (GEMM_ROWS) x some consecutive panels of one head; tile = (row chunk * heads +
 * head) * column tiles + column tile, so that consecutive tiles read w sequentially. Tiles may run
 * in any order. A plain matmul has one head.
 *
 * Grouped: w is a stack of matrices, one an expert, and rows of y are slots (ir/ops.def, permute).
 * A tile is some panels of every expert that has slots; experts without slots are not read. The
 * products and their bits are those of the dense kernel.
 *
 * Epilogue: v = x w^T, then the steps in order, then y = v in f32:
 *    gate/up:   {GEMM_STEP_silu}, {GEMM_STEP_mul_second}       v = silu(x w^T) * (x w2^T)
 *    residual:  {GEMM_STEP_add_mat}                            v = x w^T + r[M,N]
 * With quant, y is quantised instead, in groups of 32 outputs: codes and scales of pack.h.
 *
 * Adding a step: a row in GEMM_STEPS and a case in apply_step. */
#ifndef KERNEL_GEMM_H
#define KERNEL_GEMM_H

#include "base/pack.h"
#include "base/plan.h"
#include "codegen/vec.h"

/* STEP(name, operand pointers, has a number, meaning) */
#define GEMM_STEPS(STEP)                                                                           \
   STEP(add_row, 1, 0, "v + b[n]; f32 b[N]")                                                       \
   STEP(mul_row, 1, 0, "v * b[n]; f32 b[N]")                                                       \
   STEP(mul_col, 1, 0, "0 + c[m] * v; f32 c[M]")                                                   \
   STEP(add_mat, 1, 0, "v + r[m][n]; f32 r[M][N]; may be y itself")                                \
   STEP(mul_mat, 1, 0, "v * r[m][n]; f32 r[M][N]; may be y itself")                                \
   STEP(mul_second, 0, 0, "v * (x w2^T)")                                                          \
   STEP(mul_bounded, 0, 1, "v * (x w2^T, between -arg and arg)")                                   \
   STEP(at_most, 0, 1, "v, but arg above it")                                                      \
   STEP(scale, 0, 1, "v * arg")                                                                    \
   STEP(softcap, 0, 1, "arg * tanh(v / arg)")                                                      \
   STEP(silu, 0, 0, "v / (1 + exp(-v))")                                                           \
   STEP(gelu, 0, 0, "v * Phi(v)")                                                                  \
   STEP(gelu_tanh, 0, 0, "gelu with tanh")

typedef enum gemm_step_kind {
#define STEP(name, ptrs, num, what) GEMM_STEP_##name,
   GEMM_STEPS(STEP)
#undef STEP
      GEMM_STEP_COUNT
} gemm_step_kind;

typedef struct gemm_step {
   gemm_step_kind kind;
   float arg;
} gemm_step;

enum { GEMM_MAX_STEPS = 8, GEMM_SYMBOL_MAX = 160 };

/* x is normed by the kernel itself: rmsnorm with weights w[K]. */
typedef struct gemm_norm {
   uint32_t k;  /* 0: no norm */
   bool stored; /* the normed rows go to memory, too */
   double eps, offset;
} gemm_norm;

enum { GEMM_NORM_BYTES = 40 << 10 }; /* of normed rows on the stack */

/* GPU: the whole product, or sums of slices of k, and their sum in order with what follows. */
typedef enum gemm_form { GEMM_whole, GEMM_part, GEMM_merge } gemm_form;

/* What a kernel is specialised on; extents are run-time constants of the launch. */
typedef struct gemm_key {
   panel_layout w, w2; /* w2: PANEL_none unless a step is mul_second or mul_bounded */
   bool int8, grouped;
   bool combine;   /* grouped: y[token] += weight of the slot * v, experts ascending, from 0 on */
   bool parts;     /* x is what the split kernel made of it */
   bool quant;     /* y is quantised; N is whole groups, and there is one head */
   bool picks;     /* y is logits: the largest of a row is kept, see below */
   bool bounds;    /* picks: of each panel an upper bound is kept; w2 is the top of w */
   gemm_norm norm; /* floats, one weight, not grouped */
   uint32_t
      slices; /* GPU: k is summed in so many slices, which are added in order; 0 or 1: in one */
   gemm_form form;
   uint32_t num_steps;
   gemm_step steps[GEMM_MAX_STEPS];
} gemm_key;

/* Rows of x (grouped: slots): the value of a symbol, num times it for num > 1, or a number. */
typedef struct gemm_rows {
   bool is_sym;
   sym sym;
   int64_t num;
} gemm_rows;

typedef struct gemm_stack {
   uint64_t experts;
   uint64_t slots_per_row;   /* slots that share a row of x */
   uint64_t slots_per_token; /* slots that share a row of y; 1 without combine */
   bool few;                 /* slots are about as few as experts: a tile has one of them */
} gemm_stack;

/* NULL when a kernel exists for the key at this K, else the reason in words. */
const char *gemm_unsupported(const gemm_key *key, uint64_t k);

/* The kernel's symbol: equal keys, equal names; at most GEMM_SYMBOL_MAX bytes. */
void gemm_symbol(const gemm_key *key, char out[GEMM_SYMBOL_MAX]);

/* Adds the kernel to the module unless it is there. */
void gemm_emit(vec_module *m, const gemm_key *key);

/* Fills tiles, num_refs, consts, num_consts, bytes and flops of a launch (not kernel, phase, group,
 * refs). The caller fills refs[0 .. num_refs) in this order:
 *
 *    y        f32[M][N], or with quant the codes i8[M][N] and then the scales; with picks the parts and
 *             the draws behind it
 *    x        f32[M][K], or for int8 the codes i8[M][K] and then the scales (strides of pack.h), with
 *             bounds the raised ones behind them, or the parts bf16[M][3][K rounded up]
 *    norm     if stored the normed rows f32[M][K]; in front of x. Behind x the weights f32[K]
 *    w        panels; then w2's when there is one
 *    order, offsets   grouped: i32[slots], i32[experts + 1]
 *    weights  combine: f32[slots]; y is then f32[slots / slots_per_token][N]
 *    operands of the steps, in order */
void gemm_launch(const gemm_key *key, gemm_rows rows, uint64_t n, uint64_t k, plan_launch *out);

/* Heads of a product with a matrix each: y[M][H][N] = x[M][H][K] w[H][N][K]^T. x may be part of
 * wider rows. */
typedef struct gemm_heads {
   uint64_t count;
   uint64_t x_stride, x_head; /* bytes between rows of x, and between heads of one */
} gemm_heads;

/* The same for float kernels without a second weight. */
void gemm_launch_heads(const gemm_key *key, gemm_rows rows, const gemm_heads *heads, uint64_t n,
                       uint64_t k, plan_launch *out);

/* The same for a grouped key; n, k of one matrix. */
void gemm_launch_experts(const gemm_key *key, gemm_rows slots, uint64_t n, uint64_t k,
                         const gemm_stack *stack, plan_launch *out);

/* ---- pairs ----
 * A sum of experts and one more matrix of the same outputs in one kernel: a step of the second adds
 * what the first made, `add_mat` of y. */
typedef struct gemm_pair {
   gemm_key routed, dense;
} gemm_pair;

enum { GEMM_PAIR_SYMBOL_MAX = 2 * GEMM_SYMBOL_MAX + 8 };

/* NULL, or why there is no kernel though there is one for each part. */
const char *gemm_pair_unsupported(const gemm_pair *pair);
void gemm_pair_symbol(const gemm_pair *pair, char out[GEMM_PAIR_SYMBOL_MAX]);
void gemm_pair_emit(vec_module *m, const gemm_pair *pair);

/* From the launches of both parts; the caller fills refs: those of the first, then of the second,
 * y in front of each. */
void gemm_pair_launch(const plan_launch *routed, const plan_launch *dense, plan_launch *out);

/* ---- picks ----
 * Rows of y are logits, of which most steps need the largest only: the product leaves that of each
 * tile's columns and its number in `parts`, gemm_pick_bytes a row, and a kernel behind it finds the
 * row's among them. y itself has the rows whose draw (base/draw.h) is not DRAW_best. Not grouped
 * or quantised. */

/* Bytes of parts a row, of a product that gemm_launch has filled. */
uint64_t gemm_pick_bytes(const plan_launch *gemm);

#define PICK_SYMBOL "pick"
void pick_emit(vec_module *m);

/* As gemm_launch; the caller fills refs: ids i32[R], parts. An id is below 0 where a logit of the
 * row is NaN or infinite, or all are -inf. */
void pick_launch(const plan_launch *gemm, plan_launch *out);

/* ---- bounds ----
 * Picks for which w is read only where that is necessary (gemm_bound.c): a kernel before the
 * product raises the scales of x, the product leaves a bound of each panel, gemm_bound_bytes a row,
 * and the kernel behind it finds the row's largest. No steps; what is wanted is y as of picks. */

/* Bytes of bounds a row, of a product that gemm_launch has filled. */
uint64_t gemm_bound_bytes(const plan_launch *gemm);

#define RAISE_SYMBOL "raise"
void raise_emit(vec_module *m);
/* The caller fills refs: raised scales, x's codes, x's scales. */
void raise_launch(const plan_launch *gemm, plan_launch *out);

void settle_symbol(panel_layout w, char out[GEMM_SYMBOL_MAX]);
void settle_emit(vec_module *m, panel_layout w);
/* The caller fills refs: ids i32[R] as of picks, bounds, x's codes, x's scales, w. */
void settle_launch(const plan_launch *gemm, plan_launch *out);

/* ---- parts ----
 * f32 x as the exact sum of three bf16, for AMX: a kernel of its own before the product.
 */

/* Whether the product of this key is one of parts at that level. */
bool gemm_wants_parts(const gemm_key *key, const isa_info *isa);

/* Bytes from a row of parts to the next; parts are a third of it apart, zero past k. */
uint64_t gemm_parts_stride(uint64_t k);

#define GEMM_SPLIT_SYMBOL "gemm_split"
void gemm_split_emit(vec_module *m);

/* As gemm_launch; the caller fills refs: parts, x. */
void gemm_split_launch(gemm_rows rows, uint64_t k, plan_launch *out);

#endif
