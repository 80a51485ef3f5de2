/* simt_families.c - the parameters of the templates of products and embeddings, from the keys of
 * the families. */
#include "simt.h"

#include "base/simt_abi.h"
#include "kernels/cpu/embed.h"
#include "kernels/cpu/gemm_impl.h"

/* ---- weights ---- */

void cg_simt_format(text_buf *out, const char *name, panel_layout layout)
{
   const panel_info *p = &panel_infos[layout];
   uint32_t float_bytes = p->kind == PANEL_KIND_FLOAT ? p->block_bytes / PANEL_ROWS : 0;

   text_printf(out,
               "#ifndef FORMAT_%s\n#define FORMAT_%s\n"
               "SIMT_FN simt_format format_%s(void)\n{\n"
               "   const simt_format f = {%d, %u, %d, %u, %u, %u, %u, %d, %d, %d, %u, %u, %u};\n\n"
               "   return f;\n}\n#endif\n",
               p->name, p->name, p->name, p->kind, float_bytes, p->dtype == DT_bf16, p->low,
               p->high, p->block, p->sub, p->has_min, p->code,
               p->block == 32 && p->has_min ? 0 : p->bias, p->scales_at, p->cell_bytes,
               p->block_bytes);
   text_printf(out, "#define %s format_%s()\n", name, p->name);
}

/* ---- gemm ---- */

enum { LEAST_SLICE = 256, MOST_SLICES = 8 };

static void write_step(text_buf *out, const gemm_step *s, uint32_t *ptr)
{
   const char *each = s->kind == GEMM_STEP_add_row || s->kind == GEMM_STEP_mul_row ? "n" : "at";

   switch (s->kind) {
   case GEMM_STEP_add_row:
   case GEMM_STEP_add_mat:
      text_printf(out, " v = v + ((const float *)a->ptr[%u])[%s];", (*ptr)++, each);
      break;
   case GEMM_STEP_mul_row:
   case GEMM_STEP_mul_mat:
      text_printf(out, " v = v * ((const float *)a->ptr[%u])[%s];", (*ptr)++, each);
      break;
   case GEMM_STEP_mul_col:
      text_printf(out, " v = simt_fma(((const float *)a->ptr[%u])[m], v, 0.0f);", (*ptr)++);
      break;
   case GEMM_STEP_mul_second: text_printf(out, " v = v * v2;"); break;
   case GEMM_STEP_mul_bounded:
      text_printf(out, " v = v * (v2 > %af ? %af : v2 < %af ? %af : v2);", s->arg, s->arg, -s->arg,
                  -s->arg);
      break;
   case GEMM_STEP_at_most: text_printf(out, " v = v > %af ? %af : v;", s->arg, s->arg); break;
   case GEMM_STEP_scale: text_printf(out, " v = v * %af;", s->arg); break;
   case GEMM_STEP_softcap: text_printf(out, " v = simt_softcap(v, %af);", s->arg); break;
   case GEMM_STEP_silu: text_printf(out, " v = simt_silu(v);"); break;
   case GEMM_STEP_gelu: text_printf(out, " v = simt_gelu(v);"); break;
   case GEMM_STEP_gelu_tanh: text_printf(out, " v = simt_gelu_tanh(v);"); break;
   case GEMM_STEP_COUNT: break;
   }
}

/* What bf16 holds exactly, in two parts where it is f16; f32 would take three, each times three of
 * the input. */
static bool has_matrix_form(panel_layout w)
{
   return w != PANEL_f32;
}

bool cg_simt_has_matrix(const gemm_key *key)
{
   return has_matrix_form(key->w) && (key->w2 == PANEL_none || has_matrix_form(key->w2));
}

uint32_t cg_simt_slices(const gemm_key *key, const arch_info *arch, uint64_t n, uint64_t k,
                        uint64_t weight_bytes)
{
   uint64_t tiles = (n + arch->columns - 1) / arch->columns;
   uint64_t most = MIN(MIN(arch->units / tiles, k / LEAST_SLICE), MOST_SLICES);

   if (!arch->matrix || key->grouped || !cg_simt_has_matrix(key) || most < 2)
      return 1;
   /* memory is read at the share of the units that have a tile */
   double all = (double)weight_bytes / arch->bytes_per_ns * arch->units / (double)tiles;
   return all - all / (double)most > arch->launch_ns ? (uint32_t)most : 1;
}

/* Registers of a thread: compilers that guess how many blocks should fit keep some in memory. A
 * second matrix of codes, scales of sub-blocks, experts, f16 and codes of inputs take more. */
static int matrix_registers(const gemm_key *key)
{
   bool has_second = key->w2 != PANEL_none, has_subs = panel_infos[key->w].block == 256;
   bool has_codes = panel_infos[key->w].kind != PANEL_KIND_FLOAT;

   if (has_second && (has_subs || panel_infos[key->w2].block == 256))
      return 168;
   return (has_second && has_codes) || has_subs || key->int8 || key->grouped || key->w == PANEL_f16
             ? 128
             : 96;
}

static void emit_gemm(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const gemm_key *key = what;
   const bool merges = key->form == GEMM_merge, quant = key->quant && key->form != GEMM_part;
   const uint32_t x = 1 + quant, w = x + 1 + (key->int8 && !merges);
   uint32_t ptr = merges ? w : w + 1 + (key->w2 != PANEL_none);

   (void)a;
   assert(cg_simt_gemm_of(key));
   text_printf(out,
               "#define GEMM_NAME %s\n#define GEMM_GROUPED %d\n#define GEMM_ORDER %u\n"
               "#define GEMM_SLICES %u\n#define GEMM_FORM %d\n#define GEMM_REGISTERS %d\n"
               "#define GEMM_INT8 %d\n#define GEMM_QUANT %d\n#define GEMM_X %u\n"
               "#define GEMM_AT_W %u\n",
               symbol, key->grouped, ptr, MAX(key->slices, 1), key->form, matrix_registers(key),
               key->int8, quant, x, w);
   ptr += 2 * key->grouped;
   cg_simt_format(out, "GEMM_W", key->w);
   if (key->w2 != PANEL_none)
      cg_simt_format(out, "GEMM_W2", key->w2);
   text_printf(out, "#define GEMM_STEPS");
   for (uint32_t i = 0; i < key->num_steps; i++)
      write_step(out, &key->steps[i], &ptr);
   text_printf(out, "\n");
   cg_simt_include(out, "gemm_rows.cuh");
   if (key->int8)
      cg_simt_include(out, "gemm_int8.cuh");
   if (quant) {
      cg_simt_include(out, "quant.cuh");
      cg_simt_include(out, "gemm_quant.cuh");
   }
   if (cg_simt_has_matrix(key)) {
      text_printf(out, "#if SIMT_MATRIX && SIMT_HAS_MMA\n");
      cg_simt_include(out, "fragments.cuh");
      cg_simt_include(out, "gemm_mma_weights.cuh");
      if (key->int8)
         cg_simt_include(out, "gemm_mma_int8.cuh");
      cg_simt_include(out, "gemm_mma.cuh");
      text_printf(out, "#else\nSIMT_ASSERT(GEMM_SLICES == 1);\n");
   }
   cg_simt_include(out, "gemm.cuh");
   if (cg_simt_has_matrix(key))
      text_printf(out, "#endif\n");
   cg_simt_include(out, "gemm_end.cuh");
}

static void gemm_grid(const arch_info *arch, const void *what, plan_launch *to)
{
   const int64_t *c = to->consts;
   int64_t columns = (c[C_N] + arch->columns - 1) / arch->columns;
   gemm_rows rows = {.is_sym = c[C_ROWS_PER_SYM] > 0,
                     .sym = (sym)c[C_SYM],
                     .num = c[C_ROWS_PER_SYM] > 0 ? c[C_ROWS_PER_SYM] : c[C_ROWS]};

   if (((const gemm_key *)what)->form == GEMM_part)
      columns *= ((const gemm_key *)what)->slices;
   if (((const gemm_key *)what)->form == GEMM_merge) {
      to->tiles = gemm_row_extent((c[C_N] + SIMT_THREADS - 1) / SIMT_THREADS, rows, 1);
      return;
   }
   /* Of slots there may be a tile each: as many as experts that have one. */
   to->tiles = gemm_row_extent(columns * c[C_HEADS], rows,
                               ((const gemm_key *)what)->grouped ? 1 : arch->rows);
}

const cg_simt_kind cg_simt_gemm = {emit_gemm, gemm_grid};

/* Codes of inputs are multiplied with codes that are whole numbers. */
static bool has_int8_form(panel_layout w)
{
   const panel_info *p = &panel_infos[w];

   return p->kind == PANEL_KIND_CODES || (p->kind == PANEL_KIND_SCALED && p->code == PANEL_CODE_S);
}

bool cg_simt_has_int8(const gemm_key *key)
{
   return has_int8_form(key->w) && (key->w2 == PANEL_none || has_int8_form(key->w2));
}

const cg_simt_kind *cg_simt_gemm_of(const gemm_key *key)
{
   bool made = !key->combine && !key->parts && !key->norm.k;

   return made && (!key->int8 || cg_simt_has_int8(key)) ? &cg_simt_gemm : NULL;
}

/* ---- embed ---- */

static void emit_embed(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const embed_key *key = what;

   (void)a;
   text_printf(out, "#define EMBED_NAME %s\n#define EMBED_SCALE %af\n#define EMBED_FEATURES %d\n",
               symbol, key->scale, key->features);
   cg_simt_format(out, "EMBED_W", key->w);
   cg_simt_include(out, "embed.cuh");
}

const cg_simt_kind cg_simt_embed = {emit_embed, NULL};
