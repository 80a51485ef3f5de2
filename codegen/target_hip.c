/* target_hip.c - SIMT text to an AMD code object, by clang: it knows more architectures than the hiprtc of
 * Debian, and ends with an error where that one ends the process. */
#include "base/toolkit.h"
#include "process.h"
#include "simt.h"

sinter_status cg_hip_object(arena *a, const arch_info *arch, const char *text, size_t size,
                            const uint8_t **out, size_t *out_size)
{
   char path[TOOLKIT_PATH];
   const char *const argv[] = {path,
                               "-x",
                               "hip",
                               arena_printf(a, "--offload-arch=%s", arch->name),
                               "--offload-device-only",
                               "--no-gpu-bundle-output",
                               "-nogpuinc",
                               "-nogpulib",
                               "-fuse-cuid=none",
                               "-std=c++17",
                               "-O3",
                               "-w",
                               "-Rpass-analysis=kernel-resource-usage",
                               "-ffp-contract=off",
                               "@in",
                               "-o",
                               "@out",
                               NULL};

   SINTER_TRY(toolkit_find(TOOLKIT_clang, path));
   return cg_run_compiler(a, argv, text, size, toolkit_infos[TOOLKIT_clang].remedy, arch->name, out,
                          out_size);
}
