/* dev_cuda.c - NVIDIA's driver by dlopen. */
#include "gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/simt_abi.h"
#include "gpu_api.h"

typedef struct cuda_api {
#define CUDA(name, symbol, older, parameters) int(*name) parameters;
#include "cuda_api.def"
#undef CUDA
} cuda_api;

static const char *const names[][2] = {
#define CUDA(name, symbol, older, parameters) {#symbol, #older},
#include "cuda_api.def"
#undef CUDA
};

_Static_assert(sizeof(cuda_api) == countof(names) * sizeof(void *), "a pointer for every row");

struct rt_gpu {
   cuda_api api;
   void *library, *context, *stream;
   int device;
   char arch[16];
};

static sinter_status failed(const rt_gpu *g, int error, const char *what)
{
   const char *name = NULL;

   if (g->api.error_name)
      (void)g->api.error_name(error, &name);
   return base_fail(error == CUDA_ERROR_out_of_memory ? SINTER_out_of_memory : SINTER_failed,
                    "cuda",
                    error == CUDA_ERROR_out_of_memory
                       ? "use a smaller KV pool, or another GPU"
                       : "look at the driver's log (dmesg), or run with --device cpu",
                    "%s: %s (%d)", what, name ? name : "an error without a name", error);
}

#define CALL(what, call)                                                                           \
   do {                                                                                            \
      int error_ = g->api.call;                                                                    \
      if (error_)                                                                                  \
         return failed(g, error_, what);                                                           \
   } while (0)

static sinter_status no_device(int error)
{
   const char *remedy = "run with --device cpu, or on a machine with an NVIDIA GPU and its driver";

   if (error == CUDA_ERROR_stub_library)
      return base_fail(SINTER_no_device, "cuda", remedy,
                       "there is no GPU: libcuda.so is the toolkit's stub, not a driver");
   if (error == CUDA_ERROR_no_device || error == 0)
      return base_fail(SINTER_no_device, "cuda", remedy, "the driver is there, but sees no GPU");
   return base_fail(SINTER_no_device, "cuda", remedy, "the driver does not start: error %d", error);
}

/* sm_90 for a device of compute capability 9.0. */
static sinter_status find_arch(rt_gpu *g)
{
   int major = 0, minor = 0;

   CALL("the GPU's capability is not known",
        device_attribute(&major, CUDA_ATTRIBUTE_major, g->device));
   CALL("the GPU's capability is not known",
        device_attribute(&minor, CUDA_ATTRIBUTE_minor, g->device));
   snprintf(g->arch, sizeof g->arch, "sm_%d%d", major, minor);
   return SINTER_ok;
}

static sinter_status start(rt_gpu *g)
{
   int count = 0, error = g->api.init(0);

   if (!error)
      error = g->api.device_count(&count);
   if (error || !count)
      return no_device(error);
   CALL("the GPU cannot be opened", device_get(&g->device, 0));
   SINTER_TRY(find_arch(g));
   CALL("the GPU has no room for a context", context_retain(&g->context, g->device));
   CALL("the context cannot be used", context_set(g->context));
   CALL("no stream can be made", stream_create(&g->stream, 1));
   return SINTER_ok;
}

static void cuda_close(rt_gpu *g)
{
   if (g->stream)
      g->api.stream_destroy(g->stream);
   if (g->context)
      g->api.context_release(g->device);
   /* The library stays: drivers do not like to be opened twice. */
   free(g);
}

static sinter_status cuda_open(const char *library, rt_gpu **out)
{
   rt_gpu *g = calloc(1, sizeof *g);

   *out = NULL;
   if (!g)
      return base_fail(SINTER_out_of_memory, "cuda", "", "no memory for the device");
   sinter_status status = rt_gpu_library(library ? library : "libcuda.so.1", "NVIDIA", names,
                                         countof(names), (void **)&g->api, &g->library);
   if (status == SINTER_ok)
      status = start(g);
   if (status != SINTER_ok) {
      cuda_close(g);
      return status;
   }
   *out = g;
   return SINTER_ok;
}

static sinter_status cuda_enter(rt_gpu *g)
{
   CALL("the context cannot be used", context_set(g->context));
   return SINTER_ok;
}

static const char *cuda_arch(const rt_gpu *g)
{
   return g->arch;
}

static sinter_status cuda_alloc(rt_gpu *g, size_t size, uint64_t *out)
{
   CALL("memory cannot be taken", memory_alloc(out, size));
   return SINTER_ok;
}

static void cuda_release(rt_gpu *g, uint64_t address)
{
   g->api.memory_free(address);
}

static sinter_status cuda_host_alloc(rt_gpu *g, size_t size, void **out)
{
   CALL("memory of the host cannot be pinned", host_alloc(out, size, 0));
   return SINTER_ok;
}

static void cuda_host_release(rt_gpu *g, void *memory)
{
   g->api.host_free(memory);
}

static sinter_status cuda_load(rt_gpu *g, const void *image, void **out_module)
{
   CALL("the artifact's kernels cannot be loaded", module_load(out_module, image));
   return SINTER_ok;
}

static void cuda_unload(rt_gpu *g, void *module)
{
   g->api.module_unload(module);
}

static sinter_status cuda_find(rt_gpu *g, void *module, const char *name, void **out)
{
   CALL("a kernel is missing", function(out, module, name));
   return SINTER_ok;
}

static sinter_status cuda_copy_in(rt_gpu *g, uint64_t to, const void *from, size_t size)
{
   CALL("data cannot be copied to the GPU", copy_in(to, from, size, g->stream));
   return SINTER_ok;
}

static sinter_status cuda_copy_out(rt_gpu *g, void *to, uint64_t from, size_t size)
{
   CALL("data cannot be copied from the GPU", copy_out(to, from, size, g->stream));
   return SINTER_ok;
}

static sinter_status cuda_copy(rt_gpu *g, uint64_t to, uint64_t from, size_t size)
{
   CALL("data cannot be copied on the GPU", copy(to, from, size, g->stream));
   return SINTER_ok;
}

static sinter_status cuda_fill(rt_gpu *g, uint64_t to, uint8_t byte, size_t size)
{
   CALL("memory of the GPU cannot be filled", fill(to, byte, size, g->stream));
   return SINTER_ok;
}

static sinter_status cuda_launch(rt_gpu *g, void *kernel, uint32_t grid, void *args)
{
   void *parameters[] = {args};

   CALL("a kernel cannot be launched",
        launch(kernel, grid, 1, 1, SIMT_THREADS, 1, 1, 0, g->stream, parameters, NULL));
   return SINTER_ok;
}

static sinter_status cuda_wait(rt_gpu *g)
{
   CALL("the step failed", stream_wait(g->stream));
   return SINTER_ok;
}

static sinter_status cuda_graph_create(rt_gpu *g, void **out_graph)
{
   CALL("no graph can be made", graph_create(out_graph, 0));
   return SINTER_ok;
}

static sinter_status cuda_graph_add(rt_gpu *g, void *graph, void *const *after, size_t num_after,
                                    void *kernel, uint32_t grid, void *args, void **out_node)
{
   void *parameters[] = {args};
   const struct cuda_node node = {.function = kernel,
                                  .gx = grid,
                                  .gy = 1,
                                  .gz = 1,
                                  .bx = SIMT_THREADS,
                                  .by = 1,
                                  .bz = 1,
                                  .parameters = parameters};

   CALL("a graph does not take a kernel", graph_add(out_node, graph, after, num_after, &node));
   return SINTER_ok;
}

static void cuda_graph_drop(rt_gpu *g, void *graph)
{
   g->api.graph_destroy(graph);
}

static sinter_status cuda_graph_make(rt_gpu *g, void *graph, void **out_exec)
{
   int error = g->api.graph_make(out_exec, graph, 0);

   cuda_graph_drop(g, graph);
   return error ? failed(g, error, "a graph cannot be made ready") : SINTER_ok;
}

static sinter_status cuda_graph_launch(rt_gpu *g, void *exec)
{
   CALL("a graph cannot be launched", graph_launch(exec, g->stream));
   return SINTER_ok;
}

static void cuda_exec_destroy(rt_gpu *g, void *exec)
{
   g->api.exec_destroy(exec);
}

#define OP(name) .name = cuda_##name
const rt_gpu_ops rt_cuda_ops = {
   .vendor = "cuda",
   OP(open),
   OP(close),
   OP(enter),
   OP(arch),
   OP(alloc),
   OP(release),
   OP(host_alloc),
   OP(host_release),
   OP(load),
   OP(unload),
   OP(find),
   OP(copy_in),
   OP(copy_out),
   OP(copy),
   OP(fill),
   OP(launch),
   OP(wait),
   OP(graph_create),
   OP(graph_add),
   OP(graph_make),
   OP(graph_drop),
   OP(graph_launch),
   OP(exec_destroy),
};
