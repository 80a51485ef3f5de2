/* gpu_library.c - drivers by name, and which target a machine's GPU takes. */
#include "gpu.h"

#include <dlfcn.h>
#include <stdio.h>

#include "base/arch.h"

sinter_status rt_gpu_library(const char *file, const char *vendor, const char *const (*names)[2],
                             size_t count, void **table, void **out_library)
{
   void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

   if (!library)
      return base_fail(SINTER_no_device, file,
                       "run with --device cpu, or install the driver of the GPU",
                       "there is no %s driver on this machine: %s", vendor, dlerror());
   for (size_t i = 0; i < count; i++) {
      table[i] = dlsym(library, names[i][0]);
      if (!table[i] && strcmp(names[i][1], RT_GPU_MAY_LACK) == 0)
         continue;
      if (!table[i] && names[i][1][0])
         table[i] = dlsym(library, names[i][1]);
      if (!table[i])
         return base_fail(SINTER_no_device, file,
                          "install a newer driver, or run with --device cpu",
                          "the %s driver is too old: it has no %s", vendor, names[i][0]);
   }
   *out_library = library;
   return SINTER_ok;
}

/* Major and minor of sm_90, sm_90a, compute_80; 0 for others. */
static int capability(const char *arch)
{
   int n = 0;

   return sscanf(arch, "sm_%d", &n) == 1 || sscanf(arch, "compute_%d", &n) == 1 ? n : 0;
}

bool rt_gpu_runs(const char *device, const char *arch)
{
   int is = capability(device), made = capability(arch);
   size_t len = strlen(device);

   if (strncmp(arch, "compute_", 8) == 0)
      return is >= made;
   if (strncmp(device, arch, len) == 0 && (!arch[len] || (arch[len] == 'a' && !arch[len + 1])))
      return true;
   /* Code without a suffix runs on later members of its family. */
   return is && made && arch[strlen(arch) - 1] != 'a' && is / 10 == made / 10 && is > made;
}

sinter_status rt_gpu_target(const rt_gpu_ops *ops, char *out, size_t cap)
{
   rt_gpu *gpu;
   const arch_info *best = NULL;

   SINTER_TRY(ops->open(NULL, &gpu));
   for (uint32_t i = 0; arch_at(i); i++)
      if (rt_gpu_runs(ops->arch(gpu), arch_at(i)->name))
         best = arch_at(i);
   if (!best) {
      sinter_status status =
         base_fail(SINTER_no_device, ops->vendor, "run with --device cpu",
                   "kernels are made for none of this GPU's kind: %s", ops->arch(gpu));
      ops->close(gpu);
      return status;
   }
   ops->close(gpu);
   snprintf(out, cap, "%s:%s", ops->vendor, best->name);
   return SINTER_ok;
}
