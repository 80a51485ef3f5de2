/* gpu_clock.h - times of launches on a GPU: an event in front of the first, one behind each.
 *
 * Events are taken when somebody asks, not in a step. A launch takes from the event before it to
 * its own: where the GPU waits for the host, that is in it. */
#ifndef RT_GPU_CLOCK_H
#define RT_GPU_CLOCK_H

#include "gpu.h"
#include "launch_times.h"

typedef struct rt_gpu_clock {
   const rt_gpu_ops *ops;
   rt_gpu *gpu;
   const plan *plan;
   rt_launch_times times;
   void **events;
   uint32_t num_events;
   const plan_variant *timed; /* by the step under way; NULL: none */
} rt_gpu_clock;

/* As rt_launch_times_ask; also errors of the driver. */
SINTER_CHECKED sinter_status rt_gpu_clock_ask(rt_gpu_clock *c, int64_t steps);
void rt_gpu_clock_free(rt_gpu_clock *c);

/* Marks the beginning of a step of the variant, and what comes behind its launch. */
SINTER_CHECKED sinter_status rt_gpu_clock_begin(rt_gpu_clock *c, const plan_variant *v);
SINTER_CHECKED sinter_status rt_gpu_clock_mark(rt_gpu_clock *c, uint32_t launch);

/* Once a step of these symbols was waited for: keeps the times of its launches, if it was timed. */
SINTER_CHECKED sinter_status rt_gpu_clock_read(rt_gpu_clock *c, const int64_t *syms);

#endif
