/* gemm_amx.c - products by AMX. Its registers are what "tile" means here, not a thread's part of a
 * launch. A line of a panel, 16 rows x 4 k of bytes, is one row of what the machine calls a B tile;
 * 16 rows of activations are an A tile.
 *
 * int8, many rows: the i32 products of a cell, for the f32 arithmetic of gemm_blocks.c. Integer
 * sums are exact, so the bits are those of vpdpbusd.
 *
 *    C i32[16 rows][16]  =  A s8[16 rows][32 k]  x  B [8 groups][16][4]      u8, or s8
 *
 * bf16 weights, any number of rows: x = hi + mid + lo, three bf16 that hold it exactly. Products of
 * bf16 are exact in f32; the sum over k has an accumulator for each part, 32 k at a time (even k
 * fused one by one, odd k too, then the two), and at the end hi + (mid + lo). So an error of at
 * most (K / 32 + 20) roundings, where one fma a k has K. Terms below 2^-126 are zeros.
 *
 *    C f32[n rows][16]  +=  A bf16[n rows][32 k]  x  B bf16[16 pairs][16][2]       hi, mid, lo
 *
 * 32 rows go at once, so that six sums are under way: one alone would wait for itself. */
#include "gemm_impl.h"

#include <stdio.h>

enum { TILE_ROWS = 16, K_STEP = 32, PARTS = 3, TILE_BYTES = TILE_ROWS * LINE_BYTES };

/* ---- int8 ---- */

/* Sums, activations and weights; a set for cells of two spans behind those of one. */
enum { SUMS, X, W, SET = 2, INT8_TILES = X + 2 * SET };

vec_value amx_begin(vec_fn *f)
{
   vec_value all = vec_i(f, TILE_ROWS);
   vec_tile_shape shapes[INT8_TILES] = {[SUMS] = {all, LINE_BYTES}};

   for (uint32_t spans = 1; spans <= 2; spans++) {
      vec_tile_shape *set = shapes + (spans - 1) * SET;
      set[X] = (vec_tile_shape){all, K_STEP / spans};
      set[W] = (vec_tile_shape){vec_i(f, 8 / spans), LINE_BYTES};
   }
   return vec_tiles_begin(f, INT8_TILES, shapes);
}

void amx_emit_cell(vec_fn *f, const amx_cell *c)
{
   uint32_t x = X + (c->spans - 1) * SET, w = W + (c->spans - 1) * SET;
   vec_value line = vec_i(f, LINE_BYTES);

   for (uint32_t s = 0; s < c->spans; s++) {
      vec_tile_zero(f, SUMS);
      vec_tile_load(f, x, vec_at_i(f, c->x, s * K_STEP / c->spans), c->x_stride);
      vec_tile_load(f, w, vec_at_i(f, c->w, s * 8 / c->spans * LINE_BYTES), line);
      (c->is_signed ? vec_tile_dpbssd : vec_tile_dpbsud)(f, SUMS, x, w);
      vec_tile_store(f, SUMS, vec_at_i(f, c->to, s * TILE_BYTES), line);
   }
}

/* ---- bf16 ---- */

/* Rows first .. first + n of a block at once, and a second such block. */
typedef struct float_tiles {
   vec_fn *f;
   uint32_t blocks;
   vec_value x[2], out[2]; /* of the blocks */
   vec_value x_stride, part, n;
   vec_value pairs, sums; /* stack: a B tile; the C tiles */
} float_tiles;

enum { A_TILE = 6, B_TILE = 7 };

static uint32_t sum_tile(uint32_t block, uint32_t part)
{
   return block * PARTS + part;
}

/* 32 k of weights at `lines`, and of x from byte `at` of every part on. */
static void add_k_step(float_tiles *t, vec_value lines, vec_value at)
{
   vec_fn *f = t->f;
   int mask[2 * PANEL_ROWS];

   for (int i = 0; i < 2 * PANEL_ROWS; i++)
      mask[i] = i / 2 + i % 2 * PANEL_ROWS;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, TILE_BYTES), LINE_BYTES, 0, NULL);
   vec_value two = vec_at(f, lines, l.i);
   vec_value even = vec_load(f, VEC_i16, PANEL_ROWS, two, 32);
   vec_value odd = vec_load(f, VEC_i16, PANEL_ROWS, vec_at_i(f, two, LINE_BYTES / 2), 32);
   vec_store(f, vec_shuffle(f, even, odd, 2 * PANEL_ROWS, mask), vec_at(f, t->pairs, l.i), 64);
   panel_prefetch(f, two, vec_i(f, PANEL_AHEAD), LINE_BYTES);
   vec_loop_end(f, &l, NULL);
   vec_tile_load(f, B_TILE, t->pairs, vec_i(f, LINE_BYTES));
   for (uint32_t p = 0; p < PARTS; p++)
      for (uint32_t b = 0; b < t->blocks; b++) {
         vec_value x = vec_at(f, t->x[b], vec_add(f, vec_mul_i(f, t->part, p), at));
         vec_tile_load(f, A_TILE, x, t->x_stride);
         vec_tile_dpbf16(f, sum_tile(b, p), A_TILE, B_TILE);
      }
}

/* The last k % 32 lines, with lines of zeros behind them. */
static void add_last_k(float_tiles *t, vec_value w, vec_value whole, vec_value k)
{
   vec_fn *f = t->f;
   uint32_t bytes = LINE_BYTES / 2;
   vec_value lines = vec_stack(f, K_STEP * bytes, 64);
   vec_value zero = vec_int(f, VEC_i8, bytes, 0);
   vec_value from = vec_at(f, w, vec_mul_i(f, whole, bytes));

   vec_loop z = vec_loop_begin(f, vec_i(f, 0), vec_i(f, K_STEP * bytes), bytes, 0, NULL);
   vec_store(f, zero, vec_at(f, lines, z.i), 32);
   vec_loop_end(f, &z, NULL);
   vec_value end = vec_mul_i(f, vec_sub(f, k, whole), bytes);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), end, bytes, 0, NULL);
   vec_store(f, vec_load(f, VEC_i8, bytes, vec_at(f, from, c.i), 32), vec_at(f, lines, c.i), 32);
   vec_loop_end(f, &c, NULL);
   add_k_step(t, lines, vec_shl_i(f, whole, 1));
}

/* out = hi + (mid + lo). */
static void write_sums(float_tiles *t)
{
   vec_fn *f = t->f;
   uint32_t lanes = vec_lanes(f);

   for (uint32_t b = 0; b < t->blocks; b++) {
      for (uint32_t p = 0; p < PARTS; p++)
         vec_tile_store(f, sum_tile(b, p), vec_at_i(f, t->sums, p * TILE_BYTES),
                        vec_i(f, LINE_BYTES));
      vec_value end = vec_mul_i(f, t->n, LINE_BYTES);
      vec_loop l = vec_loop_begin(f, vec_i(f, 0), end, 4 * lanes, 0, NULL);
      vec_value at = vec_at(f, t->sums, l.i), part[PARTS];
      for (uint32_t p = 0; p < PARTS; p++)
         part[p] = vec_load(f, VEC_f32, lanes, vec_at_i(f, at, p * TILE_BYTES), 32);
      vec_value sum = vec_fadd(f, part[0], vec_fadd(f, part[1], part[2]));
      vec_store(f, sum, vec_at(f, t->out[b], l.i), 32);
      vec_loop_end(f, &l, NULL);
   }
}

static void emit_float_tiles(vec_fn *f, uint32_t blocks)
{
   float_tiles t = {.f = f,
                    .blocks = blocks,
                    .x = {vec_arg(f, 1), vec_arg(f, 2)},
                    .out = {vec_arg(f, 3), vec_arg(f, 4)},
                    .x_stride = vec_arg(f, 6),
                    .n = vec_arg(f, 7)};
   vec_value w = vec_arg(f, 0), k = vec_arg(f, 5), whole = vec_and_i(f, k, -K_STEP);
   vec_tile_shape shapes[B_TILE + 1];

   t.part = vec_div(f, t.x_stride, vec_i(f, PARTS));
   t.pairs = vec_stack(f, TILE_BYTES, 64);
   t.sums = vec_stack(f, PARTS * TILE_BYTES, 64);
   for (uint32_t i = 0; i < B_TILE; i++)
      shapes[i] = (vec_tile_shape){t.n, LINE_BYTES};
   shapes[B_TILE] = (vec_tile_shape){vec_i(f, TILE_ROWS), LINE_BYTES};
   vec_tiles_begin(f, countof(shapes), shapes);
   for (uint32_t i = 0; i < blocks * PARTS; i++)
      vec_tile_zero(f, i);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), whole, K_STEP, 1, &w);
   add_k_step(&t, l.var[0], vec_shl_i(f, l.i, 1));
   vec_loop_end(f, &l, (vec_value[]){vec_at_i(f, l.var[0], TILE_BYTES)});
   vec_if rest = vec_if_begin(f, vec_icmp(f, VEC_lt, whole, k));
   add_last_k(&t, w, whole, k);
   vec_if_end(f, &rest);
   write_sums(&t);
   vec_tiles_end(f);
}

/* void f(w, x, second x, out, second out, k, x_stride, n) */
static void ensure_float_tiles(vec_module *m, uint32_t blocks, char out[GEMM_SYMBOL_MAX])
{
   static const vec_elem args[] = {VEC_ptr, VEC_ptr, VEC_ptr, VEC_ptr,
                                   VEC_ptr, VEC_i64, VEC_i64, VEC_i64};

   snprintf(out, GEMM_SYMBOL_MAX, "bf16_tiles_%u", blocks);
   vec_fn *f = vec_local(m, out, countof(args), args);
   if (!f)
      return;
   emit_float_tiles(f, blocks);
   vec_end(f);
}

/* void f(w, x, out, k, x_stride, rows): 32 rows at a time; of fewer, the two halves of the rows
 * share the one in the middle when there is one, which comes out the same twice. */
void amx_emit_parts(vec_module *m, char out[GEMM_SYMBOL_MAX])
{
   static const vec_elem args[] = {VEC_ptr, VEC_ptr, VEC_ptr, VEC_i64, VEC_i64, VEC_i64};
   char tiles[2][GEMM_SYMBOL_MAX];

   snprintf(out, GEMM_SYMBOL_MAX, "dot_parts");
   if (vec_module_has(m, out))
      return;
   for (uint32_t b = 0; b < 2; b++)
      ensure_float_tiles(m, b + 1, tiles[b]);
   vec_fn *f = vec_local(m, out, countof(args), args);
   vec_value w = vec_arg(f, 0), k = vec_arg(f, 3), stride = vec_arg(f, 4), rows = vec_arg(f, 5);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), rows, 2 * TILE_ROWS, 0, NULL);
   vec_value left = vec_imin(f, vec_sub(f, rows, l.i), vec_i(f, 2 * TILE_ROWS));
   vec_value x = vec_at(f, vec_arg(f, 1), vec_mul(f, l.i, stride));
   vec_value to = vec_at(f, vec_arg(f, 2), vec_mul_i(f, l.i, PANEL_ROWS * 4));
   vec_if two = vec_if_begin(f, vec_icmp(f, VEC_gt, left, vec_i(f, TILE_ROWS)));
   vec_value n = vec_lshr_i(f, vec_add_i(f, left, 1), 1), second = vec_sub(f, left, n);
   vec_call(f, tiles[1], 8,
            (vec_value[]){w, x, vec_at(f, x, vec_mul(f, second, stride)), to,
                          vec_at(f, to, vec_mul_i(f, second, PANEL_ROWS * 4)), k, stride, n});
   vec_if_else(f, &two);
   vec_call(f, tiles[0], 8, (vec_value[]){w, x, x, to, to, k, stride, left});
   vec_if_end(f, &two);
   vec_loop_end(f, &l, NULL);
   vec_end(f);
}

/* ---- parts of activations ---- */

uint64_t gemm_parts_stride(uint64_t k)
{
   return PARTS * 2 * base_align(k, K_STEP);
}

enum split_const { SPLIT_K, SPLIT_STRIDE, SPLIT_CONSTS };

void gemm_split_launch(gemm_rows rows, uint64_t k, plan_launch *out)
{
   out->consts[SPLIT_K] = (int64_t)k;
   out->consts[SPLIT_STRIDE] = (int64_t)gemm_parts_stride(k);
   out->num_consts = SPLIT_CONSTS;
   out->num_refs = 2;
   out->tiles = gemm_row_extent(1, rows, 1);
   out->bytes = gemm_row_extent((int64_t)(4 * k + gemm_parts_stride(k)), rows, 1);
   out->flops = gemm_row_extent((int64_t)(2 * k), rows, 1);
}

/* The 8 highest bits of v's 24, as an f32. A NaN is a quiet one. */
static vec_value highest(vec_fn *f, vec_value v)
{
   uint32_t n = vec_width(v);
   vec_value bits = vec_and_i(f, vec_bits(f, v, VEC_i32, n), -65536);
   vec_value nan = vec_int(f, VEC_i32, n, 0x7fc00000);

   return vec_bits(f, vec_select(f, vec_fcmp(f, VEC_eq, v, v), bits, nan), VEC_f32, n);
}

/* Each part takes the highest bits of what is left; the third has all of it. */
void gemm_split_emit(vec_module *m)
{
   if (vec_module_has(m, GEMM_SPLIT_SYMBOL))
      return;
   vec_fn *f = vec_kernel(m, GEMM_SPLIT_SYMBOL);
   uint32_t lanes = vec_lanes(f);
   vec_value k = vec_karg_const(f, SPLIT_K), stride = vec_karg_const(f, SPLIT_STRIDE);
   vec_value parts = vec_at(f, vec_karg_ptr(f, 0), vec_mul(f, vec_tile(f), stride));
   vec_value x = vec_at(f, vec_karg_ptr(f, 1), vec_shl_i(f, vec_mul(f, vec_tile(f), k), 2));
   vec_value part = vec_div(f, stride, vec_i(f, PARTS));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_lshr_i(f, part, 1), lanes, 0, NULL);
   vec_value at = vec_shl_i(f, l.i, 1), zero = vec_float(f, lanes, 0);
   vec_value left = vec_load_first(f, lanes, vec_at(f, x, vec_shl_i(f, at, 1)), vec_sub(f, k, l.i));

   for (uint32_t p = 0; p < PARTS; p++) {
      vec_value top = highest(f, left), bits = vec_bits(f, top, VEC_i32, lanes);
      vec_value to = vec_at(f, parts, vec_add(f, vec_mul_i(f, part, p), at));
      vec_store(f, vec_trunc(f, vec_lshr_i(f, bits, 16), VEC_i16), to, 16);
      left = vec_fsub(f, left, top);
      left = vec_select(f, vec_fcmp(f, VEC_eq, left, left), left, zero); /* infinity has no rest */
   }
   vec_loop_end(f, &l, NULL);
   vec_end(f);
}
