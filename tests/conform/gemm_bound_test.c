// LINK: codegen base
/* The likeliest token of a row, found by bounds from the upper bits of a weight: the same as among
 * all logits. */
#include "gemm_case.h"

#include "base/draw.h"
#include "kernels/cpu/gemm_impl.h"

enum { M = 69 };
static const float untouched = -1234.5f;

/* What a product and its bounds are made of, for M rows. */
typedef struct bounded {
   gemm_key plain, key;
   weight w;
   input in;
   uint8_t *top;
   draw how[M];
   float *want, *y, *bounds; /* logits, those that were written, f32[M][stride] */
   uint64_t panels, stride;
   int32_t ids[M];
} bounded;

/* The kernels of a level, which are the same for all weights. */
typedef struct code {
   LLVMOrcLLJITRef jit;
   sinter_kernel *plain, *raise, *product, *settle;
} code;

static void pack_top(bounded *b)
{
   pack_panels(b->key.w, b->w.t, b->w.n, b->w.k, 0, b->panels, row_of, &b->w, b->w.panels);
   pack_panels(b->key.w2, b->w.t, b->w.n, b->w.k, 0, b->panels, row_of, &b->w, b->top);
}

static bounded bounded_of(uint64_t columns, uint64_t depth)
{
   bounded b = {.w = random_weight(DT_q8_0, columns, depth), .panels = (columns + 15) / 16};
   uint64_t size;

   b.in = random_input(M, depth, pack_quant_group(DT_q8_0));
   b.plain = (gemm_key){.int8 = true, .w = b.w.layout};
   b.key = b.plain;
   b.key.picks = b.key.bounds = true;
   b.key.w2 = pack_top_of(DT_q8_0);
   cr_assert(gemm_unsupported(&b.key, depth) == NULL);
   cr_assert(pack_size(b.key.w2, columns, depth, &size));
   b.top = aligned_alloc(64, base_align(size, 64));
   b.want = malloc(M * columns * sizeof *b.want);
   b.y = malloc(M * columns * sizeof *b.y);
   for (uint64_t i = 0; i < columns * depth / 32; i++) { /* scales as quantisers make them */
      uint16_t *d = (uint16_t *)(b.w.rows + i * 34);
      *d &= 0x7fff;
   }
   for (uint32_t r = 0; r < M; r++)
      b.how[r].how = DRAW_best;
   pack_top(&b);
   return b;
}

static void bounded_free(bounded *b)
{
   weight_free(&b->w);
   input_free(&b->in);
   free(b->top);
   free(b->want);
   free(b->y);
   free(b->bounds);
}

static void run_plain(bounded *b, sinter_kernel *kernel)
{
   launch l;

   set_launch(&l, &b->plain, &b->w);
   l.args.ptr[0] = b->want;
   l.args.ptr[set_input(&l, &b->in, 0)] = b->w.panels;
   run_rows(&l, kernel, M);
}

/* raise, the product, settle. */
static void run_bounded(bounded *b, const code *c)
{
   const uint64_t s_stride = pack_scales_stride(b->w.k, 32);
   uint8_t *raised = malloc(M * s_stride);
   launch l, other = {.args.step = &l.step};

   set_launch(&l, &b->key, &b->w);
   memset(raised, 0x7f, M * s_stride);
   b->stride = gemm_bound_bytes(&l.plan) / sizeof *b->bounds;
   free(b->bounds);
   b->bounds = aligned_alloc(64, M * b->stride * sizeof *b->bounds);
   memset(b->bounds, 0xff, M * b->stride * sizeof *b->bounds); /* NaN */
   for (uint64_t i = 0; i < M * b->w.n; i++)
      b->y[i] = untouched;
   raise_launch(&l.plan, &other.plan);
   memcpy(other.args.konst, other.plan.consts, sizeof other.args.konst);
   memcpy(other.args.ptr, (void *[]){raised, b->in.codes, b->in.scales}, 3 * sizeof(void *));
   run(c->raise, &other.args, M);
   void *ptrs[] = {b->y, b->bounds, b->how, b->in.codes, b->in.scales, raised, b->w.panels, b->top};
   cr_assert(l.plan.num_refs == countof(ptrs));
   memcpy(l.args.ptr, ptrs, sizeof ptrs);
   run_rows(&l, c->product, M);
   settle_launch(&l.plan, &other.plan);
   memcpy(other.args.konst, other.plan.consts, sizeof other.args.konst);
   memcpy(other.args.ptr, (void *[]){b->ids, b->bounds, b->in.codes, b->in.scales, b->w.panels},
          5 * sizeof(void *));
   run(c->settle, &other.args, M);
   free(raised);
}

/* Rows of a chunk (64) with a row that is wanted have their logits for bounds. */
static bool is_read_in_full(const bounded *b, uint64_t row)
{
   for (uint64_t r = row / 64 * 64; r < MIN((uint64_t)M, row / 64 * 64 + 64); r++)
      if (b->how[r].how != DRAW_best)
         return true;
   return false;
}

static void check_bounds(const bounded *b, uint64_t row)
{
   const uint64_t n = b->w.n;

   for (uint64_t p = 0; p < b->panels; p++) {
      float most = -INFINITY, bound = b->bounds[row * b->stride + p];
      for (uint64_t i = 16 * p; i < MIN(n, 16 * p + 16); i++) {
         float v = b->want[row * n + i];
         most = v < INFINITY ? fmaxf(most, v) : INFINITY;
      }
      cr_assert(is_read_in_full(b, row) ? bound == most : bound >= most,
                "row %d, panel %d: %g below %g", (int)row, (int)p, (double)bound, (double)most);
   }
}

static void check_rows(const bounded *b)
{
   const uint64_t n = b->w.n;

   for (uint64_t r = 0; r < M; r++) {
      check_bounds(b, r);
      cr_assert(b->ids[r] == best_of(b->want + r * n, n), "row %d of %d columns: %d", (int)r,
                (int)n, b->ids[r]);
      for (uint64_t i = 0; i < n; i++) {
         const float *expect = b->how[r].how == DRAW_best ? &untouched : &b->want[r * n + i];
         cr_assert(memcmp(&b->y[r * n + i], expect, sizeof *expect) == 0, "row %d", (int)r);
      }
   }
}

static code code_of(const bounded *b, const isa_info *isa)
{
   code c = {.jit = jit_create()};
   vec_module *m = module_of(isa);
   char plain[GEMM_SYMBOL_MAX], product[GEMM_SYMBOL_MAX], settle[GEMM_SYMBOL_MAX];

   gemm_symbol(&b->plain, plain);
   gemm_symbol(&b->key, product);
   settle_symbol(b->key.w, settle);
   gemm_emit(m, &b->plain);
   raise_emit(m);
   gemm_emit(m, &b->key);
   settle_emit(m, b->key.w);
   c.plain = jit_kernel(c.jit, m, plain);
   c.raise = jit_find(c.jit, RAISE_SYMBOL);
   c.product = jit_find(c.jit, product);
   c.settle = jit_find(c.jit, settle);
   vec_module_destroy(m);
   return c;
}

/* At every level; emulated where its instructions do not run here, so that tiles are executed on
 * any machine. */
static void check(bounded *b)
{
   static code codes[ISA_LEVEL_COUNT];

   for (int i = 0; i < ISA_LEVEL_COUNT; i++) {
      const isa_info isa = conform_isa((isa_level)i);
      if (conform_skips((isa_level)i))
         continue;
      if (!codes[i].jit)
         codes[i] = code_of(b, &isa);
      run_plain(b, codes[i].plain);
      run_bounded(b, &codes[i]);
      check_rows(b);
   }
}

/* Kills: a bound below a logit (codes not raised, a scale of another block), a panel that is not
 * looked at, columns counted wrong, padding that counts, a row of another chunk, a row that is
 * wanted and not written. */
Test(gemm_bound, the_likeliest_of_all)
{
   static const uint64_t columns[] = {1, 16, 37, 129, 4000}, depths[] = {32, 160, 576};

   for (size_t i = 0; i < countof(columns); i++)
      for (size_t d = 0; d < countof(depths); d++) {
         bounded b = bounded_of(columns[i], depths[d]);
         check(&b);
         for (uint32_t r = 0; r < 64; r++) /* of the first chunk only */
            b.how[r].how = r % 3;
         check(&b);
         bounded_free(&b);
      }
}

/* Kills: a tie that goes to the higher number, within a panel or across panels. */
Test(gemm_bound, ties)
{
   bounded b = bounded_of(300, 64);

   for (uint64_t r = 7; r < 300; r += 7) /* some rows are equal */
      memcpy(b.w.rows + r * b.w.stride, b.w.rows, b.w.stride);
   memset(b.in.codes + 5 * 64, 0, 64); /* all logits are equal */
   memset(b.in.scales + 5 * pack_scales_stride(64, 32), 0, pack_scales_stride(64, 32));
   pack_top(&b);
   check(&b);
   bounded_free(&b);
}

/* Kills: factors below 0 that turn a bound around; the lowest code with such a factor. */
Test(gemm_bound, negative_scales)
{
   bounded b = bounded_of(4000, 160);

   for (uint64_t i = 0; i < 4000 * 5; i += 1 + rnd() % 40) {
      b.w.rows[i * 34 + 1] |= 0x80;
      b.w.rows[i * 34 + 2] = 0x80;
   }
   pack_top(&b);
   check(&b);
   bounded_free(&b);
}

/* Kills: NaN and infinity that are picked from, of activations and of weights. */
Test(gemm_bound, rows_without_numbers)
{
   static const uint16_t bad[] = {0x7c00, 0x7e00, 0xfc00};
   const float nan = NAN;

   for (size_t i = 0; i < countof(bad); i++)
      for (uint64_t row = 0; row < 300; row += 23) {
         bounded b = bounded_of(300, 64);
         memcpy(b.w.rows + row * b.w.stride + 34 * (row % 2), &bad[i], 2);
         memcpy(b.in.scales + 6 * pack_scales_stride(64, 32), &nan, 4);
         pack_top(&b);
         check(&b);
         bounded_free(&b);
      }
}
