/* gemm_dot.c - the dot products of a module: one local function for each layout, family and number
 * of rows that its kernels call. */
#include "gemm_impl.h"

#include <stdio.h>

vec_value dot_row(vec_fn *f, uint32_t r, uint32_t base, uint32_t stride)
{
   vec_value number = vec_load(f, VEC_i64, 1, vec_at_i(f, vec_arg(f, DOT_number), 8 * r), 8);

   return vec_at(f, vec_arg(f, base), vec_mul(f, number, vec_arg(f, stride)));
}

uint32_t dot_fetched(panel_layout w, dot_family family)
{
   uint32_t packed = panel_infos[w].cell_bytes, unpacked = panel_unpacked_info(w).cell_bytes;

   switch (family) {
   case DOT_int8_half: return packed / 2;
   case DOT_int8_unpacked: return unpacked / 2;
   case DOT_amx: /* multiplies what has been unpacked, unless codes are bytes */
      return panel_infos[w].low == 8 ? packed : 0;
   default: return packed;
   }
}

void dot_emit(vec_module *m, panel_layout w, dot_family family, uint32_t rows,
              char out[GEMM_SYMBOL_MAX])
{
   static const char *const names[] = {[DOT_float] = "float",
                                       [DOT_int8] = "int8",
                                       [DOT_int8_half] = "int8_half",
                                       [DOT_int8_unpacked] = "int8_unpacked",
                                       [DOT_amx] = "amx",
                                       [DOT_two] = "two"};
   vec_elem args[DOT_MAX_ARGS];

   for (int i = 0; i < DOT_MAX_ARGS; i++)
      args[i] = i <= DOT_number || i >= DOT_ARGS ? VEC_ptr : VEC_i64;
   snprintf(out, GEMM_SYMBOL_MAX, "dot_%s_%s_%u", names[family], panel_infos[w].name, rows);
   uint32_t num = family == DOT_two ? DOT_TWO_ARGS : family == DOT_amx ? DOT_AMX_ARGS : DOT_ARGS;
   vec_fn *f = vec_local(m, out, num, args);
   if (!f)
      return;
   if (family == DOT_float || family == DOT_two)
      dot_emit_float(f, w, family, rows);
   else
      dot_emit_int8(f, w, family, rows);
   vec_end(f);
}
