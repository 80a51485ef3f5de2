/* launch_times.c - a row a launch, in plan order. */
#include "launch_times.h"

#include <stdlib.h>

static sinter_launch_time *of_variant(const rt_launch_times *t, const plan *p,
                                      const plan_variant *v)
{
   sinter_launch_time *first = t->launches;

   for (const plan_variant *before = p->variants; before < v; before++)
      first += before->num_launches;
   return first;
}

static void name_launches(const plan *p, const plan_variant *v, sinter_launch_time *times)
{
   for (uint32_t i = 0; i < v->num_launches; i++) {
      const plan_launch *l = &v->launches[i];
      plan_group none = {"", ""}, from = l->group < p->num_groups ? p->groups[l->group] : none;

      times[i] = (sinter_launch_time){.variant = v->name,
                                      .group = from.name,
                                      .rule = from.rule,
                                      .kernel = p->kernels[l->kernel].symbol};
   }
}

static sinter_status make(rt_launch_times *t, const plan *p)
{
   t->num_launches = 0;
   for (uint32_t i = 0; i < p->num_variants; i++)
      t->num_launches += p->variants[i].num_launches;
   t->launches = calloc(MAX(t->num_launches, 1), sizeof *t->launches);
   if (!t->launches)
      return base_fail(SINTER_out_of_memory, "launches", "", "no memory for their times");
   for (uint32_t i = 0; i < p->num_variants; i++)
      name_launches(p, &p->variants[i], of_variant(t, p, &p->variants[i]));
   return SINTER_ok;
}

sinter_status rt_launch_times_ask(rt_launch_times *t, const plan *p, int64_t steps)
{
   if (!t->launches)
      SINTER_TRY(make(t, p));
   if (t->steps < UINT64_MAX)
      t->steps = (uint64_t)steps; /* RT_TIMES_always is the largest number */
   return SINTER_ok;
}

void rt_launch_times_free(rt_launch_times *t)
{
   free(t->launches);
}

void rt_launch_times_add(rt_launch_times *t, const plan *p, const plan_variant *v, uint32_t launch,
                         const int64_t *syms, double seconds)
{
   sinter_launch_time *to = of_variant(t, p, v) + launch;

   to->bytes = (uint64_t)plan_extent_eval(&v->launches[launch].bytes, syms);
   to->ops = (uint64_t)plan_extent_eval(&v->launches[launch].flops, syms);
   to->best_seconds = to->runs ? MIN(to->best_seconds, seconds) : seconds;
   to->seconds += seconds;
   to->runs++;
}

void rt_launch_times_step(rt_launch_times *t)
{
   if (t->steps && t->steps < UINT64_MAX)
      t->steps--;
}
