// LINK: runtime base
/* priority_test.c - who is admitted first and who gives way, on the toy model, whose tokens also
 * tell whether giving way changed an answer. */
#include <criterion/criterion.h>

#include "engine_toy.h"

enum { NEW = 40, MOST = 8 };

typedef struct ask {
   sinter_request_options o;
   int32_t prompt[40], got[NEW], expected[NEW];
   float logprobs[NEW];
   uint32_t num_got;
   char name;
   sinter_request *r;
} ask;

static char ended[MOST + 1]; /* names, in the order they ended */
static uint32_t num_ended, num_asks;
static ask asks[MOST];

static void on_token(void *user, sinter_request *r, const sinter_token *t)
{
   ask *a = user;

   (void)r;
   if (t->id >= 0)
      a->got[a->num_got++] = t->id;
   if (t->finish != SINTER_FINISH_none)
      ended[num_ended++] = a->name;
}

static ask *submit(sinter_engine *e, char name, int32_t priority, uint32_t num_prompt)
{
   ask *a = &asks[num_asks++];

   a->name = name;
   for (uint32_t i = 0; i < num_prompt; i++)
      a->prompt[i] = (int32_t)((i * 13 + (uint32_t)name * 7) % TOY_VOCAB);
   a->o = (sinter_request_options){.size = sizeof a->o,
                                   .prompt = a->prompt,
                                   .num_prompt = num_prompt,
                                   .max_tokens = NEW,
                                   .ignore_eos = true,
                                   .sampling = SINTER_SAMPLING_GREEDY,
                                   .on_token = on_token,
                                   .user = a,
                                   .priority = priority};
   cr_assert(sinter_submit(e, &a->o, &a->r) == SINTER_ok, "%s", sinter_error());
   return a;
}

static void steps(sinter_engine *e, int n)
{
   bool busy = true;

   for (int i = 0; i < n && busy; i++)
      cr_assert(sinter_step(e, &busy) == SINTER_ok);
   cr_assert(n < 5000 || !busy, "the engine comes to no end");
}

static sinter_request_stats stats(const ask *a)
{
   sinter_request_stats s = {.size = sizeof s};

   sinter_request_get_stats(a->r, &s);
   return s;
}

static uint32_t preemptions(const ask *a)
{
   return stats(a).preemptions;
}

/* Runs what was asked to its end, and holds every answer against the oracle. No two prompts begin
 * alike: pages that a request finds again after it gave way are no hit of its prompt. */
static void finish(sinter_engine *e, const char *order)
{
   steps(e, 5000);
   cr_assert_str_eq(ended, order);
   for (uint32_t i = 0; i < num_asks; i++) {
      ask *a = &asks[i];
      cr_assert(toy_oracle_generate(&a->o, a->expected, a->logprobs) == NEW);
      cr_assert(a->num_got == NEW && memcmp(a->got, a->expected, sizeof a->got) == 0, "answer %c",
                a->name);
      cr_assert_eq(stats(a).prefix_hit_tokens, 0, "hits of %c", a->name);
      sinter_request_destroy(a->r);
   }
   cr_assert(toy_last->faults == 0);
   sinter_engine_destroy(e);
}

/* Kills: a queue by arrival alone, one that reverses what has the same priority. */
Test(priority, waiting_is_by_priority_then_arrival)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 160, .max_sequences = 1});

   submit(e, 'r', -1, 20);
   steps(e, 3);
   submit(e, 'x', 2, 20);
   submit(e, 'y', 1, 20);
   submit(e, 'z', 1, 20);
   submit(e, 'w', 0, 20);
   finish(e, "rwyzx");
}

/* Kills: a priority that counts only while waiting. */
Test(priority, a_slot_is_given_up_to_a_higher_one)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 160, .max_sequences = 1});
   ask *low = submit(e, 'l', 5, 20);

   steps(e, 10);
   cr_assert(low->num_got > 0);
   ask *high = submit(e, 'h', 0, 20);
   ask *same = submit(e, 's', 5, 20);
   steps(e, 10);
   cr_assert(high->num_got > 0 && preemptions(low) == 1);
   finish(e, "hls");
   cr_assert(same->num_got == NEW);
}

/* Kills: the youngest giving way whatever its priority. */
Test(priority, pages_are_given_up_by_the_lowest)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 96});
   ask *low = submit(e, 'l', 1, 30);

   steps(e, 5);
   ask *high = submit(e, 'h', 0, 30);
   steps(e, 60);
   cr_assert(preemptions(low) > 0 && preemptions(high) == 0);
   finish(e, "hl");
}

/* Kills: one of a higher priority that waits for pages of lower ones to become free by
 * themselves. */
Test(priority, pages_are_taken_for_one_that_waits)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 96});

   submit(e, 'a', 1, 20);
   ask *b = submit(e, 'b', 1, 20);
   steps(e, 8);
   cr_assert(b->num_got > 0);
   ask *high = submit(e, 'h', 0, 40);
   steps(e, 6);
   cr_assert(high->num_got > 0, "it waits");
   steps(e, 5000);
   cr_assert(ended[0] == 'h' && preemptions(high) == 0);
   finish(e, ended);
}
