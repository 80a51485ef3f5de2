/* dev_hip.c - AMD's HIP library by dlopen. */
#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/simt_abi.h"
#include "gpu_api.h"

typedef struct hip_api {
#define HIP(name, symbol, parameters) int(*name) parameters;
#define HIP_MAY_LACK(name, symbol, parameters) int(*name) parameters;
#include "hip_api.def"
#undef HIP
#undef HIP_MAY_LACK
} hip_api;

static const char *const names[][2] = {
#define HIP(name, symbol, parameters) {#symbol, ""},
#define HIP_MAY_LACK(name, symbol, parameters) {#symbol, RT_GPU_MAY_LACK},
#include "hip_api.def"
#undef HIP
#undef HIP_MAY_LACK
};

_Static_assert(sizeof(hip_api) == countof(names) * sizeof(void *), "a pointer for every row");

struct rt_gpu {
   hip_api api;
   void *library, *stream;
   int urgent;
   bool prefers;
   char arch[16];
};

#define FN(name) hip_##name
#define VENDOR "hip"
#define OPS rt_hip_ops
#define LIBRARY "libamdhip64.so"
#define MAKER "AMD"
#define NODE struct hip_node
#define ORDINAL(g) 0

#include "gpu_calls.h"

/* gfx90a of the first GPU that the kernel driver shows: version 90010 is gfx9, 0, a. The library's
 * own properties have another layout in every release. */
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

/* Numbers of attributes differ from release to release: whoever has no ranges has no
 * granularity. */
static sinter_status hip_has_ranges(rt_gpu *g, bool *out)
{
   (void)g;
   *out = true;
   return SINTER_ok;
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

static sinter_status hip_enter(rt_gpu *g)
{
   CALL("the GPU cannot be used", device_set(0));
   return SINTER_ok;
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
