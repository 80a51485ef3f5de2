/* threads.h - a pool of threads that walk a list of phases together.
 *
 *    caller   ──run──▶ phase 0 │ phase 1 │ … │ last ──▶ back          │ = barrier
 *    worker 1 ········▶ phase 0 │ phase 1 │ … │ last ┄┄▶ spin, then park
 *
 * The caller is worker 0. The tiles of a phase are split into one contiguous range a thread; a
 * thread that is done takes what is left of the others' ranges. Which thread runs a tile never
 * changes its result. Nothing is allocated after rt_pool_create. */
#ifndef RT_THREADS_H
#define RT_THREADS_H

#include "base/base.h"
#include "base/kargs.h"

enum { RT_MAX_THREADS = 256 };

enum { RT_STREAMS = 2 };

/* Memory that a task reads from front to back, so many bytes a tile; 0: none. */
typedef struct rt_stream {
   const uint8_t *start;
   uint64_t tile_bytes;
} rt_stream;

/* One launch of a phase: tiles first .. first + tiles of the phase's numbering. tiles is not 0. A
 * thread that waits for others fetches the start of the streams it will read next. */
typedef struct rt_task {
   sinter_kernel *kernel;
   const sinter_kargs *args;
   uint32_t first, tiles;
   rt_stream streams[RT_STREAMS];
} rt_task;

/* Tasks without a barrier between them. tiles: the sum over tasks, not 0. */
typedef struct rt_phase {
   const rt_task *tasks;
   uint32_t tiles;
} rt_phase;

typedef struct rt_pool rt_pool;

/* Cores that this process may use, at least 1. */
uint32_t rt_cores(void);

/* Starts threads - 1 workers. With more threads than cores none spins when it waits.
 *
 *   threads   1 .. RT_MAX_THREADS; 0: one per core
 *
 * Errors  OUT_OF_MEMORY, FAILED when a thread cannot be started. */
SINTER_CHECKED sinter_status rt_pool_create(uint32_t threads, rt_pool **out);
void rt_pool_destroy(rt_pool *p);

uint32_t rt_pool_threads(const rt_pool *p);

/* Runs the phases in order and returns when the last tile is done. The phases must not change
 * meanwhile. */
void rt_pool_run(rt_pool *p, const rt_phase *phases, uint32_t num_phases);

/* Has a worker that spins between two phases, or behind a run, call fn(user), once. False, and
 * nothing is called, when no worker can be sure to see it soon; a call before it that none has seen
 * is made then. Thread: any. */
bool rt_pool_post(rt_pool *p, void (*fn)(void *user), void *user);

/* How often a thread that waited gave its core to one that had lost its own. */
uint64_t rt_pool_trades(const rt_pool *p);

#endif
