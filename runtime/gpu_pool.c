/* gpu_pool.c - memory behind the addresses of pages, piece by piece. */
#include "gpu_pool.h"

#include <stdlib.h>

/* Kernels may load whole vectors at the end of the last page. */
enum { BEHIND = 64 };

/* Gives back what a layer has from `from` on. */
static void unmap(rt_gpu_pool *p, uint32_t layer, uint64_t from, uint64_t to)
{
   for (; from < to; from += p->piece)
      p->ops->unmap(p->gpu, p->layers[layer] + from, p->piece);
}

static sinter_status map(rt_gpu_pool *p, uint32_t layer, uint64_t to)
{
   for (uint64_t at = p->mapped; at < to; at += p->piece) {
      sinter_status status = p->ops->map(p->gpu, p->layers[layer] + at, p->piece);
      if (status != SINTER_ok) {
         unmap(p, layer, p->mapped, at);
         return status;
      }
   }
   return SINTER_ok;
}

sinter_status rt_gpu_pool_grow(rt_gpu_pool *p, int64_t pages)
{
   if (pages <= rt_gpu_pool_usable(p))
      return SINTER_ok;
   uint64_t to = base_align((uint64_t)MIN(pages, p->pages) * p->page_bytes + BEHIND, p->piece);

   for (uint32_t l = 0; l < p->num_layers; l++) {
      sinter_status status = map(p, l, to);
      if (status == SINTER_ok)
         continue;
      while (l-- > 0)
         unmap(p, l, p->mapped, to);
      p->failures++;
      return status;
   }
   p->mapped = to;
   return SINTER_ok;
}

int64_t rt_gpu_pool_usable(const rt_gpu_pool *p)
{
   if (!p->piece)
      return p->pages;
   return p->mapped ? MIN((int64_t)((p->mapped - BEHIND) / p->page_bytes), p->pages) : 0;
}

static sinter_status take_layers(rt_gpu_pool *p, uint64_t bytes)
{
   p->range = base_align(bytes + BEHIND, p->piece ? p->piece : 256);
   for (uint32_t l = 0; l < p->num_layers; l++, p->num_reserved++)
      SINTER_TRY_IN("KV pool", p->piece ? p->ops->reserve(p->gpu, p->range, &p->layers[l])
                                        : p->ops->alloc(p->gpu, p->range, &p->layers[l]));
   return SINTER_ok;
}

sinter_status rt_gpu_pool_create(const rt_gpu_ops *ops, rt_gpu *gpu, uint64_t page_bytes,
                                 int64_t pages, uint32_t num_layers, rt_gpu_pool *p)
{
   uint64_t bytes;
   size_t granularity;

   *p = (rt_gpu_pool){
      .ops = ops, .gpu = gpu, .page_bytes = page_bytes, .pages = pages, .num_layers = num_layers};
   p->layers = calloc(num_layers, sizeof *p->layers);
   if (!p->layers || !base_mul(page_bytes, (uint64_t)pages, &bytes))
      return base_fail(SINTER_out_of_memory, "KV pool", "use a smaller KV pool",
                       "no memory for the pages of a cache group");
   SINTER_TRY(ops->granularity(gpu, &granularity));
   p->piece = granularity;
   SINTER_TRY(take_layers(p, bytes));
   return rt_gpu_pool_grow(p, 1);
}

void rt_gpu_pool_destroy(rt_gpu_pool *p)
{
   for (uint32_t l = 0; l < p->num_reserved; l++) {
      if (!p->piece) {
         p->ops->release(p->gpu, p->layers[l]);
         continue;
      }
      unmap(p, l, 0, p->mapped);
      p->ops->unreserve(p->gpu, p->layers[l], p->range);
   }
   free(p->layers);
   *p = (rt_gpu_pool){0};
}
