/* gate.h - the gated feed-forward pattern that gate_up_merge and act_mul share.
 *
 *    %g = matmul %x, %wg;  %u = matmul %x, %wu;  %a = silu|gelu_tanh %g;  %y = mul %a, %u
 *
 * and the same with bounds: %g no larger than a number, %u between two of one size. */
#ifndef PASS_GATE_H
#define PASS_GATE_H

#include "pass.h"

enum { PASS_GATE, PASS_UP, PASS_ACT, PASS_GATED, PASS_GATE_BOUND, PASS_UP_BOUND };

#define PASS_MATMULS (IR_SET(matmul) | IR_SET(qmatmul))
#define PASS_GATE_PAT                                                                              \
   PAT(                                                                                            \
      mul,                                                                                         \
      SUBS(IR_SET(silu) | IR_SET(gelu_tanh), SUBS(PASS_MATMULS, .as = PASS_GATE), .as = PASS_ACT), \
      SUBS(PASS_MATMULS, .as = PASS_UP), .as = PASS_GATED)

/* The same with matmuls of that set, bounded on their way. */
#define PASS_BOUNDED_PAT(set)                                                                      \
   PAT(mul,                                                                                        \
       SUBS(IR_SET(silu) | IR_SET(gelu_tanh),                                                      \
            SUB(clamp, SUBS(set, .as = PASS_GATE), .as = PASS_GATE_BOUND), .as = PASS_ACT),        \
       SUB(clamp, SUBS(set, .as = PASS_UP), .as = PASS_UP_BOUND), .as = PASS_GATED)

/* Whether the gate has no lower bound, and the other one two of one size: what kernels can carry
 * out. */
static inline bool pass_bounds_fit(pass_site *s)
{
   const ir_value *gate = s->match.cap[PASS_GATE_BOUND], *up = s->match.cap[PASS_UP_BOUND];

   if (!gate)
      return true;
   if (ir_attr_get(gate->def, IR_ATTR_min) || !ir_attr_get(gate->def, IR_ATTR_max))
      return pass_decline(s, "the gate has a lower bound");
   if (!ir_attr_get(up->def, IR_ATTR_min) || !ir_attr_get(up->def, IR_ATTR_max) ||
       ir_attr_f(up->def, IR_ATTR_min, 0) != -ir_attr_f(up->def, IR_ATTR_max, 0))
      return pass_decline(s, "the bounds of the other factor are not of one size");
   if (!ir_only_user(gate) || !ir_only_user(up))
      return pass_decline(s, "a bounded value has a second reader");
   return true;
}

/* The pattern at op, bounded or not. */
static inline bool pass_match_gate(pass_run *run, ir_op *op, ir_match *out)
{
   const ir_pat *bounded = PASS_BOUNDED_PAT(PASS_MATMULS), *plain = PASS_GATE_PAT;

   return ir_match_op(bounded, op, out) || pass_match(run, plain, op, out);
}

#endif
