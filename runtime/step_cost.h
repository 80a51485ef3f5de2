/* step_cost.h - how long a step takes: what it always costs, what a row costs, and what each
 * position costs that the attention of a row sees. Learned from steps that read prompts, so that
 * the scheduler knows how much of a prompt fits a step: late pieces of a long prompt see more than
 * early ones, and are dearer.
 *
 *    seconds = level * (base + per_row * rows + per_seen * seen)
 *
 * The three are fitted to the latest steps, the level follows the machine from step to step. */
#ifndef RT_STEP_COST_H
#define RT_STEP_COST_H

#include "base/plan.h"

enum { RT_COST_STEPS = 64, RT_COST_PARTS = 3 };

typedef struct rt_work {
   double rows, seen; /* seen: positions, summed over rows, averaged over layers */
} rt_work;

typedef struct rt_step_cost {
   uint32_t num_kinds; /* of layers with a cache */
   struct {
      double share; /* of what a row reads when it sees no window */
      int64_t window;
   } kind[8];
   struct {
      rt_work work;
      double seconds;
   } steps[RT_COST_STEPS]; /* the latest, in a ring */
   uint64_t num_steps;
   double part[RT_COST_PARTS]; /* base, per_row, per_seen */
   double level;
} rt_step_cost;

void rt_step_cost_init(rt_step_cost *c, const plan *p);

/* The work of a sequence's rows at positions first … first + rows - 1. */
rt_work rt_step_cost_work(const rt_step_cost *c, int64_t first, int64_t rows);

void rt_step_cost_learn(rt_step_cost *c, rt_work work, double seconds);

/* 0 before anything was learned. */
double rt_step_cost_seconds(const rt_step_cost *c, rt_work work);

/* How many of the next `most` rows of a prompt, from position `first` on, a step can take that has
 * `planned` already and should not take longer than `seconds`: at least `least`. */
int64_t rt_step_cost_rows(const rt_step_cost *c, rt_work planned, int64_t first, int64_t least,
                          int64_t most, double seconds);

#endif
