/* turns.h - one pool of threads for the engines of a process that share it: a step each, in order
 * of arrival. Thread: any. */
#ifndef RT_TURNS_H
#define RT_TURNS_H

#include "threads.h"

/* The shared pool, made by the first who asks, with as many threads as it asked for; later ones
 * take it as it is. Errors as rt_pool_create. */
SINTER_CHECKED sinter_status rt_shared_pool(uint32_t threads, rt_pool **out);

/* The last one to drop it ends its threads. */
void rt_shared_pool_drop(void);

/* Between these nobody else runs on the shared pool. Who has waited longest is next. */
void rt_turn_take(void);
void rt_turn_give(void);

#endif
