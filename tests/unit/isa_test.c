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
   cr_assert(!!(f & ISA_amx) == !isa_no_tiles()[0]);
}

static int asked, answer;

static int ask(void)
{
   asked++;
   return answer;
}

/* A machine with every row's features, as cpuid and XCR0 tell them. */
static const isa_cpu everything = {.one_c = ~0u,
                                   .seven_b = ~0u,
                                   .seven_c = ~0u,
                                   .seven_d = ~0u,
                                   .seven1_a = ~0u,
                                   .extended_c = ~0u,
                                   .saved = ~UINT64_C(0),
                                   .ask_tiles = ask};

static isa_level best_of(const isa_cpu *cpu, int *refusal)
{
   uint32_t f = isa_features_of(cpu, refusal);
   int best = ISA_LEVEL_COUNT;

   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      if ((f & isa_infos[i].needs) == isa_infos[i].needs)
         best = i;
   return (isa_level)best;
}

/* Kills: tiles used without leave; a refusal that takes more than the tiles away, or is not passed
 * on; leave asked on a machine that cannot give it. */
Test(isa, tiles_need_leave)
{
   isa_cpu cpu = everything;
   int refusal;

   answer = asked = 0;
   cr_assert(best_of(&cpu, &refusal) == ISA_LEVEL_v4_amx && asked == 1 && refusal == 0);
   answer = 95;
   cr_assert(best_of(&cpu, &refusal) == ISA_LEVEL_v4_vnni && asked == 2 && refusal == 95);
   cpu.saved = 0xe7; /* the kernel is older than tiles */
   cr_assert(best_of(&cpu, &refusal) == ISA_LEVEL_v4_vnni && refusal == 0);
   cpu = everything;
   cpu.seven_d &= ~(1u << 25); /* tiles without int8 */
   cr_assert(best_of(&cpu, &refusal) == ISA_LEVEL_v4_vnni && refusal == 0);
   cpu = everything;
   cpu.saved = 0x60007; /* tiles, but no zmm */
   cr_assert(best_of(&cpu, &refusal) == ISA_LEVEL_v3_vnni && refusal == 0);
   cr_assert(asked == 2);
}
