// LINK: codegen passes models ir runtime base sinter_mock
/* Products whose k is cut into slices, on the mock's threads, for warps of 32 and 64: against the
 * f64 meaning; and the launches of few rows (a block a slice, then their sum) against the one of
 * many, bit by bit. */
#include "simt_run.h"
#include "tests/conform/rows.h"

static const char text[] =
   "func @f(T in 1..64, R in 0..16, S in 1..4) {\n"
   "%x = param {name=\"x\"} : f32[T,2080]\n%r = param {name=\"r\"} : f32[T,72]\n"
   "%w = weight {name=\"w\"} : bf16[72,2080]\n"
   "%g = weight {name=\"g\"} : q8_0[40,2080]\n%u = weight {name=\"u\"} : q8_0[40,2080]\n"
   "%0 = matmul %x, %w\n%1 = add %0, %r\n"
   "%2 = matmul %x, %g\n%3 = silu %2\n%4 = matmul %x, %u\n%5 = mul %3, %4\n"
   "%h = weight {name=\"h\"} : q8_0[64,2080]\n%v = weight {name=\"v\"} : q4_1[64,2080]\n"
   "%f = weight {name=\"f\"} : f16[72,2080]\n%14 = matmul %x, %f\n"
   "%q, %s = quant %x {group=32}\n%6 = qmatmul %q, %s, %g\n%7 = scale %6 {scale=0.5}\n"
   "%8 = qmatmul %q, %s, %h\n%9 = silu %8\n%10 = qmatmul %q, %s, %v\n%11 = mul %9, %10\n"
   "%12, %13 = quant %11 {group=32}\n"
   "return %1, %5, %14, %7, %12, %13\n}\n";

static bool has_launch(const harness *h, const char *variant, const char *words)
{
   const plan *p = &h->plan.plan;

   for (uint32_t v = 0; v < p->num_variants; v++)
      for (uint32_t i = 0; i < p->variants[v].num_launches; i++)
         if (strcmp(p->variants[v].name, variant) == 0 &&
             strstr(p->kernels[p->variants[v].launches[i].kernel].symbol, words))
            return true;
   return false;
}

/* The sums are those of f64 but for a rounding of f32 each 32 products, and of the slices. Kills: a
 * slice left out or taken twice; sums of a neighbour's row; an epilogue in every slice; slices
 * added in another order, in one block and in several; a residual lost; codes of inputs without
 * their scales; outputs that are quantised before slices are added; what one bf16 does not hold of
 * an f16. */
Test(gemm_slices, both_ways)
{
   for (size_t w = 0; w < countof(warps); w++) {
      harness *h = harness_compile(
         text,
         (harness_options){.simt = &warps[w], .fuse = true, .numerics = SINTER_NUMERICS_fast});
      cr_assert(has_launch(h, "decode", "_slices8_part") &&
                has_launch(h, "decode", "_slices8_merge") &&
                has_launch(h, "prefill", "_slices8_whole") &&
                has_launch(h, "decode", "q8_0_q4_1_silu_mul_second_slices8_merge_quant"));
      for (int64_t rows = 1; rows <= 16; rows += 5) {
         harness_step step = {.num_seqs = 1, .rows = {rows}, .variant = "decode"};
         harness_run *few = harness_go(h, step);
         step.variant = "prefill";
         harness_run *many = harness_go(h, step);
         for (uint32_t k = 0; k < 6; k++) {
            /* a code that f64 rounds the other way is off by 1/127 of one product */
            if (k < 4)
               compare(few, k, DT_f32, k < 3 ? 128 : 1 << 15, "slices");
            cr_assert(few->out_bytes[k] == many->out_bytes[k] &&
                         memcmp(few->out[k], many->out[k], many->out_bytes[k]) == 0,
                      "result %u of %lld rows has other bits", k, (long long)rows);
         }
         harness_end(few);
         harness_end(many);
      }
      harness_free(h);
   }
}

/* Kills: slices where columns fill the machine, where k is short, where there are no matrix
 * instructions, or where a launch costs more than what is gained. */
Test(gemm_slices, when)
{
   const arch_info *a = arch_find("sm_90a");
   const gemm_key key = {.w = PANEL_bf16}, wide = {.w = PANEL_f32};
   const uint64_t n = 4096, k = 14336;

   cr_assert(cg_simt_slices(&key, a, n, k, 2 * n * k) == 2, "64 tiles on 132 units");
   cr_assert(cg_simt_slices(&key, a, 2 * n, k, 4 * n * k) == 1);
   cr_assert(cg_simt_slices(&key, a, 128, 4096, 2 * 128 * 4096) == 8);
   cr_assert(cg_simt_slices(&key, a, 128, 600, 2 * 128 * 600) <= 2);
   cr_assert(cg_simt_slices(&key, a, 128, 400, 2 * 128 * 400) == 1);
   cr_assert(cg_simt_slices(&key, a, 64, 512, 64) == 1, "nothing to gain");
   cr_assert(cg_simt_slices(&wide, a, 128, 4096, 2 * 128 * 4096) == 1);
   cr_assert(cg_simt_slices(&key, arch_find("gfx1100"), 128, 4096, 2 * 128 * 4096) == 1);
}
