/* hc.c - keys and launches of the hyper-connection kernels, and what finishes a row.
 *
 *    m = partials, block after block;   m /= sqrt(squares / (n D) + eps)
 *    pre, post, comb on the stack;  comb: exactly `iters` rounds, whatever the sums are by then */
#include "hc_impl.h"

#include <stdio.h>

enum { ACCUMULATORS = 4 };

const char *hc_unsupported(const hc_key *k)
{
   return k->streams > HC_MAX_STREAMS ? "there are more than 8 streams" : NULL;
}

void hc_symbol(const hc_key *k, char out[HC_SYMBOL_MAX])
{
   int n = snprintf(out, HC_SYMBOL_MAX, "hc_%s%s%s%s%s_n%u_d%u", k->finish ? "finish" : "part",
                    k->expand ? "_expand" : "", k->mix ? "_mix" : "",
                    k->collapse ? "_collapse" : "", k->norm ? "_norm" : "", k->streams, k->width);

   if (k->mix && k->finish)
      n += snprintf(out + n, (size_t)(HC_SYMBOL_MAX - n), "_e%a_o%a_i%u", k->eps, k->offset,
                    k->iters);
   if (k->norm)
      (void)snprintf(out + n, (size_t)(HC_SYMBOL_MAX - n), "_w%a_%a", k->norm_eps, k->norm_offset);
}

uint64_t hc_scratch(const hc_key *k, int64_t max_rows)
{
   return k->mix ? (uint64_t)(max_rows * hc_blocks(k) * hc_partials(k)) * sizeof(float) : 0;
}

void hc_launch(const hc_key *k, gemm_rows rows, plan_launch *out)
{
   const int64_t step = k->finish ? 1 : HC_ROWS, all = (int64_t)k->streams * k->width;
   int64_t each = k->finish ? 1 : hc_blocks(k), bytes = k->collapse ? 4 * all : 0;

   out->consts[HC_PER_SYM] = rows.is_sym ? MAX(rows.num, 1) : 0;
   out->consts[HC_SYM] = rows.is_sym ? (int64_t)rows.sym : 0;
   out->consts[HC_FIXED] = rows.is_sym ? 0 : rows.num;
   out->num_consts = HC_CONSTS;
   out->tiles = (plan_extent){.k = rows.is_sym ? each : each * ((rows.num + step - 1) / step)};
   if (rows.is_sym) {
      out->tiles.num_factors = 1;
      out->tiles.factor[0].sym = rows.sym;
      out->tiles.factor[0].div = (uint32_t)step;
   }
   if (k->expand)
      bytes += 8 * all;
   if (k->mix && !k->finish)
      bytes += 4 * all * hc_parts(k) / HC_ROWS;
   out->bytes = out->flops = out->tiles;
   out->bytes.k = MAX(bytes * step / MAX(each, 1), 1);
   out->flops.k = MAX(2 * step * all *
                         (k->finish ? k->collapse : k->expand * k->streams + k->mix * hc_parts(k)),
                      1);
}

/* ---- mix ---- */

/* m[i] of the row, i < parts, on the stack: products over the whole row, scaled. */
static vec_value sum_partials(hc *h)
{
   vec_fn *f = h->f;
   const int64_t each = hc_partials(h->k), vectors = each / h->lanes;
   const uint32_t parts = hc_parts(h->k);
   vec_value m = vec_stack(f, 4 * (uint64_t)each, 64), sums[VEC_MAX_VARS], next[VEC_MAX_VARS];
   vec_value from = hc_row(h, h->scratch, h->row, hc_blocks(h->k) * each);

   for (int64_t v = 0; v < vectors; v++)
      sums[v] = vec_float(f, h->lanes, 0);
   vec_loop l =
      vec_loop_begin(f, vec_i(f, 0), vec_i(f, hc_blocks(h->k)), 1, (uint32_t)vectors, sums);
   vec_value at = hc_row(h, from, l.i, each);
   for (int64_t v = 0; v < vectors; v++)
      next[v] = vec_fadd(f, l.var[v],
                         vec_load(f, VEC_f32, h->lanes, vec_at_i(f, at, 4 * v * h->lanes), 4));
   vec_loop_end(f, &l, next);
   for (int64_t v = 0; v < vectors; v++)
      vec_store(f, l.var[v], vec_at_i(f, m, 4 * v * h->lanes), 4);
   vec_value mean =
      vec_fdiv(f, hc_get(h, m, parts), vec_float(f, 1, (double)h->k->streams * h->k->width));
   vec_value root = vec_sqrt(f, vec_fadd(f, mean, vec_float(f, 1, h->k->eps)));
   for (uint32_t i = 0; i < parts; i++)
      hc_put(h, m, i, vec_fdiv(f, hc_get(h, m, i), root));
   return m;
}

/* m[i] * scale[part] + base[i]. */
static vec_value weighed(hc *h, vec_value m, uint32_t part, int64_t i)
{
   vec_value v = vec_fmul(h->f, hc_get(h, m, i), hc_get(h, h->scale, part));

   return vec_fadd(h->f, v, hc_get(h, h->base, i));
}

static vec_value sum_of(hc *h, vec_value c, uint32_t step)
{
   vec_value sum = hc_get(h, c, 0);

   for (uint32_t i = 1; i < h->k->streams; i++)
      sum = vec_fadd(h->f, sum, hc_get(h, c, (int64_t)i * step));
   return sum;
}

static void softmax_row(hc *h, vec_value c)
{
   vec_fn *f = h->f;
   const uint32_t n = h->k->streams;
   vec_value most = hc_get(h, c, 0);

   for (uint32_t j = 1; j < n; j++)
      most = vec_fmax(f, most, hc_get(h, c, j));
   for (uint32_t j = 0; j < n; j++)
      hc_put(h, c, j, vec_exp(f, vec_fsub(f, hc_get(h, c, j), most)));
   vec_value sum = sum_of(h, c, 1);
   for (uint32_t j = 0; j < n; j++)
      hc_put(h, c, j,
             vec_fadd(f, vec_fdiv(f, hc_get(h, c, j), sum), vec_float(f, 1, h->k->offset)));
}

/* Divides elements that are `step` apart by their sum. */
static void normalise(hc *h, vec_value c, uint32_t step)
{
   vec_value sum = vec_fadd(h->f, sum_of(h, c, step), vec_float(h->f, 1, h->k->offset));

   for (uint32_t i = 0; i < h->k->streams; i++) {
      int64_t at = (int64_t)i * step;
      hc_put(h, c, at, vec_fdiv(h->f, hc_get(h, c, at), sum));
   }
}

static void normalise_columns(hc *h, vec_value c)
{
   for (uint32_t j = 0; j < h->k->streams; j++)
      normalise(h, vec_at_i(h->f, c, 4 * (int64_t)j), h->k->streams);
}

static void balance(hc *h, vec_value c)
{
   vec_fn *f = h->f;
   const uint32_t n = h->k->streams;

   normalise_columns(h, c);
   vec_loop l = vec_loop_begin(f, vec_i(f, 1), vec_i(f, h->k->iters), 1, 0, NULL);
   for (uint32_t i = 0; i < n; i++)
      normalise(h, vec_at_i(f, c, 4 * (int64_t)i * n), 1);
   normalise_columns(h, c);
   vec_loop_end(f, &l, NULL);
}

/* pre goes where the collapse reads it. */
static void mix(hc *h)
{
   vec_fn *f = h->f;
   const uint32_t n = h->k->streams;
   vec_value m = sum_partials(h);
   vec_value post = hc_row(h, h->post, h->row, n),
             comb = hc_row(h, h->comb, h->row, (int64_t)n * n);

   if (h->k->collapse)
      h->pre = vec_stack(f, 4 * (uint64_t)n, 64);
   else
      h->pre = hc_row(h, h->pre, h->row, n);
   for (uint32_t i = 0; i < n; i++) {
      vec_value pre = vec_sigmoid(f, weighed(h, m, 0, i));
      hc_put(h, h->pre, i, vec_fadd(f, pre, vec_float(f, 1, h->k->offset)));
      vec_value out = vec_sigmoid(f, weighed(h, m, 1, n + (int64_t)i));
      hc_put(h, post, i, vec_fmul(f, out, vec_float(f, 1, 2)));
   }
   for (uint32_t i = 0; i < n * n; i++)
      hc_put(h, comb, i, weighed(h, m, 2, 2 * n + (int64_t)i));
   for (uint32_t i = 0; i < n; i++)
      softmax_row(h, vec_at_i(f, comb, 4 * (int64_t)i * n));
   balance(h, comb);
}

/* ---- collapse and norm ---- */

typedef struct together {
   vec_value y, x, pre[HC_MAX_STREAMS], factor;
} together;

static void collapse(hc *h, void *user, vec_value i, uint32_t lanes)
{
   const together *a = user;
   vec_fn *f = h->f;
   vec_value sum = NULL;

   for (uint32_t j = 0; j < h->k->streams; j++) {
      vec_value at = hc_at(h, a->x, vec_add_i(f, i, (int64_t)j * h->k->width));
      vec_value x = vec_load(f, VEC_f32, lanes, at, 4), pre = vec_splat(f, a->pre[j], lanes);
      sum = j ? vec_fma(f, x, pre, sum) : vec_fmul(f, x, pre);
   }
   vec_store(f, sum, hc_at(h, a->y, i), 4);
}

static void scale(hc *h, void *user, vec_value i, uint32_t lanes)
{
   const together *a = user;
   vec_fn *f = h->f;
   vec_value y = vec_load(f, VEC_f32, lanes, hc_at(h, a->y, i), 4);
   vec_value w = vec_load(f, VEC_f32, lanes, hc_at(h, h->w, i), 4);

   if (h->k->norm_offset != 0)
      w = vec_fadd(f, w, vec_float(f, lanes, h->k->norm_offset));
   vec_store(f, vec_fmul(f, vec_fmul(f, y, vec_splat(f, a->factor, lanes)), w), hc_at(h, a->y, i),
             4);
}

/* Sum of squares of y, in the order of a row kernel's norm: four sums over whole vectors, the
 * vectors that are left, single elements. */
static vec_value squares(hc *h, vec_value y)
{
   vec_fn *f = h->f;
   const int64_t lanes = h->lanes, step = lanes * ACCUMULATORS, n = h->k->width;
   const int64_t wide = n / step * step, whole = n / lanes * lanes;
   vec_value s[ACCUMULATORS], next[ACCUMULATORS];

   for (int k = 0; k < ACCUMULATORS; k++)
      s[k] = vec_float(f, h->lanes, 0);
   if (wide) {
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, wide), step, ACCUMULATORS, s);
      for (int k = 0; k < ACCUMULATORS; k++) {
         vec_value v = vec_load(f, VEC_f32, h->lanes, hc_at(h, y, vec_add_i(f, l.i, k * lanes)), 4);
         next[k] = vec_fma(f, v, v, l.var[k]);
      }
      vec_loop_end(f, &l, next);
      memcpy(s, l.var, sizeof s);
   }
   for (int64_t i = wide; i < whole; i += lanes) {
      vec_value v = vec_load(f, VEC_f32, h->lanes, vec_at_i(f, y, 4 * i), 4);
      s[0] = vec_fma(f, v, v, s[0]);
   }
   vec_value sum = vec_fsum(f, vec_fadd(f, vec_fadd(f, s[0], s[1]), vec_fadd(f, s[2], s[3])));
   for (int64_t i = whole; i < n; i++) {
      vec_value v = hc_get(h, y, i);
      sum = vec_fma(f, v, v, sum);
   }
   return sum;
}

static void bring_together(hc *h)
{
   vec_fn *f = h->f;
   const uint32_t n = h->k->streams;
   const int64_t d = h->k->width;
   together a = {.y = hc_row(h, h->y, h->row, d), .x = hc_row(h, h->x, h->row, n * d)};
   vec_value pre = h->k->mix ? h->pre : hc_row(h, h->pre, h->row, n);

   for (uint32_t j = 0; j < n; j++)
      a.pre[j] = hc_get(h, pre, j);
   h->from = vec_i(f, 0);
   h->to = vec_i(f, d);
   hc_columns(h, &a, collapse);
   if (!h->k->norm)
      return;
   vec_value mean = vec_fdiv(f, squares(h, a.y), vec_float(f, 1, (double)d));
   vec_value inside = vec_fadd(f, mean, vec_float(f, 1, h->k->norm_eps));
   a.factor = vec_fdiv(f, vec_float(f, 1, 1), vec_sqrt(f, inside));
   hc_columns(h, &a, scale);
}

void hc_emit_finish(hc *h)
{
   h->row = vec_tile(h->f);
   if (h->k->mix)
      mix(h);
   if (h->k->collapse)
      bring_together(h);
}

/* ---- the kernels ---- */

static void take_pointers(hc *h)
{
   const hc_key *k = h->k;
   vec_value *part[] = {&h->z, &h->y, &h->post, &h->comb};
   vec_value *mixed[] = {&h->scratch, &h->scale, &h->base, &h->pre, &h->post, &h->comb};
   uint32_t at = 0;

   if (!k->finish) {
      for (uint32_t i = 0; i < countof(part) && k->expand; i++)
         *part[i] = vec_karg_ptr(h->f, at++);
      h->x = vec_karg_ptr(h->f, at++);
      if (k->mix) {
         h->fn = vec_karg_ptr(h->f, at++);
         h->scratch = vec_karg_ptr(h->f, at++);
      }
      return;
   }
   for (uint32_t i = 0; i < countof(mixed) && k->mix; i++)
      if (mixed[i] != &h->pre || !k->collapse)
         *mixed[i] = vec_karg_ptr(h->f, at++);
   if (!k->collapse)
      return;
   h->y = vec_karg_ptr(h->f, at++);
   h->x = vec_karg_ptr(h->f, at++);
   if (!k->mix)
      h->pre = vec_karg_ptr(h->f, at++);
   if (k->norm)
      h->w = vec_karg_ptr(h->f, at++);
}

void hc_emit(vec_module *m, const hc_key *key)
{
   char symbol[HC_SYMBOL_MAX];

   hc_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   hc h = {.f = f, .k = key, .lanes = vec_lanes(f)};
   h.rows = vec_mul(f, vec_karg_const(f, HC_PER_SYM), vec_sym_at(f, vec_karg_const(f, HC_SYM)));
   h.rows = vec_add(f, h.rows, vec_karg_const(f, HC_FIXED));
   take_pointers(&h);
   if (key->finish)
      hc_emit_finish(&h);
   else
      hc_emit_part(&h);
   vec_end(f);
}
