// LINK: codegen passes models ir runtime base
/* Latent attention, its cache write and the matrices per head against the f64 meaning, and against
 * themselves: any split of rows and context has the same bits. Freed and unwritten memory is NaN. */
#include <stdio.h>

#include "harness.h"

typedef struct shape {
   int heads, latent, rotated;
   const char *kv;
} shape;

/* Shapes of DeepSeek models, then rows that do not fill vectors, more heads than a block has, one
 * of all, and the widest row a kernel takes. */
static const shape shapes[] = {
   {16, 512, 64, "f16"}, {4, 32, 16, "f32"},  {5, 33, 6, "f16"},   {1, 1, 2, "f32"},
   {13, 20, 10, "bf16"}, {3, 960, 64, "f16"}, {32, 48, 16, "f16"},
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
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_EXACT});
}

/* 128 roundings' worth of the largest value: sums of up to 1024 products in several accumulators. */
static void compare(const harness_run *r, uint32_t result, double allowed, const char *what)
{
   const ir_tensor *want = &r->want[result];
   const float *got = (const float *)(const void *)r->out[result];
   double most = 0;

   for (int64_t i = 0; i < harness_count(want); i++)
      most = fmax(most, fabs(want->data[i]));
   for (int64_t i = 0; i < harness_count(want); i++)
      cr_assert(fabs(got[i] - want->data[i]) <= allowed * 0x1p-24 * most,
                "%s: result %u [%lld] %.9g, should be %.9g", what, result, (long long)i, got[i],
                want->data[i]);
}

/* Every position that was written reads back as the interpreter has it. */
static void compare_pages(const harness_run *r)
{
   const ir_kv *kv = &r->kv[0];
   dtype e = (dtype)r->h->plan.plan.cache_groups[0].dtype;

   for (uint32_t s = 0; s < r->step.num_seqs; s++) {
      int64_t n =
         r->step.stored[s] + r->step.rows[s] - (r->step.hide_last && s + 1 == r->step.num_seqs);
      for (int64_t j = 0; j < n * kv->width; j++) {
         double got;
         dtype_load(e, harness_page(r, 0, s, j / kv->width, 0, j % kv->width, false), 1, &got);
         cr_assert(got == kv->k[s][j], "sequence %u position %lld [%lld]: %g, should be %g", s,
                   (long long)(j / kv->width), (long long)(j % kv->width), got, kv->k[s][j]);
      }
   }
}

static void at_level(isa_level level)
{
   static const harness_step steps[] = {
      {.num_seqs = 1, .stored = {0}, .rows = {1}},
      {.num_seqs = 1, .stored = {0}, .rows = {15}},
      {.num_seqs = 1, .stored = {700}, .rows = {1}},
      {.num_seqs = 3, .stored = {250, 0, 511}, .rows = {7, 1, 3}},
      {.num_seqs = 4, .stored = {255, 256, 17, 300}, .rows = {1, 2, 3, 4}},
   };

   for (size_t i = 0; i < countof(shapes); i++) {
      if (!isa_runs(level) && i)
         continue; /* one shape will do where the level is emulated */
      harness *h = compile(&shapes[i], level);
      for (size_t k = 0; k < countof(steps); k++)
         for (int decode = 0; decode < 2; decode++) {
            harness_step step = steps[k];
            step.variant = decode ? "decode" : "prefill";
            harness_run *r = harness_go(h, step);
            compare(r, 0, 128, step.variant);
            compare_pages(r);
            harness_end(r);
         }
      harness_free(h);
   }
}

/* Kills: a mask off by one; the rotated part of another head; values that begin behind the latent;
 * a page's tail read; a rest of the row left out. */
Test(mla, meaning)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      at_level((isa_level)i);
}

/* Rows 0 .. n of two runs have the same bytes. */
static void same_rows(const harness_run *a, const harness_run *b, const shape *s, int64_t n,
                      const char *what)
{
   size_t row = (size_t)(s->heads * s->latent) * sizeof(float);

   cr_assert(memcmp(a->out[0], b->out[0], (size_t)n * row) == 0, "%s: %d heads of %d+%d", what,
             s->heads, s->latent, s->rotated);
}

/* Kills: chunks that move with the step; sums whose order depends on the tile or on the block. */
Test(mla, invariance)
{
   for (size_t i = 0; i < countof(shapes); i++) {
      const shape *s = &shapes[i];
      harness *h = compile(s, isa_best());
      harness_step base = {.num_seqs = 1, .stored = {501}, .rows = {16}, .variant = "prefill"};
      harness_run *whole = harness_go(h, base);

      for (int64_t rows = 1; rows <= ATTN_ROWS; rows++)
         for (int decode = 0; decode < 2; decode++) {
            harness_step step = base;
            step.tile_rows = rows;
            step.variant = decode ? "decode" : "prefill";
            harness_run *r = harness_go(h, step);
            same_rows(whole, r, s, 16, "another tile or form");
            harness_end(r);
         }
      harness_step step = base;
      step.rows[0] = 5;
      harness_run *r = harness_go(h, step);
      same_rows(whole, r, s, 5, "fewer rows");
      harness_end(r);
      step = base;
      step.num_seqs = 3;
      step.stored[1] = 40;
      step.rows[1] = 5;
      step.rows[2] = 2;
      r = harness_go(h, step);
      same_rows(whole, r, s, 16, "with neighbours");
      harness_end(r);
      harness_end(whole);
      harness_free(h);
   }
}

/* Kills: a slot of -1 written to the last page; a padded row that changes its neighbours. */
Test(mla, hidden_row)
{
   harness *h = compile(&shapes[1], isa_best());
   harness_step step = {.num_seqs = 1, .stored = {20}, .rows = {3}};
   harness_run *seen = harness_go(h, step);
   step.hide_last = true;
   harness_run *r = harness_go(h, step);
   size_t page = r->state_bytes[0] / (size_t)(2 + r->sym[SYM_B]);
   double k;

   compare_pages(r);
   for (size_t i = 0; i < page; i++)
      cr_assert(r->state[0][i] == 0xff && r->state[0][r->state_bytes[0] - 1 - i] == 0xff);
   dtype_load(DT_f32, harness_page(r, 0, 0, 22, 0, 0, false), 1, &k);
   cr_assert(isnan(k), "a hidden row was written");
   same_rows(seen, r, &shapes[1], 2, "beside a hidden row");
   harness_end(seen);
   harness_end(r);
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
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_EXACT});
}

static void run_heads(harness *h, int64_t rows, const char *what)
{
   harness_run *r = harness_go(
      h,
      (harness_step){.num_seqs = 1, .rows = {rows}, .variant = rows > 16 ? "prefill" : "decode"});

   compare(r, 0, 32, what);
   compare(r, 1, 32, what);
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
      for (int64_t rows = 1; rows < 140; rows += 23)
         run_heads(h, rows, cases[i].type);
      harness_free(h);
   }
}
