// LINK: runtime base
/* sampler_test.c - picks against a sampler that sorts everything in double. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/rows.h"
#include "runtime/sampler.h"
#include "sampler_rows.h"

static int32_t pick(rt_sampler *s, const float *row, const sinter_sampling *o, uint32_t index)
{
   rt_ask ask = {.sampling = o, .index = index};
   rt_pick p;

   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok, "%s", sinter_error());
   return p.id;
}

/* ---- rows ---- */

/* Kills: a lane or a tail that is not looked at; a tie that goes to the higher id. */
Test(rows, max_is_the_lowest_index_of_the_largest)
{
   float x[700];

   for (uint32_t n = 1; n < 700; n += 1 + n / 7) {
      for (int round = 0; round < 20; round++) {
         uint32_t at, best = 0;
         float max;
         for (uint32_t i = 0; i < n; i++)
            x[i] = (float)(int)dice(40) - 60;
         for (uint32_t i = 1; i < n; i++)
            best = x[i] > x[best] ? i : best;
         cr_assert(rt_row_max(x, n, &max, &at) && at == best && max == x[best]);
      }
   }
}

/* Kills: NaN or infinity that passes, in any lane. */
Test(rows, bad_values_are_noticed)
{
   float x[37], max;
   uint32_t at;

   for (uint32_t i = 0; i < 37; i++) {
      for (uint32_t k = 0; k < 37; k++)
         x[k] = (float)k;
      x[i] = NAN;
      cr_assert(!rt_row_max(x, 37, &max, &at));
      x[i] = INFINITY;
      cr_assert(!rt_row_max(x, 37, &max, &at));
      x[i] = -INFINITY;
      cr_assert(rt_row_max(x, 37, &max, &at));
   }
   for (uint32_t k = 0; k < 37; k++)
      x[k] = -INFINITY;
   cr_assert(!rt_row_max(x, 37, &max, &at));
}

/* Kills: a coefficient of the series; a sum that misses the tail. */
Test(rows, exp_is_exp)
{
   float x[1001], y[1001];
   double sum = 0;

   for (int i = 0; i < 1001; i++)
      x[i] = 5 - (float)i * 0.0917f;
   x[1000] = -INFINITY;
   double got = rt_row_exp(x, 1001, 5, y);
   for (int i = 0; i < 1001; i++) {
      double e = exp((double)(x[i] - 5.0f));
      sum += e;
      cr_assert(fabs(y[i] - e) <= 3e-7 * e + 1e-37, "exp(%g)", (double)x[i] - 5);
   }
   cr_assert(fabs(got - sum) <= 1e-6 * sum && y[1000] == 0);
}

static int by_value(const void *a, const void *b)
{
   const rt_candidate *x = a, *y = b;

   if (x->value != y->value)
      return x->value < y->value ? 1 : -1;
   return x->id - y->id;
}

static void sorted(const float *x, uint32_t n, rt_candidate *out)
{
   for (uint32_t i = 0; i < n; i++)
      out[i] = (rt_candidate){x[i], (int32_t)i};
   qsort(out, n, sizeof *out, by_value);
}

/* Kills: a partial selection that loses ties or order. */
Test(rows, top_is_the_beginning_of_the_sorted_row)
{
   static rt_candidate want[VOCAB], got[VOCAB];
   float x[VOCAB];

   for (int round = 0; round < 60; round++) {
      uint32_t n = 1 + dice(VOCAB), k = 1 + dice(300);
      for (uint32_t i = 0; i < n; i++)
         x[i] = round % 2 ? noise() : (float)dice(12);
      sorted(x, n, want);
      cr_assert(rt_row_top(x, n, k, got) == MIN(k, n));
      for (uint32_t i = 0; i < MIN(k, n); i++)
         cr_assert(got[i].id == want[i].id && got[i].value == want[i].value);
   }
}

/* ---- philox ---- */

/* The known answer of Random123 for key 0, counter 0. Kills: a wrong
 * constant or number of rounds. */
Test(sampler, philox_known_answer)
{
   cr_assert(rt_philox(0, 0) == (0x6627e8d5ull << 32 | 0xe169c58dull));
   cr_assert(rt_philox(0, 1) != rt_philox(0, 0) && rt_philox(1, 0) != rt_philox(0, 0));
}

/* ---- picks ---- */

/* What may be picked with these filters: sorted, in double. Returns how many, and their weights. */
static uint32_t reference(const float *row, const sinter_sampling *o, rt_candidate *out, double *p)
{
   double total = 0, at = 0;
   uint32_t n = VOCAB, keep = 0;

   sorted(row, VOCAB, out);
   if (o->top_k)
      n = MIN(n, (uint32_t)o->top_k);
   for (uint32_t i = 0; i < n; i++)
      total += p[i] = exp(((double)out[i].value - out[0].value) / o->temperature);
   while (keep < n && (keep == 0 || (at < o->top_p * total && p[keep] >= o->min_p)))
      at += p[keep++];
   return keep;
}

/* Kills: a weight at the floor, or in the last block, that is left out; a weight that is not exp,
 * or another one at the end of a row; a sum that is not the weights'. */
Test(rows, weights)
{
   static rt_candidate got[VOCAB];
   static uint32_t weights[VOCAB];
   float x[VOCAB];

   for (int round = 0; round < 60; round++) {
      uint32_t n = 1 + dice(VOCAB), count = 0, cap = 1 + dice(VOCAB), floor = 1 + dice(1 << 30);
      uint64_t sum = 0;
      for (uint32_t i = 0; i < n; i++)
         x[i] = (float)dice(64) / 16;
      uint64_t all = rt_row_weigh(x, n, 4, 1.5f, weights);
      uint32_t heavy = rt_row_heavy(x, weights, n, floor, got, cap);
      for (uint32_t i = 0; i < n; i++) {
         double want = exp(((double)x[i] - 4) * 1.5) * 0x1p30;
         cr_assert(fabs(weights[i] - want) <= 3e-7 * want + 0.5 &&
                   weights[i] == rt_weigh(x[i], 4, 1.5f));
         sum += weights[i];
         if (weights[i] < floor)
            continue;
         cr_assert(count >= cap || (got[count].id == (int32_t)i && got[count].value == x[i]));
         count++;
      }
      cr_assert(all == sum && heavy == count);
   }
   cr_assert(rt_weigh(-INFINITY, 0, 1) == 0 && rt_weigh(-30, 0, 1) == 0 &&
             rt_weigh(7, 7, 1e6f) == 1 << 30);
}

/* Draws many times and compares frequencies with the reference's probabilities. */
static void check_distribution(const float *row, const sinter_sampling *options)
{
   static rt_candidate kept[VOCAB];
   static double p[VOCAB];
   enum { DRAWS = 4000 };
   sinter_sampling o = *options;
   rt_sampler *s = sampler_of(VOCAB);
   uint32_t n = reference(row, &o, kept, p), counts[VOCAB] = {0};
   double total = 0;

   for (uint32_t i = 0; i < n; i++)
      total += p[i];
   for (uint32_t i = 0; i < DRAWS; i++)
      counts[pick(s, row, &o, i)]++;
   for (uint32_t i = 0; i < n; i++) {
      double expected = DRAWS * p[i] / total;
      double off = fabs(counts[kept[i].id] - expected);
      cr_assert(off <= 6 * sqrt(expected) + 3, "token %d: %u times, not %.1f", kept[i].id,
                counts[kept[i].id], expected);
      counts[kept[i].id] = 0;
   }
   for (uint32_t i = 0; i < VOCAB; i++)
      cr_assert(!counts[i], "token %u is filtered but was drawn", i);
   rt_sampler_destroy(s);
}

/* Kills: a filter left out, applied in another order, or off by one; temperature on the wrong side.
 */
Test(sampler, draws_follow_the_filtered_distribution)
{
   static const sinter_sampling options[] = {
      {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
      {.temperature = 0.7f, .top_p = 1, .repetition_penalty = 1, .top_k = 5},
      {.temperature = 3, .top_p = 1, .repetition_penalty = 1, .top_k = 300},
      {.temperature = 2, .top_p = 0.6f, .repetition_penalty = 1},
      {.temperature = 2, .top_p = 0.7f, .repetition_penalty = 1, .top_k = 20},
      {.temperature = 4, .top_p = 0.5f, .repetition_penalty = 1, .top_k = 400},
      {.temperature = 2, .top_p = 1, .repetition_penalty = 1, .min_p = 0.1f},
      {.temperature = 3, .top_p = 0.9f, .repetition_penalty = 1, .top_k = 50, .min_p = 0.3f},
      {.temperature = 3, .top_p = 0.9f, .repetition_penalty = 1, .min_p = 0.05f},
   };
   float row[VOCAB];

   for (size_t i = 0; i < countof(options); i++) {
      for (int k = 0; k < VOCAB; k++)
         row[k] = noise();
      check_distribution(row, &options[i]);
   }
}

/* Kills: a top_p that is too small for its unit, and then stands for none. */
Test(sampler, the_least_top_p_leaves_the_likeliest)
{
   sinter_sampling o = {.temperature = 50, .repetition_penalty = 1};
   rt_sampler *s = sampler_of(VOCAB);
   float row[VOCAB];

   for (int k = 0; k < VOCAB; k++)
      row[k] = k == 77 ? 13 : noise();
   for (int power = -149; power < 0; power += 4) {
      o.top_p = ldexpf(1, power) / VOCAB;
      for (uint32_t i = 0; i < 20 && o.top_p > 0; i++)
         cr_assert(pick(s, row, &o, i) == 77, "top_p %g", (double)o.top_p);
   }
   rt_sampler_destroy(s);
}

/* A row too flat to be sorted goes by the histogram. Kills: a cut at another place there. */
Test(sampler, flat_rows_are_cut_at_the_same_place)
{
   enum { WIDE = 6000, DRAWS = 3000 };
   sinter_sampling o = {.temperature = 1, .top_p = 0.5f, .repetition_penalty = 1};
   rt_sampler *s = sampler_of(WIDE);
   float *row = calloc(WIDE, sizeof *row);
   int32_t highest = 0;

   row[0] = 1; /* heavy enough to be sorted, but not enough alone */
   for (uint32_t i = 0; i < DRAWS; i++) {
      int32_t id = pick(s, row, &o, i);
      highest = id > highest ? id : highest;
   }
   cr_assert(highest < WIDE / 2 && highest > WIDE / 2 - WIDE / 50, "%d", highest);
   free(row);
   rt_sampler_destroy(s);
}

/* Kills: equal values at the end of top-k kept or dropped by anything but the id. */
Test(sampler, ties_at_the_cut_go_to_the_lower_id)
{
   sinter_sampling o = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};
   rt_sampler *s = sampler_of(VOCAB);
   float row[VOCAB];

   for (int k = 0; k < VOCAB; k++)
      row[k] = 1.5f;
   for (int pass = 0; pass < 2; pass++) {
      o.top_k = pass ? 300 : 3;
      for (uint32_t i = 0; i < 500; i++)
         cr_assert(pick(s, row, &o, i) < o.top_k);
   }
   o.temperature = 0;
   cr_assert(pick(s, row, &o, 0) == 0);
   rt_sampler_destroy(s);
}

/* A row without filters is drawn from by its blocks' sums, one with a filter that keeps all weight
 * by weight: over vocabularies with whole and with part blocks. Kills: a block too far, a weight of
 * another block, a part block left out. */
Test(sampler, a_filter_that_keeps_all_changes_nothing)
{
   sinter_sampling any = {.temperature = 3, .top_p = 1, .repetition_penalty = 1, .seed = 9},
                   all = any;
   static const uint32_t sizes[] = {1, 255, 256, 257, 512, VOCAB};
   float row[VOCAB];

   for (uint32_t n = 0; n < countof(sizes); n++) {
      rt_sampler *s = sampler_of(sizes[n]);
      all.top_k = (int32_t)MAX(sizes[n], 300u); /* no smaller one takes that way */
      for (uint32_t k = 0; k < sizes[n]; k++)
         row[k] = k % 300 == 7 ? -INFINITY : noise();
      for (uint32_t i = 0; i < 1000; i++)
         cr_assert(pick(s, row, &any, i) == pick(s, row, &all, i), "size %u", sizes[n]);
      rt_sampler_destroy(s);
   }
}

/* Kills: a pick that depends on what was picked before it, or not on the seed and index. */
Test(sampler, a_pick_depends_on_seed_and_index_only)
{
   sinter_sampling o = {.temperature = 5, .top_p = 0.99f, .repetition_penalty = 1, .seed = 42};
   rt_sampler *s = sampler_of(VOCAB), *t = sampler_of(VOCAB);
   float row[VOCAB];
   int32_t forward[50];
   uint32_t differs = 0, other_seed = 0;

   for (int k = 0; k < VOCAB; k++)
      row[k] = noise();
   for (uint32_t i = 0; i < 50; i++)
      forward[i] = pick(s, row, &o, i);
   for (uint32_t i = 50; i-- > 0;) {
      cr_assert(pick(t, row, &o, i) == forward[i]);
      differs += forward[i] != forward[0];
   }
   o.seed = 43;
   for (uint32_t i = 0; i < 50; i++)
      other_seed += pick(t, row, &o, i) != forward[i];
   cr_assert(differs > 20 && other_seed > 20);
   rt_sampler_destroy(s);
   rt_sampler_destroy(t);
}

/* Kills: penalties on the wrong tokens, of the wrong sign, or in the wrong order; bias left out. */
Test(sampler, bias_and_penalties)
{
   sinter_sampling o = SINTER_SAMPLING_GREEDY;
   rt_sampler *s = sampler_of(8);
   rt_history h;
   rt_ask ask = {.sampling = &o, .history = &h};
   rt_pick p;
   float row[8] = {0, 4, 3.9f, 3, -1, -2, -3, -4};
   int32_t ids[] = {1, 3};
   float bias[] = {-INFINITY, 0.95f};

   cr_assert(rt_history_init(&h, 8) == SINTER_ok);
   rt_history_add(&h, 1, false);
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 1);
   o.presence_penalty = 5; /* of generated tokens only */
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 1);
   rt_history_add(&h, 1, true);
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 2);
   o.presence_penalty = 0;
   o.frequency_penalty = 0.06f;
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 1);
   rt_history_add(&h, 1, true);
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 2);
   o.frequency_penalty = 0;
   o.repetition_penalty = 1.1f;
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 2);
   o.repetition_penalty = 1;
   o.num_bias = 2;
   o.bias_ids = ids;
   o.bias = bias;
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 3);
   for (int i = 0; i < 8; i++)
      row[i] = -5;
   row[1] = -4;
   o.num_bias = 0;
   o.repetition_penalty = 2; /* a negative logit gets smaller, too */
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 0);
   rt_history_deinit(&h);
   rt_sampler_destroy(s);
}

/* Kills: log-probabilities of adjusted logits; a top list that is not sorted or has another base.
 */
Test(sampler, logprobs_are_of_the_raw_logits)
{
   sinter_sampling o = {.temperature = 2, .top_p = 0.8f, .repetition_penalty = 1, .top_k = 7};
   rt_sampler *s = sampler_of(VOCAB);
   rt_ask ask = {.sampling = &o, .want_logprob = true, .num_top = 20};
   static rt_candidate all[VOCAB];
   float row[VOCAB], bias = 3;
   int32_t id = 17;
   double sum = 0;
   rt_pick p;

   o.num_bias = 1;
   o.bias_ids = &id;
   o.bias = &bias;
   for (int k = 0; k < VOCAB; k++)
      sum += exp(row[k] = noise());
   sorted(row, VOCAB, all);
   for (ask.index = 0; ask.index < 30; ask.index++) {
      cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok);
      cr_assert(fabs(p.logprob - (row[p.id] - log(sum))) < 1e-5);
      cr_assert(p.num_top == 20);
      for (int i = 0; i < 20; i++) {
         cr_assert(p.top_ids[i] == all[i].id);
         cr_assert(fabs(p.top_logprobs[i] - (all[i].value - log(sum))) < 1e-5);
      }
   }
   rt_sampler_destroy(s);
}

/* Kills: garbage from the device that becomes a token. */
Test(sampler, nan_is_a_failure)
{
   sinter_sampling o = SINTER_SAMPLING_GREEDY;
   rt_sampler *s = sampler_of(9);
   rt_ask ask = {.sampling = &o};
   float row[9] = {0};
   rt_pick p;

   row[8] = NAN;
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_failed);
   row[8] = 1;
   cr_assert(rt_sample(s, row, &ask, &p) == SINTER_ok && p.id == 8);
   rt_sampler_destroy(s);
}

static void expect_failure(rt_sampler *s, const float *row, const rt_ask *ask, const char *says)
{
   rt_pick p;

   cr_assert(rt_sample(s, row, ask, &p) == SINTER_failed);
   cr_assert(strstr(sinter_error(), says), "%s", sinter_error());
}

/* Kills: one cause named for another: of the model's logits, of a grammar without a token, of bias
 * and penalties. */
Test(sampler, failures_say_which)
{
   static const uint32_t none[1] = {0}, second[1] = {2};
   static const int32_t id = 1;
   const float nothing = -INFINITY, bad[3] = {0, NAN, 0}, good[3] = {0, 1, 2};
   sinter_sampling o = SINTER_SAMPLING_GREEDY, biased = o;
   rt_sampler *s = sampler_of(3);

   biased.num_bias = 1, biased.bias_ids = &id, biased.bias = &nothing;
   expect_failure(s, bad, &(rt_ask){.sampling = &o, .allowed = second}, "logits are not finite");
   expect_failure(s, good, &(rt_ask){.sampling = &o, .allowed = none}, "no token of the model");
   expect_failure(s, good, &(rt_ask){.sampling = &biased, .allowed = second}, "logit bias");
   rt_sampler_destroy(s);
}

Test(sampler, options_are_checked)
{
   sinter_sampling o = SINTER_SAMPLING_GREEDY;
   int32_t id = 10;
   float bias = 0;

#define REFUSED(field, value)                                                                      \
   do {                                                                                            \
      sinter_sampling bad = o;                                                                     \
      bad.field = value;                                                                           \
      cr_assert(rt_sampling_check(&bad, 10) == SINTER_usage);                                      \
   } while (0)
   cr_assert(rt_sampling_check(&o, 10) == SINTER_ok);
   REFUSED(temperature, -1);
   REFUSED(temperature, NAN);
   REFUSED(top_k, -1);
   REFUSED(top_p, 0);
   REFUSED(top_p, 1.5f);
   REFUSED(top_p, NAN);
   REFUSED(min_p, -0.1f);
   REFUSED(min_p, 2);
   REFUSED(repetition_penalty, 0);
   REFUSED(presence_penalty, INFINITY);
   REFUSED(frequency_penalty, NAN);
   REFUSED(num_bias, 1);
   o.num_bias = 1;
   o.bias_ids = &id;
   o.bias = &bias;
   cr_assert(rt_sampling_check(&o, 10) == SINTER_usage);
   id = 9;
   cr_assert(rt_sampling_check(&o, 10) == SINTER_ok);
   bias = INFINITY;
   cr_assert(rt_sampling_check(&o, 10) == SINTER_usage);
}
