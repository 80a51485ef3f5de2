/* toolkit.c - looking for compilers.
 *
 *    nvrtc   $CUDA_PATH, /usr/local/cuda, toolkits/ beside this library (./setup --gpu fills it)
 *    others  programs: the folders of $PATH */
#include "toolkit.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const toolkit_info toolkit_infos[TOOLKIT_COUNT] = {
#define TOOLKIT(id, targets, remedy, what) {#id, targets, remedy, what},
#include "toolkits.def"
#undef TOOLKIT
};

static bool first_match(const char *folder, const char *rest, char *path)
{
   char pattern[TOOLKIT_PATH];
   glob_t found;

   if (snprintf(pattern, sizeof pattern, "%s/%s", folder, rest) >= (int)sizeof pattern ||
       glob(pattern, 0, NULL, &found) != 0)
      return false;
   bool ok = snprintf(path, TOOLKIT_PATH, "%s", found.gl_pathv[0]) < TOOLKIT_PATH;
   globfree(&found);
   return ok;
}

/* The folder of the library that this is part of. */
static bool own_folder(char *out)
{
   Dl_info info;
   const char *slash = dladdr((void *)(uintptr_t)&toolkit_find, &info) && info.dli_fname
                          ? strrchr(info.dli_fname, '/')
                          : NULL;

   return slash && snprintf(out, TOOLKIT_PATH, "%.*s", (int)(slash - info.dli_fname),
                            info.dli_fname) < TOOLKIT_PATH;
}

static bool find_nvrtc(char *path)
{
   const char *home = getenv("CUDA_PATH");
   char own[TOOLKIT_PATH];

   return (home && *home && first_match(home, "lib*/libnvrtc.so.[0-9]*", path)) ||
          first_match("/usr/local/cuda", "lib64/libnvrtc.so.[0-9]*", path) ||
          (own_folder(own) && first_match(own, "toolkits/nvidia/*/lib/libnvrtc.so.[0-9]*", path));
}

static bool find_program(const char *name, char *path)
{
   const char *folders = getenv("PATH");

   if (strchr(name, '/'))
      return snprintf(path, TOOLKIT_PATH, "%s", name) < TOOLKIT_PATH && access(path, X_OK) == 0;
   for (const char *p = folders ? folders : "/usr/bin"; *p; p += strcspn(p, ":"), p += *p == ':') {
      int n = snprintf(path, TOOLKIT_PATH, "%.*s/%s", (int)strcspn(p, ":"), p, name);
      if (n < TOOLKIT_PATH && access(path, X_OK) == 0)
         return true;
   }
   return false;
}

sinter_status toolkit_find(toolkit t, char path[TOOLKIT_PATH])
{
   const char *cc = getenv("CC");
   bool found = false;

   switch (t) {
   case TOOLKIT_nvrtc: found = find_nvrtc(path); break;
   case TOOLKIT_clang: /* it calls the linker */
      found = find_program("ld.lld-22", path) && find_program("clang-22", path);
      break;
   case TOOLKIT_cc: found = find_program(cc && *cc ? cc : "cc", path); break;
   case TOOLKIT_COUNT: break;
   }
   if (found)
      return SINTER_ok;
   return base_fail(SINTER_no_device, toolkit_infos[t].name, toolkit_infos[t].remedy,
                    "a compiler is not on this machine: %s", toolkit_infos[t].what);
}

toolkit toolkit_of(const char *target)
{
   for (int t = 0; t < TOOLKIT_COUNT; t++)
      if (strncmp(target, toolkit_infos[t].targets, strlen(toolkit_infos[t].targets)) == 0)
         return (toolkit)t;
   return TOOLKIT_COUNT;
}
