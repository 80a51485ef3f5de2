/* state_f8.c - what passes share that store states in one byte an element. */
#include "pass.h"

static bool fits(pass_site *s, const ir_type *t)
{
   if (t->dtype != DT_f32)
      return pass_decline(s, "it is stored in %s already", dtype_infos[t->dtype].name);
   return true;
}

void pass_states_to_f8(pass_run *run, uint64_t kinds)
{
   ir_op_foreach (pass_func(run), op) {
      pass_site *s;

      if (op->code != IR_OP_state || !(kinds >> op->results[0]->type.state & 1))
         continue;
      if (!(s = pass_site_open(run, op)) || !fits(s, &op->results[0]->type))
         continue;
      ir_retype(s->f, op->results[0], DT_f8e4m3);
      pass_fired(s);
   }
}
