/* threads.c - the pool: ranges with stealing, a spinning barrier, parked workers.
 *
 * A phase of one tile is no work to share: whoever arrives last at the barrier before it runs it
 * there, so that it costs no barrier of its own. The others are shared phases.
 *
 * Ranges are double-buffered by the parity of the shared phase: a thread resets its own range of the
 * next one while it is in this one, when all have left the one before (the last user of that
 * buffer). */
#include "threads.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
   LINE = 64,
   GRAINS = 16,         /* a thread takes its range in about so many pieces */
   SPINS_PER_LOOK = 64, /* pauses between two looks at the clock */
   /* Longer than any gap between barriers of an undisturbed step. Whoever waits longer waits for a
    * thread that has lost its core: parking then leaves both cores to whom they are due, where
    * yielding would make the two lose theirs in turn. */
   SPIN_NS = 100 * 1000,
};

/* A counter that others wait on: spinning, then in the kernel. */
typedef struct gate {
   _Alignas(LINE) _Atomic uint32_t epoch;
   _Alignas(LINE) _Atomic uint32_t sleepers;
} gate;

typedef struct range {
   _Alignas(LINE) _Atomic uint32_t next;
   uint32_t end, grain;
} range;

typedef struct worker {
   rt_pool *pool;
   uint32_t index;
   pthread_t thread;
   cpu_set_t cores;
   range range[2];
} worker;

struct rt_pool {
   gate start, barrier;
   _Alignas(LINE) _Atomic uint32_t arrived;
   const rt_phase *phases;
   uint32_t num_phases, first_shared;
   bool stop, bound;
   int64_t spin_ns;
   uint32_t num_threads;
   worker *workers;
};

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
   __builtin_ia32_pause();
#else
   atomic_signal_fence(memory_order_seq_cst);
#endif
}

static int64_t now_ns(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static long futex(_Atomic uint32_t *word, int op, uint32_t value)
{
   return syscall(SYS_futex, (void *)word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static bool moved(gate *g, uint32_t from)
{
   return atomic_load_explicit(&g->epoch, memory_order_acquire) != from;
}

static void park(gate *g, uint32_t from)
{
   /* seq_cst on both sides: either the opener sees the sleeper, or the kernel sees the new epoch.
    */
   atomic_fetch_add(&g->sleepers, 1);
   while (!moved(g, from))
      futex(&g->epoch, FUTEX_WAIT, from);
   atomic_fetch_sub(&g->sleepers, 1);
}

/* True when the epoch moved within so many looks. */
static bool spin(gate *g, uint32_t from)
{
   for (int i = 0; i < SPINS_PER_LOOK; i++) {
      if (moved(g, from))
         return true;
      pause_cpu();
   }
   return false;
}

/* Waits until the epoch is no longer `from`. */
static void gate_wait(gate *g, uint32_t from, int64_t spin_ns)
{
   if (spin_ns) {
      if (spin(g, from))
         return;
      int64_t begin = now_ns();
      do {
         if (spin(g, from))
            return;
      } while (now_ns() - begin < spin_ns);
   }
   park(g, from);
}

static void gate_open(gate *g, uint32_t to)
{
   atomic_store(&g->epoch, to);
   if (atomic_load(&g->sleepers))
      futex(&g->epoch, FUTEX_WAKE, INT32_MAX);
}

static void run_tiles(const rt_phase *phase, uint32_t from, uint32_t to)
{
   const rt_task *t = phase->tasks;

   while (from - t->first >= t->tiles)
      t++;
   for (; from < to; from++) {
      if (from - t->first == t->tiles)
         t++;
      t->kernel(t->args, from - t->first);
   }
}

static void take_range(range *r, const rt_phase *phase)
{
   uint32_t grain = r->grain, end = r->end;

   /* A look before the exchange keeps finished ranges shared by all who search. */
   while (atomic_load_explicit(&r->next, memory_order_relaxed) < end) {
      uint32_t from = atomic_fetch_add_explicit(&r->next, grain, memory_order_relaxed);
      if (from >= end)
         return;
      run_tiles(phase, from, MIN(end, from + grain));
   }
}

/* Thread w's share of the tiles, into one of its two ranges. */
static void set_range(const rt_pool *p, worker *w, const rt_phase *phase, uint32_t parity)
{
   uint64_t tiles = phase->tiles;
   range *r = &w->range[parity];
   uint32_t first = (uint32_t)(tiles * w->index / p->num_threads);

   r->end = (uint32_t)(tiles * (w->index + 1) / p->num_threads);
   r->grain = MAX((r->end - first) / GRAINS, 1);
   atomic_store_explicit(&r->next, first, memory_order_relaxed);
}

/* The first shared phase from phase k on, or num_phases. */
static uint32_t next_shared(const rt_phase *phases, uint32_t num_phases, uint32_t k)
{
   while (k < num_phases && phases[k].tiles == 1)
      k++;
   return k;
}

static void run_alone(const rt_phase *phases, uint32_t num_phases)
{
   for (uint32_t k = 0; k < num_phases; k++)
      run_tiles(&phases[k], 0, phases[k].tiles);
}

/* Returns when all threads have arrived and the last of them has run the phases between this shared
 * one and the next; `wait` is false for a worker at the end of a run, who has nothing to wait for. */
static void arrive(rt_pool *p, uint32_t epoch, const rt_phase *between, uint32_t num_between,
                   bool wait)
{
   uint32_t before = atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel);

   if (before + 1 == p->num_threads) {
      run_alone(between, num_between);
      atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
      gate_open(&p->barrier, epoch + 1);
   } else if (wait) {
      gate_wait(&p->barrier, epoch, p->spin_ns);
   }
}

static void walk(rt_pool *p, worker *w, uint32_t epoch)
{
   /* The next run may be set up as soon as this worker has arrived for the last time. */
   const rt_phase *phases = p->phases;
   uint32_t num_phases = p->num_phases, parity = 0, next;

   for (uint32_t k = p->first_shared; k < num_phases; k = next) {
      next = next_shared(phases, num_phases, k + 1);
      bool last = next == num_phases;

      if (!last)
         set_range(p, w, &phases[next], !parity);
      for (uint32_t i = 0; i < p->num_threads; i++) {
         worker *victim = &p->workers[(w->index + i) % p->num_threads];
         take_range(&victim->range[parity], &phases[k]);
      }
      arrive(p, epoch++, &phases[k + 1], next - k - 1, !last || w->index == 0);
      parity = !parity;
   }
}

static void *work(void *arg)
{
   worker *w = arg;
   rt_pool *p = w->pool;
   uint32_t run = 0;

   if (p->bound)
      pthread_setaffinity_np(pthread_self(), sizeof w->cores, &w->cores);
   for (;;) {
      /* Between steps the spin is short: the next step mostly follows at once, or not for long. */
      gate_wait(&p->start, run, p->spin_ns);
      run++;
      if (p->stop)
         return NULL;
      walk(p, w, atomic_load_explicit(&p->barrier.epoch, memory_order_relaxed));
   }
}

uint32_t rt_cores(void)
{
   cpu_set_t set;

   if (sched_getaffinity(0, sizeof set, &set) != 0)
      return 1;
   return (uint32_t)MAX(CPU_COUNT(&set), 1);
}

/* Splits the process's cores into one disjoint share a thread, when there are enough. */
static void share_cores(rt_pool *p)
{
   cpu_set_t all;
   uint32_t n = 0, count;

   if (p->num_threads == 1 || sched_getaffinity(0, sizeof all, &all) != 0)
      return;
   count = (uint32_t)CPU_COUNT(&all);
   if (count < p->num_threads)
      return;
   for (uint32_t i = 0; i < p->num_threads; i++)
      CPU_ZERO(&p->workers[i].cores);
   for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
      if (!CPU_ISSET(cpu, &all))
         continue;
      CPU_SET(cpu, &p->workers[n++ * p->num_threads / count].cores);
   }
   p->bound = true;
}

/* Ends the workers 1 .. count - 1 and frees the pool. */
static void stop(rt_pool *p, uint32_t count)
{
   p->stop = true;
   gate_open(&p->start, atomic_load(&p->start.epoch) + 1);
   for (uint32_t i = 1; i < count; i++)
      pthread_join(p->workers[i].thread, NULL);
   free(p->workers);
   free(p);
}

sinter_status rt_pool_create(uint32_t threads, rt_pool **out)
{
   uint32_t n = threads ? threads : MIN(rt_cores(), (uint32_t)RT_MAX_THREADS);

   *out = NULL;
   if (n > RT_MAX_THREADS)
      return base_fail(SINTER_usage, "threads", "ask for fewer threads",
                       "%u threads are more than the %d that are possible", n, RT_MAX_THREADS);
   rt_pool *p = aligned_alloc(LINE, base_align(sizeof *p, LINE));
   worker *workers = aligned_alloc(LINE, base_align(n * sizeof *workers, LINE));
   if (!p || !workers) {
      free(p);
      free(workers);
      return base_fail(SINTER_out_of_memory, "threads", "", "no memory for %u threads", n);
   }
   memset(p, 0, sizeof *p);
   memset(workers, 0, n * sizeof *workers);
   p->num_threads = n;
   p->workers = workers;
   share_cores(p);
   p->spin_ns = n <= rt_cores() ? SPIN_NS : 0;
   for (uint32_t i = 0; i < n; i++) {
      workers[i].pool = p;
      workers[i].index = i;
   }
   for (uint32_t i = 1; i < n; i++) {
      int error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
      if (error) {
         stop(p, i);
         return base_fail(SINTER_failed, "threads", "ask for fewer threads with -t",
                          "thread %u of %u cannot be started: %s", i + 1, n, strerror(error));
      }
   }
   *out = p;
   return SINTER_ok;
}

void rt_pool_destroy(rt_pool *p)
{
   if (p)
      stop(p, p->num_threads);
}

uint32_t rt_pool_threads(const rt_pool *p)
{
   return p->num_threads;
}

void rt_pool_run(rt_pool *p, const rt_phase *phases, uint32_t num_phases)
{
   uint32_t first = p->num_threads > 1 ? next_shared(phases, num_phases, 0) : num_phases;
   cpu_set_t before;
   bool bind = p->bound && sched_getaffinity(0, sizeof before, &before) == 0;

   run_alone(phases, first);
   if (first == num_phases)
      return;
   p->phases = phases;
   p->num_phases = num_phases;
   p->first_shared = first;
   for (uint32_t i = 0; i < p->num_threads; i++)
      set_range(p, &p->workers[i], &phases[first], 0);
   uint32_t epoch = atomic_load_explicit(&p->barrier.epoch, memory_order_relaxed);
   gate_open(&p->start, atomic_load(&p->start.epoch) + 1);
   if (bind)
      sched_setaffinity(0, sizeof before, &p->workers[0].cores);
   walk(p, &p->workers[0], epoch);
   if (bind)
      sched_setaffinity(0, sizeof before, &before);
}
