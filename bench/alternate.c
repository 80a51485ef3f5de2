/* alternate.c - several builds of a model against the first one, a short burst of work at a time, in one process:
 *
 *    A B A C A B …    ratio = time of B / mean of the A before and behind it
 *
 * What else the machine does changes from second to second, less within a tenth of one. And memory is not alike: one copy of
 * the same file is read up to 12 % faster than another, for as long as both lie where they do. So all builds run in the same
 * pages: a burst first writes its artifact into the one file that all of them have mapped.
 *
 * A burst is a few steps of decode, of one sequence or with -b of several, or with -p the first token of a prompt. Prints a
 * line of JSON a build: median ratio of its bursts, quartiles, and the tokens/s of the first build.
 *
 *    cc -O2 -D_GNU_SOURCE -Iinclude bench/alternate.c -Lbuild -lsinter_rt -Wl,-rpath,$PWD/build -o build/alternate
 *    build/alternate [-t THREADS] [-s SECONDS] [-b SEQUENCES | -p PROMPT] A.sinter B.sinter … */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
   int fd;                              /* of the file that builds take turns in */
   char path[64];
} work;

typedef struct build {
   const char *bytes; /* of its artifact */
   size_t size;
   sinter_artifact *artifact;
   sinter_engine *engine;
   sinter_request *requests[MAX_SEQUENCES];
   uint32_t done; /* tokens of each */
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

static void fail(const char *what)
{
   perror(what);
   exit(1);
}

/* Puts the build's artifact where all of them are mapped. */
static void take_turn(const build *b, const work *w)
{
   for (size_t at = 0; at < b->size;) {
      ssize_t n = pwrite(w->fd, b->bytes + at, b->size - at, (off_t)at);
      if (n <= 0)
         fail("alternate: writing the builds' file");
      at += (size_t)n;
   }
}

/* Seconds of a burst. The context of decode stays short: it begins again when it has become long. */
static double burst(build *b, const work *w)
{
   bool busy = true;

   take_turn(b, w);
   if (w->prompt || b->done == 0 || b->done + w->steps > CONTEXT)
      submit(b, w);
   if (!w->prompt) /* not counted: it finds caches as writing has left them */
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

static void read_build(build *b, const char *path)
{
   struct stat st;
   int fd = open(path, O_RDONLY);

   if (fd < 0 || fstat(fd, &st) != 0)
      fail(path);
   b->size = (size_t)st.st_size;
   b->bytes = mmap(NULL, b->size, PROT_READ, MAP_SHARED, fd, 0);
   if (b->bytes == MAP_FAILED)
      fail(path);
   close(fd);
}

static void open_build(build *b, const work *w)
{
   sinter_engine_options e = SINTER_INIT(sinter_engine_options);

   e.threads = w->threads;
   e.kv_tokens = w->sequences * 8 * CONTEXT + 2 * w->prompt;
   e.no_prefix_cache = true;
   take_turn(b, w);
   if (ftruncate(w->fd, (off_t)b->size) != 0)
      fail(w->path);
   check(sinter_artifact_open(w->path, &b->artifact));
   check(sinter_engine_create(b->artifact, &e, &b->engine));
}

static int by_size(const void *a, const void *b)
{
   const build *const *x = a, *const *y = b;

   return ((*x)->size > (*y)->size) - ((*x)->size < (*y)->size);
}

/* The smallest first, so that the file only grows, and stays mapped as a whole. */
static void open_builds(build *builds, int n, work *w)
{
   build *order[MAX_BUILDS];

   snprintf(w->path, sizeof w->path, "%s", "/tmp/alternate.XXXXXX");
   w->fd = mkstemp(w->path);
   if (w->fd < 0)
      fail(w->path);
   for (int i = 0; i < n; i++)
      order[i] = &builds[i];
   qsort(order, (size_t)n, sizeof *order, by_size);
   for (int i = 0; i < n; i++)
      open_build(order[i], w);
   unlink(w->path);
   for (int i = 0; i < n; i++)
      (void)burst(&builds[i], w);
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
   static build builds[MAX_BUILDS];
   static double first[MAX_ROUNDS];
   work w = options(argc, argv);
   int n = argc - optind, rounds = 0;

   for (int i = 0; i < n; i++)
      read_build(&builds[i], argv[optind + i]);
   open_builds(builds, n, &w);
   for (double end = now() + w.seconds; now() < end && rounds < MAX_ROUNDS; rounds++) {
      double before = burst(&builds[0], &w);
      for (int i = 1; i < n; i++) {
         double got = burst(&builds[i], &w), after = burst(&builds[0], &w);
         builds[i].ratio[rounds] = 2 * got / (before + after);
         before = after;
      }
      first[rounds] = (w.prompt ? w.prompt : w.steps * w.sequences) / before;
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
