// LINK: codegen passes models ir runtime base
/* Row kernels against the f64 meaning: ops x dtypes x widths around the vector length x rows, every
 * op alone and in fused groups. Tolerances come from dtypes.def. */
#include "rows.h"

static void each_level(void (*run)(isa_level))
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      if (!conform_skips((isa_level)i))
         run((isa_level)i);
}

/* ---- single ops ---- */

static void pointwise_at(isa_level level)
{
   bool runs = conform_runs(level);

   for (size_t t = 0; t < countof(floats); t++)
      for (size_t i = 0; i < countof(widths); i += conform_every(3))
         if (runs || (t == 0 && (widths[i] == 17 || widths[i] == 576)))
            pointwise_of((harness_options){.level = level}, floats[t], widths[i]);
   for (size_t t = 0; t < countof(floats); t++)
      formulas_of((harness_options){.level = level}, floats[t], 33);
}

/* Kills: a wrong tail; a formula that is not the meaning; an operand swapped; a rounding left out;
 * eps or offset dropped; rows taken by the row's own number. */
Test(region, single_ops)
{
   each_level(pointwise_at);
}

/* ---- heads, views, rotation ---- */

static void heads_at(isa_level level)
{
   static const struct {
      int heads, d, n;
   } c[] = {{2, 2, 2}, {3, 8, 8}, {9, 64, 64}, {2, 20, 12}, {4, 48, 16}, {2, 34, 34}, {2, 66, 34}};

   for (size_t i = 0; i < countof(c); i += conform_every(2)) {
      if (!conform_runs(level) && i != 2)
         continue;
      heads_of((harness_options){.level = level, .fuse = false}, c[i].heads, c[i].d, c[i].n,
               "half");
      heads_of((harness_options){.level = level, .fuse = true}, c[i].heads, c[i].d, c[i].n, "half");
      heads_of((harness_options){.level = level, .fuse = i % 2}, c[i].heads, c[i].d, c[i].n,
               "pair");
   }
}

/* Kills: a norm over the row instead of the head; the unrotated rest forgotten; pairs mixed up; a
 * slice's offset. */
Test(region, heads)
{
   each_level(heads_at);
}

/* ---- fused chains ---- */

static void chain_at(isa_level level)
{
   for (size_t t = 0; t < countof(floats); t++)
      for (size_t i = 0; i < countof(widths); i += conform_every(3))
         for (int fuse = 0; fuse < 2; fuse++)
            if (conform_runs(level) || (!t && widths[i] == 100))
               chain_of((harness_options){.level = level, .fuse = fuse}, floats[t], widths[i]);
}

/* Kills: a norm of a value that is not complete yet; a result read after it was overwritten; a
 * factor of another norm. */
Test(region, chains)
{
   each_level(chain_at);
}

/* Kills: a block's end past the row; the second block computed from the first one's elements. */
Test(region, wide_rows)
{
   static const int n[] = {8191, 8192, 8193, 12288, 20011};

   for (size_t i = 0; i < countof(n); i++)
      wide_of((harness_options){.fuse = true}, n[i]);
}

/* ---- quant ---- */

static void compare_quant(const harness_run *r, int64_t k, int64_t group)
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
      }
   }
   cr_assert(off <= 1 + rows * k / 100, "%lld of %lld codes differ", (long long)off,
             (long long)(rows * k));
}

/* Kills: truncation instead of rounding; a scale over the row; sums of another group; a stride
 * without padding. */
Test(region, quant)
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
         harness *h = harness_compile(text, (harness_options){.fuse = fuse});
         for (int64_t rows = 1; rows < 6; rows += 2) {
            harness_run *r = harness_go(h, (harness_step){.num_seqs = 1, .rows = {rows}});
            compare_quant(r, cases[i][0], cases[i][1]);
            harness_end(r);
         }
         harness_free(h);
      }
}
