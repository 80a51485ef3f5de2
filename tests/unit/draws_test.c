// LINK: runtime base
/* draws_test.c - rows picked on a pool, against the sampler one by one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

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

/* Rows of the host: what each picked, by options that no draw has. */
typedef struct host_rows {
   const float *x;
   int32_t picked[ROWS];
   _Atomic(rt_sampler *) in_use[ROWS]; /* by row, while it is picked from */
   atomic_bool wrong;
} host_rows;

static int32_t picked_with_bias(rt_sampler *s, const float *row, uint32_t i)
{
   sinter_sampling o = options_of(i);
   const int32_t id = 77;
   const float bias = 1000;
   rt_pick p;

   o.num_bias = 1;
   o.bias_ids = &id;
   o.bias = &bias;
   return rt_sample(s, row, &(rt_ask){.sampling = &o, .index = i}, &p) == SINTER_ok ? p.id : -1;
}

/* Takes so long that threads meet here. */
static void pick_of_host(void *user, rt_sampler *s, const float *logits, uint32_t row)
{
   host_rows *h = user;

   atomic_store(&h->in_use[row], s);
   if (logits != h->x + (size_t)row * VOCAB || h->picked[row] != UNTOUCHED)
      atomic_store(&h->wrong, true);
   h->picked[row] = picked_with_bias(s, logits, row);
   nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
   for (uint32_t i = 0; i < ROWS; i++)
      if (i != row && atomic_load(&h->in_use[i]) == s)
         atomic_store(&h->wrong, true);
   atomic_store(&h->in_use[row], NULL);
}

/* Kills: a row that is drawn with another's options, logits or scratch memory, or by two threads;
 * rows below `first` that are picked from, rows of the host that are drawn, left out or picked
 * twice; logits without numbers that are picked from. */
static void check(uint32_t threads, draw_how first)
{
   host_rows host = {0};
   draw how[ROWS];
   int32_t ids[ROWS];
   float *x = random_rows();
   rt_sampler *s;
   rt_draws *d;
   rt_pool *pool;

   cr_assert(rt_sampler_create(VOCAB, &s) == SINTER_ok);
   cr_assert(rt_pool_create(threads, &pool) == SINTER_ok);
   cr_assert(rt_draws_create(VOCAB, threads, ROWS, &d) == SINTER_ok);
   x[10 * VOCAB + VOCAB - 1] = NAN;
   x[9 * VOCAB] = INFINITY;
   for (uint32_t i = 0; i < ROWS; i++) {
      const sinter_sampling o = options_of(i);
      how[i] = i % 3 == 2 ? (draw){.how = DRAW_host} : rt_draw_of(&o, i);
      ids[i] = host.picked[i] = UNTOUCHED;
   }
   host.x = x;
   rt_drawn_rows rows = {how, ROWS, first, x, ids, {pick_of_host, &host}};
   rt_draws_run(d, pool, &rows);
   cr_assert(!atomic_load(&host.wrong), "with %u threads", threads);
   for (uint32_t i = 0; i < ROWS; i++) {
      const int32_t want = how[i].how >= first ? picked_alone(s, x + i * VOCAB, i) : UNTOUCHED;
      cr_assert(ids[i] == want, "row %u with %u threads: %d, not %d", i, threads, ids[i], want);
      cr_assert(host.picked[i] == (how[i].how == DRAW_host ? 77 : UNTOUCHED), "row %u", i);
   }
   rows.pick.fn = NULL; /* nobody's: nothing may be called */
   rt_draws_run(d, pool, &rows);
   rows.count = 0; /* nothing to do */
   rt_draws_run(d, pool, &rows);
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
