/* gpu_api.h - structs and numbers of the vendors' interfaces that the *_api.def rows speak of. */
#ifndef RT_GPU_API_H
#define RT_GPU_API_H

#include <stddef.h>
#include <stdint.h>

/* CUDA_KERNEL_NODE_PARAMS_v2; older drivers read its first fields. */
struct cuda_node {
   void *function;
   unsigned gx, gy, gz, bx, by, bz, shared;
   void **parameters, **extra;
   void *kernel, *context;
};

/* hipKernelNodeParams. */
struct hip_node {
   unsigned bx, by, bz;
   void **extra;
   void *function;
   unsigned gx, gy, gz;
   void **parameters;
   unsigned shared;
};

/* CUmemAllocationProp, hipMemAllocationProp. */
struct gpu_piece {
   int type, handles, place, device;
   void *windows;
   unsigned char compression, direct;
   unsigned short usage;
   unsigned char reserved[4];
};

/* CUmemAccessDesc, hipMemAccessDesc. */
struct gpu_access {
   int place, device, flags;
};

/* CUlaunchAttributeValue, hipLaunchAttributeValue: one of them, in 64 bytes. */
struct gpu_attribute {
   int priority; /* lower numbers go first */
   unsigned char rest[60];
};

/* The id of that attribute; that a graph's nodes run by theirs. */
enum { GPU_ATTRIBUTE_priority = 8, GPU_MAKE_by_priority = 8 };

enum { GPU_PIECE_pinned = 1, GPU_PLACE_device = 1, GPU_ACCESS_both = 3, GPU_GRANULARITY_least = 0 };

enum {
   CUDA_ERROR_invalid_value = 1,
   CUDA_ERROR_out_of_memory = 2,
   CUDA_ERROR_stub_library = 34,
   CUDA_ERROR_no_device = 100,
   CUDA_ERROR_invalid_context = 201,
   CUDA_ERROR_invalid_handle = 400,
   CUDA_ERROR_not_found = 500,
   CUDA_ERROR_not_ready = 600,
   CUDA_ERROR_illegal_address = 700,
   CUDA_ERROR_not_supported = 801,
   CUDA_ERROR_stream_capture_unsupported = 900,
   CUDA_ATTRIBUTE_major = 75,
   CUDA_ATTRIBUTE_minor = 76,
   CUDA_ATTRIBUTE_ranges = 102, /* CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED */
   HIP_COPY_in = 1,
   HIP_COPY_out = 2,
   HIP_COPY_within = 3,
};

#endif
