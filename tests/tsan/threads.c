/* threads.c - the pool under the thread sanitizer: plain data passed over barriers, runs with and
 * without parking, pools made and destroyed. A plain program, since Criterion cannot run there.
 *
 * Kills: a barrier or start gate without the ordering that plain data needs. */
#include <stdio.h>
#include <time.h>

#include "runtime/threads.h"

enum { TILES = 96, PHASES = 40 };

/* Not atomic on purpose: each phase reads what the phase before has written by other threads. */
static uint64_t cells[2][TILES];

static void step(const sinter_kargs *k, unsigned tile)
{
   int64_t phase = k->konst[0];

   cells[phase & 1][tile] = cells[~phase & 1][(tile * 37 + 11) % TILES] + (uint64_t)phase;
}

static uint64_t expected(int runs)
{
   uint64_t now[2][TILES] = {{0}};

   for (int r = 0; r < runs; r++) {
      for (int p = 0; p < PHASES; p++) {
         for (int t = 0; t < TILES; t++)
            now[p & 1][t] = now[~p & 1][(t * 37 + 11) % TILES] + (uint64_t)p;
      }
   }
   uint64_t sum = 0;
   for (int t = 0; t < TILES; t++)
      sum = sum * 31 + now[0][t] + now[1][t];
   return sum;
}

static int run(uint32_t threads, int runs)
{
   static sinter_kargs args[PHASES];
   static rt_task tasks[PHASES];
   static uint8_t memory[64 * TILES]; /* what a tile is said to read */
   rt_phase phases[PHASES];
   rt_pool *pool;
   uint64_t sum = 0;

   memset(cells, 0, sizeof cells);
   if (rt_pool_create(threads, &pool) != SINTER_ok)
      return 1;
   for (int i = 0; i < PHASES; i++) {
      args[i].konst[0] = i;
      tasks[i] = (rt_task){step, &args[i], 0, TILES, {{memory, 64}}};
      phases[i] = (rt_phase){&tasks[i], TILES};
   }
   for (int r = 0; r < runs; r++) {
      rt_pool_run(pool, phases, PHASES);
      if (r % 8 == 7)
         nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
   }
   rt_pool_destroy(pool);
   for (int t = 0; t < TILES; t++)
      sum = sum * 31 + cells[0][t] + cells[1][t];
   return sum != expected(runs);
}

int main(void)
{
   static const uint32_t threads[] = {1, 2, 3, 5};

   for (size_t i = 0; i < countof(threads); i++) {
      if (run(threads[i], 32)) {
         fprintf(stderr, "threads: wrong result with %u threads\n", threads[i]);
         return 1;
      }
   }
   return 0;
}
