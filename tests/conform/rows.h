/* rows.h - functions of row operations, and their results against the interpreter: for the kernels
 * of every target. */
#ifndef CONFORM_ROWS_H
#define CONFORM_ROWS_H

#include <stdio.h>

#include "harness.h"

/* Widths: one element, around the lanes of each level, ragged, usual. */
static const int widths[] = {1, 7, 8, 9, 15, 16, 17, 33, 64, 100, 576};
static const dtype floats[] = {DT_f32, DT_f16, DT_bf16};

/* Elements of result k against the interpreter: 2 roundings of the stored type, and `slack` f32
 * roundings of the largest value for what is summed up inside. */
static inline void compare(const harness_run *r, uint32_t k, dtype t, double slack,
                           const char *what)
{
   const ir_tensor *want = &r->want[k];
   int64_t n = harness_count(want);
   double most = 0, *got = malloc(((size_t)n + 1) * sizeof *got);

   dtype_load(t, r->out[k], (uint64_t)n, got);
   for (int64_t i = 0; i < n; i++)
      most = fmax(most, fabs(want->data[i]));
   for (int64_t i = 0; i < n; i++) {
      double room = 2 * dtype_infos[t].rel * fabs(want->data[i]) + slack * 0x1p-24 * most +
                    0x1p-24 * (t == DT_f16);
      cr_assert(fabs(got[i] - want->data[i]) <= room,
                "%s: result %u [%lld]: %.9g, should be %.9g (+- %.2g)", what, k, (long long)i,
                got[i], want->data[i], room);
   }
   free(got);
}

static inline void run_rows(harness *h, const dtype *types, uint32_t num, double slack,
                            const char *what)
{
   for (int64_t rows = 1; rows <= 9; rows += rows < 3 ? 1 : 3) {
      harness_step step = {.num_seqs = 1, .rows = {rows}, .wanted = MIN(rows, 3)};
      harness_run *r = harness_go(h, step);
      for (uint32_t k = 0; k < num; k++)
         compare(r, k, types[k], slack, what);
      harness_end(r);
   }
}

/* Single operations. */
static inline void pointwise_of(harness_options o, dtype t, int n)
{
   const char *e = dtype_infos[t].name;
   char text[4096];

   snprintf(
      text, sizeof text,
      "func @f(T in 1..16, R in 0..16, S in 1..4) {\n"
      "%%x = param {name=\"x\"} : %s[T,%d]\n%%y = param {name=\"y\"} : %s[T,%d]\n"
      "%%b = weight {name=\"b\"} : %s[%d]\n%%i = meta {field=rows} : i32[R]\n"
      "%%z = param {name=\"z\"} : %s[T,%d]\n%%h = reshape %%z : %s[2*T,%d]\n"
      "%%0 = add %%x, %%y\n%%1 = mul %%x, %%y\n%%2 = scale %%x {scale=0.37}\n%%3 = silu %%x\n%%4 = "
      "gelu %%x\n"
      "%%5 = gelu_tanh %%x\n%%6 = softcap %%x {cap=1.5}\n%%7 = add %%x, %%b\n%%8 = mul %%x, %%b\n"
      "%%9 = rmsnorm %%x, %%b {eps=1e-05}\n%%10 = rmsnorm %%x, %%b {eps=0.001, offset=1}\n"
      "%%11 = take_rows %%x, %%i\n%%12 = cast %%x : f16[T,%d]\n%%13 = cast %%x : bf16[T,%d]\n"
      "%%14 = cast %%x : f32[T,%d]\n%%15 = center %%x\n%%16 = take_rows %%h, %%i {size=2}\n"
      "return %%0, %%1, %%2, %%3, %%4, %%5, %%6, %%7, %%8, %%9, %%10, %%11, %%12, %%13, %%14, "
      "%%15, %%16\n}\n",
      e, n, e, n, e, n, e, 2 * n, e, n, n, n, n);
   harness *h = harness_compile(text, o);
   dtype types[] = {t, t, t, t, t, t, t, t, t, t, t, t, DT_f16, DT_bf16, DT_f32, t, t};
   char what[64];
   snprintf(what, sizeof what, "%s[T,%d]", e, n);
   run_rows(h, types, countof(types), 8, what);
   harness_free(h);
}

/* The attributes of an op whose meaning is a formula: numbers. */
static inline const char *formula_attrs(const ir_op_info *info, char *out, size_t cap)
{
   size_t at = (size_t)snprintf(out, cap, " {");

   for (int k = 0; k < IR_ATTR_COUNT; k++)
      if (info->required >> k & 1)
         at += (size_t)snprintf(out + at, cap - at, "%s%s=%g", at > 2 ? ", " : "",
                                ir_attr_infos[k].name, 0.75 + 0.5 * k);
   snprintf(out + at, cap - at, "}");
   return at > 2 ? out : "";
}

/* Every op with property FORMULA: its kernels come from what ops.def says, its meaning from
 * ref_<op>(). */
static inline void formulas_of(harness_options o, dtype t, int n)
{
   const char *e = dtype_infos[t].name;
   char text[256], attrs[128];

   for (int code = 0; code < IR_OP_COUNT; code++) {
      const ir_op_info *info = &ir_op_infos[code];
      if (!(info->props & IR_FORMULA))
         continue;
      snprintf(text, sizeof text,
               "func @f(T in 1..16, R in 0..16, S in 1..4) {\n"
               "%%x = param {name=\"x\"} : %s[T,%d]\n%%y = %s %%x%s\nreturn %%y\n}\n",
               e, n, info->name, formula_attrs(info, attrs, sizeof attrs));
      harness *h = harness_compile(text, o);
      run_rows(h, &t, 1, 8, info->name);
      harness_free(h);
   }
}

/* Heads, views, rotation. */
static inline void heads_of(harness_options o, int heads, int d, int n, const char *style)
{
   char text[4096];

   snprintf(text, sizeof text,
            "func @f(T in 1..16, R in 0..16, S in 1..4) {\n"
            "%%x = param {name=\"x\"} : f32[T,%d]\n%%w = weight {name=\"w\"} : f32[%d]\n"
            "%%cs = meta {field=rope, index=0} : f32[T,%d]\n"
            "%%h = reshape %%x : f32[T,%d,%d]\n%%n = rmsnorm %%h, %%w {eps=1e-06}\n"
            "%%r = rope %%n, %%cs {style=\"%s\"}\n%%s = rope %%h, %%cs {style=\"%s\"}\n"
            "%%l = slice %%x {axis=1, start=%d, size=%d}\n%%m = scale %%l {scale=2}\n"
            "%%u = slice %%h {axis=1, start=%d, size=1}\n%%v = silu %%u\n"
            "return %%n, %%r, %%s, %%l, %%m, %%u, %%v\n}\n",
            heads * d, d, n, heads, d, style, style, 1 + d / 3, heads * d - 1 - d / 3, heads - 1);
   harness *h = harness_compile(text, o);
   dtype types[] = {DT_f32, DT_f32, DT_f32, DT_f32, DT_f32, DT_f32, DT_f32};
   char what[64];
   snprintf(what, sizeof what, "%d heads of %d, rope %s %d", heads, d, style, n);
   run_rows(h, types, countof(types), 8, what);
   harness_free(h);
}

static const char chain[] =
   "func @f(T in 1..16, R in 0..16, S in 1..4) {\n"
   "%%x = param {name=\"x\"} : %s[T,%d]\n%%y = param {name=\"y\"} : %s[T,%d]\n"
   "%%w = weight {name=\"w\"} : f32[%d]\n%%w2 = weight {name=\"w2\"} : f32[%d]\n"
   "%%a = add %%x, %%y\n%%n = rmsnorm %%a, %%w {eps=1e-05}\n%%p = rmsnorm %%y, %%w2 {eps=1e-05}\n"
   "%%h = add %%a, %%p\n%%m = rmsnorm %%h, %%w {eps=1e-05, offset=1}\n%%g = silu %%m\n%%z = mul "
   "%%g, %%n\n%%c = center %%h\n%%l = rmsnorm %%c, %%w {eps=1e-05}\n%%k = add %%l, %%w2\n"
   "return %%h, %%m, %%z, %%k\n}\n";

/* A chain of two norms and what is around them. */
static inline void chain_of(harness_options o, dtype t, int width)
{
   const char *e = dtype_infos[t].name;
   char text[2048];

   snprintf(text, sizeof text, chain, e, width, e, width, width, width);
   harness *h = harness_compile(text, o);
   dtype types[] = {t, t, t, t};
   /* each inner value may be rounded to the type; norms of rows of one element amplify nothing */
   run_rows(h, types, 4, 16 * dtype_infos[t].rel / 0x1p-24, text);
   harness_free(h);
}

/* Rows that are cut into blocks. */
static inline void wide_of(harness_options o, int n)
{
   char text[1024];

   snprintf(text, sizeof text,
            "func @f(T in 1..16, R in 0..16, S in 1..4) {\n%%x = param {name=\"x\"} : f32[T,%d]\n"
            "%%y = param {name=\"y\"} : f32[T,%d]\n%%a = softcap %%x {cap=3}\n%%b = mul %%a, %%y\n"
            "return %%b\n}\n",
            n, n);
   harness *h = harness_compile(text, o);
   dtype f32 = DT_f32;
   run_rows(h, &f32, 1, 8, text);
   harness_free(h);
}

/* ---- quant ---- */

static inline void compare_quant(const harness_run *r, int64_t k, int64_t group)
{
   int64_t rows = r->want[0].dim[0], off = 0;
   uint64_t codes = pack_codes_stride((uint64_t)k),
            scales = pack_scales_stride((uint64_t)k, (uint64_t)group);

   for (int64_t t = 0; t < rows; t++) {
      const int8_t *q = (const int8_t *)r->out[0] + (uint64_t)t * codes;
      const uint8_t *s = r->out[1] + (uint64_t)t * scales;
      for (int64_t g = 0; g < k / group; g++) {
         float scale, second;
         double want = r->want[1].data[t * (k / group) + g];
         int sum = 0, part = 0;
         memcpy(&scale, s + 4 * g, 4);
         if (isnan(want)) {
            cr_assert(isnan(scale), "row %lld: scale %g of a NaN", (long long)t, scale);
            continue;
         }
         cr_assert(fabs(scale - want) <= 0x1p-22 * fabs(want), "scale %g, should be %g", scale,
                   want);
         for (int64_t i = 0; i < group; i++) {
            int want_q = (int)r->want[0].data[t * k + g * group + i], got = q[g * group + i];
            cr_assert(abs(got - want_q) <= 1, "code %d, should be %d", got, want_q);
            off += got != want_q;
            sum += got;
            part += got;
            int16_t sixteen;
            memcpy(&sixteen, s + k / 32 * 8 + (g * group + i) / 16 * 2, 2);
            if (i % 16 == 15) {
               cr_assert(sixteen == part, "sum of 16 is %d, should be %d", sixteen, part);
               part = 0;
            }
         }
         memcpy(&second, s + 4 * (k / group) + 4 * g, 4);
         cr_assert(second == (float)((double)scale * sum), "scale * sum is %g, should be %g",
                   second, scale * sum);
         int32_t less;
         memcpy(&less, s + k / 32 * 12 + 4 * g, 4);
         cr_assert(less == -128 * sum, "-128 * sum is %d, should be %d", less, -128 * sum);
      }
   }
   cr_assert(off <= 1 + rows * k / 100, "%lld of %lld codes differ", (long long)off,
             (long long)(rows * k));
}

/* Packed codes behind a norm, fused and not. */
static inline void quant_of(harness_options o)
{
   static const int cases[][2] = {{32, 32}, {64, 32}, {576, 32}, {1536, 32}};

   for (size_t i = 0; i < countof(cases); i++)
      for (int fuse = 0; fuse < 2; fuse++) {
         char text[1024];
         snprintf(
            text, sizeof text,
            "func @f(T in 1..16, R in 0..16, S in 1..4) {\n%%x = param {name=\"x\"} : f32[T,%d]\n"
            "%%w = weight {name=\"w\"} : f32[%d]\n%%n = rmsnorm %%x, %%w {eps=1e-05}\n"
            "%%q, %%s = quant %%n {group=%d}\nreturn %%q, %%s\n}\n",
            cases[i][0], cases[i][0], cases[i][1]);
         o.fuse = fuse;
         harness *h = harness_compile(text, o);
         for (int64_t rows = 1; rows < 6; rows += 2) {
            harness_run *r = harness_go(h, (harness_step){.num_seqs = 1, .rows = {rows}});
            compare_quant(r, cases[i][0], cases[i][1]);
            harness_end(r);
         }
         harness_free(h);
      }
}

/* Floats of one byte: of rows that are hard to round, and of what is too large for f32. */
static inline void bytes_of(harness_options o)
{
   harness *h = harness_compile("func @f(T in 1..16, R in 0..16, S in 1..4) {\n"
                                "%x = param {name=\"edges\"} : f32[T,64]\n"
                                "%l = scale %x {scale=1e+30}\n%i = scale %l {scale=1e+30}\n"
                                "%a = cast %x : f8e4m3[T,64]\n%b = cast %i : f8e4m3[T,64]\n"
                                "return %a, %b\n}\n",
                                o);
   harness_run *r = harness_go(h, (harness_step){.num_seqs = 1, .rows = {HARNESS_EDGES}});
   int saturated = 0;

   for (int k = 0; k < 2; k++)
      for (int64_t i = 0; i < harness_count(&r->want[k]); i++) {
         double want = dtype_round(DT_f8e4m3, r->want[k].data[i]), got;
         dtype_load(DT_f8e4m3, r->out[k] + i, 1, &got);
         cr_assert(got == want || (isnan(got) && isnan(want)), "[%d][%lld] is %g, should be %g", k,
                   (long long)i, got, want);
         saturated += k && fabs(got) == 448;
      }
   cr_assert(saturated > 64, "%d", saturated);
   harness_end(r);
   harness_free(h);
}

/* Packed codes of rows that are hard to quantise, of which every eleventh holds NaN. */
static inline void quant_edges_of(harness_options o)
{
   harness *h = harness_compile("func @f(T in 1..16, R in 0..16, S in 1..4) {\n"
                                "%x = param {name=\"edges\"} : f32[T,64]\n"
                                "%q, %s = quant %x {group=32}\nreturn %q, %s\n}\n",
                                o);
   harness_run *r = harness_go(h, (harness_step){.num_seqs = 1, .rows = {HARNESS_EDGES}});

   compare_quant(r, 64, 32);
   harness_end(r);
   harness_free(h);
}

#endif
