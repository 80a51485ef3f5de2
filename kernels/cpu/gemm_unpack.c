/* gemm_unpack.c - panels unpacked once for many rows: the same cells with a byte a
 * code, or a byte a value for AMX.
 *
 *    cell   8 lines of codes, line g = group g; then the scales as they are        tail as it is */
#include "gemm_impl.h"

#include <stdio.h>

panel_info panel_unpacked_info(panel_layout w)
{
   panel_info p = panel_infos[w];
   uint32_t more = 8 * LINE_BYTES - p.scales_at;

   p.low = 8;
   p.high = 0;
   p.scales_at += more;
   p.cell_bytes += more;
   p.block_bytes += p.block / CELL_K * more;
   return p;
}

static void copy(vec_fn *f, vec_value from, vec_value to, uint32_t bytes)
{
   for (uint32_t at = 0; at < bytes; at += 32)
      vec_store(f, vec_load(f, VEC_i8, 32, vec_at_i(f, from, at), 32), vec_at_i(f, to, at), 32);
}

static void unpack_cell(const panel_reader *r, const panel_info *unpacked, vec_value cell,
                        vec_value to, bool as_values)
{
   vec_fn *f = r->f;
   vec_value high[MAX_HALVES];
   uint32_t bytes = 4 * r->lanes;

   for (uint32_t g = 0; g < 8; g += r->groups) {
      panel_read_high(r, cell, g, high);
      vec_value line = vec_at_i(f, cell, g * r->p->low / 8 * LINE_BYTES);
      panel_unit u = panel_read_unit(r, line, high);
      for (uint32_t j = 0; j < r->groups; j++)
         for (uint32_t h = 0; h < r->halves; h++)
            vec_store(f, as_values ? panel_values(r, u.group[j][h]) : u.group[j][h],
                      vec_at_i(f, to, (g + j) * LINE_BYTES + h * bytes), 32);
   }
   copy(f, vec_at_i(f, cell, r->p->scales_at), vec_at_i(f, to, unpacked->scales_at),
        r->p->cell_bytes - r->p->scales_at);
}

void unpack_emit_int8(vec_module *m, panel_layout w, bool as_values, char out[GEMM_SYMBOL_MAX])
{
   static const vec_elem args[] = {VEC_ptr, VEC_ptr, VEC_i64};
   const panel_info *p = &panel_infos[w], unpacked = panel_unpacked_info(w);
   uint32_t cells = p->block / CELL_K;

   snprintf(out, GEMM_SYMBOL_MAX, "unpack_%s_%s", as_values ? "values" : "int8", p->name);
   vec_fn *f = vec_local(m, out, countof(args), args);
   if (!f)
      return;
   panel_reader r = panel_reader_of(f, p);
   vec_value start[] = {vec_arg(f, 0), vec_arg(f, 1)};
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_arg(f, 2), p->block, 2, start);
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), vec_i(f, cells), 1, 2, l.var);

   panel_prefetch(f, c.var[0], vec_i(f, PANEL_AHEAD), p->cell_bytes);
   unpack_cell(&r, &unpacked, c.var[0], c.var[1], as_values);
   vec_loop_end(f, &c,
                (vec_value[]){vec_at_i(f, c.var[0], p->cell_bytes),
                              vec_at_i(f, c.var[1], unpacked.cell_bytes)});
   uint32_t tail = p->block_bytes - cells * p->cell_bytes;
   copy(f, c.var[0], c.var[1], tail);
   vec_loop_end(f, &l, (vec_value[]){vec_at_i(f, c.var[0], tail), vec_at_i(f, c.var[1], tail)});
   vec_end(f);
}
