/* attention.h - attention over KV pages, by fixed partials of ATTN_CHUNK positions folded in order.
 *
 *    rows of a tile x heads of one kv head ─▶ M row-heads, in blocks of `block`
 *    m = -inf, l = 0; with sinks m = sink, l = 1
 *    for each chunk c, ascending:   s = scale q k^T (soft cap, mask);  m_c = max s
 *                                   p = exp(s - m_c);  l_c = sum p;  o_c = p v
 *                                   m' = max(m, m_c)
 *                                   o = o exp(m - m') + o_c exp(m_c - m');  l alike;  m = m'
 *    y = o / l
 *
 * Pages hold k transposed and v (base/plan.h), or latent rows; then a query is q[r] | p[n], from
 * two matrices. Three forms with the same bits: `whole` folds all chunks in one tile (prefill);
 * `row` does so with blocks of one row's heads (few rows, short context; also in the others, where
 * a tile has one row); `part` computes one chunk
 * per tile into scratch and `merge` folds them (few rows, parallel over the context). The bits of
 * a row depend on its own q and its visible positions only: a masked position has p = 0 exactly,
 * and sums run lane by lane over positions in order. Pages past the last visible position are not
 * read, and whatever a page holds past it has no effect. */
#ifndef KERNEL_ATTENTION_H
#define KERNEL_ATTENTION_H

#include "base/pack.h"
#include "base/plan.h"
#include "codegen/vec.h"

typedef enum attention_form {
   ATTENTION_whole,
   ATTENTION_row,
   ATTENTION_part,
   ATTENTION_merge,
   ATTENTION_expanded,
   ATTENTION_expanded_merge /* GPU: of what blocks of the expanded form have left */
} attention_form;

enum { ATTENTION_SYMBOL_MAX = 192 };

typedef struct attention_key {
   attention_form form;
   dtype q, kv, y;
   uint32_t heads, groups, width; /* H, G, d */
   uint32_t value;                /* elements of a value: d, or r of a latent row */
   bool sinks;                    /* f32[H]: one more score a head, without a value */
   bool latent;                   /* a position is one row c | k, which is key, and c value */
   uint32_t columns;              /* GPU, on matrix instructions: row-heads of a block; else 0 */
   bool bytes;                    /* these take e4m3 of queries and weights, too */
   int64_t window;                /* 0: all positions */
   double scale, cap;             /* cap 0: none */
   bool quant; /* y is quantised in groups of 32, which heads are whole ones of */
   /* expanded: d = a + n of a head's key, of which n are the row's own */
   uint32_t rank;             /* r, elements of a latent row that the matrices take */
   uint32_t rotated;          /* n */
   panel_layout keys, values; /* of the matrices [H, a, r], [H, v, r] */
   uint64_t shared;           /* GPU: bytes that a block shares */
} attention_key;

void attention_symbol(const attention_key *key, char out[ATTENTION_SYMBOL_MAX]);
void attention_emit(vec_module *m, const attention_key *key);

/* Fills tiles, num_refs, bytes and flops of a launch. The caller fills refs in this order:
 *    whole   y, q, (p,) pages, (sinks,) tiles, positions, seq_of, block_table; row alike
 *    part    scratch, q, (p,) pages, (sinks,) tiles, positions, seq_of, block_table
 *    merge   y, scratch, (sinks,) tiles, positions
 * With quant, y is the codes i8[T][H d], and scales (base/pack.h) stand behind it. */
void attention_launch(const attention_key *key, uint32_t lanes, plan_launch *out);

/* Scratch bytes of the part form for each chunk of context, with at most max_tiles row tiles. */
uint64_t attention_scratch(const attention_key *key, uint32_t lanes, int64_t max_tiles);

/* ---- expanded (attention_expand.c) ----
 * Latent pages, from which keys and values of a head are made chunk by chunk. Rows of a step that
 * belong together (runs) are taken one run after the other; refs:
 *    y, q[T,H,a], p[T,H,n], pages, keys, values, runs, positions, seq_of, block_table, scratch */
enum { ATTENTION_EXPANDED_REFS = 11 };

/* Scratch bytes for steps of at most so many rows in so many runs. */
uint64_t attention_expanded_scratch(const attention_key *key, int64_t max_rows, int64_t max_runs);

/* NULL when there is a kernel, else the reason. */
const char *attention_expanded_unsupported(const attention_key *key);

#endif
