/* gemm_bound.c - the likeliest token of a row without reading all of the weight.
 *
 *    scales of x ─ raise ─▶ raised
 *    top panels · x, raised ─▶ bounds f32[R][panels] ─ settle ─▶ ids[R]
 *
 * A top panel (base/panels.def) has the upper bits of each code: c = 4 h + l - 128, l in 0..3. Over
 * a block the sum of c x is at most that of 4 h x - 128 x, plus 3 x where x is above 0. These are
 * whole numbers, and what is not of h is of x alone: the raised sums. What follows in f32 are a
 * factor that is not negative, and fused additions in the same order: each rounds monotonically.
 * So the product with the top is never below the logit as its own kernel rounds it, and a panel
 * whose largest bound is below some logit of the row does not have the largest. On text some ten
 * of Gemma 3's 16,384 panels are read in full (bench/head_bits.py).
 *
 * Chunks in which a row's logits are wanted are read in full: their bounds are their logits. NaN,
 * which stands for factors below 0 in a top, counts as infinity: such a panel is looked at. */
#include "gemm_kernel.h"

#include <math.h>
#include <stdio.h>

/* Bytes that a panel is fetched ahead: little, as nobody reads what lies behind it. */
enum { SETTLE_AHEAD = 1024 };
enum { RAISE_K, RAISE_X_STRIDE, RAISE_S_STRIDE, RAISE_CONSTS };
enum { SETTLE_N, SETTLE_K, SETTLE_X_STRIDE, SETTLE_S_STRIDE, SETTLE_PANEL_BYTES, SETTLE_CONSTS };

/* ---- bounds ---- */

uint64_t gemm_bound_bytes(const plan_launch *gemm)
{
   uint64_t panels = (uint64_t)(gemm->consts[C_N] + PANEL_ROWS - 1) / PANEL_ROWS;

   return base_align(panels * sizeof(float), LINE_BYTES);
}

static vec_value panels_of(vec_fn *f, vec_value n)
{
   return vec_lshr_i(f, vec_add_i(f, n, PANEL_ROWS - 1), 4);
}

static vec_value bounds_of_row(vec_fn *f, vec_value bounds, vec_value n, vec_value row)
{
   return vec_at(f, bounds, vec_mul(f, row, gemm_part_bytes(f, panels_of(f, n))));
}

void gemm_bound_keep(gemm_kernel *g, vec_value panel, vec_value row, const vec_value *v,
                     const vec_value *left)
{
   vec_fn *f = g->f;
   vec_value most = gemm_logits(f, v[0], left[0]);
   vec_value to = bounds_of_row(f, g->parts_of, g->k[C_N], row);

   for (uint32_t h = 1; h < PANEL_ROWS / vec_lanes(f); h++)
      most = vec_fmax(f, most, gemm_logits(f, v[h], left[h]));
   vec_store(f, vec_fmax_all(f, most), vec_at(f, to, vec_shl_i(f, panel, 2)), 4);
}

/* Whether nobody wants the logits of any row of the chunk: i1. */
static vec_value none_wanted(gemm_kernel *g)
{
   vec_fn *f = g->f;
   vec_value wanted = vec_int(f, VEC_i32, 1, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 1, &wanted);

   wanted = vec_zext(f, gemm_pick_is_wanted(g, vec_add(f, g->row0, l.i)), VEC_i32);
   wanted = vec_or(f, l.var[0], wanted);
   vec_loop_end(f, &l, &wanted);
   return vec_icmp(f, VEC_eq, l.var[0], vec_int(f, VEC_i32, 1, 0));
}

void gemm_bound_panels(gemm_kernel *g, vec_value column_tile)
{
   vec_fn *f = g->f;
   vec_if top = vec_if_begin(f, none_wanted(g));

   g->weight = 1;
   gemm_each_panel(g, column_tile);
   vec_if_else(f, &top);
   g->weight = 0;
   gemm_each_panel(g, column_tile);
   vec_if_end(f, &top);
}

/* ---- raise ---- */

void raise_launch(const plan_launch *gemm, plan_launch *out)
{
   out->consts[RAISE_K] = gemm->consts[C_K];
   out->consts[RAISE_X_STRIDE] = gemm->consts[C_X_STRIDE];
   out->consts[RAISE_S_STRIDE] = gemm->consts[C_S_STRIDE];
   out->num_consts = RAISE_CONSTS;
   out->num_refs = 3;
   gemm_pick_rows(out, gemm->consts[C_X_STRIDE] + 2 * gemm->consts[C_S_STRIDE]);
}

/* (1 << TOP_DROP) - 1 times the sum of those of 32 codes that are above 0: i32. */
static vec_value sum_above(vec_fn *f, vec_value codes)
{
   vec_value x = vec_load(f, VEC_i8, QUANT_GROUP, codes, 1);
   vec_value sum = vec_maddubs(f, vec_imax(f, x, vec_int(f, VEC_i8, QUANT_GROUP, 0)),
                               vec_int(f, VEC_i8, QUANT_GROUP, (1 << TOP_DROP) - 1));

   sum = vec_maddwd(f, sum, vec_int(f, VEC_i16, QUANT_GROUP / 2, 1));
   for (uint32_t n = QUANT_GROUP / 8; n > 1; n /= 2)
      sum = vec_add(f, vec_part(f, sum, 0, n), vec_part(f, sum, n, n));
   return vec_add(f, vec_extract(f, sum, 0), vec_extract(f, sum, 1));
}

/* The scales of a row as they are, and its sums for offsets (pack.h) with what can come on top. */
void raise_emit(vec_module *m)
{
   if (vec_module_has(m, RAISE_SYMBOL))
      return;
   vec_fn *f = vec_kernel(m, RAISE_SYMBOL);
   vec_value k = vec_karg_const(f, RAISE_K), groups = vec_lshr_i(f, k, 5);
   vec_value s_at = vec_mul(f, vec_tile(f), vec_karg_const(f, RAISE_S_STRIDE));
   vec_value x_at = vec_mul(f, vec_tile(f), vec_karg_const(f, RAISE_X_STRIDE));
   vec_value x = vec_at(f, vec_karg_ptr(f, 1), x_at);
   vec_value from = vec_at(f, vec_karg_ptr(f, 2), s_at), to = vec_at(f, vec_karg_ptr(f, 0), s_at);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), groups, 1, 0, NULL);
   quant_place in = quant_place_of(f, x, from, groups, l.i);
   quant_place out = quant_place_of(f, x, to, groups, l.i);

   vec_store(f, vec_load(f, VEC_f32, 1, in.scale, 4), out.scale, 4);
   vec_value less = vec_load(f, VEC_i32, 1, in.less, 4);
   vec_store(f, vec_add(f, less, sum_above(f, in.codes)), out.less, 4);
   vec_loop_end(f, &l, NULL);
   vec_end(f);
}

/* ---- settle ---- */

void settle_symbol(panel_layout w, char out[GEMM_SYMBOL_MAX])
{
   snprintf(out, GEMM_SYMBOL_MAX, "settle_%s", panel_infos[w].name);
}

void settle_launch(const plan_launch *gemm, plan_launch *out)
{
   out->consts[SETTLE_N] = gemm->consts[C_N];
   out->consts[SETTLE_K] = gemm->consts[C_K];
   out->consts[SETTLE_X_STRIDE] = gemm->consts[C_X_STRIDE];
   out->consts[SETTLE_S_STRIDE] = gemm->consts[C_S_STRIDE];
   out->consts[SETTLE_PANEL_BYTES] = gemm->consts[C_PANEL_BYTES];
   out->num_consts = SETTLE_CONSTS;
   out->num_refs = 5;
   gemm_pick_rows(out, (int64_t)gemm_bound_bytes(gemm));
}

/* A row that is being settled. */
typedef struct settling {
   vec_fn *f;
   char dot[GEMM_SYMBOL_MAX];
   vec_value k[SETTLE_CONSTS], x, s, w;
   vec_value number;   /* i64: of the row */
   vec_value out;      /* f32[16], a panel's logits */
   vec_value most, at; /* in memory: f32 and i32, of all panels that were looked at */
} settling;

static vec_value largest(const settling *t)
{
   return vec_load(t->f, VEC_f32, 1, t->most, 4);
}

/* The logits of a panel; the largest of all stays, of equals the first. */
static void look_at(settling *t, vec_value panel)
{
   vec_fn *f = t->f;
   uint32_t lanes = vec_lanes(f);
   vec_value zero = vec_i(f, 0), column = vec_shl_i(f, panel, 4);
   vec_value args[DOT_ARGS] = {
      [DOT_w] = vec_at(f, t->w, vec_mul(f, panel, t->k[SETTLE_PANEL_BYTES])),
      [DOT_x] = t->x,
      [DOT_s] = t->s,
      [DOT_out] = t->out,
      [DOT_number] = t->number,
      [DOT_from] = zero,
      [DOT_k] = t->k[SETTLE_K],
      [DOT_all] = t->k[SETTLE_K],
      [DOT_x_stride] = t->k[SETTLE_X_STRIDE],
      [DOT_s_stride] = t->k[SETTLE_S_STRIDE],
      [DOT_ahead] = vec_i(f, SETTLE_AHEAD),
   };

   for (uint32_t c = 0; c < PANEL_ROWS; c += lanes)
      vec_store(f, vec_float(f, lanes, 0), vec_at_i(f, t->out, 4 * (int64_t)c), 32);
   vec_call(f, t->dot, DOT_ARGS, args);
   for (uint32_t c = 0; c < PANEL_ROWS; c += lanes) {
      vec_value first = vec_add_i(f, column, c), left = vec_sub(f, t->k[SETTLE_N], first);
      vec_value v = vec_load(f, VEC_f32, lanes, vec_at_i(f, t->out, 4 * (int64_t)c), 32);
      gemm_best b =
         gemm_over_lanes(f, (gemm_best){gemm_logits(f, v, left), gemm_columns(f, first)});
      vec_value most = largest(t), at = vec_load(f, VEC_i32, 1, t->at, 4);
      vec_value is_more = vec_fcmp(f, VEC_gt, b.most, most);
      vec_value is_first =
         vec_and(f, vec_fcmp(f, VEC_eq, b.most, most), vec_icmp(f, VEC_lt, b.at, at));
      vec_value better = vec_or(f, is_more, is_first);
      vec_store(f, vec_select(f, better, b.most, most), t->most, 4);
      vec_store(f, vec_select(f, better, b.at, at), t->at, 4);
   }
}

/* `lanes` bounds of a row from panel `first` on. */
static vec_value load_bounds(vec_fn *f, vec_value bounds, vec_value first, vec_value panels)
{
   vec_value at = vec_at(f, bounds, vec_shl_i(f, first, 2));

   return gemm_logits(f, vec_load(f, VEC_f32, vec_lanes(f), at, 32), vec_sub(f, panels, first));
}

/* The panel with the largest bound, i64. */
static vec_value first_choice(vec_fn *f, vec_value bounds, vec_value panels)
{
   uint32_t lanes = vec_lanes(f);
   vec_value vars[] = {vec_float(f, lanes, -INFINITY), vec_int(f, VEC_i32, lanes, 0)};
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), panels, lanes, 2, vars);
   gemm_best b = {l.var[0], l.var[1]};

   gemm_keep_larger(f, load_bounds(f, bounds, l.i, panels), gemm_columns(f, l.i), &b);
   vec_loop_end(f, &l, (vec_value[]){b.most, b.at});
   b = gemm_over_lanes(f, (gemm_best){l.var[0], l.var[1]});
   return vec_zext(f, b.at, VEC_i64);
}

/* The panels of `lanes` bounds, of which one at least may have the largest logit. */
static void look_closer(settling *t, vec_value bounds, vec_value first, vec_value panels)
{
   vec_fn *f = t->f;
   vec_value end = vec_imin(f, panels, vec_add_i(f, first, vec_lanes(f)));
   vec_loop l = vec_loop_begin(f, first, end, 1, 0, NULL);
   vec_value bound = vec_load(f, VEC_f32, 1, vec_at(f, bounds, vec_shl_i(f, l.i, 2)), 4);
   vec_if may = vec_if_begin(f, vec_fcmp(f, VEC_ge, bound, largest(t)));

   look_at(t, l.i);
   vec_if_end(f, &may);
   vec_loop_end(f, &l, NULL);
}

static void settle_begin(settling *t, vec_module *m, panel_layout w)
{
   char symbol[GEMM_SYMBOL_MAX];

   dot_emit(m, w, DOT_int8, 1, t->dot);
   settle_symbol(w, symbol);
   vec_fn *f = t->f = vec_kernel(m, symbol);
   for (uint32_t i = 0; i < SETTLE_CONSTS; i++)
      t->k[i] = vec_karg_const(f, i);
   t->x = vec_karg_ptr(f, 2);
   t->s = vec_karg_ptr(f, 3);
   t->w = vec_karg_ptr(f, 4);
   t->number = vec_stack(f, 8, 8);
   t->out = vec_stack(f, PANEL_ROWS * 4, 64);
   t->most = vec_stack(f, 4, 4);
   t->at = vec_stack(f, 4, 4);
   vec_store(f, vec_tile(f), t->number, 8);
   vec_store(f, vec_float(f, 1, -INFINITY), t->most, 4);
   vec_store(f, vec_int(f, VEC_i32, 1, INT32_MAX), t->at, 4);
}

/* The panel of the largest bound is likely to have the largest logit: it comes first. */
void settle_emit(vec_module *m, panel_layout w)
{
   char symbol[GEMM_SYMBOL_MAX];
   settling t;

   settle_symbol(w, symbol);
   if (vec_module_has(m, symbol))
      return;
   settle_begin(&t, m, w);
   vec_fn *f = t.f;
   uint32_t lanes = vec_lanes(f);
   vec_value ids = vec_karg_ptr(f, 0);
   vec_value bounds = bounds_of_row(f, vec_karg_ptr(f, 1), t.k[SETTLE_N], vec_tile(f));
   vec_value panels = panels_of(f, t.k[SETTLE_N]);

   look_at(&t, first_choice(f, bounds, panels));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), panels, lanes, 0, NULL);
   vec_value v = load_bounds(f, bounds, l.i, panels);
   vec_if may = vec_if_begin(f, vec_fcmp(f, VEC_ge, vec_fmax_all(f, v), largest(&t)));
   look_closer(&t, bounds, l.i, panels);
   vec_if_end(f, &may);
   vec_loop_end(f, &l, NULL);
   gemm_pick_id(f, ids, (gemm_best){largest(&t), vec_load(f, VEC_i32, 1, t.at, 4)});
   vec_end(f);
}
