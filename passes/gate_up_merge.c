/* gate_up_merge.c - one launch for the two projections of a gated feed-forward.
 *
 *    %g = matmul %x, %wg          kernel {
 *    %u = matmul %x, %wu    ->      %g, %u of one input
 *                                 }
 *
 * Saves one launch and one read of %x, and lets act_mul follow. Declines when gate and up read
 * different inputs. Kills: merging matmuls of different inputs. */
#include "gate.h"

static bool fits(pass_site *s)
{
   const char *why = pass_other_inputs(s->match.cap[PASS_GATE]->def, s->match.cap[PASS_UP]->def);

   if (why)
      return pass_decline(s, "%s", why);
   if (s->target->max_parts < 2)
      return pass_decline(s, "the target's kernels have one part");
   return true;
}

/* The site claims the two matmuls only: activation and product are act_mul's. */
void pass_gate_up_merge(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_match m = {0};
      pass_site *s;

      if (!pass_match_gate(run, op, &m) || !(s = pass_site_open(run, op)))
         continue;
      s->match = m;
      if (!fits(s))
         continue;
      pass_own(s, m.cap[PASS_GATE]->def);
      pass_own(s, m.cap[PASS_UP]->def);
      pass_propose(s);
   }
}
