/* isa.c - cpuid, and what the operating system saves of the registers. */
#include "isa.h"

#include <cpuid.h>

const isa_info isa_infos[ISA_LEVEL_COUNT] = {
#define ISA(id, name, cpu, features, lanes, vnni, needs)                                           \
   [ISA_LEVEL_##id] = {name, cpu, features, lanes, vnni, needs},
#include "isa.def"
#undef ISA
};

typedef struct leaf {
   uint32_t a, b, c, d;
} leaf;

static leaf read_leaf(uint32_t id, uint32_t sub)
{
   leaf l = {0};

   if ((uint32_t)__get_cpuid_max(id & 0x80000000u, NULL) >= id)
      __cpuid_count(id, sub, l.a, l.b, l.c, l.d);
   return l;
}

static uint64_t saved_state(void)
{
   uint32_t lo, hi;

   __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
   return (uint64_t)hi << 32 | lo;
}

static bool has(uint32_t word, uint32_t bits)
{
   return (word & bits) == bits;
}

uint32_t isa_features(void)
{
   const uint32_t v3_1c =
      bit_FMA | bit_MOVBE | bit_F16C | bit_AVX | bit_OSXSAVE | bit_SSE4_2 | bit_POPCNT | bit_SSSE3;
   const uint32_t v3_7b = bit_AVX2 | bit_BMI | bit_BMI2;
   const uint32_t v4_7b = bit_AVX512F | bit_AVX512CD | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
   const uint32_t amx_7d = 1u << 22 | 1u << 24 | 1u << 25; /* bf16, tile, int8 */
   const uint64_t ymm = 0x6, zmm = 0xe6, tiles = 0x60000;
   leaf one = read_leaf(1, 0), seven = read_leaf(7, 0), seven1 = read_leaf(7, 1);
   leaf ext = read_leaf(0x80000001u, 0);
   uint32_t out = 0;

   if (!has(one.c, v3_1c) || !has(seven.b, v3_7b) || !has(ext.c, bit_LZCNT))
      return 0;
   uint64_t saved = saved_state();
   if ((saved & ymm) != ymm)
      return 0;
   out |= ISA_avx2;
   if (has(seven1.a, 1u << 4))
      out |= ISA_avxvnni;
   if ((saved & zmm) != zmm || !has(seven.b, v4_7b))
      return out;
   out |= ISA_avx512;
   if (has(seven.c, bit_AVX512VNNI))
      out |= ISA_avx512vnni;
   if (has(seven1.a, 1u << 5))
      out |= ISA_avx512bf16;
   /* Linux also wants a permission per process (arch_prctl) before tiles may be used; that is the
    * device's task. */
   if ((saved & tiles) == tiles && has(seven.d, amx_7d))
      out |= ISA_amx;
   return out;
}

bool isa_runs(isa_level level)
{
   return level < ISA_LEVEL_COUNT && has(isa_features(), isa_infos[level].needs);
}

isa_level isa_best(void)
{
   for (int i = ISA_LEVEL_COUNT - 1; i >= 0; i--)
      if (isa_runs((isa_level)i))
         return (isa_level)i;
   return ISA_LEVEL_COUNT;
}

isa_level isa_from_name(const char *name)
{
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      if (strcmp(isa_infos[i].name, name) == 0)
         return (isa_level)i;
   return ISA_LEVEL_COUNT;
}
