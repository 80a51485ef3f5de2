/* hip.c - every row of hip_api.def, on the mock device. Numbers of errors are the same as CUDA's where the
 * runtime looks at them. */
#include <stdint.h>

#include "mock.h"

#pragma GCC visibility push(default)
#define HIP(name, symbol, parameters) int symbol parameters;
#include "runtime/hip_api.def"
#undef HIP
#pragma GCC visibility pop

#define ENTER                                                                                      \
   do {                                                                                            \
      int planted_ = mock_enter(__func__);                                                         \
      if (planted_)                                                                                \
         return planted_;                                                                          \
   } while (0)

int hipInit(unsigned flags)
{
   ENTER;
   return flags ? CUDA_ERROR_invalid_value : mock_start(64);
}

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

int hipSetDevice(int device)
{
   ENTER;
   return device ? CUDA_ERROR_invalid_value : mock_context_set(mock_context());
}

int hipMalloc(void **memory, size_t size)
{
   uint64_t address = 0;

   ENTER;
   int error = mock_alloc(size, &address);
   *memory = (void *)(uintptr_t)address;
   return error;
}

int hipFree(void *memory)
{
   ENTER;
   return mock_free((uintptr_t)memory);
}

int hipHostMalloc(void **memory, size_t size, unsigned flags)
{
   ENTER;
   (void)flags;
   return mock_host_alloc(size, memory);
}

int hipHostFree(void *memory)
{
   ENTER;
   return mock_host_free(memory);
}

int hipMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream)
{
   ENTER;
   return mock_copy(to, from, size, kind, stream);
}

int hipMemsetAsync(void *to, int byte, size_t size, void *stream)
{
   ENTER;
   return mock_fill((uintptr_t)to, (uint8_t)byte, size, stream);
}

int hipStreamCreateWithFlags(void **stream, unsigned flags)
{
   ENTER;
   (void)flags;
   return mock_stream_create(stream);
}

int hipStreamDestroy(void *stream)
{
   ENTER;
   return mock_stream_destroy(stream);
}

int hipStreamSynchronize(void *stream)
{
   ENTER;
   return mock_stream_wait(stream);
}

int hipModuleLoadData(void **module, const void *image)
{
   ENTER;
   return mock_module_load(image, module);
}

int hipModuleUnload(void *module)
{
   ENTER;
   return mock_module_unload(module);
}

int hipModuleGetFunction(void **function, void *module, const char *name)
{
   ENTER;
   return mock_function(module, name, function);
}

int hipModuleLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                          unsigned by, unsigned bz, unsigned shared, void *stream,
                          void **parameters, void **extra)
{
   ENTER;
   return extra ? CUDA_ERROR_invalid_value
                : mock_launch(function, (unsigned[]){gx, gy, gz}, (unsigned[]){bx, by, bz}, shared,
                              parameters, stream);
}

int hipGraphCreate(void **graph, unsigned flags)
{
   ENTER;
   return flags ? CUDA_ERROR_invalid_value : mock_graph_create(graph);
}

int hipGraphDestroy(void *graph)
{
   ENTER;
   return mock_graph_destroy(graph);
}

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

int hipGraphInstantiate(void **exec, void *graph, void **error_node, char *log, size_t log_size)
{
   ENTER;
   (void)error_node;
   (void)log;
   (void)log_size;
   return mock_graph_make(graph, exec);
}

int hipGraphLaunch(void *exec, void *stream)
{
   ENTER;
   return mock_graph_launch(exec, stream);
}

int hipGraphExecDestroy(void *exec)
{
   ENTER;
   return mock_exec_destroy(exec);
}

int hipDrvGetErrorName(int error, const char **name)
{
   ENTER;
   *name = mock_error_name(error);
   return *name ? 0 : CUDA_ERROR_invalid_value;
}
