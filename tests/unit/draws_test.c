// LINK: runtime base
/* draws_test.c - rows picked on a pool, against the sampler one by one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/draws.h"
#include "runtime/sampler.h"

enum { VOCAB = 5000, ROWS = 33, UNTOUCHED = -77 };

static float *random_rows(void)
{
   float *x = malloc(sizeof(float[ROWS][VOCAB]));
   uint64_t state = 3;

   for (uint32_t i = 0; i < ROWS * VOCAB; i++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      x[i] = (float)(int)(state >> 44) / (1 << 16) - 8;
   }
   return x;
}

/* Of row i: greedy, or by filters of many kinds. */
static sinter_sampling options_of(uint32_t i)
{
   sinter_sampling o = SINTER_SAMPLING_GREEDY;

   o.temperature = i % 4 ? .5f * (float)(i % 4) : 0;
   o.top_k = i % 5 == 1 ? 40 : i % 5 == 2 ? 600 : 0;
   o.top_p = i % 3 == 1 ? .9f : 1;
   o.min_p = i % 7 == 3 ? .02f : 0;
   o.seed = 1000 + i;
   return o;
}

static int32_t picked_alone(rt_sampler *s, const float *row, uint32_t i)
{
   const sinter_sampling o = options_of(i);
   const rt_ask ask = {.sampling = &o, .index = i};
   rt_pick p;

   return rt_sample(s, row, &ask, &p) == SINTER_ok ? p.id : -1;
}

/* Kills: a row that is drawn with another's options, logits or scratch memory, or by two threads;
 * rows of the host, or below `first`, that are picked from; logits without numbers that are. */
static void check(uint32_t threads, draw_how first)
{
   draw how[ROWS];
   int32_t ids[ROWS];
   float *x = random_rows();
   rt_sampler *s;
   rt_draws *d;
   rt_pool *pool;

   cr_assert(rt_sampler_create(VOCAB, &s) == SINTER_ok);
   cr_assert(rt_pool_create(threads, &pool) == SINTER_ok);
   cr_assert(rt_draws_create(VOCAB, threads, ROWS, &d) == SINTER_ok);
   x[8 * VOCAB + VOCAB - 1] = NAN;
   x[9 * VOCAB] = INFINITY;
   for (uint32_t i = 0; i < ROWS; i++) {
      const sinter_sampling o = options_of(i);
      how[i] = i % 11 == 10 ? (draw){.how = DRAW_host} : rt_draw_of(&o, i);
      ids[i] = UNTOUCHED;
   }
   rt_draws_run(d, pool, how, ROWS, first, x, ids);
   for (uint32_t i = 0; i < ROWS; i++) {
      const int32_t want = how[i].how >= first ? picked_alone(s, x + i * VOCAB, i) : UNTOUCHED;
      cr_assert(ids[i] == want, "row %u with %u threads: %d, not %d", i, threads, ids[i], want);
   }
   rt_draws_run(d, pool, how, 0, first, x, ids); /* nothing to do */
   rt_draws_destroy(d);
   rt_pool_destroy(pool);
   rt_sampler_destroy(s);
   free(x);
}

Test(draws, as_the_sampler_alone)
{
   for (uint32_t threads = 1; threads <= 3; threads++) {
      check(threads, DRAW_best);
      check(threads, DRAW_random);
   }
}
