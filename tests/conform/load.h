/* load.h - kernels as they ship, through the runtime's ELF loader; in a sanitized build with
 * address checks, through LLVM's linker, as checked code calls the sanitizer of this process. */
#ifndef CONFORM_LOAD_H
#define CONFORM_LOAD_H

#include <criterion/criterion.h>
#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <stdlib.h>
#include <string.h>

#include "base/sanitized.h"
#include "codegen/target_cpu.h"
#include "runtime/elf.h"

#if BASE_SANITIZED
#define CONFORM_SANITIZED 1
#endif

/* Address checks make kernels slow to compile, those of emulated wide registers most of all, and
 * every case slow to run: a sanitized build runs the lowest and the best level of this machine on
 * every n-th case of the large tables; --long runs all. */
static inline bool conform_whole(void)
{
#ifdef CONFORM_SANITIZED
   const char *all = getenv("SINTER_CHECK_LONG");

   return all && strcmp(all, "1") == 0;
#else
   return true;
#endif
}

/* Levels that are executed in full. */
static inline bool conform_runs(isa_level level)
{
   return isa_runs(level) && (conform_whole() || level == (isa_level)0 || level == isa_best());
}

static inline bool conform_skips(isa_level level)
{
   return !conform_runs(level) && !conform_whole();
}

static inline size_t conform_every(size_t n)
{
   return conform_whole() ? 1 : n;
}

/* Kernels as SIMT text: how a program that links the mock loads and runs them. */
typedef struct harness_simt {
   uint32_t warp;
   void *(*load)(const uint8_t *object, size_t size);
   void (*run)(void *module, const char *symbol, uint32_t warp, uint32_t tiles, const void *args);
   void (*unload)(void *module);
} harness_simt;

typedef struct conform_code {
   rt_elf *elf;
   LLVMOrcLLJITRef jit;
} conform_code;

#ifdef CONFORM_SANITIZED
static inline void conform_link(arena *a, const isa_info *isa, const cg_kernel *kernels, uint32_t n,
                                conform_code *out)
{
   LLVMOrcDefinitionGeneratorRef symbols;
   vec_module *m;
   uint8_t *bytes;
   size_t size;

   cr_assert(vec_module_create(isa, &m) == SINTER_ok, "%s", sinter_error());
   for (uint32_t i = 0; i < n; i++)
      kernels[i].emit(a, m, kernels[i].what);
   vec_module_sanitize(m);
   cr_assert(vec_module_object(m, &bytes, &size) == SINTER_ok, "%s", sinter_error());
   vec_module_destroy(m);
   cr_assert(!LLVMOrcCreateLLJIT(&out->jit, NULL));
   LLVMOrcJITDylibRef main = LLVMOrcLLJITGetMainJITDylib(out->jit);
   cr_assert(!LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
      &symbols, LLVMOrcLLJITGetGlobalPrefix(out->jit), NULL, NULL));
   LLVMOrcJITDylibAddGenerator(main, symbols);
   LLVMMemoryBufferRef copy =
      LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)bytes, size, "kernels");
   free(bytes);
   cr_assert(!LLVMOrcLLJITAddObjectFile(out->jit, main, copy));
}
#endif

/* Kernels of a level from what every machine has: the same functions over the same registers and
 * tiles, each instruction that is missing done by its meaning (vec_bytes.c, vec_tile.c). */
static inline isa_info conform_emulated(isa_level level)
{
   isa_info isa = isa_infos[level];

   isa.cpu = isa_infos[0].cpu;
   isa.features = isa_infos[0].features;
   isa.needs = isa_infos[0].needs;
   return isa;
}

/* The level as it can be executed here. */
static inline isa_info conform_isa(isa_level level)
{
   return isa_runs(level) ? isa_infos[level] : conform_emulated(level);
}

static inline conform_code conform_load(arena *a, const isa_info *isa, const cg_kernel *kernels,
                                        uint32_t n)
{
   conform_code code = {NULL, NULL};

#ifdef CONFORM_SANITIZED
   conform_link(a, isa, kernels, n, &code);
#else
   const uint8_t *object;
   size_t size;

   cr_assert(cg_cpu_object(a, isa, kernels, n, NULL, NULL, &object, &size) == SINTER_ok, "%s",
             sinter_error());
   cr_assert(rt_elf_load(object, size, "test", &code.elf) == SINTER_ok, "%s", sinter_error());
#endif
   return code;
}

static inline sinter_kernel *conform_find(const conform_code *code, const char *symbol)
{
   LLVMOrcExecutorAddress address = 0;
   sinter_kernel *kernel;
   void *at;

   if (code->jit)
      cr_assert(!LLVMOrcLLJITLookup(code->jit, &address, symbol), "no %s", symbol);
   at = code->jit ? (void *)(uintptr_t)address : rt_elf_symbol(code->elf, symbol);
   cr_assert(at, "no %s", symbol);
   memcpy(&kernel, &at, sizeof kernel);
   return kernel;
}

static inline void conform_unload(conform_code *code)
{
   if (code->jit)
      cr_assert(!LLVMOrcDisposeLLJIT(code->jit));
   if (code->elf)
      rt_elf_unload(code->elf);
}

#endif
