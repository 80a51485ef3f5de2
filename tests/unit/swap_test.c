// LINK: runtime base
/* swap_test.c - pages of requests that give way: when they are kept aside, where, and what is done
 * with ones that were spoilt there. */
#include <criterion/criterion.h>

#include "engine_toy.h"
#include "runtime/swap.h"

/* Kills: extents that overlap, room that is lost when it is given back. */
Test(swap, extents_are_apart_and_come_back)
{
   kv_extent all[9] = {{0}};
   kv_host *h;

   cr_assert(kv_host_create(8 * 4096, 8, &h) == SINTER_ok);
   for (int i = 0; i < 8; i++) {
      cr_assert(kv_host_take(h, 4000, &all[i]));
      memset(kv_host_data(h, &all[i]), i + 1, 4000);
      kv_host_seal(h, &all[i]);
   }
   cr_assert(!kv_host_take(h, 1, &all[8]), "there is no room");
   for (int i = 0; i < 8; i++)
      cr_assert(kv_host_is_whole(h, &all[i]));
   kv_host_give(h, &all[2]);
   kv_host_give(h, &all[3]);
   kv_host_give(h, &all[6]);
   cr_assert(!kv_host_take(h, 3 * 4096, &all[8]), "the room is in two places");
   cr_assert(kv_host_take(h, 2 * 4096, &all[8]) && all[8].offset == 2 * 4096);
   cr_assert(kv_host_data(h, &all[8])[0] == 0, "memory that was given back is cut out");
   for (int i = 0; i < 8; i++)
      cr_assert(!all[i].bytes || kv_host_is_whole(h, &all[i]));
   kv_host_data(h, &all[0])[3999] ^= 1;
   cr_assert(!kv_host_is_whole(h, &all[0]));
   kv_host_destroy(h);
}

/* Kills: a choice that looks at one side only. 100 tokens a millisecond are computed, and a
 * gigabyte a second copied. */
Test(swap, the_cheaper_way_is_taken)
{
   rt_swap w = {.max_rows = 64, .rate = 1e9};
   rt_step_cost c;

   rt_step_cost_init(&c, &toy_plan);
   cr_assert(!rt_swap_pays(&w, &c, 500, 1), "nothing is known of the cost of steps");
   for (int i = 1; i <= 20; i++)
      rt_step_cost_learn(&c, rt_step_cost_work(&c, 0, i), i * 1e-5);
   cr_assert(rt_swap_pays(&w, &c, 500, 2000000), "4 ms of copies for 5 ms of steps");
   cr_assert(!rt_swap_pays(&w, &c, 500, 3000000), "6 ms of copies for 5 ms of steps");
   cr_assert(rt_swap_pays(&w, &c, 5000, 3000000), "6 ms of copies for 50 ms of steps");
}

static uint8_t *last_kept;

static void remember(rt_device *d, uint32_t g, int32_t page, uint8_t *to)
{
   toy_read_page(d, g, page, to);
   last_kept = to;
}

static int32_t got[2][60];
static uint32_t num_got[2];

static void on_token(void *user, sinter_request *r, const sinter_token *t)
{
   uint32_t i = (uint32_t)(uintptr_t)user;

   (void)r;
   if (t->id >= 0)
      got[i][num_got[i]++] = t->id;
}

/* Two requests that do not fit together; spoils a byte of what the first one that gives way
 * keeps. */
static uint64_t run_two(bool spoil)
{
   static int32_t prompt[2][20], want[60];
   rt_device_ops ops = toy_device;
   float logprobs[60];
   sinter_request *r[2];
   bool busy = true;

   ops.read_page = remember;
   toy_ops = &ops;
   last_kept = NULL;
   sinter_engine *e = toy_engine(
      (sinter_engine_options){.kv_tokens = 96, .host_kv_tokens = 96, .no_prefix_cache = true});
   for (uint32_t i = 0; i < 2; i++) {
      sinter_request_options o = {.size = sizeof o,
                                  .prompt = prompt[i],
                                  .num_prompt = 20,
                                  .max_tokens = 60,
                                  .ignore_eos = true,
                                  .sampling = SINTER_SAMPLING_GREEDY,
                                  .on_token = on_token,
                                  .user = (void *)(uintptr_t)i};
      for (uint32_t k = 0; k < 20; k++)
         prompt[i][k] = (int32_t)((k * 5 + i * 31) % TOY_VOCAB);
      num_got[i] = 0;
      cr_assert(sinter_submit(e, &o, &r[i]) == SINTER_ok);
   }
   while (busy) {
      cr_assert(sinter_step(e, &busy) == SINTER_ok);
      if (spoil && last_kept) {
         *last_kept ^= 1;
         spoil = false;
      }
   }
   cr_assert(last_kept, "nobody gave way");
   sinter_stats stats = {.size = sizeof stats};
   sinter_engine_stats(e, &stats);
   for (uint32_t i = 0; i < 2; i++) {
      sinter_request_options o = {.prompt = prompt[i],
                                  .num_prompt = 20,
                                  .max_tokens = 60,
                                  .ignore_eos = true,
                                  .sampling = SINTER_SAMPLING_GREEDY};
      cr_assert(toy_oracle_generate(&o, want, logprobs) == 60 && num_got[i] == 60);
      cr_assert(memcmp(want, got[i], sizeof want) == 0, "answer %u", i);
      sinter_request_destroy(r[i]);
   }
   cr_assert(toy_last->faults == 0);
   sinter_engine_destroy(e);
   return stats.swapped_in_tokens;
}

/* Kills: a sum that is not looked at. */
Test(swap, what_was_spoilt_is_computed_again)
{
   uint64_t whole = run_two(false), spoilt = run_two(true);

   cr_assert(whole > 0 && spoilt < whole, "%llu and %llu tokens", (unsigned long long)whole,
             (unsigned long long)spoilt);
}
