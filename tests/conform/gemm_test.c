// LINK: codegen base
/* GEMM kernels of every layout, run through LLVM's JIT linker, against f64. */
#include "gemm_case.h"
#include "base/hash.h"

enum { MAX_M = 130 };

/* ---- comparing ---- */

/* An upper bound of the rounding error of one output: every term passes through fewer than `steps`
 * roundings. */
static double tolerance(const weight *w, const input *in, uint64_t row, uint64_t n)
{
   double size = 0, steps = (double)w->k + 2;

   if (in->group)
      steps = 2.0 * (double)(w->k / in->group) + 6;
   else if (in->parts)
      steps = (double)w->k / 32 + 20; /* gemm_amx.c */
   for (uint64_t k = 0; k < w->k; k++)
      size += fabs(in->exact[row * w->k + k]) * w->sizes[n * w->k + k];
   return size * steps * 0x1p-24 + 1e-30;
}

static const uint64_t row_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 33, 63, 64, 65, MAX_M};

/* What is compiled of a case. */
typedef struct kernels {
   gemm_key key;
   sinter_kernel *gemm, *split; /* split: keys with parts */
} kernels;

/* Kills: a part that is rounded, lost or misplaced; a row length's rest that is not zero. */
static void split_input(const kernels *c, input *in)
{
   plan_launch split = {0};
   uint64_t stride = gemm_parts_stride(in->k);

   in->parts = aligned_alloc(64, base_align(in->m * stride, 64));
   memset(in->parts, 0xff, in->m * stride);
   gemm_split_launch((gemm_rows){.num = (int64_t)in->m}, in->k, &split);
   sinter_kargs args = {.ptr = {in->parts, in->x}};
   memcpy(args.konst, split.consts, sizeof args.konst);
   run(c->split, &args, plan_extent_eval(&split.tiles, (int64_t[SYM_COUNT]){0}));
   for (uint64_t r = 0; r < in->m; r++)
      for (uint64_t i = 0; i < stride / 6; i++) {
         double sum = 0, part[3];
         for (int p = 0; p < 3; p++) {
            dtype_load(DT_bf16, in->parts + r * stride + (uint64_t)p * stride / 3 + 2 * i, 1,
                       &part[p]);
            sum += part[p];
         }
         double want = i < in->k ? in->x[r * in->k + i] : 0;
         cr_assert(sum == want, "%g + %g + %g is not %g", part[0], part[1], part[2], want);
      }
}

/* Kills: a wrong plane, scale, sum or min of any layout; lost rows, panels or columns; writes
 * outside of y; bits of a row that depend on how many rows there are. Returns a digest of all
 * bits. */
static digest check_weight(const kernels *c, dtype t, uint64_t n, uint64_t k)
{
   const gemm_key *key = &c->key;
   weight w = random_weight(t, n, k);
   input in = random_input(MAX_M, k, key->int8 ? pack_quant_group(t) : 0);
   float *y = malloc((MAX_M * n + 1) * sizeof *y), *one = malloc(MAX_M * n * sizeof *one);
   launch l;

   if (key->parts)
      split_input(c, &in);
   set_launch(&l, key, &w);
   uint32_t p = set_input(&l, &in, 0);
   l.args.ptr[p] = w.panels;
   for (uint64_t r = 0; r < MAX_M; r++) {
      set_input(&l, &in, r);
      l.args.ptr[0] = one + r * n;
      run_rows(&l, c->gemm, 1);
      for (uint64_t col = 0; col < n; col++) {
         double want = product(&w, &in, r, col), err = fabs(one[r * n + col] - want);
         cr_assert(err <= tolerance(&w, &in, r, col), "%s int8 %d [%d][%d] %g want %g",
                   dtype_infos[t].name, key->int8, (int)r, (int)col, one[r * n + col], want);
      }
   }
   set_input(&l, &in, 0);
   l.args.ptr[0] = y;
   for (size_t i = 0; i < countof(row_counts); i++) {
      uint64_t m = row_counts[i];
      memset(y, 0xaa, (MAX_M * n + 1) * sizeof *y);
      y[m * n] = 12345;
      run_rows(&l, c->gemm, m);
      cr_assert(memcmp(y, one, m * n * sizeof *y) == 0, "%s int8 %d: %d rows", dtype_infos[t].name,
                key->int8, (int)m);
      cr_assert(y[m * n] == 12345, "%s writes past the end", dtype_infos[t].name);
   }
   /* The last rows: address checks see a read past their end. */
   for (uint64_t m = 15; m < 32; m += 2) {
      set_input(&l, &in, MAX_M - m);
      run_rows(&l, c->gemm, m);
      cr_assert(memcmp(y, one + (MAX_M - m) * n, m * n * sizeof *y) == 0, "%s int8 %d: last %d",
                dtype_infos[t].name, key->int8, (int)m);
   }
   digest bits = digest_bytes(one, MAX_M * n * sizeof *one);
   weight_free(&w);
   input_free(&in);
   free(y);
   free(one);
   return bits;
}

/* Digests of the lowest level, which all others must have: integer sums are exact, and every float
 * product of all k is one fma after the other. */
static digest lowest[2][DT_COUNT][3];

static void check_layout(dtype t, bool int8, const isa_info *isa)
{
   static const uint64_t ns[] = {16, 5, 49}, float_ks[] = {37, 64, 301};
   /* One block; several; more than a tile of 256 columns and not a multiple of it. */
   const uint64_t unit = dtype_infos[t].block, ks[] = {unit, 2 * unit, unit == 32 ? 544 : 768};
   kernels c = {.key = {.w = pack_layout_of(t), .int8 = int8}};
   vec_module *m = module_of(isa);
   LLVMOrcLLJITRef jit = jit_create();
   char symbol[GEMM_SYMBOL_MAX];
   bool block = dtype_infos[t].kind == DTYPE_BLOCK;

   c.key.parts = gemm_wants_parts(&c.key, isa);
   cr_assert(gemm_unsupported(&c.key, 1024) == NULL);
   gemm_symbol(&c.key, symbol);
   gemm_emit(m, &c.key);
   if (c.key.parts)
      gemm_split_emit(m);
   c.gemm = jit_kernel(jit, m, symbol);
   if (c.key.parts)
      c.split = jit_find(jit, GEMM_SPLIT_SYMBOL);
   state = SEED;
   for (size_t i = 0; i < countof(ns); i++) {
      digest bits = check_weight(&c, t, ns[i], block ? ks[i] : float_ks[i]),
             *want = &lowest[int8][t][i];
      if (isa->lanes == isa_infos[0].lanes && !isa->vnni)
         *want = bits;
      cr_assert(c.key.parts || memcmp(&bits, want, sizeof bits) == 0,
                "%s, int8 %d: other bits than the lowest level's", dtype_infos[t].name, int8);
   }
   /* Short last blocks, behind none, one, and more than a tile of whole ones. */
   for (uint64_t k = 37; k < 700 && dtype_infos[t].kind == DTYPE_SCALED; k += 253)
      check_weight(&c, t, 21, k);
   LLVMOrcDisposeLLJIT(jit);
   vec_module_destroy(m);
}

/* Address checks make the code of wide registers slow to compile: few types then. */
static bool is_checked(dtype t, const isa_info *isa)
{
#ifdef CONFORM_SANITIZED
   return isa->lanes == isa_infos[0].lanes || t == DT_q5_1 || t == DT_iq4_xs || t == DT_bf16;
#else
   (void)t;
   (void)isa;
   return true;
#endif
}

static void check_layouts(bool int8, const isa_info *isa)
{
   for (int t = 0; t < DT_COUNT; t++)
      if (is_checked((dtype)t, isa) && pack_layout_of((dtype)t) &&
          (!int8 || pack_quant_group((dtype)t)))
         check_layout((dtype)t, int8, isa);
}

/* Every level, with its own instructions where they run here, and emulated: so all of them are
 * executed on any machine. Kills: a bit that depends on the level; tiles whose shape the machine
 * would refuse (they trap). */
static void check_levels(bool int8)
{
   for (int level = 0; level < ISA_LEVEL_COUNT; level++) {
      const isa_info emulated = conform_emulated((isa_level)level);
      if (conform_runs((isa_level)level))
         check_layouts(int8, &isa_infos[level]);
      if (level && conform_whole())
         check_layouts(int8, &emulated);
   }
}

Test(gemm, int8)
{
   check_levels(true);
}

Test(gemm, floats)
{
   check_levels(false);
}
