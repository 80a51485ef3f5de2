/* gdn.c - the gated delta rule over the rows of a run, a head and a few columns at a time.
 *
 *    tile = (run, head[, columns]);  S [dk][columns] stays on the stack while the rows go by:
 *
 *       known = S^T k              for the first row; later ones find it made below
 *       for each row:  d = beta (v - exp(g) known)
 *                      for i in dk:  S[i] = exp(g) S[i] + k[i] d;  o += S[i] q[i];
 *                                    known' += S[i] k'[i]          k' of the next row
 *
 * S is read and written once a row. Sums run over i in ascending order, lane by lane, so a row has
 * the same bits whether its `known` was made by the row before or at the start of a step. */
#include "state_impl.h"

#include <stdio.h>

enum { MAX_VECTORS = 4, MAX_STACK = 48 << 10, REF_META = 7, REF_GATES = 12 };

typedef struct gdn {
   vec_fn *f;
   const gdn_key *k;
   uint32_t lanes;
   state_run run;
   vec_value head;             /* i64 */
   vec_value y, state, q, key; /* kernel pointers; state: behind the head's offset */
   vec_value v, g, beta, a, b; /* a, b: scalars of the head */
   vec_value w, z;
   vec_value s; /* stack */
} gdn;

/* A block of columns. */
typedef struct columns {
   vec_value first; /* column */
   uint32_t n, lanes;
} columns;

void gdn_symbol(const gdn_key *k, char out[STATE_SYMBOL_MAX])
{
   int n = snprintf(out, STATE_SYMBOL_MAX, "gdn_g%u_h%u_k%u_v%u_s%a%s", k->groups, k->heads, k->dk,
                    k->dv, k->scale, k->gates ? "_gates" : "");

   if (k->norm)
      snprintf(out + n, (size_t)(STATE_SYMBOL_MAX - n), "_norm%a+%a", k->eps, k->offset);
}

/* Vectors of columns that go through the rows together: as many as keep the stack small. */
static uint32_t vectors_of(const gdn_key *k, uint32_t lanes)
{
   uint32_t most = MAX_STACK / (k->dk * lanes * 4);

   return MAX(MIN(most, (uint32_t)MAX_VECTORS), 1u);
}

/* Columns of a whole block. */
static int64_t block_width(const gdn_key *k, uint32_t lanes)
{
   return (int64_t)vectors_of(k, lanes) * lanes;
}

/* Tiles of one head: blocks of columns, or all of them where the head's norm needs them
 * together. */
static int64_t splits(const gdn_key *k, uint32_t lanes)
{
   int64_t width = block_width(k, lanes);

   return k->norm ? 1 : (k->dv + width - 1) / width;
}

void gdn_launch(const gdn_key *k, uint32_t lanes, plan_launch *out)
{
   int64_t s = (int64_t)k->heads * k->dk * k->dv;

   out->tiles = (plan_extent){
      .k = (int64_t)k->heads * splits(k, lanes), .num_factors = 1, .factor = {{SYM_Q, 1}}};
   out->bytes = (plan_extent){.k = 8 * s, .num_factors = 1, .factor = {{SYM_Q, 1}}};
   out->flops = (plan_extent){.k = 7 * s, .num_factors = 1, .factor = {{SYM_T, 1}}};
}

/* ---- addresses ---- */

/* Address of element 0 of row t, head n of `heads`, of an array [T][heads][width]. */
static vec_value at_head(gdn *d, vec_value array, vec_value t, vec_value n, int64_t heads,
                         int64_t width)
{
   vec_fn *f = d->f;
   vec_value r = vec_add(f, vec_mul_i(f, vec_add(f, d->run.first, t), heads), n);

   return vec_at(f, array, vec_mul_i(f, r, width * 4));
}

static vec_value key_row(gdn *d, vec_value array, vec_value t)
{
   int64_t share = d->k->heads / d->k->groups;
   vec_value n = vec_div(d->f, d->head, vec_i(d->f, share));

   return at_head(d, array, t, n, d->k->groups, d->k->dk);
}

static vec_value value_row(gdn *d, vec_value array, vec_value t)
{
   return at_head(d, array, t, d->head, d->k->heads, d->k->dv);
}

static vec_value page_of(gdn *d, vec_value page)
{
   return state_page(d->f, d->state, page, (int64_t)d->k->heads * d->k->dk * d->k->dv * 4);
}

/* Element of vector j in row i: of a page, of the stack. */
static vec_value in_page(gdn *d, const columns *c, vec_value i, uint32_t j)
{
   vec_value column = vec_add_i(d->f, c->first, (int64_t)j * c->lanes);

   return vec_add(d->f, vec_mul_i(d->f, i, d->k->dv), column);
}

static vec_value on_stack(gdn *d, const columns *c, vec_value i, uint32_t j)
{
   return vec_add_i(d->f, vec_mul_i(d->f, i, (int64_t)c->n * c->lanes), (int64_t)j * c->lanes);
}

static vec_value wide(gdn *d, vec_value array, vec_value i, uint32_t lanes)
{
   return vec_splat(d->f, state_load(d->f, 1, array, i), lanes);
}

/* ---- one block of columns ---- */

/* Brings the block to the stack; known: S^T k of the first row. */
static void load_block(gdn *d, const columns *c, vec_value known[MAX_VECTORS])
{
   vec_fn *f = d->f;
   vec_value zero = vec_i(f, 0), page = page_of(d, d->run.from), k = key_row(d, d->key, zero);
   vec_value next[MAX_VECTORS];

   for (uint32_t j = 0; j < c->n; j++)
      known[j] = vec_float(f, c->lanes, 0);
   vec_loop l = vec_loop_begin(f, zero, vec_i(f, d->k->dk), 1, c->n, known);
   vec_value ki = wide(d, k, l.i, c->lanes);
   for (uint32_t j = 0; j < c->n; j++) {
      vec_value s = state_load(f, c->lanes, page, in_page(d, c, l.i, j));
      s = state_or_zero(f, &d->run, s);
      state_store(f, s, d->s, on_stack(d, c, l.i, j));
      next[j] = vec_fma(f, s, ki, l.var[j]);
   }
   vec_loop_end(f, &l, next);
   memcpy(known, l.var, c->n * sizeof *known);
}

static void save_block(gdn *d, const columns *c, vec_value page)
{
   vec_fn *f = d->f;
   vec_value to = page_of(d, page);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, d->k->dk), 1, 0, NULL);

   for (uint32_t j = 0; j < c->n; j++)
      state_store(f, state_load(f, c->lanes, d->s, on_stack(d, c, l.i, j)), to,
                  in_page(d, c, l.i, j));
   vec_loop_end(f, &l, NULL);
}

/* exp(g) and beta of row t. */
static void find_gates(gdn *d, vec_value t, vec_value *keep, vec_value *beta)
{
   vec_fn *f = d->f;
   vec_value zero = vec_i(f, 0);
   vec_value g = state_load(f, 1, at_head(d, d->g, t, d->head, d->k->heads, 1), zero);

   *beta = state_load(f, 1, at_head(d, d->beta, t, d->head, d->k->heads, 1), zero);
   if (d->k->gates) {
      g = vec_decay(f, g, d->a, d->b);
      *beta = vec_sigmoid(f, *beta);
   }
   *keep = vec_exp(f, g);
}

/* Row t: known becomes that of the next row (at the last row, of no use). */
static void step_row(gdn *d, const columns *c, vec_value t, vec_value known[MAX_VECTORS])
{
   vec_fn *f = d->f;
   uint32_t n = c->n, lanes = c->lanes;
   vec_value following = vec_imin(f, vec_add_i(f, t, 1), vec_add_i(f, d->run.rows, -1));
   vec_value q = key_row(d, d->q, t), k = key_row(d, d->key, t), k1 = key_row(d, d->key, following);
   vec_value v = value_row(d, d->v, t), y = value_row(d, d->y, t), zero = vec_float(f, lanes, 0);
   vec_value delta[MAX_VECTORS], sums[2 * MAX_VECTORS], next[2 * MAX_VECTORS], keep, beta;

   find_gates(d, t, &keep, &beta);
   keep = vec_splat(f, keep, lanes);
   beta = vec_splat(f, beta, lanes);
   for (uint32_t j = 0; j < n; j++) {
      vec_value value = state_load(f, lanes, v, vec_add_i(f, c->first, (int64_t)j * lanes));
      delta[j] = vec_fmul(f, beta, vec_fsub(f, value, vec_fmul(f, keep, known[j])));
      sums[j] = sums[n + j] = zero;
   }
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, d->k->dk), 1, 2 * n, sums);
   vec_value qi = wide(d, q, l.i, lanes), ki = wide(d, k, l.i, lanes),
             k1i = wide(d, k1, l.i, lanes);
   for (uint32_t j = 0; j < n; j++) {
      vec_value at = on_stack(d, c, l.i, j), s = state_load(f, lanes, d->s, at);
      s = vec_fma(f, ki, delta[j], vec_fmul(f, keep, s));
      state_store(f, s, d->s, at);
      next[j] = vec_fma(f, s, qi, l.var[j]);
      next[n + j] = vec_fma(f, s, k1i, l.var[n + j]);
   }
   vec_loop_end(f, &l, next);
   for (uint32_t j = 0; j < n; j++) {
      vec_value o = vec_fmul(f, l.var[j], vec_float(f, lanes, d->k->scale));
      state_store(f, o, y, vec_add_i(f, c->first, (int64_t)j * lanes));
      known[j] = l.var[n + j];
   }
}

static void block(gdn *d, const columns *c)
{
   vec_fn *f = d->f;
   vec_value known[MAX_VECTORS];

   load_block(d, c, known);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), d->run.rows, 1, c->n, known);
   memcpy(known, l.var, c->n * sizeof *known);
   step_row(d, c, l.i, known);
   vec_if here = vec_if_begin(f, vec_icmp(f, VEC_eq, vec_add_i(f, l.i, 1), d->run.snap_rows));
   save_block(d, c, d->run.snap);
   vec_if_end(f, &here);
   vec_loop_end(f, &l, known);
   vec_if kept = vec_if_begin(f, vec_icmp(f, VEC_ge, d->run.to, vec_i(f, 0)));
   save_block(d, c, d->run.to);
   vec_if_end(f, &kept);
}

/* ---- a head ---- */

/* What is left behind the whole blocks: vectors, then single columns. */
static void rest(gdn *d)
{
   int64_t width = block_width(d->k, d->lanes), from = d->k->dv / width * width;
   uint32_t n = (uint32_t)(d->k->dv - from) / d->lanes;

   if (n)
      block(d, &(columns){vec_i(d->f, from), n, d->lanes});
   from += (int64_t)n * d->lanes;
   if (from == d->k->dv)
      return;
   vec_loop l = vec_loop_begin(d->f, vec_i(d->f, from), vec_i(d->f, d->k->dv), 1, 0, NULL);
   block(d, &(columns){l.i, 1, 1});
   vec_loop_end(d->f, &l, NULL);
}

/* Columns of tile `split` of the head. */
static void one_split(gdn *d, vec_value split)
{
   vec_fn *f = d->f;
   int64_t width = block_width(d->k, d->lanes), whole = d->k->dv / width;
   vec_if in_whole = vec_if_begin(f, vec_icmp(f, VEC_lt, split, vec_i(f, whole)));

   if (whole)
      block(d, &(columns){vec_mul_i(f, split, width), vectors_of(d->k, d->lanes), d->lanes});
   vec_if_else(f, &in_whole);
   rest(d);
   vec_if_end(f, &in_whole);
}

static void all_splits(gdn *d)
{
   vec_fn *f = d->f;
   int64_t width = block_width(d->k, d->lanes), whole = d->k->dv / width;

   if (whole) {
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, whole), 1, 0, NULL);
      block(d, &(columns){vec_mul_i(f, l.i, width), vectors_of(d->k, d->lanes), d->lanes});
      vec_loop_end(f, &l, NULL);
   }
   rest(d);
}

/* ---- gated norm ---- */

typedef struct gating {
   gdn *d;
   vec_value y, z, factor;
} gating;

static void gate(void *user, vec_value i, uint32_t lanes)
{
   gating *g = user;
   vec_fn *f = g->d->f;
   vec_value w = state_load(f, lanes, g->d->w, i);

   if (g->d->k->offset != 0)
      w = vec_fadd(f, w, vec_float(f, lanes, g->d->k->offset));
   vec_value x = vec_fmul(f, state_load(f, lanes, g->y, i), vec_splat(f, g->factor, lanes));
   vec_value z = vec_silu(f, state_load(f, lanes, g->z, i));
   state_store(f, vec_fmul(f, vec_fmul(f, x, w), z), g->y, i);
}

static void gate_rows(gdn *d)
{
   vec_fn *f = d->f;
   int64_t dv = d->k->dv;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), d->run.rows, 1, 0, NULL);
   gating g = {.d = d, .y = value_row(d, d->y, l.i), .z = value_row(d, d->z, l.i)};
   vec_value mean = vec_fdiv(f, state_squares(f, g.y, dv, d->lanes), vec_float(f, 1, (double)dv));

   g.factor = state_root(f, mean, d->k->eps);
   state_columns(f, dv, d->lanes, &g, gate);
   vec_loop_end(f, &l, NULL);
}

/* ---- the kernel ---- */

static void take_pointers(gdn *d)
{
   vec_fn *f = d->f;
   vec_value *const in[] = {&d->y, &d->state, &d->q, &d->key, &d->v, &d->g, &d->beta};
   uint32_t at = REF_GATES;

   for (uint32_t i = 0; i < countof(in); i++)
      *in[i] = vec_karg_ptr(f, i);
   if (d->k->gates) {
      d->a = state_load(f, 1, vec_karg_ptr(f, at), d->head);
      d->b = state_load(f, 1, vec_karg_ptr(f, at + 1), d->head);
      at += 2;
   }
   if (d->k->norm) {
      d->w = vec_karg_ptr(f, at);
      d->z = vec_karg_ptr(f, at + 1);
   }
   d->state = vec_at(f, d->state, vec_mul_i(f, d->head, (int64_t)d->k->dk * d->k->dv * 4));
}

void gdn_emit(vec_module *m, const gdn_key *key)
{
   char symbol[STATE_SYMBOL_MAX];

   gdn_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   gdn d = {.f = f, .k = key, .lanes = vec_lanes(f)};
   int64_t parts = splits(key, d.lanes);
   vec_value split = vec_rem(f, vec_tile(f), vec_i(f, parts));
   vec_value n = vec_div(f, vec_tile(f), vec_i(f, parts));
   d.head = vec_rem(f, n, vec_i(f, key->heads));
   d.run = state_run_of(f, REF_META, vec_div(f, n, vec_i(f, key->heads)));
   d.s = vec_stack(f, (uint64_t)key->dk * (uint64_t)block_width(key, d.lanes) * 4, 64);
   take_pointers(&d);
   if (key->norm) {
      all_splits(&d);
      gate_rows(&d);
   } else {
      one_split(&d, split);
   }
   vec_end(f);
}
