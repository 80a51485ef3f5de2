// LINK: codegen runtime models passes ir base
/* What a cache of a byte an element (passes/kv_f8.c, latent_f8.c) costs. Two questions with an
 * answer each: do the kernels compute what such a state means, and is what it means as near as a
 * rounding of that size can be?
 *
 * The logits of one row move in proportion to the rounding of the state, for f16, bf16 and f8e4m3
 * alike. Some rows move further: there a router's choice turned. So a row in the middle is held. */
#include "compiled.h"
#include "run.h"

#include "sinter.h"

#include <stdlib.h>

static const struct {
   const char *name, *pass;
} cases[] = {
   {"deepseek_v2_lite", "latent_f8"}, {"deepseek_v2", "latent_f8"},
   {"deepseek_v3", "kv_f8"},          {"llama", "kv_f8"},
   {"gemma3_text", "kv_f8"},
};

static void open_golden(golden *g, const char *name)
{
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   golden_open(g, a, name);
}

/* Logits of prompt 2 by the meanings, with states of that type. */
static double *by_meaning(golden *g, dtype state)
{
   golden_tensor ids = golden_get(g, "prompt2.input_ids");
   model *m = run_open(g->a, g->dir);
   run r;

   for (ir_op *op = m->f->first; op; op = op->next)
      if (op->code == IR_OP_state)
         ir_retype(m->f, op->results[0], state);
   run_init(&r, g->a, m);
   r.mode = IR_EVAL_declared;
   ir_tensor got = run_step(&r, ids.i, (int64_t)ids.dim[0]);
   model_close(m);
   return got.data;
}

static int ascending(const void *a, const void *b)
{
   const double x = *(const double *)a, y = *(const double *)b;

   return (x > y) - (x < y);
}

/* How far the row in the middle is from the recorded one, in spreads of the recorded logits. */
static double middle_row(golden *g, const double *got)
{
   golden_tensor want = golden_get(g, "prompt2.logits");
   const uint64_t n = want.dim[0], v = want.dim[1];
   double *rows = arena_array(g->a, double, n), all = 0;

   for (uint64_t i = 0; i < n * v; i++) {
      rows[i / v] += (got[i] - want.f[i]) * (got[i] - want.f[i]);
      all += (double)want.f[i] * want.f[i];
   }
   qsort(rows, n, sizeof *rows, ascending);
   return sqrt(rows[n / 2] / (all / (double)n));
}

/* Kills: a state that is stored longer or shorter than its type, values beyond the type's range or
 * below it (an 8-bit float without a scale holds 2^-9 to 448), a rounding that is not to
 * nearest. */
Test(latent_f8, moves_rows_by_its_rounding)
{
   static const dtype types[] = {DT_f16, DT_bf16, DT_f8e4m3};

   for (size_t i = 0; i < countof(cases); i++) {
      golden g;
      open_golden(&g, cases[i].name);
      for (size_t k = 0; k < countof(types); k++) {
         const double rounding = dtype_infos[types[k]].rel;
         const double moved = middle_row(&g, by_meaning(&g, types[k]));
         /* measured 1.2 to 2.6 roundings */
         cr_expect(moved > 0.6 * rounding && moved < 4 * rounding,
                   "%s, states in %s: a row moves by %.3g, roundings are %.3g", cases[i].name,
                   dtype_infos[types[k]].name, moved, rounding);
      }
      arena_destroy(g.a);
   }
}

/* ---- the engine ---- */

typedef struct kept {
   float *logits;
   uint64_t vocab;
} kept;

static void keep(void *user, sinter_request *r, uint32_t pos, const float *logits)
{
   kept *k = user;

   (void)r;
   memcpy(k->logits + pos * k->vocab, logits, k->vocab * sizeof *logits);
}

/* Logits of prompt 2 by the kernels. */
static float *by_kernels(golden *g, const char *pass)
{
   golden_tensor ids = golden_get(g, "prompt2.input_ids"), want = golden_get(g, "prompt2.logits");
   kept k = {arena_array(g->a, float, want.dim[0] * want.dim[1]), want.dim[1]};
   sinter_engine_options o = SINTER_INIT(sinter_engine_options);
   sinter_request_options r = SINTER_INIT(sinter_request_options);
   sinter_artifact *a = compiled(g->dir, "cpu", SINTER_NUMERICS_fast, pass);
   sinter_request *request;
   sinter_engine *e;

   o.threads = 1;
   o.kv_tokens = 512;
   cr_assert_eq(sinter_engine_create(a, &o, &e), SINTER_ok, "%s", sinter_error());
   r.prompt = ids.i;
   r.num_prompt = (uint32_t)ids.dim[0];
   r.sampling = SINTER_SAMPLING_GREEDY;
   r.on_logits = keep;
   r.user = &k;
   cr_assert_eq(sinter_submit(e, &r, &request), SINTER_ok, "%s", sinter_error());
   for (bool busy = true; busy;)
      cr_assert_eq(sinter_step(e, &busy), SINTER_ok, "%s", sinter_error());
   sinter_request_destroy(request);
   sinter_engine_destroy(e);
   sinter_artifact_close(a);
   return k.logits;
}

/* The bound is for sums of other orders that meet the border between two codes: such an element is
 * off by a code, 2^-4 of itself, in one of thousands. Kills: rotated parts or latents of another
 * row, position or head; codes written in one place and read in another. */
Test(latent_f8, kernels_compute_what_it_means)
{
   for (size_t i = 0; i < countof(cases); i++) {
      golden g;
      open_golden(&g, cases[i].name);
      golden_tensor want = golden_get(&g, "prompt2.logits");
      const double *meaning = by_meaning(&g, DT_f8e4m3);
      const float *got = by_kernels(&g, cases[i].pass);
      double apart = 0, all = 0;
      for (uint64_t k = 0; k < want.dim[0] * want.dim[1]; k++) {
         apart += (got[k] - meaning[k]) * (got[k] - meaning[k]);
         all += meaning[k] * meaning[k];
      }
      cr_expect(sqrt(apart / all) < 2e-3, "%s: %.3g of the spread apart", cases[i].name,
                sqrt(apart / all));
      arena_destroy(g.a);
   }
}
