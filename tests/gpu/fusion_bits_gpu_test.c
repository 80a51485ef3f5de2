// LINK: codegen passes models ir runtime base sinter_mock
/* Fusions as SIMT text: the program that holds fused kernels to the bits of kernels of their own,
 * on the mock's threads. Levels of a CPU make no difference here: the first one stands for all. */
#include "simt_run.h"

#define ISA_LEVEL_COUNT 1
#define isa_best() ((isa_level)0)
#include "tests/conform/fusion_bits_test.c"

static __attribute__((constructor)) void stand_in(void)
{
   harness_stand_in = &warps[1];
}

/* Warps of 32, and matrix instructions. Kills: a group over two warps of 32; outputs of fragments
 * at other columns than the kernel's own store has; queries that are still read where results
 * lie. */
Test(fusion_bits, codes)
{
   for (size_t i = 0; i < countof(forms); i++)
      for (size_t w = 0; w < countof(warps) && strstr(forms[i].rule, "quant"); w++) {
         harness_stand_in = &warps[w];
         if (w == 0)
            compare(&forms[i], (isa_level)0);
         /* there a state becomes f16 when fusions run, and not when they do not */
         if (!strstr(forms[i].text, "f32 kv_full"))
            compare_as(&forms[i], (isa_level)0, SINTER_NUMERICS_fast);
      }
}
