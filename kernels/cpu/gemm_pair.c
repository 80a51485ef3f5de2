/* gemm_pair.c - a sum of experts, then one more matrix over the same rows and columns.
 *
 *    for the columns of a tile    y = sum of the experts' slots                 (grouped, combine)
 *                                 y = steps(x w^T), one of which adds y         (dense)
 *
 * The second product of a tile needs no other tile's sum: no barrier stands between the two. */
#include "gemm_kernel.h"

#include <stdio.h>

/* Constants of the dense part, behind those of the grouped one. The rest is the same for both. */
static const enum gemm_const own[] = {C_K, C_X_STRIDE, C_S_STRIDE, C_PANEL_BYTES};

void gemm_pair_symbol(const gemm_pair *pair, char out[GEMM_PAIR_SYMBOL_MAX])
{
   char routed[GEMM_SYMBOL_MAX], dense[GEMM_SYMBOL_MAX];

   gemm_symbol(&pair->routed, routed);
   gemm_symbol(&pair->dense, dense);
   snprintf(out, GEMM_PAIR_SYMBOL_MAX, "%s_then_%s", routed, dense);
}

const char *gemm_pair_unsupported(const gemm_pair *pair)
{
   if (!pair->routed.combine || pair->dense.grouped || pair->dense.w2 != PANEL_none ||
       pair->dense.quant || pair->dense.norm.k)
      return "only one plain matrix follows a sum of experts in its kernel";
   return NULL;
}

void gemm_pair_launch(const plan_launch *routed, const plan_launch *dense, plan_launch *out)
{
   int64_t slots = routed->consts[C_SLOTS_PER_TOKEN];

   *out = *routed;
   for (size_t i = 0; i < countof(own); i++)
      out->consts[out->num_consts++] = dense->consts[own[i]];
   out->num_refs += dense->num_refs;
   /* extents have one factor, the slots of the step: of what one token costs */
   out->bytes.k += dense->bytes.k / (out->bytes.num_factors ? slots : 1);
   out->flops.k += dense->flops.k / slots;
}

/* The dense product of a tile's columns, for all tokens. */
static void dense_part(gemm_kernel *g, vec_value tokens)
{
   vec_fn *f = g->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), tokens, GEMM_ROWS, 0, NULL);

   g->row0 = l.i;
   g->y_column = vec_i(f, 0);
   g->rows = vec_imin(f, vec_sub(f, tokens, l.i), vec_i(f, GEMM_ROWS));
   gemm_number_rows(g, l.i);
   gemm_tile_panels(g, vec_tile(f));
   vec_loop_end(f, &l, NULL);
}

void gemm_pair_emit(vec_module *m, const gemm_pair *pair)
{
   gemm_kernel a = {.key = &pair->routed}, b = {.key = &pair->dense};
   char symbol[GEMM_PAIR_SYMBOL_MAX];

   gemm_pair_symbol(pair, symbol);
   if (vec_module_has(m, symbol))
      return;
   gemm_emit_dots(m, &a);
   gemm_emit_dots(m, &b);
   a.f = b.f = vec_kernel(m, symbol);
   uint32_t p = gemm_load_arguments(&a, 0);
   (void)gemm_load_arguments(&b, p);
   for (uint32_t i = 0; i < countof(own); i++)
      b.k[own[i]] = vec_karg_const(b.f, GEMM_CONSTS + i);
   gemm_take_stack(&a);
   gemm_take_stack(&b);
   gemm_grouped_tile(&a);
   dense_part(&b, vec_div(a.f, gemm_rows_of_step(&a), a.k[C_SLOTS_PER_TOKEN]));
   vec_end(a.f);
}
