/* gemm_case.h - random weights and activations, launches and their meaning, for the tests of
 * kernels that read panels. Include once per test program. */
#ifndef TEST_GEMM_CASE_H
#define TEST_GEMM_CASE_H

#include "base/isa.h"
#include "base/quant.h"
#include "kernels/cpu/gemm.h"
#include "load.h"

#include <criterion/criterion.h>
#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <math.h>
#include <stdlib.h>

/* ---- random numbers ---- */

enum { SEED = 0x1c5b9a37 };
static uint64_t state = SEED;

static inline uint32_t rnd(void)
{
   state ^= state << 13;
   state ^= state >> 7;
   state ^= state << 17;
   return (uint32_t)(state >> 16);
}

static inline float uniform(void)
{
   return (float)(rnd() & 0xffff) / 32768 - 1;
}

/* ---- running objects ---- */

static inline LLVMOrcLLJITRef jit_create(void)
{
   LLVMOrcLLJITRef jit;

   LLVMInitializeX86TargetInfo();
   LLVMInitializeX86Target();
   LLVMInitializeX86TargetMC();
   LLVMInitializeX86AsmPrinter();
   cr_assert(!LLVMOrcCreateLLJIT(&jit, NULL));
   return jit;
}

/* In a sanitized build the kernels are sanitized too; their symbols come from this process. */
static inline void add_sanitizer(LLVMOrcLLJITRef jit, vec_module *m)
{
#ifdef CONFORM_SANITIZED
   LLVMOrcDefinitionGeneratorRef symbols;

   vec_module_sanitize(m);
   cr_assert(!LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
      &symbols, LLVMOrcLLJITGetGlobalPrefix(jit), NULL, NULL));
   LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(jit), symbols);
#else
   (void)jit;
   (void)m;
#endif
}

static inline sinter_kernel *jit_find(LLVMOrcLLJITRef jit, const char *symbol)
{
   LLVMOrcExecutorAddress at;

   cr_assert(!LLVMOrcLLJITLookup(jit, &at, symbol), "no %s", symbol);
   return (sinter_kernel *)(uintptr_t)at;
}

static inline sinter_kernel *jit_kernel(LLVMOrcLLJITRef jit, vec_module *m, const char *symbol)
{
   uint8_t *bytes;
   size_t size;

   add_sanitizer(jit, m);
   cr_assert(vec_module_object(m, &bytes, &size) == SINTER_ok, "%s", sinter_error());
   LLVMMemoryBufferRef copy =
      LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)bytes, size, symbol);
   free(bytes);
   cr_assert(!LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), copy));
   return jit_find(jit, symbol);
}

static inline void run(sinter_kernel *kernel, sinter_kargs *args, int64_t tiles)
{
   for (int64_t t = tiles; t-- > 0;)
      kernel(args, (unsigned)t);
}

/* ---- one weight ---- */

typedef struct weight {
   dtype t;
   panel_layout layout;
   uint64_t n, k, stride;
   uint8_t *rows, *panels;
   float *values; /* [n][k] */
   float *sizes;  /* |terms| a value is made of */
} weight;

static const void *row_of(void *user, uint64_t r)
{
   weight *w = user;

   return w->rows + r * w->stride;
}

/* Bytes of random codes with small scales in their f16 fields. */
static inline void random_block(dtype t, uint8_t *b)
{
   static const struct {
      dtype t;
      int at[2];
   } fields[] = {
      {DT_q4_0, {0, 0}}, {DT_q4_1, {0, 2}},     {DT_q5_0, {0, 0}},     {DT_q5_1, {0, 2}},
      {DT_q8_0, {0, 0}}, {DT_q2_k, {80, 82}},   {DT_q3_k, {108, 108}}, {DT_q4_k, {0, 2}},
      {DT_q5_k, {0, 2}}, {DT_q6_k, {208, 208}}, {DT_iq4_nl, {0, 0}},   {DT_iq4_xs, {0, 0}},
   };
   const dtype_info *d = &dtype_infos[t];

   for (uint32_t i = 0; i < d->bytes; i++)
      b[i] = (uint8_t)rnd();
   for (size_t i = 0; i < countof(fields); i++)
      for (int j = 0; j < 2 && fields[i].t == t; j++) {
         uint16_t h = f16_from_f32(uniform() / 64);
         memcpy(b + fields[i].at[j], &h, 2);
      }
   if (t == DT_mxfp4)
      b[0] = (uint8_t)(115 + rnd() % 8);
   double v = uniform();
   if (d->kind == DTYPE_FLOAT)
      dtype_store(t, b, &v, 1);
}

static inline void sizes_of(const weight *w, const uint8_t *block, float *out)
{
   const panel_info *p = &panel_infos[w->layout];
   quant_planes q;

   quant_planes_of(w->t, block, &q);
   for (uint32_t i = 0; i < p->block; i++) {
      float scale = fabsf(q.d * (float)q.scale[i / q.sub_block]);
      out[i] = scale * ((float)abs(q.code[i]) + (p->block == 256 ? (float)p->bias : 0)) +
               fabsf(q.dmin * (float)q.min[i / q.sub_block]);
   }
}

/* A row of blocks of a small scale and codes, none of them NaN. */
static inline void random_scaled_row(const weight *w, uint64_t r)
{
   uint8_t *b = w->rows + r * w->stride;
   const uint64_t block = dtype_infos[w->t].block;

   for (uint64_t i = 0; i < w->k; i += block) {
      uint64_t m = MIN(w->k - i, block);
      float scale = uniform() / 256;
      memcpy(b, &scale, sizeof scale);
      for (uint64_t j = 0; j < m; j++) {
         b[4 + j] = (uint8_t)rnd();
         b[4 + j] &= b[4 + j] % 128 == 127 ? 0xfe : 0xff;
      }
      b += 4 + m;
   }
   quant_to_f32(w->t, w->rows + r * w->stride, w->k, w->values + r * w->k);
   for (uint64_t i = 0; i < w->k; i++)
      w->sizes[r * w->k + i] = fabsf(w->values[r * w->k + i]);
}

static inline weight random_weight(dtype t, uint64_t n, uint64_t k)
{
   const dtype_info *d = &dtype_infos[t];
   weight w = {.t = t, .layout = pack_layout_of(t), .n = n, .k = k};
   uint64_t size;

   cr_assert(dtype_size(t, k, &w.stride));
   w.rows = malloc(n * w.stride);
   w.values = malloc(n * k * sizeof *w.values);
   w.sizes = malloc(n * k * sizeof *w.sizes);
   for (uint64_t r = 0; r < n && d->kind == DTYPE_SCALED; r++)
      random_scaled_row(&w, r);
   for (uint64_t b = 0; b < n * k / d->block && d->kind != DTYPE_SCALED; b++) {
      random_block(t, w.rows + b * d->bytes);
      quant_to_f32(t, w.rows + b * d->bytes, d->block, w.values + b * d->block);
      if (d->kind == DTYPE_BLOCK)
         sizes_of(&w, w.rows + b * d->bytes, w.sizes + b * d->block);
      else
         w.sizes[b] = fabsf(w.values[b]);
   }
   cr_assert(pack_size(w.layout, n, k, &size));
   w.panels = aligned_alloc(64, base_align(size, 64));
   pack_panels(w.layout, t, n, k, 0, (n + 15) / 16, row_of, &w, w.panels);
   return w;
}

static inline void weight_free(weight *w)
{
   free(w->rows);
   free(w->panels);
   free(w->values);
   free(w->sizes);
}

/* ---- activations ---- */

typedef struct input {
   uint64_t m, k, group; /* group 0: floats */
   float *x;
   int8_t *codes;
   uint8_t *scales;
   uint8_t *parts; /* NULL until split_input */
   double *exact;  /* what the codes stand for */
} input;

static inline void quantise_group(input *in, uint64_t row, uint64_t g)
{
   uint64_t at = row * in->k + g * in->group;
   uint8_t *s = in->scales + row * pack_scales_stride(in->k, in->group);
   uint8_t *dsums = s + in->k / in->group * 4, *sum16s = dsums + in->k / 32 * 4,
           *less = sum16s + in->k / 16 * 2;
   float max = 0, scale;
   int all = 0;

   for (uint64_t i = 0; i < in->group; i++)
      max = fmaxf(max, fabsf(in->x[at + i]));
   scale = max / 127;
   memcpy(s + 4 * g, &scale, 4);
   for (uint64_t i = 0; i < in->group; i++) {
      in->codes[at + i] = (int8_t)(scale > 0 ? rintf(in->x[at + i] / scale) : 0);
      in->exact[at + i] = (double)in->codes[at + i] * scale;
   }
   for (uint64_t i = 0; i < in->group; i += 16) {
      int16_t sum = 0;
      for (uint64_t j = 0; j < 16; j++)
         sum = (int16_t)(sum + in->codes[at + i + j]);
      all += sum;
      memcpy(sum16s + (g * in->group + i) / 16 * 2, &sum, 2);
   }
   float dsum = scale * (float)all;
   memcpy(dsums + 4 * g, &dsum, 4);
   all *= -128;
   memcpy(less + 4 * g, &all, 4);
}

static inline input random_input(uint64_t m, uint64_t k, uint64_t group)
{
   input in = {.m = m, .k = k, .group = group};

   in.x = malloc(m * k * sizeof *in.x);
   in.exact = malloc(m * k * sizeof *in.exact);
   in.codes = malloc(m * k);
   in.scales = group ? calloc(m, pack_scales_stride(k, group)) : NULL;
   for (uint64_t i = 0; i < m * k; i++) {
      in.x[i] = uniform() * (rnd() % 64 == 0 ? 20 : 1);
      in.exact[i] = in.x[i];
   }
   for (uint64_t i = 0; i < m && group; i++)
      for (uint64_t g = 0; g < k / group; g++)
         quantise_group(&in, i, g);
   return in;
}

static inline void input_free(input *in)
{
   free(in->x);
   free(in->exact);
   free(in->codes);
   free(in->scales);
   free(in->parts);
}

static inline double product(const weight *w, const input *in, uint64_t row, uint64_t n)
{
   double sum = 0;

   for (uint64_t k = 0; k < w->k; k++)
      sum += in->exact[row * w->k + k] * (double)w->values[n * w->k + k];
   return sum;
}

typedef struct launch {
   plan_launch plan;
   sinter_kargs args;
   sinter_step_block step;
} launch;

/* Rows as the symbol T. */
static inline void set_launch(launch *l, const gemm_key *key, const weight *w)
{
   memset(l, 0, sizeof *l);
   gemm_launch(key, (gemm_rows){.is_sym = true, .sym = SYM_T}, w->n, w->k, &l->plan);
   memcpy(l->args.konst, l->plan.consts, sizeof l->args.konst);
   l->args.step = &l->step;
   l->args.num_ptrs = l->plan.num_refs;
}

static inline void run_rows(launch *l, sinter_kernel *kernel, uint64_t m)
{
   l->step.sym[SYM_T] = (int64_t)m;
   run(kernel, &l->args, plan_extent_eval(&l->plan.tiles, l->step.sym));
}

/* Points x (and scales) of the launch at row `row` of the input; the weight follows. */
static inline uint32_t set_input(launch *l, const input *in, uint64_t row)
{
   if (in->parts) {
      l->args.ptr[1] = in->parts + row * gemm_parts_stride(in->k);
      return 2;
   }
   l->args.ptr[1] = in->group ? (void *)(in->codes + row * in->k) : in->x + row * in->k;
   if (!in->group)
      return 2;
   l->args.ptr[2] = in->scales + row * pack_scales_stride(in->k, in->group);
   return 3;
}

/* The likeliest of a row as the sampler has it. */
static inline int32_t best_of(const float *row, uint64_t n)
{
   uint64_t best = 0;

   for (uint64_t i = 0; i < n; i++) {
      if (!(row[i] < INFINITY))
         return -1;
      best = row[i] > row[best] ? i : best;
   }
   return row[best] > -INFINITY ? (int32_t)best : -1;
}

static inline vec_module *module_of(const isa_info *isa)
{
   vec_module *m;

   cr_assert(vec_module_create(isa, &m) == SINTER_ok);
   return m;
}

#endif
