/* threads.c - the pool: ranges with stealing, a spinning barrier, parked workers.
 *
 * A barrier waits for tiles, not for threads: the phase is over when its last tile is, and whoever
 * ran that one opens the next phase. A thread that has lost its core between two tiles holds nobody
 * up, and takes part again when it is back. One that holds a tile does: whoever waits for it trades
 * cores with it (seat.h). So no thread is bound, and none yields: both were measured to be slower
 * beside a program that takes a core.
 *
 * A phase of one tile is no work to share: who would open it runs it instead, and opens the next.
 *
 *    epoch    counts what was opened; everything that may be read late is double-buffered by its
 *             parity, or tagged with it: a late thread finds a newer epoch and takes nothing */
#include "threads.h"

#include "seat.h"

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
   GRAINS = 16,         /* a thread takes its range in about so many pieces, or in more */
   SPINS_PER_LOOK = 64, /* pauses between two looks at the clock */
   /* Longer than nearly all gaps between barriers of an undisturbed step: whoever waits longer
    * looks whether a thread has lost its core, each time so long has passed. */
   LATE_NS = 20 * 1000,
   SPIN_NS = 100 * 1000, /* before it parks */
   /* Of the streams of the next phase, while waiting: what a core's L2 cache holds beside the rest,
    * and memory delivers while another thread runs the phases of one tile in between. */
   AHEAD_BYTES = 128 << 10,
   AHEAD_STEP = 512, /* bytes between two looks at the gate */
};

/* What to fetch while waiting. */
typedef struct ahead {
   const uint8_t *start[RT_STREAMS];
   uint64_t size[RT_STREAMS];
} ahead;

/* A counter that others wait on: spinning, then in the kernel. */
typedef struct gate {
   _Atomic uint32_t epoch, sleepers;
} gate;

typedef struct worker {
   _Alignas(LINE) _Atomic uint64_t taken; /* of its range: epoch << 32 | next tile */
   _Alignas(LINE) rt_pool *pool;
   uint32_t index;
   pthread_t thread;
   rt_seat seat;
} worker;

/* What is in the place of a call, in two bits; those above count the calls, so that who posted one
 * never takes another's back. */
enum { POST_none, POST_changing, POST_waits, POST_bits, POST_next };

/* What is open in an epoch. */
typedef struct round {
   _Atomic(const rt_phase *) phase; /* NULL: nothing */
   _Atomic uint32_t tiles, grain;   /* of it; of a piece */
} round;

/* The same as a thread has read it. */
typedef struct view {
   const rt_phase *phase;
   uint32_t epoch, tiles, grain;
} view;

/* A call that a worker is to make. */
typedef struct posted {
   _Atomic uint32_t state;
   _Atomic bool late; /* nobody came for one, nor has been seen since */
   void (*fn)(void *user);
   void *user;
} posted;

struct rt_pool {
   /* One line: who sees the epoch move has what it opened. */
   _Alignas(LINE) gate gate;
   round rounds[2]; /* by the epoch's parity */
   _Alignas(LINE) posted posted;
   _Alignas(LINE) _Atomic uint32_t left;  /* tiles of the open phase that are not done */
   _Alignas(LINE) const rt_phase *phases; /* of the run, for who opens the next */
   uint32_t num_phases;
   _Atomic bool stop;
   _Atomic bool trading;
   _Atomic uint64_t trades;
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

/* True when there is something to do: the epoch moved, or a worker has a call to make. */
static bool called(rt_pool *p, const worker *w, uint32_t from)
{
   return moved(&p->gate, from) ||
          (w->index && (atomic_load(&p->posted.state) & POST_bits) == POST_waits);
}

static void park(rt_pool *p, const worker *w, uint32_t from)
{
   gate *g = &p->gate;

   /* seq_cst on both sides: either the opener, or who posts, sees the sleeper, or the sleeper what
    * is new. */
   atomic_fetch_add(&g->sleepers, 1);
   while (!called(p, w, from))
      futex(&g->epoch, FUTEX_WAIT, from);
   atomic_fetch_sub(&g->sleepers, 1);
}

/* True when called within so many looks. */
static bool spin(rt_pool *p, const worker *w, uint32_t from)
{
   for (int i = 0; i < SPINS_PER_LOOK; i++) {
      if (called(p, w, from))
         return true;
      pause_cpu();
   }
   return false;
}

/* Fetches until called. */
static void fetch_ahead(rt_pool *p, const worker *w, uint32_t from, const ahead *a)
{
   for (uint32_t s = 0; s < RT_STREAMS; s++)
      for (uint64_t at = 0; at < a->size[s] && !called(p, w, from); at += AHEAD_STEP)
         for (uint64_t line = at; line < MIN(at + AHEAD_STEP, a->size[s]); line += LINE)
            __builtin_prefetch(a->start[s] + line, 0, 2);
}

/* Trades cores with a thread that should be at work and has none; one of those that wait does at a
 * time. */
static void help_lost(rt_pool *p, const worker *w)
{
   if (atomic_exchange_explicit(&p->trading, true, memory_order_acquire))
      return;
   for (uint32_t i = 0; i < p->num_threads; i++)
      if (i != w->index && rt_seat_lost(&p->workers[i].seat)) {
         if (rt_seat_trade(&p->workers[i].seat))
            atomic_fetch_add_explicit(&p->trades, 1, memory_order_relaxed);
         break;
      }
   atomic_store_explicit(&p->trading, false, memory_order_release);
}

/* True when called within so long. */
static bool spin_for(rt_pool *p, const worker *w, uint32_t from, int64_t ns)
{
   int64_t begin = now_ns();

   do {
      if (spin(p, w, from))
         return true;
   } while (now_ns() - begin < ns);
   return false;
}

/* Waits until the epoch is no longer `from`, or the worker has a call to make. */
static void gate_wait(rt_pool *p, const worker *w, uint32_t from, const ahead *a)
{
   if (p->spin_ns) {
      fetch_ahead(p, w, from, a);
      if (spin(p, w, from)) /* most waits end here, before a look at the clock */
         return;
      for (int64_t waited = 0; waited < p->spin_ns; waited += LATE_NS) {
         if (spin_for(p, w, from, LATE_NS))
            return;
         help_lost(p, w);
      }
   }
   park(p, w, from);
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

/* ---- phases ---- */

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

/* Tiles that are taken at once. The task with the fewest says it: one of its tiles may take as long
 * as hundreds of another's, and several in one piece would leave the other threads waiting. */
static uint32_t grain_of(const rt_pool *p, const rt_phase *phase)
{
   uint32_t least = phase->tiles;

   for (const rt_task *t = phase->tasks; t->first + t->tiles < phase->tiles; t++)
      least = MIN(least, MIN(t[0].tiles, t[1].tiles));
   return MAX(least / (p->num_threads * GRAINS), 1);
}

/* Opens a phase, or none, to all threads. */
static void open_round(rt_pool *p, const rt_phase *phase)
{
   uint32_t epoch = atomic_load_explicit(&p->gate.epoch, memory_order_relaxed) + 1;
   round *r = &p->rounds[epoch & 1];

   /* Who reads this too early for `epoch`, two epochs late, sees the epoch before it move. */
   atomic_thread_fence(memory_order_release);
   atomic_store_explicit(&r->phase, phase, memory_order_relaxed);
   atomic_store_explicit(&r->tiles, phase ? phase->tiles : 0, memory_order_relaxed);
   atomic_store_explicit(&r->grain, phase ? grain_of(p, phase) : 0, memory_order_relaxed);
   atomic_store_explicit(&p->left, phase ? phase->tiles : 0, memory_order_relaxed);
   gate_open(&p->gate, epoch);
}

/* What is open now. */
static view read_round(rt_pool *p)
{
   for (;;) {
      uint32_t epoch = atomic_load_explicit(&p->gate.epoch, memory_order_acquire);
      round *r = &p->rounds[epoch & 1];
      const view v = {.phase = atomic_load_explicit(&r->phase, memory_order_relaxed),
                      .epoch = epoch,
                      .tiles = atomic_load_explicit(&r->tiles, memory_order_relaxed),
                      .grain = atomic_load_explicit(&r->grain, memory_order_relaxed)};

      atomic_thread_fence(memory_order_acquire);
      if (atomic_load_explicit(&p->gate.epoch, memory_order_relaxed) == epoch)
         return v;
   }
}

/* After the last tile of a phase: runs what is not shared, opens what comes next. */
static void close_phase(rt_pool *p, const rt_phase *phase)
{
   uint32_t k = (uint32_t)(phase - p->phases) + 1;
   uint32_t next = next_shared(p->phases, p->num_phases, k);

   run_alone(phase + 1, next - k);
   open_round(p, next < p->num_phases ? &p->phases[next] : NULL);
}

static uint32_t first_of_range(const worker *w, uint32_t tiles)
{
   return (uint32_t)((uint64_t)tiles * w->index / w->pool->num_threads);
}

/* The start of what w reads in the next shared phase; the list is there as long as `phase` is not
 * over. */
static ahead look_ahead(const worker *w, const rt_phase *phase)
{
   const rt_pool *p = w->pool;
   uint32_t next = next_shared(p->phases, p->num_phases, (uint32_t)(phase - p->phases) + 1);
   ahead out = {.size = {0}};

   if (next == p->num_phases)
      return out;
   uint32_t first = first_of_range(w, p->phases[next].tiles);
   const rt_task *t = p->phases[next].tasks;
   while (first - t->first >= t->tiles)
      t++;
   for (uint32_t s = 0; s < RT_STREAMS; s++) {
      uint64_t from = (first - t->first) * t->streams[s].tile_bytes;
      out.start[s] = t->streams[s].start + from;
      out.size[s] = MIN(t->tiles * t->streams[s].tile_bytes - from, AHEAD_BYTES / RT_STREAMS);
   }
   return out;
}

/* The next tile of v's range in an epoch, or `end`. *out_taken: what says so, for the exchange. A
 * range that has tiles is tagged with the epoch before the epoch ends: while it lasts, another tag
 * is an older one. */
static uint32_t next_tile(const worker *v, uint32_t epoch, uint32_t first, uint32_t end,
                          uint64_t *out_taken)
{
   uint64_t taken = atomic_load_explicit(&v->taken, memory_order_acquire);

   *out_taken = taken;
   if (taken >> 32 == epoch)
      return (uint32_t)taken;
   return atomic_load_explicit(&v->pool->gate.epoch, memory_order_relaxed) == epoch ? first : end;
}

/* Runs what is left of w's range of a phase; returns how many tiles. */
static uint32_t take_range(worker *w, const view *v)
{
   uint32_t n = w->pool->num_threads, ran = 0;
   uint32_t first = first_of_range(w, v->tiles);
   uint32_t end = (uint32_t)((uint64_t)v->tiles * (w->index + 1) / n), from;
   uint64_t taken;

   while ((from = next_tile(w, v->epoch, first, end, &taken)) < end) {
      uint32_t to = MIN(end, from + v->grain);

      if (!atomic_compare_exchange_weak_explicit(&w->taken, &taken, (uint64_t)v->epoch << 32 | to,
                                                 memory_order_acq_rel, memory_order_relaxed))
         continue;
      run_tiles(v->phase, from, to);
      ran += to - from;
   }
   return ran;
}

/* Takes part in what is open, then waits until something else is. False when nothing was. */
static bool join(rt_pool *p, worker *w)
{
   const view v = read_round(p);
   uint32_t ran = 0;
   ahead next = {.size = {0}};

   if (!v.phase)
      return false;
   rt_seat_work(&w->seat);
   for (uint32_t i = 0; i < p->num_threads; i++)
      ran += take_range(&p->workers[(w->index + i) % p->num_threads], &v);
   if (ran)
      next = look_ahead(w, v.phase);
   if (ran && atomic_fetch_sub_explicit(&p->left, ran, memory_order_acq_rel) == ran) {
      close_phase(p, v.phase);
      return true;
   }
   if (w->index != 0) /* whoever called has to go on behind the run */
      rt_seat_rest(&w->seat);
   gate_wait(p, w, v.epoch, &next);
   return true;
}

/* ---- calls ---- */

/* Takes the call that `waits` is the state of out of its place, if it is still there. */
static bool take_post(posted *q, uint32_t waits, posted *out)
{
   const uint32_t none = waits - POST_waits;

   if (!atomic_compare_exchange_strong(&q->state, &waits, none + POST_changing))
      return false;
   out->fn = q->fn;
   out->user = q->user;
   atomic_store(&q->state, none);
   return true;
}

/* Makes the call that waits; false when there is none. */
static bool run_post(rt_pool *p)
{
   uint32_t state = atomic_load_explicit(&p->posted.state, memory_order_relaxed);
   posted call;

   if ((state & POST_bits) != POST_waits || !take_post(&p->posted, state, &call))
      return false;
   call.fn(call.user);
   return true;
}

/* True when a call waits that nobody came for since the step before: the workers have lost their
 * cores. It is made here, and those that follow are not left to them until one is back. */
static bool is_late(rt_pool *p)
{
   if (run_post(p))
      atomic_store(&p->posted.late, true);
   return atomic_load(&p->posted.late);
}

/* A sleeper would have to be woken, and who spins may begin to sleep: with one, the call goes back
 * to who posts it. */
bool rt_pool_post(rt_pool *p, void (*fn)(void *user), void *user)
{
   if (p->num_threads == 1 || !p->spin_ns || is_late(p))
      return false;
   uint32_t none = atomic_load(&p->posted.state);
   const uint32_t waits = none + POST_next + POST_waits;
   posted back;

   if ((none & POST_bits) != POST_none ||
       !atomic_compare_exchange_strong(&p->posted.state, &none, none + POST_changing))
      return false;
   p->posted.fn = fn;
   p->posted.user = user;
   atomic_store(&p->posted.state, waits);
   return !atomic_load(&p->gate.sleepers) || !take_post(&p->posted, waits, &back);
}

/* ---- threads ---- */

static void *work(void *arg)
{
   worker *w = arg;
   rt_pool *p = w->pool;
   const ahead nothing = {.size = {0}};

   rt_seat_take(&w->seat);
   for (;;) {
      uint32_t epoch = atomic_load(&p->gate.epoch);

      if (atomic_load_explicit(&p->posted.late, memory_order_relaxed))
         atomic_store(&p->posted.late, false);
      if (run_post(p))
         sched_yield(); /* whom the call woke may wait for this core */
      if (atomic_load(&p->stop))
         return NULL;
      if (!join(p, w))
         gate_wait(p, w, epoch, &nothing);
   }
}

uint32_t rt_cores(void)
{
   cpu_set_t set;

   if (sched_getaffinity(0, sizeof set, &set) != 0)
      return 1;
   return (uint32_t)MAX(CPU_COUNT(&set), 1);
}

/* Ends the workers 1 .. count - 1 and frees the pool. */
static void stop(rt_pool *p, uint32_t count)
{
   atomic_store(&p->stop, true);
   open_round(p, NULL);
   for (uint32_t i = 1; i < count; i++)
      pthread_join(p->workers[i].thread, NULL);
   (void)run_post(p);
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
   p->spin_ns = n <= rt_cores() ? SPIN_NS : 0;
   for (uint32_t i = 0; i < n; i++) {
      workers[i].pool = p;
      workers[i].index = i;
      rt_seat_rest(&workers[i].seat);
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

   run_alone(phases, first);
   if (first == num_phases)
      return;
   p->phases = phases;
   p->num_phases = num_phases;
   rt_seat_take(&p->workers[0].seat);
   open_round(p, &phases[first]);
   while (join(p, &p->workers[0]))
      ;
   rt_seat_rest(&p->workers[0].seat);
}

uint64_t rt_pool_trades(const rt_pool *p)
{
   return atomic_load_explicit(&p->trades, memory_order_relaxed);
}
