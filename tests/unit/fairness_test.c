// LINK: runtime base
/* fairness_test.c - mixed load on the scheduler alone, counted in steps: tokens for who generates,
 * long prompts, short ones that keep coming, and one that needs most of the pool. The cost of steps
 * is taught once, so that no clock decides. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "runtime/scheduler.h"

enum { VOCAB = 96, ROWS = 512, SLOTS = 16, MOST = 256, LONG = 4000, SHORT = 40 };

static plan_cache_group group = {
   .kind = 0, .heads = 1, .width = 2, .dtype = DT_f32, .num_layers = 1};
static const plan layers = {.num_cache_groups = 1, .cache_groups = &group};

typedef struct bench {
   rt_scheduler s;
   kv_cache *cache;
   sinter_request *all[MOST];
   uint64_t came[MOST], first[MOST], ended[MOST]; /* steps; 0: not yet */
   uint32_t num;
} bench;

static void open_bench(bench *b, rt_bounds bounds, int64_t pages)
{
   kv_cache_options o = {.num_groups = 1,
                         .pages = {pages},
                         .max_sequences = bounds.max_sequences,
                         .max_blocks = pages};
   *b = (bench){0};
   cr_assert(kv_cache_create(&o, &b->cache) == SINTER_ok);
   cr_assert(rt_scheduler_init(&b->s, &bounds, b->cache) == SINTER_ok);
   rt_step_cost_init(&b->s.cost, &layers);
}

static void close_bench(bench *b)
{
   for (uint32_t i = 0; i < b->num; i++) {
      if (b->all[i]->state != RT_DONE)
         rt_scheduler_remove(&b->s, b->all[i]);
      rt_request_free(b->all[i]);
   }
   rt_scheduler_deinit(&b->s);
   kv_cache_destroy(b->cache);
}

/* A step costs `base` ms and a tenth for each row: with a base of one, 140 rows are within a bound
 * of 20 ms, three quarters of which are planned for. What rows see costs nothing. */
static void bound_steps(bench *b, double base)
{
   for (int i = 1; i <= 40; i++) {
      rt_work w = {.rows = i * 13 % 200, .seen = 1e4 * (i * 97 % 1000)};
      rt_step_cost_learn(&b->s.cost, w, 1e-3 * base + 1e-4 * w.rows);
   }
   b->s.max_step = 20e-3;
}

static uint32_t ask(bench *b, uint32_t num_prompt, uint32_t max_tokens)
{
   static int32_t prompt[LONG];
   sinter_request_options o = {.size = sizeof o,
                               .prompt = prompt,
                               .num_prompt = num_prompt,
                               .max_tokens = max_tokens,
                               .sampling = SINTER_SAMPLING_GREEDY};

   cr_assert(b->num < MOST);
   cr_assert(rt_request_create(&o, VOCAB, 1 << 20, &b->all[b->num]) == SINTER_ok);
   b->came[b->num] = b->s.steps;
   rt_scheduler_add(&b->s, b->all[b->num]);
   return b->num++;
}

static uint32_t index_of(const bench *b, const sinter_request *r)
{
   uint32_t i = 0;

   while (b->all[i] != r)
      i++;
   return i;
}

/* What the engine does around a plan: stores the rows, and gives who has all of its own a token. */
static void step(bench *b)
{
   rt_scheduler *s = &b->s;

   cr_assert_null(rt_scheduler_plan(s), "somebody fits no pool");
   for (uint32_t i = 0; i < s->num_items; i++) {
      sinter_request *r = s->items[i].request;
      uint32_t at = index_of(b, r);

      kv_cache_commit(b->cache, &r->kv, s->items[i].first + s->items[i].rows);
      if (!s->items[i].wanted)
         continue;
      rt_request_append(r, 1);
      b->first[at] = b->first[at] ? b->first[at] : s->steps;
      if (r->num_tokens == r->max_tokens) {
         b->ended[at] = s->steps;
         rt_scheduler_remove(s, r);
      }
   }
}

static uint64_t steps_until_first(bench *b, uint32_t i)
{
   while (!b->first[i])
      step(b);
   return b->first[i] - b->came[i];
}

static void bench_of_steps(bench *b, double base)
{
   open_bench(b, (rt_bounds){SLOTS, ROWS, SLOTS, ROWS}, 1024);
   bound_steps(b, base);
   for (int i = 0; i < 3; i++)
      (void)ask(b, SHORT, 2000);
   step(b);
   step(b);
}

/* Kills: a long prompt that takes all of the time there is for prompts; tokens that wait for
 * prompts; a long prompt that short ones starve. */
Test(fairness, a_long_prompt_holds_up_nobody_and_is_read)
{
   bench b;

   bench_of_steps(&b, 1);
   uint64_t alone = steps_until_first(&b, ask(&b, LONG, 1));
   cr_assert(alone > 20, "the bound on steps divides the prompt: %llu", (unsigned long long)alone);
   close_bench(&b);

   bench_of_steps(&b, 1);
   uint64_t start = b.s.steps;
   uint32_t before = rt_request_generated(b.all[0]), slow = ask(&b, LONG, 1);
   while (!b.first[slow]) {
      if ((b.s.steps - start) % 2 == 0)
         (void)ask(&b, SHORT, 8);
      step(&b);
      cr_assert(b.s.steps - start < 4 * alone, "short prompts starve the long one");
   }
   for (int i = 0; i < 3; i++)
      cr_assert(rt_request_generated(b.all[i]) - before == b.s.steps - start,
                "%d: a token in every step", i);
   cr_assert(b.first[slow] - b.came[slow] <= 2 * alone + 2, "half of the time is the long one's");
   for (uint32_t i = slow + 1; i < b.num && b.came[i] + 4 < b.s.steps; i++)
      cr_assert(b.first[i] && b.first[i] - b.came[i] <= 3, "short prompt %u: %llu steps", i,
                (unsigned long long)(b.first[i] - b.came[i]));
   close_bench(&b);
}

/* Kills: a bound that leaves prompts a few rows of each step where the weights alone take longer;
 * one that is forgotten then: half of 40 ms are 200 rows. */
Test(fairness, a_prompt_may_take_half_as_long_as_those_beside_it)
{
   bench b;

   bench_of_steps(&b, 40);
   uint64_t steps = steps_until_first(&b, ask(&b, LONG, 1));
   cr_assert(steps >= LONG / 205 && steps <= LONG / 195 + 1, "%llu steps",
             (unsigned long long)steps);
   close_bench(&b);
}

/* Kills: an order that is not that of arrival; a large one that small ones pass as long as there
 * are any. */
Test(fairness, one_that_needs_most_of_the_pool_is_not_passed)
{
   bench b;

   open_bench(&b, (rt_bounds){SLOTS, ROWS, SLOTS, ROWS}, 32);
   for (int i = 0; i < 8; i++)
      (void)ask(&b, 30, 30);
   step(&b);
   uint32_t large = ask(&b, 400, 8), before = large;
   while (!b.first[large]) {
      (void)ask(&b, 20, 30);
      step(&b);
      cr_assert(b.s.steps < 100, "it is passed for ever");
   }
   uint64_t free_at = 0;
   for (uint32_t i = 0; i < before; i++)
      free_at = MAX(free_at, b.ended[i] ? b.ended[i] : b.s.steps);
   cr_assert(b.first[large] <= free_at + 1, "it came when those before it had ended");
   for (uint32_t i = large + 1; i < b.num; i++)
      cr_assert(!b.first[i] || b.first[i] >= b.first[large], "%u passed it", i);
   close_bench(&b);
}
