/* gate.h - the gated feed-forward pattern that gate_up_merge and act_mul share.
 *
 *    %g = matmul %x, %wg;  %u = matmul %x, %wu;  %a = silu|gelu_tanh %g;  %y = mul %a, %u */
#ifndef PASS_GATE_H
#define PASS_GATE_H

#include "pass.h"

enum { PASS_GATE, PASS_UP, PASS_ACT, PASS_GATED };

#define PASS_MATMULS (IR_SET(matmul) | IR_SET(qmatmul))
#define PASS_GATE_PAT                                                                              \
   PAT(                                                                                            \
      mul,                                                                                         \
      SUBS(IR_SET(silu) | IR_SET(gelu_tanh), SUBS(PASS_MATMULS, .as = PASS_GATE), .as = PASS_ACT), \
      SUBS(PASS_MATMULS, .as = PASS_UP), .as = PASS_GATED)

#endif
