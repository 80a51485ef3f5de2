/* head_part.c - a product per head reads its part of wider rows where it lies.
 *
 *    %p = slice %q {axis=2}          kernel {
 *    %y = head_matmul %p, %w    ->     %p, %y
 *                                    }
 *
 * Saves the launch that copies the part, and its write and read. Declines when the part has a
 * second reader, or is computed and not in memory. Kills: the offset of another part; heads at the
 * distance of the part instead of the row. */
#include "pass.h"

static bool fits(pass_site *s, const ir_op *slice)
{
   if (ir_attr_i(slice, IR_ATTR_axis, 0) != 2)
      return pass_decline(s, "heads are cut, not their rows");
   if (!pass_only_reader(slice->results[0]))
      return pass_decline(s, "the part has a second reader");
   if (slice->operands[0]->type.dtype != DT_f32)
      return pass_decline(s, "rows are not f32");
   return true;
}

void pass_head_part(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      pass_site *s;

      if (op->code != IR_OP_head_matmul || op->operands[0]->def->code != IR_OP_slice)
         continue;
      ir_op *slice = op->operands[0]->def;
      if (!(s = pass_site_open(run, op)) || !fits(s, slice))
         continue;
      pass_own(s, slice);
      pass_own(s, op);
      pass_propose(s);
   }
}
