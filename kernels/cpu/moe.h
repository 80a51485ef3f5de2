/* moe.h - the small kernels around grouped matmuls: routing, permutation, combination. Meanings:
 * ir/ref/moe.c.
 *
 *    route          a row a tile: scores, selection, weights, all on the stack
 *    route_weights  a row a tile
 *    permute        one tile: a counting sort of the slots
 *    combine        a row a tile: sum over the slots of the token, ascending, by fma
 *
 * Bits of a row depend on that row only. */
#ifndef KERNEL_MOE_H
#define KERNEL_MOE_H

#include "gemm.h"

typedef enum route_score {
   ROUTE_none,
   ROUTE_softmax,
   ROUTE_sigmoid,
   ROUTE_sqrt_softplus,
   ROUTE_SCORES
} route_score;

/* The spelling of the IR's attribute; ROUTE_SCORES for another one. */
route_score route_score_of(const char *name);

typedef struct route_key {
   route_score score;
   uint32_t experts, k, groups, kept, group_top;
   bool bias, norm;
   bool given;   /* ids are an input: route_weights */
   bool permute; /* all rows in one tile, and then their slots by expert */
   float scale;
} route_key;

enum { ROUTE_MAX_EXPERTS = 2048, MOE_SYMBOL_MAX = 160 };

/* Constants of launches. */
enum permute_const { P_PER_SYM, P_SYM, P_SLOTS, P_EXPERTS, PERMUTE_CONSTS };
enum combine_const { M_K, M_WIDTH, COMBINE_CONSTS };

/* NULL when there is a kernel for the key, else the reason in words. */
const char *route_unsupported(const route_key *key);
void route_symbol(const route_key *key, char out[MOE_SYMBOL_MAX]);
void route_emit(vec_module *m, const route_key *key);

/* Fills tiles, num_refs, consts, bytes and flops. The caller fills refs in this order:
 *    route          ids i32[T][k], weights f32[T][k], logits f32[T][E], bias f32[E] if any;
 *                   then with permute: order i32[T*k], offsets i32[E+1]
 *    route_weights  weights, logits, ids */
void route_launch(const route_key *key, gemm_rows rows, plan_launch *out);

/* The counting sort, for a kernel that has the ids; slots and experts i64. */
void permute_slots(vec_fn *f, vec_value order, vec_value offsets, vec_value ids, vec_value slots,
                   vec_value experts);

/* The other kernels have no key, as extents are constants of their launches: one serves all. */
typedef struct slots_kernel {
   const char *symbol;
   void (*body)(vec_fn *f);
} slots_kernel;
extern const slots_kernel slots_permute, slots_lookup, slots_remap;
/* By how many rows of y's length are added to the sum behind it, in order: up to
 * COMBINE_ADDENDS. */
enum { COMBINE_ADDENDS = 2 };
extern const slots_kernel slots_combine[COMBINE_ADDENDS + 1];

/* Adds the kernel to the module unless it is there. */
void slots_emit(vec_module *m, const slots_kernel *k);

/* refs: order i32[slots], offsets i32[E+1], ids i32[slots]. */
void permute_launch(gemm_rows slots, uint64_t experts, plan_launch *out);

/* Rows of a table of ids: a row a tile. refs: ids i32[T][k], table i32[V][k], rows i32[T]. */
void lookup_launch(gemm_rows rows, uint64_t k, plan_launch *out);

/* Replicas of a token's experts: a row a tile. refs: ids i32[T][k], ids before i32[T][k], table
 * i32[E][most], rows i32[T]. */
enum remap_const { REMAP_K, REMAP_EXPERTS, REMAP_MOST, REMAP_CONSTS };
void remap_launch(gemm_rows rows, uint64_t k, uint64_t experts, uint64_t most, plan_launch *out);

/* refs: y f32[T][D], x f32[T*k][D], weights f32[T][k], addends f32[T][D], any of which may be y. */
void combine_launch(gemm_rows rows, uint64_t k, uint64_t width, uint32_t addends, plan_launch *out);

#endif
