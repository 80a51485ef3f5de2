// LINK: codegen runtime sinter_mock
/* Pages of a cache group behind both drivers' ranges of addresses, on the mock. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/simt_abi.h"
#include "codegen/simt.h"
#include "mock/mock.h"
#include "runtime/gpu_pool.h"

#define OK(call) cr_assert(eq(int, (call), SINTER_ok), "%s", sinter_error())

enum { LAYERS = 3, PAGE_BYTES = 3000, PAGES = 40, PIECE = 8192 };

static const rt_gpu_ops *const drivers[] = {&rt_cuda_ops, &rt_hip_ops};

static rt_gpu *open_gpu(const rt_gpu_ops *ops)
{
   rt_gpu *gpu;

   mock_set_granularity(PIECE);
   OK(ops->open("libsinter_mock.so", &gpu));
   return gpu;
}

/* A graph of one kernel: page[0] = page[0] + 1. Built before the page has memory. */
static void *graph_over(const rt_gpu_ops *ops, rt_gpu *gpu, arena *a, uint64_t page)
{
   text_buf text = {.a = a};
   simt_args args = {.k.ptr[0] = (void *)(uintptr_t)page, .tiles = 1};
   const uint8_t *object;
   void *module, *kernel, *graph, *node, *exec;
   size_t size;

   const cg_machine host = {arch_find(ops == &rt_cuda_ops ? "sm_90a" : "gfx950"), false};
   OK(cg_simt_text(a, CG_HOST, host, "mock", NULL, 0, &text));
   text_printf(&text, "SIMT_KERNEL(more) { SIMT_BEGIN(a); if (simt_thread() == 0) ((float "
                      "*)a->ptr[0])[0] += 1; }\n");
   OK(cg_host_object(a, text.data, text.len, &object, &size));
   OK(ops->load(gpu, object, &module));
   OK(ops->find(gpu, module, "more", &kernel));
   OK(ops->graph_create(gpu, &graph));
   OK(ops->graph_add(gpu, graph, NULL, 0, kernel, 1, &args, &node));
   OK(ops->graph_make(gpu, graph, &exec));
   return exec;
}

/* Kills: addresses that move; what was written that is lost; a layer that does not grow; a page
 * that counts before all of it has memory; memory that stays; graphs that have to be built
 * again. */
Test(gpu_pool, grows_under_graphs)
{
   for (size_t i = 0; i < countof(drivers); i++) {
      const rt_gpu_ops *ops = drivers[i];
      rt_gpu *gpu = open_gpu(ops);
      uint64_t before = mock_memory(), layers[LAYERS];
      rt_gpu_pool p;
      arena *a;

      OK(arena_create(&a));
      OK(rt_gpu_pool_create(ops, gpu, PAGE_BYTES, PAGES, LAYERS, &p));
      cr_assert(rt_gpu_pool_usable(&p) == 2 && mock_memory() - before == LAYERS * PIECE);
      memcpy(layers, p.layers, sizeof layers);
      uint64_t page = layers[2] + 20 * PAGE_BYTES;
      void *exec = graph_over(ops, gpu, a, page);
      for (uint32_t l = 0; l < LAYERS; l++)
         OK(ops->fill(gpu, layers[l], 7, 2 * PAGE_BYTES));
      cr_assert(ne(int, ops->fill(gpu, page, 0, 4), SINTER_ok), "there is no memory yet");
      for (int64_t pages = 3; pages <= PAGES; pages++) {
         OK(rt_gpu_pool_grow(&p, pages));
         int64_t usable = rt_gpu_pool_usable(&p);
         cr_assert(usable >= pages && usable <= MIN(pages + 2, PAGES));
         for (uint32_t l = 0; l < LAYERS; l++)
            OK(ops->fill(gpu, layers[l] + 2 * PAGE_BYTES, 0, (uint64_t)(usable - 2) * PAGE_BYTES));
         cr_assert(eq(int, memcmp(layers, p.layers, sizeof layers), 0));
      }
      OK(rt_gpu_pool_grow(&p, 10 * PAGES));
      cr_assert(eq(i64, rt_gpu_pool_usable(&p), PAGES));
      float got = 0;
      uint8_t kept = 0;
      OK(ops->graph_launch(gpu, exec));
      OK(ops->graph_launch(gpu, exec));
      OK(ops->copy_out(gpu, &got, page, sizeof got));
      OK(ops->copy_out(gpu, &kept, layers[1] + 2 * PAGE_BYTES - 1, 1));
      OK(ops->wait(gpu));
      cr_assert(got == 2 && kept == 7);
      ops->exec_destroy(gpu, exec);
      rt_gpu_pool_destroy(&p);
      cr_assert(eq(u64, mock_memory(), before), "all is given back");
      ops->close(gpu);
      arena_destroy(a);
   }
}

static const char *const calls[][4] = {
   {"cuMemCreate", "cuMemMap", "cuMemSetAccess", "cuMemRelease"},
   {"hipMemCreate", "hipMemMap", "hipMemSetAccess", "hipMemRelease"},
};

/* Each call of a growth fails once, in each layer and piece: all is as it was, and the next try
 * succeeds. Kills: a layer that is ahead of the others; memory that nobody knows any more. */
Test(gpu_pool, failures_leave_it_as_it_was)
{
   for (size_t i = 0; i < countof(drivers); i++) {
      rt_gpu *gpu = open_gpu(drivers[i]);
      uint64_t before = mock_memory();
      rt_gpu_pool p;

      for (size_t k = 0; k < 3; k++)
         for (uint32_t n = 1; n <= 2 * LAYERS; n++) {
            OK(rt_gpu_pool_create(drivers[i], gpu, PAGE_BYTES, PAGES, LAYERS, &p));
            uint64_t mapped = p.mapped, memory = mock_memory();
            mock_fail(calls[i][k], n);
            sinter_status status = rt_gpu_pool_grow(&p, 6); /* two pieces a layer */
            cr_assert(ne(int, status, SINTER_ok), "%s %u", calls[i][k], n);
            cr_assert(p.mapped == mapped && mock_memory() == memory && p.failures == 1);
            OK(drivers[i]->fill(gpu, p.layers[0], 1, mapped));
            OK(drivers[i]->wait(gpu));
            cr_assert(ne(int, drivers[i]->fill(gpu, p.layers[0] + mapped, 1, 1), SINTER_ok));
            OK(rt_gpu_pool_grow(&p, 6));
            rt_gpu_pool_destroy(&p);
            cr_assert(eq(u64, mock_memory(), before), "%s %u: all is given back", calls[i][k], n);
         }
      drivers[i]->close(gpu);
   }
}

/* Opening fails the same way. Kills: a failure that is not passed on. */
Test(gpu_pool, failures_of_opening)
{
   static const char *const opening[][5] = {{"cuMemGetAllocationGranularity", "cuMemAddressReserve",
                                             "cuMemCreate", "cuMemMap", "cuMemSetAccess"},
                                            {"hipMemGetAllocationGranularity",
                                             "hipMemAddressReserve", "hipMemCreate", "hipMemMap",
                                             "hipMemSetAccess"}};

   for (size_t i = 0; i < countof(drivers); i++) {
      rt_gpu *gpu = open_gpu(drivers[i]);
      uint64_t before = mock_memory();
      rt_gpu_pool p;

      for (size_t k = 0; k < 5; k++)
         for (uint32_t n = 1; n <= (k ? LAYERS : 1); n++) {
            mock_fail(opening[i][k], n);
            cr_assert(ne(int, rt_gpu_pool_create(drivers[i], gpu, PAGE_BYTES, PAGES, LAYERS, &p),
                         SINTER_ok),
                      "%s %u", opening[i][k], n);
            rt_gpu_pool_destroy(&p);
            cr_assert(eq(u64, mock_memory(), before), "%s %u", opening[i][k], n);
         }
      drivers[i]->close(gpu);
   }
}

/* Kills: a pool that is half there. */
Test(gpu_pool, without_ranges_it_is_one_piece)
{
   for (size_t i = 0; i < countof(drivers); i++) {
      rt_gpu *gpu = open_gpu(drivers[i]);
      uint64_t before = mock_memory();
      rt_gpu_pool p;

      mock_set_granularity(0);
      OK(rt_gpu_pool_create(drivers[i], gpu, PAGE_BYTES, PAGES, LAYERS, &p));
      cr_assert(rt_gpu_pool_usable(&p) == PAGES &&
                mock_memory() - before >= LAYERS * PAGES * PAGE_BYTES);
      OK(rt_gpu_pool_grow(&p, PAGES));
      OK(drivers[i]->fill(gpu, p.layers[2], 0, PAGES * PAGE_BYTES));
      OK(drivers[i]->wait(gpu));
      rt_gpu_pool_destroy(&p);
      cr_assert(eq(u64, mock_memory(), before));
      drivers[i]->close(gpu);
   }
}
