/* sampler_rows.h - rows of random logits, and a sampler for them. */
#ifndef TESTS_SAMPLER_ROWS_H
#define TESTS_SAMPLER_ROWS_H

#include <criterion/criterion.h>

#include "runtime/sampler.h"

enum { VOCAB = 1000 };

static uint64_t dice_state = 1;

static inline uint32_t dice(uint32_t n)
{
   dice_state = dice_state * 6364136223846793005u + 1442695040888963407u;
   return (uint32_t)(dice_state >> 33) % n;
}

static inline float noise(void)
{
   return ((float)dice(1 << 20) / (1 << 19) - 1) * 12;
}

static inline rt_sampler *sampler_of(uint32_t vocab)
{
   rt_sampler *s;

   cr_assert(rt_sampler_create(vocab, &s) == SINTER_ok);
   return s;
}

#endif
