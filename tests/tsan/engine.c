/* engine.c - engines of two threads at once, and one engine that moves from thread to thread, under
 * the thread sanitizer.
 *
 * Kills: state shared by engines, or kept per thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/dev_host.h"
#include "runtime/engine.h"

enum { VOCAB = 32, LAUNCHES = 4 };

/* A device that runs plain work on a pool: each launch reads what the one before has written. */
struct rt_device {
   rt_host *host;
};

static void kernel(const sinter_kargs *k, unsigned tile)
{
   float *logits = k->ptr[1];
   const int32_t *ids = k->ptr[0], *rows = k->ptr[2];
   int64_t r = tile / VOCAB, v = tile % VOCAB;

   if (r >= k->step->sym[SYM_R])
      return;
   float before = k->konst[0] ? logits[r * VOCAB + (v + 1) % VOCAB] : (float)ids[rows[r]];
   ((float *)k->ptr[3])[tile] = before * 0.5f + (float)((tile * 7 + 3) % VOCAB);
}

static void copy_back(const sinter_kargs *k, unsigned tile)
{
   ((float *)k->ptr[1])[tile] = ((const float *)k->ptr[3])[tile];
}

static sinter_kernel *find(void *user, uint32_t index)
{
   (void)user;
   return index ? copy_back : kernel;
}

static plan_kernel kernels[] = {{"step", "test"}, {"copy", "test"}};
static plan_launch launches[LAUNCHES];
static plan_segment segments[] = {{PLAN_SEGMENT_recorded, 0, 2, NULL},
                                  {PLAN_SEGMENT_eager, 2, 2, "test"}};
static plan_variant variants[] = {{.name = "all",
                                   .max_rows = 16,
                                   .num_launches = LAUNCHES,
                                   .num_segments = 2,
                                   .launches = launches,
                                   .segments = segments}};
static plan_cache_group groups[] = {{.heads = 1, .width = 4, .dtype = DT_f16, .num_layers = 1}};
static plan the_plan = {.model = {.vocab = VOCAB, .trained_context = 256},
                        .target = "test",
                        .sym_max = {[SYM_T] = 16, [SYM_R] = 8, [SYM_S] = 4, [SYM_A] = 16},
                        .arena_bytes = 8 * VOCAB * sizeof(float),
                        .num_cache_groups = 1,
                        .cache_groups = groups,
                        .num_kernels = countof(kernels),
                        .kernels = kernels,
                        .num_variants = 1,
                        .variants = variants};

static sinter_status open_device(const rt_artifact *a, const rt_limits *limits, rt_step *step,
                                 rt_device **out)
{
   rt_host_kind kind = {.find = find, .picks = true};

   (void)a;
   *out = calloc(1, sizeof **out);
   return rt_host_create(&the_plan, limits, step, &kind, &(*out)->host);
}

static void close_device(rt_device *d)
{
   rt_host_destroy(d->host);
   free(d);
}

static sinter_status run_device(rt_device *d, const float **out_logits)
{
   return rt_host_run(d->host, out_logits);
}

static const int32_t *picks(const rt_device *d)
{
   return rt_host_picks(d->host);
}

static void copy_page(rt_device *d, uint32_t group, int32_t from, int32_t to)
{
   rt_host_copy_page(d->host, group, from, to);
}

static void stats(const rt_device *d, sinter_stats *out)
{
   rt_host_stats(d->host, out);
}

static const rt_device_ops ops = {.name = "test",
                                  .open = open_device,
                                  .close = close_device,
                                  .run = run_device,
                                  .picks = picks,
                                  .copy_page = copy_page,
                                  .stats = stats};

static void fill_plan(void)
{
   for (uint32_t i = 0; i < LAUNCHES; i++) {
      launches[i] = (plan_launch){.kernel = i & 1,
                                  .phase = i,
                                  .tiles = {.k = VOCAB, .num_factors = 1, .factor = {{SYM_R, 1}}},
                                  .num_refs = 4,
                                  .refs = {{PLAN_REF_meta, 0, 0, 0},
                                           {PLAN_REF_output, 0, 0, 0},
                                           {PLAN_REF_meta, 3, 0, 0},
                                           {PLAN_REF_arena, 0, 0, 0}},
                                  .num_consts = 1,
                                  .consts = {i}};
   }
}

/* What one use of an engine saw. */
typedef struct use {
   sinter_engine *engine;
   uint64_t sum;
   int failed;
} use;

static void on_token(void *user, sinter_request *r, const sinter_token *token)
{
   use *u = user;

   (void)r;
   u->sum = u->sum * 31 + (uint64_t)token->id;
   for (uint32_t i = 0; i < token->num_top; i++)
      u->sum =
         u->sum * 31 + (uint64_t)token->top_ids[i] + (uint64_t)(-1e6f * token->top_logprobs[i]);
}

enum { REQUESTS = 6 };

/* Greedy, drawn, and by what only the host picks by, so that threads pick from rows of one step. */
static void choose(sinter_request_options *o, int i)
{
   o->sampling.temperature = i % 3 ? 1 : 0;
   o->sampling.seed = (uint64_t)i;
   o->sampling.repetition_penalty = i % 2 ? 1.3f : 1;
   o->sampling.frequency_penalty = i % 4 == 2 ? .5f : 0;
   o->want_logprobs = i > 3;
   o->top_logprobs = i > 3 ? 4 : 0;
}

static void *use_engine(void *arg)
{
   use *u = arg;
   sinter_request *r[REQUESTS];

   for (int i = 0; i < REQUESTS; i++) {
      int32_t prompt[40];
      sinter_request_options o = {.size = sizeof o,
                                  .prompt = prompt,
                                  .num_prompt = 20 + 10 * (uint32_t)(i % 3),
                                  .max_tokens = 30,
                                  .sampling = SINTER_SAMPLING_GREEDY,
                                  .on_token = on_token,
                                  .user = u};
      choose(&o, i);
      for (int k = 0; k < 40; k++)
         prompt[k] = k % VOCAB;
      u->failed |= sinter_submit(u->engine, &o, &r[i]) != SINTER_ok;
   }
   for (bool busy = true; busy && !u->failed;)
      u->failed |= sinter_step(u->engine, &busy) != SINTER_ok;
   for (int i = 0; i < REQUESTS; i++)
      sinter_request_destroy(r[i]);
   return NULL;
}

static sinter_engine *engine_of(uint32_t threads)
{
   rt_engine_setup setup = {.plan = &the_plan, .ops = &ops};
   sinter_engine_options o = {.size = sizeof o, .threads = threads};
   sinter_engine *e;

   return rt_engine_create(&setup, &o, &e) == SINTER_ok ? e : NULL;
}

int main(void)
{
   use uses[3] = {{0}}; /* two at once, one that wanders */
   pthread_t threads[2];

   fill_plan();
   for (int i = 0; i < 3; i++) {
      uses[i].engine = engine_of((uint32_t)i + 1);
      if (!uses[i].engine)
         return 1;
   }
   for (int i = 0; i < 2; i++)
      pthread_create(&threads[i], NULL, use_engine, &uses[i]);
   for (int i = 0; i < 2; i++)
      pthread_join(threads[i], NULL);
   pthread_create(&threads[0], NULL, use_engine, &uses[2]);
   pthread_join(threads[0], NULL);
   if (uses[0].sum != uses[1].sum || uses[0].sum != uses[2].sum) {
      fprintf(stderr, "engine: results differ\n");
      return 1;
   }
   use_engine(&uses[2]);
   for (int i = 0; i < 3; i++) {
      sinter_engine_destroy(uses[i].engine);
      if (uses[i].failed)
         return 1;
   }
   return 0;
}
