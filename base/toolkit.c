/* toolkit.c - looking for compilers.
 *
 *    nvrtc   $CUDA_PATH, /usr/local/cuda, toolkits/ beside this library (./setup --gpu fills it)
 *    hiprtc  $HIP_PATH and nowhere else when it is set; /opt/rocm, the folders of Debian's libraries
 *    others  programs: the folders of $PATH */
#include "toolkit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

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

/* A library of its own, or a part of the driver's. */
static bool find_hiprtc(char *path)
{
   static const char *const names[] = {"libhiprtc.so.[0-9]*", "libamdhip64.so.[0-9]*"};
   const char *home = getenv("HIP_PATH");
   char rest[64], helper[TOOLKIT_PATH];
   bool found = false;

   if (!toolkit_hiprtc_program(helper))
      return false;
   for (size_t i = 0; !found && i < countof(names); i++) {
      snprintf(rest, sizeof rest, "lib*/%s", names[i]);
      if (home && *home) {
         found = first_match(home, rest, path);
         continue;
      }
      found = first_match("/opt/rocm", rest, path);
      snprintf(rest, sizeof rest, "*-linux-gnu/%s", names[i]);
      found = found || first_match("/usr/lib", rest, path);
   }
   return found;
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
   case TOOLKIT_hiprtc: found = find_hiprtc(path); break;
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

bool toolkit_serves(toolkit t, const char *target)
{
   const char *begin = toolkit_infos[t].targets;

   return strncmp(target, begin, strlen(begin)) == 0;
}

/* ---- hiprtc ---- */

bool toolkit_hiprtc_program(char path[TOOLKIT_PATH])
{
   static const char name[] = "/sinter-hiprtc";

   if (!own_folder(path) || strlen(path) + sizeof name > TOOLKIT_PATH)
      return false;
   memcpy(path + strlen(path), name, sizeof name);
   return access(path, X_OK) == 0;
}

/* Starts the program with its output in a pipe; the end to read from, or -1. */
static int start(char *const *argv, pid_t *pid)
{
   posix_spawn_file_actions_t files;
   int ends[2];

   if (pipe2(ends, O_CLOEXEC) != 0)
      return -1;
   posix_spawn_file_actions_init(&files);
   posix_spawn_file_actions_adddup2(&files, ends[1], 1);
   posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
   int error = posix_spawn(pid, argv[0], &files, NULL, argv, environ);
   posix_spawn_file_actions_destroy(&files);
   close(ends[1]);
   if (!error)
      return ends[0];
   close(ends[0]);
   return -1;
}

void toolkit_hiprtc_gpus(char *out, size_t cap)
{
   char program[TOOLKIT_PATH], library[TOOLKIT_PATH];
   char *const argv[] = {program, library, NULL};
   size_t size = 0;
   ssize_t got = 1;
   int from, code = 1;
   pid_t pid;

   out[0] = 0;
   if (!find_hiprtc(library) || !toolkit_hiprtc_program(program) || (from = start(argv, &pid)) < 0)
      return;
   while (got > 0) {
      got = read(from, out + size, cap - 1 - size);
      if (got < 0 && errno == EINTR)
         got = 1;
      else if (got > 0)
         size += (size_t)got;
   }
   close(from);
   while (waitpid(pid, &code, 0) < 0 && errno == EINTR)
      ;
   out[code ? 0 : size] = 0;
}

bool toolkit_has_line(const char *lines, const char *gpu)
{
   size_t len = strlen(gpu);

   for (const char *at = lines; *at; at += strcspn(at, "\n"), at += *at == '\n')
      if (strcspn(at, "\n") == len && memcmp(at, gpu, len) == 0)
         return true;
   return false;
}
