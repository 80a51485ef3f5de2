// LINK: codegen passes models ir runtime base sinter_mock
/* Row kernels as SIMT text against the f64 meaning, on the mock's threads: the cases of
 * region_test.c at fewer widths, for warps of 32 and of 64. One more block than there are tiles is
 * run: it must do nothing. */
#include "simt_run.h"
#include "tests/conform/rows.h"

static const int some_widths[] = {1, 17, 100, 576};

static void on_warps(void (*of)(harness_options o))
{
   for (size_t w = 0; w < countof(warps); w++)
      of((harness_options){.simt = &warps[w]});
}

static void single(harness_options o)
{
   for (size_t t = 0; t < countof(floats); t++)
      for (size_t i = 0; i < countof(some_widths); i++)
         if (!t || i == 2)
            pointwise_of(o, floats[t], some_widths[i]);
   for (size_t t = 0; t < countof(floats); t++)
      formulas_of(o, floats[t], 33);
}

/* Kills: a wrong tail; an operand swapped; a rounding left out; eps or offset dropped; rows taken
 * by the row's own number. */
Test(rows, single_ops)
{
   on_warps(single);
}

/* What models with recurrent states add. */
static void gates(harness_options o)
{
   static const char text[] =
      "func @f(T in 1..16, R in 0..16, S in 1..4) {\n"
      "%x = param {name=\"x\"} : f32[T,12]\n%y = param {name=\"y\"} : f32[T,12]\n"
      "%a = weight {name=\"a\"} : f32[12]\n%b = weight {name=\"b\"} : f32[12]\n"
      "%0 = sigmoid %x\n%1 = softplus %x\n%2 = shift %x {offset=0.25}\n"
      "%3 = clamp %x {min=-0.5, max=0.75}\n%4 = clamp %x {max=0.5}\n%5 = decay %x, %a, %b\n"
      "%h = reshape %x : f32[T,3,4]\n%6 = l2norm %h {eps=1e-06}\n%7 = concat %x, %y\n"
      "return %0, %1, %2, %3, %4, %5, %6, %7\n}\n";
   dtype types[8] = {DT_f32, DT_f32, DT_f32, DT_f32, DT_f32, DT_f32, DT_f32, DT_f32};

   for (int fuse = 0; fuse < 2; fuse++) {
      o.fuse = fuse;
      harness *h = harness_compile(text, o);
      run_rows(h, types, countof(types), 16, "gates");
      harness_free(h);
   }
}

/* Kills: a bound forgotten; operands of decay exchanged; parts of a concatenation exchanged; a norm
 * over the row. */
Test(rows, gates)
{
   on_warps(gates);
}

static void heads(harness_options o)
{
   static const struct {
      int heads, d, n;
      const char *style;
   } c[] = {{2, 2, 2, "half"},
            {9, 64, 64, "half"},
            {2, 20, 12, "half"},
            {4, 48, 16, "pair"},
            {2, 34, 34, "pair"}};

   for (size_t i = 0; i < countof(c); i++) {
      o.fuse = i % 2;
      heads_of(o, c[i].heads, c[i].d, c[i].n, c[i].style);
   }
}

/* Kills: a norm over the row instead of the head; the unrotated rest forgotten; pairs mixed up; a
 * slice's offset. */
Test(rows, heads)
{
   on_warps(heads);
}

static void chains(harness_options o)
{
   for (size_t i = 0; i < countof(some_widths); i++)
      for (int fuse = 0; fuse < 2; fuse++) {
         o.fuse = fuse;
         chain_of(o, i == 2 ? DT_bf16 : DT_f32, some_widths[i]);
      }
}

/* Kills: a norm of a value that is not complete yet; a barrier between stages that is missing; a
 * factor of another norm. */
Test(rows, chains)
{
   on_warps(chains);
}

static void wide(harness_options o)
{
   o.fuse = true;
   wide_of(o, 8193);
   wide_of(o, 20011);
}

/* Kills: a block's end past the row; the second block computed from the first one's elements. */
Test(rows, wide_rows)
{
   on_warps(wide);
}

/* Kills: an infinity or a large number that becomes NaN, a NaN that becomes a number, in a byte. */
Test(rows, bytes)
{
   on_warps(bytes_of);
}

/* Kills: a group of another warp's lanes; a last group that is written twice, or not; sums of the
 * other half; a scale that is not the group's. */
Test(rows, quant)
{
   on_warps(quant_of);
   on_warps(quant_edges_of);
}
