/* arch.c - archs.def as data, and the names that `--arch` takes. */
#include "arch.h"

#include "isa.h"
#include "simt_abi.h"

static const arch_info infos[] = {
#define ARCH(name, machine, shared_kib, gb_s, f32, bf16, launch_ns, fp8, matrix, warp, units,      \
             registers, rows, columns, stages, ahead)                                              \
   {#name, machine, shared_kib * 1024, gb_s, f32,     bf16,   launch_ns, ARCH_FP8_##fp8, matrix,   \
    warp,  units,   registers,         rows, columns, stages, ahead},
#include "archs.def"
#undef ARCH
};

const arch_info *arch_at(uint32_t i)
{
   return i < countof(infos) ? &infos[i] : NULL;
}

const arch_info *arch_find(const char *name)
{
   for (size_t i = 0; i < countof(infos); i++)
      if (strcmp(infos[i].name, name) == 0)
         return &infos[i];
   return NULL;
}

const char *arch_vendor(const arch_info *a)
{
   return strncmp(a->name, "gfx", 3) == 0 ? "hip" : "cuda";
}

uint64_t arch_block_shared(const arch_info *a)
{
   return strcmp(arch_vendor(a), "cuda") == 0 ? SIMT_MAX_SHARED : a->shared_bytes;
}

const char *arch_fp8_name(arch_fp8 fp8)
{
   static const char *const names[] = {
      [ARCH_FP8_NONE] = "none", [ARCH_FP8_OCP] = "ocp", [ARCH_FP8_FNUZ] = "fnuz"};

   return names[fp8];
}

sinter_status arch_check(const char *name)
{
   static const char known[] = "use one of"
#define ARCH(id, ...) " " #id
#include "archs.def"
#undef ARCH
#define ISA(id, level, ...) " " level
#include "isa.def"
#undef ISA
      ;

   if (arch_find(name) || isa_from_name(name) < ISA_LEVEL_COUNT)
      return SINTER_ok;
   return base_fail(SINTER_usage, "--arch", known, "there is no architecture `%.40s`", name);
}
