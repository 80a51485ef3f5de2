// LINK: codegen passes models ir runtime base
/* Attention and the cache write against the f64 meaning, and against themselves: any split of rows
 * and context has the same bits. Freed and unwritten memory is NaN in every run. */
#include <stdio.h>

#include "harness.h"

typedef struct shape {
   int heads, groups, width, window;
   double cap;
   const char *kv;
   bool sinks;
} shape;

/* Shapes of real models, then what does not fit the registers: widths around the lanes, many heads,
 * one of all. */
static const shape shapes[] = {
   {9, 3, 64, 0, 0, "f16", false},    {9, 3, 64, 0, 0, "f32", false},
   {4, 1, 256, 512, 0, "f16", false}, {4, 1, 256, 100, 0, "f32", false},
   {8, 2, 128, 0, 30, "f16", false},  {32, 8, 80, 0, 0, "f16", false},
   {1, 1, 1, 0, 0, "f32", false},     {3, 3, 7, 0, 0, "f16", false},
   {2, 1, 8, 3, 2, "f32", false},     {7, 1, 20, 0, 0, "bf16", false},
   {16, 1, 33, 17, 0, "f16", false},  {14, 2, 64, 1, 0, "f16", false},
   {6, 2, 64, 128, 0, "f16", true},   {5, 1, 24, 0, 0, "f32", true},
   {3, 3, 7, 2, 3, "f32", true},
};

static harness *compile(const shape *s, isa_level level)
{
   char text[1024], window[32] = "", cap[32] = "";

   if (s->window)
      snprintf(window, sizeof window, ", window=%d", s->window);
   if (s->cap != 0)
      snprintf(cap, sizeof cap, ", cap=%g", s->cap);
   snprintf(text, sizeof text,
            "func @f(T in 1..64, R in 0..16, S in 1..4) {\n"
            "%%q = param {name=\"q\"} : f32[T,%d,%d]\n%%k = param {name=\"pk\"} : %s[T,%d,%d]\n"
            "%%v = param {name=\"pv\"} : %s[T,%d,%d]\n%%s = state {layer=0%s} : %s kv_%s[%d,%d]\n"
            "%%n = kv_write %%s, %%k, %%v\n%%sinks = param {name=\"sinks\"} : f32[%d]\n"
            "%%a = attention %%q, %%n%s {scale=0.21%s}\nreturn %%a, %%n\n}\n",
            s->heads, s->width, s->kv, s->groups, s->width, s->kv, s->groups, s->width, window,
            s->kv, s->window ? "window" : "full", s->groups, s->width, s->heads,
            s->sinks ? ", %sinks" : "", cap);
   return harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_EXACT});
}

static void compare(const harness_run *r, const shape *s, const char *what)
{
   const ir_tensor *want = &r->want[0];
   const float *got = (const float *)(const void *)r->out[0];
   double most = 0;

   for (int64_t i = 0; i < harness_count(want); i++)
      most = fmax(most, fabs(want->data[i]));
   for (int64_t i = 0; i < harness_count(want); i++)
      cr_assert(fabs(got[i] - want->data[i]) <= 128 * 0x1p-24 * most,
                "%s, %d/%d heads of %d, window %d, %s: [%lld] %.9g, should be %.9g", what, s->heads,
                s->groups, s->width, s->window, s->kv, (long long)i, got[i], want->data[i]);
}

/* Every position that was written reads back as the interpreter has it. */
static void compare_pages(const harness_run *r)
{
   const ir_kv *kv = &r->kv[0];
   dtype e = (dtype)r->h->plan.plan.cache_groups[0].dtype;

   for (uint32_t s = 0; s < r->step.num_seqs; s++) {
      int64_t n =
         r->step.stored[s] + r->step.rows[s] - (r->step.hide_last && s + 1 == r->step.num_seqs);
      for (int64_t j = 0; j < n * kv->heads * kv->width; j++) {
         int64_t pos = j / (kv->heads * kv->width), g = j / kv->width % kv->heads,
                 i = j % kv->width;
         double k, v;
         dtype_load(e, harness_page(r, 0, s, pos, g, i, false), 1, &k);
         dtype_load(e, harness_page(r, 0, s, pos, g, i, true), 1, &v);
         cr_assert(k == kv->k[s][j] && v == kv->v[s][j],
                   "sequence %u position %lld head %lld [%lld]: %g %g, should be %g %g", s,
                   (long long)pos, (long long)g, (long long)i, k, v, kv->k[s][j], kv->v[s][j]);
      }
   }
}

/* Their forms are right, and alike, for any rows and context, whatever their guards say. */
static const char *const variants[] = {"decode", "deep", "prefill"};

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
         for (size_t v = 0; v < countof(variants); v++) {
            harness_step step = steps[k];
            step.variant = variants[v];
            harness_run *r = harness_go(h, step);
            compare(r, &shapes[i], step.variant);
            compare_pages(r);
            harness_end(r);
         }
      harness_free(h);
   }
}

/* Kills: a mask off by one; a head of another kv head; a page's tail read; k and v swapped; a cap
 * after the softmax. */
Test(attention, meaning)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      at_level((isa_level)i);
}

/* Rows 0 .. n of two runs have the same bytes. */
static void same_rows(const harness_run *a, const harness_run *b, const shape *s, int64_t n,
                      const char *what)
{
   size_t row = (size_t)(s->heads * s->width) * sizeof(float);

   for (int64_t t = 0; t < n; t++)
      cr_assert(memcmp(a->out[0] + (size_t)t * row, b->out[0] + (size_t)t * row, row) == 0,
                "%s: %d/%d heads of %d: row %lld has other bits", what, s->heads, s->groups,
                s->width, (long long)t);
}

/* Kills: chunks that move with the step; sums whose order depends on the tile; a fold that starts
 * elsewhere. */
Test(attention, invariance)
{
   for (size_t i = 0; i < countof(shapes); i++) {
      const shape *s = &shapes[i];
      harness *h = compile(s, isa_best());
      harness_step base = {.num_seqs = 1, .stored = {501}, .rows = {16}, .variant = "prefill"};
      harness_run *whole = harness_go(h, base);

      harness_step step = base;
      for (int64_t rows = 1; rows <= ATTN_ROWS; rows++)
         for (size_t v = 0; v < countof(variants); v++) {
            step = base;
            step.tile_rows = rows;
            step.variant = variants[v];
            harness_run *r = harness_go(h, step);
            same_rows(whole, r, s, 16, "another tile");
            harness_end(r);
         }
      for (int64_t n = 1; n < 16; n += 7) {
         step = base;
         step.rows[0] = n;
         harness_run *r = harness_go(h, step);
         same_rows(whole, r, s, n, "fewer rows");
         harness_end(r);
      }
      step = base;
      step.num_seqs = 3;
      step.stored[1] = 40;
      step.rows[1] = 5;
      step.rows[2] = 2;
      harness_run *r = harness_go(h, step);
      same_rows(whole, r, s, 16, "with neighbours");
      harness_end(r);
      harness_end(whole);
      harness_free(h);
   }
}

/* Kills: a slot of -1 written to the last page. */
Test(attention, hidden_row)
{
   harness *h = compile(&shapes[0], isa_best());
   harness_run *r =
      harness_go(h, (harness_step){.num_seqs = 1, .stored = {20}, .rows = {3}, .hide_last = true});
   uint8_t *end = r->state[0] + r->state_bytes[0];
   size_t page = r->state_bytes[0] / (size_t)(2 + r->sym[SYM_B]);

   compare_pages(r);
   /* the pages of no sequence: the first and the last */
   for (size_t i = 0; i < page; i++)
      cr_assert(r->state[0][i] == 0xff && end[-1 - (ptrdiff_t)i] == 0xff);
   double k;
   dtype_load(DT_f16, harness_page(r, 0, 0, 22, 0, 0, false), 1, &k);
   cr_assert(isnan(k), "a hidden row was written");
   harness_end(r);
   harness_free(h);
}
