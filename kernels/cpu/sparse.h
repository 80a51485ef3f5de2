/* sparse.h - compressed attention: entries, their choice, and attention over a window and entries.
 *
 *    compress   tile = (row, block of channels): the pooled values of the chunk that the row closes, or 0
 *    index      score   tile = (row, ATTN_CHUNK positions): scores of the entries of chunks that end in them
 *               select  tile = a row: the largest ones, ascending; nothing is scored while all are seen
 *    attention  tile = (row, block of heads): blocks of SPARSE_KEYS rows, window first, folded in order:
 *
 *       m = sink, l = 1, o = 0;   s = scale q r;   m' = max(m, s);   l = l e^(m-m') + sum e^(s-m'); o alike
 *
 * The bits of a row depend on its own position and what the states hold, never on the step. Rows of
 * a state: base/plan.h. Meanings: ir/ref/sparse.c. */
#ifndef KERNEL_SPARSE_H
#define KERNEL_SPARSE_H

#include "base/plan.h"
#include "codegen/vec.h"

enum {
   SPARSE_SYMBOL_MAX = 200,
   SPARSE_KEYS = 64,
   SPARSE_CHANNELS = 64,
   SPARSE_MAX_WIDTH = 1024 /* of a head: the stack holds o of a block */
};

typedef struct compress_key {
   dtype kv;              /* of the state */
   uint32_t width, start; /* of a row; where values begin */
   uint32_t d, ratio;     /* of an entry; positions of a chunk */
   bool overlap;
} compress_key;

/* refs: y f32[T][d], rows, ape f32[ratio][c d], positions, seq_of, block_table. */
void compress_symbol(const compress_key *key, char out[SPARSE_SYMBOL_MAX]);
void compress_emit(vec_module *m, const compress_key *key);
void compress_launch(const compress_key *key, plan_launch *out);

typedef struct index_key {
   bool select;
   dtype kv;
   uint32_t heads, d, ratio, k;
} index_key;

/* refs   score   scratch, q f32[T][H][d], w f32[T][H], entries, positions, seq_of, block_table
 *        select  ids i32[T][k], scratch, positions */
void index_symbol(const index_key *key, char out[SPARSE_SYMBOL_MAX]);
void index_emit(vec_module *m, const index_key *key);
void index_launch(const index_key *key, plan_launch *out);
/* Scratch bytes for each chunk of context. */
uint64_t index_scratch(const index_key *key, int64_t max_rows);

typedef struct sparse_key {
   dtype q, kv, entry, y; /* entry: of the second state */
   uint32_t heads, d, k;  /* k: ids of a row */
   uint32_t ratio;        /* 0: no entries */
   bool chosen;           /* ids are given */
   int64_t window;
   double scale;
} sparse_key;

/* refs: y, q, window rows, sinks f32[H], positions, seq_of, block_table; with entries: entries,
 * their block_table; chosen: ids i32[T][k]. */
void sparse_symbol(const sparse_key *key, char out[SPARSE_SYMBOL_MAX]);
void sparse_emit(vec_module *m, const sparse_key *key);
void sparse_launch(const sparse_key *key, plan_launch *out);

#endif
