// LINK: runtime base
/* engine_test.c - scheduling, KV pages, prefixes and delivery, against a model that notices
 * everything. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "engine_toy.h"

enum { MAX_NEW = 120 };

/* A request with what it must produce and what it produced. */
typedef struct job {
   sinter_request_options o;
   int32_t prompt[400], expected[MAX_NEW], got[MAX_NEW];
   float expected_logprobs[MAX_NEW], got_logprobs[MAX_NEW];
   int64_t num_expected, num_got;
   sinter_finish finish;
   uint32_t ends, next_logits;
   bool bad_logits, compares_prefix;
   sinter_request *r;
} job;

static void on_token(void *user, sinter_request *r, const sinter_token *t)
{
   job *j = user;

   cr_assert(r == j->r && sinter_request_user(r) == j);
   cr_assert(sinter_request_finish(r) == t->finish);
   if (t->id >= 0) {
      cr_assert(t->index == j->num_got && j->num_got < MAX_NEW);
      j->got_logprobs[j->num_got] = t->logprob;
      j->got[j->num_got++] = t->id;
   }
   if (t->finish != SINTER_FINISH_none) {
      j->finish = t->finish;
      j->ends++;
   }
}

static void on_logits(void *user, sinter_request *r, uint32_t pos, const float *logits)
{
   job *j = user;
   float want[TOY_VOCAB];

   (void)r;
   cr_assert(pos == j->next_logits, "position %u, not %u", pos, j->next_logits);
   j->next_logits++;
   /* The toy's logits at pos depend on the tokens up to pos, and on the length of the prompt. */
   toy_oracle(j->prompt, j->o.num_prompt, pos + 1, want);
   j->bad_logits = j->bad_logits || memcmp(want, logits, sizeof want) != 0;
}

static uint64_t random_state = 1;

static uint32_t dice(uint32_t n)
{
   random_state = random_state * 6364136223846793005u + 1442695040888963407u;
   return (uint32_t)(random_state >> 33) % n;
}

static job *make_job(uint32_t num_prompt, uint32_t max_tokens, uint64_t seed)
{
   job *j = calloc(1, sizeof *j);
   uint64_t saved = random_state;

   random_state = seed;
   for (uint32_t i = 0; i < num_prompt; i++)
      j->prompt[i] = (int32_t)dice(TOY_VOCAB);
   random_state = saved;
   j->o = (sinter_request_options){.size = sizeof j->o,
                                   .prompt = j->prompt,
                                   .num_prompt = num_prompt,
                                   .max_tokens = max_tokens,
                                   .want_logprobs = true,
                                   .sampling = SINTER_SAMPLING_GREEDY,
                                   .on_token = on_token,
                                   .user = j};
   return j;
}

static void submit(sinter_engine *e, job *j)
{
   cr_assert(sinter_submit(e, &j->o, &j->r) == SINTER_ok, "%s", sinter_error());
}

/* Steps until nothing is left. */
static void drain(sinter_engine *e)
{
   bool busy = true;

   for (int i = 0; busy; i++) {
      cr_assert(i < 20000, "the engine makes no progress");
      cr_assert(sinter_step(e, &busy) == SINTER_ok, "%s", sinter_error());
   }
}

static void check_job(job *j)
{
   j->num_expected = toy_oracle_generate(&j->o, j->expected, j->expected_logprobs);
   cr_assert(j->ends == 1);
   cr_assert(j->num_got == j->num_expected, "%lld tokens, not %lld", (long long)j->num_got,
             (long long)j->num_expected);
   cr_assert(memcmp(j->got, j->expected, (size_t)j->num_got * sizeof *j->got) == 0);
   cr_assert(memcmp(j->got_logprobs, j->expected_logprobs, (size_t)j->num_got * sizeof(float)) ==
             0);
   cr_assert(!j->bad_logits);
}

static void free_job(job *j)
{
   sinter_request_destroy(j->r);
   free(j);
}

/* Kills: a wrong position or slot after a page boundary, a rope row of another position. */
Test(engine, one_request_is_what_the_oracle_says)
{
   sinter_engine *e = toy_engine((sinter_engine_options){0});
   job *j = make_job(50, 100, 3);

   j->o.ignore_eos = true;
   submit(e, j);
   drain(e);
   check_job(j);
   cr_assert(j->finish == SINTER_FINISH_length && toy_last->faults == 0);
   free_job(j);
   sinter_engine_destroy(e);
}

/* Kills: an end token that does not end, or is not delivered. */
Test(engine, end_token_stops)
{
   sinter_engine *e = toy_engine((sinter_engine_options){0});
   bool stopped = false;

   for (uint64_t seed = 1; seed < 40 && !stopped; seed++) {
      job *j = make_job(5, 100, seed);
      submit(e, j);
      drain(e);
      check_job(j);
      stopped = j->finish == SINTER_FINISH_stop;
      cr_assert(!stopped || j->got[j->num_got - 1] == TOY_EOS);
      free_job(j);
   }
   cr_assert(stopped);
   sinter_engine_destroy(e);
}

/* Tokens of a request with min_tokens, none of the first of which may end it. */
static int64_t run_least(sinter_engine *e, uint64_t seed, uint32_t least, bool *stopped)
{
   job *j = make_job(5, 100, seed);

   j->o.min_tokens = least;
   submit(e, j);
   drain(e);
   check_job(j);
   for (uint32_t i = 0; i < least; i++)
      cr_assert(j->got[i] != TOY_EOS);
   int64_t count = j->num_got;
   *stopped = j->finish == SINTER_FINISH_stop;
   free_job(j);
   return count;
}

/* Kills: an end token before min_tokens, or withheld behind them; guesses that pass it by. */
Test(engine, min_tokens_come_first)
{
   for (uint32_t guesses = 0; guesses <= 4; guesses += 4) {
      sinter_engine *e = toy_engine((sinter_engine_options){.draft_tokens = guesses});
      uint32_t ends = 0, later = 0;

      for (uint64_t seed = 1; seed < 40; seed++) {
         bool stopped, again;
         int64_t count = run_least(e, seed, 0, &stopped);
         if (!stopped)
            continue;
         cr_assert(run_least(e, seed, (uint32_t)count - 1, &again) == count && again);
         cr_assert(run_least(e, seed, (uint32_t)count, &again) > count || count == 100);
         ends++;
         later += again;
      }
      cr_assert(ends > 0 && later > 0);
      sinter_engine_destroy(e);
   }
}

static sinter_sampling random_sampling(void)
{
   sinter_sampling s = SINTER_SAMPLING_GREEDY;

   if (dice(2)) {
      s.temperature = 0.5f + (float)dice(10) / 4;
      s.top_k = (int32_t)dice(3) * 10;
      s.top_p = dice(2) ? 1.0f : 0.9f;
      s.seed = dice(1000);
   }
   if (dice(4) == 0) {
      s.repetition_penalty = 1.2f;
      s.presence_penalty = 0.3f;
      s.frequency_penalty = 0.2f;
   }
   return s;
}

/* A crowd of requests that share beginnings, submitted while others run. Returns how many tokens
 * were kept aside and put back. */
static uint64_t crowd(sinter_engine_options options, uint64_t seed, uint32_t count)
{
   sinter_engine *e = toy_engine(options);
   job **jobs = calloc(count, sizeof *jobs);
   bool busy;

   random_state = seed;
   for (uint32_t i = 0; i < count; i++) {
      /* Three families of prompts with equal beginnings; some lengths are whole blocks. */
      uint32_t length = dice(3) ? 1 + dice(90) : 16 * (1 + dice(5));
      job *j = jobs[i] = make_job(length, 1 + dice(40), 100 + dice(3));
      j->o.salt = dice(8) == 0;
      j->o.priority = (int32_t)dice(3) - 1;
      j->o.ignore_eos = dice(2);
      j->o.sampling = random_sampling();
      if (dice(5) == 0) {
         j->o.on_logits = on_logits;
         j->o.logits_from = j->next_logits = dice(length);
      }
      submit(e, j);
      for (uint32_t k = dice(6); k > 0; k--)
         cr_assert(sinter_step(e, &busy) == SINTER_ok);
   }
   drain(e);
   cr_assert(toy_last->faults == 0, "%u faults with seed %llu", toy_last->faults,
             (unsigned long long)seed);
   sinter_stats stats = {.size = sizeof stats};
   sinter_engine_stats(e, &stats);
   cr_assert(stats.kv_tokens_used == 0, "pages leak");
   for (uint32_t i = 0; i < count; i++) {
      check_job(jobs[i]);
      cr_assert(!jobs[i]->o.on_logits || jobs[i]->next_logits == jobs[i]->o.num_prompt);
      free_job(jobs[i]);
   }
   free(jobs);
   sinter_engine_destroy(e);
   return stats.swapped_in_tokens;
}

/* Kills: rows of one request read with another's table; wanted rows out of order; a prefix shared
 * over salts or rotary tables; a partly filled page shared and then written to. */
Test(engine, neighbours_splits_and_prefixes_change_nothing)
{
   for (uint64_t seed = 1; seed <= 12; seed++) {
      sinter_engine_options o = {.kv_tokens = 2048};
      o.step_tokens = seed % 3 == 0 ? 1 + (uint32_t)seed % TOY_ROWS : 0;
      o.max_sequences = seed % 4 == 0 ? 1 + (uint32_t)seed % 3 : 0;
      o.no_prefix_cache = seed % 5 == 0;
      (void)crowd(o, seed, 24);
   }
}

/* Kills: a page that is reused while a sequence still reads it; generated tokens rotated as prompt
 * tokens after preemption; logits delivered twice; a request lost between the queues. */
Test(engine, preemption_changes_nothing)
{
   for (uint64_t seed = 1; seed <= 12; seed++)
      (void)crowd((sinter_engine_options){.kv_tokens = 144 + 16 * (uint32_t)(seed % 3)}, seed, 16);
}

/* The same, with pages filled by NaN as soon as nobody holds them. */
Test(engine, freed_pages_are_never_read)
{
   setenv("SINTER_DEBUG", "poison", 1);
   for (uint64_t seed = 20; seed <= 26; seed++)
      (void)crowd((sinter_engine_options){.kv_tokens = 160}, seed, 16);
   unsetenv("SINTER_DEBUG");
}

/* Kills: a page put back into another's place, a last page that is cut off, a window that moved on,
 * a page that others find although it was never filled. */
Test(engine, pages_kept_aside_change_nothing)
{
   uint64_t restored = 0;

   setenv("SINTER_DEBUG", "poison", 1);
   for (uint64_t seed = 40; seed <= 60; seed++)
      restored += crowd((sinter_engine_options){.kv_tokens = 144 + 16 * (uint32_t)(seed % 3),
                                                .host_kv_tokens = seed % 2 ? 64 : 4096},
                        seed, 16);
   unsetenv("SINTER_DEBUG");
   cr_assert(restored > 0, "nothing was put back");
}

/* Kills: preemption that never happens, so that the tests above test nothing; a preempted request
 * that is forgotten when another one is submitted. */
Test(engine, small_pool_preempts)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 96});
   job *jobs[4];
   uint32_t preemptions = 0;

   for (uint64_t i = 0; i < countof(jobs); i++) {
      bool busy;
      jobs[i] = make_job(20, 60, 200 + i);
      jobs[i]->o.ignore_eos = true;
      submit(e, jobs[i]);
      for (int k = 0; k < 30; k++)
         cr_assert(sinter_step(e, &busy) == SINTER_ok);
   }
   drain(e);
   for (uint32_t i = 0; i < countof(jobs); i++) {
      sinter_request_stats s = {.size = sizeof s};
      sinter_request_get_stats(jobs[i]->r, &s);
      preemptions += s.preemptions;
      cr_assert(s.prompt_tokens == 20 && s.generated_tokens == 60);
      cr_assert(s.first_token_seconds > 0 && s.seconds >= s.first_token_seconds);
      check_job(jobs[i]);
      free_job(jobs[i]);
   }
   cr_assert(preemptions > 0);
   sinter_engine_destroy(e);
}

static uint64_t hits(sinter_engine *e, uint32_t length, uint64_t seed, uint64_t salt)
{
   sinter_stats before = {.size = sizeof before}, after = before;
   job *j = make_job(length, 4, seed);

   j->o.salt = salt;
   sinter_engine_stats(e, &before);
   submit(e, j);
   drain(e);
   check_job(j);
   free_job(j);
   sinter_engine_stats(e, &after);
   return after.prefix_hit_tokens - before.prefix_hit_tokens;
}

/* Kills: no hit where there should be one; a hit over salts, over rotary tables, or of the token
 * whose logits are wanted; copy-on-write that is skipped. */
Test(engine, prefix_hits_are_as_long_as_they_may_be)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 2048});

   cr_assert(hits(e, 38, 5, 0) == 0);
   cr_assert(hits(e, 38, 5, 0) == 32);
   cr_assert(hits(e, 32, 5, 0) == 31); /* whole blocks: the last page is copied */
   cr_assert(hits(e, 38, 5, 9) == 0);  /* another salt */
   cr_assert(hits(e, 38, 6, 0) == 0);  /* other tokens */
   cr_assert(hits(e, 90, 5, 0) == 0);  /* longer than the context: another table */
   cr_assert(hits(e, 90, 5, 0) == 80);
   cr_assert(toy_last->faults == 0);
   sinter_engine_destroy(e);
}

Test(engine, no_prefix_cache_means_none)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.no_prefix_cache = true});

   cr_assert(hits(e, 38, 5, 0) == 0);
   cr_assert(hits(e, 38, 5, 0) == 0);
   sinter_engine_destroy(e);
}

/* Kills: pages shared on a device that keeps one array per sequence slot. */
Test(engine, contiguous_devices_share_nothing)
{
   rt_device_ops ops = toy_device;

   ops.contiguous = true;
   ops.copy_page = NULL;
   toy_ops = &ops;
   sinter_engine *e = toy_engine((sinter_engine_options){0});
   cr_assert(hits(e, 38, 5, 0) == 0);
   cr_assert(hits(e, 38, 5, 0) == 0);
   cr_assert(toy_last->faults == 0);
   sinter_engine_destroy(e);
   toy_ops = &toy_device;
}

/* Kills: a prompt's own logits cut short by the limit on wanted rows, or by a prefix hit. */
Test(engine, prompt_logits_come_once_in_order)
{
   sinter_engine *e = toy_engine((sinter_engine_options){0});

   for (uint32_t from = 0; from < 70; from += 23) {
      job *j = make_job(70, from == 23 ? 3 : 0, 11);
      j->o.on_logits = on_logits;
      j->o.logits_from = j->next_logits = from;
      j->o.ignore_eos = true;
      submit(e, j);
      drain(e);
      cr_assert(j->next_logits == 70 && !j->bad_logits && j->ends == 1);
      cr_assert(j->num_got == (from == 23 ? 3 : 0));
      free_job(j);
   }
   sinter_engine_destroy(e);
}

/* Kills: pages of a window that is long past kept for ever. */
Test(engine, window_pages_are_recycled)
{
   sinter_engine *e =
      toy_engine((sinter_engine_options){.kv_tokens = 512, .no_prefix_cache = true});
   job *j = make_job(300, 100, 31);
   const int32_t *table = toy_last->step->meta[RT_META_block_table][1];
   int64_t width = toy_last->step->block.sym[SYM_B];
   bool busy = true;
   int32_t most = 0;

   j->o.ignore_eos = true;
   submit(e, j);
   while (busy) {
      int32_t held = 0;
      cr_assert(sinter_step(e, &busy) == SINTER_ok);
      for (int64_t i = 0; i < width; i++)
         held += table[i] >= 0;
      most = MAX(most, held);
   }
   check_job(j);
   cr_assert(most > 0 && most <= (TOY_WINDOW + TOY_ROWS) / PAGE_TOKENS + 2, "%d pages", most);
   free_job(j);
   sinter_engine_destroy(e);
}

/* Kills: a cancelled request that goes on, blocks others, leaks pages, or ends twice. */
Test(engine, cancel)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.max_sequences = 1});
   job *a = make_job(30, 100, 41), *b = make_job(30, 100, 42), *c = make_job(30, 5, 43);
   sinter_stats stats = {.size = sizeof stats};
   bool busy;

   a->o.ignore_eos = b->o.ignore_eos = c->o.ignore_eos = true;
   submit(e, a);
   submit(e, b);
   submit(e, c);
   for (int i = 0; i < 5; i++)
      cr_assert(sinter_step(e, &busy) == SINTER_ok && busy);
   sinter_cancel(a->r); /* running */
   sinter_cancel(b->r); /* waiting */
   sinter_cancel(b->r);
   drain(e);
   cr_assert(a->finish == SINTER_FINISH_cancelled && a->ends == 1 && a->num_got > 0 &&
             a->num_got < 10);
   cr_assert(b->finish == SINTER_FINISH_cancelled && b->ends == 1 && b->num_got == 0);
   check_job(c);
   sinter_engine_stats(e, &stats);
   cr_assert(stats.kv_tokens_used == 0);
   free_job(a);
   free_job(b);
   free_job(c);
   sinter_engine_destroy(e);
}

/* Kills: a request that outlives its engine and still points into it. */
Test(engine, destroy_in_any_order)
{
   sinter_engine *e = toy_engine((sinter_engine_options){0});
   job *a = make_job(30, 100, 51), *b = make_job(30, 100, 52);
   bool busy;

   submit(e, a);
   submit(e, b);
   cr_assert(sinter_step(e, &busy) == SINTER_ok);
   sinter_request_destroy(a->r); /* running */
   cr_assert(sinter_step(e, &busy) == SINTER_ok && busy);
   sinter_engine_destroy(e);
   cr_assert(sinter_request_finish(b->r) == SINTER_FINISH_cancelled);
   sinter_cancel(b->r);
   sinter_request_destroy(b->r);
   free(a);
   free(b);
}

/* Kills: a sequence that runs past the pool, or stops early. */
Test(engine, pool_end_is_the_end)
{
   sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = 64});
   job *j = make_job(40, 100, 61), *whole = make_job(64, 100, 62), *more = make_job(65, 1, 63);

   j->o.ignore_eos = whole->o.ignore_eos = true;
   submit(e, j);
   drain(e);
   cr_assert(j->finish == SINTER_FINISH_length && j->num_got == 25);
   submit(e, whole);
   drain(e);
   cr_assert(whole->finish == SINTER_FINISH_length && whole->num_got == 1);
   cr_assert(sinter_submit(e, &more->o, &more->r) == SINTER_exhausted);
   cr_assert(toy_last->faults == 0);
   free_job(j);
   free_job(whole);
   free(more);
   sinter_engine_destroy(e);
}

/* Kills: a pool that is not as large as the trained context, or that ignores what is asked. */
Test(engine, pool_sizes)
{
   static const uint32_t asked[] = {0, 100, 1000}, want[] = {512, 112, 1008};

   for (size_t i = 0; i < countof(asked); i++) {
      sinter_engine *e = toy_engine((sinter_engine_options){.kv_tokens = asked[i]});
      sinter_stats stats = {.size = sizeof stats};
      sinter_engine_stats(e, &stats);
      cr_assert(stats.kv_tokens_total == want[i] && strcmp(stats.device, "toy") == 0);
      sinter_engine_destroy(e);
   }
}

/* Kills: an unknown device that becomes another one. */
Test(engine, devices_by_name)
{
   const rt_device_ops *ops;

   cr_assert(rt_device_find(NULL, &ops) == SINTER_ok && ops == &rt_cpu_device);
   cr_assert(rt_device_find("null", &ops) == SINTER_ok && ops == &rt_null_device);
   cr_assert(rt_device_find("gpu", &ops) == SINTER_usage);
   cr_assert(strstr(sinter_error(), "cpu cuda hip mock-cuda mock-hip ref null"));
}

/* Kills: a bad option that is taken. */
Test(engine, bad_options_are_refused)
{
   sinter_engine *e = toy_engine((sinter_engine_options){0});
   job *j = make_job(4, 1, 71);

   cr_assert(!toy_engine((sinter_engine_options){.step_tokens = TOY_ROWS + 1}));
   cr_assert(!toy_engine((sinter_engine_options){.max_sequences = TOY_SEQUENCES + 1}));
   j->prompt[2] = TOY_VOCAB;
   cr_assert(sinter_submit(e, &j->o, &j->r) == SINTER_usage);
   j->prompt[2] = -1;
   cr_assert(sinter_submit(e, &j->o, &j->r) == SINTER_usage);
   j->prompt[2] = 1;
   j->o.num_prompt = 0;
   cr_assert(sinter_submit(e, &j->o, &j->r) == SINTER_usage);
   j->o.num_prompt = 4;
   j->o.sampling.top_p = 0;
   cr_assert(sinter_submit(e, &j->o, &j->r) == SINTER_usage);
   j->o.sampling.top_p = 1;
   j->o.top_logprobs = 21;
   cr_assert(sinter_submit(e, &j->o, &j->r) == SINTER_usage);
   cr_assert(strlen(sinter_error()) > 0);
   j->o.top_logprobs = 0;
   submit(e, j);
   drain(e);
   check_job(j);
   free_job(j);
   sinter_engine_destroy(e);
}
