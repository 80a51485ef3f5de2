/* gemm_int8.c - dot products of panels with int8 activations: the sums of a cell. What becomes of
 * them is gemm_blocks.c.
 *
 * Per cell of 32 k, 16 outputs and `rows` rows, into i32:
 *
 *    small codes (< 8 bits)   maddubs(codes, x) summed in i16 as long as it cannot overflow, then maddwd by ones or by
 *                             the sub-block scales
 *    bytes                    maddubs(|w|, sign(x, w)), maddwd at once
 *    vnni                     dpbusd(codes, x); signed codes as unsigned ones, which are 128 too large
 *    amx, many rows           16 rows at once: a cell's products by AMX (gemm_amx.c) while those of the one before it
 *                             are scaled
 *
 * Codes that are too large by a constant have that times sum(x) taken off, in integers. */
#include "gemm_int8.h"

/* How many groups fit into i16 sums when |x| <= 127. */
static uint32_t groups_per_flush(uint32_t bits)
{
   uint32_t max_code = (1u << bits) - 1, pair = 2 * 127 * max_code, n = 1;

   while (n < 8 && 2 * n * pair <= 32767)
      n *= 2;
   return n;
}

static dot dot_of(vec_fn *f, const panel_info *p, uint32_t bits, dot_family family, uint32_t rows)
{
   dot d = {.r = panel_reader_of(f, p), .f = f, .p = p, .rows = rows, .bits = bits};
   uint32_t span_groups =
      p->sub == 16 || p->high == 2 ? 4 : 8; /* of a scale, a line of high bits */

   d.lanes = d.r.lanes;
   d.halves = d.r.halves;
   d.vnni = vec_fn_isa(f)->vnni;
   d.bytes = !d.vnni && p->code != PANEL_CODE_U;
   d.offset = d.vnni && family != DOT_amx && p->code != PANEL_CODE_U ? PANEL_SIGNED : p->bias;
   assert(!d.offset || p->sub != 32 || d.vnni);
   /* A span is what one flush (or two, for 2 high bits) and one scale cover. */
   if (!d.vnni && p->code == PANEL_CODE_U)
      span_groups = MIN(span_groups, MAX(groups_per_flush(bits), d.r.groups));
   d.spans = 8 / span_groups;
   d.out.memory = vec_arg(f, DOT_out);
   d.keeps = family == DOT_amx || d.lanes == PANEL_ROWS;
   return d;
}

static void find_rows(dot *d)
{
   for (uint32_t r = 0; r < d->rows; r++) {
      d->x[r] = dot_row(d->f, r, DOT_x, DOT_x_stride);
      d->s[r] = dot_row(d->f, r, DOT_s, DOT_s_stride);
   }
}

/* Rows follow each other. */
static void find_amx_rows(dot *d)
{
   vec_fn *f = d->f;

   d->x[0] = dot_row(f, 0, DOT_x, DOT_x_stride);
   d->s[0] = dot_row(f, 0, DOT_s, DOT_s_stride);
   for (uint32_t r = 1; r < d->rows; r++)
      d->s[r] = vec_at(f, d->s[r - 1], vec_arg(f, DOT_s_stride));
   vec_tiles_use(f, vec_arg(f, DOT_set));
}

dot dot_begin(vec_fn *f, const panel_info *p, uint32_t bits, dot_family family, uint32_t rows)
{
   dot d = dot_of(f, p, bits, family, rows);

   d.amx = family == DOT_amx;
   if (d.amx)
      find_amx_rows(&d);
   else
      find_rows(&d);
   return d;
}

static regs zeros(dot *d, vec_elem e, uint32_t lanes)
{
   regs z;

   for (uint32_t i = 0; i < dot_regs(d); i++)
      z.v[i] = vec_int(d->f, e, lanes, 0);
   return z;
}

/* ---- codes ---- */

/* Unsigned bytes for dpbusd, or table values. */
static vec_value finish_codes(dot *d, vec_value w)
{
   return d->vnni ? panel_unsigned(&d->r, w) : panel_values(&d->r, w);
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

/* The products of bytes of one group and row: step by step for all halves, which keeps the ports
 * that multiply busier than one half after the other. */
static void add_bytes(dot *d, uint32_t r, const vec_value *w, const vec_value *a, vec_value x,
                      const vec_value *scale, regs *acc)
{
   vec_fn *f = d->f;
   vec_value v[MAX_HALVES];

   for (uint32_t h = 0; h < d->halves; h++)
      v[h] = vec_sign_of(f, x, w[h]);
   for (uint32_t h = 0; h < d->halves; h++)
      v[h] = vec_maddubs(f, a[h], v[h]);
   for (uint32_t h = 0; h < d->halves; h++)
      v[h] = vec_maddwd(f, v[h], scale[h]);
   for (uint32_t h = 0; h < d->halves; h++)
      acc->v[r * d->halves + h] = vec_add(f, acc->v[r * d->halves + h], v[h]);
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
      if (d->bytes) {
         add_bytes(d, r, w, a, x, scale, acc);
         continue;
      }
      for (uint32_t h = 0; h < d->halves; h++) {
         vec_value *to = &acc->v[r * d->halves + h];
         *to = d->vnni ? vec_dpbusd(f, *to, w[h], x) : vec_add(f, *to, vec_maddubs(f, a[h], x));
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

vec_value dot_pairs16(dot *d, vec_value cell, uint32_t h, bool min)
{
   vec_fn *f = d->f;
   uint32_t n = 2 * d->lanes;
   vec_value v = vec_load(f, VEC_i8, n, vec_at_i(f, cell, d->p->scales_at + h * n), 16);

   if (!d->p->has_min)
      return vec_sext(f, v, VEC_i16);
   v = vec_zext(f, v, VEC_i16);
   return min ? vec_lshr_i(f, v, 4) : vec_and_i(f, v, 15);
}

void dot_span_scales(dot *d, vec_value cell, uint32_t span, vec_value *out)
{
   vec_fn *f = d->f;

   for (uint32_t h = 0; h < d->halves; h++) {
      if (!d->p->sub) {
         out[h] = ones(d);
      } else if (d->p->sub == 16) {
         out[h] = twice(d, dot_pairs16(d, cell, h, false), span * 2 / d->spans);
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

   for (uint32_t i = 0; i < dot_regs(d); i++) {
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

/* One unit: its codes begin at byte `from` of the cell. */
static void add_unit(dot *d, vec_value cell, vec_value from, vec_value k, const vec_value *scale,
                     vec_value *high, regs *acc)
{
   vec_fn *f = d->f;
   panel_unit u = panel_read_unit(&d->r, vec_at(f, cell, from), high);
   /* Bytes of x a line byte stands for: 4 groups k each / unit bytes. */
   vec_value at = vec_add(f, k, vec_lshr_i(f, from, d->p->low == 8 ? 4 : d->p->low == 4 ? 3 : 2));

   for (uint32_t g = 0; g < d->r.groups; g++)
      add_group(d, u.group[g], vec_add_i(f, at, 4 * g), scale, acc);
}

/* All units of a span, one flush. The first one has sums that it need not add to, and a loop's
 * counting takes as long as a unit of few instructions: so two of them, or of those any number,
 * have no loop. More would be scheduled into more registers than there are; what is behind the
 * first is a loop with variables then: sums, then high bits. */
static void all_units(dot *d, vec_value cell, uint32_t first, uint32_t groups, vec_value k,
                      const vec_value *scale, regs *acc)
{
   vec_fn *f = d->f;
   vec_value vars[MAX_ROWS * MAX_HALVES + MAX_HALVES];
   uint32_t n = dot_regs(d), unit_bytes = d->r.lines * LINE_BYTES, units = groups / d->r.groups;
   uint32_t from = first * d->p->low / 8 * LINE_BYTES, to = from + units * unit_bytes;
   uint32_t single = units <= 2 || (d->vnni && d->halves == 1) ? units : 1;

   panel_read_high(&d->r, cell, first, vars + n);
   for (uint32_t i = 0; i < single; i++, from += unit_bytes)
      add_unit(d, cell, vec_i(f, from), k, scale, vars + n, acc);
   if (from == to)
      return;
   memcpy(vars, acc->v, n * sizeof *vars);
   vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, to), unit_bytes,
                               n + (d->p->high ? d->halves : 0), vars);
   memcpy(acc->v, l.var, n * sizeof *vars);
   memcpy(vars + n, l.var + n, d->halves * sizeof *vars);
   add_unit(d, cell, l.i, k, scale, vars + n, acc);
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

/* ---- offsets ---- */

vec_value dot_word(dot *d, vec_elem e, uint32_t r, vec_value at)
{
   return vec_splat(d->f, vec_load(d->f, e, 1, vec_at(d->f, d->s[r], at), 4), d->lanes);
}

vec_value dot_sum16s(dot *d, uint32_t r, vec_value at)
{
   at = vec_add(d->f, at, vec_lshr_i(d->f, vec_arg(d->f, DOT_all), 2)); /* behind two planes */
   return vec_bits(d->f, dot_word(d, VEC_i32, r, at), VEC_i16, 2 * d->lanes);
}

/* -offset * (sum of the 32 activations from column k on), from what is kept of them for an offset
 * of 128. */
static vec_value less32(dot *d, uint32_t r, vec_value k)
{
   vec_fn *f = d->f;
   vec_value all = vec_arg(f, DOT_all);
   vec_value plane = vec_add(f, vec_lshr_i(f, all, 2), vec_lshr_i(f, all, 3));
   vec_value v = dot_word(d, VEC_i32, r, vec_add(f, plane, vec_lshr_i(f, k, 3)));
   int by = __builtin_ctz(PANEL_SIGNED) - __builtin_ctz(d->offset);

   return by ? vec_ashr_i(f, v, by) : v;
}

/* The same with scales: -offset * (the sum of 16 activations times their scale, of both halves). */
static vec_value less16(dot *d, vec_value cell, vec_value k, uint32_t r, uint32_t h)
{
   vec_fn *f = d->f;
   vec_value sums = dot_sum16s(d, r, vec_lshr_i(f, k, 3));
   vec_value sum = vec_maddwd(f, dot_pairs16(d, cell, h, false), sums);

   sum = vec_shl_i(f, sum, __builtin_ctz(d->offset));
   return vec_sub(f, vec_int(f, VEC_i32, d->lanes, 0), sum);
}

/* What the i32 sum of register i over the cell has too much, negative. */
static vec_value less_of(dot *d, vec_value cell, vec_value k, uint32_t i)
{
   uint32_t r = i / d->halves;

   return d->p->sub == 16 ? less16(d, cell, k, r, i % d->halves) : less32(d, r, k);
}

/* ---- products ---- */

/* The products of the cell at column k: one of two places, in turns. */
static vec_value products_of(dot *d, vec_value k)
{
   vec_value turn = vec_and_i(d->f, k, CELL_K); /* 32 k make 1024 bytes a span */

   return vec_at(d->f, vec_arg(d->f, DOT_products), vec_mul_i(d->f, turn, 32 * d->spans));
}

void dot_make_products(dot *d, vec_value cell, vec_value k, vec_value to)
{
   amx_emit_cell(d->f, &(amx_cell){.spans = d->spans,
                                   .is_signed = d->p->code != PANEL_CODE_U,
                                   .x = vec_at(d->f, d->x[0], k),
                                   .x_stride = vec_arg(d->f, DOT_x_stride),
                                   .w = cell,
                                   .to = products_of(d, to)});
}

void dot_next_products(dot *d, vec_value cell, vec_value k, vec_value end)
{
   vec_fn *f = d->f;
   uint32_t tail = d->p->block_bytes - d->p->block / CELL_K * d->p->cell_bytes;
   vec_value next = vec_add_i(f, k, CELL_K), step = vec_i(f, d->p->cell_bytes);
   vec_value inside = vec_icmp(f, VEC_lt, next, end);

   if (tail) {
      vec_value border = vec_icmp(f, VEC_eq, vec_and_i(f, next, d->p->block - 1), vec_i(f, 0));
      step = vec_select(f, border, vec_add_i(f, step, tail), step);
   }
   step = vec_select(f, inside, step, vec_i(f, 0));
   dot_make_products(d, vec_at(f, cell, step), vec_select(f, inside, next, k), next);
}

/* Sums of codes that lack their lowest bits. */
static vec_value undropped(dot *d, vec_value sum)
{
   return d->p->drop ? vec_shl_i(d->f, sum, d->p->drop) : sum;
}

/* i32 sums over the 32 k of a cell that starts at column k. */
static void cell_sums(dot *d, vec_value cell, vec_value k, regs *sum)
{
   uint32_t groups = 8 / d->spans;
   bool wide = d->vnni || d->bytes;
   bool begins = d->offset && d->vnni && d->p->sub != 16 && !d->p->drop;

   for (uint32_t s = 0; s < d->spans; s++) {
      vec_value scale[MAX_HALVES];
      dot_span_scales(d, cell, s, scale);
      if (!wide && groups_per_flush(d->bits) < groups) {
         flushed_unit(d, cell, s * groups, k, scale, sum, s == 0);
         continue;
      }
      regs acc = zeros(d, wide ? VEC_i32 : VEC_i16, wide ? d->lanes : 2 * d->lanes);
      for (uint32_t i = 0; begins && i < dot_regs(d); i++)
         acc.v[i] = less_of(d, cell, k, i);
      all_units(d, cell, s * groups, groups, k, scale, &acc);
      flush(d, &acc, scale, sum, s == 0);
   }
   for (uint32_t i = 0; d->offset && !begins && i < dot_regs(d); i++)
      sum->v[i] = vec_add(d->f, undropped(d, sum->v[i]), less_of(d, cell, k, i));
}

/* The sum of a single span has at most 2^19 and its scale 2^5, or 2^17 and 2^6: their product is
 * exact in f32, too, where it takes one instruction for two. */
dot_sums dot_read(dot *d, vec_value at, vec_value k)
{
   dot_sums c = {0};

   if (!d->amx) {
      cell_sums(d, at, k, &c.sum);
      return c;
   }
   c.products = products_of(d, k);
   c.cell = at;
   c.k = k;
   for (uint32_t s = 0; s < d->spans && d->p->sub; s++) {
      vec_value pairs;
      dot_span_scales(d, at, s, &pairs);
      c.scale[s] = vec_ashr_i(d->f, vec_bits(d->f, pairs, VEC_i32, d->lanes), 16);
   }
   if (d->spans == 1 && d->p->sub)
      c.scale[0] = vec_itof(d->f, c.scale[0]);
   return c;
}

vec_value dot_sum(dot *d, const dot_sums *c, uint32_t i)
{
   vec_fn *f = d->f;
   vec_value sum = NULL;

   if (!d->amx)
      return vec_itof(f, c->sum.v[i]);
   for (uint32_t s = 0; s < d->spans; s++) {
      vec_value at = vec_at_i(f, dot_slot(d, c->products, i), s * TILE_ROWS * PANEL_ROWS * 4);
      vec_value v = vec_load(f, VEC_i32, d->lanes, at, 64);
      v = d->spans > 1 ? vec_mul(f, v, c->scale[s]) : v;
      sum = sum ? vec_add(f, sum, v) : v;
   }
   if (d->offset)
      sum = vec_add(f, undropped(d, sum), less_of(d, c->cell, c->k, i));
   sum = vec_itof(f, sum);
   return d->spans == 1 && d->p->sub ? vec_fmul(f, sum, c->scale[0]) : sum;
}
