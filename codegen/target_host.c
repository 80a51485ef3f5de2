/* target_host.c - SIMT text for the mock devices, by the system's C compiler; and which compiler a
 * dialect takes. */
#include "simt.h"

#include "base/sanitized.h"
#include "base/toolkit.h"
#include "process.h"

/* A sanitized build checks its kernels, too, by the compiler whose sanitizer it has. */
#if BASE_SANITIZED
#define COMPILER TOOLKIT_clang
#define CHECKS "-fsanitize=address", "-fsanitize-address-use-after-return=never"
#else
#define COMPILER TOOLKIT_cc
#define CHECKS "-fno-sanitize=address"
#endif

sinter_status cg_host_object(arena *a, const char *text, size_t size, const uint8_t **out,
                             size_t *out_size)
{
   char path[TOOLKIT_PATH];
   /* No build id, no names of temporary files: equal text, equal bytes. */
   const char *const argv[] = {
      path,
      "-std=gnu11",
      "-O1", /* fibers take most of the time, and compiling is half of a test's */
      "-w",
      "-march=x86-64-v3",
      "-ffp-contract=off",
      "-fno-math-errno",
      "-fno-strict-aliasing",
      CHECKS,
      "-fsanitize=bounds", /* an index past an array, in memory that is there, is a trap */
      "-fsanitize-undefined-trap-on-error",
      "-fvisibility=hidden",
      "-fPIC",
      "-shared",
      "-s",
      "-nostartfiles",
      "-Wl,--build-id=none",
      "-x",
      "c",
      "@in",
      "-o",
      "@out",
      NULL};

   SINTER_TRY(toolkit_find(COMPILER, path));
   return cg_run_compiler(a, argv, text, size, toolkit_infos[COMPILER].remedy, NULL, out, out_size);
}

sinter_status cg_simt_object(arena *a, cg_dialect dialect, const arch_info *arch, const char *dump,
                             const char *text, size_t size, const uint8_t **out, size_t *out_size)
{
   switch (dialect) {
   case CG_CUDA: return cg_cuda_object(a, arch, dump, text, out, out_size);
   case CG_HIP: return cg_hip_object(a, arch, dump, text, size, out, out_size);
   case CG_HOST: break;
   }
   return cg_host_object(a, text, size, out, out_size);
}
