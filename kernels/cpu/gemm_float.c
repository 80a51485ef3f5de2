/* gemm_float.c - dot products of panels with f32 activations: weights widened exactly, one fma per
 * k, ascending, one accumulator an output.
 *
 * A weight of a block format is fma(code, D, M) with D = d * scale and M = -dmin * min or -bias *
 * D: both exact in f32, so that the value is rounded once, as the format's definition rounds it. A
 * weight of a SCALED format is code * scale, rounded once. */
#include "gemm_impl.h"

#include "base/quant.h"

#include <stdio.h>

typedef struct fdot {
   panel_reader r;
   vec_fn *f;
   const panel_info *p;
   uint32_t rows, lanes, halves;
   uint32_t panels; /* 1, or 2 whose products are made side by side: float panels */
   vec_value w, w2, k, ahead, x[MAX_ROWS];
   vec_value unpacked; /* not NULL: values go there, as f32[k][16], and nothing is added */
} fdot;

typedef struct facc {
   vec_value v[MAX_ROWS * MAX_HALVES];
} facc;

/* The factors of a span, M NULL when there is none. */
typedef struct span {
   vec_value d[MAX_HALVES], m[MAX_HALVES];
} span;

/* acc += w[h] * x[r][at / 4], or w to what is unpacked. */
static void add_k(fdot *d, const vec_value *w, vec_value at, vec_value *acc)
{
   for (uint32_t h = 0; h < d->halves && d->unpacked; h++) {
      vec_value line = vec_at(d->f, d->unpacked, vec_shl_i(d->f, at, 4));
      vec_store(d->f, w[h], vec_at_i(d->f, line, h * d->lanes * 4), 32);
   }
   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value x = vec_load(d->f, VEC_f32, 1, vec_at(d->f, d->x[r], at), 4);
      x = vec_splat(d->f, x, d->lanes);
      for (uint32_t h = 0; h < d->halves; h++) {
         vec_value *to = &acc[r * d->halves + h];
         *to = vec_fma(d->f, w[h], x, *to);
      }
   }
}

/* ---- float panels ---- */

/* `n` consecutive k starting at k (i64). */
static void add_float_ks(fdot *d, vec_value k, uint32_t n, facc *acc)
{
   vec_fn *f = d->f;
   uint32_t bytes = d->p->block_bytes;
   vec_value line[2];

   for (uint32_t i = 0; i < d->panels; i++) {
      line[i] = vec_at(f, i ? d->w2 : d->w, vec_mul_i(f, k, bytes));
      panel_prefetch(f, line[i], d->ahead, n * bytes);
   }
   for (uint32_t j = 0; j < n; j++) {
      vec_value at = vec_add_i(f, vec_shl_i(f, k, 2), 4 * j), w[MAX_HALVES];
      for (uint32_t i = 0; i < d->panels; i++) {
         for (uint32_t h = 0; h < d->halves; h++)
            w[h] = vec_load_f32(f, d->p->dtype, d->lanes,
                                vec_at_i(f, line[i], j * bytes + h * (bytes / d->halves)));
         add_k(d, w, at, acc->v + i * d->rows * d->halves);
      }
   }
}

static void dot_float_panel(fdot *d, facc *acc)
{
   vec_fn *f = d->f;
   uint32_t n = d->panels * d->rows * d->halves;
   vec_value k = d->k, whole = vec_and_i(f, k, -4);
   vec_value from[] = {vec_i(f, 0), whole}, to[] = {whole, k};

   for (uint32_t part = 0; part < 2; part++) {
      uint32_t step = part ? 1 : 4;
      vec_loop l = vec_loop_begin(f, from[part], to[part], step, n, acc->v);
      memcpy(acc->v, l.var, n * sizeof *acc->v);
      add_float_ks(d, l.i, step, acc);
      vec_loop_end(f, &l, acc->v);
      memcpy(acc->v, l.var, n * sizeof *acc->v);
   }
}

/* ---- code panels ---- */

static vec_value itof_bytes(fdot *d, vec_value at, bool is_signed)
{
   vec_value v = vec_load(d->f, VEC_i8, d->lanes, at, 1);

   return vec_itof(d->f, is_signed ? vec_sext(d->f, v, VEC_i32) : vec_zext(d->f, v, VEC_i32));
}

/* One field of [16 rows][2] bytes as f32: scale or min of sub-block `which` of the cell. */
static vec_value byte_of_pair(fdot *d, vec_value cell, uint32_t h, uint32_t which, bool min)
{
   vec_fn *f = d->f;
   uint32_t n = 2 * d->lanes;
   vec_value v = vec_load(f, VEC_i16, d->lanes, vec_at_i(f, cell, d->p->scales_at + h * n), 16);

   v = vec_zext(f, v, VEC_i32);
   if (!d->p->has_min)
      return vec_itof(f, vec_ashr_i(f, vec_shl_i(f, v, which ? 16 : 24), 24));
   return vec_itof(f, vec_and_i(f, vec_lshr_i(f, v, 8 * which + (min ? 4 : 0)), 15));
}

/* Minima of cell c (i64) for sub 32: bytes [8 rows][2] in cell c & ~1 and the next one. */
static vec_value min_of_cell(fdot *d, vec_value block, vec_value c, uint32_t h)
{
   vec_fn *f = d->f;
   vec_value even = vec_mul_i(f, vec_and_i(f, c, -2), d->p->cell_bytes), part[2];

   for (uint32_t i = 0; i < d->lanes / 8; i++) {
      vec_value at = vec_at_i(f, vec_at(f, block, even),
                              (h + i) * d->p->cell_bytes + d->p->scales_at + PANEL_ROWS);
      vec_value v = vec_zext(f, vec_load(f, VEC_i16, 8, at, 16), VEC_i32);
      vec_value by = vec_splat(f, vec_trunc(f, vec_shl_i(f, vec_and_i(f, c, 1), 3), VEC_i32), 8);
      part[i] = vec_itof(f, vec_and_i(f, vec_lshr(f, v, by), 255));
   }
   if (d->lanes == 8)
      return part[0];
   return vec_shuffle(f, part[0], part[1], 16,
                      (int[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
}

/* block: the super-block, cell its cell c; for block 32 both are the cell. */
static span span_of(fdot *d, vec_value block, vec_value cell, vec_value c, uint32_t which)
{
   vec_fn *f = d->f;
   const panel_info *p = d->p;
   bool super = p->sub != 0;
   vec_value tail = vec_at_i(f, super ? block : cell, super ? 8 * p->cell_bytes : p->scales_at);
   span s = {.m = {NULL}};

   for (uint32_t h = 0; h < d->halves; h++) {
      s.d[h] = panel_read_halfs(&d->r, tail, h);
      vec_value m =
         p->has_min ? panel_read_halfs(&d->r, vec_at_i(f, tail, 2 * PANEL_ROWS), h) : NULL;
      if (p->sub == 16) {
         s.d[h] = vec_fmul(f, s.d[h], byte_of_pair(d, cell, h, which, false));
         m = m ? vec_fmul(f, m, byte_of_pair(d, cell, h, which, true)) : NULL;
      } else if (p->sub == 32) {
         vec_value at = vec_at_i(f, cell, p->scales_at + h * d->lanes);
         s.d[h] = vec_fmul(f, s.d[h], itof_bytes(d, at, true));
         m = m ? vec_fmul(f, m, min_of_cell(d, block, c, h)) : NULL;
      }
      if (m)
         s.m[h] = super ? vec_fneg(f, m) : m;
      else if (p->bias)
         s.m[h] = vec_fmul(f, s.d[h], vec_float(f, d->lanes, -p->bias));
   }
   return s;
}

/* Value j (0..3) of every row of a group of codes. */
static vec_value widen(fdot *d, const span *s, vec_value codes, uint32_t h, uint32_t j)
{
   vec_fn *f = d->f;
   vec_value v = vec_bits(f, codes, VEC_i32, d->lanes);

   if (d->p->code == PANEL_CODE_U)
      v = vec_and_i(f, vec_lshr_i(f, v, 8 * j), 255);
   else
      v = vec_ashr_i(f, vec_shl_i(f, v, 24 - 8 * j), 24);
   v = vec_itof(f, v);
   return s->m[h] ? vec_fma(f, v, s->d[h], s->m[h]) : vec_fmul(f, v, s->d[h]);
}

static vec_value table_values(fdot *d, vec_value codes)
{
   int64_t table[16];

   for (int i = 0; i < 16; i++)
      table[i] = panel_table(d->p)[i];
   return vec_lookup(d->f, vec_ints(d->f, VEC_i8, 16, table), codes);
}

static void add_unit(fdot *d, const span *s, const panel_unit *u, vec_value at, facc *acc)
{
   for (uint32_t g = 0; g < d->r.groups; g++) {
      vec_value codes[MAX_HALVES], w[MAX_HALVES];
      for (uint32_t h = 0; h < d->halves; h++)
         codes[h] = panel_table(d->p) ? table_values(d, u->group[g][h]) : u->group[g][h];
      for (uint32_t j = 0; j < 4; j++) {
         for (uint32_t h = 0; h < d->halves; h++)
            w[h] = widen(d, s, codes[h], h, j);
         add_k(d, w, vec_add_i(d->f, at, 4 * (4 * g + j)), acc->v);
      }
   }
}

/* The units of groups first .. first+groups of a cell; x at byte offset `at` for the cell's first
 * k. */
static void add_span(fdot *d, const span *s, vec_value cell, uint32_t first, uint32_t groups,
                     vec_value at, facc *acc)
{
   vec_fn *f = d->f;
   uint32_t n = d->rows * d->halves, unit = d->r.lines * LINE_BYTES;
   uint32_t from = first * d->p->low / 8 * LINE_BYTES, to = from + groups / d->r.groups * unit;
   vec_value vars[MAX_ROWS * MAX_HALVES + MAX_HALVES];

   memcpy(vars, acc->v, n * sizeof *vars);
   panel_read_high(&d->r, cell, first, vars + n);
   vec_loop l =
      vec_loop_begin(f, vec_i(f, from), vec_i(f, to), unit, n + (d->p->high ? d->halves : 0), vars);
   memcpy(acc->v, l.var, n * sizeof *vars);
   memcpy(vars + n, l.var + n, d->halves * sizeof *vars);
   panel_unit u = panel_read_unit(&d->r, vec_at(f, cell, l.i), vars + n);
   /* 64 bytes of low lines stand for 512 / low k, 4 bytes of x each. */
   vec_value x = vec_lshr_i(f, l.i, d->p->low == 8 ? 2 : d->p->low == 4 ? 1 : 0);
   add_unit(d, s, &u, vec_add(f, at, x), acc);
   memcpy(vars, acc->v, n * sizeof *vars);
   vec_loop_end(f, &l, vars);
   memcpy(acc->v, l.var, n * sizeof *vars);
}

static void dot_code_panel(fdot *d, facc *acc)
{
   vec_fn *f = d->f;
   uint32_t n = d->rows * d->halves, cells = d->p->block / CELL_K, spans = d->p->sub == 16 ? 2 : 1;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), d->k, d->p->block, n, acc->v);
   vec_value number = vec_div(f, l.i, vec_i(f, d->p->block));
   vec_value block = vec_at(f, d->w, vec_mul_i(f, number, d->p->block_bytes));

   memcpy(acc->v, l.var, n * sizeof *acc->v);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), vec_i(f, cells), 1, n, acc->v);
   memcpy(acc->v, c.var, n * sizeof *acc->v);
   vec_value cell = vec_at(f, block, vec_mul_i(f, c.i, d->p->cell_bytes));
   vec_value at = vec_shl_i(f, vec_add(f, l.i, vec_shl_i(f, c.i, 5)), 2);
   panel_prefetch(f, cell, d->ahead, d->p->cell_bytes);
   for (uint32_t i = 0; i < spans; i++) {
      span s = span_of(d, block, cell, c.i, i);
      add_span(d, &s, cell, i * 8 / spans, 8 / spans, at, acc);
   }
   vec_loop_end(f, &c, acc->v);
   memcpy(acc->v, c.var, n * sizeof *acc->v);
   vec_loop_end(f, &l, acc->v);
   memcpy(acc->v, l.var, n * sizeof *acc->v);
}

/* ---- scaled panels ---- */

enum { SCALE_BYTES = 4 * PANEL_ROWS };

/* `lanes` f8e4m3 codes as f32 times 2^-8: a code's bits, moved to those of an f16, are that f16 to
 * the power of the difference of the biases, 15 - 7. Subnormals too; NaN has no place in a
 * panel. */
static vec_value f8_values(fdot *d, vec_value at)
{
   vec_fn *f = d->f;
   vec_value v = vec_sext(f, vec_load(f, VEC_i8, d->lanes, at, 1), VEC_i16);

   v = vec_and_i(f, vec_shl_i(f, v, 7), ~0x4000);
   return vec_fconv(f, vec_bits(f, v, VEC_f16, d->lanes), VEC_f32);
}

/* `lanes` codes as f32: whole numbers, or f8e4m3 times 2^-8. */
static vec_value scaled_codes(fdot *d, vec_value at)
{
   if (d->p->code != PANEL_CODE_S)
      return f8_values(d, at);
   return vec_itof(d->f, vec_sext(d->f, vec_load(d->f, VEC_i8, d->lanes, at, 1), VEC_i32));
}

/* `n` consecutive k of a block from its line at `line` on; x at byte offset `at`. scale: of what
 * scaled_codes gives. */
static void add_scaled_ks(fdot *d, const vec_value *scale, vec_value line, vec_value at, uint32_t n,
                          facc *acc)
{
   for (uint32_t j = 0; j < n; j++) {
      vec_value w[MAX_HALVES];
      for (uint32_t h = 0; h < d->halves; h++) {
         vec_value codes = vec_at_i(d->f, line, j * PANEL_ROWS + h * d->lanes);
         w[h] = vec_fmul(d->f, scaled_codes(d, codes), scale[h]);
      }
      add_k(d, w, vec_add_i(d->f, at, 4 * j), acc->v);
   }
}

/* The lines of one block of `count` k, x at byte offset `at`: by fours, then the rest. */
static void add_scaled_block(fdot *d, vec_value block, vec_value count, vec_value at, facc *acc)
{
   vec_fn *f = d->f;
   uint32_t n = d->rows * d->halves;
   vec_value whole = vec_and_i(f, count, -4), lines = vec_at_i(f, block, SCALE_BYTES);
   vec_value from[] = {vec_i(f, 0), whole}, to[] = {whole, count}, scale[MAX_HALVES];

   for (uint32_t h = 0; h < d->halves; h++) {
      scale[h] = vec_load(f, VEC_f32, d->lanes, vec_at_i(f, block, h * d->lanes * 4), 16);
      if (d->p->code != PANEL_CODE_S)
         scale[h] = vec_fmul(f, scale[h], vec_float(f, d->lanes, 256));
   }
   for (uint32_t part = 0; part < 2; part++) {
      uint32_t step = part ? 1 : 4;
      vec_loop l = vec_loop_begin(f, from[part], to[part], step, n, acc->v);
      vec_value line = vec_at(f, lines, vec_mul_i(f, l.i, PANEL_ROWS));
      memcpy(acc->v, l.var, n * sizeof *acc->v);
      if (!part)
         panel_prefetch(f, line, d->ahead, 4 * PANEL_ROWS);
      add_scaled_ks(d, scale, line, vec_add(f, at, vec_shl_i(f, l.i, 2)), step, acc);
      vec_loop_end(f, &l, acc->v);
      memcpy(acc->v, l.var, n * sizeof *acc->v);
   }
}

static void dot_scaled_panel(fdot *d, facc *acc)
{
   vec_fn *f = d->f;
   uint32_t n = d->rows * d->halves;
   vec_value vars[MAX_ROWS * MAX_HALVES + 1];

   memcpy(vars, acc->v, n * sizeof *vars);
   vars[n] = d->w;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), d->k, d->p->block, n + 1, vars);
   vec_value count = vec_imin(f, vec_sub(f, d->k, l.i), vec_i(f, d->p->block));
   memcpy(acc->v, l.var, n * sizeof *acc->v);
   add_scaled_block(d, l.var[n], count, vec_shl_i(f, l.i, 2), acc);
   memcpy(vars, acc->v, n * sizeof *vars);
   vars[n] = vec_at_i(f, l.var[n], d->p->block_bytes);
   vec_loop_end(f, &l, vars);
   memcpy(acc->v, l.var, n * sizeof *acc->v);
}

/* ---- the functions ---- */

static void dot_panel(fdot *d, facc *acc)
{
   switch (d->p->kind) {
   case PANEL_KIND_FLOAT: dot_float_panel(d, acc); break;
   case PANEL_KIND_SCALED: dot_scaled_panel(d, acc); break;
   default: dot_code_panel(d, acc);
   }
}

static fdot fdot_of(vec_fn *f, panel_layout w, uint32_t rows)
{
   fdot d = {.r = panel_reader_of(f, &panel_infos[w]),
             .f = f,
             .p = &panel_infos[w],
             .rows = rows,
             .panels = 1};

   d.lanes = d.r.lanes;
   d.halves = d.r.halves;
   return d;
}

bool dot_has_two(panel_layout w)
{
   return panel_infos[w].kind == PANEL_KIND_FLOAT;
}

/* Sum i of the call in its rows of out, then in those of out2. */
static vec_value sum_at(const fdot *d, uint32_t i)
{
   uint32_t n = d->rows * d->halves;
   vec_value out = vec_arg(d->f, i < n ? DOT_out : DOT_out2);

   return vec_at_i(d->f, out, i % n * d->lanes * 4);
}

void dot_emit_float(vec_fn *f, panel_layout w, dot_family family, uint32_t rows)
{
   fdot d = fdot_of(f, w, rows);
   vec_value from = vec_shl_i(f, vec_arg(f, DOT_from), 2);
   facc acc;

   d.panels += family == DOT_two;
   d.w2 = family == DOT_two ? vec_arg(f, DOT_w2) : NULL;
   d.w = vec_arg(f, DOT_w);
   d.k = vec_arg(f, DOT_k);
   d.ahead = vec_arg(f, DOT_ahead);
   for (uint32_t r = 0; r < rows; r++)
      d.x[r] = vec_at(f, dot_row(f, r, DOT_x, DOT_x_stride), from);
   for (uint32_t i = 0; i < d.panels * rows * d.halves; i++)
      acc.v[i] = vec_load(f, VEC_f32, d.lanes, sum_at(&d, i), 32);
   dot_panel(&d, &acc);
   for (uint32_t i = 0; i < d.panels * rows * d.halves; i++)
      vec_store(f, acc.v[i], sum_at(&d, i), 32);
}

void unpack_emit_float(vec_module *m, panel_layout w, char out[GEMM_SYMBOL_MAX])
{
   static const vec_elem args[] = {VEC_ptr, VEC_ptr, VEC_i64};

   snprintf(out, GEMM_SYMBOL_MAX, "unpack_float_%s", panel_infos[w].name);
   vec_fn *f = vec_local(m, out, countof(args), args);
   if (!f)
      return;
   fdot d = fdot_of(f, w, 0);
   facc none;
   d.w = vec_arg(f, 0);
   d.unpacked = vec_arg(f, 1);
   d.k = vec_arg(f, 2);
   d.ahead = vec_i(f, PANEL_AHEAD);
   dot_panel(&d, &none);
   vec_end(f);
}
