/* swap.c - pages between the device and the host's memory, group by group, block by block. */
#include "swap.h"

#include "base/clock.h"

static bool is_state(const plan *p, uint32_t g)
{
   return !plan_state_paged[p->cache_groups[g].kind];
}

/* Bytes of a page in all layers of its group. */
static uint64_t page_bytes(const plan *p, uint32_t g)
{
   return plan_page_bytes(&p->cache_groups[g]) * p->cache_groups[g].num_layers;
}

sinter_status rt_swap_init(rt_swap *w, const plan *p, const rt_device_ops *ops,
                           const rt_limits *limits, uint64_t tokens)
{
   enum { FIRST_RATE = 1000000000 };
   uint64_t bytes = 0, blocks;

   *w = (rt_swap){.plan = p, .ops = ops, .max_rows = limits->max_rows, .rate = FIRST_RATE};
   tokens = MIN(tokens, (uint64_t)limits->max_positions);
   blocks = (tokens + PAGE_TOKENS - 1) / PAGE_TOKENS;
   for (uint32_t g = 0; g < p->num_cache_groups; g++)
      bytes += page_bytes(p, g) * (is_state(p, g) ? (uint64_t)limits->max_sequences : blocks);
   if (!blocks || !bytes || !ops->read_page || !ops->write_page)
      return SINTER_ok;
   /* Two extents a sequence: those that wait may be more than those that run. */
   return kv_host_create(bytes, 2 * (uint32_t)limits->max_sequences, &w->host);
}

void rt_swap_deinit(rt_swap *w)
{
   kv_host_destroy(w->host);
   w->host = NULL;
}

bool rt_swap_pays(const rt_swap *w, const rt_step_cost *cost, int64_t stored, uint64_t bytes)
{
   double again = 0;

   for (int64_t at = 0; at < stored; at += w->max_rows)
      again +=
         rt_step_cost_seconds(cost, rt_step_cost_work(cost, at, MIN(stored - at, w->max_rows)));
   return 2 * (double)bytes / w->rate < again;
}

static void learn_rate(rt_swap *w, uint64_t bytes, double seconds)
{
   if (seconds > 0)
      w->rate = 0.8 * w->rate + 0.2 * (double)bytes / seconds;
}

/* Calls move for every page that is kept, in the order in which they lie in the extent; from block
 * `first` on. */
static void each_page(rt_swap *w, const kv_cache *cache, const sinter_request *r, int64_t first,
                      void (*move)(rt_device *d, uint32_t group, int32_t page, uint8_t *at))
{
   const rt_kept *k = &r->kept;
   uint8_t *at = kv_host_data(w->host, &k->extent);

   for (uint32_t g = 0; g < w->plan->num_cache_groups; g++) {
      const int32_t *row = kv_cache_row(cache, &r->kv, g);
      if (is_state(w->plan, g)) {
         move(w->device, g, r->kv.state[g].from, at);
         at += page_bytes(w->plan, g);
         continue;
      }
      for (int64_t b = k->first_block[g]; b < k->end_block[g]; b++) {
         if (b >= first && row[b] >= 0) /* a window may have moved on */
            move(w->device, g, row[b], at);
         at += page_bytes(w->plan, g);
      }
   }
}

/* What of a request is kept: its written blocks, and its states. Returns the bytes. */
static uint64_t choose_pages(const rt_swap *w, sinter_request *r)
{
   int64_t blocks = (r->kv.stored + PAGE_TOKENS - 1) / PAGE_TOKENS;
   rt_kept *k = &r->kept;
   uint64_t bytes = 0;

   for (uint32_t g = 0; g < w->plan->num_cache_groups; g++) {
      k->end_block[g] = is_state(w->plan, g) ? 1 : MIN(r->kv.end_block[g], blocks);
      k->first_block[g] = MIN(r->kv.first_block[g], k->end_block[g]);
      bytes += page_bytes(w->plan, g) * (uint64_t)(k->end_block[g] - k->first_block[g]);
   }
   return bytes;
}

/* Takes room for the request's pages, if that pays; else the reason. */
static sinter_preempt choose(rt_swap *w, const rt_step_cost *cost, sinter_request *r,
                             uint64_t bytes)
{
   if (!rt_swap_pays(w, cost, r->kv.stored, bytes))
      return SINTER_PREEMPT_recomputed;
   return kv_host_take(w->host, bytes, &r->kept.extent) ? SINTER_PREEMPT_swapped
                                                        : SINTER_PREEMPT_no_room;
}

void rt_swap_out(rt_swap *w, const rt_step_cost *cost, const kv_cache *cache, sinter_request *r)
{
   rt_kept *k = &r->kept;

   if (!w->host) {
      w->preempted[SINTER_PREEMPT_off]++;
      return;
   }
   rt_swap_drop(w, r);
   uint64_t bytes = choose_pages(w, r);
   sinter_preempt way = choose(w, cost, r, bytes);
   w->preempted[way]++;
   if (way != SINTER_PREEMPT_swapped)
      return;
   double begin = clock_now();
   each_page(w, cache, r, 0, w->ops->read_page);
   kv_host_seal(w->host, &k->extent);
   learn_rate(w, bytes, clock_now() - begin);
   k->stored = r->kv.stored;
   w->swapped_out_tokens += (uint64_t)k->stored;
}

void rt_swap_in(rt_swap *w, kv_cache *cache, sinter_request *r)
{
   rt_kept *k = &r->kept;
   int64_t known = r->kv.stored;

   if (!k->extent.bytes)
      return;
   if (!kv_host_is_whole(w->host, &k->extent)) {
      w->spoilt++;
   } else if (k->stored > known && kv_cache_restore(cache, &r->kv, k->stored)) {
      double begin = clock_now();
      each_page(w, cache, r, known / PAGE_TOKENS, w->ops->write_page);
      learn_rate(w, k->extent.bytes, clock_now() - begin);
      w->swapped_in_tokens += (uint64_t)(k->stored - known);
   }
   rt_swap_drop(w, r);
}

void rt_swap_drop(rt_swap *w, sinter_request *r)
{
   if (r->kept.extent.bytes)
      kv_host_give(w->host, &r->kept.extent);
}
