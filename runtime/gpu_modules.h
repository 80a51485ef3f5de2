/* gpu_modules.h - the code section of a GPU's target as modules of its driver. */
#ifndef RT_GPU_MODULES_H
#define RT_GPU_MODULES_H

#include "artifact.h"
#include "gpu.h"

/* The module that has each kernel, by plan.kernels; a module of several kernels stands once for
 * each. */
typedef struct rt_gpu_modules {
   void **of;
   uint32_t count;
} rt_gpu_modules;

/* Loads every object once. Errors BAD_INPUT when a kernel has none, or it lies outside of the
 * section; those of the driver. What was loaded before an error is in out, too. */
SINTER_CHECKED sinter_status rt_gpu_modules_load(const rt_gpu_ops *ops, rt_gpu *gpu, const plan *p,
                                                 rt_bytes code, rt_gpu_modules *out);
void rt_gpu_modules_unload(const rt_gpu_ops *ops, rt_gpu *gpu, rt_gpu_modules *m);

#endif
