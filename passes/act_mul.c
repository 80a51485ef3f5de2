/* act_mul.c - activation and product where gate and up are computed.
 *
 *    kernel { %g, %u }            kernel {
 *    %a = silu %g                   %g, %u
 *    %y = mul %a, %u        ->      %a = silu %g
 *                                   %y = mul %a, %u }
 *
 * Bounds come along (gate.h). Saves writing and reading gate and up, 4 * T * F values. Declines
 * when gate, up or the activation has a second reader, other bounds, and when gate and up are not
 * one kernel. A quant behind it is act_quant's. Kills: taking the activation of up instead of gate;
 * a bound of the wrong factor. */
#include "gate.h"

static bool fits(pass_site *s)
{
   return pass_is_inner(s, PASS_GATE) && pass_is_inner(s, PASS_UP) && pass_is_inner(s, PASS_ACT) &&
          pass_bounds_fit(s);
}

/* Runs when gate_up_merge has been carried out. */
static bool merged(pass_site *s)
{
   const ir_group *g = s->match.cap[PASS_GATE]->def->group;

   if (g && g == s->match.cap[PASS_UP]->def->group)
      return true;
   return pass_decline(s, "gate and up are not one kernel");
}

void pass_act_mul(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_match m = {0};
      pass_site *s;

      if (!pass_match_gate(run, op, &m) || !(s = pass_site_open(run, op)))
         continue;
      s->match = m;
      if (!fits(s))
         continue;
      pass_host(s, m.cap[PASS_GATE]->def);
      pass_host(s, m.cap[PASS_UP]->def);
      if (m.cap[PASS_GATE_BOUND]) {
         pass_own(s, m.cap[PASS_GATE_BOUND]->def);
         pass_own(s, m.cap[PASS_UP_BOUND]->def);
      }
      pass_own(s, m.cap[PASS_ACT]->def);
      pass_own(s, op);
      s->ready = merged;
      pass_propose(s);
   }
}
