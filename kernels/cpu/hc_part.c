/* hc_part.c - one block of columns: streams spread, and their part of the products that mix them.
 *
 * Products: panels of 16 outputs; line k of a panel holds element k of fn for all of them. A row's
 * sums stay in registers over the columns of one stream and wait in its partials between
 * streams. */
#include "hc_impl.h"

/* ---- expand ---- */

/* Factors of one row: post[n] and comb[n][n] as scalars. */
typedef struct factors {
   vec_value post[HC_MAX_STREAMS], comb[HC_MAX_STREAMS][HC_MAX_STREAMS];
   vec_value y, x, z; /* the row's */
} factors;

static void spread(hc *h, void *user, vec_value i, uint32_t lanes)
{
   const factors *a = user;
   vec_fn *f = h->f;
   const uint32_t n = h->k->streams, d = h->k->width;
   vec_value y = vec_load(f, VEC_f32, lanes, hc_at(h, a->y, i), 4), x[HC_MAX_STREAMS];

   for (uint32_t j = 0; j < n; j++)
      x[j] = vec_load(f, VEC_f32, lanes, hc_at(h, a->x, vec_add_i(f, i, (int64_t)j * d)), 4);
   for (uint32_t k = 0; k < n; k++) {
      vec_value z = vec_fmul(f, y, vec_splat(f, a->post[k], lanes));
      for (uint32_t j = 0; j < n; j++)
         z = vec_fma(f, x[j], vec_splat(f, a->comb[j][k], lanes), z);
      vec_store(f, z, hc_at(h, a->z, vec_add_i(f, i, (int64_t)k * d)), 4);
   }
}

static void expand_row(hc *h, vec_value row)
{
   const uint32_t n = h->k->streams;
   const int64_t d = h->k->width;
   vec_value post = hc_row(h, h->post, row, n), comb = hc_row(h, h->comb, row, (int64_t)n * n);
   factors a = {.y = hc_row(h, h->y, row, d),
                .x = hc_row(h, h->x, row, n * d),
                .z = hc_row(h, h->z, row, n * d)};

   for (uint32_t j = 0; j < n; j++) {
      a.post[j] = hc_get(h, post, j);
      for (uint32_t k = 0; k < n; k++)
         a.comb[j][k] = hc_get(h, comb, (int64_t)j * n + k);
   }
   hc_columns(h, &a, spread);
}

/* ---- mix ---- */

/* Vectors that hold the outputs; the last one may hold outputs that are none. */
static uint32_t vectors_of(const hc *h)
{
   return (hc_parts(h->k) + h->lanes - 1) / h->lanes;
}

static vec_value partials_of(hc *h, vec_value row)
{
   vec_value i = vec_add(h->f, vec_mul_i(h->f, row, hc_blocks(h->k)), h->block);

   return vec_at(h->f, h->scratch, vec_mul_i(h->f, i, 4 * hc_partials(h->k)));
}

/* Element k of fn for the outputs of vector v. */
static vec_value fn_at(hc *h, vec_value k, uint32_t v)
{
   const int64_t line = PANEL_ROWS * 4, depth = (int64_t)h->k->streams * h->k->width;
   const int64_t first = (int64_t)v * h->lanes;
   vec_value at = vec_at_i(h->f, vec_at(h->f, h->fn, vec_mul_i(h->f, k, line)),
                           first / PANEL_ROWS * depth * line + first % PANEL_ROWS * 4);

   return vec_load(h->f, VEC_f32, h->lanes, at, 4);
}

/* Adds the products of `rows` rows over columns of one stream to their partials, `count` vectors
 * from number `first` on; with `squares` those of the elements, too. */
static void multiply(hc *h, const vec_value *x, const vec_value *to, uint32_t rows, uint32_t first,
                     uint32_t count, vec_value stream, bool squares)
{
   vec_fn *f = h->f;
   const uint32_t n = rows * count, all = n + (squares ? rows : 0);
   vec_value sums[VEC_MAX_VARS], next[VEC_MAX_VARS];
   vec_value depth = vec_mul_i(f, stream, h->k->width), w[4];

   for (uint32_t r = 0; r < rows; r++) {
      for (uint32_t v = 0; v < count; v++)
         sums[r * count + v] = vec_load(f, VEC_f32, h->lanes,
                                        vec_at_i(f, to[r], 4 * (int64_t)(first + v) * h->lanes), 4);
      if (squares)
         sums[n + r] = hc_get(h, to[r], hc_parts(h->k));
   }
   vec_loop l = vec_loop_begin(f, h->from, h->to, 1, all, sums);
   vec_value k = vec_add(f, depth, l.i);
   for (uint32_t v = 0; v < count; v++)
      w[v] = fn_at(h, k, first + v);
   for (uint32_t r = 0; r < rows; r++) {
      vec_value one = vec_load(f, VEC_f32, 1, hc_at(h, x[r], k), 4);
      vec_value wide = vec_splat(f, one, h->lanes);
      for (uint32_t v = 0; v < count; v++)
         next[r * count + v] = vec_fma(f, wide, w[v], l.var[r * count + v]);
      if (squares)
         next[n + r] = vec_fma(f, one, one, l.var[n + r]);
   }
   vec_loop_end(f, &l, next);
   for (uint32_t r = 0; r < rows; r++) {
      for (uint32_t v = 0; v < count; v++)
         vec_store(f, l.var[r * count + v], vec_at_i(f, to[r], 4 * (int64_t)(first + v) * h->lanes),
                   4);
      if (squares)
         hc_put(h, to[r], hc_parts(h->k), l.var[n + r]);
   }
}

/* The products of `rows` rows from `row` on. Squares have a place that no output has: one
 * behind. */
static void mix_rows(hc *h, vec_value row, uint32_t rows)
{
   vec_fn *f = h->f;
   const uint32_t vectors = vectors_of(h), most = h->lanes == 16 || rows == 1 ? 4 : 2;
   const int64_t each = (int64_t)h->k->streams * h->k->width;
   vec_value x[HC_ROWS], to[HC_ROWS], streams = h->k->expand ? h->z : h->x;

   for (uint32_t r = 0; r < rows; r++) {
      vec_value at = vec_add_i(f, row, r);
      x[r] = hc_row(h, streams, at, each);
      to[r] = partials_of(h, at);
      for (int64_t i = 0; i < hc_partials(h->k); i += h->lanes)
         vec_store(f, vec_float(f, h->lanes, 0), vec_at_i(f, to[r], 4 * i), 4);
   }
   for (uint32_t first = 0; first < vectors; first += most) {
      const uint32_t count = MIN(most, vectors - first);
      vec_loop s = vec_loop_begin(f, vec_i(f, 0), vec_i(f, h->k->streams), 1, 0, NULL);
      /* the last vector writes over the place of the squares: they come with it, and behind it */
      multiply(h, x, to, rows, first, count, s.i, first + count == vectors);
      vec_loop_end(f, &s, NULL);
   }
}

/* ---- the kernel ---- */

static void each_row(hc *h, vec_value from, vec_value to, uint32_t rows)
{
   vec_loop l = vec_loop_begin(h->f, from, to, rows, 0, NULL);

   mix_rows(h, l.i, rows);
   vec_loop_end(h->f, &l, NULL);
}

void hc_emit_part(hc *h)
{
   vec_fn *f = h->f;
   vec_value blocks = vec_i(f, hc_blocks(h->k)), end;

   h->block = vec_rem(f, vec_tile(f), blocks);
   h->row = vec_mul_i(f, vec_div(f, vec_tile(f), blocks), HC_ROWS);
   end = vec_imin(f, vec_add_i(f, h->row, HC_ROWS), h->rows);
   h->from = vec_mul_i(f, h->block, HC_BLOCK);
   h->to = vec_imin(f, vec_add_i(f, h->from, HC_BLOCK), vec_i(f, h->k->width));
   if (h->k->expand) {
      vec_loop l = vec_loop_begin(f, h->row, end, 1, 0, NULL);
      expand_row(h, l.i);
      vec_loop_end(f, &l, NULL);
   }
   if (!h->k->mix)
      return;
   vec_value left = vec_sub(f, end, h->row);
   vec_if full = vec_if_begin(f, vec_icmp(f, VEC_eq, left, vec_i(f, HC_ROWS)));
   mix_rows(h, h->row, HC_ROWS);
   vec_if_else(f, &full);
   each_row(h, h->row, end, 1);
   vec_if_end(f, &full);
}
