/* plan_check.h - whether a decoded plan is safe to run. */
#ifndef BASE_PLAN_CHECK_H
#define BASE_PLAN_CHECK_H

#include "plan.h"

enum {
   PLAN_MAX_INSTANCES = 8,       /* cache groups, rope tables: instances of one meta field */
   PLAN_MAX_POSITIONS = 1 << 24, /* of one sequence, which bounds the symbols C and B */
};

/* Why a plan cannot run, NULL when it can: every index is inside its table, every offset inside its
 * memory, no extent overflows for any step the engine may make, weights fill no more than
 * weight_section bytes. */
const char *plan_check(const plan *p, uint64_t weight_section);

#endif
