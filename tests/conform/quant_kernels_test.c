// LINK: codegen passes models runtime ir base
/* Quantisation in row kernels against the meaning: every form, and rows at which it breaks. */
#include <stdio.h>

#include "harness.h"

typedef struct shape {
   int k, group;
   const char *code, *more; /* type of the codes; attributes */
   bool given;              /* the scale is an operand */
} shape;

static const shape shapes[] = {
   {64, 64, "i8", "", false},
   {100, 32, "i8", "", false},
   {37, 37, "i8", ", floor=1e-10", false},
   {256, 128, "f8e4m3", "", false},
   {200, 128, "f8e4m3", ", floor=4.3596540178571426e-06", false},
   {257, 64, "f8e4m3", ", scale_fn=\"ue8m0\"", false},
   {96, 64, "f8e4m3fnuz", "", false},
   {131, 131, "f8e4m3fnuz", ", scale_fn=\"ue8m0\"", false},
   {256, 128, "f8e4m3", ", layout=\"col\"", false},
   {70, 32, "i8", ", layout=\"col\", scale_fn=\"ue8m0\"", false},
   {90, 90, "f8e4m3", "", true},
   {48, 48, "i8", "", true},
};

static int64_t num_groups(const shape *s)
{
   return (s->k + s->group - 1) / s->group;
}

static void text_of(const shape *s, bool normed, char *out, size_t size)
{
   bool col = strstr(s->more, "col") != NULL;
   char scales[32];

   snprintf(scales, sizeof scales, col ? "%lld,T" : "T,%lld", (long long)num_groups(s));
   snprintf(out, size,
            "func @f(T in 1..24, R in 0..16, S in 1..4) {\n%%x = param {name=\"%s\"} : f32[T,%d]\n"
            "%%w = weight {name=\"w\"} : f32[%d]\n%%g = param {name=\"given\"} : f32[1]\n"
            "%%n = rmsnorm %%x, %%w {eps=0.002}\n%%t = add %%g, %%g\n%%q, %%s = quant %s%s "
            "{group=%d%s} : %s[T,%d], f32[%s]\n"
            "return %%q, %%s, %%n, %%t\n}\n",
            normed ? "x" : "edges", s->k, s->k, normed ? "%n" : "%x", s->given ? ", %g" : "",
            s->group, s->more, s->code, s->k, scales);
}

/* The next value of the type of codes that is further from zero is at most this far. */
static double step_at(dtype code, double v)
{
   return code == DT_i8 ? 1 : fmax(fabs(v) * 0x1p-3, 0x1p-9);
}

static int64_t compare_row(const harness_run *r, const shape *s, int64_t t, int64_t rows)
{
   dtype code = dtype_from_name(s->code, strlen(s->code));
   bool col = strstr(s->more, "col") != NULL, powers = strstr(s->more, "ue8m0") != NULL;
   int64_t groups = num_groups(s), off = 0;

   for (int64_t g = 0; g < groups; g++) {
      int64_t at = col ? g * rows + t : t * groups + g;
      double want = r->want[1].data[at], got = ((const float *)(const void *)r->out[1])[at];
      if (isnan(want)) {
         cr_assert(isnan(got), "%s K %d: scale [%lld,%lld] of a NaN is %g", s->code, s->k,
                   (long long)t, (long long)g, got);
         continue;
      }
      cr_assert(powers && want > 1e-30 ? got == want : fabs(got - want) <= 0x1p-22 * fabs(want),
                "%s K %d: scale [%lld,%lld] is %.9g, should be %.9g", s->code, s->k, (long long)t,
                (long long)g, got, want);
   }
   for (int64_t i = 0; i < s->k; i++) {
      double want = r->want[0].data[t * s->k + i], got;
      dtype_load(code, r->out[0] + t * s->k + i, 1, &got);
      cr_assert(fabs(got - want) <= step_at(code, want),
                "%s K %d: code [%lld,%lld] is %g, should be %g", s->code, s->k, (long long)t,
                (long long)i, got, want);
      off += got != want;
   }
   return off;
}

static void check_shape(const shape *s, bool normed, isa_level level)
{
   char text[1024];

   text_of(s, normed, text, sizeof text);

   harness *h = harness_compile(
      text, (harness_options){.level = level, .fuse = true, .numerics = SINTER_NUMERICS_exact});
   for (int64_t rows = 1; rows <= 2 * HARNESS_EDGES; rows += 2 * HARNESS_EDGES - 1) {
      harness_run *r = harness_go(h, (harness_step){.num_seqs = 1, .rows = {rows}});
      int64_t off = 0;

      for (int64_t t = 0; t < rows; t++)
         off += compare_row(r, s, t, rows);
      cr_assert(off <= 1 + rows * s->k / 50, "%s: %lld of %lld codes differ", text, (long long)off,
                (long long)(rows * s->k));
      harness_end(r);
   }
   harness_free(h);
}

/* Zero and tiny rows, largest values at powers of two one ulp up and down, NaN in some groups of
 * a row, last groups of any length. Kills: a floor that is not there; a scale of the row for
 * every group; the largest of a group without its tail; e4m3fnuz up to 240; a power of two below
 * the scale; scales by row where they go by column; codes without saturation; a NaN that reaches
 * another group, or is lost. */
Test(quant_kernels, every_form)
{
   for (size_t i = 0; i < countof(shapes); i++)
      for (int level = 0; level < ISA_LEVEL_COUNT; level++)
         for (int normed = 0; normed < 2; normed++)
            if (conform_runs((isa_level)level) || i % 4 == 0)
               check_shape(&shapes[i], normed, (isa_level)level);
}
