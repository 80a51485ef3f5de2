// LINK: codegen runtime sinter_mock
/* Objects of a code section as modules, on the mock. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/simt_abi.h"
#include "codegen/simt.h"
#include "mock/mock.h"
#include "runtime/gpu_modules.h"

#define OK(call) cr_assert(eq(int, (call), SINTER_ok), "%s", sinter_error())

enum { KERNELS = 3, OBJECT_AT = 64 };

static plan_kernel names[KERNELS] = {{"one", "test"}, {"two", "test"}, {"other", "test"}};

typedef struct section {
   arena *a;
   uint8_t *bytes;
   size_t size, object_size;
   simt_code_row *rows;
} section;

static size_t object_of(arena *a, const char *kernels, const uint8_t **out)
{
   text_buf text = {.a = a};
   size_t size;

   OK(cg_simt_text(a, CG_HOST, (cg_machine){arch_find("sm_90a"), false}, "mock", NULL, 0, &text));
   text_printf(&text, "%s", kernels);
   OK(cg_host_object(a, text.data, text.len, out, &size));
   return size;
}

/* Two objects: the first has two kernels. */
static section build(void)
{
   section s = {0};
   const uint8_t *first, *second;

   OK(arena_create(&s.a));
   s.object_size = object_of(
      s.a, "SIMT_KERNEL(one) { SIMT_BEGIN(a); }\nSIMT_KERNEL(two) { SIMT_BEGIN(a); }\n", &first);
   size_t second_size = object_of(s.a, "SIMT_KERNEL(other) { SIMT_BEGIN(a); }\n", &second);
   size_t second_at = base_align(OBJECT_AT + s.object_size, 64);
   s.size = second_at + second_size;
   s.bytes = arena_alloc(s.a, s.size);
   s.rows = (simt_code_row *)(void *)s.bytes;
   s.rows[0] = s.rows[1] = (simt_code_row){OBJECT_AT, s.object_size};
   s.rows[2] = (simt_code_row){second_at, second_size};
   memcpy(s.bytes + OBJECT_AT, first, s.object_size);
   memcpy(s.bytes + second_at, second, second_size);
   return s;
}

static sinter_status load(rt_gpu *gpu, const section *s, size_t size, rt_gpu_modules *out)
{
   const plan p = {.num_kernels = KERNELS, .kernels = names};

   return rt_gpu_modules_load(&rt_cuda_ops, gpu, &p, (rt_bytes){s->bytes, size}, out);
}

/* Kills: an object that is loaded for each of its kernels, or given back for each; a kernel of
 * another object. */
Test(gpu_modules, an_object_is_loaded_once)
{
   section s = build();
   uint32_t loads = mock_calls("cuModuleLoadData"), unloads = mock_calls("cuModuleUnload");
   rt_gpu_modules m;
   rt_gpu *gpu;
   void *kernel;

   OK(rt_cuda_ops.open("libsinter_mock.so", &gpu));
   OK(load(gpu, &s, s.size, &m));
   cr_assert(eq(u32, mock_calls("cuModuleLoadData") - loads, 2));
   for (uint32_t k = 0; k < KERNELS; k++)
      OK(rt_cuda_ops.find(gpu, m.of[k], names[k].symbol, &kernel));
   rt_gpu_modules_unload(&rt_cuda_ops, gpu, &m);
   cr_assert(eq(u32, mock_calls("cuModuleUnload") - unloads, 2));
   rt_cuda_ops.close(gpu);
   arena_destroy(s.a);
}

/* Kills: a row that is believed; a section shorter than its rows; modules that stay after a
 * failure. */
Test(gpu_modules, rows_are_checked)
{
   static const simt_code_row wrong[] = {{OBJECT_AT, 0},
                                         {OBJECT_AT + 1, 8},
                                         {1 << 30, 8},
                                         {OBJECT_AT, UINT64_MAX},
                                         {UINT64_MAX - 7, 16}};
   section s = build();
   rt_gpu_modules m;
   rt_gpu *gpu;

   OK(rt_cuda_ops.open("libsinter_mock.so", &gpu));
   for (size_t i = 0; i < countof(wrong); i++) {
      uint32_t loads = mock_calls("cuModuleLoadData"), unloads = mock_calls("cuModuleUnload");
      s.rows[2] = wrong[i];
      cr_assert(eq(int, load(gpu, &s, s.size, &m), SINTER_bad_input));
      cr_assert(strstr(sinter_error(), "other") != NULL, "%s", sinter_error());
      rt_gpu_modules_unload(&rt_cuda_ops, gpu, &m);
      cr_assert(
         eq(u32, mock_calls("cuModuleLoadData") - loads, mock_calls("cuModuleUnload") - unloads));
   }
   cr_assert(eq(int, load(gpu, &s, KERNELS * sizeof(simt_code_row) - 1, &m), SINTER_bad_input));
   rt_gpu_modules_unload(&rt_cuda_ops, gpu, &m);
   rt_cuda_ops.close(gpu);
   arena_destroy(s.a);
}
