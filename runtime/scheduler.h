/* scheduler.h - which rows the next step has.
 *
 *    waiting (by priority, then arrival) ──admit when its pages fit──▶ running ──▶ done
 *        ▲                                                               │
 *        └──────── preempted: pages kept aside, or computed again ───────┘
 *
 * A step takes every running sequence that has one token to go (decode), then pieces of prompts in
 * the same order, then new requests, until rows, wanted rows or attention tiles are used up. Where
 * there is a bound on the time of steps, those that have tokens for others read only as much of
 * prompts as should keep it. When pages run out, the last running request in the order gives way;
 * to one of a higher priority that waits, also when slots do. */
#ifndef RT_SCHEDULER_H
#define RT_SCHEDULER_H

#include "swap.h"

/* Rows of one request: positions first .. first + rows - 1; the last `wanted` want logits, the last
 * `drafted` are of tokens that are only guessed. */
typedef struct rt_item {
   sinter_request *request;
   int64_t first;
   uint32_t rows, wanted, drafted;
} rt_item;

typedef struct rt_bounds {
   uint32_t max_sequences;
   uint32_t max_rows, max_wanted, max_tiles; /* of a step */
} rt_bounds;

typedef struct rt_scheduler {
   rt_bounds bounds;
   kv_cache *cache;
   uint64_t arrivals, steps;
   uint32_t num_running;
   sinter_request **running; /* in the order */
   sinter_request *first_waiting, *last_waiting;
   sinter_request *blocked; /* does not fit before a running request leaves */
   uint32_t num_free;
   uint32_t *free_slots;
   uint32_t turn;     /* where decode begins when not all fit a step */
   double max_step;   /* seconds of a step that has tokens for others, 0: no bound */
   rt_step_cost cost; /* what steps take */
   rt_swap swap;      /* what becomes of those that give way */
   /* of the step being planned */
   uint32_t num_items, rows_left, wanted_left, tiles_left;
   rt_work work;       /* so far */
   uint32_t read_rows; /* of prompts, so far */
   double share_until; /* seconds that one prompt may take the step to, 0: no bound */
   double until;       /* the same for all of them */
   rt_item *items;
   uint64_t hit_tokens;
} rt_scheduler;

/* Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_scheduler_init(rt_scheduler *s, const rt_bounds *bounds,
                                               kv_cache *cache);
void rt_scheduler_deinit(rt_scheduler *s);

void rt_scheduler_add(rt_scheduler *s, sinter_request *r);

/* Takes a waiting or running request out. */
void rt_scheduler_remove(rt_scheduler *s, sinter_request *r);

/* How many guessed rows each running request may have in the next step: none while prompts wait for
 * rows. */
uint32_t rt_scheduler_spare(const rt_scheduler *s);

/* Fills items. Returns a request that can never go on because the pools are too small for it, NULL
 * when there is none. */
sinter_request *rt_scheduler_plan(rt_scheduler *s);

#endif
