// LINK: sinter_rt
/* The same tokens and logprobs, bit for bit, whatever else happens: threads, split of the prompt,
 * neighbours in the batch, prefix hits, a pool so small that sequences are preempted. Through the
 * public interface, on recorded checkpoints of both numerics; on the device $SINTER_TEST_DEVICE. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinter.h"

enum { PROMPT = 300, /* more than one attention chunk */ GENERATE = 12, NEIGHBOURS = 5 };

typedef struct outcome {
   int32_t ids[GENERATE];
   float logprobs[GENERATE];
   uint32_t count;
   uint64_t drafted, accepted;
} outcome;

typedef struct setting {
   uint32_t threads, step_tokens, kv_tokens, neighbours;
   bool again;             /* the prompt ran before: prefix hits */
   bool ids_only;          /* no logprobs */
   uint32_t period, draft; /* the prompt repeats itself; tokens to guess ahead */
} setting;

/* Small vocabularies have tops only where they are asked for (passes/head_argmax.c). */
#define WITH_TOP TEST_ROOT "/golden/gguf_llama/Q8_0.gguf"

static const char *const models[] = {
   TEST_ROOT "/golden/llama",
   TEST_ROOT "/golden/qwen2",
   TEST_ROOT "/golden/gemma3_text",
   TEST_ROOT "/golden/deepseek_v2_lite",
   TEST_ROOT "/golden/deepseek_v3",
   TEST_ROOT "/golden/qwen3_5_text",
   TEST_ROOT "/golden/mixtral",
   TEST_ROOT "/golden/qwen3_moe",
   TEST_ROOT "/golden/gguf_llama_k/Q4_K_M_mix.gguf",
   TEST_ROOT "/golden/deepseek_v4",
   TEST_ROOT "/golden/gguf_llama/Q4_1.gguf",
   WITH_TOP,
};

static void on_token(void *user, sinter_request *r, const sinter_token *t)
{
   outcome *o = user;

   (void)r;
   if (!o || t->id < 0 || o->count >= GENERATE)
      return;
   o->ids[o->count] = t->id;
   o->logprobs[o->count++] = t->logprob;
}

static sinter_artifact *open_model(const char *model, sinter_numerics numerics)
{
   sinter_compile_options c = SINTER_INIT(sinter_compile_options);
   sinter_artifact *a;
   char path[4096];
   bool cached;

   c.model = model;
   c.targets = sinter_device_target(getenv("SINTER_TEST_DEVICE"));
   c.numerics = numerics;
   c.threads = 1;
   if (numerics == SINTER_NUMERICS_fast && strcmp(model, WITH_TOP) == 0)
      c.with = "head_argmax";
   cr_assert(sinter_compile(&c, path, sizeof path, &cached) == SINTER_ok, "%s", sinter_error());
   cr_assert(sinter_artifact_open(path, &a) == SINTER_ok, "%s", sinter_error());
   return a;
}

static sinter_request *submit(sinter_engine *e, uint32_t vocab, uint32_t seed, uint32_t prompt,
                              uint32_t period, bool logprobs, outcome *out)
{
   sinter_request_options r = SINTER_INIT(sinter_request_options);
   sinter_request *request;
   int32_t ids[PROMPT];

   for (uint32_t i = 0; i < prompt; i++)
      ids[i] = (int32_t)(((period ? i % period : i) * 2654435761u + seed * 40503u + 7) % vocab);
   r.prompt = ids;
   r.num_prompt = prompt;
   r.max_tokens = GENERATE;
   r.ignore_eos = true;
   r.want_logprobs = logprobs; /* without, a device that can picks the tokens */
   r.sampling = SINTER_SAMPLING_GREEDY;
   r.on_token = on_token;
   r.user = out;
   cr_assert(sinter_submit(e, &r, &request) == SINTER_ok, "%s", sinter_error());
   return request;
}

/* Whose engines come and go between steps; NULL: nobody's. */
static sinter_artifact *guests;

/* Another engine of the device, which has worked and is still there when the next one comes:
 * memory, modules and graphs are taken and given back between any two steps of the one that is
 * looked at. */
static void change_guests(sinter_engine **there)
{
   sinter_model_info info = SINTER_INIT(sinter_model_info);
   sinter_engine_options o = SINTER_INIT(sinter_engine_options);
   sinter_engine *before = *there;
   bool busy;

   sinter_artifact_info(guests, &info);
   o.device = getenv("SINTER_TEST_DEVICE");
   o.threads = 1;
   o.kv_tokens = 256;
   cr_assert(sinter_engine_create(guests, &o, there) == SINTER_ok, "%s", sinter_error());
   sinter_request *r = submit(*there, info.vocab, 3, 20, 0, false, NULL);
   cr_assert(sinter_step(*there, &busy) == SINTER_ok, "%s", sinter_error());
   sinter_request_destroy(r);
   if (before)
      sinter_engine_destroy(before);
}

static void drain(sinter_engine *e)
{
   sinter_engine *there = NULL;

   for (bool busy = true; busy;) {
      if (guests)
         change_guests(&there);
      cr_assert(sinter_step(e, &busy) == SINTER_ok, "%s", sinter_error());
   }
   if (there)
      sinter_engine_destroy(there);
}

static outcome run(sinter_artifact *a, setting s)
{
   sinter_model_info info = SINTER_INIT(sinter_model_info);
   sinter_engine_options o = SINTER_INIT(sinter_engine_options);
   sinter_request *requests[NEIGHBOURS + 1];
   sinter_engine *e;
   outcome out = {.count = 0};

   sinter_artifact_info(a, &info);
   o.device = getenv("SINTER_TEST_DEVICE");
   o.threads = s.threads;
   o.step_tokens = s.step_tokens;
   o.kv_tokens = s.kv_tokens ? s.kv_tokens : 2048;
   o.draft_tokens = s.draft;
   sinter_status status = sinter_engine_create(a, &o, &e);
   if (s.draft && status == SINTER_unsupported)
      return out;
   cr_assert(status == SINTER_ok, "%s", sinter_error());
   if (s.again) {
      requests[0] = submit(e, info.vocab, 1, PROMPT, 0, true, NULL);
      drain(e);
      sinter_request_destroy(requests[0]);
   }
   for (uint32_t n = 0; n < s.neighbours; n++)
      requests[n + 1] = submit(e, info.vocab, n + 2, 9 + 13 * n, s.period, n % 2, NULL);
   requests[0] =
      submit(e, info.vocab, 1, s.period ? 3 * s.period : PROMPT, s.period, !s.ids_only, &out);
   drain(e);
   sinter_stats stats = SINTER_INIT(sinter_stats);
   sinter_engine_stats(e, &stats);
   out.drafted = stats.drafted_tokens;
   out.accepted = stats.accepted_tokens;
   cr_assert(!s.ids_only || stats.sampled[SINTER_SAMPLED_device] >= GENERATE);
   cr_assert(!s.again || stats.prefix_hit_tokens >= 288, "the prefix was not reused");
   for (uint32_t n = 0; n <= s.neighbours; n++)
      sinter_request_destroy(requests[n]);
   sinter_engine_destroy(e);
   cr_assert(out.count == GENERATE);
   return out;
}

/* Whether a model is asked for: all are without $SINTER_TEST_MODELS, names in it,
 * comma-separated. */
static bool is_wanted(const char *model)
{
   const char *names = getenv("SINTER_TEST_MODELS");
   char name[64];

   for (const char *p = names ? names : ""; *p; p += strcspn(p, ","), p += *p == ',') {
      snprintf(name, sizeof name, "/%.*s", (int)strcspn(p, ","), p);
      const char *found = strstr(model, name);
      if (found && (!found[strlen(name)] || found[strlen(name)] == '.'))
         return true;
   }
   return !names;
}

/* Kills: a reduction split between threads, a row kernel that sums in another order, a chunk border
 * that moves with the prompt's split, a page of another sequence, a block reused under other
 * tokens, a token that bounds find and logits do not. */
static void same_for(const char *model, sinter_numerics numerics)
{
   static const setting settings[] = {
      {.threads = 2},
      {.threads = 3},
      {.threads = 1, .step_tokens = 1},
      {.threads = 2, .step_tokens = 7},
      {.threads = 2, .step_tokens = 16},
      {.threads = 1, .step_tokens = 33},
      {.threads = 2, .neighbours = NEIGHBOURS},
      {.threads = 2, .neighbours = 3, .step_tokens = 11},
      {.threads = 2, .neighbours = 2, .step_tokens = 40, .ids_only = true},
      {.threads = 2, .ids_only = true},
      {.threads = 2, .neighbours = 1, .ids_only = true},
      {.threads = 2, .again = true},
      {.threads = 2, .again = true, .neighbours = 2, .step_tokens = 5},
      {.threads = 2, .neighbours = NEIGHBOURS, .kv_tokens = 400},
   };

   if (!is_wanted(model))
      return;
   sinter_artifact *a = open_model(model, numerics);
   outcome base = run(a, (setting){.threads = 1});
   for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
      outcome o = run(a, settings[i]);
      cr_expect(memcmp(o.ids, base.ids, sizeof o.ids) == 0, "%s: tokens differ in setting %zu",
                model, i);
      cr_expect(settings[i].ids_only || memcmp(o.logprobs, base.logprobs, sizeof o.logprobs) == 0,
                "%s: logprobs differ in setting %zu", model, i);
   }
   sinter_artifact_close(a);
}

static void same_everywhere(sinter_numerics numerics)
{
   for (size_t m = 0; m < sizeof models / sizeof *models; m++)
      same_for(models[m], numerics);
}

Test(invariance, fast)
{
   same_everywhere(SINTER_NUMERICS_fast);
}

Test(invariance, exact)
{
   same_everywhere(SINTER_NUMERICS_exact);
}

/* For other processes to compare: what requests of several lengths get, whose steps take buckets of
 * rows in turns, of the golden folder $SINTER_TEST_STEPS; with $SINTER_TEST_GUESTS beside engines
 * that come and go. */
Test(invariance, steps)
{
   const char *name = getenv("SINTER_TEST_STEPS");
   char path[1024];

   if (!name)
      return;
   if (getenv("SINTER_TEST_GUESTS"))
      guests = open_model(TEST_ROOT "/golden/llama", SINTER_NUMERICS_exact);
   snprintf(path, sizeof path, TEST_ROOT "/golden/%s", name);
   sinter_artifact *a = open_model(path, SINTER_NUMERICS_exact);
   outcome o = run(a, (setting){.threads = 1, .step_tokens = 16, .neighbours = 3, .period = 11});
   for (uint32_t i = 0; i < o.count; i++)
      fprintf(stderr, "%s: %d %a\n", name, o.ids[i], o.logprobs[i]);
   sinter_artifact_close(a);
   if (guests)
      sinter_artifact_close(guests);
}

/* Guessing ahead changes neither tokens nor logprobs, beside neighbours and in a pool that is too
 * small. Kills: a guess that is taken without the pick, the row of a wrong guess, a page told to
 * others with the key of a guess. */
Test(invariance, drafts)
{
   uint64_t drafted = 0, accepted = 0;
   uint32_t refused = 0, tried = 0;

   for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
      static const setting settings[] = {
         {.threads = 2, .draft = 1},
         {.threads = 2, .draft = 8},
         {.threads = 2, .draft = 5, .neighbours = NEIGHBOURS},
         {.threads = 2, .draft = 3, .neighbours = NEIGHBOURS, .kv_tokens = 112}};

      if (!is_wanted(models[m]))
         continue;
      sinter_artifact *a = open_model(models[m], SINTER_NUMERICS_fast);
      for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
         setting s = settings[i];
         s.period = 11;
         outcome o = run(a, s);
         tried++;
         if (!o.count) {
            refused++;
            continue;
         }
         s.draft = 0;
         outcome base = run(a, s);
         drafted += o.drafted;
         accepted += o.accepted;
         cr_expect(memcmp(o.ids, base.ids, sizeof o.ids) == 0 &&
                      memcmp(o.logprobs, base.logprobs, sizeof o.logprobs) == 0,
                   "%s: guesses change the answer in setting %zu", models[m], i);
      }
      sinter_artifact_close(a);
   }
   cr_assert(!tried || (accepted > 0 && accepted < drafted), "%llu of %llu",
             (unsigned long long)accepted, (unsigned long long)drafted);
   cr_assert(!tried || refused < tried);
   fprintf(stderr, "note: %llu of %llu guesses right\n", (unsigned long long)accepted,
           (unsigned long long)drafted);
}
