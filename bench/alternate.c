/* alternate.c - several builds of a model against the first one, a few tokens at a time, in one process:
 *
 *    A B A C A B …    ratio = time of B / mean of the A before and behind it
 *
 * What else the machine does changes from second to second, less within a tenth of one. Prints a line of
 * JSON a build: median ratio of its bursts, quartiles, and the tokens/s of the first build.
 *
 *    cc -O2 -Iinclude bench/alternate.c -Lbuild -lsinter_rt -Wl,-rpath,$PWD/build -o build/alternate
 *    build/alternate SECONDS THREADS A.sinter B.sinter … */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sinter.h"

enum { MAX_BUILDS = 32, MAX_ROUNDS = 4096, STEPS = 8, CONTEXT = 128 };

typedef struct build {
   sinter_artifact *artifact;
   sinter_engine *engine;
   sinter_request *request;
   uint32_t done;
   double ratio[MAX_ROUNDS];
} build;

static void check(sinter_status status)
{
   if (status == SINTER_ok)
      return;
   fprintf(stderr, "error: %s\n", sinter_error());
   exit(sinter_status_exit_code(status));
}

static double now(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void submit(build *b)
{
   sinter_request_options r = SINTER_INIT(sinter_request_options);
   static const int32_t prompt[] = {1};
   bool busy;

   if (b->request)
      sinter_request_destroy(b->request);
   r.prompt = prompt;
   r.num_prompt = 1;
   r.max_tokens = 4 * CONTEXT;
   r.ignore_eos = true;
   r.sampling = SINTER_SAMPLING_GREEDY;
   check(sinter_submit(b->engine, &r, &b->request));
   check(sinter_step(b->engine, &busy));
   b->done = 1;
}

/* Seconds of a burst. The context stays short: it begins again when it has become long. */
static double burst(build *b)
{
   bool busy;

   if (b->done + STEPS > CONTEXT)
      submit(b);
   double started = now();
   for (int i = 0; i < STEPS; i++)
      check(sinter_step(b->engine, &busy));
   b->done += STEPS;
   return now() - started;
}

static int by_value(const void *a, const void *b)
{
   double x = *(const double *)a, y = *(const double *)b;

   return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
   static build builds[MAX_BUILDS];
   static double first[MAX_ROUNDS];
   int n = argc - 3, rounds = 0;

   if (n < 2 || n > MAX_BUILDS) {
      fprintf(stderr, "usage: alternate SECONDS THREADS A.sinter B.sinter …\n");
      return 2;
   }
   for (int i = 0; i < n; i++) {
      sinter_engine_options e = SINTER_INIT(sinter_engine_options);
      e.threads = (uint32_t)atoi(argv[2]);
      e.kv_tokens = 8 * CONTEXT;
      e.no_prefix_cache = true;
      check(sinter_artifact_open(argv[3 + i], &builds[i].artifact));
      check(sinter_engine_create(builds[i].artifact, &e, &builds[i].engine));
      submit(&builds[i]);
      (void)burst(&builds[i]);
   }
   for (double end = now() + atof(argv[1]); now() < end && rounds < MAX_ROUNDS; rounds++) {
      double before = burst(&builds[0]);
      for (int i = 1; i < n; i++) {
         double got = burst(&builds[i]), after = burst(&builds[0]);
         builds[i].ratio[rounds] = 2 * got / (before + after);
         before = after;
      }
      first[rounds] = STEPS / before;
   }
   qsort(first, (size_t)rounds, sizeof *first, by_value);
   for (int i = 1; i < n; i++) {
      double *r = builds[i].ratio;
      qsort(r, (size_t)rounds, sizeof *r, by_value);
      printf(
         "{\"build\":%d,\"ratio\":%.5f,\"low\":%.5f,\"high\":%.5f,\"rounds\":%d,\"tok_s\":%.2f}\n",
         i, r[rounds / 2], r[rounds / 4], r[3 * rounds / 4], rounds, first[rounds / 2]);
   }
   return 0;
}
