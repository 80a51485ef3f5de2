/* gemm_blocks.c - dot products of panels with int8 activations: the f32 arithmetic of their blocks.
 * One accumulator an output, cells ascending, the same sequence for any number of rows:
 *
 *    block 32     acc = fma(isum, d * dx, acc);  acc = fma(m, dsum, acc)
 *    block 256    s = fma(isum, dx, s) and m = fma(imin, dx, m) over the 8 cells, integer scales inside; then
 *                 acc = fma(s, d, acc);  acc = fma(m, -dmin, acc) */
#include "gemm_int8.h"

static vec_value get(dot *d, const place *p, uint32_t i)
{
   return p->memory ? vec_load(d->f, VEC_f32, d->lanes, dot_slot(d, p->memory, i), 32) : p->r.v[i];
}

static void put(dot *d, place *p, uint32_t i, vec_value v)
{
   if (p->memory)
      vec_store(d->f, v, dot_slot(d, p->memory, i), 32);
   else
      p->r.v[i] = v;
}

/* ---- block 32 ---- */

/* out += cvt(sum) * (d * dx) [+ m * dsum]. at: offset of the block's scale; sums: distance to its
 * dsum. */
static void add_block(dot *d, vec_value w, vec_value at, vec_value dsums, const dot_sums *c)
{
   vec_fn *f = d->f;
   vec_value scales = vec_at_i(f, w, d->p->scales_at), scale[MAX_HALVES], min[MAX_HALVES];

   for (uint32_t h = 0; h < d->halves; h++) {
      scale[h] = panel_read_halfs(&d->r, scales, h);
      if (d->p->has_min)
         min[h] = panel_read_halfs(&d->r, vec_at_i(f, scales, 2 * PANEL_ROWS), h);
   }
   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value dx = dot_word(d, VEC_f32, r, at);
      vec_value dsum = d->p->has_min ? dot_word(d, VEC_f32, r, vec_add(f, at, dsums)) : NULL;
      for (uint32_t h = 0; h < d->halves; h++) {
         uint32_t i = r * d->halves + h;
         vec_value acc = get(d, &d->out, i);
         acc = vec_fma(f, dot_sum(d, c, i), vec_fmul(f, scale[h], dx), acc);
         if (d->p->has_min)
            acc = vec_fma(f, min[h], dsum, acc);
         put(d, &d->out, i, acc);
      }
   }
}

/* Accumulators that are kept are variables of the loop, behind the cell's address. */
static void dot_block32(dot *d)
{
   vec_fn *f = d->f;
   vec_value w = vec_arg(f, DOT_w), from = vec_arg(f, DOT_from), vars[1 + DOT_REGS] = {w};
   vec_value to = vec_add(f, from, vec_arg(f, DOT_k));
   vec_value dsums = vec_lshr_i(f, vec_arg(f, DOT_all), 3); /* K/32 scales of 4 bytes */
   place memory = d->out;
   uint32_t n = d->keeps ? dot_regs(d) : 0;

   for (uint32_t i = 0; i < n; i++)
      vars[1 + i] = get(d, &memory, i);
   if (d->amx)
      dot_make_products(d, w, from, from);
   if (d->keeps)
      d->out.memory = NULL;
   vec_loop l = vec_loop_begin(f, from, to, CELL_K, 1 + n, vars);
   memcpy(d->out.r.v, l.var + 1, n * sizeof *vars);
   if (d->amx)
      dot_next_products(d, l.var[0], l.i, to);
   panel_prefetch(f, l.var[0], vec_arg(f, DOT_ahead), d->fetched);
   const dot_sums c = dot_read(d, l.var[0], l.i);
   add_block(d, l.var[0], vec_lshr_i(f, l.i, 3), dsums, &c);
   vars[0] = vec_at_i(f, l.var[0], d->p->cell_bytes);
   memcpy(vars + 1, d->out.r.v, n * sizeof *vars);
   vec_loop_end(f, &l, vars);
   for (uint32_t i = 0; i < n; i++)
      put(d, &memory, i, l.var[1 + i]);
}

/* ---- block 256 ---- */

/* acc[r][h] = sum of dx * (minima . sum16) over the 8 cells, in a loop, for sub 16. at: offset of
 * the first cell's scale. */
static void add_minima16(dot *d, vec_value block, vec_value at, regs *acc)
{
   vec_fn *f = d->f;
   uint32_t n = dot_regs(d);
   regs init, next;

   for (uint32_t i = 0; i < n; i++)
      init.v[i] = vec_float(f, d->lanes, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, 8), 1, n, init.v);
   vec_value cell = vec_at(f, block, vec_mul_i(f, l.i, d->p->cell_bytes)), by[MAX_HALVES];
   vec_value here = vec_add(f, at, vec_shl_i(f, l.i, 2));
   for (uint32_t h = 0; h < d->halves; h++)
      by[h] = dot_pairs16(d, cell, h, true);
   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value dx = dot_word(d, VEC_f32, r, here);
      vec_value sums = dot_sum16s(d, r, here);
      for (uint32_t h = 0; h < d->halves; h++) {
         uint32_t i = r * d->halves + h;
         next.v[i] = vec_fma(f, vec_itof(f, vec_maddwd(f, by[h], sums)), dx, l.var[i]);
      }
   }
   vec_loop_end(f, &l, next.v);
   memcpy(acc->v, l.var, n * sizeof *acc->v);
}

/* Minima of cells 2j and 2j+1 as i16[lanes][2]. */
static vec_value min_pairs(dot *d, vec_value cell, uint32_t h)
{
   vec_fn *f = d->f;
   vec_value at = vec_at_i(f, cell, d->p->scales_at + PANEL_ROWS);
   vec_value low = vec_load(f, VEC_i8, 16, vec_at_i(f, at, h * d->p->cell_bytes), 16);

   if (d->lanes == 16) {
      vec_value high = vec_load(f, VEC_i8, 16, vec_at_i(f, at, d->p->cell_bytes), 16);
      low = vec_shuffle(f, low, high, 32,
                        (int[]){0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31});
   }
   return vec_zext(f, low, VEC_i16);
}

/* acc[r][h] = sum of minimum * dsum over the 8 cells, for sub 32. */
static void add_minima32(dot *d, vec_value block, vec_value at, regs *acc)
{
   vec_fn *f = d->f;
   vec_value dsums = vec_add(f, at, vec_lshr_i(f, vec_arg(f, DOT_all), 3));

   for (uint32_t i = 0; i < dot_regs(d); i++)
      acc->v[i] = vec_float(f, d->lanes, 0);
   for (uint32_t c = 0; c < 8; c++) {
      vec_value cell = vec_at_i(f, block, c / 2 * 2 * d->p->cell_bytes), min[MAX_HALVES];
      for (uint32_t h = 0; h < d->halves; h++) {
         vec_value two = vec_bits(f, min_pairs(d, cell, h), VEC_i32, d->lanes);
         two = c % 2 ? vec_lshr_i(f, two, 16) : vec_and_i(f, two, 255);
         min[h] = vec_itof(f, two);
      }
      for (uint32_t i = 0; i < dot_regs(d); i++) {
         vec_value dsum = dot_word(d, VEC_f32, i / d->halves, vec_add_i(f, dsums, 4 * c));
         acc->v[i] = vec_fma(f, min[i % d->halves], dsum, acc->v[i]);
      }
   }
}

/* out += factor * sums. */
static void add_scaled(dot *d, const vec_value *factor, const regs *sum)
{
   vec_fn *f = d->f;

   for (uint32_t i = 0; i < dot_regs(d); i++)
      put(d, &d->out, i, vec_fma(f, sum->v[i], factor[i % d->halves], get(d, &d->out, i)));
}

/* at: offset of the scale of the super-block's first cell. */
static void add_super_block(dot *d, vec_value block, vec_value at)
{
   vec_fn *f = d->f;
   vec_value tail = vec_at_i(f, block, 8 * d->p->cell_bytes), scale[MAX_HALVES], min[MAX_HALVES];
   regs sum, msum;

   for (uint32_t i = 0; i < dot_regs(d); i++)
      sum.v[i] = get(d, &d->sums, i);
   for (uint32_t h = 0; h < d->halves; h++)
      scale[h] = panel_read_halfs(&d->r, tail, h);
   add_scaled(d, scale, &sum);
   if (!d->p->has_min)
      return;
   if (d->p->sub == 16)
      add_minima16(d, block, at, &msum);
   else
      add_minima32(d, block, at, &msum);
   for (uint32_t h = 0; h < d->halves; h++)
      min[h] = vec_fneg(f, panel_read_halfs(&d->r, vec_at_i(f, tail, 2 * PANEL_ROWS), h));
   add_scaled(d, min, &msum);
}

static void clear_sums(dot *d)
{
   for (uint32_t i = 0; i < dot_regs(d); i++)
      put(d, &d->sums, i, vec_float(d->f, d->lanes, 0));
}

/* sums += dx * sum. */
static void add_cell(dot *d, vec_value at, const dot_sums *c)
{
   vec_fn *f = d->f;

   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value dx = dot_word(d, VEC_f32, r, at);
      for (uint32_t h = 0; h < d->halves; h++) {
         uint32_t i = r * d->halves + h;
         put(d, &d->sums, i, vec_fma(f, dot_sum(d, c, i), dx, get(d, &d->sums, i)));
      }
   }
}

/* A super-block's sums that are kept are variables of the loop over its cells, behind the
 * address. */
static void dot_block256(dot *d)
{
   vec_fn *f = d->f;
   vec_value w = vec_arg(f, DOT_w), from = vec_arg(f, DOT_from), vars[1 + DOT_REGS];
   vec_value to = vec_add(f, from, vec_arg(f, DOT_k));
   uint32_t n = d->keeps ? dot_regs(d) : 0;

   if (d->amx)
      dot_make_products(d, w, from, from);
   if (!d->keeps)
      d->sums.memory = vec_stack(f, d->rows * PANEL_ROWS * 4, 64);
   vec_loop l = vec_loop_begin(f, from, to, 256, 1, &w);
   vec_value block = l.var[0];
   clear_sums(d);
   vars[0] = block;
   memcpy(vars + 1, d->sums.r.v, n * sizeof *vars);
   vec_loop in = vec_loop_begin(f, vec_i(f, 0), vec_i(f, 256), CELL_K, 1 + n, vars);
   vec_value k = vec_add(f, l.i, in.i);
   memcpy(d->sums.r.v, in.var + 1, n * sizeof *vars);
   if (d->amx)
      dot_next_products(d, in.var[0], k, to);
   panel_prefetch(f, in.var[0], vec_arg(f, DOT_ahead), d->fetched);
   const dot_sums c = dot_read(d, in.var[0], k);
   add_cell(d, vec_lshr_i(f, k, 3), &c);
   vars[0] = vec_at_i(f, in.var[0], d->p->cell_bytes);
   memcpy(vars + 1, d->sums.r.v, n * sizeof *vars);
   vec_loop_end(f, &in, vars);
   memcpy(d->sums.r.v, in.var + 1, n * sizeof *vars);
   add_super_block(d, block, vec_lshr_i(f, l.i, 3));
   vec_loop_end(f, &l, (vec_value[]){vec_at_i(f, block, d->p->block_bytes)});
}

void dot_emit_int8(vec_fn *f, panel_layout w, dot_family family, uint32_t rows)
{
   const panel_info *p = &panel_infos[w], bytes = panel_unpacked_info(w);
   bool packed = family == DOT_int8 || family == DOT_int8_half;
   dot d = dot_begin(f, packed ? p : &bytes, p->low + p->high, family, rows);

   d.fetched = dot_fetched(w, family);
   if (p->block == CELL_K)
      dot_block32(&d);
   else
      dot_block256(&d);
}
