/* main.c - AMD's runtime compiler in a process of its own: that library ends its process over GPUs
 * that it does not know. So it is asked for a list of them first, and whatever it does then, only
 * this process ends.
 *
 *    sinter-hiprtc LIBRARY                the GPUs that it knows, a line each
 *    sinter-hiprtc LIBRARY GPU IN OUT     HIP C++ to a code object; stdout has what the compiler said
 *
 * Exit 0 done, 1 the text does not compile, 3 the GPU is not one of the list, 4 the library is not
 * usable. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exit codes that codegen/process.h knows, too. */
enum { DONE = 0, FAILED = 1, UNKNOWN_GPU = 3, UNUSABLE = 4 };

enum { ISA_NAME = 64 };

#define HIP_SYMBOLS(F)                                                                             \
   F(create, hiprtcCreateProgram,                                                                  \
     (void **program, const char *text, const char *name, int n, const char **headers,             \
      const char **names))                                                                         \
   F(compile, hiprtcCompileProgram, (void *program, int n, const char **options))                  \
   F(log_size, hiprtcGetProgramLogSize, (void *program, size_t *size))                             \
   F(log, hiprtcGetProgramLog, (void *program, char *log))                                         \
   F(code_size, hiprtcGetCodeSize, (void *program, size_t *size))                                  \
   F(code, hiprtcGetCode, (void *program, char *code))                                             \
   F(isa_count, amd_comgr_get_isa_count, (size_t * count))                                         \
   F(isa_name, amd_comgr_get_isa_name, (size_t index, const char **name))

static struct {
#define F(field, symbol, args) int(*field) args;
   HIP_SYMBOLS(F)
#undef F
} api;

/* Without exit handlers: those of the library are not needed, and have been seen to fail. */
static _Noreturn void end(int code)
{
   fflush(stdout);
   _exit(code);
}

static _Noreturn void unusable(const char *what)
{
   printf("error: %s\n", what);
   end(UNUSABLE);
}

/* The library has its code generator, which knows the list, as a dependency, or opens it later. */
static void *symbol(void *library, const char *name)
{
   static const char *const generators[] = {"libamd_comgr.so.3", "libamd_comgr.so.2"};
   void *found = dlsym(library, name);

   for (size_t i = 0; !found && i < sizeof generators / sizeof *generators; i++) {
      void *generator = dlopen(generators[i], RTLD_NOW | RTLD_LOCAL);
      found = generator ? dlsym(generator, name) : NULL;
   }
   if (!found)
      unusable(name);
   return found;
}

static void load(const char *path)
{
   void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

   if (!library)
      unusable(dlerror());
#define F(field, name, args) *(void **)&api.field = symbol(library, #name);
   HIP_SYMBOLS(F)
#undef F
}

/* The end of name i of the list, which is like amdgcn-amd-amdhsa--gfx90a; NULL when there is
 * none. */
static const char *gpu_at(size_t i)
{
   const char *name;

   if (api.isa_name(i, &name) != 0)
      return NULL;
   const char *dash = strrchr(name, '-');
   return dash ? dash + 1 : name;
}

static size_t num_gpus(void)
{
   size_t n;

   return api.isa_count(&n) == 0 ? n : 0;
}

static void list(void)
{
   for (size_t i = 0; i < num_gpus(); i++)
      if (gpu_at(i))
         printf("%s\n", gpu_at(i));
}

static int is_known(const char *gpu)
{
   for (size_t i = 0; i < num_gpus(); i++)
      if (gpu_at(i) && strcmp(gpu_at(i), gpu) == 0)
         return 1;
   return 0;
}

static char *read_text(const char *path)
{
   FILE *f = fopen(path, "rb");
   size_t size = 0, room = 1 << 16, got;
   char *text = malloc(room);

   if (!f || !text)
      unusable("the text cannot be read");
   while ((got = fread(text + size, 1, room - size - 1, f)) > 0) {
      size += got;
      if (room - size < 2 && !(text = realloc(text, room *= 2)))
         unusable("no memory for the text");
   }
   text[size] = 0;
   if (ferror(f))
      unusable("the text cannot be read");
   fclose(f);
   return text;
}

static void write_code(const char *path, const char *code, size_t size)
{
   FILE *f = fopen(path, "wb");

   if (!f || fwrite(code, 1, size, f) != size || fclose(f) != 0)
      unusable("the code object cannot be written");
}

static void say_log(void *program)
{
   size_t size = 0;
   char *log;

   if (api.log_size(program, &size) != 0 || !size || !(log = calloc(size + 1, 1)))
      return;
   if (api.log(program, log) == 0)
      printf("%s\n", log);
   free(log);
}

static int compile(const char *gpu, const char *in, const char *out)
{
   char arch[ISA_NAME];
   const char *options[] = {arch, "-std=c++17",        "-O3",
                            "-w", "-ffp-contract=off", "-Rpass-analysis=kernel-resource-usage"};
   void *program;
   size_t size = 0;
   char *code;

   snprintf(arch, sizeof arch, "--offload-arch=%s", gpu);
   if (api.create(&program, read_text(in), "sinter.hip", 0, NULL, NULL) != 0)
      unusable("the compiler takes no program");
   int error = api.compile(program, sizeof options / sizeof *options, options);
   say_log(program);
   if (error)
      return FAILED;
   if (api.code_size(program, &size) != 0 || !size || !(code = malloc(size)) ||
       api.code(program, code) != 0)
      unusable("the compiler gives no code");
   write_code(out, code, size);
   return DONE;
}

int main(int argc, char **argv)
{
   if (argc != 2 && argc != 5) {
      fprintf(stderr, "sinter-hiprtc LIBRARY [GPU IN OUT]\n");
      return 2;
   }
   load(argv[1]);
   if (argc == 2) {
      list();
      end(DONE);
   }
   if (!is_known(argv[2])) {
      printf("error: %s is not known to %s\n", argv[2], argv[1]);
      end(UNKNOWN_GPU);
   }
   end(compile(argv[2], argv[3], argv[4]));
}
