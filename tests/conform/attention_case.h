/* attention_case.h - what holds for every attention over pages, whatever they keep of a position:
 * its results against the f64 meaning, its pages, and the same bits for any tile, split and
 * company. */
#ifndef CONFORM_ATTENTION_CASE_H
#define CONFORM_ATTENTION_CASE_H

#include "harness.h"

/* Every form is right, and alike, for any rows and context, whatever its guard says. */
static const char *const attention_variants[] = {"decode", "deep", "prefill"};

static const harness_step attention_steps[] = {
   {.num_seqs = 1, .stored = {0}, .rows = {1}},
   {.num_seqs = 1, .stored = {0}, .rows = {15}},
   {.num_seqs = 1, .stored = {700}, .rows = {1}},
   {.num_seqs = 3, .stored = {250, 0, 511}, .rows = {7, 1, 3}},
   {.num_seqs = 4, .stored = {255, 256, 17, 300}, .rows = {1, 2, 3, 4}},
};

/* Result `result` lies within `roundings` of f32 at the largest value. */
static inline void attention_compare(const harness_run *r, uint32_t result, double roundings,
                                     const char *what)
{
   const ir_tensor *want = &r->want[result];
   const float *got = (const float *)(const void *)r->out[result];
   double most = 0;

   for (int64_t i = 0; i < harness_count(want); i++)
      most = fmax(most, fabs(want->data[i]));
   for (int64_t i = 0; i < harness_count(want); i++)
      cr_assert(fabs(got[i] - want->data[i]) <= roundings * 0x1p-24 * most,
                "%s: result %u [%lld] %.9g, should be %.9g", what, result, (long long)i, got[i],
                want->data[i]);
}

/* Every position that was written reads back as the interpreter has it. */
static inline void attention_compare_pages(const harness_run *r)
{
   const ir_kv *kv = &r->kv[0];
   dtype e = (dtype)r->h->plan.plan.cache_groups[0].dtype;

   for (uint32_t s = 0; s < r->step.num_seqs; s++) {
      int64_t n =
         r->step.stored[s] + r->step.rows[s] - (r->step.hide_last && s + 1 == r->step.num_seqs);
      for (int64_t j = 0; j < n * kv->heads; j++)
         for (int v = 0; v < (kv->v ? 2 : 1); v++) {
            const double *want = (v ? kv->v[s] : kv->k[s]) + j * kv->width;
            int64_t pos = j / kv->heads, g = j % kv->heads, stride = harness_stride(kv, e, v);
            const uint8_t *at = harness_page(r, 0, s, pos, g, 0, v);
            for (int64_t i = 0; i < kv->width; i++) {
               double got;
               dtype_load(e, at + i * stride, 1, &got);
               if (got != want[i]) /* an assertion of each would take most of the time */
                  cr_assert(false, "sequence %u position %lld head %lld [%lld]: %g, should be %g",
                            s, (long long)pos, (long long)g, (long long)i, got, want[i]);
            }
         }
   }
}

/* All steps in all forms; results within `roundings`. */
static inline void attention_meaning(harness *h, double roundings, const char *what)
{
   for (size_t k = 0; k < countof(attention_steps); k += conform_every(2))
      for (size_t v = 0; v < countof(attention_variants); v++) {
         harness_step step = attention_steps[k];
         step.variant = attention_variants[v];
         harness_run *r = harness_go(h, step);
         attention_compare(r, 0, roundings, arena_printf(h->a, "%s, %s", what, step.variant));
         attention_compare_pages(r);
         harness_end(r);
      }
}

/* Rows 0 .. n of two runs have the same bytes. */
static inline void attention_same_rows(const harness_run *a, const harness_run *b, int64_t n,
                                       const char *what)
{
   size_t row = a->out_bytes[0] / (size_t)a->sym[SYM_T];

   for (int64_t t = 0; t < n; t++)
      cr_assert(memcmp(a->out[0] + (size_t)t * row, b->out[0] + (size_t)t * row, row) == 0,
                "%s: row %lld has other bits", what, (long long)t);
}

/* One run of the step against the first rows of `whole`. */
static inline void attention_run_like(harness *h, const harness_run *whole, harness_step step,
                                      int64_t n, const char *what)
{
   harness_run *r = harness_bits(h, step);

   attention_same_rows(whole, r, n, what);
   harness_end(r);
}

/* The same bits in other tiles and forms, beside other sequences. */
static inline void attention_in_company(harness *h, const harness_run *whole, const char *what)
{
   const harness_step base = whole->step;
   harness_step step;

   for (int64_t rows = 1; rows <= ATTN_ROWS; rows++)
      for (size_t v = 0; v < countof(attention_variants); v++) {
         step = base;
         step.tile_rows = rows;
         step.variant = attention_variants[v];
         attention_run_like(h, whole, step, 16, arena_printf(h->a, "%s, another tile", what));
      }
   step = base;
   step.num_seqs = 3;
   step.stored[1] = 40;
   step.rows[1] = 5;
   step.rows[2] = 2;
   attention_run_like(h, whole, step, 16, arena_printf(h->a, "%s, with neighbours", what));
}

/* That, and with fewer rows. */
static inline void attention_invariance(harness *h, const char *what)
{
   const harness_step base = {.num_seqs = 1, .stored = {501}, .rows = {16}, .variant = "prefill"};
   harness_run *whole = harness_bits(h, base);

   attention_in_company(h, whole, what);
   for (int64_t n = 1; n < 16; n += 7) {
      harness_step step = base;
      step.rows[0] = n;
      attention_run_like(h, whole, step, n, arena_printf(h->a, "%s, fewer rows", what));
   }
   harness_end(whole);
}

/* A slot of -1 writes nothing: neither its own position nor a page of nobody (the first and the
 * last), and changes no other row. */
static inline void attention_hidden_row(harness *h)
{
   harness_step step = {.num_seqs = 1, .stored = {20}, .rows = {3}};
   harness_run *seen = harness_bits(h, step);

   step.hide_last = true;
   harness_run *r = harness_go(h, step);
   uint8_t *end = r->state[0] + r->state_bytes[0];
   size_t page = r->state_bytes[0] / (size_t)(2 + r->sym[SYM_B]);
   double k;

   attention_compare_pages(r);
   for (size_t i = 0; i < page; i++)
      cr_assert(r->state[0][i] == 0xff && end[-1 - (ptrdiff_t)i] == 0xff);
   dtype_load((dtype)h->plan.plan.cache_groups[0].dtype, harness_page(r, 0, 0, 22, 0, 0, false), 1,
              &k);
   cr_assert(isnan(k), "a hidden row was written");
   attention_same_rows(seen, r, 2, "beside a hidden row");
   harness_end(seen);
   harness_end(r);
}

#endif
