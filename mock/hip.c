/* hip.c - every row of hip_api.def, on the mock device. Numbers of errors are the same as CUDA's
 * where the runtime looks at them. */
#include <stdint.h>

#include "calls.h"
#include "mock.h"

#pragma GCC visibility push(default)
#define HIP(name, symbol, parameters) int symbol parameters;
#define HIP_MAY_LACK(name, symbol, parameters) int symbol parameters;
#include "runtime/hip_api.def"
#undef HIP
#undef HIP_MAY_LACK
#pragma GCC visibility pop

MOCK_CALL(hipInit, (unsigned flags), flags ? CUDA_ERROR_invalid_value : mock_start(64))

int hipDriverGetVersion(int *version)
{
   ENTER;
   *version = 60000000;
   return 0;
}

int hipGetDeviceCount(int *count)
{
   ENTER;
   *count = 1;
   return 0;
}

MOCK_CALL(hipSetDevice, (int device),
          device ? CUDA_ERROR_invalid_value : mock_context_set(mock_context()))

int hipMalloc(void **memory, size_t size)
{
   uint64_t address = 0;

   ENTER;
   int error = mock_alloc(size, &address);
   *memory = (void *)(uintptr_t)address;
   return error;
}

MOCK_CALL(hipMemGetInfo, (size_t * left, size_t *total), mock_memory_info(left, total))
MOCK_CALL(hipFree, (void *memory), mock_free((uintptr_t)memory))
MOCK_RANGE_CALLS(hip)
MOCK_CALL(hipHostMalloc, (void **memory, size_t size, unsigned flags),
          ((void)flags, mock_host_alloc(size, memory)))
MOCK_CALL(hipHostFree, (void *memory), mock_host_free(memory))
MOCK_CALL(hipMemcpyAsync, (void *to, const void *from, size_t size, int kind, void *stream),
          mock_copy(to, from, size, kind, stream))
MOCK_CALL(hipMemsetAsync, (void *to, int byte, size_t size, void *stream),
          mock_fill((uintptr_t)to, (uint8_t)byte, size, stream))
MOCK_CALL(hipStreamCreateWithFlags, (void **stream, unsigned flags),
          ((void)flags, mock_stream_create(stream)))
MOCK_CALL(hipStreamDestroy, (void *stream), mock_stream_destroy(stream))
MOCK_CALL(hipStreamSynchronize, (void *stream), mock_stream_wait(stream))
MOCK_CALL(hipEventCreateWithFlags, (void **event, unsigned flags), mock_event_create(flags, event))
MOCK_CALL(hipEventRecord, (void *event, void *stream), mock_event_record(event, stream))
MOCK_CALL(hipEventElapsedTime, (float *ms, void *from, void *to), mock_event_elapsed(from, to, ms))
MOCK_CALL(hipEventDestroy, (void *event), mock_event_destroy(event))
MOCK_CALL(hipModuleLoadData, (void **module, const void *image), mock_module_load(image, module))
MOCK_CALL(hipModuleUnload, (void *module), mock_module_unload(module))
MOCK_CALL(hipModuleGetFunction, (void **function, void *module, const char *name),
          mock_function(module, name, function))
MOCK_CALL(hipModuleLaunchKernel,
          (void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
           unsigned bz, unsigned shared, void *stream, void **parameters, void **extra),
          extra ? CUDA_ERROR_invalid_value
                : mock_launch(function, (unsigned[]){gx, gy, gz}, (unsigned[]){bx, by, bz}, shared,
                              parameters, stream))
MOCK_CALL(hipGraphCreate, (void **graph, unsigned flags),
          flags ? CUDA_ERROR_invalid_value : mock_graph_create(graph))
MOCK_CALL(hipGraphDestroy, (void *graph), mock_graph_destroy(graph))

int hipGraphAddKernelNode(void **node, void *graph, void *const *after, size_t num_after,
                          const struct hip_node *what)
{
   ENTER;
   if (what->shared || what->extra)
      return CUDA_ERROR_invalid_value;
   return mock_graph_add(graph, after, num_after, what->function,
                         (unsigned[]){what->gx, what->gy, what->gz},
                         (unsigned[]){what->bx, what->by, what->bz}, what->parameters, node);
}

MOCK_CALL(hipGraphInstantiateWithFlags, (void **exec, void *graph, unsigned long long flags),
          mock_graph_make(graph, flags, exec))
MOCK_CALL(hipDeviceGetStreamPriorityRange, (int *least, int *greatest),
          mock_priorities(least, greatest))
MOCK_CALL(hipGraphKernelNodeSetAttribute,
          (void *node, int attribute, const struct gpu_attribute *value),
          mock_graph_attribute(node, attribute, value))
MOCK_CALL(hipGraphNodeSetEnabled, (void *exec, void *node, unsigned on),
          mock_graph_switch(exec, node, on != 0))
MOCK_CALL(hipGraphLaunch, (void *exec, void *stream), mock_graph_launch(exec, stream))
MOCK_CALL(hipGraphExecDestroy, (void *exec), mock_exec_destroy(exec))

int hipDrvGetErrorName(int error, const char **name)
{
   ENTER;
   *name = mock_error_name(error);
   return *name ? 0 : CUDA_ERROR_invalid_value;
}
