/* target_cuda.c - SIMT text to a cubin, or to PTX for drivers of later GPUs, by NVRTC: a library
 * that is opened when it is needed. */
#include "simt.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>

#include "base/toolkit.h"
#include "target_cpu.h"

typedef struct nvrtc_api {
   int (*create)(void **program, const char *text, const char *name, int num_headers,
                 const char *const *headers, const char *const *names);
   int (*compile)(void *program, int num_options, const char *const *options);
   int (*size)(void *program, size_t *size);
   int (*code)(void *program, char *code);
   int (*ptx_size)(void *program, size_t *size);
   int (*ptx)(void *program, char *text);
   int (*log_size)(void *program, size_t *size);
   int (*log)(void *program, char *log);
   int (*destroy)(void **program);
} nvrtc_api;

static const char *const symbols[] = {
   "nvrtcCreateProgram",     "nvrtcCompileProgram", "nvrtcGetCUBINSize",
   "nvrtcGetCUBIN",          "nvrtcGetPTXSize",     "nvrtcGetPTX",
   "nvrtcGetProgramLogSize", "nvrtcGetProgramLog",  "nvrtcDestroyProgram",
};

enum { INVALID_OPTION = 5 };

_Static_assert(sizeof(nvrtc_api) == sizeof symbols, "a pointer for every symbol");

/* NVRTC opens a second library by its bare name, which is found only where the linker looks: not in
 * a folder of Python packages. Opened before, it is there already. */
static void open_builtins(const char *path)
{
   char pattern[TOOLKIT_PATH + 32];
   const char *slash = strrchr(path, '/');
   glob_t found;

   snprintf(pattern, sizeof pattern, "%.*s/libnvrtc-builtins.so.[0-9]*",
            slash ? (int)(slash - path) : 0, path);
   if (glob(pattern, 0, NULL, &found) != 0)
      return;
   for (size_t i = 0; i < found.gl_pathc; i++)
      (void)dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
   globfree(&found);
}

static sinter_status load(nvrtc_api *api)
{
   const char *remedy = toolkit_infos[TOOLKIT_nvrtc].remedy;
   void *table[countof(symbols)];
   char path[TOOLKIT_PATH];

   SINTER_TRY(toolkit_find(TOOLKIT_nvrtc, path));
   open_builtins(path);
   void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
   if (!library)
      return base_fail(SINTER_no_device, path, remedy, "the compiler cannot be opened: %s",
                       dlerror());
   for (size_t i = 0; i < countof(symbols); i++) {
      table[i] = dlsym(library, symbols[i]);
      if (!table[i])
         return base_fail(SINTER_no_device, path, remedy, "the library has no %s", symbols[i]);
   }
   memcpy(api, table, sizeof table);
   return SINTER_ok;
}

/* ---- using it ---- */

static char *log_of(arena *a, const nvrtc_api *api, void *program)
{
   size_t size = 0;

   api->log_size(program, &size);
   char *log = arena_alloc(a, size + 1);
   api->log(program, log);
   return log;
}

/* The first line of the log with an error in it. */
static sinter_status complain(arena *a, const nvrtc_api *api, void *program, const char *arch)
{
   char *log = log_of(a, api, program);
   const char *at = strstr(log, "error");
   while (at && at > log && at[-1] != '\n')
      at--;
   at = at ? at : log;
   return base_fail(SINTER_failed, arch, "report this with the model",
                    "generated text does not compile: %.*s", (int)MIN(strcspn(at, "\n"), 200), at);
}

static sinter_status compile(arena *a, const nvrtc_api *api, void *program, const arch_info *arch,
                             const char *dump, const uint8_t **out, size_t *out_size)
{
   const char *const options[] = {
      arena_printf(a, "--gpu-architecture=%s", arch->name),
      "--std=c++17",
      "--fmad=false",
      "--ptxas-options=-v",
   };

   int error = api->compile(program, countof(options), options);
   if (error == INVALID_OPTION)
      return base_fail(SINTER_unsupported, arch->name,
                       "install a newer CUDA toolkit, or run ./setup --gpu and unset CUDA_PATH",
                       "the NVRTC of this machine does not know the architecture");
   if (error)
      return complain(a, api, program, arch->name);
   bool ptx = strncmp(arch->name, "compute_", 8) == 0;
   if ((ptx ? api->ptx_size : api->size)(program, out_size) || !*out_size)
      return base_fail(SINTER_failed, arch->name, "report this with the model",
                       "the compiler made no code");
   char *code = arena_alloc(a, *out_size);
   if ((ptx ? api->ptx : api->code)(program, code))
      return base_fail(SINTER_failed, arch->name, "report this with the model",
                       "the compiler does not give its code");
   *out = (const uint8_t *)code;
   const char *log = log_of(a, api, program);
   return cg_dump(dump, "resources", log, strlen(log));
}

typedef struct job {
   arena *a;
   nvrtc_api api;
   void *program;
   const arch_info *arch;
   const char *dump;
   const uint8_t **out;
   size_t *out_size;
} job;

static sinter_status compile_body(void *user)
{
   job *j = user;

   return compile(j->a, &j->api, j->program, j->arch, j->dump, j->out, j->out_size);
}

sinter_status cg_cuda_object(arena *a, const arch_info *arch, const char *dump, const char *text,
                             const uint8_t **out, size_t *out_size)
{
   job j = {.a = a, .arch = arch, .dump = dump, .out = out, .out_size = out_size};

   SINTER_TRY(load(&j.api));
   if (j.api.create(&j.program, text, "sinter.cu", 0, NULL, NULL))
      return base_fail(SINTER_failed, arch->name, "report this with the model",
                       "the compiler takes no program");
   sinter_status status = arena_catch(compile_body, &j);
   j.api.destroy(&j.program);
   return status;
}
