/* target_hip.c - SIMT text to an AMD code object: by hiprtc, in a process of its own, where it is
 * here and knows the GPU; else by clang, which knows more of them. */
#include "base/toolkit.h"
#include "process.h"
#include "simt.h"

static sinter_status by_hiprtc(arena *a, const arch_info *arch, const char *library,
                               const char *dump, const char *text, size_t size, const uint8_t **out,
                               size_t *out_size)
{
   char program[TOOLKIT_PATH];
   const char *const argv[] = {program, library, arch->name, "@in", "@out", NULL};

   if (!toolkit_hiprtc_program(program))
      return base_fail(SINTER_no_device, library, "run ./setup", "there is no sinter-hiprtc");
   return cg_run_compiler(a, argv, text, size, toolkit_infos[TOOLKIT_hiprtc].remedy, dump, out,
                          out_size);
}

static sinter_status by_clang(arena *a, const arch_info *arch, const char *dump, const char *text,
                              size_t size, const uint8_t **out, size_t *out_size)
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
                               "-ffp-contract=off",
                               "@in",
                               "-o",
                               "@out",
                               NULL};

   SINTER_TRY(toolkit_find(TOOLKIT_clang, path));
   return cg_run_compiler(a, argv, text, size, toolkit_infos[TOOLKIT_clang].remedy, dump, out,
                          out_size);
}

sinter_status cg_hip_object(arena *a, const arch_info *arch, const char *dump, const char *text,
                            size_t size, const uint8_t **out, size_t *out_size)
{
   char library[TOOLKIT_PATH];
   sinter_status status = SINTER_unsupported;

   if (toolkit_find(TOOLKIT_hiprtc, library) == SINTER_ok)
      status = by_hiprtc(a, arch, library, dump, text, size, out, out_size);
   return status == SINTER_unsupported ? by_clang(a, arch, dump, text, size, out, out_size)
                                       : status;
}
