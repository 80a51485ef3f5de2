// LINK: codegen passes models ir runtime base sinter_mock
/* Attention on matrix instructions against the f64 meaning, on warps of both widths: the cases of
 * the plain kernels, which hold its splits, company and forms to the same bits. */
#include "simt_run.h"

#include <stdio.h>

#include "tests/conform/attention_case.h"

typedef struct shape {
   int heads, groups, width, window;
   double cap;
   const char *kv;
   bool sinks, latent,
      longer; /* width: of the value, if latent, before 16 of the rotated part; longer: --long only */
} shape;

/* Columns that are full and that are not, one block and several, a head whose columns are more than
 * the warps have; every demand and cache. */
static const shape shapes[] = {
   {4, 1, 32, 0, 0, "f16", false, false, false},    {6, 2, 16, 20, 3, "bf16", true, false, false},
   {5, 5, 48, 0, 0, "f8e4m3", false, false, false}, {14, 2, 64, 300, 0, "f16", false, false, true},
   {16, 1, 80, 0, 0, "f16", true, false, true},     {8, 2, 128, 0, 30, "f16", false, false, true},
   {4, 1, 256, 512, 0, "f16", false, false, true},  {6, 1, 64, 0, 0, "f16", false, true, false},
   {20, 1, 112, 0, 0, "f8e4m3", false, true, true}, {16, 1, 512, 0, 0, "f16", false, true, true},
};

static const char *label(arena *a, const shape *s, uint32_t warp)
{
   return arena_printf(a, "%d/%d heads of %d, window %d, %s%s, warps of %u", s->heads, s->groups,
                       s->width, s->window, s->kv, s->latent ? " latent" : "", warp);
}

static void text_of_pages(const shape *s, double scale, char *text, size_t cap)
{
   char window[32] = "", soft[32] = "";

   if (s->window)
      snprintf(window, sizeof window, ", window=%d", s->window);
   if (s->cap != 0)
      snprintf(soft, sizeof soft, ", cap=%g", s->cap);
   snprintf(text, cap,
            "func @f(T in 1..64, R in 0..16, S in 1..4) {\n"
            "%%q = param {name=\"q\"} : f32[T,%d,%d]\n%%k = param {name=\"pk\"} : %s[T,%d,%d]\n"
            "%%v = param {name=\"pv\"} : %s[T,%d,%d]\n%%s = state {layer=0%s} : %s kv_%s[%d,%d]\n"
            "%%n = kv_write %%s, %%k, %%v\n%%sinks = param {name=\"sinks\"} : f32[%d]\n"
            "%%a = attention %%q, %%n%s {scale=%g%s}\nreturn %%a, %%n\n}\n",
            s->heads, s->width, s->kv, s->groups, s->width, s->kv, s->groups, s->width, window,
            s->kv, s->window ? "window" : "full", s->groups, s->width, s->heads,
            s->sinks ? ", %sinks" : "", scale, soft);
}

static void text_of_latents(const shape *s, double scale, char *text, size_t cap)
{
   snprintf(text, cap,
            "func @f(T in 1..64, R in 0..16, S in 1..4) {\n"
            "%%q = param {name=\"q\"} : f32[T,%d,%d]\n%%p = param {name=\"p\"} : f32[T,%d,16]\n"
            "%%c = param {name=\"c\"} : %s[T,1,%d]\n%%k = param {name=\"k\"} : %s[T,1,16]\n"
            "%%s = state {layer=0} : %s mla[1,%d]\n%%n = mla_write %%s, %%c, %%k\n"
            "%%a = mla_attention %%q, %%p, %%n {scale=%g}\nreturn %%a, %%n\n}\n",
            s->heads, s->width, s->heads, s->kv, s->width, s->kv, s->kv, s->width + 16, scale);
}

static harness *compile(const shape *s, const harness_simt *simt, attention_backend backend)
{
   /* In bytes, scores of one size for every width: `bytes` wants small ones. */
   const double scale = backend == ATTENTION_BACKEND_mma_f8 ? 0.2 / sqrt(s->width)
                        : s->latent                         ? 0.09
                                                            : 0.21;
   char text[1024];

   if (s->latent)
      text_of_latents(s, scale, text, sizeof text);
   else
      text_of_pages(s, scale, text, sizeof text);
   harness *h = harness_compile(text, (harness_options){.simt = simt,
                                                        .fuse = true,
                                                        .numerics = SINTER_NUMERICS_fast,
                                                        .attention = attention_name(backend)});
   cr_assert(h->layout.num_attentions == 1 && h->layout.attentions[0].backend == backend, "%s",
             label(h->a, s, simt->warp));
   return h;
}

static bool is_long(void)
{
   const char *all = getenv("SINTER_CHECK_LONG");

   return all && strcmp(all, "1") == 0;
}

/* Lanes are emulated one by one: but for --long, not every shape, and each on warps of one
 * width. */
static bool is_left_out(const shape *s, size_t number, size_t warp)
{
   return !is_long() && (s->longer || number % countof(warps) != warp);
}

/* Roundings: as of the plain kernels; what parts of f16 leave out, 2^-22 of a query and of a
 * weight, is four of them. Kills: a fragment's row or column of another lane; parts that leave out
 * more; a mask off by one; values of positions that were never written; a slice that is read before
 * it has come. */
Test(attention_mma, meaning)
{
   for (size_t i = 0; i < countof(shapes); i += conform_every(2))
      for (size_t w = 0; w < countof(warps); w++) {
         if (is_left_out(&shapes[i], i, w))
            continue;
         harness *h = compile(&shapes[i], &warps[w], ATTENTION_BACKEND_mma);
         attention_meaning(h, 128, label(h->a, &shapes[i], warps[w].warp));
         harness_free(h);
      }
}

/* Kills: a column whose bits depend on its place or neighbours; a chunk folded that a row does not
 * see; parts merged otherwise than one block folds them. */
Test(attention_mma, invariance)
{
   for (size_t i = 0; i < countof(shapes); i += conform_every(4))
      for (size_t w = 0; w < countof(warps); w++) {
         if (is_left_out(&shapes[i], i / 4, w))
            continue;
         harness *h = compile(&shapes[i], &warps[w], ATTENTION_BACKEND_mma);
         attention_invariance(h, label(h->a, &shapes[i], warps[w].warp));
         attention_hidden_row(h);
         harness_free(h);
      }
}

/* Queries and weights in bytes: each is off by 2^-4 of itself at most. Scores are small, so that
 * what the first does to them is no more than that; the bound is 2^-4 of the largest value for both
 * together. Kills: bytes of another line; a page's half that is not there; scales that do not
 * meet. */
Test(attention_mma, bytes)
{
   static const shape bytes[] = {
      {4, 1, 32, 0, 0, "f8e4m3", false, false, false},
      {6, 2, 64, 20, 3, "f8e4m3", true, false, false},
      {6, 1, 48, 0, 0, "f8e4m3", false, true, false},
      {16, 1, 496, 0, 0, "f8e4m3", false, true, true},
   };

   for (size_t i = 0; i < countof(bytes); i += conform_every(2)) {
      if (is_left_out(&bytes[i], 1, 1))
         continue;
      harness *h = compile(&bytes[i], &warps[1], ATTENTION_BACKEND_mma_f8);
      attention_meaning(h, 0x1p20, label(h->a, &bytes[i], warps[1].warp));
      attention_invariance(h, label(h->a, &bytes[i], warps[1].warp));
      harness_free(h);
   }
}

typedef struct expanded {
   int heads, nope, rope, value, latent;
   const char *kv, *type;
   bool longer;
} expanded;

static harness *compile_expanded(const expanded *s)
{
   char text[1400];

   snprintf(text, sizeof text,
            "func @f(T in 1..80, R in 0..16, S in 1..4) {\n"
            "%%q = param {name=\"q\"} : f32[T,%d,%d]\n%%p = param {name=\"p\"} : f32[T,%d,%d]\n"
            "%%c = param {name=\"c\"} : %s[T,1,%d]\n%%k = param {name=\"k\"} : %s[T,1,%d]\n"
            "%%w = weight {name=\"w\"} : %s[%d,%d]\n%%m = reshape %%w : %s[%d,%d,%d]\n"
            "%%a = slice %%m {axis=1, start=0, size=%d}\n"
            "%%b = slice %%m {axis=1, start=%d, size=%d}\n"
            "%%s = state {layer=0} : %s mla[1,%d]\n%%n = mla_write %%s, %%c, %%k\n"
            "%%y = mla_expanded %%q, %%p, %%n, %%a, %%b {scale=0.02}\nreturn %%y, %%n\n}\n",
            s->heads, s->nope, s->heads, s->rope, s->kv, s->latent, s->kv, s->rope, s->type,
            s->heads * (s->nope + s->value), s->latent, s->type, s->heads, s->nope + s->value,
            s->latent, s->nope, s->nope, s->value, s->kv, s->latent + s->rope);
   const bool whole = strcmp(s->kv, "f32") == 0; /* a pass would store it in f16 */
   harness *h = harness_compile(text, (harness_options){.simt = &warps[1],
                                                        .fuse = !whole,
                                                        .numerics = SINTER_NUMERICS_fast,
                                                        .attention = "expand_f8!"});
   cr_assert(h->layout.attentions[0].backend == ATTENTION_BACKEND_expand_f8);
   return h;
}

static const harness_step expanded_steps[] = {
   {.num_seqs = 1, .stored = {0}, .rows = {1}},
   {.num_seqs = 1, .stored = {250}, .rows = {21}},
   {.num_seqs = 3, .stored = {250, 0, 511}, .rows = {7, 1, 18}},
   {.num_seqs = 4, .stored = {255, 256, 17, 300}, .rows = {1, 2, 3, 4}},
};

/* Each query, key, weight and value is off by 2^-4 of itself at most: a value moves a result by no
 * more than 2^-4 of the largest, scores, which are small, by as much again.
 * Kills: the matrices of another head; scales of another row, of a position's key for its value;
 * values of positions that are not there; the rotated part left out; a position too many or too
 * few; runs that are taken for one; chunks that are not folded. */
Test(attention_mma, expanded)
{
   static const expanded cases[] = {
      {2, 16, 16, 32, 64, "f16", "bf16", false},     {3, 48, 16, 16, 32, "f8e4m3", "q8_0", false},
      {1, 16, 16, 48, 128, "f32", "q5_0", false},    {2, 128, 64, 128, 512, "bf16", "bf16", true},
      {2, 16, 48, 64, 32, "f8e4m3", "iq4_nl", true},
   };

   for (size_t i = 0; i < countof(cases); i++) {
      if (cases[i].longer && !is_long())
         continue;
      harness *h = compile_expanded(&cases[i]);
      for (size_t k = 0; k < countof(expanded_steps); k++) {
         harness_step step = expanded_steps[k];
         step.variant = "prefill";
         harness_run *r = harness_go(h, step);
         attention_compare(r, 0, 0x1p21, cases[i].type);
         attention_compare_pages(r);
         harness_end(r);
      }
      harness_free(h);
   }
}

/* Kills: bits that depend on where a prompt is split, on a row's column, or on what else is in the
 * step. */
Test(attention_mma, expanded_invariance)
{
   const expanded small = {2, 16, 16, 16, 32, "f16", "bf16", false};
   harness *h = compile_expanded(&small);
   harness_step step = {.num_seqs = 1, .stored = {501}, .rows = {30}, .variant = "prefill"};
   harness_run *whole = harness_go(h, step);

   for (int64_t rows = 1; rows < 30; rows += 7) {
      step.rows[0] = rows;
      attention_run_like(h, whole, step, rows, "fewer rows");
   }
   step = (harness_step){
      .num_seqs = 3, .stored = {501, 40, 0}, .rows = {30, 5, 2}, .variant = "prefill"};
   attention_run_like(h, whole, step, 30, "with neighbours");
   harness_end(whole);
   harness_free(h);
}
