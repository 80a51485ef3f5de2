/* act_quant.c - the gated product is quantised where it is computed.
 *
 *    kernel { …, %a, %y = mul %a, %u }          kernel { …, %a, %y
 *    %q, %s = quant %y                    ->      %q, %s = quant %y }
 *
 * Saves a launch, and a write and a read of T * F values: only codes and scales leave the kernel.
 * The kernel is the gate-up matmuls' (act_mul, moe_grouped) where a tile of its columns is whole
 * groups; else act, product and quant become a row kernel, if that is worth more than the matmuls'
 * kernel with a quant behind it. Declines when the product has a second reader. Kills: a quant
 * whose groups are wider than a tile; a product that others read; the quant of another value. */
#include "pass.h"

enum { ACT, GATE, UP, Y };

/* Runs when the matmuls' kernels have been made. */
static bool has_kernel(pass_site *s)
{
   const ir_group *g = s->host.data[0]->group;

   for (const ir_op *op = g ? g->first : NULL; op && op->group == g; op = op->next)
      if (pass_is_matmul(op) || op->code == IR_OP_moe_matmul || op->code == IR_OP_moe_qmatmul)
         return true;
   return pass_decline(s, "the product is not in the matmuls' kernel");
}

static bool fits(pass_site *s, const ir_op *quant)
{
   const ir_value *y = s->match.cap[Y];

   if (pass_only_reader(y) != quant)
      return pass_decline(s, "%s has a second reader", pass_label(s->f->a, y->def));
   return true;
}

static bool fits_row(pass_site *s, const ir_op *quant)
{
   int64_t row = pass_row_elements(&s->match.cap[Y]->type);

   if (row < 0 || row > s->target->row_limit)
      return pass_decline(s,
                          "its groups are wider than a tile's %u columns, and its rows than a row "
                          "kernel's",
                          s->target->epilogue_quant);
   return pass_has_codes(s, quant);
}

/* In the matmuls' kernel, which the product is in by then. */
static bool join(pass_site *s, ir_op *quant)
{
   if (!pass_fits_epilogue(s, quant))
      return false;
   s->extends = true;
   s->ready = has_kernel;
   pass_host(s, s->match.cap[Y]->def);
   return true;
}

static bool make_rows(pass_site *s, ir_op *quant)
{
   if (!fits_row(s, quant))
      return false;
   pass_own(s, s->match.cap[ACT]->def);
   pass_own(s, s->match.cap[Y]->def);
   return true;
}

void pass_act_quant(pass_run *run)
{
   const ir_pat *pattern = PAT(
      quant, SUB(mul, SUBS(IR_SET(silu) | IR_SET(gelu_tanh) | IR_SET(gelu), ANY(GATE), .as = ACT),
                 ANY(UP), .as = Y));

   ir_op_foreach (pass_func(run), op) {
      ir_match m = {0};
      pass_site *s;

      if (!pass_match(run, pattern, op, &m) || !(s = pass_site_open(run, op)))
         continue;
      s->match = m;
      if (!fits(s, op))
         continue;
      bool wide = ir_attr_i(op, IR_ATTR_group, 0) > s->target->epilogue_quant;
      if (!(wide ? make_rows : join)(s, op))
         continue;
      pass_own(s, op);
      pass_propose(s);
   }
}
