// LINK: models ir base
/* Every recorded checkpoint, opened and run on the reference evaluator in f64. */
#include "run.h"

#include <criterion/parameterized.h>

static void compare(const char *what, const golden_tensor *want, const ir_tensor *got, double atol)
{
   uint64_t n = want->dim[0] * want->dim[1];
   double worst = 0;

   cr_assert_eq((uint64_t)got->dim[0], want->dim[0], "%s", what);
   cr_assert_eq((uint64_t)got->dim[1], want->dim[1], "%s", what);
   for (uint64_t i = 0; i < n; i++)
      worst = fmax(worst, isfinite(got->data[i]) ? fabs(got->data[i] - want->f[i]) : INFINITY);
   cr_expect(worst <= atol, "%s: %.3g apart, %.3g allowed", what, worst, atol);
}

/* Logits of one prompt at every position, then greedy ids one token at a time. */
static void check_prompt(const golden *g, model *m, const char *prefix, const char *ids_key,
                         double atol)
{
   golden_tensor ids = golden_get(g, ids_key);
   golden_tensor want = golden_get(g, arena_printf(g->a, "%s.logits", prefix));
   golden_tensor greedy = golden_get(g, arena_printf(g->a, "%s.greedy_ids", prefix));
   run r;

   run_init(&r, g->a, m);
   ir_tensor got = run_step(&r, ids.i, (int64_t)ids.dim[0]);
   compare(prefix, &want, &got, atol);
   int32_t next = run_argmax(got.data + (got.dim[0] - 1) * got.dim[1], got.dim[1]);
   for (uint64_t i = 0; i < greedy.dim[0]; i++) {
      cr_assert_eq(next, greedy.i[i], "%s: generated id %llu", prefix, (unsigned long long)i);
      got = run_step(&r, &greedy.i[i], 1);
      next = run_argmax(got.data, got.dim[1]);
   }
}

/* What stands behind the embedding, each layer and the last norm. */
static void check_hidden(const golden *g, model *m, double atol)
{
   golden_tensor ids = golden_get(g, "prompt1.input_ids");
   run_trace *traces = arena_array(g->a, run_trace, m->info.layers + 2);
   run r;

   traces[0].name = "embed";
   traces[1].name = "final_norm";
   for (uint32_t l = 0; l < m->info.layers; l++)
      traces[2 + l].name = arena_printf(g->a, "h%u", l);
   run_init(&r, g->a, m);
   r.traces = traces;
   r.num_traces = m->info.layers + 2;
   (void)run_step(&r, ids.i, (int64_t)ids.dim[0]);
   for (size_t i = 0; i < r.num_traces; i++) {
      const char *key = i < 2 ? traces[i].name : arena_printf(g->a, "layer%zu", i - 2);
      golden_tensor want = golden_get(g, arena_printf(g->a, "prompt1.hidden.%s", key));
      cr_assert(traces[i].value.data, "no value is called %s", traces[i].name);
      compare(key, &want, &traces[i].value, i ? atol : 1e-4);
   }
}

/* By value: Criterion runs each in a process of its own, where pointers mean nothing. */
typedef struct folder_name {
   char text[32];
} folder_name;

/* DeepSeek V4 gives streams behind a layer, not rows: tests/check/e2e runs it. */
static bool runs_here(const char *name, const json *entry)
{
   return strcmp(name, "deepseek_v4") != 0 && strcmp(json_get(entry, "kind")->string, "gguf") != 0;
}

/* Every folder of the manifest, so that a new family is here as soon as it has one. */
ParameterizedTestParameters(golden, folder)
{
   static folder_name folders[64];
   size_t n = 0;
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   const json *models = json_get(golden_manifest(a), "models");
   for (size_t i = 0; i < models->len; i++)
      if (runs_here(models->keys[i], models->items[i])) {
         cr_assert_lt(n, countof(folders));
         snprintf(folders[n++].text, sizeof folders->text, "%s", models->keys[i]);
      }
   arena_destroy(a);
   return cr_make_param_array(folder_name, folders, n);
}

/* Kills: any wrong sign, order, scale, base, window, norm or bias of a family: each moves logits by
 * > 1000 atol. */
ParameterizedTest(folder_name *name, golden, folder)
{
   arena *a;
   golden g;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   golden_open(&g, a, name->text);
   model *m = run_open(a, g.dir);
   for (int p = 0; p < 3; p++) {
      const char *prefix = arena_printf(a, "prompt%d", p);
      check_prompt(&g, m, prefix, arena_printf(a, "%s.input_ids", prefix), golden_atol(&g, NULL));
   }
   check_hidden(&g, m, golden_atol(&g, NULL));
   model_close(m);
   arena_destroy(a);
}

static folder_name gguf_folders[] = {{"gguf_llama"}, {"gguf_llama_k"}};

ParameterizedTestParameters(golden, gguf)
{
   return cr_make_param_array(folder_name, gguf_folders, countof(gguf_folders));
}

/* Kills: unpermuted Q and K, reversed extents, a block format read wrongly. */
ParameterizedTest(folder_name *name, golden, gguf)
{
   arena *a;
   golden g;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   golden_open(&g, a, name->text);
   const json *atol = json_get(g.entry, "atol");
   cr_assert_gt(atol->len, 0);
   for (size_t i = 0; i < atol->len; i++) {
      model *m = run_open(a, arena_printf(a, "%s/%s.gguf", g.dir, atol->keys[i]));
      check_prompt(&g, m, atol->keys[i], "input_ids", atol->items[i]->number);
      model_close(m);
   }
   arena_destroy(a);
}
