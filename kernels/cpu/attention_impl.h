/* attention_impl.h - what the files of the attention kernels share. What a kernel keeps on its
 * stack, per row-head r of its block:
 *
 *    q[r][d]  s[r][ATTN_CHUNK]  top[r][lanes]  o[r][dv]  f32
 *    last[r] first[r]                                    i32, visible positions
 *    m[r] l[r] mc[r] lc[r] a[r] b[r]                     f32, maxima, sums and fold factors, running and
 *                                                        of the chunk */
#ifndef KERNEL_ATTENTION_IMPL_H
#define KERNEL_ATTENTION_IMPL_H

#include <math.h>

#include "attention.h"

enum { MAX_BLOCK = 12 };

/* What is read a chunk after what is read now: so many pages behind it, of a table and a kv head,
 * up to a position. */
typedef struct attn_ahead {
   vec_value table, group, pages, high;
} attn_ahead;

typedef struct attn {
   vec_fn *f;
   const attention_key *k;
   uint32_t lanes, per_kv, block, num_blocks;
   uint64_t entry_bytes;    /* of a block's partial of one chunk, in scratch memory */
   int64_t d, dv, kv_bytes; /* elements of a key and of a value; bytes of one */
   int64_t split;      /* elements of a query that come from `queries`; the rest from `rotated` */
   vec_value expanded; /* pages of the chunk, k and v in f32; NULL: pages of the state */
   vec_value y, scales, queries, rotated, pages, tiles, positions, seq_of, table, scratch, sinks;
   vec_value row_tile, group, first_row_head, first_row, num_rows;
   vec_value number; /* of the block in its tile */
   vec_value q, s, top, o, last, first, m, l, mc, lc, a, b;
   vec_value low, high;    /* i64: first and last position that any row of the block sees */
   vec_value chunk;        /* i64: number of the current chunk */
   vec_value page0, page1; /* i64: pages of the chunk that are read */
   attn_ahead ahead;       /* of the row and part forms */
} attn;

static inline vec_value attn_times(attn *t, vec_value i, int64_t n)
{
   return vec_mul_i(t->f, i, n);
}

static inline vec_value attn_load_index(attn *t, vec_value array, vec_value i)
{
   return vec_sext(t->f, vec_load(t->f, VEC_i32, 1, vec_at(t->f, array, attn_times(t, i, 4)), 4),
                   VEC_i64);
}

/* Element r of a small stack array. */
static inline vec_value attn_slot(attn *t, vec_value array, vec_value r)
{
   return vec_at(t->f, array, attn_times(t, r, 4));
}

static inline vec_value attn_get(attn *t, vec_value array, vec_value r)
{
   return vec_load(t->f, VEC_f32, 1, attn_slot(t, array, r), 4);
}

static inline void attn_put(attn *t, vec_value array, vec_value r, vec_value v)
{
   vec_store(t->f, v, attn_slot(t, array, r), 4);
}

static inline vec_loop attn_rows_begin(attn *t)
{
   return vec_loop_begin(t->f, vec_i(t->f, 0), vec_i(t->f, t->block), 1, 0, NULL);
}

static inline vec_value attn_wide(attn *t, vec_value scalar)
{
   return vec_splat(t->f, scalar, t->lanes);
}

static inline vec_value attn_infinity(attn *t, uint32_t lanes)
{
   return vec_float(t->f, lanes, -INFINITY);
}

/* m, or 0 where m is -inf: so that exp(-inf - m) is 0 and not NaN. */
static inline vec_value attn_or_zero(attn *t, vec_value m)
{
   vec_value none = vec_fcmp(t->f, VEC_eq, m, attn_infinity(t, 1));

   return vec_select(t->f, none, vec_float(t->f, 1, 0), m);
}

/* for each column of n: vectors, then single ones. */
typedef void column_body(attn *t, vec_value r, vec_value col, uint32_t lanes);

static inline void attn_columns(attn *t, vec_value r, int64_t n, column_body *each)
{
   int64_t whole = n / t->lanes * t->lanes;

   for (int k = 0; k < 2; k++) {
      int64_t from = k ? whole : 0, to = k ? n : whole;
      uint32_t lanes = k ? 1 : t->lanes;
      if (from == to)
         continue;
      vec_loop l = vec_loop_begin(t->f, vec_i(t->f, from), vec_i(t->f, to), lanes, 0, NULL);
      each(t, r, l.i, lanes);
      vec_loop_end(t->f, &l, NULL);
   }
}

/* ---- rows of the block (attention_rows.c) ---- */

/* Head number, and row in the tile, of row-head r. */
void attn_row_head(attn *t, vec_value r, vec_value *head, vec_value *row_in_tile);

/* Address of a row-head in a matrix of n elements a head. */
vec_value attn_row_address(attn *t, vec_value base, int64_t n, dtype e, vec_value r);

/* Visible positions of every row-head; one past the tile's rows sees none. Leaves the kernel when
 * there is no row. */
void attn_find_rows(attn *t);

/* Queries of the block; rows that are not there are 0, and see nothing. */
void attn_load_queries(attn *t);

/* ---- folding chunks (attention.c) ---- */

/* No chunk so far, for every row-head. */
void attn_clear_fold(attn *t);

/* Folds what the rows see of t->chunk. */
void attn_fold_chunk(attn *t);

/* Writes the rows of the block. */
void attn_finish(attn *t);

vec_value attn_chunk_of(attn *t, vec_value position);

/* The block table of the sequence of t->first_row. */
void attn_find_sequence(attn *t, vec_value tables);

/* The expanded form (attention_expand.c): t has its key and nothing else. */
void attn_emit_expanded(attn *t, vec_module *m);

/* ---- one chunk (attention_chunk.c) ---- */

/* What becomes of o_c, a vector of row r at column col. */
typedef void attn_chunk_sink(attn *t, uint32_t r, vec_value col, vec_value oc);

/* Which pages of t->chunk are read. */
void attn_pages_of_chunk(attn *t);

/* Start of this kv head in page number `page` of the sequence. */
vec_value attn_head_of_page(attn *t, vec_value page);

/* Row r's scores of part `part` (of lanes positions) of a page. */
vec_value attn_score_at(attn *t, vec_value r, vec_value page, uint32_t part);

/* Largest scores so far: none. */
void attn_clear_tops(attn *t);

/* Scales, caps and masks the dot products of a page (by row, then part), keeps them and their
 * largest. */
void attn_keep_scores(attn *t, vec_value page, const vec_value *dots);

/* s = q k^T for every row and page of the chunk, scaled, capped, masked. */
void attn_scores(attn *t);
void attn_scores_latent(attn *t); /* rows of keys (attention_latent.c) */

/* s becomes exp(s - mc); mc and lc of every row. */
void attn_softmax(attn *t);

/* o_c = p v, handed to the sink. */
void attn_weigh_all(attn *t, attn_chunk_sink *sink);

#endif
