/* segment.h - a plan's launches, bound to memory and ready to run.
 *
 *    variant ─ segment ─ segment ─ …
 *      recorded   the launch list goes to the pool as a whole: one start, a barrier a phase
 *      eager      launch by launch: what broke it out may look at the host between two launches
 *
 * Binding happens once; a step evaluates extents, or runs the last step's list again when their
 * symbols are the same. What differs from step to step is read by the kernels from the step block
 * and the meta arrays, so a list recorded at one length is right at every other. */
#ifndef RT_SEGMENT_H
#define RT_SEGMENT_H

#include "device.h"
#include "threads.h"

/* Where a plan's memory lies. */
typedef struct rt_memory {
   uint8_t *arena, *scratch;
   const uint8_t *weights;
   float *logits;
   int32_t **routes;   /* by plan.routes: i32[T][k] */
   uint8_t **state[8]; /* by cache group, by layer */
   rt_step *step;
} rt_memory;

/* The code of kernel `index` of the plan; NULL when there is none. */
typedef sinter_kernel *rt_find_kernel(void *user, uint32_t index);

typedef struct rt_program rt_program;

/* What was run since the start. */
typedef struct rt_counters {
   uint64_t launches, segments, graphs, bytes, ops, byte_ops;
} rt_counters;

/* Binds the launches of every variant. With times_launches every launch runs alone, between two
 * looks at the clock. Errors BAD_INPUT: a kernel is missing; OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_program_create(const plan *p, const rt_memory *m,
                                               rt_find_kernel *find, void *user,
                                               bool times_launches, rt_program **out);
void rt_program_destroy(rt_program *g);

/* Runs the step that the step block describes. Errors BAD_INPUT when no variant takes its rows. */
SINTER_CHECKED sinter_status rt_program_run(rt_program *g, rt_pool *pool);

const rt_counters *rt_program_counters(const rt_program *g);

/* As sinter_engine_time_steps. Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_program_time_steps(rt_program *g, uint32_t steps);

/* As sinter_engine_launches. */
uint32_t rt_program_launches(const rt_program *g, const sinter_launch_time **out);

#endif
