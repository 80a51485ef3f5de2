// LINK: codegen passes models ir runtime base sinter_mock
/* Products whose inputs are codes, as SIMT text on the mock's threads, for warps of 32 and 64: of
 * every weight whose codes are whole numbers, by dot products of four bytes and on matrix
 * instructions, against f64. */
#include "simt_run.h"
#include "tests/conform/gemm_case.h"

enum { MOST = 40, COLUMNS = 85, MAX_FORMATS = DT_COUNT };

static const uint64_t row_counts[] = {1, 8, 15, 16, 17, MOST};

/* Every format as a kernel of one module. */
typedef struct module {
   const harness_simt *simt;
   void *loaded;
   uint32_t num;
   dtype of[MAX_FORMATS];
   gemm_key key[MAX_FORMATS];
   char symbol[MAX_FORMATS][GEMM_SYMBOL_MAX];
} module;

static module compile(const harness_simt *simt, bool matrix)
{
   const cg_machine machine = {harness_arch(simt->warp), matrix};
   cg_kernel kernels[MAX_FORMATS];
   module m = {.simt = simt};
   const uint8_t *object;
   size_t size;
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   text_buf text = {.a = a};
   for (int t = 0; t < DT_COUNT; t++) {
      gemm_key *key = &m.key[m.num];

      *key = (gemm_key){.w = pack_layout_of((dtype)t), .int8 = true};
      if (!cg_simt_has_int8(key))
         continue;
      gemm_symbol(key, m.symbol[m.num]);
      m.of[m.num] = (dtype)t;
      kernels[m.num] = (cg_kernel){
         .symbol = m.symbol[m.num], .family = "gemm", .what = key, .simt = cg_simt_gemm_of(key)};
      m.num++;
   }
   cr_assert(m.num == 15);
   HARNESS_OK(cg_simt_text(a, CG_HOST, machine, "test", kernels, m.num, &text));
   HARNESS_OK(cg_host_object(a, text.data, text.len, &object, &size));
   m.loaded = simt->load(object, size);
   arena_destroy(a);
   return m;
}

/* Terms pass through two roundings for each group of columns that share a scale, and few more. */
static double tolerance(const weight *w, const input *in, uint64_t row, uint64_t n)
{
   const panel_info *p = &panel_infos[w->layout];
   uint64_t group = p->block == 16 || p->sub == 16 ? 16 : 32;
   double size = 0, steps = 2.0 * (double)(w->k / group) + 6;

   for (uint64_t k = 0; k < w->k; k++)
      size += fabs(in->exact[row * w->k + k]) * w->sizes[n * w->k + k];
   return size * steps * 0x1p-24 + 1e-30;
}

static void go(const module *m, uint32_t i, launch *l, uint64_t rows)
{
   simt_args args;

   l->step.sym[SYM_T] = (int64_t)rows;
   args = (simt_args){.k = l->args, .tiles = plan_extent_eval(&l->plan.tiles, l->step.sym)};
   m->simt->run(m->loaded, m->symbol[i], m->simt->warp, (uint32_t)args.tiles + 1, &args);
}

static void check_format(const module *m, uint32_t i, uint64_t k)
{
   weight w = random_weight(m->of[i], COLUMNS, k);
   input in = random_input(MOST, k, 32);
   float *y = malloc((MOST * COLUMNS + 1) * sizeof *y), *one = malloc(MOST * COLUMNS * sizeof *one);
   launch l;

   set_launch(&l, &m->key[i], &w);
   cg_simt_gemm.grid(harness_arch(m->simt->warp), &m->key[i], &l.plan);
   l.args.ptr[set_input(&l, &in, 0)] = w.panels;
   for (size_t c = 0; c < countof(row_counts); c++) {
      uint64_t rows = row_counts[countof(row_counts) - 1 - c];
      l.args.ptr[0] = c ? y : one;
      y[rows * COLUMNS] = 12345;
      go(m, i, &l, rows);
      cr_assert(!c || memcmp(y, one, rows * COLUMNS * sizeof *y) == 0,
                "%s: %d rows have other bits", m->symbol[i], (int)rows);
      cr_assert(y[rows * COLUMNS] == 12345, "%s writes past the end", m->symbol[i]);
   }
   for (uint64_t at = 0; at < MOST * COLUMNS; at++) {
      double want = product(&w, &in, at / COLUMNS, at % COLUMNS);
      cr_assert(fabs(one[at] - want) <= tolerance(&w, &in, at / COLUMNS, at % COLUMNS),
                "%s, warps of %u, k %d [%d][%d]: %g, should be %g", m->symbol[i], m->simt->warp,
                (int)k, (int)(at / COLUMNS), (int)(at % COLUMNS), one[at], want);
   }
   weight_free(&w);
   input_free(&in);
   free(y);
   free(one);
}

static void check_all(bool matrix)
{
   for (size_t s = 0; s < countof(warps); s++) {
      module m = compile(&warps[s], matrix);

      for (uint32_t i = 0; i < m.num; i++) {
         const panel_info *p = &panel_infos[m.key[i].w];
         const bool scaled = p->kind == PANEL_KIND_SCALED;

         check_format(&m, i, scaled ? 32 : p->block);
         check_format(&m, i, scaled ? 416 : p->block == 32 ? 544 : 768); /* a short last block */
      }
      m.simt->unload(m.loaded);
   }
}

/* Kills: a plane, bias, table, scale or minimum of another layout; a sum of 16 of the other half;
 * codes of a neighbour; the scale of another row; bits that depend on how many rows there are. */
Test(gemm_int8, dot_products)
{
   check_all(false);
}

/* Kills: those; words of a fragment in another order; halves of k that are not told apart; a copy
 * that is not waited for. */
Test(gemm_int8, matrix_instructions)
{
   check_all(true);
}
