// LINK: sinter_rt
/* step_alloc_test.c - 1,000 steps of a compiled model without a single allocation, kernels and
 * threads included. Kills: a device, pool or launch list that allocates or frees in a step. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sinter.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include "alloc_count.h"

static sinter_artifact *compile(const char *model)
{
   sinter_compile_options o = SINTER_INIT(sinter_compile_options);
   sinter_artifact *a;
   char path[4096], output[] = "/tmp/sinter-alloc-XXXXXX";
   bool cached;

   int fd = mkstemp(output);
   cr_assert(fd >= 0);
   close(fd);
   o.model = model;
   o.output = output;
   o.threads = 1;
   cr_assert(sinter_compile(&o, path, sizeof path, &cached) == SINTER_ok, "%s", sinter_error());
   cr_assert(sinter_artifact_open(path, &a) == SINTER_ok, "%s", sinter_error());
   unlink(output);
   return a;
}

static sinter_request *start(sinter_engine *e, uint32_t index)
{
   int32_t prompt[80];
   sinter_request_options o = SINTER_INIT(sinter_request_options);
   sinter_request *r;

   for (uint32_t i = 0; i < 80; i++)
      prompt[i] = (int32_t)(20 + (i * 7 + index % 3) % 90);
   o.prompt = prompt;
   o.num_prompt = 10 + index * 13 % 70;
   o.max_tokens = 60;
   o.ignore_eos = true;
   o.want_logprobs = index % 2;
   o.top_logprobs = index % 6;
   o.sampling = SINTER_SAMPLING_GREEDY;
   o.sampling.temperature = (float)(index % 3);
   o.sampling.top_p = index % 4 ? 1 : 0.9f;
   cr_assert(sinter_submit(e, &o, &r) == SINTER_ok, "%s", sinter_error());
   return r;
}

static void thousand_steps(const char *model)
{
   sinter_engine_options o = SINTER_INIT(sinter_engine_options);
   sinter_artifact *a = compile(model);
   sinter_request *all[4] = {0};
   uint32_t submitted = 0;
   sinter_engine *e;
   bool busy;

   o.threads = 2;
   o.kv_tokens = 320;
   cr_assert(sinter_engine_create(a, &o, &e) == SINTER_ok, "%s", sinter_error());
   for (int step = 0; step < 1000; step++) {
      sinter_request **slot = &all[submitted % 4];
      if (!*slot || sinter_request_finish(*slot) != SINTER_FINISH_none) {
         sinter_request_destroy(*slot);
         *slot = start(e, submitted++);
      }
      atomic_store(&counting, true);
      sinter_status status = sinter_step(e, &busy);
      atomic_store(&counting, false);
      cr_assert(status == SINTER_ok, "%s", sinter_error());
   }
   sinter_stats stats = SINTER_INIT(sinter_stats);
   sinter_engine_stats(e, &stats);
   cr_assert(stats.steps == 1000 && submitted > 10 && stats.launches > 1000);
   cr_assert(atomic_load(&calls) == 0, "%llu calls", (unsigned long long)atomic_load(&calls));
   for (int i = 0; i < 4; i++)
      sinter_request_destroy(all[i]);
   sinter_engine_destroy(e);
   sinter_artifact_close(a);
}

Test(step_alloc, full_attention)
{
   thousand_steps(TEST_ROOT "/golden/llama");
}

Test(step_alloc, sliding_windows)
{
   thousand_steps(TEST_ROOT "/golden/gemma3_text");
}

#else

Test(step_alloc, skipped_under_sanitizers)
{
   cr_skip_test("the sanitizer owns malloc");
}

#endif
