/* simt_run.h - how programs of tests/conform run on the mock's threads: kernels as SIMT text, by
 * the C compiler. */
#ifndef GPU_SIMT_RUN_H
#define GPU_SIMT_RUN_H

#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>

#include "mock/mock.h"
#include "tests/conform/harness.h"

static inline void *simt_load(const uint8_t *object, size_t size)
{
   char path[64];
   int fd = memfd_create("rows", MFD_CLOEXEC);

   cr_assert(fd >= 0 && write(fd, object, size) == (ssize_t)size);
   snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
   void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
   cr_assert(module, "%s", dlerror());
   return module; /* the file stays open: to dlopen equal paths are one module */
}

static inline void simt_unload(void *module)
{
   dlclose(module);
}

/* Threads take turns in one order, then in another. */
static inline void simt_run(void *module, const char *symbol, uint32_t warp, uint32_t tiles,
                            const void *args)
{
   static const mock_order orders[] = {MOCK_FIRST, MOCK_LAST};
   static uint32_t turn;
   const mock_kernel kernel = {(void (*)(const void *))(uintptr_t)dlsym(module, symbol),
                               (simt_fiber **)dlsym(module, "simt_self"), symbol};

   cr_assert(kernel.call && kernel.self, "no %s", symbol);
   const char *error = mock_run_grid(&kernel, tiles, SIMT_THREADS, warp, orders[turn++ % 2], args);
   cr_assert(!error, "%s", error);
}

static const harness_simt warps[] = {{32, simt_load, simt_run, simt_unload},
                                     {64, simt_load, simt_run, simt_unload}};

#endif
