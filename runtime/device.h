/* device.h - what a device does for the engine; one table per device.
 *
 * The engine fills the step block and the meta arrays, then calls run. Memory that the engine reads
 * or writes (meta, logits) is host memory for cpu, ref and null. */
#ifndef RT_DEVICE_H
#define RT_DEVICE_H

#include "base/plan.h"

enum { RT_MAX_FIELDS = 24 }; /* rows of meta.def, at most */

typedef struct rt_device rt_device;
typedef struct rt_artifact rt_artifact;

/* Sizes the engine decided, fixed for its life. */
typedef struct rt_limits {
   int64_t max_rows, max_wanted, max_sequences; /* T, R, S */
   int64_t max_positions;                       /* of one sequence */
   int64_t pages[8];                            /* per cache group */
   uint32_t threads;
   bool time_launches;
   bool share_threads; /* with other engines of the process (turns.h) */
   bool tower;         /* the plan of the vision tower, not of the model */
} rt_limits;

typedef struct rt_sampler rt_sampler;

/* Picks a token from a row of logits by more than its draw says: penalties, a grammar. Of the rows
 * that have no such token `fn` does nothing. Thread: any; rows are independent. fn NULL: there are
 * no such rows. */
typedef struct rt_host_pick {
   void (*fn)(void *user, rt_sampler *s, const float *logits, uint32_t row);
   void *user;
} rt_host_pick;

typedef struct rt_step {
   sinter_step_block block;
   /* host arrays by meta.def row and instance; filled by the engine, fixed addresses */
   void *meta[RT_MAX_FIELDS][8];
   /* per sequence slot, for devices with contiguous state (ref): tokens already stored */
   const int64_t *stored;
   /* run may call it once for every row whose draw is DRAW_host, on threads that would wait */
   rt_host_pick pick;
} rt_step;

typedef struct rt_device_ops {
   const char *name;
   /* State is one array per sequence slot (step->stored says how much of it counts), not pages: the
    * engine then shares nothing between sequences and copy_page is not called. */
   bool contiguous;
   /* Loads kernels and weights, allocates arena, scratch and KV pages. step stays valid until
    * close. */
   SINTER_CHECKED sinter_status (*open)(const rt_artifact *artifact, const rt_limits *limits,
                                        rt_step *step, rt_device **out);
   void (*close)(rt_device *d);
   /* Runs one step as the step block says; logits f32[R, V] are readable at *out_logits until the
    * next run. */
   SINTER_CHECKED sinter_status (*run)(rt_device *d, const float **out_logits);
   /* Tokens i32[R] that run picks of the wanted rows whose draw (meta.def: picks) is not DRAW_host,
    * below 0 where logits are not finite; of these rows logits do not come back. NULL, and where it
    * is: the device has no sampler. */
   const int32_t *(*picks)(const rt_device *d);
   /* Expert ids i32[T][k] that the last step computed for plan.routes[index]. */
   const int32_t *(*routes)(const rt_device *d, uint32_t index);
   /* Copies one page of a cache group, all layers (copy-on-write). */
   void (*copy_page)(rt_device *d, uint32_t group, int32_t from, int32_t to);
   /* Takes memory for the first `pages` pages of a cache group, or as many as there is memory for;
    * returns how many can be used. NULL: all can from the start. */
   int64_t (*grow)(rt_device *d, uint32_t group, int64_t pages);
   /* One page of a cache group, all layers one after the other, to and from the host's memory.
    * NULL: pages stay where they are. */
   void (*read_page)(rt_device *d, uint32_t group, int32_t page, uint8_t *to);
   void (*write_page)(rt_device *d, uint32_t group, int32_t page, uint8_t *from);
   /* Fills a freed page with NaN, so that a stale read shows (SINTER_DEBUG=poison). May be NULL. */
   void (*poison_page)(rt_device *d, uint32_t group, int32_t page);
   /* As sinter_post. NULL: no thread of the device ever waits. */
   bool (*post)(rt_device *d, void (*fn)(void *user), void *user);
   /* Adds the device's counters to the stats: launches, segments, graphs, weight_bytes_read,
    * ops. */
   void (*stats)(const rt_device *d, sinter_stats *out);
   /* As sinter_engine_time_steps, and sinter_engine_launches. NULL: a device without launches. */
   SINTER_CHECKED sinter_status (*time_steps)(rt_device *d, uint32_t steps);
   uint32_t (*launches)(const rt_device *d, const sinter_launch_time **out);
} rt_device_ops;

extern const rt_device_ops rt_cpu_device, rt_null_device;

/* The device of that name; NULL: "cpu". Opens the compiler library for devices that live there.
 * Errors USAGE with the names there are. */
SINTER_CHECKED sinter_status rt_device_find(const char *name, const rt_device_ops **out);

#endif
