/* moe_grouped.c - a mixture's matmuls with what stands behind them.
 *
 *    %g = moe_matmul %x, %o, %n, %wg          kernel {
 *    %u = moe_matmul %x, %o, %n, %wu            %g, %u, %a, %y
 *    %a = silu %g                       ->    }
 *    %y = mul %a, %u                          kernel {
 *    %d = moe_matmul %y, %o, %n, %wd            %d, %c
 *    %c = combine %d, %w                      }
 *
 * The first walks the gate and up panels of an expert in turns; the second adds each slot's result to its
 * token's row, experts ascending, as combine does. Saves three launches, and writing and reading
 * gate, up and down: T * K * (2 F + D) values. Declines when something else reads what stays inside, when gate
 * and up read different slots, and when one of them takes int8 and the other floats. Kills: taking the
 * activation of up; a second reader of the slots' results; gate and up of different permutations. */
#include "gate.h"

enum { GATE = PASS_GATE, UP = PASS_UP, ACT = PASS_ACT, DOWN = PASS_UP_BOUND + 1, WEIGHTS };

#define EXPERTS (IR_SET(moe_matmul) | IR_SET(moe_qmatmul))

static bool fits_gate(pass_site *s)
{
   const char *why = pass_other_inputs(s->match.cap[GATE]->def, s->match.cap[UP]->def);

   if (why)
      return pass_decline(s, "%s", why);
   return pass_is_inner(s, GATE) && pass_is_inner(s, UP) && pass_is_inner(s, ACT) &&
          pass_bounds_fit(s);
}

static bool fits_combine(pass_site *s)
{
   if (!s->target->has_combine)
      return pass_decline(s, "the target adds up the results of experts in a kernel of its own");
   return pass_is_inner(s, DOWN);
}

void pass_moe_grouped(pass_run *run)
{
   const ir_pat *gate =
      PAT(mul, SUBS(IR_SET(silu) | IR_SET(gelu_tanh), SUBS(EXPERTS, .as = GATE), .as = ACT),
          SUBS(EXPERTS, .as = UP));
   const ir_pat *bounded = PASS_BOUNDED_PAT(EXPERTS);
   const ir_pat *combine = PAT(combine, SUBS(EXPERTS, .as = DOWN), ANY(WEIGHTS));
   const pass_rule rules[] = {
      {gate, fits_gate, NULL}, {bounded, fits_gate, NULL}, {combine, fits_combine, NULL}};

   pass_apply(run, rules, countof(rules));
}
