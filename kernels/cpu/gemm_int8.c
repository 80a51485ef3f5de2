/* gemm_int8.c - dot products of panels with int8 activations.
 *
 * Per cell of 32 k, 16 outputs and `rows` rows, into i32:
 *
 *    small codes (< 8 bits)   maddubs(codes, x) summed in i16 as long as it cannot overflow, then maddwd by ones or by
 *                             the sub-block scales
 *    bytes                    maddubs(|w|, sign(x, w)), maddwd at once
 *    vnni                     dpbusd(codes, x); signed codes as unsigned ones, and 128 * sum(x) taken off
 *    amx, many rows           the products come from tiles (gemm_amx.c)
 *
 * Then f32, one accumulator an output, cells ascending, the same sequence for any number of rows:
 *
 *    block 32     acc = fma(isum, d * dx, acc);  acc = fma(m, dsum, acc)
 *    block 256    s = fma(isum, dx, s) and m = fma(imin, dx, m) over the 8 cells, integer scales inside; then
 *                 acc = fma(s, d, acc);  acc = fma(m, -dmin, acc) */
#include "gemm_impl.h"

#include "base/quant.h"

typedef struct dot {
   panel_reader r;
   vec_fn *f;
   const panel_info *p;
   uint32_t rows, lanes, halves, spans, bits;
   bool vnni, bytes;   /* bytes: the signed path */
   bool is_signed;     /* vnni: codes have PANEL_SIGNED added */
   vec_value products; /* i32[cell][span][16 rows][16]: products are there already */
   vec_value x[MAX_ROWS], s[MAX_ROWS];
   vec_value out;  /* f32 accumulators */
   vec_value sums; /* f32 of a super-block, [rows][16]; NULL for block 32 */
} dot;

typedef struct regs {
   vec_value v[MAX_ROWS * MAX_HALVES];
} regs;

static uint32_t num_regs(const dot *d)
{
   return d->rows * d->halves;
}

/* Address of register i of an array of [rows][16] 32-bit elements. */
static vec_value slot(dot *d, vec_value base, uint32_t i)
{
   return vec_at_i(d->f, base, i * d->lanes * 4);
}

/* How many groups fit into i16 sums when |x| <= 127. */
static uint32_t groups_per_flush(uint32_t bits)
{
   uint32_t max_code = (1u << bits) - 1, pair = 2 * 127 * max_code, n = 1;

   while (n < 8 && 2 * n * pair <= 32767)
      n *= 2;
   return n;
}

/* p: how the codes lie; bits: how large they are. */
static dot dot_of(vec_fn *f, const panel_info *p, uint32_t bits, uint32_t rows)
{
   dot d = {.r = panel_reader_of(f, p), .f = f, .p = p, .rows = rows, .bits = bits};
   uint32_t span_groups = p->sub == 16 ? 4 : 8;

   d.lanes = d.r.lanes;
   d.halves = d.r.halves;
   d.vnni = vec_fn_isa(f)->vnni;
   d.bytes = !d.vnni && p->code != PANEL_CODE_U;
   d.is_signed = d.vnni && p->code != PANEL_CODE_U;
   /* A span is what one flush (or two, for 2 high bits) and one scale cover. */
   if (!d.vnni && p->code == PANEL_CODE_U)
      span_groups = MIN(span_groups, MAX(groups_per_flush(bits), d.r.groups));
   d.spans = 8 / span_groups;
   d.out = vec_arg(f, DOT_out);
   for (uint32_t r = 0; r < rows; r++) {
      d.x[r] = dot_row(f, r, DOT_x, DOT_x_stride);
      d.s[r] = dot_row(f, r, DOT_s, DOT_s_stride);
   }
   return d;
}

static regs zeros(dot *d, vec_elem e, uint32_t lanes)
{
   regs z;

   for (uint32_t i = 0; i < num_regs(d); i++)
      z.v[i] = vec_int(d->f, e, lanes, 0);
   return z;
}

/* ---- codes ---- */

/* Unsigned bytes for dpbusd, or table values. */
static vec_value finish_codes(dot *d, vec_value w)
{
   const int8_t *values = panel_table(d->p);
   int64_t table[16];

   if (d->vnni)
      return panel_unsigned(&d->r, w);
   if (!values)
      return w;
   for (int i = 0; i < 16; i++)
      table[i] = values[i];
   return vec_lookup(d->f, vec_ints(d->f, VEC_i8, 16, table), w);
}

/* 4 codes of row r at offset `at` of x, in every lane. */
static vec_value broadcast(dot *d, uint32_t r, vec_value at)
{
   vec_value four = vec_load(d->f, VEC_i32, 1, vec_at(d->f, d->x[r], at), 4);

   return vec_bits(d->f, vec_splat(d->f, four, d->lanes), VEC_i8, 4 * d->lanes);
}

static vec_value ones(dot *d)
{
   return vec_int(d->f, VEC_i16, 2 * d->lanes, 1);
}

static vec_value absolute(vec_fn *f, vec_value w)
{
   return vec_intrinsic_like(f, "llvm.abs", w, 2, (vec_value[]){w, vec_int(f, VEC_i1, 1, 0)});
}

/* acc += the products of one group; x at offset `at`. scale: i16 pairs, for bytes. */
static void add_group(dot *d, const vec_value *codes, vec_value at, const vec_value *scale,
                      regs *acc)
{
   vec_fn *f = d->f;
   vec_value w[MAX_HALVES], a[MAX_HALVES];

   for (uint32_t h = 0; h < d->halves; h++) {
      w[h] = finish_codes(d, codes[h]);
      a[h] = d->bytes ? absolute(f, w[h]) : w[h];
   }
   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value x = broadcast(d, r, at);
      for (uint32_t h = 0; h < d->halves; h++) {
         vec_value *to = &acc->v[r * d->halves + h], sum;
         if (d->vnni) {
            *to = vec_dpbusd(f, *to, w[h], x);
            continue;
         }
         sum = vec_maddubs(f, a[h], d->bytes ? vec_sign_of(f, x, w[h]) : x);
         if (d->bytes)
            sum = vec_maddwd(f, sum, scale[h]);
         *to = vec_add(f, *to, sum);
      }
   }
}

/* ---- scales ---- */

/* Even (which 0) or odd 16-bit elements, each twice. */
static vec_value twice(dot *d, vec_value pairs, uint32_t which)
{
   int mask[64];

   for (uint32_t i = 0; i < 2 * d->lanes; i++)
      mask[i] = (int)(i / 2 * 2 + which);
   return vec_shuffle(d->f, pairs, NULL, 2 * d->lanes, mask);
}

/* i16[lanes][2] of the sub-blocks of 16 of a cell: scales, or minima. */
static vec_value pairs16(dot *d, vec_value cell, uint32_t h, bool min)
{
   vec_fn *f = d->f;
   uint32_t n = 2 * d->lanes;
   vec_value v = vec_load(f, VEC_i8, n, vec_at_i(f, cell, d->p->scales_at + h * n), 16);

   if (!d->p->has_min)
      return vec_sext(f, v, VEC_i16);
   v = vec_zext(f, v, VEC_i16);
   return min ? vec_lshr_i(f, v, 4) : vec_and_i(f, v, 15);
}

/* The scale of a span as i16[lanes][2], both equal; ones for block 32. */
static void span_scales(dot *d, vec_value cell, uint32_t span, vec_value *out)
{
   vec_fn *f = d->f;

   for (uint32_t h = 0; h < d->halves; h++) {
      if (!d->p->sub) {
         out[h] = ones(d);
      } else if (d->p->sub == 16) {
         out[h] = twice(d, pairs16(d, cell, h, false), span * 2 / d->spans);
      } else {
         vec_value at = vec_at_i(f, cell, d->p->scales_at + h * d->lanes);
         vec_value v = vec_sext(f, vec_load(f, VEC_i8, d->lanes, at, 8), VEC_i32);
         v = vec_or(f, vec_and_i(f, v, 0xffff), vec_shl_i(f, v, 16));
         out[h] = vec_bits(f, v, VEC_i16, 2 * d->lanes);
      }
   }
}

/* ---- cells ---- */

/* Sums in i16 (or i32 already, for bytes and vnni) to i32, times the scale of the span. */
static void flush(dot *d, const regs *acc, const vec_value *scale, regs *sum, bool first)
{
   vec_fn *f = d->f;

   for (uint32_t i = 0; i < num_regs(d); i++) {
      vec_value v = acc->v[i];
      if (d->vnni && d->p->sub) {
         vec_value wide = vec_bits(f, scale[i % d->halves], VEC_i32, d->lanes);
         v = vec_mul(f, v, vec_ashr_i(f, wide, 16));
      } else if (!d->vnni && !d->bytes) {
         v = vec_maddwd(f, v, scale[i % d->halves]);
      }
      sum->v[i] = first ? v : vec_add(f, sum->v[i], v);
   }
}

/* All units of a span in one loop, one flush. Loop variables: sums, then high bits. */
static void looped_span(dot *d, vec_value cell, uint32_t first, uint32_t groups, vec_value k,
                        const vec_value *scale, regs *acc)
{
   vec_fn *f = d->f;
   vec_value vars[MAX_ROWS * MAX_HALVES + MAX_HALVES];
   uint32_t n = num_regs(d), unit_bytes = d->r.lines * LINE_BYTES, units = groups / d->r.groups;
   uint32_t from = first * d->p->low / 8 * LINE_BYTES;

   memcpy(vars, acc->v, n * sizeof *vars);
   panel_read_high(&d->r, cell, first, vars + n);
   vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, from + units * unit_bytes), unit_bytes,
                               n + (d->p->high ? d->halves : 0), vars);
   memcpy(acc->v, l.var, n * sizeof *vars);
   memcpy(vars + n, l.var + n, d->halves * sizeof *vars);
   panel_unit u = panel_read_unit(&d->r, vec_at(f, cell, l.i), vars + n);
   /* Bytes of x a line byte stands for: 4 groups k each / unit bytes. */
   vec_value at = vec_add(f, k, vec_lshr_i(f, l.i, d->p->low == 8 ? 4 : d->p->low == 4 ? 3 : 2));
   for (uint32_t g = 0; g < d->r.groups; g++)
      add_group(d, u.group[g], vec_add_i(f, at, 4 * g), scale, acc);
   memcpy(vars, acc->v, n * sizeof *vars);
   vec_loop_end(f, &l, vars);
   memcpy(acc->v, l.var, n * sizeof *vars);
}

/* One unit that needs more flushes than one: 6-bit codes. */
static void flushed_unit(dot *d, vec_value cell, uint32_t first, vec_value k,
                         const vec_value *scale, regs *sum, bool fresh)
{
   vec_fn *f = d->f;
   vec_value high[MAX_HALVES];
   uint32_t every = groups_per_flush(d->bits);

   panel_read_high(&d->r, cell, first, high);
   vec_value line = vec_at_i(f, cell, first * d->p->low / 8 * LINE_BYTES);
   panel_unit u = panel_read_unit(&d->r, line, high);
   for (uint32_t g = 0; g < d->r.groups; g += every) {
      regs acc = zeros(d, VEC_i16, 2 * d->lanes);
      for (uint32_t j = g; j < g + every; j++)
         add_group(d, u.group[j], vec_add_i(f, k, 4 * (first + j)), scale, &acc);
      flush(d, &acc, scale, sum, fresh && g == 0);
   }
}

/* What i32 sums begin with: 0, or what signed codes have too much, -128 * (sum of 32 activations). */
static regs first_sums(dot *d, vec_value k)
{
   vec_fn *f = d->f;
   regs z = zeros(d, VEC_i32, d->lanes);
   vec_value at = vec_add(f, vec_lshr_i(f, vec_arg(f, DOT_all), 2), vec_lshr_i(f, k, 3));
   vec_value by = vec_int(f, VEC_i16, 2 * d->lanes, -PANEL_SIGNED);

   for (uint32_t r = 0; r < d->rows && d->is_signed; r++) {
      vec_value pair = vec_load(f, VEC_i32, 1, vec_at(f, d->s[r], at), 4);
      pair = vec_bits(f, vec_splat(f, pair, d->lanes), VEC_i16, 2 * d->lanes);
      for (uint32_t h = 0; h < d->halves; h++)
         z.v[r * d->halves + h] = vec_maddwd(f, pair, by);
   }
   assert(!d->is_signed || d->spans == 1);
   return z;
}

/* Adds what tiles have made of a span of the cell at column k. */
static void add_products(dot *d, vec_value k, uint32_t span, regs *acc)
{
   vec_fn *f = d->f;
   vec_value cell = vec_sub(f, k, vec_arg(f, DOT_from)); /* 32 k make 1024 bytes a span */
   vec_value at = vec_at(f, d->products, vec_mul_i(f, cell, 32 * d->spans));

   for (uint32_t i = 0; i < num_regs(d); i++) {
      vec_value from = vec_at_i(f, slot(d, at, i), span * PANEL_ROWS * PANEL_ROWS * 4);
      acc->v[i] = vec_add(f, acc->v[i], vec_load(f, VEC_i32, d->lanes, from, 32));
   }
}

/* i32 sums over the 32 k of a cell that starts at column k. */
static void cell_sums(dot *d, vec_value cell, vec_value k, regs *sum)
{
   uint32_t groups = 8 / d->spans;
   bool wide = d->vnni || d->bytes;

   for (uint32_t s = 0; s < d->spans; s++) {
      vec_value scale[MAX_HALVES];
      span_scales(d, cell, s, scale);
      if (!wide && groups_per_flush(d->bits) < groups) {
         flushed_unit(d, cell, s * groups, k, scale, sum, s == 0);
         continue;
      }
      regs acc = wide ? first_sums(d, k) : zeros(d, VEC_i16, 2 * d->lanes);
      if (d->products)
         add_products(d, k, s, &acc);
      else
         looped_span(d, cell, s * groups, groups, k, scale, &acc);
      flush(d, &acc, scale, sum, s == 0);
   }
}

/* ---- block 32 ---- */

static vec_value row_scale(dot *d, uint32_t r, vec_value at)
{
   vec_value v = vec_load(d->f, VEC_f32, 1, vec_at(d->f, d->s[r], at), 4);

   return vec_splat(d->f, v, d->lanes);
}

/* out += cvt(sum) * (d * dx) [+ m * dsum]. at: offset of the block's scale; sums: distance to its
 * dsum. */
static void add_block(dot *d, vec_value cell, vec_value at, vec_value dsums, const regs *sum)
{
   vec_fn *f = d->f;
   vec_value scales = vec_at_i(f, cell, d->p->scales_at), scale[MAX_HALVES], min[MAX_HALVES];
   bool has_m = d->p->has_min || d->p->bias;

   for (uint32_t h = 0; h < d->halves; h++) {
      scale[h] = panel_read_halfs(&d->r, scales, h);
      min[h] = d->p->has_min ? panel_read_halfs(&d->r, vec_at_i(f, scales, 2 * PANEL_ROWS), h)
                             : vec_fmul(f, scale[h], vec_float(f, d->lanes, -d->p->bias));
   }
   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value dx = row_scale(d, r, at);
      vec_value dsum = has_m ? row_scale(d, r, vec_add(f, at, dsums)) : NULL;
      for (uint32_t h = 0; h < d->halves; h++) {
         uint32_t i = r * d->halves + h;
         vec_value to = slot(d, d->out, i), acc = vec_load(f, VEC_f32, d->lanes, to, 32);
         acc = vec_fma(f, vec_itof(f, sum->v[i]), vec_fmul(f, scale[h], dx), acc);
         if (has_m)
            acc = vec_fma(f, min[h], dsum, acc);
         vec_store(f, acc, to, 32);
      }
   }
}

static void dot_block32(dot *d)
{
   vec_fn *f = d->f;
   vec_value w = vec_arg(f, DOT_w), from = vec_arg(f, DOT_from);
   vec_value to = vec_add(f, from, vec_arg(f, DOT_k));
   vec_value dsums = vec_lshr_i(f, vec_arg(f, DOT_all), 3); /* K/32 scales of 4 bytes */
   vec_loop l = vec_loop_begin(f, from, to, CELL_K, 1, &w);
   vec_value cell = l.var[0];
   regs sum;

   panel_prefetch(f, cell, d->p->cell_bytes);
   cell_sums(d, cell, l.i, &sum);
   add_block(d, cell, vec_lshr_i(f, l.i, 3), dsums, &sum);
   vec_loop_end(f, &l, (vec_value[]){vec_at_i(f, cell, d->p->cell_bytes)});
}

/* ---- block 256 ---- */

/* i16[lanes][2] to multiply with the sums of the two 16s of cell c; what: minima, or scales. */
static vec_value factors(dot *d, vec_value cell, uint32_t h, bool min)
{
   vec_value scale[MAX_HALVES];

   if (d->p->sub == 16)
      return pairs16(d, cell, h, min);
   span_scales(d, cell, 0, scale);
   return scale[h];
}

/* acc[r][h] = sum of dx * (factors . sum16) over the 8 cells, in a loop. at: offset of the first
 * cell's scale. */
static void add_correction(dot *d, vec_value block, vec_value at, bool min, regs *acc)
{
   vec_fn *f = d->f;
   uint32_t n = num_regs(d);
   vec_value sum16s = vec_lshr_i(f, vec_arg(f, DOT_all), 2); /* behind scales and dsums */
   regs init, next;

   for (uint32_t i = 0; i < n; i++)
      init.v[i] = vec_float(f, d->lanes, 0);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, 8), 1, n, init.v);
   vec_value cell = vec_at(f, block, vec_mul_i(f, l.i, d->p->cell_bytes)), by[MAX_HALVES];
   vec_value here = vec_add(f, at, vec_shl_i(f, l.i, 2));
   for (uint32_t h = 0; h < d->halves; h++)
      by[h] = factors(d, cell, h, min);
   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value dx = row_scale(d, r, here);
      vec_value pair = vec_load(f, VEC_i32, 1, vec_at(f, d->s[r], vec_add(f, sum16s, here)), 4);
      pair = vec_bits(f, vec_splat(f, pair, d->lanes), VEC_i16, 2 * d->lanes);
      for (uint32_t h = 0; h < d->halves; h++) {
         uint32_t i = r * d->halves + h;
         next.v[i] = vec_fma(f, vec_itof(f, vec_maddwd(f, by[h], pair)), dx, l.var[i]);
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
static void add_minima(dot *d, vec_value block, vec_value at, regs *acc)
{
   vec_fn *f = d->f;
   vec_value dsums = vec_add(f, at, vec_lshr_i(f, vec_arg(f, DOT_all), 3));

   for (uint32_t i = 0; i < num_regs(d); i++)
      acc->v[i] = vec_float(f, d->lanes, 0);
   for (uint32_t c = 0; c < 8; c++) {
      vec_value cell = vec_at_i(f, block, c / 2 * 2 * d->p->cell_bytes), min[MAX_HALVES];
      for (uint32_t h = 0; h < d->halves; h++) {
         vec_value two = vec_bits(f, min_pairs(d, cell, h), VEC_i32, d->lanes);
         two = c % 2 ? vec_lshr_i(f, two, 16) : vec_and_i(f, two, 255);
         min[h] = vec_itof(f, two);
      }
      for (uint32_t i = 0; i < num_regs(d); i++) {
         vec_value dsum = row_scale(d, i / d->halves, vec_add_i(f, dsums, 4 * c));
         acc->v[i] = vec_fma(f, min[i % d->halves], dsum, acc->v[i]);
      }
   }
}

/* sums -= bias * (sum of dx * (scales . sum16)). */
static void remove_bias(dot *d, vec_value block, vec_value at)
{
   vec_fn *f = d->f;
   regs by;

   add_correction(d, block, at, false, &by);
   for (uint32_t i = 0; i < num_regs(d); i++) {
      vec_value to = slot(d, d->sums, i);
      vec_value all = vec_load(f, VEC_f32, d->lanes, to, 32);
      vec_store(f, vec_fma(f, by.v[i], vec_float(f, d->lanes, -d->p->bias), all), to, 32);
   }
}

/* out += factor * sums. */
static void add_scaled(dot *d, const vec_value *factor, const regs *sum)
{
   vec_fn *f = d->f;

   for (uint32_t i = 0; i < num_regs(d); i++) {
      vec_value to = slot(d, d->out, i), acc = vec_load(f, VEC_f32, d->lanes, to, 32);
      vec_store(f, vec_fma(f, sum->v[i], factor[i % d->halves], acc), to, 32);
   }
}

/* at: offset of the scale of the super-block's first cell. */
static void add_super_block(dot *d, vec_value block, vec_value at)
{
   vec_fn *f = d->f;
   vec_value tail = vec_at_i(f, block, 8 * d->p->cell_bytes), scale[MAX_HALVES], min[MAX_HALVES];
   regs sum, msum;

   if (d->p->bias)
      remove_bias(d, block, at);
   for (uint32_t i = 0; i < num_regs(d); i++)
      sum.v[i] = vec_load(f, VEC_f32, d->lanes, slot(d, d->sums, i), 32);
   for (uint32_t h = 0; h < d->halves; h++)
      scale[h] = panel_read_halfs(&d->r, tail, h);
   add_scaled(d, scale, &sum);
   if (!d->p->has_min)
      return;
   if (d->p->sub == 16)
      add_correction(d, block, at, true, &msum);
   else
      add_minima(d, block, at, &msum);
   for (uint32_t h = 0; h < d->halves; h++)
      min[h] = vec_fneg(f, panel_read_halfs(&d->r, vec_at_i(f, tail, 2 * PANEL_ROWS), h));
   add_scaled(d, min, &msum);
}

static void clear_sums(dot *d)
{
   for (uint32_t i = 0; i < num_regs(d); i++)
      vec_store(d->f, vec_float(d->f, d->lanes, 0), slot(d, d->sums, i), 32);
}

/* sums += dx * sum. */
static void add_cell(dot *d, vec_value at, const regs *sum)
{
   vec_fn *f = d->f;

   for (uint32_t r = 0; r < d->rows; r++) {
      vec_value dx = row_scale(d, r, at);
      for (uint32_t h = 0; h < d->halves; h++) {
         uint32_t i = r * d->halves + h;
         vec_value to = slot(d, d->sums, i), all = vec_load(f, VEC_f32, d->lanes, to, 32);
         vec_store(f, vec_fma(f, vec_itof(f, sum->v[i]), dx, all), to, 32);
      }
   }
}

static void dot_block256(dot *d)
{
   vec_fn *f = d->f;
   vec_value w = vec_arg(f, DOT_w), from = vec_arg(f, DOT_from);
   vec_value to = vec_add(f, from, vec_arg(f, DOT_k));

   d->sums = vec_stack(f, d->rows * PANEL_ROWS * 4, 64);
   vec_loop l = vec_loop_begin(f, from, to, 256, 1, &w);
   vec_value block = l.var[0];
   clear_sums(d);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), vec_i(f, 256), CELL_K, 1, &block);
   regs sum;
   panel_prefetch(f, c.var[0], d->p->cell_bytes);
   cell_sums(d, c.var[0], vec_add(f, l.i, c.i), &sum);
   add_cell(d, vec_lshr_i(f, vec_add(f, l.i, c.i), 3), &sum);
   vec_loop_end(f, &c, (vec_value[]){vec_at_i(f, c.var[0], d->p->cell_bytes)});
   add_super_block(d, block, vec_lshr_i(f, l.i, 3));
   vec_loop_end(f, &l, (vec_value[]){vec_at_i(f, block, d->p->block_bytes)});
}

uint32_t dot_spans(const panel_info *p)
{
   return p->sub == 16 ? 2 : 1;
}

void dot_emit_int8(vec_fn *f, panel_layout w, dot_family family, uint32_t rows)
{
   const panel_info *p = &panel_infos[w], bytes = panel_tile_info(w);
   dot d = dot_of(f, family == DOT_int8 ? p : &bytes, p->low + p->high, rows);

   if (family == DOT_products)
      d.products = vec_arg(f, DOT_products_at);
   if (p->block == CELL_K)
      dot_block32(&d);
   else
      dot_block256(&d);
}
