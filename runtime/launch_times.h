/* launch_times.h - what every launch of a plan took, whoever runs and times them. */
#ifndef RT_LAUNCH_TIMES_H
#define RT_LAUNCH_TIMES_H

#include "base/plan.h"

typedef struct rt_launch_times {
   sinter_launch_time *launches; /* of all variants, one behind the other; NULL: nobody asked yet */
   uint32_t num_launches;
   uint64_t steps; /* to come, whose launches run alone and are timed */
} rt_launch_times;

enum { RT_TIMES_always = -1 };

/* As sinter_engine_time_steps; RT_TIMES_always: of all steps, whatever is asked later. Errors
 * OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_launch_times_ask(rt_launch_times *t, const plan *p, int64_t steps);
void rt_launch_times_free(rt_launch_times *t);

/* One run of a launch of a variant of the plan, in a step of these symbols. */
void rt_launch_times_add(rt_launch_times *t, const plan *p, const plan_variant *v, uint32_t launch,
                         const int64_t *syms, double seconds);
/* A step has run. */
void rt_launch_times_step(rt_launch_times *t);

#endif
