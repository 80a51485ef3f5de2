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
   ISA_avx512bf16 = 16,
   ISA_amx = 32, /* tile int8 bf16 */
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
   bool vnni;
   uint32_t needs;
} isa_info;

extern const isa_info isa_infos[ISA_LEVEL_COUNT];

/* Feature bits of this machine. */
uint32_t isa_features(void);

/* Whether code of that level runs here. */
bool isa_runs(isa_level level);

/* The best level that runs here; ISA_LEVEL_COUNT when none does. */
isa_level isa_best(void);

/* The level of that name; ISA_LEVEL_COUNT when there is none. */
isa_level isa_from_name(const char *name);

#endif
