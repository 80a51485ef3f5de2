// LINK: codegen base
/* Rows gathered from panels of every layout equal the dequantised rows. */
#include "gemm_case.h"

#include "kernels/cpu/embed.h"

/* Kills: any wrong code, scale or min of a gathered row; reading outside of the table; features of
 * another row. */
static void check_embed(dtype t, float scale, bool features)
{
   enum { ROWS = 37 };
   static const int32_t ids[] = {0, 36, 17, 15, 16, 31, -1, 37, -3};
   uint64_t k = dtype_infos[t].block == 1 ? 21 : 2 * dtype_infos[t].block;
   weight w = random_weight(t, ROWS, k);
   embed_key key = {w.layout, scale, features};
   vec_module *m = module_of(&isa_infos[isa_best()]);
   LLVMOrcLLJITRef jit = jit_create();
   char symbol[GEMM_SYMBOL_MAX];
   plan_launch l = {0};
   float *y = malloc(countof(ids) * k * sizeof *y);
   float *rows = malloc(3 * k * sizeof *rows);
   sinter_kargs args = {.ptr = {y, (void *)ids, w.panels, rows}};

   for (uint64_t i = 0; i < 3 * k; i++)
      rows[i] = (float)i / 8 - 3;
   cr_assert(embed_unsupported(&key, k) == NULL);
   embed_symbol(&key, symbol);
   embed_emit(m, &key);
   embed_launch(&key, (gemm_rows){.num = countof(ids)}, ROWS, k, &l);
   memcpy(args.konst, l.consts, sizeof args.konst);
   run(jit_kernel(jit, m, symbol), &args, plan_extent_eval(&l.tiles, NULL));
   for (uint64_t i = 0; i < countof(ids) * k; i++) {
      int32_t id = ids[i / k] < 0 || ids[i / k] >= ROWS ? 0 : ids[i / k];
      float want = w.values[(uint64_t)id * k + i % k] * scale;
      if (features && ids[i / k] < 0)
         want = rows[(uint64_t)(-1 - ids[i / k]) * k + i % k] * scale;
      cr_assert(y[i] == want, "%s row %d [%d] %g want %g", dtype_infos[t].name, id, (int)(i % k),
                y[i], want);
   }
   LLVMOrcDisposeLLJIT(jit);
   vec_module_destroy(m);
   weight_free(&w);
   free(rows);
   free(y);
}

Test(embed, every_layout)
{
   for (int t = 0; t < DT_COUNT; t++) {
      panel_layout layout = pack_layout_of((dtype)t);

      if (panel_infos[layout].kind == PANEL_KIND_SCALED) { /* no checkpoint has such an embedding */
         cr_assert(embed_unsupported(&(embed_key){layout, 1, false}, 256) != NULL);
      } else if (layout) {
         check_embed((dtype)t, 1, false);
         check_embed((dtype)t, 25.5f, false);
         check_embed((dtype)t, 0.5f, true);
      }
   }
}

#ifdef CONFORM_SANITIZED
/* Kills: a debug mode that adds no checks to generated code. The sanitizer ends the process with 1.
 */
Test(embed, sanitized_code_finds_overruns, .exit_code = 1)
{
   int32_t id = 0;
   weight w = random_weight(DT_q4_1, 16, 64);
   embed_key key = {w.layout, 1, false};
   vec_module *m = module_of(&isa_infos[isa_best()]);
   char symbol[GEMM_SYMBOL_MAX];
   plan_launch l = {0};
   sinter_kargs args = {.ptr = {malloc(63 * sizeof(float)), &id, w.panels}};

   embed_symbol(&key, symbol);
   embed_emit(m, &key);
   embed_launch(&key, (gemm_rows){.num = 1}, 16, 64, &l);
   memcpy(args.konst, l.consts, sizeof args.konst);
   run(jit_kernel(jit_create(), m, symbol), &args, 1);
}
#endif
