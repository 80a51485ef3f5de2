/* gpu_modules.c - a row for each kernel of the plan says where its object lies
 * (base/simt_abi.h). */
#include "gpu_modules.h"

#include <stdlib.h>

#include "base/simt_abi.h"

/* The kernel before k that has the same object; k: none. */
static uint32_t first_with(const simt_code_row *rows, uint32_t k)
{
   uint32_t i = 0;

   while (i < k && rows[i].offset != rows[k].offset)
      i++;
   return i;
}

static bool is_inside(const simt_code_row *row, size_t size)
{
   return row->size && row->offset % 8 == 0 && row->offset < size &&
          row->size <= size - row->offset;
}

static sinter_status load(const rt_gpu_ops *ops, rt_gpu *gpu, const plan *p, rt_bytes code,
                          rt_gpu_modules *out)
{
   const simt_code_row *rows = (const void *)code.data;

   for (uint32_t k = 0; k < p->num_kernels; k++) {
      if (code.size / sizeof *rows < p->num_kernels || !is_inside(&rows[k], code.size))
         return base_fail(SINTER_bad_input, p->kernels[k].symbol, "compile the model again",
                          "the artifact has no code of the kernel");
      uint32_t first = first_with(rows, k);
      if (first < k)
         out->of[k] = out->of[first];
      else
         SINTER_TRY_IN(p->kernels[k].symbol,
                       ops->load(gpu, code.data + rows[k].offset, &out->of[k]));
      out->count = k + 1;
   }
   return SINTER_ok;
}

sinter_status rt_gpu_modules_load(const rt_gpu_ops *ops, rt_gpu *gpu, const plan *p, rt_bytes code,
                                  rt_gpu_modules *out)
{
   *out = (rt_gpu_modules){.of = calloc(MAX(p->num_kernels, 1u), sizeof *out->of)};
   if (!out->of)
      return base_fail(SINTER_out_of_memory, "kernels", "", "no memory for their modules");
   return load(ops, gpu, p, code, out);
}

static bool is_known(const rt_gpu_modules *m, uint32_t k)
{
   for (uint32_t i = 0; i < k; i++)
      if (m->of[i] == m->of[k])
         return true;
   return false;
}

void rt_gpu_modules_unload(const rt_gpu_ops *ops, rt_gpu *gpu, rt_gpu_modules *m)
{
   for (uint32_t k = 0; k < m->count; k++)
      if (!is_known(m, k))
         ops->unload(gpu, m->of[k]);
   free(m->of);
   *m = (rt_gpu_modules){0};
}
