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

/* Kills: an infinity or a large number that becomes NaN, a NaN that becomes a number, in a byte. */
Test(region, bytes)
{
   bytes_of((harness_options){0});
}

/* Kills: truncation instead of rounding; a scale over the row; sums of another group; a stride
 * without padding; a NaN that becomes a code. */
Test(region, quant)
{
   quant_of((harness_options){0});
   quant_edges_of((harness_options){0});
}
