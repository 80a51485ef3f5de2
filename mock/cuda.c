/* cuda.c - every row of cuda_api.def, on the mock device. */
#include <stdio.h>
#include <string.h>

#include "mock.h"

#pragma GCC visibility push(default)
#define CUDA(name, symbol, older, parameters) int symbol parameters;
#include "runtime/cuda_api.def"
#undef CUDA
#pragma GCC visibility pop

/* Counts the call, fails it when that was asked for, and takes only what comes behind otherwise. */
#define ENTER                                                                                      \
   do {                                                                                            \
      int planted_ = mock_enter(__func__);                                                         \
      if (planted_)                                                                                \
         return planted_;                                                                          \
   } while (0)

int cuInit(unsigned flags)
{
   ENTER;
   return flags ? CUDA_ERROR_invalid_value : mock_start(32);
}

int cuDriverGetVersion(int *version)
{
   ENTER;
   *version = 13000;
   return 0;
}

int cuDeviceGetCount(int *count)
{
   ENTER;
   *count = 1;
   return 0;
}

int cuDeviceGet(int *device, int ordinal)
{
   ENTER;
   *device = 0;
   return ordinal ? CUDA_ERROR_invalid_value : 0;
}

int cuDeviceGetName(char *name, int size, int device)
{
   ENTER;
   (void)device;
   snprintf(name, (size_t)size, "mock");
   return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
   ENTER;
   (void)device;
   *value = attribute == CUDA_ATTRIBUTE_major ? 9 : 0;
   return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
   ENTER;
   *context = mock_context();
   return device ? CUDA_ERROR_invalid_value : 0;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
   ENTER;
   return device ? CUDA_ERROR_invalid_value : 0;
}

int cuCtxSetCurrent(void *context)
{
   ENTER;
   return mock_context_set(context);
}

int cuMemAlloc_v2(uint64_t *address, size_t size)
{
   ENTER;
   return mock_alloc(size, address);
}

int cuMemFree_v2(uint64_t address)
{
   ENTER;
   return mock_free(address);
}

int cuMemHostAlloc(void **memory, size_t size, unsigned flags)
{
   ENTER;
   (void)flags;
   return mock_host_alloc(size, memory);
}

int cuMemFreeHost(void *memory)
{
   ENTER;
   return mock_host_free(memory);
}

static void *pointer(uint64_t address)
{
   return (void *)(uintptr_t)address;
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream)
{
   ENTER;
   return mock_copy(pointer(to), from, size, HIP_COPY_in, stream);
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream)
{
   ENTER;
   return mock_copy(to, pointer(from), size, HIP_COPY_out, stream);
}

int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *stream)
{
   ENTER;
   return mock_copy(pointer(to), pointer(from), size, HIP_COPY_within, stream);
}

int cuMemsetD8Async(uint64_t to, unsigned char byte, size_t size, void *stream)
{
   ENTER;
   return mock_fill(to, byte, size, stream);
}

int cuStreamCreate(void **stream, unsigned flags)
{
   ENTER;
   (void)flags;
   return mock_stream_create(stream);
}

int cuStreamDestroy_v2(void *stream)
{
   ENTER;
   return mock_stream_destroy(stream);
}

int cuStreamSynchronize(void *stream)
{
   ENTER;
   return mock_stream_wait(stream);
}

int cuModuleLoadData(void **module, const void *image)
{
   ENTER;
   return mock_module_load(image, module);
}

int cuModuleUnload(void *module)
{
   ENTER;
   return mock_module_unload(module);
}

int cuModuleGetFunction(void **function, void *module, const char *name)
{
   ENTER;
   return mock_function(module, name, function);
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **parameters, void **extra)
{
   ENTER;
   return extra ? CUDA_ERROR_invalid_value
                : mock_launch(function, (unsigned[]){gx, gy, gz}, (unsigned[]){bx, by, bz}, shared,
                              parameters, stream);
}

int cuGraphCreate(void **graph, unsigned flags)
{
   ENTER;
   return flags ? CUDA_ERROR_invalid_value : mock_graph_create(graph);
}

int cuGraphDestroy(void *graph)
{
   ENTER;
   return mock_graph_destroy(graph);
}

int cuGraphAddKernelNode_v2(void **node, void *graph, void *const *after, size_t num_after,
                            const struct cuda_node *what)
{
   ENTER;
   if (what->shared || what->extra || what->kernel || what->context)
      return CUDA_ERROR_invalid_value;
   return mock_graph_add(graph, after, num_after, what->function,
                         (unsigned[]){what->gx, what->gy, what->gz},
                         (unsigned[]){what->bx, what->by, what->bz}, what->parameters, node);
}

int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags)
{
   ENTER;
   return flags ? CUDA_ERROR_invalid_value : mock_graph_make(graph, exec);
}

int cuGraphLaunch(void *exec, void *stream)
{
   ENTER;
   return mock_graph_launch(exec, stream);
}

int cuGraphExecDestroy(void *exec)
{
   ENTER;
   return mock_exec_destroy(exec);
}

int cuGetErrorName(int error, const char **name)
{
   ENTER;
   *name = mock_error_name(error);
   return *name ? 0 : CUDA_ERROR_invalid_value;
}
