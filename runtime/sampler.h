/* sampler.h - from a row of logits to a token.
 *
 *    logits ─ bias ─ penalties ─ grammar ─▶ argmax                                   temperature 0
 *                                        └▶ / temperature ─ top-k ─ top-p ─ min-p ─▶ draw
 *
 * A pick depends on the row, the request's options and tokens, and the index of the token: never on
 * the batch, the step or the thread. Random numbers are philox(seed, index), with the number of the
 * attempt in the upper half of the index. Ties go to the lower id. Log-probabilities are those of
 * the raw logits. Nothing is allocated by rt_sample.
 *
 * Filters keep a beginning of the row in the order (value, id). What is kept is drawn from in the
 * order of ids: token i where the weights up to it first exceed the share of their sum that the
 * random number is. Weights are whole numbers (rows.h), and shares are rounded down to such, so
 * kernels/sample.cuh picks the same token on a GPU. */
#ifndef RT_SAMPLER_H
#define RT_SAMPLER_H

#include "base/draw.h"

enum { RT_MAX_TOP = 20 };

/* The tokens a request has seen, with what penalties need. */
typedef struct rt_history {
   uint32_t count, mask;
   int32_t *ids;        /* distinct, in order of first sight */
   uint32_t *generated; /* how often each was generated */
   uint32_t *slots;     /* hash table: index + 1 into ids */
} rt_history;

/* Room for `capacity` distinct tokens. Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_history_init(rt_history *h, uint32_t capacity);
void rt_history_deinit(rt_history *h);
void rt_history_add(rt_history *h, int32_t id, bool generated);

typedef struct rt_pick {
   int32_t id;
   float logprob; /* 0 unless asked */
   uint32_t num_top;
   int32_t top_ids[RT_MAX_TOP];
   float top_logprobs[RT_MAX_TOP];
} rt_pick;

/* Whether a token may be picked. */
typedef struct rt_may {
   bool (*fn)(void *user, int32_t id);
   void *user;
} rt_may;

enum { RT_ATTEMPTS = 4 };

typedef struct rt_ask {
   const sinter_sampling *sampling;
   const rt_history *history; /* NULL when no penalty is on */
   uint32_t index;            /* of the token to be picked */
   bool want_logprob;
   uint32_t num_top;        /* at most RT_MAX_TOP */
   const uint32_t *allowed; /* bits of the tokens that may be picked, NULL: all */
   bool tried;              /* rt_sample_tries has found none */
   const int32_t *withheld; /* ids that may not be picked */
   uint32_t num_withheld;
} rt_ask;

typedef struct rt_sampler rt_sampler;

/* Scratch memory for rows of `vocab` logits. Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_sampler_create(uint32_t vocab, rt_sampler **out);
void rt_sampler_destroy(rt_sampler *s);

/* Checks what a caller asks for. Errors USAGE naming the field. */
SINTER_CHECKED sinter_status rt_sampling_check(const sinter_sampling *s, uint32_t vocab);

/* True when penalties need a history. */
bool rt_sampling_needs_history(const sinter_sampling *s);

/* The failure of logits that are not finite. */
SINTER_CHECKED sinter_status rt_no_number(void);

/* Picks a token. Errors FAILED when a logit is not a number or none is finite, when none is
 * allowed, or when bias and penalties leave none. */
SINTER_CHECKED sinter_status rt_sample(rt_sampler *s, const float *logits, const rt_ask *ask,
                                       rt_pick *out);

/* As rt_sample, of the tokens that `may` lets through, without a look at the others: the best one;
 * one of the k best, which are looked for among the first of all; or, without filters, the first of
 * RT_ATTEMPTS draws of all. Below 0 when there are none, or other filters are on; then rt_sample of
 * what is allowed is told so (`tried`): behind draws it has a number of its own, so that all tokens
 * have the shares that they have without tries. */
SINTER_CHECKED sinter_status rt_sample_tries(rt_sampler *s, const float *logits, const rt_ask *ask,
                                             const rt_may *may, rt_pick *out);

/* Picks from a row as it is, by a draw that is not DRAW_host; below 0 when a logit is not a number
 * or none is finite. */
int32_t rt_sample_draw(rt_sampler *s, const float *logits, const draw *how);

/* The options as numbers, for the token of an index. */
draw rt_draw_of(const sinter_sampling *s, uint32_t index);

/* Philox4x32-10 of (key, counter): 64 bits. Source: Salmon et al. 2011. */
uint64_t rt_philox(uint64_t key, uint64_t counter);

#endif
