/* panel.c - reads packed panels in kernels: lines to registers of codes. Layouts: base/panels.def.
 */
#include "gemm_impl.h"

#include "base/quant.h"

panel_reader panel_reader_of(vec_fn *f, const panel_info *p)
{
   panel_reader r = {.f = f, .p = p, .lanes = vec_lanes(f)};

   r.halves = PANEL_ROWS / r.lanes;
   /* Two groups keep the loop busy; signed bytes take more registers each; 2 high bits sit in lines
    * of 4 groups, 2 low bits too. */
   r.groups = p->low == 8 && p->code == PANEL_CODE_S ? 1 : p->low == 2 || p->high == 2 ? 4 : 2;
   r.lines = r.groups * p->low / 8;
   return r;
}

static uint32_t register_bytes(const panel_reader *r)
{
   return 4 * r->lanes;
}

static vec_value load_bytes(const panel_reader *r, vec_value ptr, uint32_t half)
{
   uint32_t bytes = register_bytes(r);

   return vec_load(r->f, VEC_i8, bytes, vec_at_i(r->f, ptr, half * bytes), 32);
}

/* Shifts bytes left (right when by < 0) and keeps `bits` bits at `at`; shifts are of 16 bits, the
 * mask removes what comes from the neighbour. */
static vec_value field(const panel_reader *r, vec_value bytes, int by, uint32_t bits, uint32_t at)
{
   uint32_t n = register_bytes(r);
   vec_value v = vec_bits(r->f, bytes, VEC_i16, n / 2);

   if (by > 0)
      v = vec_shl_i(r->f, v, by);
   else if (by < 0)
      v = vec_lshr_i(r->f, v, -by);
   return vec_and_i(r->f, vec_bits(r->f, v, VEC_i8, n), ((1 << bits) - 1) << at);
}

void panel_read_high(const panel_reader *r, vec_value cell, uint32_t first, vec_value *out_high)
{
   const panel_info *p = r->p;
   uint32_t n = register_bytes(r), line = first * p->high / 8, bit = first * p->high % 8;
   vec_value at = vec_at_i(r->f, cell, (p->low + line) * LINE_BYTES);

   for (uint32_t h = 0; h < r->halves; h++) {
      out_high[h] = NULL;
      if (!p->high)
         continue;
      vec_value v = vec_bits(r->f, load_bytes(r, at, h), VEC_i16, n / 2);
      if (bit)
         v = vec_lshr_i(r->f, v, bit);
      out_high[h] = vec_bits(r->f, v, VEC_i8, n);
   }
}

/* Low plane of group g of the unit, half h, from the unit's lines. */
static vec_value low_codes(const panel_reader *r, vec_value line, uint32_t g, uint32_t h)
{
   uint32_t low = r->p->low, per = 8 / low;
   vec_value bytes = load_bytes(r, vec_at_i(r->f, line, g / per * LINE_BYTES), h);

   return low == 8 ? bytes : field(r, bytes, -(int)(low * (g % per)), low, 0);
}

panel_unit panel_read_unit(const panel_reader *r, vec_value line, vec_value *high)
{
   const panel_info *p = r->p;
   panel_unit u;

   for (uint32_t g = 0; g < r->groups; g++)
      for (uint32_t h = 0; h < r->halves; h++) {
         vec_value v = low_codes(r, line, g, h);
         if (p->high) {
            int by = (int)p->low - (int)(g * p->high);
            v = vec_or(r->f, v, field(r, high[h], by, p->high, p->low));
         }
         u.group[g][h] = v;
      }
   for (uint32_t h = 0; h < r->halves && p->high; h++) {
      uint32_t n = register_bytes(r);
      vec_value v = vec_bits(r->f, high[h], VEC_i16, n / 2);
      high[h] = vec_bits(r->f, vec_lshr_i(r->f, v, r->groups * p->high), VEC_i8, n);
   }
   return u;
}

static vec_value look_up(const panel_reader *r, const int8_t *values, int more, vec_value codes)
{
   int64_t table[16];

   for (int i = 0; i < 16; i++)
      table[i] = values[i] + more;
   return vec_lookup(r->f, vec_ints(r->f, VEC_i8, 16, table), codes);
}

vec_value panel_unsigned(const panel_reader *r, vec_value codes)
{
   const int8_t *values = panel_table(r->p);

   if (r->p->code == PANEL_CODE_U)
      return codes;
   if (!values)
      return vec_xor(r->f, codes, vec_int(r->f, VEC_i8, register_bytes(r), -128));
   return look_up(r, values, PANEL_SIGNED, codes);
}

vec_value panel_values(const panel_reader *r, vec_value codes)
{
   const int8_t *values = panel_table(r->p);

   return values ? look_up(r, values, 0, codes) : codes;
}

vec_value panel_read_halfs(const panel_reader *r, vec_value ptr, uint32_t half)
{
   vec_value at = vec_at_i(r->f, ptr, half * r->lanes * 2);

   if (r->p->code == PANEL_CODE_E)
      return vec_load_f32(r->f, DT_bf16, r->lanes, at);
   return vec_fconv(r->f, vec_load(r->f, VEC_f16, r->lanes, at, 16), VEC_f32);
}

void panel_prefetch(vec_fn *f, vec_value ptr, vec_value ahead, uint32_t bytes)
{
   ptr = vec_at(f, ptr, ahead);
   for (uint32_t at = 0; at < bytes; at += 64)
      vec_prefetch(f, vec_at_i(f, ptr, at));
}
