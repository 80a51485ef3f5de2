/* dev_cuda.c - NVIDIA's driver by dlopen. */
#include "gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/simt_abi.h"
#include "gpu_api.h"

typedef struct cuda_api {
#define CUDA(name, symbol, older, parameters) int(*name) parameters;
#define CUDA_MAY_LACK(name, symbol, parameters) int(*name) parameters;
#include "cuda_api.def"
#undef CUDA
#undef CUDA_MAY_LACK
} cuda_api;

static const char *const names[][2] = {
#define CUDA(name, symbol, older, parameters) {#symbol, #older},
#define CUDA_MAY_LACK(name, symbol, parameters) {#symbol, RT_GPU_MAY_LACK},
#include "cuda_api.def"
#undef CUDA
#undef CUDA_MAY_LACK
};

_Static_assert(sizeof(cuda_api) == countof(names) * sizeof(void *), "a pointer for every row");

struct rt_gpu {
   cuda_api api;
   void *library, *context, *stream;
   int device, urgent;
   bool prefers;
   char arch[16];
};

#define FN(name) cuda_##name
#define VENDOR "cuda"
#define OPS rt_cuda_ops
#define LIBRARY "libcuda.so.1"
#define MAKER "NVIDIA"
#define NODE struct cuda_node
#define ORDINAL(g) (g)->device

#include "gpu_calls.h"

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

static sinter_status cuda_has_ranges(rt_gpu *g, bool *out)
{
   int has = 0;

   CALL("the GPU's capability is not known",
        device_attribute(&has, CUDA_ATTRIBUTE_ranges, g->device));
   *out = has != 0;
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

static sinter_status cuda_enter(rt_gpu *g)
{
   CALL("the context cannot be used", context_set(g->context));
   return SINTER_ok;
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
