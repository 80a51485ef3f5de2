/* route.c - the router behind its matmul: one row of logits to k experts and their weights.
 *
 *    s[E]     logits ─score─▶ scores                       f32, NaN logits as -inf
 *    by[E]    scores + bias                                f32, NaN as -inf
 *    key[E]   by as integers of the same order; TAKEN below all of them
 *    groups   key of all members of a dropped group = TAKEN
 *    k times  the largest key, lowest index first: marked, TAKEN
 *    ids      marked experts, ascending; weights from s
 *
 * Arrays lie on the stack, padded to whole vectors; what is behind E has the key TAKEN and the
 * score 0. Sums run over lanes, then over vectors in order: fixed by E alone. */
#include "moe.h"

#include <stdio.h>

static const char *const score_names[ROUTE_SCORES] = {"none", "softmax", "sigmoid",
                                                      "sqrt_softplus"};

enum { TAKEN = INT32_MIN };
enum route_const { R_PER_SYM, R_SYM, R_ROWS, ROUTE_CONSTS };

typedef struct route {
   vec_fn *f;
   const route_key *key;
   uint32_t lanes, experts; /* experts: padded */
   vec_value s, by, keys;   /* arrays */
   vec_value mark, sums, best;
   vec_value ids, weights, logits, bias;
   vec_value row;
   char argmax[MOE_SYMBOL_MAX];
} route;

route_score route_score_of(const char *name)
{
   route_score s = ROUTE_none;

   while (s < ROUTE_SCORES && strcmp(score_names[s], name) != 0)
      s++;
   return s;
}

const char *route_unsupported(const route_key *key)
{
   if (key->score >= ROUTE_SCORES)
      return "there is no such score";
   return key->experts > ROUTE_MAX_EXPERTS ? "there are more experts than its stack holds" : NULL;
}

void route_symbol(const route_key *key, char out[MOE_SYMBOL_MAX])
{
   uint32_t scale;

   memcpy(&scale, &key->scale, sizeof scale);
   snprintf(out, MOE_SYMBOL_MAX, "route_%s_%u_%u_%u_%u_%u%s%s%s_%x", score_names[key->score],
            key->experts, key->k, key->groups, key->kept, key->group_top, key->bias ? "_bias" : "",
            key->norm ? "_norm" : "",
            key->given     ? "_given"
            : key->permute ? "_permute"
                           : "",
            scale);
}

void route_launch(const route_key *key, gemm_rows rows, plan_launch *out)
{
   out->num_refs = 3 + (!key->given && key->bias);
   out->consts[R_PER_SYM] = rows.is_sym ? MAX(rows.num, 1) : 0;
   out->consts[R_SYM] = rows.is_sym ? (int64_t)rows.sym : 0;
   out->consts[R_ROWS] = rows.is_sym ? 0 : rows.num;
   out->num_consts = ROUTE_CONSTS;
   out->tiles = (plan_extent){.k = rows.is_sym ? 1 : rows.num};
   if (rows.is_sym) {
      out->tiles.num_factors = 1;
      out->tiles.factor[0].sym = rows.sym;
      out->tiles.factor[0].div = 1;
   }
   out->bytes = out->flops = out->tiles;
   out->bytes.k *= 4 * key->experts;
   out->flops.k *= 8 * (int64_t)key->experts;
   if (key->permute) {
      out->num_refs += 2;
      out->tiles = (plan_extent){.k = 1};
   }
}

/* ---- arrays ---- */

static vec_value at_expert(route *r, vec_value array, vec_value i)
{
   return vec_at(r->f, array, vec_shl_i(r->f, i, 2));
}

static vec_value load_f32s(route *r, vec_value array, vec_value i)
{
   return vec_load(r->f, VEC_f32, r->lanes, at_expert(r, array, i), 4);
}

/* Vector i of a parameter of E numbers, which is not padded. */
static vec_value load_real(route *r, vec_value array, vec_value i)
{
   vec_value left = vec_sub(r->f, vec_i(r->f, r->key->experts), i);

   return vec_load_first(r->f, r->lanes, at_expert(r, array, i), left);
}

static vec_value lane_numbers(route *r)
{
   int64_t lane[64];

   for (uint32_t i = 0; i < r->lanes; i++)
      lane[i] = i;
   return vec_ints(r->f, VEC_i32, r->lanes, lane);
}

/* Which lanes of vector i are experts. */
static vec_value is_expert(route *r, vec_value i)
{
   vec_fn *f = r->f;
   vec_value left = vec_trunc(f, vec_sub(f, vec_i(f, r->key->experts), i), VEC_i32);

   return vec_icmp(f, VEC_lt, lane_numbers(r), vec_splat(f, left, r->lanes));
}

static vec_value no_nan(route *r, vec_value v)
{
   vec_value low = vec_float(r->f, vec_width(v), -__builtin_inf());

   return vec_select(r->f, vec_fcmp(r->f, VEC_eq, v, v), v, low);
}

static vec_loop each_vector(route *r, uint32_t num_vars, const vec_value *init)
{
   return vec_loop_begin(r->f, vec_i(r->f, 0), vec_i(r->f, r->experts), r->lanes, num_vars, init);
}

/* ---- scores ---- */

static void load_logits(route *r)
{
   vec_fn *f = r->f;
   vec_loop l = each_vector(r, 0, NULL);
   vec_value x = no_nan(r, load_real(r, r->logits, l.i));

   x = vec_select(f, is_expert(r, l.i), x, vec_float(f, r->lanes, -__builtin_inf()));
   vec_store(f, x, at_expert(r, r->s, l.i), 4);
   vec_loop_end(f, &l, NULL);
}

static vec_value largest(route *r)
{
   vec_fn *f = r->f;
   vec_value most = vec_float(f, r->lanes, -__builtin_inf());
   vec_loop l = each_vector(r, 1, &most);

   most = vec_fmax(f, load_f32s(r, r->s, l.i), l.var[0]);
   vec_loop_end(f, &l, &most);
   return vec_splat(f, vec_fmax_all(f, l.var[0]), r->lanes);
}

/* exp(x - max), 1 where x is the maximum (which may be infinite); then divided by the sum. */
static void softmax(route *r)
{
   vec_fn *f = r->f;
   vec_value most = largest(r), zero = vec_float(f, r->lanes, 0), sum = zero;
   vec_loop l = each_vector(r, 1, &sum);
   vec_value x = load_f32s(r, r->s, l.i), e = vec_exp(f, vec_fsub(f, x, most));

   e = vec_select(f, vec_fcmp(f, VEC_eq, x, most), vec_float(f, r->lanes, 1), e);
   e = vec_select(f, is_expert(r, l.i), e, zero);
   vec_store(f, e, at_expert(r, r->s, l.i), 4);
   sum = vec_fadd(f, l.var[0], e);
   vec_loop_end(f, &l, &sum);
   sum = vec_splat(f, vec_fsum(f, l.var[0]), r->lanes);
   vec_loop d = each_vector(r, 0, NULL);
   vec_store(f, vec_fdiv(f, load_f32s(r, r->s, d.i), sum), at_expert(r, r->s, d.i), 4);
   vec_loop_end(f, &d, NULL);
}

static void map_scores(route *r)
{
   vec_fn *f = r->f;
   vec_loop l = each_vector(r, 0, NULL);
   vec_value x = load_f32s(r, r->s, l.i);

   x = r->key->score == ROUTE_sigmoid ? vec_sigmoid(f, x) : vec_sqrt(f, vec_softplus(f, x));
   vec_store(f, x, at_expert(r, r->s, l.i), 4);
   vec_loop_end(f, &l, NULL);
}

static void score(route *r)
{
   load_logits(r);
   if (r->key->score == ROUTE_softmax)
      softmax(r);
   else if (r->key->score != ROUTE_none)
      map_scores(r);
}

/* ---- keys ---- */

static void find_selected_by(route *r)
{
   vec_fn *f = r->f;
   vec_loop l = each_vector(r, 0, NULL);
   vec_value v = load_f32s(r, r->s, l.i);

   if (r->bias)
      v = vec_fadd(f, v, load_real(r, r->bias, l.i));
   vec_store(f, no_nan(r, v), at_expert(r, r->by, l.i), 4);
   vec_loop_end(f, &l, NULL);
}

static void fill_keys(route *r)
{
   vec_fn *f = r->f;
   vec_loop l = each_vector(r, 0, NULL);
   vec_value key = vec_order(f, load_f32s(r, r->by, l.i));

   key = vec_select(f, is_expert(r, l.i), key, vec_int(f, VEC_i32, r->lanes, TAKEN));
   vec_store(f, key, at_expert(r, r->keys, l.i), 4);
   vec_loop_end(f, &l, NULL);
}

/* ---- the largest key ---- */

/* One lane against the best so far: larger, or equal with a lower index. */
static void keep_better(vec_fn *f, vec_value key, vec_value index, vec_value *best)
{
   vec_value larger = vec_icmp(f, VEC_gt, key, best[0]);
   vec_value lower =
      vec_and(f, vec_icmp(f, VEC_eq, key, best[0]), vec_icmp(f, VEC_lt, index, best[1]));
   vec_value better = vec_or(f, larger, lower);

   best[0] = vec_select(f, better, key, best[0]);
   best[1] = vec_select(f, better, index, best[1]);
}

/* void argmax(keys, out, from, to): out i32[1] is the index of the largest key of from .. to. */
static void emit_argmax(vec_module *m, route *r)
{
   static const vec_elem args[] = {VEC_ptr, VEC_ptr, VEC_i64, VEC_i64};

   snprintf(r->argmax, sizeof r->argmax, "route_argmax");
   vec_fn *f = vec_local(m, r->argmax, countof(args), args);
   if (!f)
      return;
   uint32_t lanes = vec_lanes(f);
   route own = {.f = f, .key = r->key, .lanes = lanes};
   vec_value from = vec_arg(f, 2), to = vec_arg(f, 3), number = lane_numbers(&own);
   vec_value best[2] = {vec_int(f, VEC_i32, lanes, TAKEN), vec_int(f, VEC_i32, lanes, INT32_MAX)};
   vec_value first = vec_splat(f, vec_trunc(f, from, VEC_i32), lanes);
   vec_value end = vec_splat(f, vec_trunc(f, to, VEC_i32), lanes);
   vec_loop l = vec_loop_begin(f, vec_and_i(f, from, -(int64_t)lanes), to, lanes, 2, best);
   vec_value key = vec_load(f, VEC_i32, lanes, vec_at(f, vec_arg(f, 0), vec_shl_i(f, l.i, 2)), 4);
   vec_value index = vec_add(f, number, vec_splat(f, vec_trunc(f, l.i, VEC_i32), lanes));
   vec_value in = vec_and(f, vec_icmp(f, VEC_ge, index, first), vec_icmp(f, VEC_lt, index, end));
   vec_value better = vec_and(f, in, vec_icmp(f, VEC_gt, key, l.var[0]));

   best[0] = vec_select(f, better, key, l.var[0]);
   best[1] = vec_select(f, better, index, l.var[1]);
   vec_loop_end(f, &l, best);
   vec_value one[2] = {vec_extract(f, l.var[0], 0), vec_extract(f, l.var[1], 0)};
   for (uint32_t i = 1; i < lanes; i++)
      keep_better(f, vec_extract(f, l.var[0], i), vec_extract(f, l.var[1], i), one);
   vec_store(f, one[1], vec_arg(f, 1), 4);
   vec_end(f);
}

/* The index of the largest key of from .. to, which is taken. */
static vec_value take_largest(route *r, vec_value keys, vec_value from, vec_value to)
{
   vec_fn *f = r->f;

   vec_call(f, r->argmax, 4, (vec_value[]){keys, r->best, from, to});
   vec_value index = vec_sext(f, vec_load(f, VEC_i32, 1, r->best, 4), VEC_i64);
   vec_store(f, vec_int(f, VEC_i32, 1, TAKEN), at_expert(r, keys, index), 4);
   return index;
}

/* ---- groups ---- */

/* sums[g] = key of the sum of the best of group g. */
static void judge_groups(route *r)
{
   vec_fn *f = r->f;
   const int64_t each = r->key->experts / r->key->groups;
   uint32_t padded = (uint32_t)base_align(r->key->groups, r->lanes);

   for (uint32_t i = 0; i < padded; i += r->lanes)
      vec_store(f, vec_int(f, VEC_i32, r->lanes, TAKEN), vec_at_i(f, r->sums, 4 * i), 4);
   vec_loop g = vec_loop_begin(f, vec_i(f, 0), vec_i(f, r->key->groups), 1, 0, NULL);
   vec_value first = vec_mul_i(f, g.i, each), sum = vec_float(f, 1, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, r->key->group_top), 1, 1, &sum);
   vec_value best = take_largest(r, r->keys, first, vec_add_i(f, first, each));
   sum = vec_fadd(f, l.var[0], vec_load(f, VEC_f32, 1, at_expert(r, r->by, best), 4));
   vec_loop_end(f, &l, &sum);
   vec_store(f, vec_order(f, no_nan(r, l.var[0])), at_expert(r, r->sums, g.i), 4);
   vec_loop_end(f, &g, NULL);
}

/* Keys of the groups that are not kept become TAKEN: sums[g] of kept ones is. */
static void drop_groups(route *r)
{
   vec_fn *f = r->f;
   const int64_t each = r->key->experts / r->key->groups;
   vec_value groups = vec_i(f, r->key->groups);

   judge_groups(r);
   vec_loop k = vec_loop_begin(f, vec_i(f, 0), vec_i(f, r->key->kept), 1, 0, NULL);
   (void)take_largest(r, r->sums, vec_i(f, 0), groups);
   vec_loop_end(f, &k, NULL);
   fill_keys(r);
   vec_loop g = vec_loop_begin(f, vec_i(f, 0), groups, 1, 0, NULL);
   vec_value sum = vec_load(f, VEC_i32, 1, at_expert(r, r->sums, g.i), 4);
   vec_if drop = vec_if_begin(f, vec_icmp(f, VEC_ne, sum, vec_int(f, VEC_i32, 1, TAKEN)));
   vec_value first = vec_mul_i(f, g.i, each);
   vec_loop l = vec_loop_begin(f, first, vec_add_i(f, first, each), 1, 0, NULL);
   vec_store(f, vec_int(f, VEC_i32, 1, TAKEN), at_expert(r, r->keys, l.i), 4);
   vec_loop_end(f, &l, NULL);
   vec_if_end(f, &drop);
   vec_loop_end(f, &g, NULL);
}

/* ---- ids and weights ---- */

static void clear_marks(route *r)
{
   vec_loop l = each_vector(r, 0, NULL);

   vec_store(r->f, vec_int(r->f, VEC_i32, r->lanes, 0), at_expert(r, r->mark, l.i), 4);
   vec_loop_end(r->f, &l, NULL);
}

static void select(route *r)
{
   vec_fn *f = r->f;

   find_selected_by(r);
   fill_keys(r);
   if (r->key->kept < r->key->groups)
      drop_groups(r);
   clear_marks(r);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, r->key->k), 1, 0, NULL);
   vec_value best = take_largest(r, r->keys, vec_i(f, 0), vec_i(f, r->key->experts));
   vec_store(f, vec_int(f, VEC_i32, 1, 1), at_expert(r, r->mark, best), 4);
   vec_loop_end(f, &l, NULL);
}

/* Marked experts in ascending order: every id is written where the next one goes, and counts if it
 * is marked. The last place is written by one more id: it stays within `best`, which has k + 1. */
static void write_ids(route *r)
{
   vec_fn *f = r->f;
   vec_value n = vec_i(f, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, r->key->experts), 1, 1, &n);
   vec_value mark = vec_load(f, VEC_i32, 1, at_expert(r, r->mark, l.i), 4);

   vec_store(f, vec_trunc(f, l.i, VEC_i32), at_expert(r, r->best, l.var[0]), 4);
   n = vec_add(f, l.var[0], vec_sext(f, mark, VEC_i64));
   vec_loop_end(f, &l, &n);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), vec_i(f, r->key->k), 1, 0, NULL);
   vec_value id = vec_load(f, VEC_i32, 1, at_expert(r, r->best, c.i), 4);
   vec_store(f, id, at_expert(r, r->ids, c.i), 4);
   vec_loop_end(f, &c, NULL);
}

/* The score of ids[j]; 0 for an expert that is not there. */
static vec_value score_of(route *r, vec_value j)
{
   vec_fn *f = r->f;
   vec_value id = vec_load(f, VEC_i32, 1, at_expert(r, r->ids, j), 4);
   vec_value here = vec_and(f, vec_icmp(f, VEC_ge, id, vec_int(f, VEC_i32, 1, 0)),
                            vec_icmp(f, VEC_lt, id, vec_int(f, VEC_i32, 1, r->key->experts)));
   vec_value index = vec_sext(f, vec_select(f, here, id, vec_int(f, VEC_i32, 1, 0)), VEC_i64);
   vec_value s = vec_load(f, VEC_f32, 1, at_expert(r, r->s, index), 4);

   return vec_select(f, here, s, vec_float(f, 1, 0));
}

static void write_weights(route *r)
{
   vec_fn *f = r->f;
   vec_value sum = vec_float(f, 1, 0), one = vec_float(f, 1, 1), k = vec_i(f, r->key->k);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), k, 1, 1, &sum);

   sum = vec_fadd(f, l.var[0], score_of(r, l.i));
   vec_loop_end(f, &l, &sum);
   sum = vec_select(f, vec_fcmp(f, VEC_gt, l.var[0], vec_float(f, 1, 0)), l.var[0], one);
   vec_loop w = vec_loop_begin(f, vec_i(f, 0), k, 1, 0, NULL);
   vec_value s = score_of(r, w.i);
   if (r->key->norm)
      s = vec_fdiv(f, s, sum);
   if (r->key->scale != 1)
      s = vec_fmul(f, s, vec_float(f, 1, r->key->scale));
   vec_store(f, s, at_expert(r, r->weights, w.i), 4);
   vec_loop_end(f, &w, NULL);
}

/* ---- the kernel ---- */

static vec_value row_of(route *r, uint32_t ptr, uint32_t width)
{
   return vec_at(r->f, vec_karg_ptr(r->f, ptr), vec_mul_i(r->f, r->row, 4 * width));
}

static void stack_arrays(route *r)
{
   vec_fn *f = r->f;
   uint64_t bytes = 4 * (uint64_t)r->experts;

   r->s = vec_stack(f, bytes, 64);
   if (r->key->given)
      return;
   r->by = vec_stack(f, bytes, 64);
   r->keys = vec_stack(f, bytes, 64);
   r->mark = vec_stack(f, bytes, 64);
   r->sums = vec_stack(f, 4 * base_align(r->key->groups, r->lanes), 64);
   r->best = vec_stack(f, 4 * ((uint64_t)r->key->k + 1), 64);
}

static void set_pointers(route *r)
{
   const route_key *key = r->key;

   if (key->given) {
      r->weights = row_of(r, 0, key->k);
      r->logits = row_of(r, 1, key->experts);
      r->ids = row_of(r, 2, key->k);
      return;
   }
   r->ids = row_of(r, 0, key->k);
   r->weights = row_of(r, 1, key->k);
   r->logits = row_of(r, 2, key->experts);
   r->bias = key->bias ? vec_karg_ptr(r->f, 3) : NULL;
}

static void route_row(route *r)
{
   set_pointers(r);
   score(r);
   if (!r->key->given) {
      select(r);
      write_ids(r);
   }
   write_weights(r);
}

/* Every row after the other, and then their slots. */
static void all_rows(route *r)
{
   vec_fn *f = r->f;
   uint32_t last = 3 + r->key->bias;
   vec_value rows = vec_sym_at(f, vec_karg_const(f, R_SYM));

   rows = vec_mul(f, vec_karg_const(f, R_PER_SYM), rows);
   rows = vec_add(f, rows, vec_karg_const(f, R_ROWS));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), rows, 1, 0, NULL);
   r->row = l.i;
   route_row(r);
   vec_loop_end(f, &l, NULL);
   permute_slots(f, vec_karg_ptr(f, last), vec_karg_ptr(f, last + 1), vec_karg_ptr(f, 0),
                 vec_mul_i(f, rows, r->key->k), vec_i(f, r->key->experts));
}

void route_emit(vec_module *m, const route_key *key)
{
   char symbol[MOE_SYMBOL_MAX];
   route r = {.key = key};

   route_symbol(key, symbol);
   if (vec_module_has(m, symbol))
      return;
   if (!key->given)
      emit_argmax(m, &r);
   r.f = vec_kernel(m, symbol);
   r.lanes = vec_lanes(r.f);
   r.experts = (uint32_t)base_align(key->experts, r.lanes);
   stack_arrays(&r);
   if (key->permute) {
      all_rows(&r);
   } else {
      r.row = vec_tile(r.f);
      route_row(&r);
   }
   vec_end(r.f);
}
