/* sparse_attention.c - attention of one row over rows that are key and value: its window, then
 * entries.
 *
 *    for each block of SPARSE_KEYS rows:
 *       offsets of its rows                                    a row of the window, or an entry, anywhere
 *       s[h][i] = scale q_h r_i      vectors of r in order, one accumulator a pair; lanes summed, halves first
 *       m' = max(m, s);  p = exp(s - m');  l = l exp(m - m') + sum p;  o = o exp(m - m') + sum p_i r_i
 *
 * An empty block folds nothing: a row without entries has the bits of one that has no such
 * state. */
#include "sparse_impl.h"

#include <math.h>
#include <stdio.h>

enum { MAX_BLOCK = 4, MAX_COLUMNS = 2, STEP = 2 };

/* Rows of one of the two states. */
typedef struct source {
   sparse_rows rows;
   dtype type;
   vec_value count, first; /* rows that are seen; window: the first position */
   vec_value ids;          /* entries that were chosen, NULL: all */
} source;

typedef struct sparse {
   vec_fn *f;
   const sparse_key *k;
   uint32_t lanes, block; /* heads of the tile */
   vec_value y, q, sinks;
   vec_value offsets, s, o, m, l,
      a;            /* on the stack: i64[KEYS], [block][KEYS], [block][d], [block] */
   vec_value count; /* rows of the current block */
   const source *from;
} sparse;

void sparse_symbol(const sparse_key *k, char out[SPARSE_SYMBOL_MAX])
{
   snprintf(out, SPARSE_SYMBOL_MAX, "sparse_%s_%s_%s_%s_h%u_d%u_w%lld_m%u_k%u%s_s%a",
            dtype_infos[k->q].name, dtype_infos[k->kv].name, dtype_infos[k->entry].name,
            dtype_infos[k->y].name, k->heads, k->d, (long long)k->window, k->ratio, k->k,
            k->chosen ? "_chosen" : "", k->scale);
}

/* Heads of a tile: as many as share the rows evenly. */
static uint32_t block_of(const sparse_key *k)
{
   uint32_t n = MAX_BLOCK;

   while (k->heads % n)
      n--;
   return n;
}

void sparse_launch(const sparse_key *k, plan_launch *out)
{
   const int64_t blocks = k->heads / block_of(k), row = (int64_t)k->d * dtype_infos[k->kv].bytes;
   const int64_t seen = k->window + (k->chosen ? k->k : 0);

   out->tiles = (plan_extent){.k = blocks, .num_factors = 1, .factor = {{SYM_T, 1}}};
   out->bytes = (plan_extent){.k = seen * row, .num_factors = 1, .factor = {{SYM_T, 1}}};
   out->flops = (plan_extent){
      .k = 4 * seen * (int64_t)k->heads * k->d, .num_factors = 1, .factor = {{SYM_T, 1}}};
}

/* ---- small arrays ---- */

static vec_value slot(sparse *t, vec_value array, int64_t i)
{
   return vec_at_i(t->f, array, 4 * i);
}

static vec_value get(sparse *t, vec_value array, int64_t i)
{
   return vec_load(t->f, VEC_f32, 1, slot(t, array, i), 4);
}

/* Scores of head h from row i on. */
static vec_value score_at(sparse *t, uint32_t h, vec_value i)
{
   return vec_at(t->f, slot(t, t->s, (int64_t)h * SPARSE_KEYS), vec_shl_i(t->f, i, 2));
}

static vec_value row_at(sparse *t, vec_value i)
{
   vec_value at = vec_at(t->f, t->offsets, vec_shl_i(t->f, i, 3));

   return vec_at(t->f, t->from->rows.pages, vec_load(t->f, VEC_i64, 1, at, 8));
}

static vec_value element(sparse *t, vec_value row, vec_value i, uint32_t lanes)
{
   return vec_load_f32(t->f, t->from->type, lanes,
                       vec_at(t->f, row, vec_mul_i(t->f, i, dtype_infos[t->from->type].bytes)));
}

/* ---- one block ---- */

static void find_rows(sparse *t, vec_value first)
{
   vec_fn *f = t->f;
   const source *s = t->from;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), t->count, 1, 0, NULL);
   vec_value i = vec_add(f, first, l.i);

   if (s->ids)
      i = sparse_index(f, s->ids, i);
   else if (s->first)
      i = vec_add(f, s->first, i);
   vec_store(f, sparse_offset(&s->rows, i), vec_at(f, t->offsets, vec_shl_i(f, l.i, 3)), 8);
   vec_loop_end(f, &l, NULL);
}

/* Products of all heads with n rows over columns from .. to, added to sums (by head, then row). */
static void dot_columns(sparse *t, const vec_value *rows, uint32_t n, int64_t from, int64_t to,
                        uint32_t lanes, vec_value *sums)
{
   vec_fn *f = t->f;
   const uint32_t all = n * t->block;
   vec_value next[MAX_BLOCK * STEP], r[STEP];
   const int64_t bytes = dtype_infos[t->k->q].bytes;

   if (from == to)
      return;
   vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, to), lanes, all, sums);
   for (uint32_t j = 0; j < n; j++)
      r[j] = element(t, rows[j], l.i, lanes);
   vec_value column = vec_at(f, t->q, vec_mul_i(f, l.i, bytes));
   for (uint32_t h = 0; h < t->block; h++) {
      vec_value q =
         vec_load_f32(f, t->k->q, lanes, vec_at_i(f, column, (int64_t)h * t->k->d * bytes));
      for (uint32_t j = 0; j < n; j++)
         next[h * n + j] = vec_fma(f, q, r[j], l.var[h * n + j]);
   }
   vec_loop_end(f, &l, next);
   memcpy(sums, l.var, all * sizeof *sums);
}

/* Scores of n rows from i on. */
static void score_rows(sparse *t, vec_value i, uint32_t n)
{
   vec_fn *f = t->f;
   const int64_t whole = t->k->d / t->lanes * t->lanes;
   vec_value rows[STEP], sums[MAX_BLOCK * STEP];

   for (uint32_t j = 0; j < n; j++)
      rows[j] = row_at(t, vec_add_i(f, i, j));
   for (uint32_t k = 0; k < n * t->block; k++)
      sums[k] = vec_float(f, t->lanes, 0);
   dot_columns(t, rows, n, 0, whole, t->lanes, sums);
   for (uint32_t k = 0; k < n * t->block; k++)
      sums[k] = vec_fsum(f, sums[k]);
   dot_columns(t, rows, n, whole, t->k->d, 1, sums);
   for (uint32_t h = 0; h < t->block; h++)
      for (uint32_t j = 0; j < n; j++) {
         vec_value v = vec_fmul(f, sums[h * n + j], vec_float(f, 1, t->k->scale));
         vec_store(f, v, vec_at_i(f, score_at(t, h, i), 4 * (int64_t)j), 4);
      }
}

static void score_block(sparse *t)
{
   vec_fn *f = t->f;
   vec_value pairs = vec_and_i(f, t->count, -(int64_t)STEP);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), pairs, STEP, 0, NULL);

   score_rows(t, l.i, STEP);
   vec_loop_end(f, &l, NULL);
   vec_loop r = vec_loop_begin(f, pairs, t->count, 1, 0, NULL);
   score_rows(t, r.i, 1);
   vec_loop_end(f, &r, NULL);
}

/* s becomes p; a, m and l of head h. Scores behind the last row are -inf. */
static void fold_head(sparse *t, uint32_t h)
{
   vec_fn *f = t->f;
   vec_value none = vec_float(f, t->lanes, -INFINITY), most = none, sum = vec_float(f, t->lanes, 0);
   vec_loop pad = vec_loop_begin(f, t->count, vec_i(f, SPARSE_KEYS), 1, 0, NULL);

   vec_store(f, vec_float(f, 1, -INFINITY), score_at(t, h, pad.i), 4);
   vec_loop_end(f, &pad, NULL);
   vec_loop top = vec_loop_begin(f, vec_i(f, 0), t->count, t->lanes, 1, &most);
   most = vec_fmax(f, vec_load(f, VEC_f32, t->lanes, score_at(t, h, top.i), 4), top.var[0]);
   vec_loop_end(f, &top, &most);
   vec_value m = get(t, t->m, h), next = vec_fmax(f, m, vec_fmax_all(f, top.var[0]));
   vec_value infinite = vec_fcmp(f, VEC_eq, next, vec_float(f, 1, -INFINITY));
   vec_value shift = vec_select(f, infinite, vec_float(f, 1, 0), next);
   vec_value a = vec_exp(f, vec_fsub(f, m, shift)), wide = vec_splat(f, shift, t->lanes);
   vec_loop p = vec_loop_begin(f, vec_i(f, 0), t->count, t->lanes, 1, &sum);
   vec_value at = score_at(t, h, p.i);
   vec_value e = vec_exp(f, vec_fsub(f, vec_load(f, VEC_f32, t->lanes, at, 4), wide));
   vec_store(f, e, at, 4);
   sum = vec_fadd(f, p.var[0], e);
   vec_loop_end(f, &p, &sum);
   vec_store(f, next, slot(t, t->m, h), 4);
   vec_store(f, a, slot(t, t->a, h), 4);
   vec_store(f, vec_fma(f, get(t, t->l, h), a, vec_fsum(f, p.var[0])), slot(t, t->l, h), 4);
}

/* o = o a + p r over n vectors of columns from col on. */
static void weigh(sparse *t, vec_value col, uint32_t n, uint32_t lanes)
{
   vec_fn *f = t->f;
   const uint32_t all = n * t->block;
   vec_value sums[MAX_BLOCK * MAX_COLUMNS], next[MAX_BLOCK * MAX_COLUMNS], to[MAX_BLOCK];

   for (uint32_t h = 0; h < t->block; h++) {
      vec_value a = vec_splat(f, get(t, t->a, h), lanes);
      to[h] = vec_at(f, slot(t, t->o, (int64_t)h * t->k->d), vec_shl_i(f, col, 2));
      for (uint32_t j = 0; j < n; j++) {
         vec_value o = vec_load(f, VEC_f32, lanes, slot(t, to[h], (int64_t)j * lanes), 4);
         sums[h * n + j] = vec_fmul(f, o, a);
      }
   }
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), t->count, 1, all, sums);
   vec_value row = row_at(t, l.i), r[MAX_COLUMNS];
   for (uint32_t j = 0; j < n; j++)
      r[j] = element(t, row, vec_add_i(f, col, (int64_t)j * lanes), lanes);
   for (uint32_t h = 0; h < t->block; h++) {
      vec_value p = vec_splat(f, vec_load(f, VEC_f32, 1, score_at(t, h, l.i), 4), lanes);
      for (uint32_t j = 0; j < n; j++)
         next[h * n + j] = vec_fma(f, p, r[j], l.var[h * n + j]);
   }
   vec_loop_end(f, &l, next);
   for (uint32_t h = 0; h < t->block; h++)
      for (uint32_t j = 0; j < n; j++)
         vec_store(f, l.var[h * n + j], slot(t, to[h], (int64_t)j * lanes), 4);
}

static void weigh_columns(sparse *t, int64_t from, int64_t to, uint32_t n, uint32_t lanes)
{
   if (from == to)
      return;
   vec_loop l =
      vec_loop_begin(t->f, vec_i(t->f, from), vec_i(t->f, to), (int64_t)n * lanes, 0, NULL);

   weigh(t, l.i, n, lanes);
   vec_loop_end(t->f, &l, NULL);
}

static void weigh_block(sparse *t)
{
   const int64_t d = t->k->d, step = (int64_t)MAX_COLUMNS * t->lanes;
   const int64_t wide = d / step * step, whole = d / t->lanes * t->lanes;

   weigh_columns(t, 0, wide, MAX_COLUMNS, t->lanes);
   weigh_columns(t, wide, whole, 1, t->lanes);
   weigh_columns(t, whole, d, 1, 1);
}

/* ---- the kernel ---- */

static void fold_source(sparse *t, const source *s)
{
   vec_fn *f = t->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), s->count, SPARSE_KEYS, 0, NULL);

   t->from = s;
   t->count = vec_imin(f, vec_sub(f, s->count, l.i), vec_i(f, SPARSE_KEYS));
   find_rows(t, l.i);
   score_block(t);
   for (uint32_t h = 0; h < t->block; h++)
      fold_head(t, h);
   weigh_block(t);
   vec_loop_end(f, &l, NULL);
}

static void begin(sparse *t)
{
   vec_fn *f = t->f;
   vec_value zero = vec_float(f, 1, 0);

   for (uint32_t h = 0; h < t->block; h++) {
      vec_store(f, get(t, t->sinks, h), slot(t, t->m, h), 4);
      vec_store(f, vec_float(f, 1, 1), slot(t, t->l, h), 4);
   }
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, (int64_t)t->block * t->k->d), 1, 0, NULL);
   vec_store(f, zero, vec_at(f, t->o, vec_shl_i(f, l.i, 2)), 4);
   vec_loop_end(f, &l, NULL);
}

static void finish_columns(sparse *t, uint32_t h, int64_t from, int64_t to, uint32_t lanes)
{
   vec_fn *f = t->f;

   if (from == to)
      return;
   vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, to), lanes, 0, NULL);
   vec_value i = vec_add_i(f, l.i, (int64_t)h * t->k->d);
   vec_value o = vec_load(f, VEC_f32, lanes, vec_at(f, t->o, vec_shl_i(f, i, 2)), 4);
   vec_value to_at = vec_at(f, t->y, vec_mul_i(f, i, dtype_infos[t->k->y].bytes));
   vec_store_f32(f, t->k->y, vec_fdiv(f, o, vec_splat(f, get(t, t->l, h), lanes)), to_at);
   vec_loop_end(f, &l, NULL);
}

static void finish(sparse *t)
{
   const int64_t whole = t->k->d / t->lanes * t->lanes;

   for (uint32_t h = 0; h < t->block; h++) {
      finish_columns(t, h, 0, whole, t->lanes);
      finish_columns(t, h, whole, t->k->d, 1);
   }
}

static void take_stack(sparse *t)
{
   vec_fn *f = t->f;

   t->offsets = vec_stack(f, SPARSE_KEYS * 8, 64);
   t->s = vec_stack(f, (uint64_t)t->block * SPARSE_KEYS * 4, 64);
   t->o = vec_stack(f, (uint64_t)t->block * t->k->d * 4, 64);
   t->m = vec_stack(f, MAX_BLOCK * 4, 64);
   t->l = vec_stack(f, MAX_BLOCK * 4, 64);
   t->a = vec_stack(f, MAX_BLOCK * 4, 64);
}

/* How many ids of the row are entries: they stand in front. */
static vec_value num_chosen(sparse *t, vec_value ids)
{
   vec_fn *f = t->f;
   vec_value n = vec_i(f, 0);
   vec_loop l = vec_loop_begin(f, n, vec_i(f, t->k->k), 1, 1, &n);
   vec_value there = vec_icmp(f, VEC_ge, sparse_index(f, ids, l.i), vec_i(f, 0));

   n = vec_add(f, l.var[0], vec_zext(f, there, VEC_i64));
   vec_loop_end(f, &l, &n);
   return l.var[0];
}

static void fold_all(sparse *t, vec_value row)
{
   vec_fn *f = t->f;
   const sparse_key *k = t->k;
   vec_value position = sparse_index(f, vec_karg_ptr(f, 4), row), seq_of = vec_karg_ptr(f, 5);
   vec_value low = vec_imax(f, vec_add_i(f, position, 1 - k->window), vec_i(f, 0));
   source window = {.type = k->kv, .first = low};

   window.count = vec_sub(f, vec_add_i(f, position, 1), low);
   window.rows =
      (sparse_rows){f, vec_karg_ptr(f, 2), sparse_table(f, vec_karg_ptr(f, 6), seq_of, row), 0,
                    (int64_t)k->d * dtype_infos[k->kv].bytes};
   fold_source(t, &window);
   if (!k->ratio)
      return;
   source entries = {.type = k->entry, .count = sparse_closed(f, position, k->ratio)};
   entries.rows =
      (sparse_rows){f, vec_karg_ptr(f, 7), sparse_table(f, vec_karg_ptr(f, 8), seq_of, row),
                    k->ratio, (int64_t)k->d * dtype_infos[k->entry].bytes};
   if (k->chosen) {
      entries.ids = vec_at(f, vec_karg_ptr(f, 9), vec_mul_i(f, row, 4 * (int64_t)k->k));
      entries.count = num_chosen(t, entries.ids);
   }
   fold_source(t, &entries);
}

void sparse_emit(vec_module *m, const sparse_key *key)
{
   char symbol[SPARSE_SYMBOL_MAX];

   sparse_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   sparse t = {.f = f, .k = key, .lanes = vec_lanes(f), .block = block_of(key)};
   const int64_t blocks = key->heads / t.block, each = (int64_t)t.block * key->d;
   vec_value row = vec_div(f, vec_tile(f), vec_i(f, blocks));
   vec_value part = vec_rem(f, vec_tile(f), vec_i(f, blocks));
   vec_value first = vec_mul_i(f, vec_tile(f), each);
   t.y = vec_at(f, vec_karg_ptr(f, 0), vec_mul_i(f, first, dtype_infos[key->y].bytes));
   t.q = vec_at(f, vec_karg_ptr(f, 1), vec_mul_i(f, first, dtype_infos[key->q].bytes));
   t.sinks = vec_at(f, vec_karg_ptr(f, 3), vec_mul_i(f, part, 4 * (int64_t)t.block));
   take_stack(&t);
   begin(&t);
   fold_all(&t, row);
   finish(&t);
   vec_end(f);
}
