// LINK: codegen base
/* GEMM kernels of every layout, run through LLVM's JIT linker, against f64. */
#include "gemm_case.h"
#include "kernels/cpu/embed.h"

enum { MAX_M = 130 };

/* ---- comparing ---- */

/* An upper bound of the rounding error of one output: every term passes through fewer than `steps`
 * roundings. */
static double tolerance(const weight *w, const input *in, uint64_t row, uint64_t n)
{
   double size = 0, steps = in->group ? 2.0 * (double)(w->k / in->group) + 6 : (double)w->k + 2;

   for (uint64_t k = 0; k < w->k; k++)
      size += fabs(in->exact[row * w->k + k]) * w->sizes[n * w->k + k];
   return size * steps * 0x1p-24 + 1e-30;
}

static const uint64_t row_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, MAX_M};

/* Kills: a wrong plane, scale, sum or min of any layout; lost rows, panels or columns; writes
 * outside of y; bits of a row that depend on how many rows there are. */
static void check_weight(sinter_kernel *kernel, const gemm_key *key, dtype t, uint64_t n,
                         uint64_t k)
{
   weight w = random_weight(t, n, k);
   input in = random_input(MAX_M, k, key->int8 ? pack_quant_group(t) : 0);
   float *y = malloc((MAX_M * n + 1) * sizeof *y), *one = malloc(MAX_M * n * sizeof *one);
   launch l;

   set_launch(&l, key, &w);
   uint32_t p = set_input(&l, &in, 0);
   l.args.ptr[p] = w.panels;
   for (uint64_t r = 0; r < MAX_M; r++) {
      set_input(&l, &in, r);
      l.args.ptr[0] = one + r * n;
      run_rows(&l, kernel, 1);
      for (uint64_t c = 0; c < n; c++) {
         double want = product(&w, &in, r, c), err = fabs(one[r * n + c] - want);
         cr_assert(err <= tolerance(&w, &in, r, c), "%s int8 %d [%d][%d] %g want %g",
                   dtype_infos[t].name, key->int8, (int)r, (int)c, one[r * n + c], want);
      }
   }
   set_input(&l, &in, 0);
   l.args.ptr[0] = y;
   for (size_t i = 0; i < countof(row_counts); i++) {
      uint64_t m = row_counts[i];
      memset(y, 0xaa, (MAX_M * n + 1) * sizeof *y);
      y[m * n] = 12345;
      run_rows(&l, kernel, m);
      cr_assert(memcmp(y, one, m * n * sizeof *y) == 0, "%s int8 %d: %d rows", dtype_infos[t].name,
                key->int8, (int)m);
      cr_assert(y[m * n] == 12345, "%s writes past the end", dtype_infos[t].name);
   }
   weight_free(&w);
   input_free(&in);
   free(y);
   free(one);
}

static void check_layout(dtype t, bool int8, const isa_info *isa)
{
   static const uint64_t ns[] = {16, 5, 49};
   /* One block; several; more than a tile of 256 columns and not a multiple of it. */
   const uint64_t unit = dtype_infos[t].block, ks[] = {unit, 2 * unit, unit == 32 ? 544 : 768};
   gemm_key key = {.w = pack_layout_of(t), .int8 = int8};
   vec_module *m = module_of(isa);
   LLVMOrcLLJITRef jit = jit_create();
   char symbol[GEMM_SYMBOL_MAX];
   bool block = dtype_infos[t].kind == DTYPE_BLOCK;

   cr_assert(gemm_unsupported(&key, 1024) == NULL);
   gemm_symbol(&key, symbol);
   gemm_emit(m, &key);
   sinter_kernel *kernel = jit_kernel(jit, m, symbol);
   for (size_t i = 0; i < countof(ns); i++)
      check_weight(kernel, &key, t, ns[i], block ? ks[i] : 37 + i);
   /* Short last blocks, behind none, one, and more than a tile of whole ones. */
   for (uint64_t k = 37; k < 700 && dtype_infos[t].kind == DTYPE_SCALED; k += 253)
      check_weight(kernel, &key, t, 21, k);
   LLVMOrcDisposeLLJIT(jit);
   vec_module_destroy(m);
}

static void check_layouts(bool int8, const isa_info *isa)
{
   for (int t = 0; t < DT_COUNT; t++)
      if (pack_layout_of((dtype)t) && (!int8 || pack_quant_group((dtype)t)))
         check_layout((dtype)t, int8, isa);
}

static void check_levels(bool int8)
{
   for (int level = 0; level < ISA_LEVEL_COUNT; level++)
      if (isa_runs((isa_level)level))
         check_layouts(int8, &isa_infos[level]);
}

Test(gemm, int8)
{
   check_levels(true);
}

Test(gemm, floats)
{
   check_levels(false);
}

/* Registers and instructions of wider levels, put together from what every machine has
 * (vec_bytes.c): the kernels' logic for them is executed, only the instructions are not. */
Test(gemm, wide_and_vnni)
{
   static const isa_info pretended[] = {
      {"wide", "x86-64-v3", "", 16, false, ISA_avx2},
      {"vnni", "x86-64-v3", "", 8, true, ISA_avx2},
      {"wide-vnni", "x86-64-v3", "", 16, true, ISA_avx2},
   };

#ifdef SANITIZED /* checks make the code of wide registers slow to compile */
   static const dtype types[] = {DT_q5_1, DT_iq4_xs};
#else
   static const dtype types[] = {DT_q5_1, DT_q8_0, DT_q2_k, DT_q4_k, DT_q6_k, DT_iq4_xs, DT_mxfp4};
#endif

   for (size_t i = 0; i < countof(pretended); i++)
      for (size_t t = 0; t < countof(types); t++) {
         check_layout(types[t], true, &pretended[i]);
         if (i == 0)
            check_layout(types[t], false, &pretended[i]);
      }
   check_layout(DT_f8_128, false, &pretended[0]);
}

/* ---- levels that this machine may not run ---- */

/* Kills: an intrinsic, a register width or a type that exists in one level only. Whether the code
 * of a level computes the right thing is checked only where it runs. */
Test(gemm, every_level_compiles)
{
   static const dtype types[] = {DT_q5_0, DT_q8_0, DT_q4_k, DT_iq4_xs, DT_mxfp4};
   static const gemm_key f8 = {.w = PANEL_f8_128};

   for (int level = 0; level < ISA_LEVEL_COUNT; level++) {
      vec_module *m = module_of(&isa_infos[level]);
      uint8_t *bytes;
      size_t size;
      for (size_t i = 0; i < countof(types); i++) {
         gemm_key key = {.w = pack_layout_of(types[i]), .int8 = true};
         embed_key embed = {key.w, 1};
         gemm_emit(m, &key);
         key.int8 = false;
         gemm_emit(m, &key);
         embed_emit(m, &embed);
      }
      gemm_emit(m, &f8);
      cr_assert(vec_module_object(m, &bytes, &size) == SINTER_ok, "%s: %s", isa_infos[level].name,
                sinter_error());
      if (!isa_runs((isa_level)level))
         cr_log_info("skip: %s cannot run here, compiled only", isa_infos[level].name);
      free(bytes);
      vec_module_destroy(m);
   }
}
