/* isa.c - cpuid, what the operating system saves of the registers, and leave to use tiles. */
#include "isa.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

const isa_info isa_infos[ISA_LEVEL_COUNT] = {
#define ISA(id, name, cpu, features, lanes, vnni, amx, needs)                                      \
   [ISA_LEVEL_##id] = {name, cpu, features, lanes, vnni, amx, needs},
#include "isa.def"
#undef ISA
};

static const uint32_t amx_7d = 1u << 22 | 1u << 24 | 1u << 25; /* bf16, tile, int8 */
static const uint64_t ymm_state = 0x6, zmm_state = 0xe6, tile_state = 0x60000;

/* ---- any machine ---- */

static bool has(uint32_t word, uint32_t bits)
{
   return (word & bits) == bits;
}

uint32_t isa_features_of(const isa_cpu *cpu, int *out_refusal)
{
   const uint32_t v3_1c =
      bit_FMA | bit_MOVBE | bit_F16C | bit_AVX | bit_OSXSAVE | bit_SSE4_2 | bit_POPCNT | bit_SSSE3;
   const uint32_t v3_7b = bit_AVX2 | bit_BMI | bit_BMI2;
   const uint32_t v4_7b = bit_AVX512F | bit_AVX512CD | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
   uint32_t out = 0;

   *out_refusal = 0;
   if (!has(cpu->one_c, v3_1c) || !has(cpu->seven_b, v3_7b) || !has(cpu->extended_c, bit_LZCNT) ||
       (cpu->saved & ymm_state) != ymm_state)
      return 0;
   out |= ISA_avx2;
   if (has(cpu->seven1_a, 1u << 4))
      out |= ISA_avxvnni;
   if ((cpu->saved & zmm_state) != zmm_state || !has(cpu->seven_b, v4_7b))
      return out;
   out |= ISA_avx512;
   if (has(cpu->seven_c, bit_AVX512VNNI))
      out |= ISA_avx512vnni;
   if ((cpu->saved & tile_state) != tile_state || !has(cpu->seven_d, amx_7d))
      return out;
   *out_refusal = cpu->ask_tiles();
   return *out_refusal ? out : out | ISA_amx;
}

/* ---- this machine ---- */

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

/* For the whole process, threads that are still to come included. */
static int ask_tiles(void)
{
   enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };

   return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) ? errno : 0;
}

static uint32_t features;
static char no_tiles[160];

static void find_features(void)
{
   leaf one = read_leaf(1, 0), seven = read_leaf(7, 0);
   isa_cpu cpu = {.one_c = one.c,
                  .seven_b = seven.b,
                  .seven_c = seven.c,
                  .seven_d = seven.d,
                  .seven1_a = read_leaf(7, 1).a,
                  .extended_c = read_leaf(0x80000001u, 0).c,
                  .saved = has(one.c, bit_OSXSAVE) ? saved_state() : 0,
                  .ask_tiles = ask_tiles};
   int refusal;

   features = isa_features_of(&cpu, &refusal);
   if (refusal)
      snprintf(no_tiles, sizeof no_tiles, "the kernel refuses them: %s", strerror(refusal));
   else if (!has(seven.d, amx_7d))
      snprintf(no_tiles, sizeof no_tiles, "the processor has none");
   else if (!(features & ISA_amx))
      snprintf(no_tiles, sizeof no_tiles, "the kernel does not save them");
}

static void find_once(void)
{
   static pthread_once_t once = PTHREAD_ONCE_INIT;

   pthread_once(&once, find_features);
}

uint32_t isa_features(void)
{
   find_once();
   return features;
}

const char *isa_no_tiles(void)
{
   find_once();
   return no_tiles;
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
