/* inv_rope_quant.c - what attention gives is turned back and quantised in one row kernel.
 *
 *    %r = rope %o, %cs {inverse=1}            kernel {
 *    %f = reshape %r                    ->      %r, %f
 *    %q, %s = quant %f                          %q, %s }
 *
 * Saves a launch, and a write and a read of the row. Declines a rotation that is not turned back
 * (qk_norm_rope's), a turned row that others read, too, groups that straddle a head, and rows that
 * one kernel cannot hold: on a CPU those of models with many heads. Where weights are floats, as in
 * the checkpoints of DeepSeek V4 that are read today, nothing is quantised behind the rotation and
 * the pass has no site. Kills: quantising the row before it is turned; a group of two heads. */
#include "pass.h"

static ir_op *rope_behind(ir_value *v)
{
   while (v->def->code == IR_OP_reshape)
      v = v->def->operands[0];
   return v->def->code == IR_OP_rope ? v->def : NULL;
}

static bool fits(pass_site *s, ir_op *rope, const ir_op *quant)
{
   int64_t row = pass_row_elements(&rope->results[0]->type);
   int64_t head = ir_type_row(&rope->results[0]->type);

   if (!ir_attr_i(rope, IR_ATTR_inverse, 0))
      return pass_decline(s, "the rotation is not one that is turned back");
   if (pass_only_reader(rope->results[0]) != quant)
      return pass_decline(s, "the turned row has a second reader");
   if (head % ir_attr_i(quant, IR_ATTR_group, 1))
      return pass_decline(s, "groups of %lld straddle heads of %lld",
                          (long long)ir_attr_i(quant, IR_ATTR_group, 1), (long long)head);
   if (row < 0 || row > s->target->row_limit)
      return pass_decline(s, "a row of %lld elements exceeds the target's %lld", (long long)row,
                          (long long)s->target->row_limit);
   return pass_has_codes(s, quant);
}

void pass_inv_rope_quant(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_op *rope = op->code == IR_OP_quant ? rope_behind(op->operands[0]) : NULL;
      pass_site *s;

      if (op->code == IR_OP_rope && ir_attr_i(op, IR_ATTR_inverse, 0)) {
         const ir_op *reader = pass_only_reader(op->results[0]);
         if (!reader || reader->code != IR_OP_quant)
            (void)pass_note_near(run, op, 1, 2, "no quant reads the turned row");
      }
      if (!rope || !(s = pass_site_open(run, op)) || !fits(s, rope, op))
         continue;
      pass_own(s, rope);
      for (ir_value *v = op->operands[0]; v->def != rope; v = v->def->operands[0])
         pass_own(s, v->def);
      pass_own(s, op);
      pass_propose(s);
   }
}
