// LINK: codegen base
/* GEMM and embed kernels of every layout, run through LLVM's JIT linker, against f64. */
#include "base/isa.h"
#include "base/quant.h"
#include "kernels/cpu/embed.h"
#include "kernels/cpu/gemm.h"

#include <criterion/criterion.h>
#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <math.h>
#include <stdlib.h>

enum { MAX_M = 130 };

/* ---- random numbers ---- */

static uint64_t state = 88172645463325252u;

static uint32_t rnd(void)
{
   state ^= state << 13;
   state ^= state >> 7;
   state ^= state << 17;
   return (uint32_t)(state >> 16);
}

static float uniform(void)
{
   return (float)(rnd() & 0xffff) / 32768 - 1;
}

/* ---- running objects ---- */

static LLVMOrcLLJITRef jit_create(void)
{
   LLVMOrcLLJITRef jit;

   LLVMInitializeX86TargetInfo();
   LLVMInitializeX86Target();
   LLVMInitializeX86TargetMC();
   LLVMInitializeX86AsmPrinter();
   cr_assert(!LLVMOrcCreateLLJIT(&jit, NULL));
   return jit;
}

static sinter_kernel *jit_kernel(LLVMOrcLLJITRef jit, vec_module *m, const char *symbol)
{
   uint8_t *bytes;
   size_t size;
   LLVMOrcExecutorAddress at;

   cr_assert(vec_module_object(m, &bytes, &size) == SINTER_ok, "%s", sinter_error());
   LLVMMemoryBufferRef copy =
      LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)bytes, size, symbol);
   free(bytes);
   cr_assert(!LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), copy));
   cr_assert(!LLVMOrcLLJITLookup(jit, &at, symbol));
   return (sinter_kernel *)(uintptr_t)at;
}

static void run(sinter_kernel *kernel, sinter_kargs *args, int64_t tiles)
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
static void random_block(dtype t, uint8_t *b)
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
   double v = uniform();
   if (d->kind == DTYPE_FLOAT)
      dtype_store(t, b, &v, 1);
}

static void sizes_of(const weight *w, const uint8_t *block, float *out)
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

static weight random_weight(dtype t, uint64_t n, uint64_t k)
{
   const dtype_info *d = &dtype_infos[t];
   weight w = {.t = t, .layout = pack_layout_of(t), .n = n, .k = k};
   uint64_t size;

   w.stride = k / d->block * d->bytes;
   w.rows = malloc(n * w.stride);
   w.values = malloc(n * k * sizeof *w.values);
   w.sizes = malloc(n * k * sizeof *w.sizes);
   for (uint64_t b = 0; b < n * k / d->block; b++) {
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

static void weight_free(weight *w)
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
   double *exact; /* what the codes stand for */
} input;

static void quantise_group(input *in, uint64_t row, uint64_t g)
{
   uint64_t at = row * in->k + g * in->group;
   uint8_t *s = in->scales + row * pack_scales_stride(in->k, in->group);
   uint8_t *sums = s + in->k / in->group * 4;
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
      if (in->group == 256)
         memcpy(sums + (g * 256 + i) / 16 * 2, &sum, 2);
   }
   float dsum = scale * (float)all;
   if (in->group == 32)
      memcpy(sums + 4 * g, &dsum, 4);
}

static input random_input(uint64_t m, uint64_t k, uint64_t group)
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

static void input_free(input *in)
{
   free(in->x);
   free(in->exact);
   free(in->codes);
   free(in->scales);
}

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

static double product(const weight *w, const input *in, uint64_t row, uint64_t n)
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
static void set_launch(launch *l, const gemm_key *key, const weight *w)
{
   memset(l, 0, sizeof *l);
   gemm_launch(key, (gemm_rows){.is_sym = true, .sym = SYM_T}, w->n, w->k, &l->plan);
   memcpy(l->args.konst, l->plan.consts, sizeof l->args.konst);
   l->args.step = &l->step;
   l->args.num_ptrs = l->plan.num_refs;
}

static void run_rows(launch *l, sinter_kernel *kernel, uint64_t m)
{
   l->step.sym[SYM_T] = (int64_t)m;
   run(kernel, &l->args, plan_extent_eval(&l->plan.tiles, l->step.sym));
}

/* Points x (and scales) of the launch at row `row` of the input; the weight follows. */
static uint32_t set_input(launch *l, const input *in, uint64_t row)
{
   l->args.ptr[1] = in->group ? (void *)(in->codes + row * in->k) : in->x + row * in->k;
   if (!in->group)
      return 2;
   l->args.ptr[2] = in->scales + row * pack_scales_stride(in->k, in->group);
   return 3;
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

static vec_module *module_of(const isa_info *isa)
{
   vec_module *m;

   cr_assert(vec_module_create(isa, &m) == SINTER_ok);
   return m;
}

static void check_layout(dtype t, bool int8, const isa_info *isa)
{
   static const uint64_t ns[] = {16, 5, 49};
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
      check_weight(kernel, &key, t, ns[i], block ? (i + 1) * dtype_infos[t].block : 37 + i);
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

   static const dtype types[] = {DT_q5_1, DT_q8_0, DT_q2_k, DT_q4_k, DT_q6_k, DT_iq4_xs};

   for (size_t i = 0; i < countof(pretended); i++)
      for (size_t t = 0; t < countof(types); t++) {
         check_layout(types[t], true, &pretended[i]);
         if (i == 0)
            check_layout(types[t], false, &pretended[i]);
      }
}

/* ---- epilogues ---- */

static double silu(double v)
{
   return v / (1 + exp(-v));
}

static double gelu_tanh(double v)
{
   return v / 2 * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
}

typedef struct operands {
   float *row, *mat;
   double second;
} operands;

static double step_meaning(const gemm_step *s, double v, const operands *o, uint64_t at, uint64_t n)
{
   switch (s->kind) {
   case GEMM_STEP_add_row: return v + o->row[n];
   case GEMM_STEP_mul_row: return v * o->row[n];
   case GEMM_STEP_add_mat: return v + o->mat[at];
   case GEMM_STEP_mul_mat: return v * o->mat[at];
   case GEMM_STEP_mul_second: return v * o->second;
   case GEMM_STEP_scale: return v * s->arg;
   case GEMM_STEP_softcap: return s->arg * tanh(v / s->arg);
   case GEMM_STEP_silu: return silu(v);
   case GEMM_STEP_gelu: return v / 2 * (1 + erf(v / sqrt(2)));
   case GEMM_STEP_gelu_tanh: return gelu_tanh(v);
   case GEMM_STEP_COUNT: break;
   }
   return NAN;
}

static sinter_kernel *compile_key(LLVMOrcLLJITRef jit, const gemm_key *key)
{
   vec_module *m = module_of(&isa_infos[isa_best()]);
   char symbol[GEMM_SYMBOL_MAX];

   gemm_symbol(key, symbol);
   gemm_emit(m, key);
   sinter_kernel *kernel = jit_kernel(jit, m, symbol);
   vec_module_destroy(m);
   return kernel;
}

/* Kills: a step that is skipped, applied in another order, to other rows or columns, or with the
 * wrong weight. */
static void check_steps(gemm_key key, dtype t, dtype t2)
{
   enum { M = 69, COLS = 37, DEPTH = 64 };
   weight w = random_weight(t, COLS, DEPTH), w2 = random_weight(t2 ? t2 : t, COLS, DEPTH);
   input in = random_input(M, DEPTH, key.int8 ? pack_quant_group(t) : 0);
   operands o = {malloc(COLS * 4), malloc(M * COLS * 4), 0};
   float *y = malloc(M * COLS * sizeof *y);
   LLVMOrcLLJITRef jit = jit_create();
   launch l;

   key.w = w.layout;
   key.w2 = t2 ? w2.layout : PANEL_none;
   cr_assert(gemm_unsupported(&key, DEPTH) == NULL);
   for (int i = 0; i < M * COLS; i++)
      o.mat[i] = uniform();
   for (int i = 0; i < COLS; i++)
      o.row[i] = uniform();
   set_launch(&l, &key, &w);
   l.args.ptr[0] = y;
   uint32_t p = set_input(&l, &in, 0);
   l.args.ptr[p++] = w.panels;
   if (t2)
      l.args.ptr[p++] = w2.panels;
   for (uint32_t i = 0; i < key.num_steps; i++) {
      gemm_step_kind kind = key.steps[i].kind;
      if (kind == GEMM_STEP_add_row || kind == GEMM_STEP_mul_row)
         l.args.ptr[p++] = o.row;
      else if (kind == GEMM_STEP_add_mat || kind == GEMM_STEP_mul_mat)
         l.args.ptr[p++] = o.mat;
   }
   cr_assert(p == l.plan.num_refs);
   run_rows(&l, compile_key(jit, &key), M);
   for (uint64_t i = 0; i < M * COLS; i++) {
      double v = product(&w, &in, i / COLS, i % COLS), size = fabs(v);
      o.second = t2 ? product(&w2, &in, i / COLS, i % COLS) : 0;
      size += fabs(o.second);
      for (uint32_t s = 0; s < key.num_steps; s++)
         v = step_meaning(&key.steps[s], v, &o, i, i % COLS);
      cr_assert(fabs(y[i] - v) <= 2e-5 * (1 + fabs(v) + size), "step %d: [%d] %g want %g",
                key.steps[0].kind, (int)i, y[i], v);
   }
   LLVMOrcDisposeLLJIT(jit);
   weight_free(&w);
   weight_free(&w2);
   input_free(&in);
   free(o.row);
   free(o.mat);
   free(y);
}

Test(gemm, every_step)
{
   for (int s = 0; s < GEMM_STEP_COUNT; s++) {
      gemm_key key = {.num_steps = 1, .steps = {{(gemm_step_kind)s, 1.5f}}};
      check_steps(key, DT_f16, s == GEMM_STEP_mul_second ? DT_q8_0 : DT_none);
   }
}

Test(gemm, chains)
{
   gemm_key gate = {
      .int8 = true, .num_steps = 2, .steps = {{GEMM_STEP_silu, 0}, {GEMM_STEP_mul_second, 0}}};
   gemm_key bias = {
      .num_steps = 3,
      .steps = {{GEMM_STEP_add_row, 0}, {GEMM_STEP_scale, 0.25f}, {GEMM_STEP_add_mat, 0}}};

   check_steps(gate, DT_q4_1, DT_q5_0);
   check_steps(bias, DT_q4_0, DT_none);
}

/* Kills: a key that would emit a kernel which reads what is not there. */
Test(gemm, unsupported_keys)
{
   gemm_key ok = {.w = PANEL_q4_1, .int8 = true};
   gemm_key rows = {.w = PANEL_rows}, floats = {.w = PANEL_f16, .int8 = true};
   gemm_key lost = {.w = PANEL_q4_1, .w2 = PANEL_q4_1}, groups = ok;

   groups.w2 = PANEL_q4_k;
   groups.num_steps = 1;
   groups.steps[0].kind = GEMM_STEP_mul_second;
   cr_assert(!gemm_unsupported(&ok, 64) && gemm_unsupported(&ok, 40));
   cr_assert(gemm_unsupported(&rows, 64) && gemm_unsupported(&floats, 64));
   cr_assert(gemm_unsupported(&lost, 64) && gemm_unsupported(&groups, 256));
   groups.int8 = false;
   cr_assert(!gemm_unsupported(&groups, 256));
}

/* Kills: two keys with one name. */
Test(gemm, symbols_differ)
{
   gemm_key a = {.w = PANEL_q4_1, .num_steps = 1, .steps = {{GEMM_STEP_scale, 2}}}, b = a;
   char x[GEMM_SYMBOL_MAX], y[GEMM_SYMBOL_MAX];

   b.steps[0].arg = 3;
   gemm_symbol(&a, x);
   gemm_symbol(&b, y);
   cr_assert(strcmp(x, y) != 0);
   b = a;
   b.int8 = true;
   gemm_symbol(&b, y);
   cr_assert(strcmp(x, y) != 0);
}

/* ---- embed ---- */

/* Kills: any wrong code, scale or min of a gathered row; reading outside of the table. */
static void check_embed(dtype t, float scale)
{
   enum { ROWS = 37 };
   static const int32_t ids[] = {0, 36, 17, 15, 16, 31, -1, 37};
   uint64_t k = dtype_infos[t].block == 1 ? 21 : 2 * dtype_infos[t].block;
   weight w = random_weight(t, ROWS, k);
   embed_key key = {w.layout, scale};
   vec_module *m = module_of(&isa_infos[isa_best()]);
   LLVMOrcLLJITRef jit = jit_create();
   char symbol[GEMM_SYMBOL_MAX];
   plan_launch l = {0};
   float *y = malloc(countof(ids) * k * sizeof *y);
   sinter_kargs args = {.ptr = {y, (void *)ids, w.panels}};

   cr_assert(embed_unsupported(&key, k) == NULL);
   embed_symbol(&key, symbol);
   embed_emit(m, &key);
   embed_launch(&key, (gemm_rows){.num = countof(ids)}, ROWS, k, &l);
   memcpy(args.konst, l.consts, sizeof args.konst);
   run(jit_kernel(jit, m, symbol), &args, plan_extent_eval(&l.tiles, NULL));
   for (uint64_t i = 0; i < countof(ids) * k; i++) {
      int32_t id = ids[i / k] < 0 || ids[i / k] >= ROWS ? 0 : ids[i / k];
      float want = w.values[(uint64_t)id * k + i % k] * scale;
      cr_assert(y[i] == want, "%s row %d [%d] %g want %g", dtype_infos[t].name, id, (int)(i % k),
                y[i], want);
   }
   LLVMOrcDisposeLLJIT(jit);
   vec_module_destroy(m);
   weight_free(&w);
   free(y);
}

Test(embed, every_layout)
{
   for (int t = 0; t < DT_COUNT; t++)
      if (pack_layout_of((dtype)t)) {
         check_embed((dtype)t, 1);
         check_embed((dtype)t, 25.5f);
      }
}

/* ---- levels that this machine may not run ---- */

/* Kills: an intrinsic, a register width or a type that exists in one level only. Whether the code
 * of a level computes the right thing is checked only where it runs. */
Test(gemm, every_level_compiles)
{
   static const dtype types[] = {DT_q5_0, DT_q8_0, DT_q4_k, DT_iq4_xs};

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
      cr_assert(vec_module_object(m, &bytes, &size) == SINTER_ok, "%s: %s", isa_infos[level].name,
                sinter_error());
      if (!isa_runs((isa_level)level))
         cr_log_info("skip: %s cannot run here, compiled only", isa_infos[level].name);
      free(bytes);
      vec_module_destroy(m);
   }
}
