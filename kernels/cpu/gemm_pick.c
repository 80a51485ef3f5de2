/* gemm_pick.c - the likeliest token of a row, found where its logits are made.
 *
 *    tile of logits[rows][columns] ─ largest of each row ─▶ most f32[C], at i32[C] of the row ─ pick ─▶ ids[R]
 *
 * Rows that nobody else picks from have no logits in memory: those of a step are many times what
 * its caches hold. A logit that is not a number counts as infinity, which no row may have. */
#include "gemm_kernel.h"

#include "base/draw.h"

#include <math.h>

vec_value gemm_part_bytes(vec_fn *f, vec_value n)
{
   return vec_and_i(f, vec_add_i(f, vec_shl_i(f, n, 2), LINE_BYTES - 1), -LINE_BYTES);
}

uint64_t gemm_pick_bytes(const plan_launch *gemm)
{
   return 2 * base_align((uint64_t)gemm->consts[C_COLUMN_TILES] * 4, LINE_BYTES);
}

static vec_value infinity(vec_fn *f, uint32_t lanes, int sign)
{
   return vec_float(f, lanes, sign * (double)INFINITY);
}

static vec_value lane_numbers(vec_fn *f, uint32_t lanes)
{
   int64_t iota[PANEL_ROWS];

   for (int i = 0; i < PANEL_ROWS; i++)
      iota[i] = i;
   return vec_ints(f, VEC_i32, lanes, iota);
}

static vec_value wide(vec_fn *f, vec_value i64, uint32_t lanes)
{
   return vec_splat(f, vec_trunc(f, i64, VEC_i32), lanes);
}

/* Of row i of the chunk, a lane each. */
static vec_value lanes_at(gemm_kernel *g, vec_value base, vec_value i)
{
   return vec_at(g->f, base, vec_mul_i(g->f, i, 4 * vec_lanes(g->f)));
}

void gemm_pick_begin(gemm_kernel *g)
{
   vec_fn *f = g->f;
   uint32_t lanes = vec_lanes(f);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 0, NULL);

   vec_store(f, infinity(f, lanes, -1), lanes_at(g, g->most, l.i), 32);
   vec_store(f, vec_int(f, VEC_i32, lanes, 0), lanes_at(g, g->most_at, l.i), 32);
   vec_loop_end(f, &l, NULL);
}

void gemm_keep_larger(vec_fn *f, vec_value v, vec_value at, gemm_best *b)
{
   vec_value larger = vec_fcmp(f, VEC_gt, v, b->most);

   b->most = vec_fmax(f, v, b->most);
   b->at = vec_select(f, larger, at, b->at);
}

gemm_best gemm_pick_load(gemm_kernel *g, vec_value i)
{
   uint32_t lanes = vec_lanes(g->f);

   return (gemm_best){vec_load(g->f, VEC_f32, lanes, lanes_at(g, g->most, i), 32),
                      vec_load(g->f, VEC_i32, lanes, lanes_at(g, g->most_at, i), 32)};
}

void gemm_pick_store(gemm_kernel *g, vec_value i, const gemm_best *b)
{
   vec_store(g->f, b->most, lanes_at(g, g->most, i), 32);
   vec_store(g->f, b->at, lanes_at(g, g->most_at, i), 32);
}

vec_value gemm_logits(vec_fn *f, vec_value v, vec_value left)
{
   uint32_t lanes = vec_lanes(f);

   v = vec_select(f, vec_fcmp(f, VEC_lt, v, infinity(f, lanes, 1)), v, infinity(f, lanes, 1));
   if (left)
      v = vec_select(f, vec_icmp(f, VEC_lt, lane_numbers(f, lanes), wide(f, left, lanes)), v,
                     infinity(f, lanes, -1));
   return v;
}

vec_value gemm_columns(vec_fn *f, vec_value first)
{
   uint32_t lanes = vec_lanes(f);

   return vec_add(f, wide(f, first, lanes), lane_numbers(f, lanes));
}

void gemm_pick_outputs(gemm_kernel *g, vec_value column, vec_value left, vec_value v, gemm_best *b)
{
   vec_fn *f = g->f;

   gemm_keep_larger(f, gemm_logits(f, v, left), gemm_columns(f, column), b);
}

static vec_value least_of(vec_fn *f, vec_value v)
{
   for (uint32_t n = vec_width(v) / 2; n > 1; n /= 2)
      v = vec_imin(f, vec_part(f, v, 0, n), vec_part(f, v, n, n));
   return vec_imin(f, vec_extract(f, v, 0), vec_extract(f, v, 1));
}

gemm_best gemm_over_lanes(vec_fn *f, gemm_best b)
{
   uint32_t lanes = vec_width(b.most);
   vec_value most = vec_fmax_all(f, b.most);
   vec_value equal = vec_fcmp(f, VEC_eq, b.most, vec_splat(f, most, lanes));

   return (gemm_best){
      most, least_of(f, vec_select(f, equal, b.at, vec_int(f, VEC_i32, lanes, INT32_MAX)))};
}

void gemm_pick_end(gemm_kernel *g, vec_value column_tile)
{
   vec_fn *f = g->f;
   vec_value bytes = gemm_part_bytes(f, g->k[C_COLUMN_TILES]);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 0, NULL);
   vec_value row = vec_load(f, VEC_i64, 1, vec_at(f, g->to, vec_shl_i(f, l.i, 3)), 8);
   vec_value to = vec_at(f, g->parts_of, vec_shl_i(f, vec_mul(f, row, bytes), 1));

   to = vec_at(f, to, vec_shl_i(f, column_tile, 2));
   const gemm_best b = gemm_over_lanes(f, gemm_pick_load(g, l.i));
   vec_store(f, b.most, to, 4);
   vec_store(f, b.at, vec_at(f, to, bytes), 4);
   vec_loop_end(f, &l, NULL);
}

vec_value gemm_pick_is_wanted(gemm_kernel *g, vec_value row)
{
   vec_fn *f = g->f;
   vec_value how = vec_at(f, g->draws, vec_mul_i(f, row, sizeof(draw)));

   return vec_icmp(f, VEC_ne, vec_load(f, VEC_i32, 1, how, 4), vec_int(f, VEC_i32, 1, DRAW_best));
}

/* ---- pick ---- */

void gemm_pick_id(vec_fn *f, vec_value ids, gemm_best b)
{
   vec_value is_finite = vec_fcmp(f, VEC_lt, vec_fabs(f, b.most), infinity(f, 1, 1));

   vec_store(f, vec_select(f, is_finite, b.at, vec_int(f, VEC_i32, 1, -1)),
             vec_at(f, ids, vec_shl_i(f, vec_tile(f), 2)), 4);
}

void gemm_pick_rows(plan_launch *out, int64_t bytes)
{
   out->tiles = (plan_extent){.k = 1, .num_factors = 1, .factor = {{SYM_R, 1}}};
   out->bytes = out->tiles;
   out->bytes.k = bytes;
   out->flops = out->bytes;
}

void pick_launch(const plan_launch *gemm, plan_launch *out)
{
   out->consts[0] = gemm->consts[C_COLUMN_TILES];
   out->num_consts = 1;
   out->num_refs = 2;
   gemm_pick_rows(out, (int64_t)gemm_pick_bytes(gemm));
}

/* A row a tile: the largest of its parts. */
void pick_emit(vec_module *m)
{
   if (vec_module_has(m, PICK_SYMBOL))
      return;
   vec_fn *f = vec_kernel(m, PICK_SYMBOL);
   uint32_t lanes = vec_lanes(f);
   vec_value tiles = vec_karg_const(f, 0), bytes = gemm_part_bytes(f, tiles);
   vec_value ids = vec_karg_ptr(f, 0), parts = vec_karg_ptr(f, 1), number = lane_numbers(f, lanes);
   vec_value vars[] = {infinity(f, lanes, -1), vec_int(f, VEC_i32, lanes, 0)};

   parts = vec_at(f, parts, vec_shl_i(f, vec_mul(f, vec_tile(f), bytes), 1));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), tiles, lanes, 2, vars);
   vec_value from = vec_at(f, parts, vec_shl_i(f, l.i, 2));
   vec_value there = vec_icmp(f, VEC_lt, number, wide(f, vec_sub(f, tiles, l.i), lanes));
   vec_value v = vec_load(f, VEC_f32, lanes, from, 4);
   gemm_best b = {l.var[0], l.var[1]};
   v = vec_select(f, there, v, infinity(f, lanes, -1));
   gemm_keep_larger(f, v, vec_load(f, VEC_i32, lanes, vec_at(f, from, bytes), 4), &b);
   vec_loop_end(f, &l, (vec_value[]){b.most, b.at});
   gemm_pick_id(f, ids, gemm_over_lanes(f, (gemm_best){l.var[0], l.var[1]}));
   vec_end(f);
}
