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
#include "pass.h"

enum { GATE, UP, ACT, DOWN, WEIGHTS };

#define EXPERTS (IR_SET(moe_matmul) | IR_SET(moe_qmatmul))

static bool is_inner(pass_site *s, int cap)
{
   const ir_value *v = s->match.cap[cap];

   if (ir_only_user(v))
      return true;
   return pass_decline(s, "%s has a second reader", pass_label(s->f->a, v->def));
}

static bool fits_gate(pass_site *s)
{
   const ir_op *gate = s->match.cap[GATE]->def, *up = s->match.cap[UP]->def;

   if (gate == up)
      return pass_decline(s, "gate and up are one value");
   if (gate->code != up->code)
      return pass_decline(s, "one of gate and up takes int8, the other float");
   for (uint32_t i = 0; i + 1 < gate->num_operands; i++)
      if (gate->operands[i] != up->operands[i])
         return pass_decline(s, "gate and up read different inputs or slots");
   return is_inner(s, GATE) && is_inner(s, UP) && is_inner(s, ACT);
}

static bool fits_combine(pass_site *s)
{
   return is_inner(s, DOWN);
}

void pass_moe_grouped(pass_run *run)
{
   const ir_pat *gate =
      PAT(mul, SUBS(IR_SET(silu) | IR_SET(gelu_tanh), SUBS(EXPERTS, .as = GATE), .as = ACT),
          SUBS(EXPERTS, .as = UP));
   const ir_pat *combine = PAT(combine, SUBS(EXPERTS, .as = DOWN), ANY(WEIGHTS));
   const pass_rule rules[] = {{gate, fits_gate, NULL}, {combine, fits_combine, NULL}};

   pass_apply(run, rules, countof(rules));
}
