// LINK: codegen base
/* The vector builder by itself: functions of one variable against libm, conversions, loops, tails.
 */
#include "base/isa.h"
#include "codegen/vec.h"

#include <criterion/criterion.h>
#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <math.h>
#include <stdlib.h>

static sinter_kernel *finish(vec_module *m, const char *symbol)
{
   LLVMOrcLLJITRef jit;
   LLVMOrcExecutorAddress at;
   uint8_t *bytes;
   size_t size;

   LLVMInitializeX86TargetInfo();
   LLVMInitializeX86Target();
   LLVMInitializeX86TargetMC();
   LLVMInitializeX86AsmPrinter();
   cr_assert(vec_module_object(m, &bytes, &size) == SINTER_ok, "%s", sinter_error());
   cr_assert(!LLVMOrcCreateLLJIT(&jit, NULL)); /* lives as long as the test's process */
   LLVMMemoryBufferRef copy =
      LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)bytes, size, symbol);
   free(bytes);
   cr_assert(!LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), copy));
   cr_assert(!LLVMOrcLLJITLookup(jit, &at, symbol));
   vec_module_destroy(m);
   return (sinter_kernel *)(uintptr_t)at;
}

static vec_module *module(void)
{
   vec_module *m;

   cr_assert(vec_module_create(&isa_infos[isa_best()], &m) == SINTER_ok);
   return m;
}

/* ---- functions of one variable ---- */

typedef vec_value unary(vec_fn *f, vec_value x);

/* dst[i] = op(src[i]) for konst[0] elements, a multiple of 16. */
static sinter_kernel *unary_kernel(unary *op)
{
   vec_module *m = module();
   vec_fn *f = vec_kernel(m, "unary");
   vec_value dst = vec_karg_ptr(f, 0), src = vec_karg_ptr(f, 1);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_karg_const(f, 0), vec_lanes(f), 0, NULL);
   vec_value at = vec_shl_i(f, l.i, 2);
   vec_value x = vec_load(f, VEC_f32, vec_lanes(f), vec_at(f, src, at), 4);

   vec_store(f, op(f, x), vec_at(f, dst, at), 4);
   vec_loop_end(f, &l, NULL);
   vec_end(f);
   return finish(m, "unary");
}

static double ref_gelu(double x)
{
   return x / 2 * erfc(-x / sqrt(2));
}

static double ref_gelu_tanh(double x)
{
   double u = 0.7978845608028654 * (x + 0.044715 * x * x * x);

   return x / (1 + exp(-2 * u));
}

static double ref_silu(double x)
{
   return x / (1 + exp(-x));
}

static double ref_softcap(double x)
{
   return 30 * tanh(x / 30);
}

static vec_value softcap30(vec_fn *f, vec_value x)
{
   return vec_softcap(f, x, 30);
}

/* Kills: a wrong coefficient, range reduction or branch point; loss of tiny or huge arguments. */
Test(vec, functions)
{
   static const struct {
      const char *name;
      unary *op;
      double (*ref)(double);
      double low, high, relative, absolute;
   } cases[] = {
      {"exp", vec_exp, exp, -86, 88.5, 3e-7, 0},
      {"tanh", vec_tanh, tanh, -12, 12, 3e-7, 0},
      {"erf", vec_erf, erf, -5, 5, 4e-7, 0},
      {"silu", vec_silu, ref_silu, -80, 80, 6e-6, 1e-36},
      {"gelu", vec_gelu, ref_gelu, -8, 8, 6e-7, 3e-6},
      {"gelu_tanh", vec_gelu_tanh, ref_gelu_tanh, -8, 8, 6e-6, 1e-12},
      {"softcap", softcap30, ref_softcap, -200, 200, 6e-7, 0},
   };
   enum { COUNT = 1 << 16 };
   float *x = malloc(COUNT * 4), *y = malloc(COUNT * 4);
   sinter_kargs args = {.ptr = {y, x}, .konst = {COUNT}};

   for (size_t c = 0; c < countof(cases); c++) {
      sinter_kernel *kernel = unary_kernel(cases[c].op);
      for (int i = 0; i < COUNT; i++) {
         double part = (double)i / COUNT, span = cases[c].high - cases[c].low;
         x[i] = (float)(i % 3 ? cases[c].low + part * span : (part - 0.5) * 1e-3);
      }
      kernel(&args, 0);
      for (int i = 0; i < COUNT; i++) {
         double want = cases[c].ref(x[i]);
         cr_assert(fabs(y[i] - want) <= cases[c].relative * fabs(want) + cases[c].absolute,
                   "%s(%g) = %.9g want %.9g", cases[c].name, x[i], y[i], want);
      }
   }
   free(x);
   free(y);
}

/* Kills: NaN turned into a number, infinite results where 0 is meant, or the reverse. */
Test(vec, exp_at_the_edges)
{
   float x[16] = {0, -0.0f, -87, -1000, -INFINITY, 89, 1000, INFINITY, NAN, 88.7f, 1e-30f};
   float y[16];
   sinter_kargs args = {.ptr = {y, x}, .konst = {16}};

   unary_kernel(vec_exp)(&args, 0);
   cr_assert(y[0] == 1 && y[1] == 1 && y[10] == 1);
   cr_assert(y[2] == 0 && y[3] == 0 && y[4] == 0);
   cr_assert(isinf(y[5]) && isinf(y[6]) && isinf(y[7]));
   cr_assert(isnan(y[8]));
   cr_assert(isfinite(y[9]) && fabs(y[9] / exp(88.7f) - 1) < 1e-6);
   unary_kernel(vec_silu)(&args, 0);
   cr_assert(y[3] == 0 && y[6] == 1000 && isnan(y[8]));
   unary_kernel(vec_tanh)(&args, 0);
   cr_assert(y[3] == -1 && y[7] == 1 && isnan(y[8]));
}

/* ---- memory ---- */

/* Copies konst[0] floats through type konst-independent t, by full registers and a tail. */
static sinter_kernel *convert_kernel(dtype t)
{
   vec_module *m = module();
   vec_fn *f = vec_kernel(m, "convert");
   uint32_t size = dtype_infos[t].bytes;
   vec_value dst = vec_karg_ptr(f, 0), mid = vec_karg_ptr(f, 1), src = vec_karg_ptr(f, 2);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_karg_const(f, 0), 8, 0, NULL);
   vec_value x = vec_load_f32(f, DT_f32, 8, vec_at(f, src, vec_shl_i(f, l.i, 2)));
   vec_value at = vec_at(f, mid, vec_mul_i(f, l.i, size));

   vec_store_f32(f, t, x, at);
   vec_store_f32(f, DT_f32, vec_load_f32(f, t, 8, at), vec_at(f, dst, vec_shl_i(f, l.i, 2)));
   vec_loop_end(f, &l, NULL);
   vec_end(f);
   return finish(m, "convert");
}

/* Kills: truncation instead of rounding to even; bf16 that carries into a NaN; a byte that becomes
 * NaN where it should be the largest number. */
Test(vec, stores_round_as_the_reference)
{
   static const dtype types[] = {DT_f32, DT_f16, DT_bf16, DT_f8e4m3, DT_f8e4m3fnuz};
   enum { COUNT = 4096 };
   static float x[COUNT], y[COUNT];
   static uint8_t mid[COUNT * 4], want[COUNT * 4];
   sinter_kargs args = {.ptr = {y, mid, x}, .konst = {COUNT}};

   for (uint32_t i = 0; i < COUNT; i++) {
      uint32_t bits = (0x3f800000u + i * 1021) ^ (i % 2 << 31);
      memcpy(&x[i], &bits, 4);
   }
   x[0] = NAN;
   x[1] = INFINITY;
   x[2] = 1e-7f;
   x[3] = -INFINITY;
   x[4] = -3e38f;
   for (size_t t = 0; t < countof(types); t++) {
      convert_kernel(types[t])(&args, 0);
      cr_assert(isnan(y[0]) && y[1] == -y[3] &&
                y[1] == (dtype_infos[types[t]].bytes > 1 ? INFINITY
                         : t == 3                        ? 448
                                                         : 240));
      for (uint32_t i = 1; i < COUNT; i++) {
         double v = x[i];
         dtype_store(types[t], want, &v, 1);
         cr_assert(
            memcmp(want, mid + i * dtype_infos[types[t]].bytes, dtype_infos[types[t]].bytes) == 0,
            "%s of %g", dtype_infos[types[t]].name, v);
         cr_assert(y[i] == (float)dtype_round(types[t], v));
      }
   }
}

/* Kills: a tail that reads or writes past its count. */
Test(vec, first_lanes)
{
   vec_module *m = module();
   vec_fn *f = vec_kernel(m, "tail");
   vec_value n = vec_karg_const(f, 0);
   vec_value v = vec_load_first(f, 8, vec_karg_ptr(f, 1), n);
   vec_store(f, v, vec_karg_ptr(f, 2), 4);
   vec_store_first(f, vec_fadd(f, v, vec_float(f, 8, 1)), vec_karg_ptr(f, 0), n);
   vec_end(f);
   sinter_kernel *kernel = finish(m, "tail");

   for (int64_t count = -3; count < 12; count++) {
      float dst[8] = {0}, src[8] = {1, 2, 3, 4, 5, 6, 7, 8}, all[8];
      sinter_kargs args = {.ptr = {dst, src, all}, .konst = {count}};
      kernel(&args, 0);
      for (int i = 0; i < 8; i++) {
         cr_assert(dst[i] == (i < count ? (float)i + 2 : 0));
         cr_assert(all[i] == (i < count ? (float)i + 1 : 0));
      }
   }
}

/* ---- control ---- */

/* Kills: loops that run once when they should not run, or lose the last value of a variable. */
Test(vec, loops_and_branches)
{
   vec_module *m = module();
   vec_fn *f = vec_kernel(m, "loops");
   vec_value dst = vec_karg_ptr(f, 0), n = vec_karg_const(f, 0), zero = vec_i(f, 0);
   vec_loop l = vec_loop_begin(f, zero, n, 3, 1, &zero);
   vec_loop in = vec_loop_begin(f, zero, vec_i(f, 4), 1, 1, l.var);
   vec_loop_end(f, &in, (vec_value[]){vec_add(f, in.var[0], l.i)});
   vec_loop_end(f, &l, in.var);
   vec_store(f, l.var[0], dst, 8);
   vec_store(f, l.i, vec_at_i(f, dst, 8), 8);
   vec_if i = vec_if_begin(f, vec_icmp(f, VEC_gt, n, vec_i(f, 5)));
   vec_store(f, vec_i(f, 1), vec_at_i(f, dst, 16), 8);
   vec_if_else(f, &i);
   vec_store(f, vec_tile(f), vec_at_i(f, dst, 16), 8);
   vec_if_end(f, &i);
   vec_return_if(f, vec_icmp(f, VEC_eq, n, vec_i(f, 7)));
   vec_store(f, vec_sym(f, SYM_R), vec_at_i(f, dst, 24), 8);
   vec_end(f);
   sinter_kernel *kernel = finish(m, "loops");

   for (int64_t count = 0; count < 9; count++) {
      sinter_step_block step = {.sym = {[SYM_R] = 42}};
      int64_t got[4] = {-1, -1, -1, -1}, sum = 0, end = 0;
      sinter_kargs args = {.step = &step, .ptr = {got}, .konst = {count}};
      for (; end < count; end += 3)
         sum += 4 * end;
      kernel(&args, 9);
      cr_assert(got[0] == sum && got[1] == end && got[2] == (count > 5 ? 1 : 9));
      cr_assert(got[3] == (count == 7 ? -1 : 42));
   }
}
