// LINK: runtime base
/* sampler_tries_test.c - tokens that are tried one by one against those that a mask allows. */
#include <criterion/criterion.h>
#include <math.h>

#include "sampler_rows.h"

enum { FEW = 40 };

static bool is_let_through(void *user, int32_t id)
{
   (void)user;
   return id % 5 == 2;
}

/* A token of those that are let through, first by tries, then by a mask. */
static int32_t pick_of_few(rt_sampler *s, const float *row, rt_ask *ask, bool *by_tries)
{
   const rt_may may = {is_let_through, NULL};
   uint32_t mask[2] = {0};
   rt_pick p;

   for (int32_t i = 0; i < FEW; i++)
      mask[i / 32] |= (uint32_t)is_let_through(NULL, i) << i % 32;
   ask->tried = false;
   ask->allowed = NULL;
   cr_assert(rt_sample_tries(s, row, ask, &may, &p) == SINTER_ok);
   *by_tries = p.id >= 0;
   if (*by_tries)
      return p.id;
   ask->tried = true;
   ask->allowed = mask;
   cr_assert(rt_sample(s, row, ask, &p) == SINTER_ok);
   return p.id;
}

/* Kills: tokens whose shares are others than without tries: by attempts that draw the same number,
 * or a last one that draws that of the first; a token that is not let through. */
Test(tries, change_no_share)
{
   sinter_sampling o = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 5};
   enum { DRAWS = 40000 };
   rt_sampler *s = sampler_of(FEW);
   float row[FEW];
   double total = 0, all = 0;
   uint32_t counts[FEW] = {0}, by_tries = 0;
   bool tries;

   for (int32_t i = 0; i < FEW; i++) {
      row[i] = noise() / 8;
      total += is_let_through(NULL, i) ? exp(row[i]) : 0;
      all += exp(row[i]);
   }
   for (uint32_t i = 0; i < DRAWS; i++) {
      counts[pick_of_few(s, row, &(rt_ask){.sampling = &o, .index = i}, &tries)]++;
      by_tries += tries;
   }
   for (int32_t i = 0; i < FEW; i++) {
      double expected = is_let_through(NULL, i) ? DRAWS * exp(row[i]) / total : 0;
      cr_assert(fabs(counts[i] - expected) <= 5 * sqrt(expected), "token %d: %u times, not %.1f", i,
                counts[i], expected);
   }
   double expected = DRAWS * (1 - pow(1 - total / all, RT_ATTEMPTS));
   cr_assert(fabs(by_tries - expected) <= 5 * sqrt(expected), "%u by tries", by_tries);
   o.temperature = 0;
   for (int32_t i = 0; i < FEW; i++)
      row[i] = i % 5 == 2 ? 1 : 0;
   cr_assert(pick_of_few(s, row, &(rt_ask){.sampling = &o}, &tries) == 2 && tries);
   row[0] = 2;
   cr_assert(pick_of_few(s, row, &(rt_ask){.sampling = &o}, &tries) == 2 && !tries);
   rt_sampler_destroy(s);
}

static bool is_any(void *user, int32_t id)
{
   (void)user;
   return id >= 0;
}

static bool has_tries(rt_sampler *s, const sinter_sampling *o)
{
   const rt_may may = {is_any, NULL};
   const float row[FEW] = {0};
   rt_pick p;

   cr_assert(rt_sample_tries(s, row, &(rt_ask){.sampling = o}, &may, &p) == SINTER_ok);
   return p.id >= 0;
}

/* Kills: a row that is tried by filters that only all allowed tokens can be put through. */
Test(tries, filters)
{
   const sinter_sampling any = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};
   sinter_sampling most = any, few = any, likely = any, near = any;
   rt_sampler *s = sampler_of(FEW);

   few.top_k = FEW;
   most.top_k = 257;
   likely.top_p = .5f;
   near.min_p = .1f;
   cr_assert(has_tries(s, &any) && has_tries(s, &few));
   cr_assert(!has_tries(s, &most) && !has_tries(s, &likely) && !has_tries(s, &near));
   rt_sampler_destroy(s);
}

/* Every n-th token, of a number that the user points to. */
static bool is_multiple(void *user, int32_t id)
{
   return id % *(const int32_t *)user == 0;
}

/* Kills: of the k best that may be picked one that is missing or too many, another largest one, or
 * another random number than that of a mask. */
Test(tries, few_of_those_that_may_come)
{
   rt_sampler *s = sampler_of(VOCAB);
   uint32_t mask[VOCAB / 32 + 1] = {0}, found[2] = {0};
   float row[VOCAB];

   for (uint32_t i = 0; i < 2000; i++) {
      const bool rare = i % 2;
      int32_t n = rare ? 100 : 2;
      sinter_sampling o = {.temperature = 4, .top_p = i % 3 ? .8f : 1, .repetition_penalty = 1};
      rt_ask ask = {.sampling = &o, .index = i, .want_logprob = true};
      const rt_may may = {is_multiple, &n};
      rt_pick tried, masked;

      o.top_k = 1 + (int32_t)dice(256);
      o.min_p = i % 5 ? 0 : .05f;
      for (int32_t k = 0; k < VOCAB; k++) {
         row[k] = noise();
         mask[k / 32] = (k % 32 ? mask[k / 32] : 0) | (uint32_t)is_multiple(&n, k) << k % 32;
      }
      if (i % 7 == 0)
         row[1] = 60; /* may never be picked */
      cr_assert(rt_sample_tries(s, row, &ask, &may, &tried) == SINTER_ok);
      ask.allowed = mask;
      ask.tried = true;
      cr_assert(rt_sample(s, row, &ask, &masked) == SINTER_ok);
      found[rare] += tried.id >= 0;
      cr_assert(tried.id < 0 || (tried.id == masked.id && tried.logprob == masked.logprob),
                "index %u: %d, not %d", i, tried.id, masked.id);
   }
   cr_assert(found[0] > 900 && found[1] < 100, "%u and %u", found[0], found[1]);
   rt_sampler_destroy(s);
}
