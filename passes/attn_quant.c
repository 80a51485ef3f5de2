/* attn_quant.c - an attention's result is quantised in its kernel.
 *
 *    %o = attention %q, %kv : f32[T,H,d]       kernel { %o, %r
 *    %r = reshape %o        : f32[T,H*d]  ->     %q, %s = quant %r {group} }
 *    %q, %s = quant %r {group}
 *
 * Saves a launch, and a write and a read of T * H * d values. Declines when the result has a second
 * reader, when a group reaches over two heads (they come out of different tiles), and groups that
 * the target's kernel does not hold. Kills: groups of another head; a result that others read. */
#include "pass.h"

static bool fits(pass_site *s, const ir_op *attention, const ir_op *quant)
{
   const ir_value *o = attention->results[0];
   int64_t head = ir_type_row(&o->type), group = ir_attr_i(quant, IR_ATTR_group, 0);

   if (pass_only_reader(o) != quant)
      return pass_decline(s, "%s has a second reader", pass_label(s->f->a, attention));
   if (head % group)
      return pass_decline(s, "a group of %lld reaches over heads of %lld", (long long)group,
                          (long long)head);
   return pass_fits_epilogue(s, quant);
}

void pass_attn_quant(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_op *attention =
         op->code == IR_OP_quant ? pass_def(op->operands[0], IR_OP_attention) : NULL;
      pass_site *s;

      if (!attention || !(s = pass_site_open(run, op)) || !fits(s, attention, op))
         continue;
      pass_own(s, attention);
      pass_own_views(s, op->operands[0]);
      pass_own(s, op);
      pass_propose(s);
   }
}
