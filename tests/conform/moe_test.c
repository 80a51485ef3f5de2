// LINK: codegen passes models ir runtime base
/* Kernels of mixtures of experts against the f64 meaning: numbers of experts around the vector
 * length, one expert a token, experts without rows, all rows to one expert, every kind of score;
 * each op alone and in the fused groups, few rows and many. */
#include <stdio.h>

#include "harness.h"

typedef struct mixture {
   int experts, k, d, f;
   const char *route; /* attributes but k */
   const char *type;  /* of the stacks */
   bool bias;
   const char *logits; /* the param's name, which says what numbers it has */
} mixture;

static const char *text_of(const mixture *m, char text[4096])
{
   snprintf(text, 4096,
            "func @f(T in 1..160, R in 0..16, S in 1..4) {\n"
            "%%x = param {name=\"x\"} : f32[T,%d]\n%%l = param {name=\"%s\"} : f32[T,%d]\n"
            "%%b = weight {name=\"b\"} : f32[%d]\n"
            "%%wg = weight {name=\"g\"} : %s[%d,%d,%d]\n%%wu = weight {name=\"u\"} : %s[%d,%d,%d]\n"
            "%%wd = weight {name=\"d\"} : %s[%d,%d,%d]\n"
            "%%i, %%w = route %%l%s {k=%d, %s}\n%%v = route_weights %%l, %%i {score=\"sigmoid\"}\n"
            "%%o, %%n = permute %%i {experts=%d}\n"
            "%%ga = moe_matmul %%x, %%o, %%n, %%wg\n%%up = moe_matmul %%x, %%o, %%n, %%wu\n"
            "%%a = silu %%ga\n%%y = mul %%a, %%up\n"
            "%%de = moe_matmul %%y, %%o, %%n, %%wd\n%%c = combine %%de, %%w\n"
            "return %%c, %%w, %%v, %%i, %%o, %%n\n}\n",
            m->d, m->logits, m->experts, m->experts, m->type, m->experts, m->f, m->d, m->type,
            m->experts, m->f, m->d, m->type, m->experts, m->d, m->f, m->bias ? ", %b" : "", m->k,
            m->route, m->experts);
   return text;
}

/* Ids, order and offsets are exact; floats within the roundings of their sums. */
static void compare(const harness_run *r, uint32_t k, bool is_int, double slack, const char *what)
{
   const ir_tensor *want = &r->want[k];
   int64_t n = harness_count(want);
   double most = 0;

   for (int64_t i = 0; i < n; i++)
      most = fmax(most, fabs(want->data[i]));
   for (int64_t i = 0; i < n; i++) {
      double got = is_int ? ((const int32_t *)(const void *)r->out[k])[i]
                          : ((const float *)(const void *)r->out[k])[i];
      double room = is_int ? 0 : slack * 0x1p-24 * most + 1e-30;
      cr_assert(fabs(got - want->data[i]) <= room, "%s: result %u [%lld]: %.9g, should be %.9g",
                what, k, (long long)i, got, want->data[i]);
   }
}

static void check(const mixture *m, isa_level level, bool fuse)
{
   /* with more than 64 rows of one expert, and with more slots than fit a chunk */
   static const int64_t rows[] = {1, 2, 7, 70, 150};
   char text[4096], what[128];
   harness *h = harness_compile(
      text_of(m, text),
      (harness_options){.level = level, .fuse = fuse, .numerics = SINTER_NUMERICS_exact});

   for (size_t i = 0; i < countof(rows); i++)
      for (int v = 0; v < 2; v++) {
         harness_step step = {.num_seqs = 1, .rows = {rows[i]}, .wanted = 1};
         step.variant = v ? "prefill" : "decode";
         if (!v && rows[i] > CG_DECODE_ROWS)
            continue;
         harness_run *r = harness_go(h, step);
         snprintf(what, sizeof what, "%d of %d experts, %s, %s, %d rows, %s%s", m->k, m->experts,
                  m->route, m->type, (int)rows[i], step.variant, fuse ? ", fused" : "");
         for (uint32_t k = 3; k < 6; k++)
            compare(r, k, true, 0, what);
         for (uint32_t k = 1; k < 3; k++)
            compare(r, k, false, 32, what);
         compare(r, 0, false, 8.0 * (m->d + m->f), what);
         harness_end(r);
      }
   harness_free(h);
}

static const mixture mixtures[] = {
   {3, 1, 32, 16, "score=\"softmax\"", "f32", false, "l"},
   {7, 3, 40, 24, "norm=1, score=\"softmax\"", "f32", false, "l"},
   {8, 8, 32, 17, "score=\"none\"", "f16", false, "l"},
   {33, 4, 64, 32, "norm=1, scale=2.5, score=\"sigmoid\"", "bf16", true, "l"},
   {20, 5, 32, 16, "norm=1, scale=1.5, score=\"sqrt_softplus\"", "f32", true, "l"},
   {24, 3, 32, 32, "group_top=2, groups=6, kept=2, norm=1, score=\"sigmoid\"", "q8_0", true, "l"},
   {18, 2, 64, 64, "groups=3, kept=1, scale=16, score=\"softmax\"", "q4_0", false, "l"},
   {64, 1, 32, 16, "score=\"none\"", "f32", true, "l"},
   {7, 3, 40, 24, "norm=1, score=\"softmax\"", "f32", false, "very negative"},
   {33, 4, 64, 32, "norm=1, scale=2.5, score=\"sigmoid\"", "f32", false, "negative"},
   {20, 5, 32, 16, "norm=1, score=\"sqrt_softplus\"", "f32", false, "negative"},
   {18, 2, 64, 64, "groups=3, kept=1, score=\"softmax\"", "f32", false, "very negative"},
   {9, 1, 32, 16, "score=\"none\"", "f32", false, "negative"},
};

/* Kills: a panel of the neighbouring expert, a padded row of experts whose width is no multiple of
 * 16, rows past a chunk of 64, slots in sorted order, another order of ties, a padded lane that is
 * selected, a running maximum that starts at 0, weights with bias, sums of a group that is dropped,
 * a column that is not cleared. */
Test(moe, mixtures)
{
   for (size_t i = 0; i < countof(mixtures); i += conform_every(2)) {
      const bool negative =
         strcmp(mixtures[i].logits, "l") != 0; /* alone, at the two ends of the levels */
      for (int level = 0; level < ISA_LEVEL_COUNT;
           level += negative ? MAX(ISA_LEVEL_COUNT - 1, 1) : 1)
         for (int fuse = 0; fuse < (negative ? 1 : 2) && !conform_skips((isa_level)level); fuse++)
            check(&mixtures[i], (isa_level)level, fuse);
   }
}

/* Ids of one map go through another one, negative and too large ones with them. Kills: the hash of
 * the neighbour's row or of the row's number, a replica behind the first gap of a row, an expert
 * that is not here taken for the first one. */
Test(moe, remap)
{
   for (int level = 0; level < ISA_LEVEL_COUNT && !conform_skips((isa_level)level); level++) {
      harness *h = harness_compile(
         "func @f(T in 1..160, S in 1..4) {\n%l = param {name=\"l\"} : f32[T,9]\n"
         "%t = weight {name=\"t\"} : i32[9,3]\n%u = weight {name=\"u\"} : i32[4,5]\n"
         "%p = meta {field=positions} : i32[T]\n"
         "%i, %w = route %l {k=3, score=\"softmax\"}\n%a = remap %i, %t, %p\n"
         "%b = remap %a, %u, %p\nreturn %a, %b, %w\n}\n",
         (harness_options){.level = (isa_level)level});
      harness_run *r = harness_go(
         h,
         (harness_step){.num_seqs = 2, .stored = {0, 11}, .rows = {70, 9}, .variant = "prefill"});

      compare(r, 0, true, 0, "remap");
      compare(r, 1, true, 0, "remap of places");
      harness_end(r);
      harness_free(h);
   }
}
