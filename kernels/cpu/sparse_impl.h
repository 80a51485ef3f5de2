/* sparse_impl.h - rows of positions and of entries: where they are. */
#ifndef KERNEL_SPARSE_IMPL_H
#define KERNEL_SPARSE_IMPL_H

#include "sparse.h"

/* A state of one sequence. */
typedef struct sparse_rows {
   vec_fn *f;
   vec_value pages, table; /* table: of the sequence */
   uint32_t ratio;         /* 0: a row for each position */
   int64_t bytes;          /* of a row */
} sparse_rows;

static inline vec_value sparse_index(vec_fn *f, vec_value array, vec_value i)
{
   return vec_sext(f, vec_load(f, VEC_i32, 1, vec_at(f, array, vec_mul_i(f, i, 4)), 4), VEC_i64);
}

/* The table of the sequence of row `row`. */
static inline vec_value sparse_table(vec_fn *f, vec_value table, vec_value seq_of, vec_value row)
{
   vec_value seq = sparse_index(f, seq_of, row);

   return vec_at(f, table, vec_mul_i(f, vec_mul(f, seq, vec_sym(f, SYM_B)), 4));
}

/* Bytes from the start of the pages to the row of position, or entry, i: plan_entry_slot. */
static inline vec_value sparse_offset(const sparse_rows *r, vec_value i)
{
   vec_fn *f = r->f;
   const int shift = __builtin_ctz(PAGE_TOKENS);
   vec_value slot;

   if (!r->ratio) {
      vec_value page = sparse_index(f, r->table, vec_lshr_i(f, i, shift));
      slot = vec_add(f, vec_shl_i(f, page, shift), vec_and_i(f, i, PAGE_TOKENS - 1));
   } else {
      vec_value last = vec_add_i(f, vec_mul_i(f, vec_add_i(f, i, 1), r->ratio), -1);
      vec_value number = vec_lshr_i(f, last, shift), page = sparse_index(f, r->table, number);
      vec_value before = vec_div(f, vec_shl_i(f, number, shift), vec_i(f, r->ratio));
      slot = vec_mul_i(f, page, plan_page_rows(r->ratio));
      slot = vec_add(f, slot, vec_sub(f, i, before));
   }
   return vec_mul_i(f, slot, r->bytes);
}

/* Chunks that are closed at a position. */
static inline vec_value sparse_closed(vec_fn *f, vec_value position, uint32_t ratio)
{
   return vec_div(f, vec_add_i(f, position, 1), vec_i(f, ratio));
}

#endif
