/* gemm_launch.c - what a GEMM kernel is called, and how it is launched. */
#include "gemm_impl.h"
#include "quant.h"

#include <stdio.h>

const gemm_step_info gemm_step_infos[GEMM_STEP_COUNT] = {
#define STEP(name, operand, number, what) [GEMM_STEP_##name] = {#name, operand, number},
   GEMM_STEPS(STEP)
#undef STEP
};

/* ---- keys ---- */

static bool has_step(const gemm_key *key, gemm_step_kind kind)
{
   for (uint32_t i = 0; i < key->num_steps; i++)
      if (key->steps[i].kind == kind)
         return true;
   return false;
}

static const char *weight_unsupported(const gemm_key *key, panel_layout layout, uint64_t k)
{
   const panel_info *p = &panel_infos[layout];

   if (p->kind == PANEL_KIND_NONE || p->kind == PANEL_KIND_ROWS)
      return "the weight is not packed in panels";
   if (key->int8 && p->kind != PANEL_KIND_CODES && p->kind != PANEL_KIND_TOP)
      return "float weights take float activations";
   if (key->parts && layout != PANEL_bf16)
      return "only bf16 weights take activations in parts";
   if (k == 0 || (p->kind != PANEL_KIND_SCALED && k % p->block != 0))
      return "the row length is not a multiple of the weight format's block";
   return NULL;
}

const char *gemm_unsupported(const gemm_key *key, uint64_t k)
{
   const char *why = weight_unsupported(key, key->w, k);

   if (why)
      return why;
   if (key->bounds && (!key->picks || key->num_steps || key->w2 == PANEL_none ||
                       key->w2 != pack_top_of(panel_infos[key->w].dtype)))
      return "bounds are of plain logits, by the top of their weight";
   if (!key->bounds && (has_step(key, GEMM_STEP_mul_second) ||
                        has_step(key, GEMM_STEP_mul_bounded)) != (key->w2 != PANEL_none))
      return "a second weight and the step that uses it go together";
   if (key->w2 != PANEL_none) {
      if ((why = weight_unsupported(key, key->w2, k)) != NULL)
         return why;
   }
   if (key->norm.k && (key->int8 || key->grouped || key->w2 != PANEL_none || key->quant))
      return "a norm stands in front of one matrix of floats";
   if (key->norm.k && (key->norm.k != k || !gemm_norm_rows(k)))
      return "a row to norm does not fit the stack";
   if (key->quant && key->combine)
      return "sums of experts are not quantised where they are made";
   if (key->picks && (key->grouped || key->quant))
      return "only a plain product keeps the largest of its rows";
   return key->num_steps > GEMM_MAX_STEPS ? "the epilogue is too long" : NULL;
}

static uint32_t bits_of(float v)
{
   uint32_t u;

   memcpy(&u, &v, sizeof u);
   return u;
}

void gemm_symbol(const gemm_key *key, char out[GEMM_SYMBOL_MAX])
{
   int n = snprintf(out, GEMM_SYMBOL_MAX, "%s_%s_%s",
                    key->combine   ? "combine"
                    : key->grouped ? "experts"
                                   : "gemm",
                    key->int8    ? "int8"
                    : key->parts ? "parts"
                                 : "float",
                    panel_infos[key->w].name);

   if (key->w2 != PANEL_none)
      n += snprintf(out + n, GEMM_SYMBOL_MAX - n, "_%s", panel_infos[key->w2].name);
   for (uint32_t i = 0; i < key->num_steps; i++) {
      const gemm_step *s = &key->steps[i];
      n += snprintf(out + n, GEMM_SYMBOL_MAX - n, "_%s", gemm_step_infos[s->kind].name);
      if (gemm_step_infos[s->kind].has_number)
         n += snprintf(out + n, GEMM_SYMBOL_MAX - n, "%x", bits_of(s->arg));
   }
   if (key->norm.k)
      n += snprintf(out + n, GEMM_SYMBOL_MAX - n, "_norm%u_%x_%x%s", key->norm.k,
                    bits_of((float)key->norm.eps), bits_of((float)key->norm.offset),
                    key->norm.stored ? "_stored" : "");
   if (key->slices > 1)
      n += snprintf(out + n, GEMM_SYMBOL_MAX - n, "_slices%u_%s", key->slices,
                    key->form == GEMM_whole  ? "whole"
                    : key->form == GEMM_part ? "part"
                                             : "merge");
   if (key->quant || key->picks)
      snprintf(out + n, GEMM_SYMBOL_MAX - n,
               key->quant    ? "_quant"
               : key->bounds ? "_bounds"
                             : "_picks");
}

/* ---- launches ---- */

static uint64_t panel_bytes(panel_layout layout, uint64_t k)
{
   uint64_t bytes = 0;

   return pack_panel_size(layout, k, &bytes) ? bytes : 0;
}

/* Panels of a tile: enough bytes to pay for the call, and still many tiles to share out; whole
 * quant groups. */
static uint64_t panels_per_tile(const gemm_key *key, uint64_t panels, uint64_t bytes)
{
   uint64_t n = key->quant ? QUANT_GROUP / PANEL_ROWS : 1;

   while (n < 8 && 2 * n * bytes <= 32768 && panels / (2 * n) >= 16)
      n *= 2;
   return n;
}

plan_extent gemm_row_extent(int64_t k, gemm_rows rows, uint32_t div)
{
   plan_extent e = {.k = k};

   if (rows.is_sym) {
      e.k *= MAX(rows.num, 1);
      e.num_factors = 1;
      e.factor[0].sym = rows.sym;
      e.factor[0].div = div;
   } else {
      e.k *= (rows.num + div - 1) / div;
   }
   return e;
}

static uint64_t x_stride(const gemm_key *key, uint64_t k)
{
   if (key->parts)
      return gemm_parts_stride(k);
   return key->int8 ? pack_codes_stride(k) : 4 * k;
}

/* Bytes that a step reads of a stack: a panel column for each slot, as long as experts last. */
static void stack_bytes(const gemm_stack *stack, gemm_rows slots, plan_extent *bytes)
{
   if (slots.is_sym)
      *bytes = gemm_row_extent(bytes->k, slots, 1);
   else
      bytes->k *= MIN(slots.num, (int64_t)stack->experts);
}

/* Halvings that find one of `experts` + 1 places. */
static int64_t search_steps(uint64_t experts)
{
   int64_t n = 1;

   while (experts >> n)
      n++;
   return n;
}

static void fill_launch(const gemm_key *key, gemm_rows rows, const gemm_heads *heads,
                        const gemm_stack *stack, uint64_t n, uint64_t k, plan_launch *out)
{
   uint64_t panels = (n + PANEL_ROWS - 1) / PANEL_ROWS;
   uint64_t bytes = panel_bytes(key->w, k), bytes2 = panel_bytes(key->w2, k);
   uint64_t read = key->bounds ? bytes2 : bytes + bytes2;
   uint64_t each = panels_per_tile(key, panels, read);
   const int64_t consts[GEMM_CONSTS] = {
      [C_ROWS_PER_SYM] = rows.is_sym ? MAX(rows.num, 1) : 0,
      [C_SYM] = rows.is_sym ? (int64_t)rows.sym : 0,
      [C_ROWS] = rows.is_sym ? 0 : rows.num,
      [C_N] = (int64_t)n,
      [C_K] = (int64_t)k,
      [C_COLUMN_TILES] = (int64_t)((panels + each - 1) / each),
      [C_PANELS] = (int64_t)each,
      [C_X_STRIDE] = (int64_t)heads->x_stride,
      [C_S_STRIDE] = (int64_t)(key->int8 ? pack_scales_stride(k, QUANT_GROUP) : 0),
      [C_PANEL_BYTES] = (int64_t)bytes,
      [C_PANEL_BYTES2] = (int64_t)bytes2,
      [C_HEADS] = (int64_t)heads->count,
      [C_X_HEAD] = (int64_t)heads->x_head,
      [C_W_HEAD] = (int64_t)(panels * bytes),
      [C_W_HEAD2] = (int64_t)(panels * bytes2),
      [C_Y_STRIDE] = (int64_t)(n * heads->count),
      [C_Y_SCALES] = (int64_t)(key->quant ? pack_scales_stride(n, QUANT_GROUP) : 0),
      [C_EXPERTS] = (int64_t)stack->experts,
      [C_SLOTS_PER_ROW] = (int64_t)stack->slots_per_row,
      [C_SLOTS_PER_TOKEN] = (int64_t)stack->slots_per_token,
   };

   memcpy(out->consts, consts, sizeof consts);
   out->num_consts = GEMM_CONSTS;
   out->num_refs = 3 + key->quant + 2 * key->picks + (key->norm.k != 0) + key->norm.stored +
                   key->int8 + key->bounds + (key->w2 != PANEL_none) + 2 * key->grouped +
                   key->combine;
   for (uint32_t i = 0; i < key->num_steps; i++)
      out->num_refs += gemm_step_infos[key->steps[i].kind].has_operand;
   out->bytes = (plan_extent){.k = (int64_t)(heads->count * panels * read)};
   if (key->grouped) {
      out->tiles = (plan_extent){.k = consts[C_COLUMN_TILES]};
      if (stack->few && !key->combine) {
         out->tiles = gemm_row_extent(consts[C_COLUMN_TILES], rows, 1);
         out->consts[C_SEARCH] = search_steps(stack->experts);
      }
      stack_bytes(stack, rows, &out->bytes);
   } else {
      out->tiles = gemm_row_extent(consts[C_COLUMN_TILES] * consts[C_HEADS], rows, GEMM_ROWS);
   }
   out->flops = gemm_row_extent(
      (int64_t)(2 * heads->count * n * k * (key->w2 != PANEL_none && !key->bounds ? 2 : 1)), rows,
      1);
}

bool gemm_wants_parts(const gemm_key *key, const isa_info *isa)
{
   return isa->amx && !key->int8 && !key->grouped && !key->norm.k && key->w == PANEL_bf16 &&
          (key->w2 == PANEL_none || key->w2 == PANEL_bf16);
}

void gemm_launch(const gemm_key *key, gemm_rows rows, uint64_t n, uint64_t k, plan_launch *out)
{
   const gemm_heads one = {.count = 1, .x_stride = x_stride(key, k)};

   gemm_launch_heads(key, rows, &one, n, k, out);
}

void gemm_launch_heads(const gemm_key *key, gemm_rows rows, const gemm_heads *heads, uint64_t n,
                       uint64_t k, plan_launch *out)
{
   const gemm_stack one = {.experts = 1, .slots_per_row = 1, .slots_per_token = 1};

   fill_launch(key, rows, heads, &one, n, k, out);
}

void gemm_launch_experts(const gemm_key *key, gemm_rows slots, uint64_t n, uint64_t k,
                         const gemm_stack *stack, plan_launch *out)
{
   const gemm_heads one = {.count = 1, .x_stride = x_stride(key, k)};

   fill_launch(key, slots, &one, stack, n, k, out);
}
