// LINK: codegen base
/* Epilogues of GEMM kernels, and their keys. */
#include "gemm_case.h"

static double silu(double v)
{
   return v / (1 + exp(-v));
}

static double gelu_tanh(double v)
{
   return v / 2 * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
}

enum { COLS = 37 };

typedef struct operands {
   float *row, *mat;
   double second;
} operands;

static double step_meaning(const gemm_step *s, double v, const operands *o, uint64_t at, uint64_t n)
{
   switch (s->kind) {
   case GEMM_STEP_add_row: return v + o->row[n];
   case GEMM_STEP_mul_row: return v * o->row[n];
   case GEMM_STEP_mul_col: return v * o->mat[at / COLS];
   case GEMM_STEP_add_mat: return v + o->mat[at];
   case GEMM_STEP_mul_mat: return v * o->mat[at];
   case GEMM_STEP_mul_second: return v * o->second;
   case GEMM_STEP_mul_bounded: return v * fmax(fmin(o->second, (double)s->arg), -(double)s->arg);
   case GEMM_STEP_at_most: return fmin(v, (double)s->arg);
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
   enum { M = 69, DEPTH = 64 };
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
      else if (kind == GEMM_STEP_add_mat || kind == GEMM_STEP_mul_mat || kind == GEMM_STEP_mul_col)
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

Test(gemm_steps, every_step)
{
   for (int s = 0; s < GEMM_STEP_COUNT; s++) {
      gemm_key key = {.num_steps = 1, .steps = {{(gemm_step_kind)s, 1.5f}}};
      bool second = s == GEMM_STEP_mul_second || s == GEMM_STEP_mul_bounded;
      check_steps(key, DT_f16, second ? DT_q8_0 : DT_none);
   }
}

Test(gemm_steps, chains)
{
   gemm_key gate = {
      .int8 = true, .num_steps = 2, .steps = {{GEMM_STEP_silu, 0}, {GEMM_STEP_mul_second, 0}}};
   gemm_key bias = {
      .num_steps = 3,
      .steps = {{GEMM_STEP_add_row, 0}, {GEMM_STEP_scale, 0.25f}, {GEMM_STEP_add_mat, 0}}};

   gemm_key bounded = {
      .num_steps = 3,
      .steps = {{GEMM_STEP_at_most, 0.1f}, {GEMM_STEP_silu, 0}, {GEMM_STEP_mul_bounded, 0.1f}}};

   check_steps(gate, DT_q4_1, DT_q5_0);
   check_steps(bounded, DT_bf16, DT_bf16);
   check_steps(bias, DT_q4_0, DT_none);
}

/* Kills: a key that would emit a kernel which reads what is not there. */
Test(gemm_steps, unsupported_keys)
{
   gemm_key ok = {.w = PANEL_q4_1, .int8 = true};
   gemm_key rows = {.w = PANEL_rows}, floats = {.w = PANEL_f16, .int8 = true};
   gemm_key lost = {.w = PANEL_q4_1, .w2 = PANEL_q4_1}, mixed = ok;

   mixed.w2 = PANEL_q4_k;
   mixed.num_steps = 1;
   mixed.steps[0].kind = GEMM_STEP_mul_second;
   cr_assert(!gemm_unsupported(&ok, 64) && gemm_unsupported(&ok, 40));
   cr_assert(gemm_unsupported(&rows, 64) && gemm_unsupported(&floats, 64));
   cr_assert(gemm_unsupported(&lost, 64) && !gemm_unsupported(&mixed, 256));
   mixed.int8 = false;
   cr_assert(!gemm_unsupported(&mixed, 256));
}

/* Kills: two keys with one name. */
Test(gemm_steps, symbols_differ)
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
