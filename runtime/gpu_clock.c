/* gpu_clock.c - events of a step, and what lies between them. */
#include "gpu_clock.h"

#include <stdlib.h>

static sinter_status make_events(rt_gpu_clock *c)
{
   uint32_t longest = 0;

   for (uint32_t i = 0; i < c->plan->num_variants; i++)
      longest = MAX(longest, c->plan->variants[i].num_launches);
   if (!c->events)
      c->events = calloc(longest + 1, sizeof *c->events);
   if (!c->events)
      return base_fail(SINTER_out_of_memory, "launches", "", "no memory for their events");
   while (c->num_events <= longest) {
      SINTER_TRY(c->ops->event_create(c->gpu, &c->events[c->num_events]));
      c->num_events++;
   }
   return SINTER_ok;
}

sinter_status rt_gpu_clock_ask(rt_gpu_clock *c, int64_t steps)
{
   SINTER_TRY(make_events(c));
   return rt_launch_times_ask(&c->times, c->plan, steps);
}

void rt_gpu_clock_free(rt_gpu_clock *c)
{
   for (uint32_t i = 0; i < c->num_events; i++)
      c->ops->event_destroy(c->gpu, c->events[i]);
   free(c->events);
   rt_launch_times_free(&c->times);
}

sinter_status rt_gpu_clock_begin(rt_gpu_clock *c, const plan_variant *v)
{
   c->timed = v;
   return c->ops->event_record(c->gpu, c->events[0]);
}

sinter_status rt_gpu_clock_mark(rt_gpu_clock *c, uint32_t launch)
{
   return c->ops->event_record(c->gpu, c->events[launch + 1]);
}

sinter_status rt_gpu_clock_read(rt_gpu_clock *c, const int64_t *syms)
{
   const plan_variant *v = c->timed;
   double seconds;

   c->timed = NULL;
   for (uint32_t i = 0; v && i < v->num_launches; i++) {
      if (plan_extent_eval(&v->launches[i].tiles, syms) <= 0)
         continue;
      SINTER_TRY(c->ops->event_elapsed(c->gpu, c->events[i], c->events[i + 1], &seconds));
      rt_launch_times_add(&c->times, c->plan, v, i, syms, seconds);
   }
   rt_launch_times_step(&c->times);
   return SINTER_ok;
}
