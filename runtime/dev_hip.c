/* dev_hip.c - AMD's HIP library by dlopen. */
#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/simt_abi.h"
#include "gpu_api.h"

typedef struct hip_api {
#define HIP(name, symbol, parameters) int(*name) parameters;
#include "hip_api.def"
#undef HIP
} hip_api;

static const char *const names[][2] = {
#define HIP(name, symbol, parameters) {#symbol, ""},
#include "hip_api.def"
#undef HIP
};

_Static_assert(sizeof(hip_api) == countof(names) * sizeof(void *), "a pointer for every row");

struct rt_gpu {
   hip_api api;
   void *library, *stream;
   char arch[16];
};

enum { OUT_OF_MEMORY = 2 };

static sinter_status failed(const rt_gpu *g, int error, const char *what)
{
   const char *name = NULL;

   (void)g->api.error_name(error, &name);
   return base_fail(error == OUT_OF_MEMORY ? SINTER_out_of_memory : SINTER_failed, "hip",
                    error == OUT_OF_MEMORY
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

/* gfx90a of the first GPU that the kernel driver shows: version 90010 is gfx9, 0, a. The library's own
 * properties have another layout in every release. */
static void find_arch(rt_gpu *g)
{
   char path[96], line[128];

   for (int node = 0; node < 16 && !g->arch[0]; node++) {
      unsigned version = 0;

      snprintf(path, sizeof path, "/sys/class/kfd/kfd/topology/nodes/%d/properties", node);
      FILE *f = fopen(path, "r");
      while (f && fgets(line, sizeof line, f))
         if (sscanf(line, "gfx_target_version %u", &version) == 1 && version)
            snprintf(g->arch, sizeof g->arch, "gfx%u%x%x", version / 10000, version / 100 % 100,
                     version % 100);
      if (f)
         fclose(f);
   }
}

static sinter_status start(rt_gpu *g)
{
   int count = 0, error = g->api.init(0);

   if (!error)
      error = g->api.device_count(&count);
   if (error || !count)
      return base_fail(SINTER_no_device, "hip",
                       "run with --device cpu, or on a machine with an AMD GPU and its driver",
                       "the HIP library is there, but sees no GPU (error %d)", error);
   CALL("the GPU cannot be opened", device_set(0));
   find_arch(g);
   CALL("no stream can be made", stream_create(&g->stream, 1));
   return SINTER_ok;
}

static void hip_close(rt_gpu *g)
{
   if (g->stream)
      g->api.stream_destroy(g->stream);
   free(g);
}

static sinter_status hip_open(const char *library, rt_gpu **out)
{
   rt_gpu *g = calloc(1, sizeof *g);

   *out = NULL;
   if (!g)
      return base_fail(SINTER_out_of_memory, "hip", "", "no memory for the device");
   sinter_status status = rt_gpu_library(library ? library : "libamdhip64.so", "AMD", names,
                                         countof(names), (void **)&g->api, &g->library);
   if (status == SINTER_ok)
      status = start(g);
   if (status != SINTER_ok) {
      hip_close(g);
      return status;
   }
   *out = g;
   return SINTER_ok;
}

static sinter_status hip_enter(rt_gpu *g)
{
   CALL("the GPU cannot be used", device_set(0));
   return SINTER_ok;
}

static const char *hip_arch(const rt_gpu *g)
{
   return g->arch;
}

static void *pointer(uint64_t address)
{
   return (void *)(uintptr_t)address;
}

static sinter_status hip_alloc(rt_gpu *g, size_t size, uint64_t *out)
{
   void *memory = NULL;

   CALL("memory cannot be taken", memory_alloc(&memory, size));
   *out = (uintptr_t)memory;
   return SINTER_ok;
}

static void hip_release(rt_gpu *g, uint64_t address)
{
   g->api.memory_free(pointer(address));
}

static sinter_status hip_host_alloc(rt_gpu *g, size_t size, void **out)
{
   CALL("memory of the host cannot be pinned", host_alloc(out, size, 0));
   return SINTER_ok;
}

static void hip_host_release(rt_gpu *g, void *memory)
{
   g->api.host_free(memory);
}

static sinter_status hip_load(rt_gpu *g, const void *image, void **out_module)
{
   CALL("the artifact's kernels cannot be loaded", module_load(out_module, image));
   return SINTER_ok;
}

static void hip_unload(rt_gpu *g, void *module)
{
   g->api.module_unload(module);
}

static sinter_status hip_find(rt_gpu *g, void *module, const char *name, void **out)
{
   CALL("a kernel is missing", function(out, module, name));
   return SINTER_ok;
}

static sinter_status hip_copy_in(rt_gpu *g, uint64_t to, const void *from, size_t size)
{
   CALL("data cannot be copied to the GPU", copy(pointer(to), from, size, HIP_COPY_in, g->stream));
   return SINTER_ok;
}

static sinter_status hip_copy_out(rt_gpu *g, void *to, uint64_t from, size_t size)
{
   CALL("data cannot be copied from the GPU",
        copy(to, pointer(from), size, HIP_COPY_out, g->stream));
   return SINTER_ok;
}

static sinter_status hip_copy(rt_gpu *g, uint64_t to, uint64_t from, size_t size)
{
   CALL("data cannot be copied on the GPU",
        copy(pointer(to), pointer(from), size, HIP_COPY_within, g->stream));
   return SINTER_ok;
}

static sinter_status hip_fill(rt_gpu *g, uint64_t to, uint8_t byte, size_t size)
{
   CALL("memory of the GPU cannot be filled", fill(pointer(to), byte, size, g->stream));
   return SINTER_ok;
}

static sinter_status hip_launch(rt_gpu *g, void *kernel, uint32_t grid, void *args)
{
   void *parameters[] = {args};

   CALL("a kernel cannot be launched",
        launch(kernel, grid, 1, 1, SIMT_THREADS, 1, 1, 0, g->stream, parameters, NULL));
   return SINTER_ok;
}

static sinter_status hip_wait(rt_gpu *g)
{
   CALL("the step failed", stream_wait(g->stream));
   return SINTER_ok;
}

static sinter_status hip_graph_create(rt_gpu *g, void **out_graph)
{
   CALL("no graph can be made", graph_create(out_graph, 0));
   return SINTER_ok;
}

/* The library takes a function of a module where it documents one of the host. */
static sinter_status hip_graph_add(rt_gpu *g, void *graph, void *const *after, size_t num_after,
                                   void *kernel, uint32_t grid, void *args, void **out_node)
{
   void *parameters[] = {args};
   const struct hip_node node = {.function = kernel,
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

static void hip_graph_drop(rt_gpu *g, void *graph)
{
   g->api.graph_destroy(graph);
}

static sinter_status hip_graph_make(rt_gpu *g, void *graph, void **out_exec)
{
   int error = g->api.graph_make(out_exec, graph, NULL, NULL, 0);

   hip_graph_drop(g, graph);
   return error ? failed(g, error, "a graph cannot be made ready") : SINTER_ok;
}

static sinter_status hip_graph_launch(rt_gpu *g, void *exec)
{
   CALL("a graph cannot be launched", graph_launch(exec, g->stream));
   return SINTER_ok;
}

static void hip_exec_destroy(rt_gpu *g, void *exec)
{
   g->api.exec_destroy(exec);
}

#define OP(name) .name = hip_##name
const rt_gpu_ops rt_hip_ops = {
   .vendor = "hip",
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
