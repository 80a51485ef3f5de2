// LINK: runtime base
/* threads_test.c - the pool. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/threads.h"

enum { MAX_TILES = 4096, MAX_PHASES = 64 };

/* What a task's tiles leave behind. konst[0]: the phase. */
static _Atomic uint32_t ran[MAX_PHASES][MAX_TILES];
static _Atomic uint32_t done_in[MAX_PHASES];
static uint32_t tiles_of[MAX_PHASES];
static _Atomic uint32_t early;

static void tile_kernel(const sinter_kargs *k, unsigned tile)
{
   int64_t phase = k->konst[0];

   if (phase > 0 && atomic_load(&done_in[phase - 1]) != tiles_of[phase - 1])
      atomic_fetch_add(&early, 1);
   atomic_fetch_add(&ran[phase][k->konst[1] + tile], 1);
   atomic_fetch_add(&done_in[phase], 1);
}

static uint32_t dice(uint64_t *state, uint32_t n)
{
   *state = *state * 6364136223846793005u + 1442695040888963407u;
   return (uint32_t)(*state >> 33) % n;
}

static void run_random(rt_pool *pool, uint64_t *state)
{
   enum { TASKS = 3 };
   static rt_task tasks[MAX_PHASES][TASKS];
   static sinter_kargs args[MAX_PHASES][TASKS];
   static uint8_t memory[64 * 700]; /* what a tile is said to read */
   rt_phase phases[MAX_PHASES];
   uint32_t num_phases = 1 + dice(state, MAX_PHASES);

   memset(ran, 0, sizeof ran);
   memset(done_in, 0, sizeof done_in);
   for (uint32_t i = 0; i < num_phases; i++) {
      tiles_of[i] = 0;
      for (uint32_t t = 0; t < TASKS; t++) {
         uint32_t tiles = 1 + dice(state, dice(state, 4) ? 4 : 700);
         args[i][t].konst[0] = i;
         args[i][t].konst[1] = tiles_of[i];
         tasks[i][t] = (rt_task){tile_kernel, &args[i][t], tiles_of[i], tiles, {{memory, 64}}};
         tiles_of[i] += tiles;
      }
      phases[i] = (rt_phase){tasks[i], tiles_of[i]};
   }
   rt_pool_run(pool, phases, num_phases);
   for (uint32_t i = 0; i < num_phases; i++) {
      for (uint32_t t = 0; t < MAX_TILES; t++)
         cr_assert(atomic_load(&ran[i][t]) == (t < tiles_of[i]));
   }
   cr_assert(atomic_load(&early) == 0);
}

/* Kills: a tile run twice or never, by the split or by stealing; a barrier that lets someone
 * through. */
Test(threads, every_tile_once_and_phases_in_order)
{
   static const uint32_t counts[] = {1, 2, 3, 7};
   uint64_t state = 1;

   for (size_t i = 0; i < countof(counts); i++) {
      rt_pool *pool;
      cr_assert(rt_pool_create(counts[i], &pool) == SINTER_ok, "%s", sinter_error());
      cr_assert(rt_pool_threads(pool) == counts[i]);
      for (int run = 0; run < 40; run++) {
         run_random(pool, &state);
         if (run % 10 == 9)
            usleep(2000); /* long enough to park */
      }
      rt_pool_destroy(pool);
   }
}

static void slow_tile(const sinter_kargs *k, unsigned tile)
{
   (void)k;
   if (tile == 0)
      usleep(20000);
   atomic_fetch_add(&done_in[0], 1);
}

static _Atomic bool left_alone;

/* The first tile lags until others have taken what is not in its own piece of the range. */
static void lagging_tile(const sinter_kargs *k, unsigned tile)
{
   (void)k;
   for (int ms = 0; tile == 0 && atomic_load(&done_in[0]) < 60; ms++) {
      if (ms == 5000) {
         atomic_store(&left_alone, true);
         break;
      }
      usleep(1000);
   }
   atomic_fetch_add(&done_in[0], 1);
}

/* Kills: a thread that waits for a lagging one although there are tiles left. */
Test(threads, others_take_what_a_lagging_thread_leaves)
{
   sinter_kargs args = {0};
   rt_task task = {.kernel = lagging_tile, .args = &args, .tiles = 64};
   rt_phase phase = {&task, 64};
   rt_pool *pool;

   cr_assert(rt_pool_create(2, &pool) == SINTER_ok);
   atomic_store(&done_in[0], 0);
   rt_pool_run(pool, &phase, 1);
   cr_assert(atomic_load(&done_in[0]) == 64);
   cr_assert(!atomic_load(&left_alone));
   rt_pool_destroy(pool);
}

static _Atomic int held, back;
static _Atomic bool release;
static pthread_t other;
static pthread_t caller;

/* Where a thread stays that has lost its core. */
static void hold(int number)
{
   (void)number;
   atomic_fetch_add(&held, 1);
   while (!atomic_load(&release))
      usleep(100);
   atomic_fetch_add(&back, 1);
}

/* Two tiles that wait for each other: each thread runs one. */
static void meet(const sinter_kargs *k, unsigned tile)
{
   (void)k;
   (void)tile;
   if (!pthread_equal(pthread_self(), caller))
      other = pthread_self();
   atomic_fetch_add(&done_in[0], 1);
   while (atomic_load(&done_in[0]) < 2)
      sched_yield();
}

/* Kills: a barrier that waits for threads instead of tiles; a thread that comes back late and runs
 * a tile of an epoch that is over. */
Test(threads, one_that_is_away_holds_nobody_up, .timeout = 60)
{
   sinter_kargs args = {0};
   rt_task task = {.kernel = meet, .args = &args, .tiles = 2};
   rt_phase phase = {&task, 2};
   uint64_t state = 11;
   rt_pool *pool;

   cr_assert(rt_pool_create(2, &pool) == SINTER_ok);
   caller = pthread_self();
   atomic_store(&done_in[0], 0);
   rt_pool_run(pool, &phase, 1);
   signal(SIGUSR1, hold);
   for (int round = 0; round < 20; round++) {
      atomic_store(&release, false);
      cr_assert(pthread_kill(other, SIGUSR1) == 0);
      while (atomic_load(&held) == round)
         sched_yield();
      for (int run = 0; run < 5; run++)
         run_random(pool, &state);
      atomic_store(&release, true);
      run_random(pool, &state);
      while (atomic_load(&back) == round)
         sched_yield();
   }
   rt_pool_destroy(pool);
}

static void quick(const sinter_kargs *k, unsigned tile)
{
   (void)k;
   (void)tile;
}

/* Kills: pieces of a phase that are as large for few long tiles as for many short ones. */
Test(threads, few_tiles_behind_many_are_shared, .timeout = 20)
{
   sinter_kargs args = {0};
   rt_task tasks[] = {{.kernel = quick, .args = &args, .tiles = 500},
                      {.kernel = meet, .args = &args, .first = 500, .tiles = 2}};
   rt_phase phase = {tasks, 502};
   rt_pool *pool;

   cr_assert(rt_pool_create(2, &pool) == SINTER_ok);
   caller = pthread_self();
   for (int run = 0; run < 20; run++) {
      atomic_store(&done_in[0], 0);
      rt_pool_run(pool, &phase, 1);
      cr_assert(atomic_load(&done_in[0]) == 2);
   }
   rt_pool_destroy(pool);
}

static cpu_set_t masks[2];

static void note_mask(const sinter_kargs *k, unsigned tile)
{
   cr_assert(sched_getaffinity(0, sizeof masks[tile], &masks[tile]) == 0);
   meet(k, tile);
}

/* A thread that sleeps in a tile is to the others as one that has lost its core.
 * Kills: a thread that waits and keeps its core; a trade that leaves a thread bound to a core; one
 * that would put a thread on a core that the other may not use. */
Test(threads, who_waits_gives_its_core_away, .timeout = 60)
{
   sinter_kargs args = {0};
   rt_task slow = {.kernel = slow_tile, .args = &args, .tiles = 2};
   rt_task note = {.kernel = note_mask, .args = &args, .tiles = 2};
   rt_phase phase = {&slow, 2}, masks_of_both = {&note, 2};
   cpu_set_t all, one;
   rt_pool *pool;

   cr_assert(sched_getaffinity(0, sizeof all, &all) == 0);
   if (CPU_COUNT(&all) < 2)
      cr_skip_test("there is one core");
   cr_assert(rt_pool_create(2, &pool) == SINTER_ok);
   caller = pthread_self();
   while (rt_pool_trades(pool) < 4)
      rt_pool_run(pool, &phase, 1);
   atomic_store(&done_in[0], 0);
   rt_pool_run(pool, &masks_of_both, 1);
   cr_assert(CPU_EQUAL(&masks[0], &all) && CPU_EQUAL(&masks[1], &all));

   /* The caller on one core only: nothing may move it, and nothing does. */
   CPU_ZERO(&one);
   CPU_SET(sched_getcpu(), &one);
   cr_assert(sched_setaffinity(0, sizeof one, &one) == 0);
   for (int i = 0; i < 4; i++)
      rt_pool_run(pool, &phase, 1);
   atomic_store(&done_in[0], 0);
   rt_pool_run(pool, &masks_of_both, 1);
   cr_assert(CPU_EQUAL(&masks[0], &one) != CPU_EQUAL(&masks[1], &one));
   rt_pool_destroy(pool);
}

/* ---- calls ---- */

static void count_call(void *user)
{
   atomic_fetch_add((_Atomic uint32_t *)user, 1);
}

/* So many calls come, and no more. */
static void expect_calls(_Atomic uint32_t *made, uint32_t posted)
{
   for (int i = 0; i < 10000 && atomic_load(made) < posted; i++)
      usleep(1000);
   usleep(2000);
   cr_assert(atomic_load(made) == posted, "%u calls of %u", atomic_load(made), posted);
}

static void *post_and_post(void *user)
{
   rt_pool *pool = user;
   _Atomic uint32_t made = 0;
   uintptr_t posted = 0;

   for (int i = 0; i < 2000; i++, usleep(10))
      posted += rt_pool_post(pool, count_call, &made);
   expect_calls(&made, (uint32_t)posted);
   return (void *)posted;
}

/* Kills: a call that is made twice, or never, because a run begins, or was not over; one taken for
 * that of another who posts; one that keeps a tile from being run. */
Test(threads, calls_are_made_once_beside_runs, .timeout = 60)
{
   uint32_t n = MIN(rt_cores(), 4u);
   uint64_t state = 1;
   pthread_t posters[2];
   rt_pool *pool;
   void *posted[2];

   cr_assert(rt_pool_create(n, &pool) == SINTER_ok);
   for (int i = 0; i < 2; i++)
      cr_assert(pthread_create(&posters[i], NULL, post_and_post, pool) == 0);
   for (int run = 0; run < 200; run++)
      run_random(pool, &state);
   for (int i = 0; i < 2; i++)
      pthread_join(posters[i], &posted[i]);
   cr_assert(n == 1 || posted[0] || posted[1], "no worker ever took a call");
   rt_pool_destroy(pool);
}

/* Kills: a call that is lost when the pool ends. */
Test(threads, calls_are_made_before_the_end, .timeout = 60)
{
   uint64_t state = 1;
   rt_pool *pool;

   for (int i = 0; i < 200; i++) {
      _Atomic uint32_t made = 0;
      cr_assert(rt_pool_create(MIN(rt_cores(), 2u), &pool) == SINTER_ok);
      if (i % 2)
         run_random(pool, &state);
      uint32_t posted = rt_pool_post(pool, count_call, &made);
      rt_pool_destroy(pool);
      cr_assert(atomic_load(&made) == posted);
   }
}

static rt_pool *busy;
static _Atomic uint32_t late;

/* Both threads are in a tile: nobody sees the first call until the second one comes. */
static void meet_and_post(const sinter_kargs *k, unsigned tile)
{
   meet(k, tile);
   if (pthread_equal(pthread_self(), caller)) {
      bool waits = rt_cores() > 1;
      cr_assert(rt_pool_post(busy, count_call, &late) == waits);
      cr_assert(atomic_load(&late) == 0);
      cr_assert(!rt_pool_post(busy, count_call, &late));
      cr_assert(atomic_load(&late) == waits);
      cr_assert(!rt_pool_post(busy, count_call, &late)); /* nobody has been seen since */
      cr_assert(atomic_load(&late) == waits);
      atomic_store(&release, true);
   }
   while (!atomic_load(&release))
      usleep(100);
}

/* Kills: a call that waits as long as the workers are away, though others come behind it; more of
 * them left to who is away. */
Test(threads, a_late_call_is_made_by_who_posts_the_next, .timeout = 20)
{
   const sinter_kargs args = {0};
   const rt_task task = {meet_and_post, &args, 0, 2, {{NULL, 0}}};
   const rt_phase phase = {&task, 2};

   caller = pthread_self();
   atomic_store(&done_in[0], 0);
   atomic_store(&release, false);
   cr_assert(rt_pool_create(2, &busy) == SINTER_ok);
   rt_pool_run(busy, &phase, 1);
   rt_pool_destroy(busy);
}

/* Kills: a call left to threads that sleep, or that do not exist. */
Test(threads, sleepers_make_no_calls, .timeout = 60)
{
   _Atomic uint32_t made = 0;
   uint32_t posted = 0;
   rt_pool *pool;

   cr_assert(rt_pool_create(1, &pool) == SINTER_ok);
   cr_assert(!rt_pool_post(pool, count_call, &made));
   rt_pool_destroy(pool);
   cr_assert(rt_pool_create(2, &pool) == SINTER_ok);
   while (posted < 1000 && rt_pool_post(pool, count_call, &made))
      expect_calls(&made, ++posted); /* takes far longer than a thread spins */
   cr_assert(posted < 1000);
   rt_pool_destroy(pool);
}

/* Kills: a caller that is bound to cores, which its own threads would inherit. */
Test(threads, the_callers_affinity_stays)
{
   cpu_set_t before, after;
   uint64_t state = 5;
   rt_pool *pool;

   cr_assert(sched_getaffinity(0, sizeof before, &before) == 0);
   cr_assert(rt_pool_create(0, &pool) == SINTER_ok);
   cr_assert(rt_pool_threads(pool) == rt_cores());
   run_random(pool, &state);
   rt_pool_destroy(pool);
   cr_assert(sched_getaffinity(0, sizeof after, &after) == 0);
   cr_assert(CPU_EQUAL(&before, &after));
}

/* Kills: a pool that ignores the process's affinity mask. */
Test(threads, the_affinity_mask_is_respected)
{
   cpu_set_t all, one;

   cr_assert(sched_getaffinity(0, sizeof all, &all) == 0);
   CPU_ZERO(&one);
   for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++) {
      if (CPU_ISSET(i, &all))
         CPU_SET(i, &one);
   }
   cr_assert(sched_setaffinity(0, sizeof one, &one) == 0);
   cr_assert(rt_cores() == 1);
   uint64_t state = 9;
   rt_pool *pool;
   cr_assert(rt_pool_create(2, &pool) == SINTER_ok);
   run_random(pool, &state);
   rt_pool_destroy(pool);
}

Test(threads, too_many_are_refused)
{
   rt_pool *pool;

   cr_assert(rt_pool_create(RT_MAX_THREADS + 1, &pool) == SINTER_usage && !pool);
}
