/* level.c - instruction set levels of isa.def, by CPUID; names of targets. */
#include "level.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arch.h"
#include "base/isa.h"
#include "gpu.h"

enum { MAX_TARGETS = 8, NAME_BYTES = 40 };

typedef enum levels { LEVELS_NONE, LEVELS_ISA, LEVELS_SM, LEVELS_GFX } levels;

static const struct {
   const char *name;
   levels levels;
} known_targets[] = {
#define TARGET(id, name, has_code, levels, what) {name, LEVELS_##levels},
#include "base/targets.def"
#undef TARGET
};

const char *rt_level_name(void)
{
   isa_level best = isa_best();

   return best < ISA_LEVEL_COUNT ? isa_infos[best].name : "none";
}

void rt_level_write(text_buf *t)
{
   bool first = true;

   for (int i = 0; i < ISA_LEVEL_COUNT; i++) {
      if (!isa_runs((isa_level)i))
         continue;
      text_printf(t, "%s\"%s\"", first ? "" : ",", isa_infos[i].name);
      first = false;
   }
}

int rt_level_rank(const char *device, const char *target)
{
   size_t len = strcspn(target, ":");

   if (strcmp(device, "null") == 0)
      return 0;
   if (strlen(device) != len || memcmp(device, target, len) != 0)
      return -1;
   if (!target[len])
      return 0;
   isa_level level = isa_from_name(target + len + 1);
   return isa_runs(level) ? (int)level : -1;
}

static sinter_status no_target(const char *name)
{
   return base_fail(
      SINTER_usage, "--target",
      "use cpu, cpu:x86-64-v3, cuda:sm_90a, hip:gfx90a, mock-cuda, mock-hip, ref or null; "
      "`sinter doctor` lists the rest",
      "there is no target `%.40s`", name);
}

/* `cpu` is the best level that runs here. */
static sinter_status resolve_isa(const char *name, const char *level, char *out)
{
   level = level ? level : rt_level_name();
   if (strcmp(level, "none") == 0)
      return base_fail(SINTER_no_device, name, "name a level: --target cpu:x86-64-v3",
                       "this CPU has no instruction set that kernels are made for");
   if (isa_from_name(level) == ISA_LEVEL_COUNT)
      return no_target(name);
   snprintf(out, NAME_BYTES, "cpu:%s", level);
   return SINTER_ok;
}

/* `cuda` and `hip` are the GPU that is here. */
static sinter_status resolve_arch(const char *name, levels kind, const char *arch, char *out)
{
   const arch_info *info = arch ? arch_find(arch) : NULL;

   if (!arch)
      return rt_gpu_target(kind == LEVELS_SM ? &rt_cuda_ops : &rt_hip_ops, out, NAME_BYTES);
   if (!info || strcmp(arch_vendor(info), kind == LEVELS_SM ? "cuda" : "hip") != 0)
      return no_target(name);
   snprintf(out, NAME_BYTES, "%s", name);
   return SINTER_ok;
}

/* Writes the full name of one target. */
static sinter_status resolve(const char *name, char *out)
{
   size_t len = strcspn(name, ":");
   const char *level = name[len] ? name + len + 1 : NULL;

   for (size_t i = 0; i < countof(known_targets); i++) {
      const char *target = known_targets[i].name;
      if (strlen(target) != len || memcmp(name, target, len) != 0)
         continue;
      switch (known_targets[i].levels) {
      case LEVELS_ISA: return resolve_isa(name, level, out);
      case LEVELS_SM:
      case LEVELS_GFX: return resolve_arch(name, known_targets[i].levels, level, out);
      case LEVELS_NONE: break;
      }
      if (level)
         break;
      snprintf(out, NAME_BYTES, "%s", target);
      return SINTER_ok;
   }
   return no_target(name);
}

static int by_name(const void *a, const void *b)
{
   return strcmp(a, b);
}

/* Sorted, and each name once, so that one set of targets has one spelling. */
static sinter_status join(char names[][NAME_BYTES], size_t count, char *out, size_t cap)
{
   size_t len = 0;

   qsort(names, count, NAME_BYTES, by_name);
   for (size_t i = 0; i < count; i++) {
      if (i && strcmp(names[i], names[i - 1]) == 0)
         continue;
      len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? "," : "", names[i]);
      if (len >= cap)
         return base_fail(SINTER_usage, "--target", "name fewer", "the target list is too long");
   }
   return SINTER_ok;
}

sinter_status rt_level_targets(const char *targets, char *out, size_t cap)
{
   char names[MAX_TARGETS][NAME_BYTES], one[NAME_BYTES];
   size_t count = 0;

   for (const char *p = targets;; p++) {
      size_t len = strcspn(p, ",");
      if (count == MAX_TARGETS)
         return base_fail(SINTER_usage, "--target", "name fewer", "there are too many targets");
      snprintf(one, sizeof one, "%.*s", (int)MIN(len, sizeof one), p);
      SINTER_TRY(resolve(one, names[count++]));
      p += len;
      if (!*p)
         break;
   }
   return join(names, count, out, cap);
}
