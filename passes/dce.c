/* dce.c - removes what nobody reads.
 *
 * From the last op to the first, so that a whole dead chain goes in one walk. Keeps inputs of the
 * function and ops with an effect: they are what the caller sees. Kills: removing a kv_write
 * because its result is unused. */
#include "pass.h"

static bool is_dead(const ir_op *op)
{
   if (op->code == IR_OP_param || ir_op_infos[op->code].props & IR_MUTATES)
      return false;
   for (uint32_t i = 0; i < op->num_results; i++)
      if (ir_use_count(op->results[i]))
         return false;
   return true;
}

void pass_dce(pass_run *run)
{
   ir_func *f = pass_func(run);

   for (ir_op *op = f->last, *prev; op; op = prev) {
      pass_site *s;

      prev = op->prev;
      if (!is_dead(op) || !(s = pass_site_open(run, op)))
         continue;
      ir_erase(f, op);
      pass_fired(s);
   }
}
