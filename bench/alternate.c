/* alternate.c - several builds of a model against the first one, a short burst of work at a time,
 * in one process:
 *
 *    A B B A, A' C C A', A B B A, …    ratio = time of both B / time of both A
 *
 * Each build has an engine of the first one beside it (A, A') that has done as much: if one engine
 * of the first ran next to all, its sequences would be longer than theirs, and so its steps.
 *
 * What else the machine does changes from second to second, less within a tenth of one. And memory
 * is not alike: one copy of the same file is read up to 12 % faster than another, for as long as
 * both lie where they do. Builds in one cache that differ in fusions share one file of weights, and
 * so its pages, but for head_argmax, which adds to it; files that `compile -o` writes have weights
 * of their own. Activations are still each build's own, and where they lie is good for 2 %: run it
 * several times, as ablation.py does.
 *
 * A burst is a few steps of decode, of one sequence or with -b of several, or with -p the first
 * token of a prompt. Prints a line of JSON a build: median ratio of its bursts, quartiles, and the
 * tokens/s of the first build.
 *
 *    cc -O2 -Iinclude bench/alternate.c -Lbuild -lsinter_rt -Wl,-rpath,$PWD/build -o build/alternate
 *    build/alternate [-t THREADS] [-s SECONDS] [-b SEQUENCES | -p PROMPT] A.sinter B.sinter … */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "sinter.h"

enum {
   MAX_BUILDS = 32,
   MAX_ROUNDS = 4096,
   MAX_SEQUENCES = 64,
   MAX_PROMPT = 4096,
   STEPS = 8,
   CONTEXT = 128
};

typedef struct work {
   double seconds;
   uint32_t threads, sequences, prompt; /* prompt: 0: decode */
   uint32_t steps;                      /* of decode, in a burst */
} work;

typedef struct build {
   sinter_artifact *artifact;
   sinter_engine *engine;
   sinter_request *requests[MAX_SEQUENCES];
   uint32_t done; /* tokens of each */
} build;

/* Two engines in turns. */
typedef struct pair {
   build first, other;
   double ratio[MAX_ROUNDS];
} pair;

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

/* Begins anew; a prompt's tokens are any that every vocabulary has. */
static void submit(build *b, const work *w)
{
   static int32_t prompt[MAX_PROMPT];
   sinter_request_options r = SINTER_INIT(sinter_request_options);

   for (uint32_t i = 0; i < w->prompt; i++)
      prompt[i] = (int32_t)(1 + i % 97);
   r.prompt = prompt;
   r.num_prompt = w->prompt ? w->prompt : 1;
   r.max_tokens = w->prompt ? 1 : 4 * CONTEXT;
   r.ignore_eos = true;
   r.sampling = SINTER_SAMPLING_GREEDY;
   for (uint32_t i = 0; i < w->sequences; i++) {
      if (b->requests[i])
         sinter_request_destroy(b->requests[i]);
      check(sinter_submit(b->engine, &r, &b->requests[i]));
   }
   b->done = 0;
}

/* Seconds of a burst. The context of decode stays short: it begins again when it has become
 * long. */
static double burst(build *b, const work *w)
{
   bool busy = true;

   if (w->prompt || b->done == 0 || b->done + w->steps > CONTEXT)
      submit(b, w);
   if (!w->prompt) /* not counted: it finds caches as another build has left them */
      check(sinter_step(b->engine, &busy));
   double started = now();
   for (uint32_t i = 0; w->prompt ? busy : i < w->steps; i++)
      check(sinter_step(b->engine, &busy));
   b->done += 1 + w->steps;
   return now() - started;
}

static int by_value(const void *a, const void *b)
{
   double x = *(const double *)a, y = *(const double *)b;

   return (x > y) - (x < y);
}

static void open_build(build *b, const char *path, const work *w)
{
   sinter_engine_options e = SINTER_INIT(sinter_engine_options);

   e.threads = w->threads;
   e.kv_tokens = w->sequences * 8 * CONTEXT + 2 * w->prompt;
   e.no_prefix_cache = true;
   check(sinter_artifact_open(path, &b->artifact));
   check(sinter_engine_create(b->artifact, &e, &b->engine));
   (void)burst(b, w);
}

/* Seconds of both bursts of the first one. */
static double compare(pair *p, const work *w, int round)
{
   double first = burst(&p->first, w);
   double other = burst(&p->other, w) + burst(&p->other, w);

   first += burst(&p->first, w);
   p->ratio[round] = other / first;
   return first;
}

static void usage(void)
{
   fprintf(stderr, "usage: alternate [-t THREADS] [-s SECONDS] [-b SEQUENCES | -p PROMPT] A.sinter "
                   "B.sinter …\n");
   exit(2);
}

static work options(int argc, char **argv)
{
   work w = {.seconds = 20, .threads = 2, .sequences = 1};

   for (int c; (c = getopt(argc, argv, "t:s:b:p:")) != -1;)
      switch (c) {
      case 't': w.threads = (uint32_t)atoi(optarg); break;
      case 's': w.seconds = atof(optarg); break;
      case 'b': w.sequences = (uint32_t)atoi(optarg); break;
      case 'p': w.prompt = (uint32_t)atoi(optarg); break;
      default: usage();
      }
   if (w.sequences < 1 || w.sequences > MAX_SEQUENCES || w.prompt > MAX_PROMPT ||
       argc - optind < 2 || argc - optind > MAX_BUILDS)
      usage();
   w.steps = w.sequences < STEPS ? STEPS / w.sequences : 1;
   return w;
}

int main(int argc, char **argv)
{
   static pair pairs[MAX_BUILDS];
   static double first[MAX_ROUNDS];
   work w = options(argc, argv);
   int n = argc - optind - 1, rounds = 0;

   for (int i = 0; i < n; i++) {
      open_build(&pairs[i].first, argv[optind], &w);
      open_build(&pairs[i].other, argv[optind + 1 + i], &w);
   }
   for (double end = now() + w.seconds; now() < end && rounds < MAX_ROUNDS; rounds++)
      for (int i = 0; i < n; i++)
         first[rounds] =
            2 * (w.prompt ? w.prompt : w.steps * w.sequences) / compare(&pairs[i], &w, rounds);
   qsort(first, (size_t)rounds, sizeof *first, by_value);
   for (int i = 0; i < n; i++) {
      double *r = pairs[i].ratio;
      qsort(r, (size_t)rounds, sizeof *r, by_value);
      printf(
         "{\"build\":%d,\"ratio\":%.5f,\"low\":%.5f,\"high\":%.5f,\"rounds\":%d,\"tok_s\":%.2f}\n",
         i + 1, r[rounds / 2], r[rounds / 4], r[3 * rounds / 4], rounds, first[rounds / 2]);
   }
   return 0;
}
