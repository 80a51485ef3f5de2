/* isa.h - which code this machine can run, found without LLVM. */
#ifndef BASE_ISA_H
#define BASE_ISA_H

#include "base.h"

/* Groups of features; each bit stands for all that its level promises, operating system support
 * included. */
enum {
   ISA_avx2 = 1, /* avx2 fma f16c bmi bmi2 lzcnt movbe: x86-64-v3 */
   ISA_avxvnni = 2,
   ISA_avx512 = 4, /* f cd bw dq vl */
   ISA_avx512vnni = 8,
   ISA_amx = 16, /* tile int8 bf16 */
};

typedef enum isa_level {
#define ISA(id, ...) ISA_LEVEL_##id,
#include "isa.def"
#undef ISA
   ISA_LEVEL_COUNT
} isa_level;

typedef struct isa_info {
   const char *name, *cpu, *features;
   uint32_t lanes;
   bool vnni, amx;
   uint32_t needs;
} isa_info;

extern const isa_info isa_infos[ISA_LEVEL_COUNT];

/* What a processor and its kernel say. Linux wants to be asked before the first use of tiles, once
 * a process, and may refuse. */
typedef struct isa_cpu {
   uint32_t one_c, seven_b, seven_c, seven_d, seven1_a, extended_c; /* cpuid words */
   uint64_t saved;                                                  /* XCR0 */
   int (*ask_tiles)(void); /* 0, or the errno of the refusal */
} isa_cpu;

/* Feature bits of such a machine; tiles are asked for only where the rest of AMX is there.
 * *out_refusal is the errno of ask_tiles. */
uint32_t isa_features_of(const isa_cpu *cpu, int *out_refusal);

/* Feature bits of this machine. The first call asks for tiles. */
uint32_t isa_features(void);

/* Why tiles are not among them, in words; "" when they are. */
const char *isa_no_tiles(void);

/* Whether code of that level runs here. */
bool isa_runs(isa_level level);

/* The best level that runs here; ISA_LEVEL_COUNT when none does. */
isa_level isa_best(void);

/* The level of that name; ISA_LEVEL_COUNT when there is none. */
isa_level isa_from_name(const char *name);

#endif
