/* gpu.h - what a vendor's driver does for a GPU device: one shape for CUDA and HIP.
 *
 *    dev_gpu.c   memory, uploads, steps, graphs from the plan
 *       └ rt_gpu_ops ─ dev_cuda.c, over cuda_api.def ─ libcuda.so.1 or the mock
 *                    └ dev_hip.c, over hip_api.def  ─ libamdhip64.so or the mock
 *
 * Work goes to one stream, in order. Addresses are the device's. */
#ifndef RT_GPU_H
#define RT_GPU_H

#include "device.h"

typedef struct rt_gpu rt_gpu;

typedef struct rt_gpu_ops {
   const char *vendor; /* of targets: "cuda", "hip" */
   /* Opens the driver (library NULL: the system's) and its first device. Errors NO_DEVICE with the
    * cause. */
   SINTER_CHECKED sinter_status (*open)(const char *library, rt_gpu **out);
   void (*close)(rt_gpu *g);
   /* Before calls from a thread that may be another one than the last caller's. */
   SINTER_CHECKED sinter_status (*enter)(rt_gpu *g);
   /* The target architecture of the device, as in archs.def but for suffixes: "sm_90", "gfx90a". */
   const char *(*arch)(const rt_gpu *g);
   SINTER_CHECKED sinter_status (*alloc)(rt_gpu *g, size_t size, uint64_t *out);
   void (*release)(rt_gpu *g, uint64_t address);
   /* Bytes of the device that nobody has. */
   SINTER_CHECKED sinter_status (*memory_left)(rt_gpu *g, uint64_t *out);
   /* Ranges of addresses, and memory behind pieces of them. Pieces are multiples of so many bytes;
    * 0: the device has no such ranges. */
   SINTER_CHECKED sinter_status (*granularity)(rt_gpu *g, size_t *out);
   SINTER_CHECKED sinter_status (*reserve)(rt_gpu *g, size_t size, uint64_t *out);
   void (*unreserve)(rt_gpu *g, uint64_t address, size_t size);
   /* An error leaves nothing behind. */
   SINTER_CHECKED sinter_status (*map)(rt_gpu *g, uint64_t address, size_t size);
   void (*unmap)(rt_gpu *g, uint64_t address, size_t size); /* one piece as it was mapped */
   /* Memory of the host that the device can read while the host goes on. */
   SINTER_CHECKED sinter_status (*host_alloc)(rt_gpu *g, size_t size, void **out);
   void (*host_release)(rt_gpu *g, void *memory);
   SINTER_CHECKED sinter_status (*load)(rt_gpu *g, const void *image, void **out_module);
   void (*unload)(rt_gpu *g, void *module);
   SINTER_CHECKED sinter_status (*find)(rt_gpu *g, void *module, const char *name, void **out);
   SINTER_CHECKED sinter_status (*copy_in)(rt_gpu *g, uint64_t to, const void *from, size_t size);
   SINTER_CHECKED sinter_status (*copy_out)(rt_gpu *g, void *to, uint64_t from, size_t size);
   SINTER_CHECKED sinter_status (*copy)(rt_gpu *g, uint64_t to, uint64_t from, size_t size);
   SINTER_CHECKED sinter_status (*fill)(rt_gpu *g, uint64_t to, uint8_t byte, size_t size);
   SINTER_CHECKED sinter_status (*launch)(rt_gpu *g, void *kernel, uint32_t grid, void *args);
   SINTER_CHECKED sinter_status (*wait)(rt_gpu *g);
   /* Marks on the stream, which the device's clock is read at. Once both were waited for: the
    * seconds between. */
   SINTER_CHECKED sinter_status (*event_create)(rt_gpu *g, void **out_event);
   SINTER_CHECKED sinter_status (*event_record)(rt_gpu *g, void *event);
   SINTER_CHECKED sinter_status (*event_elapsed)(rt_gpu *g, void *from, void *to, double *seconds);
   void (*event_destroy)(rt_gpu *g, void *event);
   /* Graphs are built node by node; args are copied when the node is added. */
   SINTER_CHECKED sinter_status (*graph_create)(rt_gpu *g, void **out_graph);
   SINTER_CHECKED sinter_status (*graph_add)(rt_gpu *g, void *graph, void *const *after,
                                             size_t num_after, void *kernel, uint32_t grid,
                                             void *args, void **out_node);
   /* Blocks of the node go before those of other work that waits for the device, where its driver
    * can. */
   SINTER_CHECKED sinter_status (*graph_prefer)(rt_gpu *g, void *node);
   /* Makes it ready to run; the graph itself stays. */
   SINTER_CHECKED sinter_status (*graph_make)(rt_gpu *g, void *graph, void **out_exec);
   void (*graph_drop)(rt_gpu *g, void *graph);
   /* Whether nodes of what was made can be left out of later launches, and put in again; the graph
    * must still be there. */
   bool (*can_switch)(const rt_gpu *g);
   SINTER_CHECKED sinter_status (*graph_switch)(rt_gpu *g, void *exec, void *node, bool on);
   SINTER_CHECKED sinter_status (*graph_launch)(rt_gpu *g, void *exec);
   void (*exec_destroy)(rt_gpu *g, void *exec);
} rt_gpu_ops;

extern const rt_gpu_ops rt_cuda_ops, rt_hip_ops;

/* Opens a driver library and looks up `count` symbols into table; names[i][1] is taken when
 * names[i][0] is not there; RT_GPU_MAY_LACK: NULL is. Errors NO_DEVICE. */
#define RT_GPU_MAY_LACK "-"
SINTER_CHECKED sinter_status rt_gpu_library(const char *file, const char *vendor,
                                            const char *const (*names)[2], size_t count,
                                            void **table, void **out_library);

/* Whether a device ("sm_90") runs code for an architecture of archs.def: its own ("sm_90",
 * "sm_90a"), or one of the same family that is older ("sm_80" on "sm_86"), or PTX ("compute_80"),
 * which its driver compiles. */
bool rt_gpu_runs(const char *device, const char *arch);

/* The target for a device without --target: "cuda:sm_90a" for this machine's GPU. Errors
 * NO_DEVICE. */
SINTER_CHECKED sinter_status rt_gpu_target(const rt_gpu_ops *ops, char *out, size_t cap);

#endif
