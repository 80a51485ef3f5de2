/* cuda.c - every row of cuda_api.def, on the mock device. */
#include <stdio.h>
#include <string.h>

#include "calls.h"
#include "mock.h"

#pragma GCC visibility push(default)
#define CUDA(name, symbol, older, parameters) int symbol parameters;
#define CUDA_MAY_LACK(name, symbol, parameters) int symbol parameters;
#include "runtime/cuda_api.def"
#undef CUDA
#undef CUDA_MAY_LACK
#pragma GCC visibility pop

MOCK_CALL(cuInit, (unsigned flags), flags ? CUDA_ERROR_invalid_value : mock_start(32))

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
   *value = attribute == CUDA_ATTRIBUTE_major ? 9 : attribute == CUDA_ATTRIBUTE_ranges;
   return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
   ENTER;
   *context = mock_context();
   return device ? CUDA_ERROR_invalid_value : 0;
}

MOCK_CALL(cuDevicePrimaryCtxRelease_v2, (int device), device ? CUDA_ERROR_invalid_value : 0)
MOCK_CALL(cuCtxSetCurrent, (void *context), mock_context_set(context))
MOCK_CALL(cuMemAlloc_v2, (uint64_t * address, size_t size), mock_alloc(size, address))
MOCK_CALL(cuMemGetInfo_v2, (size_t * left, size_t *total), mock_memory_info(left, total))
MOCK_CALL(cuMemFree_v2, (uint64_t address), mock_free(address))
MOCK_RANGE_CALLS(cu)
MOCK_CALL(cuMemHostAlloc, (void **memory, size_t size, unsigned flags),
          ((void)flags, mock_host_alloc(size, memory)))
MOCK_CALL(cuMemFreeHost, (void *memory), mock_host_free(memory))

static void *pointer(uint64_t address)
{
   return (void *)(uintptr_t)address;
}

MOCK_CALL(cuMemcpyHtoDAsync_v2, (uint64_t to, const void *from, size_t size, void *stream),
          mock_copy(pointer(to), from, size, HIP_COPY_in, stream))
MOCK_CALL(cuMemcpyDtoHAsync_v2, (void *to, uint64_t from, size_t size, void *stream),
          mock_copy(to, pointer(from), size, HIP_COPY_out, stream))
MOCK_CALL(cuMemcpyDtoDAsync_v2, (uint64_t to, uint64_t from, size_t size, void *stream),
          mock_copy(pointer(to), pointer(from), size, HIP_COPY_within, stream))
MOCK_CALL(cuMemsetD8Async, (uint64_t to, unsigned char byte, size_t size, void *stream),
          mock_fill(to, byte, size, stream))
MOCK_CALL(cuStreamCreate, (void **stream, unsigned flags),
          ((void)flags, mock_stream_create(stream)))
MOCK_CALL(cuStreamDestroy_v2, (void *stream), mock_stream_destroy(stream))
MOCK_CALL(cuStreamSynchronize, (void *stream), mock_stream_wait(stream))
MOCK_CALL(cuEventCreate, (void **event, unsigned flags), mock_event_create(flags, event))
MOCK_CALL(cuEventRecord, (void *event, void *stream), mock_event_record(event, stream))
MOCK_CALL(cuEventElapsedTime_v2, (float *ms, void *from, void *to),
          mock_event_elapsed(from, to, ms))
MOCK_CALL(cuEventDestroy_v2, (void *event), mock_event_destroy(event))
MOCK_CALL(cuModuleLoadData, (void **module, const void *image), mock_module_load(image, module))
MOCK_CALL(cuModuleUnload, (void *module), mock_module_unload(module))
MOCK_CALL(cuModuleGetFunction, (void **function, void *module, const char *name),
          mock_function(module, name, function))
MOCK_CALL(cuLaunchKernel,
          (void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
           unsigned bz, unsigned shared, void *stream, void **parameters, void **extra),
          extra ? CUDA_ERROR_invalid_value
                : mock_launch(function, (unsigned[]){gx, gy, gz}, (unsigned[]){bx, by, bz}, shared,
                              parameters, stream))
MOCK_CALL(cuGraphCreate, (void **graph, unsigned flags),
          flags ? CUDA_ERROR_invalid_value : mock_graph_create(graph))
MOCK_CALL(cuGraphDestroy, (void *graph), mock_graph_destroy(graph))

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

MOCK_CALL(cuGraphInstantiateWithFlags, (void **exec, void *graph, unsigned long long flags),
          mock_graph_make(graph, flags, exec))
MOCK_CALL(cuCtxGetStreamPriorityRange, (int *least, int *greatest),
          mock_priorities(least, greatest))
MOCK_CALL(cuGraphKernelNodeSetAttribute,
          (void *node, int attribute, const struct gpu_attribute *value),
          mock_graph_attribute(node, attribute, value))
MOCK_CALL(cuGraphNodeSetEnabled, (void *exec, void *node, unsigned on),
          mock_graph_switch(exec, node, on != 0))
MOCK_CALL(cuGraphLaunch, (void *exec, void *stream), mock_graph_launch(exec, stream))
MOCK_CALL(cuGraphExecDestroy, (void *exec), mock_exec_destroy(exec))

int cuGetErrorName(int error, const char **name)
{
   ENTER;
   *name = mock_error_name(error);
   return *name ? 0 : CUDA_ERROR_invalid_value;
}
