/* moe_grouped.c - a mixture's matmuls with what stands behind them.
 *
 *    %g = moe_matmul %x, %o, %n, %wg          kernel {
 *    %u = moe_matmul %x, %o, %n, %wu            %g, %u, %a, %y
 *    %a = silu %g                       ->    }
 *    %y = mul %a, %u                          kernel {
 *    %d = moe_matmul %y, %o, %n, %wd            %d, %c
 *    %c = combine %d, %w                      }
 *
 * The first walks the gate and up panels of an expert in turns; the second adds each slot's result
 * to its token's row, experts ascending, as combine does; with few rows a row kernel does so behind
 * it. Saves three launches (two with few rows), and writing and reading
 * gate, up and down: T * K * (2 F + D) values. Declines when something else reads what stays
 * inside, when gate and up read different slots, and when one of them takes int8 and the other
 * floats; the second also when a map of replicas (remap) has changed the order of a token's
 * experts. Kills: taking the activation of up; a second reader of the slots' results; gate and up
 * of different permutations. */
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

/* Experts are taken in the order of the permutation, a token's slots are added in their own. */
static bool slots_ascend(const ir_op *down)
{
   const ir_op *permute = down->operands[down->num_operands - 3]->def;

   return permute->code != IR_OP_permute || !pass_def(permute->operands[0], IR_OP_remap);
}

static bool fits_combine(pass_site *s)
{
   if (!s->target->has_combine)
      return pass_decline(s, "the target adds up the results of experts in a kernel of its own");
   if (!slots_ascend(s->match.cap[DOWN]->def))
      return pass_decline(s, "replicas stand in another order than a token's experts are added in");
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
