// LINK: codegen passes models ir runtime base
/* Latent attention, its cache write and the matrices per head against the f64 meaning, and against
 * themselves: any split of rows and context has the same bits. Freed and unwritten memory is
 * NaN. */
#include <stdio.h>

#include "attention_case.h"

#ifndef MLA_ROUNDINGS
#define MLA_ROUNDINGS 128
#endif

typedef struct shape {
   int heads, latent, rotated;
   const char *kv;
} shape;

/* Shapes of DeepSeek models, then rows that do not fill vectors, more heads than a block has, one
 * of all, and the widest row a kernel takes. */
static const shape shapes[] = {
   {16, 512, 64, "f16"}, {4, 32, 16, "f32"},      {5, 33, 6, "f16"},
   {1, 1, 2, "f32"},     {13, 20, 10, "bf16"},    {3, 960, 64, "f16"},
   {32, 48, 16, "f16"},  {16, 512, 64, "f8e4m3"}, {5, 33, 6, "f8e4m3"},
};

static harness *compile(const shape *s, isa_level level)
{
   char text[1024];

   snprintf(text, sizeof text,
            "func @f(T in 1..64, R in 0..16, S in 1..4) {\n"
            "%%q = param {name=\"q\"} : f32[T,%d,%d]\n%%p = param {name=\"p\"} : f32[T,%d,%d]\n"
            "%%c = param {name=\"c\"} : %s[T,1,%d]\n%%k = param {name=\"k\"} : %s[T,1,%d]\n"
            "%%s = state {layer=0} : %s mla[1,%d]\n%%n = mla_write %%s, %%c, %%k\n"
            "%%a = mla_attention %%q, %%p, %%n {scale=0.09}\nreturn %%a, %%n\n}\n",
            s->heads, s->latent, s->heads, s->rotated, s->kv, s->latent, s->kv, s->rotated, s->kv,
            s->latent + s->rotated);
   return harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_NUMERICS_exact});
}

static const char *label(arena *a, const shape *s)
{
   return arena_printf(a, "%d heads of %d + %d, %s", s->heads, s->latent, s->rotated, s->kv);
}

/* Roundings: sums of up to 1024 products, in eight accumulators or more. Kills: a mask off by one;
 * the rotated part of another head; values that begin behind the latent; a page's tail read; a rest
 * of the row left out. */
Test(mla, meaning)
{
   for (int level = 0; level < ISA_LEVEL_COUNT; level++)
      for (size_t i = 0; i < countof(shapes); i += conform_every(2)) {
         if (conform_skips((isa_level)level) || (!conform_runs((isa_level)level) && i))
            continue; /* one shape will do where the level is emulated */
         harness *h = compile(&shapes[i], (isa_level)level);
         attention_meaning(h, MLA_ROUNDINGS, label(h->a, &shapes[i]));
         harness_free(h);
      }
}

/* Kills: chunks that move with the step; sums whose order depends on the tile or on the block. */
Test(mla, invariance)
{
   for (size_t i = 0; i < countof(shapes); i += conform_every(3)) {
      harness *h = compile(&shapes[i], isa_best());
      attention_invariance(h, label(h->a, &shapes[i]));
      harness_free(h);
   }
}

/* Kills: a slot of -1 written to the last page; a padded row that changes its neighbours. */
Test(mla, hidden_row)
{
   harness *h = compile(&shapes[1], isa_best());

   attention_hidden_row(h);
   harness_free(h);
}

/* One tensor of keys and values per head, as a checkpoint has it: a slice of it transposed for q, a
 * slice for the result; q is the first part of wider rows. Heads of 13 x 9 rows fill no panel. */
static harness *compile_heads(int heads, int nope, int rope, int value, int latent,
                              const char *type, isa_level level)
{
   char text[1024];

   snprintf(text, sizeof text,
            "func @f(T in 1..200) {\n%%q = param {name=\"q\"} : f32[T,%d,%d]\n"
            "%%u = param {name=\"u\"} : f32[T,%d,%d]\n"
            "%%w = weight {name=\"w\"} : %s[%d,%d]\n%%m = reshape %%w : %s[%d,%d,%d]\n"
            "%%wk = slice %%m {axis=1, start=0, size=%d}\n%%wt = transpose %%wk\n"
            "%%wv = slice %%m {axis=1, start=%d, size=%d}\n"
            "%%qn = slice %%q {axis=2, start=0, size=%d}\n"
            "%%ql = head_matmul %%qn, %%wt\n%%o = head_matmul %%u, %%wv\nreturn %%ql, %%o\n}\n",
            heads, nope + rope, heads, latent, type, heads * (nope + value), latent, type, heads,
            nope + value, latent, nope, nope, value, nope);
   return harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_NUMERICS_exact});
}

static void run_heads(harness *h, int64_t rows, const char *what)
{
   harness_run *r = harness_go(
      h,
      (harness_step){.num_seqs = 1, .rows = {rows}, .variant = rows > 16 ? "prefill" : "decode"});

   attention_compare(r, 0, 32, what);
   attention_compare(r, 1, 32, what);
   harness_end(r);
}

/* Kills: the rows of another head; a transpose of the wrong matrix; a block format read in blocks
 * of the transposed rows; padding rows of a head counted into the next one. */
Test(mla, heads)
{
   static const struct {
      int heads, nope, rope, value, latent;
      const char *type;
   } cases[] = {
      {4, 16, 16, 16, 32, "bf16"}, {3, 13, 7, 9, 20, "f32"},  {2, 128, 64, 128, 512, "bf16"},
      {5, 40, 8, 24, 96, "f16"},   {2, 8, 4, 33, 64, "q8_0"}, {3, 17, 2, 5, 32, "q4_0"},
   };

   for (size_t i = 0; i < countof(cases); i++) {
      harness *h = compile_heads(cases[i].heads, cases[i].nope, cases[i].rope, cases[i].value,
                                 cases[i].latent, cases[i].type, isa_best());
      for (int64_t rows = 1; rows < 140; rows += 23 * (int64_t)conform_every(3))
         run_heads(h, rows, cases[i].type);
      harness_free(h);
   }
}

#ifndef MLA_UNEXPANDED /* there are no such kernels */

/* The same attention in both forms: prompts, later rows, several sequences. */
static harness *compile_expanded(int heads, int nope, int rope, int value, int latent,
                                 const char *kv, const char *type, isa_level level)
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
            "%%y = mla_expanded %%q, %%p, %%n, %%a, %%b {scale=0.11}\nreturn %%y, %%n\n}\n",
            heads, nope, heads, rope, kv, latent, kv, rope, type, heads * (nope + value), latent,
            type, heads, nope + value, latent, nope, nope, value, kv, latent + rope);
   return harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_NUMERICS_exact});
}

/* Kills: the matrices of another head; values at the stride of keys; a page past the last position
 * that is read; positions that a row does not see yet; folds of one run over those of the next; the
 * rows of a panel past the last key. */
Test(mla, expanded)
{
   static const struct {
      int heads, nope, rope, value, latent;
      const char *kv, *type;
   } cases[] = {
      {2, 128, 64, 128, 512, "f16", "bf16"}, {4, 16, 16, 16, 32, "f32", "f32"},
      {5, 13, 6, 9, 33, "f16", "f32"},       {1, 1, 2, 1, 1, "f32", "f16"},
      {3, 20, 10, 40, 64, "bf16", "q8_0"},   {3, 20, 10, 40, 64, "f8e4m3", "bf16"},
   };
   static const harness_step steps[] = {
      {.num_seqs = 1, .stored = {0}, .rows = {1}},
      {.num_seqs = 1, .stored = {0}, .rows = {37}},
      {.num_seqs = 1, .stored = {250}, .rows = {21}},
      {.num_seqs = 3, .stored = {250, 0, 511}, .rows = {7, 1, 30}},
      {.num_seqs = 4, .stored = {255, 256, 17, 300}, .rows = {1, 2, 3, 4}},
   };

   for (size_t i = conform_every(2) - 1; i < countof(cases); i += conform_every(2))
      for (int level = 0; level < ISA_LEVEL_COUNT; level++) {
         if (level != (int)isa_best() && (i != 1 || conform_skips((isa_level)level)))
            continue; /* one shape will do where the level is emulated */
         harness *h =
            compile_expanded(cases[i].heads, cases[i].nope, cases[i].rope, cases[i].value,
                             cases[i].latent, cases[i].kv, cases[i].type, (isa_level)level);
         for (size_t k = 0; k < countof(steps); k++) {
            harness_step step = steps[k];
            step.variant = "prefill";
            harness_run *r = harness_go(h, step);
            attention_compare(r, 0, 256, cases[i].type);
            attention_compare_pages(r);
            harness_end(r);
         }
         harness_free(h);
      }
}

/* Kills: bits that depend on where a prompt is split, or on what else is in the step. */
Test(mla, expanded_invariance)
{
   harness *h = compile_expanded(5, 13, 6, 9, 33, "f16", "f32", isa_best());
   harness_step step = {.num_seqs = 1, .stored = {501}, .rows = {30}, .variant = "prefill"};
   harness_run *whole = harness_bits(h, step);

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

#endif
