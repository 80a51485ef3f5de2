/* gemm_norm.c - a product whose input is normed in its kernel, a few rows at a time.
 *
 *    for rows r .. r + n of the chunk      n = gemm_norm_rows(K), at most 4
 *       buf[n][K] = rmsnorm x[r ..]        and to memory, by the first tile of columns, if others read it
 *       y[r ..] = buf w^T                  the panels of the tile
 *
 * Every tile norms the rows again: worth it where a launch costs more than that. */
#include "gemm_kernel.h"
#include "norm.h"

uint32_t gemm_norm_rows(uint64_t k)
{
   uint64_t n = GEMM_NORM_BYTES / (4 * MAX(k, 1));

   return (uint32_t)MIN(n, 1 << NORM_LOG);
}

typedef struct normed_row {
   gemm_kernel *g;
   vec_value x, to, factor;
} normed_row;

static vec_value load_at(void *user, vec_value i, uint32_t lanes)
{
   const normed_row *r = user;
   vec_fn *f = r->g->f;

   return vec_load(f, VEC_f32, lanes, vec_at(f, r->x, vec_shl_i(f, i, 2)), 4);
}

static void norm_elements(const normed_row *r, int64_t from, int64_t to, uint32_t lanes)
{
   const gemm_norm *norm = &r->g->key->norm;
   vec_fn *f = r->g->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, to), lanes, 0, NULL);
   vec_value at = vec_shl_i(f, l.i, 2);
   vec_value x = vec_load(f, VEC_f32, lanes, vec_at(f, r->x, at), 4);
   vec_value w = vec_load(f, VEC_f32, lanes, vec_at(f, r->g->norm_weight, at), 4);

   if (norm->offset != 0)
      w = vec_fadd(f, w, vec_float(f, lanes, norm->offset));
   x = vec_fmul(f, vec_fmul(f, x, vec_splat(f, r->factor, lanes)), w);
   vec_store(f, x, vec_at(f, r->to, at), 4);
   vec_loop_end(f, &l, NULL);
}

static void copy_row(vec_fn *f, vec_value from, vec_value to, int64_t k)
{
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, 4 * k), 4, 0, NULL);

   vec_store(f, vec_load(f, VEC_f32, 1, vec_at(f, from, l.i), 4), vec_at(f, to, l.i), 4);
   vec_loop_end(f, &l, NULL);
}

/* Row `row` of x, normed, as row i of buf. */
static void norm_row(gemm_kernel *g, vec_value x, vec_value buf, vec_value i, vec_value row,
                     vec_value is_first)
{
   vec_fn *f = g->f;
   const gemm_norm *norm = &g->key->norm;
   int64_t k = norm->k, whole = k / vec_lanes(f) * vec_lanes(f);
   vec_value stride = vec_mul_i(f, row, 4 * k);
   normed_row r = {.g = g, .x = vec_at(f, x, stride), .to = vec_at(f, buf, vec_mul_i(f, i, 4 * k))};

   r.factor = norm_factor(f, norm_sum_squares(f, k, load_at, &r), k, norm->eps);
   if (whole)
      norm_elements(&r, 0, whole, vec_lanes(f));
   if (whole < k)
      norm_elements(&r, whole, k, 1);
   if (!norm->stored)
      return;
   vec_if store = vec_if_begin(f, is_first);
   copy_row(f, r.to, vec_at(f, g->normed, stride), k);
   vec_if_end(f, &store);
}

void gemm_norm_tile(gemm_kernel *g, vec_value column_tile)
{
   vec_fn *f = g->f;
   uint32_t n = gemm_norm_rows(g->key->norm.k);
   vec_value x = g->x, all = g->rows, buf = vec_stack(f, (uint64_t)n * g->key->norm.k * 4, 64);
   vec_value is_first = vec_icmp(f, VEC_eq, column_tile, vec_i(f, 0));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), all, n, 0, NULL);

   g->rows = vec_imin(f, vec_sub(f, all, l.i), vec_i(f, n));
   vec_loop r = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 0, NULL);
   vec_value row = vec_add(f, g->row0, vec_add(f, l.i, r.i)), at = vec_shl_i(f, r.i, 3);
   norm_row(g, x, buf, r.i, row, is_first);
   vec_store(f, r.i, vec_at(f, g->from, at), 8);
   vec_store(f, row, vec_at(f, g->to, at), 8);
   vec_loop_end(f, &r, NULL);
   g->x = buf;
   gemm_tile_panels(g, column_tile);
   vec_loop_end(f, &l, NULL);
}
