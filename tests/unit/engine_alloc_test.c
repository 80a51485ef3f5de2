// LINK: runtime base
/* engine_alloc_test.c - no allocation on the step path: every malloc of the process is counted.
 * Kills: a sampler, scheduler or page table that allocates or frees in a step. */
#include <criterion/criterion.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include "engine_toy.h"
#include "alloc_count.h"

Test(engine_alloc, the_counter_counts)
{
   atomic_store(&counting, true);
   free(malloc(100));
   atomic_store(&counting, false);
   cr_assert(atomic_load(&calls) == 2);
}

static sinter_request *start(sinter_engine *e, uint32_t index)
{
   int32_t prompt[60];
   sinter_request_options o = {.size = sizeof o,
                               .prompt = prompt,
                               .num_prompt = 10 + index % 50,
                               .max_tokens = 90,
                               .ignore_eos = true,
                               .want_logprobs = true,
                               .top_logprobs = index % 6,
                               .sampling = SINTER_SAMPLING_GREEDY};
   sinter_request *r;

   for (uint32_t i = 0; i < o.num_prompt; i++)
      prompt[i] = (int32_t)(i * 7 + index % 3) % TOY_VOCAB;
   o.sampling.temperature = (float)(index % 2);
   o.sampling.top_p = index % 3 ? 1 : 0.9f;
   o.sampling.repetition_penalty = index % 5 ? 1 : 1.3f;
   if (sinter_submit(e, &o, &r) != SINTER_ok)
      abort();
   return r;
}

/* 1,000 steps with new requests, prefix hits, evictions and preemptions among them. */
Test(engine_alloc, a_thousand_steps_allocate_nothing)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 320});
   sinter_request *all[8] = {0};
   uint32_t submitted = 0;
   bool busy;

   for (int step = 0; step < 1000; step++) {
      sinter_request **slot = &all[submitted % 8];
      if (!*slot || sinter_request_finish(*slot) != SINTER_FINISH_none) {
         sinter_request_destroy(*slot);
         *slot = start(e, submitted++);
      }
      atomic_store(&counting, true);
      sinter_status status = sinter_step(e, &busy);
      atomic_store(&counting, false);
      cr_assert(status == SINTER_ok);
   }
   sinter_stats stats = {.size = sizeof stats};
   sinter_engine_stats(e, &stats);
   cr_assert(stats.steps == 1000 && submitted > 20 && stats.prefix_hit_tokens > 0);
   cr_assert(atomic_load(&calls) == 0, "%llu calls", (unsigned long long)atomic_load(&calls));
   for (int i = 0; i < 8; i++)
      sinter_request_destroy(all[i]);
   sinter_engine_destroy(e);
}

#else

Test(engine_alloc, skipped_under_sanitizers)
{
   cr_skip_test("the sanitizer owns malloc");
}

#endif
