/* level.c - instruction set levels of isa.def, by CPUID; names of targets. */
#include "level.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/isa.h"

enum { MAX_TARGETS = 8, NAME_BYTES = 40 };

static const struct {
   const char *name;
   bool has_levels;
} known_targets[] = {
#define TARGET(name, has_code, levels, what) {#name, levels},
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

/* Writes the full name of one target. */
static sinter_status resolve(const char *name, char *out)
{
   size_t len = strcspn(name, ":");

   for (size_t i = 0; i < countof(known_targets); i++) {
      const char *target = known_targets[i].name;
      if (strlen(target) != len || memcmp(name, target, len) != 0)
         continue;
      if (!known_targets[i].has_levels && name[len])
         break;
      if (!known_targets[i].has_levels) {
         snprintf(out, NAME_BYTES, "%s", target);
         return SINTER_ok;
      }
      const char *level = name[len] ? name + len + 1 : rt_level_name();
      if (strcmp(level, "none") == 0)
         return base_fail(SINTER_no_device, name, "name a level: --target cpu:x86-64-v3",
                          "this CPU has no instruction set that kernels are made for");
      if (isa_from_name(level) == ISA_LEVEL_COUNT)
         break;
      snprintf(out, NAME_BYTES, "%s:%s", target, level);
      return SINTER_ok;
   }
   return base_fail(SINTER_usage, "--target", "use cpu, cpu:x86-64-v3, ref or null",
                    "there is no target `%.40s`", name);
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
