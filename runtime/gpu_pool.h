/* gpu_pool.h - pages of a cache group on a GPU: an address range a layer, with memory behind its
 * beginning.
 *
 *    layer 0   [ mapped ────────── usable pages ──┊┄┄┄┄┄┄┄┄┄ reserved ┄┄┄┄┄┄┄┄┄]
 *    layer 1   [ mapped ──────────────────────────┊┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄]
 *
 * Addresses never change, so graphs may hold those of pages that have no memory yet. All layers
 * have as much of it as each other. Devices without ranges of addresses take all of it at once. */
#ifndef RT_GPU_POOL_H
#define RT_GPU_POOL_H

#include "gpu.h"

typedef struct rt_gpu_pool {
   const rt_gpu_ops *ops;
   rt_gpu *gpu;
   uint64_t page_bytes;
   uint64_t piece;  /* bytes that are mapped at a time; 0: each layer is one piece of memory */
   uint64_t range;  /* bytes reserved a layer */
   uint64_t mapped; /* bytes of each layer, a multiple of piece */
   int64_t pages;   /* most */
   uint32_t num_layers, num_reserved;
   uint64_t *layers; /* addresses */
   uint64_t failures;
} rt_gpu_pool;

/* Reserves the addresses, and takes memory for the first page at least. Errors OUT_OF_MEMORY, those
 * of the driver; then *p can be destroyed. */
SINTER_CHECKED sinter_status rt_gpu_pool_create(const rt_gpu_ops *ops, rt_gpu *gpu,
                                                uint64_t page_bytes, int64_t pages,
                                                uint32_t num_layers, rt_gpu_pool *p);
void rt_gpu_pool_destroy(rt_gpu_pool *p);

/* Takes memory until so many pages are usable. Errors OUT_OF_MEMORY, those of the driver: then all
 * is as it was. */
SINTER_CHECKED sinter_status rt_gpu_pool_grow(rt_gpu_pool *p, int64_t pages);

int64_t rt_gpu_pool_usable(const rt_gpu_pool *p);

#endif
