/* indexer.c - which entries a row attends to.
 *
 *    score    sum_h w_h relu(q_h e), h ascending, for every closed chunk              scratch[T][…]
 *    select   the k-th largest is found bit by bit, counting scores that are not below a candidate;
 *             then all above it, and equal ones from the lowest on, in one walk
 *
 * Scores are compared as integers of the same order; NaN is -inf. */
#include "sparse_impl.h"

#include <math.h>
#include <stdio.h>

enum { MAX_HEADS = 8 }; /* of a block */

typedef struct indexing {
   vec_fn *f;
   const index_key *k;
   uint32_t lanes;
   vec_value row, closed;
   vec_value scores;  /* of the row */
   vec_value q, w, e; /* the row's; an entry */
} indexing;

void index_symbol(const index_key *k, char out[SPARSE_SYMBOL_MAX])
{
   snprintf(out, SPARSE_SYMBOL_MAX, "index_%s_%s_h%u_d%u_m%u_k%u", k->select ? "select" : "score",
            dtype_infos[k->kv].name, k->heads, k->d, k->ratio, k->k);
}

/* Entries of ATTN_CHUNK positions. */
static int64_t per_chunk(const index_key *k)
{
   return ((int64_t)ATTN_CHUNK + k->ratio - 1) / k->ratio;
}

uint64_t index_scratch(const index_key *k, int64_t max_rows)
{
   return (uint64_t)(per_chunk(k) * max_rows) * sizeof(float);
}

void index_launch(const index_key *k, plan_launch *out)
{
   const plan_extent rows = {.k = 1, .num_factors = 1, .factor = {{SYM_T, 1}}};
   const plan_extent parts = {.k = 1, .num_factors = 2, .factor = {{SYM_T, 1}, {SYM_C, 1}}};

   out->tiles = k->select ? rows : parts;
   out->bytes = out->flops = parts;
   out->bytes.k = per_chunk(k) * 4 * (k->select ? 32 : k->d);
   out->flops.k = per_chunk(k) * (k->select ? 32 : 2 * (int64_t)k->heads * k->d);
}

/* Scores of the row: C chunks of them. */
static vec_value scores_of(indexing *x, vec_value scratch)
{
   vec_fn *f = x->f;
   vec_value each = vec_mul_i(f, vec_sym(f, SYM_C), per_chunk(x->k));

   return vec_at(f, scratch, vec_mul_i(f, vec_mul(f, x->row, each), 4));
}

static vec_value score_at(indexing *x, vec_value i)
{
   return vec_at(x->f, x->scores, vec_shl_i(x->f, i, 2));
}

/* ---- score ---- */

static uint32_t block_of(const index_key *k)
{
   uint32_t n = MAX_HEADS;

   while (k->heads % n)
      n--;
   return n;
}

/* Adds columns from .. to of the products of n heads with the entry. */
static void dot_columns(indexing *x, vec_value q, uint32_t n, int64_t from, int64_t to,
                        uint32_t lanes, vec_value *sums)
{
   vec_fn *f = x->f;
   vec_value next[MAX_HEADS];

   if (from == to)
      return;
   vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, to), lanes, n, sums);
   vec_value at = vec_at(f, x->e, vec_mul_i(f, l.i, dtype_infos[x->k->kv].bytes));
   vec_value e = vec_load_f32(f, x->k->kv, lanes, at), column = vec_at(f, q, vec_shl_i(f, l.i, 2));
   for (uint32_t h = 0; h < n; h++) {
      vec_value v = vec_load(f, VEC_f32, lanes, vec_at_i(f, column, (int64_t)h * x->k->d * 4), 4);
      next[h] = vec_fma(f, v, e, l.var[h]);
   }
   vec_loop_end(f, &l, next);
   memcpy(sums, l.var, n * sizeof *sums);
}

/* The entry's score: blocks of heads in order. */
static vec_value score_of(indexing *x)
{
   vec_fn *f = x->f;
   const uint32_t n = block_of(x->k);
   const int64_t whole = x->k->d / x->lanes * x->lanes;
   vec_value total = vec_float(f, 1, 0), sums[MAX_HEADS];
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, x->k->heads), n, 1, &total);
   vec_value q = vec_at(f, x->q, vec_mul_i(f, l.i, 4 * (int64_t)x->k->d));
   vec_value w = vec_at(f, x->w, vec_shl_i(f, l.i, 2));

   for (uint32_t h = 0; h < n; h++)
      sums[h] = vec_float(f, x->lanes, 0);
   dot_columns(x, q, n, 0, whole, x->lanes, sums);
   for (uint32_t h = 0; h < n; h++)
      sums[h] = vec_fsum(f, sums[h]);
   dot_columns(x, q, n, whole, x->k->d, 1, sums);
   total = l.var[0];
   for (uint32_t h = 0; h < n; h++) {
      vec_value relu = vec_fmax(f, vec_float(f, 1, 0), sums[h]); /* NaN stays */
      total = vec_fma(f, vec_load(f, VEC_f32, 1, vec_at_i(f, w, 4 * (int64_t)h), 4), relu, total);
   }
   vec_loop_end(f, &l, &total);
   vec_value known = vec_fcmp(f, VEC_eq, l.var[0], l.var[0]);
   return vec_select(f, known, l.var[0], vec_float(f, 1, -INFINITY));
}

static void emit_score(indexing *x)
{
   vec_fn *f = x->f;
   const index_key *k = x->k;
   vec_value chunks = vec_sym(f, SYM_C), chunk = vec_rem(f, vec_tile(f), chunks);

   x->row = vec_div(f, vec_tile(f), chunks);
   x->closed = sparse_closed(f, sparse_index(f, vec_karg_ptr(f, 4), x->row), k->ratio);
   vec_return_if(f, vec_icmp(f, VEC_le, x->closed, vec_i(f, k->k)));
   vec_value from = vec_mul_i(f, chunk, per_chunk(k));
   vec_value to = vec_imin(f, vec_add_i(f, from, per_chunk(k)), x->closed);
   x->scores = scores_of(x, vec_karg_ptr(f, 0));
   x->q = vec_at(f, vec_karg_ptr(f, 1), vec_mul_i(f, x->row, 4 * (int64_t)k->heads * k->d));
   x->w = vec_at(f, vec_karg_ptr(f, 2), vec_mul_i(f, x->row, 4 * (int64_t)k->heads));
   sparse_rows rows = {f, vec_karg_ptr(f, 3),
                       sparse_table(f, vec_karg_ptr(f, 6), vec_karg_ptr(f, 5), x->row), k->ratio,
                       (int64_t)k->d * dtype_infos[k->kv].bytes};
   vec_loop l = vec_loop_begin(f, from, to, 1, 0, NULL);
   x->e = vec_at(f, rows.pages, sparse_offset(&rows, l.i));
   vec_store(f, score_of(x), score_at(x, l.i), 4);
   vec_loop_end(f, &l, NULL);
}

/* ---- select ---- */

static vec_value lane_numbers(indexing *x)
{
   int64_t lane[64];

   for (uint32_t i = 0; i < x->lanes; i++)
      lane[i] = i;
   return vec_ints(x->f, VEC_i32, x->lanes, lane);
}

/* How many keys compare so with `to`, an i32. */
static vec_value count(indexing *x, vec_pred pred, vec_value to)
{
   vec_fn *f = x->f;
   vec_value zero = vec_int(f, VEC_i32, x->lanes, 0), one = vec_int(f, VEC_i32, x->lanes, 1);
   vec_value wide = vec_splat(f, to, x->lanes), number = lane_numbers(x), sum = zero;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), x->closed, x->lanes, 1, &sum);
   vec_value key = vec_order(f, vec_load(f, VEC_f32, x->lanes, score_at(x, l.i), 4));
   vec_value left = vec_trunc(f, vec_sub(f, x->closed, l.i), VEC_i32);
   vec_value in = vec_icmp(f, VEC_lt, number, vec_splat(f, left, x->lanes));

   in = vec_and(f, in, vec_icmp(f, pred, key, wide));
   sum = vec_add(f, l.var[0], vec_select(f, in, one, zero));
   vec_loop_end(f, &l, &sum);
   sum = vec_extract(f, l.var[0], 0);
   for (uint32_t i = 1; i < x->lanes; i++)
      sum = vec_add(f, sum, vec_extract(f, l.var[0], i));
   return sum;
}

/* The k-th largest key: bits from the highest on, where the sign's is turned. */
static vec_value kth_largest(indexing *x)
{
   vec_fn *f = x->f;
   vec_value sign = vec_int(f, VEC_i32, 1, INT32_MIN), bits = vec_int(f, VEC_i32, 1, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, 32), 1, 1, &bits);
   vec_value shift = vec_trunc(f, vec_sub(f, vec_i(f, 31), l.i), VEC_i32);
   vec_value one = vec_shl(f, vec_int(f, VEC_i32, 1, 1), shift);
   vec_value candidate = vec_or(f, l.var[0], one);
   vec_value n = count(x, VEC_ge, vec_xor(f, candidate, sign));

   bits =
      vec_select(f, vec_icmp(f, VEC_ge, n, vec_int(f, VEC_i32, 1, x->k->k)), candidate, l.var[0]);
   vec_loop_end(f, &l, &bits);
   return vec_xor(f, l.var[0], sign);
}

static void take_largest(indexing *x, vec_value ids)
{
   vec_fn *f = x->f;
   vec_value least = kth_largest(x);
   vec_value vars[2] = {vec_i(f, 0),
                        vec_sub(f, vec_int(f, VEC_i32, 1, x->k->k), count(x, VEC_gt, least))};
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), x->closed, 1, 2, vars);
   vec_value key = vec_order(f, vec_load(f, VEC_f32, 1, score_at(x, l.i), 4));
   vec_value equal = vec_and(f, vec_icmp(f, VEC_eq, key, least),
                             vec_icmp(f, VEC_gt, l.var[1], vec_int(f, VEC_i32, 1, 0)));
   vec_value taken = vec_or(f, vec_icmp(f, VEC_gt, key, least), equal);

   vec_if take = vec_if_begin(f, taken);
   vec_store(f, vec_trunc(f, l.i, VEC_i32), vec_at(f, ids, vec_shl_i(f, l.var[0], 2)), 4);
   vec_if_end(f, &take);
   vars[0] = vec_add(f, l.var[0], vec_zext(f, taken, VEC_i64));
   vars[1] = vec_sub(f, l.var[1], vec_zext(f, equal, VEC_i32));
   vec_loop_end(f, &l, vars);
}

static void take_all(indexing *x, vec_value ids)
{
   vec_fn *f = x->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, x->k->k), 1, 0, NULL);
   vec_value id = vec_select(f, vec_icmp(f, VEC_lt, l.i, x->closed), l.i, vec_i(f, -1));

   vec_store(f, vec_trunc(f, id, VEC_i32), vec_at(f, ids, vec_shl_i(f, l.i, 2)), 4);
   vec_loop_end(f, &l, NULL);
}

static void emit_select(indexing *x)
{
   vec_fn *f = x->f;

   x->row = vec_tile(f);
   x->closed = sparse_closed(f, sparse_index(f, vec_karg_ptr(f, 2), x->row), x->k->ratio);
   x->scores = scores_of(x, vec_karg_ptr(f, 1));
   vec_value ids = vec_at(f, vec_karg_ptr(f, 0), vec_mul_i(f, x->row, 4 * (int64_t)x->k->k));
   vec_if few = vec_if_begin(f, vec_icmp(f, VEC_le, x->closed, vec_i(f, x->k->k)));
   take_all(x, ids);
   vec_if_else(f, &few);
   take_largest(x, ids);
   vec_if_end(f, &few);
}

void index_emit(vec_module *m, const index_key *key)
{
   char symbol[SPARSE_SYMBOL_MAX];

   index_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   indexing x = {.f = f, .k = key, .lanes = vec_lanes(f)};
   if (key->select)
      emit_select(&x);
   else
      emit_score(&x);
   vec_end(f);
}
