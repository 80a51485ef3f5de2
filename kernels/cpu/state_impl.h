/* state_impl.h - what the kernels over whole states share: the run of a tile. */
#ifndef KERNEL_STATE_IMPL_H
#define KERNEL_STATE_IMPL_H

#include "state.h"

/* Run number `r` of the step. Pages and counts are i64. */
typedef struct state_run {
   vec_value first, rows;    /* rows of the step */
   vec_value from, to, snap; /* pages; -1 none */
   vec_value snap_rows;      /* 0: no snapshot */
} state_run;

static inline vec_value state_index(vec_fn *f, vec_value array, vec_value i)
{
   return vec_sext(f, vec_load(f, VEC_i32, 1, vec_at(f, array, vec_mul_i(f, i, 4)), 4), VEC_i64);
}

/* arrays: kernel pointers runs, snap_rows, from, to, snap from number `ptr` on. */
static inline state_run state_run_of(vec_fn *f, uint32_t ptr, vec_value r)
{
   vec_value zero = vec_i(f, 0), runs = vec_karg_ptr(f, ptr), pair = vec_mul_i(f, r, 2);
   state_run s = {.first = state_index(f, runs, pair),
                  .rows = state_index(f, runs, vec_add_i(f, pair, 1)),
                  .from = state_index(f, vec_karg_ptr(f, ptr + 2), r),
                  .to = state_index(f, vec_karg_ptr(f, ptr + 3), r),
                  .snap = state_index(f, vec_karg_ptr(f, ptr + 4), r)};
   vec_value rows = state_index(f, vec_karg_ptr(f, ptr + 1), r);

   s.snap_rows = vec_select(f, vec_icmp(f, VEC_ge, s.snap, zero), rows, zero);
   return s;
}

/* v, or 0 when the run has no state yet. A page that is loaded in its place is there, whatever it
 * holds. */
static inline vec_value state_or_zero(vec_fn *f, const state_run *s, vec_value v)
{
   vec_value known = vec_icmp(f, VEC_ge, s->from, vec_i(f, 0));

   return vec_select(f, known, v, vec_float(f, vec_width(v), 0));
}

static inline vec_value state_page(vec_fn *f, vec_value state, vec_value page, int64_t bytes)
{
   return vec_at(f, state, vec_mul_i(f, vec_imax(f, page, vec_i(f, 0)), bytes));
}

static inline vec_value state_load(vec_fn *f, uint32_t lanes, vec_value at, vec_value element)
{
   return vec_load(f, VEC_f32, lanes, vec_at(f, at, vec_mul_i(f, element, 4)), 4);
}

static inline void state_store(vec_fn *f, vec_value v, vec_value at, vec_value element)
{
   vec_store(f, v, vec_at(f, at, vec_mul_i(f, element, 4)), 4);
}

/* Calls each for the elements 0 .. n of a row: whole vectors, then single ones. */
typedef void state_body(void *user, vec_value i, uint32_t lanes);

static inline void state_columns(vec_fn *f, int64_t n, uint32_t lanes, void *user, state_body *each)
{
   int64_t whole = n / lanes * lanes;

   for (int k = 0; k < 2; k++) {
      int64_t from = k ? whole : 0, to = k ? n : whole;
      if (from == to)
         continue;
      vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, to), k ? 1 : lanes, 0, NULL);
      each(user, l.i, k ? 1 : lanes);
      vec_loop_end(f, &l, NULL);
   }
}

/* Sum of squares of n elements: vectors in one sum, then what is left. */
static inline vec_value state_squares(vec_fn *f, vec_value at, int64_t n, uint32_t lanes)
{
   int64_t whole = n / lanes * lanes;
   vec_value sum = vec_float(f, lanes, 0);

   if (whole) {
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, whole), lanes, 1, &sum);
      vec_value x = state_load(f, lanes, at, l.i);
      vec_value next = vec_fma(f, x, x, l.var[0]);
      vec_loop_end(f, &l, &next);
      sum = l.var[0];
   }
   sum = vec_fsum(f, sum);
   for (int64_t i = whole; i < n; i++) {
      vec_value x = state_load(f, 1, at, vec_i(f, i));
      sum = vec_fma(f, x, x, sum);
   }
   return sum;
}

/* 1 / sqrt(x + eps). */
static inline vec_value state_root(vec_fn *f, vec_value x, double eps)
{
   return vec_fdiv(f, vec_float(f, 1, 1), vec_sqrt(f, vec_fadd(f, x, vec_float(f, 1, eps))));
}

#endif
