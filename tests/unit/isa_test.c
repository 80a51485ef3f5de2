// LINK: base
/* Levels of isa.def: names, order, and what cpuid says against the compiler's own detection. */
#include "base/isa.h"

#include <criterion/criterion.h>

/* Kills: a name that finds another row; a prefix taken for a name. */
Test(isa, names)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      cr_assert(isa_from_name(isa_infos[i].name) == (isa_level)i);
   cr_assert(isa_from_name("x86-64") == ISA_LEVEL_COUNT && isa_from_name("") == ISA_LEVEL_COUNT);
   cr_assert(isa_from_name("x86-64-v3 ") == ISA_LEVEL_COUNT);
}

/* Kills: a level that is chosen though a worse one does not run; needs that a later row drops. */
Test(isa, order)
{
   isa_level best = isa_best();

   for (int i = 0; i < ISA_LEVEL_COUNT; i++) {
      cr_assert(isa_infos[i].lanes == 8 || isa_infos[i].lanes == 16);
      cr_assert(isa_infos[i].needs & ISA_avx2);
      cr_assert(!isa_runs((isa_level)i) || (best < ISA_LEVEL_COUNT && i <= (int)best));
   }
   cr_assert(!isa_runs(ISA_LEVEL_COUNT));
}

/* Kills: a bit of the wrong register; the state that the operating system saves left unchecked. */
Test(isa, agrees_with_the_compiler)
{
   uint32_t f = isa_features();

   __builtin_cpu_init();
   bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2");
   bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
   cr_assert(!!(f & ISA_avx2) == v3);
   cr_assert(!!(f & ISA_avx512) == (v3 && v4));
   cr_assert(!!(f & ISA_avx512vnni) == (v3 && v4 && __builtin_cpu_supports("avx512vnni")));
   cr_assert(!!(f & ISA_avx512bf16) == (v3 && v4 && __builtin_cpu_supports("avx512bf16")));
}
