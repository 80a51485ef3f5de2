// LINK: runtime base
/* step_cost_test.c - what the scheduler expects of steps, against steps that were measured. No
 * clock is read here: the times are in step_costs.h. */
#include <criterion/criterion.h>
#include <math.h>

#include "runtime/step_cost.h"
#include "step_costs.h"

enum { PROMPT = 4000, LEAST = 4, DECODING = 4 };

/* The machine of the record was slow: a bound that leaves room for some rows everywhere. */
static const double BOUND = 0.2, SHARE = 0.9;

/* A model with one kind of layers, or with five windows to one layer that sees everything. */
static rt_step_cost cost_of(int64_t window)
{
   plan_cache_group groups[2] = {
      {.kind = 0, .heads = 3, .width = 64, .dtype = DT_f16, .num_layers = window ? 3 : 30},
      {.kind = 1, .heads = 3, .width = 64, .window = window, .dtype = DT_f16, .num_layers = 15}};
   rt_step_cost c;

   rt_step_cost_init(&c, &(plan){.num_cache_groups = window ? 2 : 1, .cache_groups = groups});
   return c;
}

static int find(const int *list, int count, double x)
{
   int i = 0;

   while (i + 2 < count && x >= list[i + 1])
      i++;
   return i;
}

/* Seconds of a step that has so many rows of a prompt from `first` on, and four others' tokens:
 * between the measured ones. */
static double measured(double rows, double first)
{
   int r = find(step_cost_rows, STEP_COST_ROWS, rows);
   int f = find(step_cost_first, STEP_COST_FIRSTS, first);
   double x = (rows - step_cost_rows[r]) / (step_cost_rows[r + 1] - step_cost_rows[r]);
   double y = (first - step_cost_first[f]) / (step_cost_first[f + 1] - step_cost_first[f]);
   double low = step_cost_ms[r][f] * (1 - y) + step_cost_ms[r][f + 1] * y;
   double high = step_cost_ms[r + 1][f] * (1 - y) + step_cost_ms[r + 1][f + 1] * y;

   return (low * (1 - x) + high * x) * 1e-3;
}

typedef struct reading {
   int steps, over; /* over: of them beyond the bound and a fifth */
   double worst, total;
   int64_t early, late; /* rows of the steps at 500 and at the end */
} reading;

/* Reads a prompt as the scheduler does. noise: steps take up to this part more or less than
 * measured. knows: whether the expectation is told what rows see. */
static reading read_prompt(rt_step_cost *c, double noise, bool knows)
{
   reading got = {0};
   uint32_t dice = 1;

   for (int64_t at = 0; at < PROMPT;) {
      rt_work others = rt_step_cost_work(c, 300, 1);
      others.rows *= DECODING;
      others.seen *= DECODING * knows;
      int64_t rows =
         rt_step_cost_rows(c, others, knows ? at : 0, LEAST, MIN(512, PROMPT - at), SHARE * BOUND);
      rt_work work = rt_step_cost_work(c, knows ? at : 0, rows);
      dice = dice * 1664525 + 1013904223;
      double seconds =
         measured((double)rows, (double)at) * (1 + noise * ((dice >> 8) / 8388608.0 - 1));

      work.rows += others.rows;
      work.seen = (work.seen + others.seen) * knows;
      rt_step_cost_learn(c, work, seconds);
      got.steps++;
      got.over += seconds > 1.2 * BOUND;
      got.worst = MAX(got.worst, seconds);
      got.total += seconds;
      got.early = at <= 500 ? rows : got.early;
      got.late = PROMPT - at > rows ? rows : got.late;
      at += rows;
   }
   return got;
}

/* Kills: an expectation that does not know the context (late pieces are then beyond the bound), one
 * that is so careful that the prompt takes far longer than it must. */
Test(step_cost, late_pieces_of_a_long_prompt_keep_the_bound)
{
   rt_step_cost c = cost_of(0);

   for (int prompt = 0; prompt < 3; prompt++) {
      reading got = read_prompt(&c, 0.1, true);
      /* the first prompt is where costs are learned; then the 99th percentile counts */
      cr_assert(got.over * 100 <= got.steps || (prompt == 0 && got.over <= 2),
                "%d of %d steps, the worst %.1f ms", got.over, got.steps, got.worst * 1e3);
      cr_assert(got.late < got.early, "%lld rows late, %lld early", (long long)got.late,
                (long long)got.early);
      cr_assert(prompt == 0 || got.total / got.steps > 0.6 * BOUND,
                "steps of %.1f ms waste the rest", got.total / got.steps * 1e3);
   }
}

/* The same without knowing: that the steps above are hard to keep. */
Test(step_cost, without_the_context_the_bound_is_not_kept)
{
   rt_step_cost c = cost_of(0);

   (void)read_prompt(&c, 0.1, false);
   reading got = read_prompt(&c, 0.1, false);
   cr_assert(got.over * 100 > got.steps, "%d of %d steps", got.over, got.steps);
}

/* Kills: a level that does not follow the machine. All steps take twice as long from here on. */
Test(step_cost, a_slower_machine_is_noticed_at_once)
{
   rt_step_cost c = cost_of(0);

   (void)read_prompt(&c, 0, true);
   rt_work some = rt_step_cost_work(&c, 1000, 64);
   double before = rt_step_cost_seconds(&c, some);
   rt_step_cost_learn(&c, some, 2 * before);
   cr_assert(rt_step_cost_seconds(&c, some) > 1.9 * before);
   for (int i = 0; i < 100; i++)
      rt_step_cost_learn(&c, some, before);
   cr_assert(fabs(rt_step_cost_seconds(&c, some) / before - 1) < 0.05,
             "and that it is over, by and by");
}

/* Kills: a fit that mistakes one cost for another. */
Test(step_cost, the_three_costs_are_told_apart)
{
   rt_step_cost c = cost_of(0);

   for (int i = 0; i < 40; i++) {
      rt_work w = rt_step_cost_work(&c, i * 100, 20 + i * 37 % 100);
      rt_step_cost_learn(&c, w, 0.004 + 2e-4 * w.rows + 5e-8 * w.seen);
   }
   for (int64_t first = 0; first <= 8000; first += 2000) {
      rt_work w = rt_step_cost_work(&c, first, 50);
      double want = 0.004 + 2e-4 * w.rows + 5e-8 * w.seen, got = rt_step_cost_seconds(&c, w);
      cr_assert(fabs(got / want - 1) < 0.02, "%.2f ms, not %.2f", got * 1e3, want * 1e3);
   }
}

/* Kills: windows that count as if they saw everything. */
Test(step_cost, what_rows_see_is_summed_over_layers)
{
   rt_step_cost c = cost_of(0);
   cr_assert(fabs(rt_step_cost_work(&c, 0, 10).seen - 55) < 1e-9);
   cr_assert(fabs(rt_step_cost_work(&c, 100, 2).seen - 203) < 1e-9);
   c = cost_of(40);
   for (int64_t first = 0; first < 100; first += 7) {
      double want = 0;
      for (int64_t p = first; p < first + 30; p++)
         want += (3 * (double)(p + 1) + 15 * (double)MIN(p + 1, 40)) / 18;
      cr_assert(fabs(rt_step_cost_work(&c, first, 30).seen - want) < 1e-6);
   }
}

/* Kills: a prompt that others' tokens stop altogether; a first step that takes all; steps that are
 * not filled to groups. */
Test(step_cost, rows_are_bounded_both_ways)
{
   rt_step_cost c = cost_of(0);

   cr_assert(rt_step_cost_rows(&c, (rt_work){4, 0}, 0, LEAST, 4000, BOUND) == 28,
             "nothing is known yet");
   rt_step_cost_learn(&c, rt_step_cost_work(&c, 0, 32), 0.76);
   cr_assert(rt_step_cost_rows(&c, (rt_work){4, 0}, 0, LEAST, 4000, BOUND) == LEAST);
   cr_assert(rt_step_cost_rows(&c, (rt_work){4, 0}, 0, LEAST, 3, BOUND) == 3);
   cr_assert(rt_step_cost_rows(&c, (rt_work){4, 0}, 0, 0, 4000, BOUND) == 4,
             "up to a multiple of four");
   rt_step_cost_learn(&c, rt_step_cost_work(&c, 0, 32), 1e-6);
   for (int i = 0; i < 200; i++)
      rt_step_cost_learn(&c, rt_step_cost_work(&c, 0, 32), 1e-6);
   cr_assert(rt_step_cost_rows(&c, (rt_work){4, 0}, 0, LEAST, 4000, BOUND) == 60,
             "at most twice of what was seen");
}
