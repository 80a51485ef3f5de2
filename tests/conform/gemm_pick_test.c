// LINK: codegen base
/* The likeliest token of a row, found by the product that makes its logits. */
#include "gemm_case.h"

#include "base/draw.h"

enum { M = 69, DEPTH = 64 };
static const float untouched = -1234.5f;

typedef struct logits {
   gemm_key key;
   weight w;
   input in;
   LLVMOrcLLJITRef jit;
} logits;

static logits logits_of(gemm_key key, dtype t, uint64_t columns)
{
   logits l = {.key = key, .w = random_weight(t, columns, DEPTH), .jit = jit_create()};

   l.in = random_input(M, DEPTH, key.int8 ? pack_quant_group(t) : 0);
   l.key.w = l.w.layout;
   return l;
}

static void logits_free(logits *l)
{
   LLVMOrcDisposeLLJIT(l->jit);
   weight_free(&l->w);
   input_free(&l->in);
}

/* All values of the rows, without picks: what the picks are of. */
static float *values_of(logits *l, sinter_kernel *kernel)
{
   float *y = malloc(M * l->w.n * sizeof *y);
   launch plain;

   set_launch(&plain, &l->key, &l->w);
   plain.args.ptr[0] = y;
   uint32_t p = set_input(&plain, &l->in, 0);
   plain.args.ptr[p++] = l->w.panels;
   cr_assert(p == plain.plan.num_refs);
   run_rows(&plain, kernel, M);
   return y;
}

static void check_rows(const logits *l, const float *want, const float *y, const draw *how,
                       const int32_t *ids)
{
   const uint64_t n = l->w.n;

   for (uint64_t r = 0; r < M; r++) {
      cr_assert(ids[r] == best_of(want + r * n, n), "row %d of %d columns: %d", (int)r, (int)n,
                ids[r]);
      for (uint64_t i = 0; i < n; i++) {
         const float *expect = how[r].how == DRAW_best ? &untouched : &want[r * n + i];
         cr_assert(memcmp(&y[r * n + i], expect, sizeof *y) == 0, "row %d", (int)r);
      }
   }
}

static void check_picks_at(logits *l, const isa_info *isa)
{
   const uint64_t n = l->w.n;
   char plain[GEMM_SYMBOL_MAX], picks[GEMM_SYMBOL_MAX];
   vec_module *m = module_of(isa);
   draw how[M];
   int32_t ids[M];
   launch k, pick = {.args.step = &k.step};

   gemm_symbol(&l->key, plain);
   gemm_emit(m, &l->key);
   gemm_key with = l->key;
   with.picks = true;
   cr_assert(gemm_unsupported(&with, DEPTH) == NULL);
   gemm_symbol(&with, picks);
   gemm_emit(m, &with);
   pick_emit(m);
   float *want = values_of(l, jit_kernel(l->jit, m, plain));
   float *y = malloc(M * n * sizeof *y);
   set_launch(&k, &with, &l->w);
   uint8_t *parts = malloc(M * gemm_pick_bytes(&k.plan));
   memset(parts, 0x7f, M * gemm_pick_bytes(&k.plan)); /* huge numbers */
   for (uint64_t i = 0; i < M * n; i++)
      y[i] = untouched;
   for (uint32_t r = 0; r < M; r++)
      how[r] = (draw){.how = r % 3};
   uint32_t p = set_input(&k, &l->in, 0);
   memmove(&k.args.ptr[3], &k.args.ptr[1], (p - 1) * sizeof *k.args.ptr);
   k.args.ptr[0] = y;
   k.args.ptr[1] = parts;
   k.args.ptr[2] = how;
   k.args.ptr[p + 2] = l->w.panels;
   cr_assert(p + 3 == k.plan.num_refs);
   run_rows(&k, jit_find(l->jit, picks), M);
   pick_launch(&k.plan, &pick.plan);
   memcpy(pick.args.konst, pick.plan.consts, sizeof pick.args.konst);
   pick.args.ptr[0] = ids;
   pick.args.ptr[1] = parts;
   run(jit_find(l->jit, PICK_SYMBOL), &pick.args, M);
   check_rows(l, want, y, how, ids);
   vec_module_destroy(m);
   LLVMOrcDisposeLLJIT(l->jit);
   l->jit = jit_create();
   free(parts);
   free(want);
   free(y);
}

/* Products of floats with both numbers of lanes, whatever the machine's registers hold. */
static void check_picks(logits *l)
{
   isa_info isa = isa_infos[isa_best()];

   check_picks_at(l, &isa);
   isa.lanes = isa.lanes == PANEL_ROWS ? PANEL_ROWS / 2 : PANEL_ROWS;
   if (!l->key.int8)
      check_picks_at(l, &isa);
}

/* Kills: a column or tile that is not looked at, columns counted wrong, a row of another chunk, a
 * row that is wanted and not written, or written and not wanted. */
Test(gemm_pick, rows_of_many_formats)
{
   static const uint64_t columns[] = {1, 16, 37, 129, 4000};
   const gemm_key codes = {.int8 = true}, floats = {.int8 = false};

   for (size_t i = 0; i < countof(columns); i++) {
      logits a = logits_of(codes, DT_q4_1, columns[i]), b = logits_of(codes, DT_q8_0, columns[i]);
      logits c = logits_of(floats, DT_bf16, columns[i]);

      check_picks(&a);
      check_picks(&b);
      check_picks(&c);
      logits_free(&a);
      logits_free(&b);
      logits_free(&c);
   }
}

/* Kills: steps behind the product that the pick does not see; a tie that goes to the higher number;
 * NaN and infinity that are picked from. */
Test(gemm_pick, ties_and_rows_without_numbers)
{
   const gemm_key capped = {.num_steps = 2,
                            .steps = {{GEMM_STEP_softcap, 2}, {GEMM_STEP_scale, -1}}};
   logits l = logits_of(capped, DT_f32, 300);

   for (uint32_t i = 0; i < DEPTH; i++)
      l.in.x[5 * DEPTH + i] = 0; /* all logits are equal */
   l.in.x[6 * DEPTH] = NAN;
   l.in.x[66 * DEPTH + 9] = INFINITY;
   check_picks(&l);
   logits_free(&l);
}

/* Kills: only some of the columns decide whether a row is finite. */
Test(gemm_pick, one_logit_without_number)
{
   for (uint64_t bad = 0; bad < 300; bad += 23) {
      logits l = logits_of((gemm_key){.int8 = false}, DT_f32, 300);
      const float nan = NAN;

      memcpy(l.w.rows + bad * l.w.stride, &nan, sizeof nan);
      pack_panels(l.w.layout, DT_f32, 300, DEPTH, 0, 19, row_of, &l.w, l.w.panels);
      check_picks(&l);
      logits_free(&l);
   }
}
