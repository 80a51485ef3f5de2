/* swap.h - what becomes of the keys and values of a request that gives way: kept aside in the
 * host's memory and put back, or thrown away and computed again, whichever takes less time.
 *
 * What is put back are the bytes that were there, so that an answer does not depend on the choice.
 * A model with states of whole sequences has the one behind its last token kept, too. Devices that
 * do not hand out pages (`ref`) always compute again. Thread: the engine. */
#ifndef RT_SWAP_H
#define RT_SWAP_H

#include "device.h"
#include "kv/host.h"
#include "request.h"
#include "step_cost.h"

typedef struct rt_swap {
   const plan *plan;
   const rt_device_ops *ops;
   rt_device *device;
   kv_host *host; /* NULL: nothing is kept */
   int64_t max_rows;
   double rate; /* bytes a second of copies */
   uint64_t swapped_out_tokens, swapped_in_tokens, spoilt;
   uint64_t preempted[SINTER_PREEMPT_COUNT];
} rt_swap;

/* tokens: how many may be kept, 0 none; no more than the pool has. Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_swap_init(rt_swap *w, const plan *p, const rt_device_ops *ops,
                                          const rt_limits *limits, uint64_t tokens);
void rt_swap_deinit(rt_swap *w);

/* Whether copying so many bytes away and back takes less than computing `stored` tokens again. */
bool rt_swap_pays(const rt_swap *w, const rt_step_cost *cost, int64_t stored, uint64_t bytes);

/* Keeps the pages of a running request that gives way, if that pays and there is room. */
void rt_swap_out(rt_swap *w, const rt_step_cost *cost, const kv_cache *cache, sinter_request *r);

/* Puts them back into a slot that kv_cache_begin has filled with what others know of the prompt. */
void rt_swap_in(rt_swap *w, kv_cache *cache, sinter_request *r);

/* Lets go of what is kept, if anything is. */
void rt_swap_drop(rt_swap *w, sinter_request *r);

#endif
