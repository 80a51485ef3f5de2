/* limits.h - how large an engine is: what was asked, what the plan takes, what memory allows. */
#ifndef RT_LIMITS_H
#define RT_LIMITS_H

#include "device.h"

/* Errors USAGE when an option exceeds the plan, BAD_INPUT when the plan makes no step possible. */
SINTER_CHECKED sinter_status rt_limits_decide(const plan *p, const sinter_engine_options *o,
                                              rt_limits *out);

/* Bytes of k and v of one token over all layers. */
uint64_t rt_limits_token_bytes(const plan *p);

/* Bytes of the states of one sequence that do not grow with its tokens, over all layers. */
uint64_t rt_limits_state_bytes(const plan *p);

#endif
