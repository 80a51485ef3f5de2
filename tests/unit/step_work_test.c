// LINK: runtime base
/* step_work_test.c - what the host does in a step does not grow with the context: instructions are
 * counted by stepping through a child, one page of tokens at 64 and at 4,096 positions, on a device
 * that does nothing.
 *
 * Kills: a scheduler, page table, step array or sampler that walks the context in every step. */
#include <criterion/criterion.h>

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_toy.h"

static sinter_status no_work(rt_device *d, const float **out_logits)
{
   toy_logits(1, d->logits);
   *out_logits = d->logits;
   return SINTER_ok;
}

/* The child: a request of so many positions, then a page of steps between two stops. extra: walks
 * that many positions in every step, to see that the count sees it. */
static void decode(uint32_t positions, uint32_t extra)
{
   static int32_t prompt[4096];
   rt_device_ops ops = toy_device;
   sinter_request_options o = {.size = sizeof o,
                               .prompt = prompt,
                               .num_prompt = positions,
                               .max_tokens = 4 * PAGE_TOKENS,
                               .ignore_eos = true,
                               .sampling = SINTER_SAMPLING_GREEDY};
   volatile int32_t walked = 0;
   sinter_request *r;
   bool busy = true;

   o.sampling.repetition_penalty = 1.1f;
   for (uint32_t i = 0; i < positions; i++)
      prompt[i] = (int32_t)(i % 48); /* as many tokens to penalise at any length */
   ops.run = no_work;
   toy_ops = &ops;
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 8192});
   if (!e || sinter_submit(e, &o, &r) != SINTER_ok)
      _exit(1);
   sinter_request_stats stats = {.size = sizeof stats};
   while (busy && stats.generated_tokens < PAGE_TOKENS) {
      if (sinter_step(e, &busy) != SINTER_ok)
         _exit(1);
      sinter_request_get_stats(r, &stats);
   }
   if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
      _exit(2);
   raise(SIGSTOP);
   for (int i = 0; i < PAGE_TOKENS; i++) {
      if (sinter_step(e, &busy) != SINTER_ok || !busy)
         _exit(1);
      for (uint32_t k = 0; k < extra; k++)
         walked += prompt[k];
   }
   raise(SIGSTOP);
   _exit(0);
}

static int64_t instructions(uint32_t positions, uint32_t extra)
{
   int64_t n = 0;
   int status;
   pid_t child = fork();

   cr_assert(child >= 0);
   if (child == 0)
      decode(positions, extra);
   cr_assert(waitpid(child, &status, 0) == child);
   if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
      cr_skip_test("this process may not trace another");
   for (; WIFSTOPPED(status) && (n == 0 || WSTOPSIG(status) == SIGTRAP); n++) {
      cr_assert(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
      cr_assert(waitpid(child, &status, 0) == child);
   }
   cr_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "status %x after %lld", status,
             (long long)n);
   kill(child, SIGKILL);
   waitpid(child, &status, 0);
   return n;
}

Test(step_work, independent_of_the_context, .timeout = 120)
{
   /* One instruction for each page that the longer context has more, in each step. */
   const int64_t least = (int64_t)PAGE_TOKENS * (4096 - 64) / PAGE_TOKENS;
   int64_t near = instructions(64, 0), far = instructions(4096, 0);

   cr_assert(near > 1000 && far - near < least, "%lld instructions at 64 positions, %lld at 4096",
             (long long)near, (long long)far);
   cr_assert(instructions(4096, 4096 / PAGE_TOKENS) - far >= least, "the count misses a walk");
}

#else

Test(step_work, skipped)
{
   cr_skip_test("needs ptrace, and a build without sanitizers");
}

#endif
