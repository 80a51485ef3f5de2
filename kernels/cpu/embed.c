/* embed.c - gathers rows of a packed weight: one row of 16 is picked out of every cell.
 *
 * The 8 groups of a cell lie in words 64 bytes apart (panels.def); a vector of 8 words is shifted
 * and masked into the 32 codes in the order of k. */
#include "embed.h"

#include "base/quant.h"
#include "gemm_impl.h"

#include <stdio.h>

enum { PART = 8 };

typedef struct embed {
   vec_fn *f;
   const embed_key *key;
   const panel_info *p;
   vec_value panel, lane, k, y; /* lane: row within the panel */
} embed;

const char *embed_unsupported(const embed_key *key, uint64_t k)
{
   if (panel_infos[key->w].kind == PANEL_KIND_SCALED)
      return "embeddings are not read from float codes with scales";
   return gemm_unsupported(&(gemm_key){.w = key->w}, k);
}

void embed_symbol(const embed_key *key, char out[GEMM_SYMBOL_MAX])
{
   uint32_t bits;

   memcpy(&bits, &key->scale, sizeof bits);
   int n = snprintf(out, GEMM_SYMBOL_MAX, "embed_%s", panel_infos[key->w].name);
   if (key->scale != 1)
      n += snprintf(out + n, (size_t)(GEMM_SYMBOL_MAX - n), "_scale%x", bits);
   if (key->features)
      snprintf(out + n, (size_t)(GEMM_SYMBOL_MAX - n), "_features");
}

void embed_launch(const embed_key *key, gemm_rows rows, uint64_t n, uint64_t k, plan_launch *out)
{
   uint64_t bytes = 0;

   if (!pack_panel_size(key->w, k, &bytes))
      bytes = 0;
   out->consts[E_N] = (int64_t)n;
   out->consts[E_K] = (int64_t)k;
   out->consts[E_PANEL_BYTES] = (int64_t)bytes;
   out->num_consts = EMBED_CONSTS;
   out->num_refs = 3 + key->features;
   out->tiles = (plan_extent){.k = rows.is_sym ? MAX(rows.num, 1) : rows.num};
   if (rows.is_sym) {
      out->tiles.num_factors = 1;
      out->tiles.factor[0].sym = rows.sym;
      out->tiles.factor[0].div = 1;
   }
   out->bytes = out->tiles;
   out->bytes.k *= (int64_t)(bytes / PANEL_ROWS + 4 * k);
   out->flops = out->tiles;
   out->flops.k *= (int64_t)k;
}

static vec_value scaled(embed *e, vec_value v)
{
   if (e->key->scale == 1)
      return v;
   return vec_fmul(e->f, v, vec_float(e->f, vec_width(v), e->key->scale));
}

static void float_row(embed *e)
{
   vec_fn *f = e->f;
   uint32_t size = e->p->block_bytes / PANEL_ROWS;
   vec_value at = vec_at(f, e->panel, vec_mul_i(f, e->lane, size));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), e->k, 1, 0, NULL);
   vec_value from = vec_at(f, at, vec_mul_i(f, l.i, e->p->block_bytes));
   vec_value v = scaled(e, vec_load_f32(f, e->p->dtype, 1, from));

   vec_store(f, v, vec_at(f, e->y, vec_shl_i(f, l.i, 2)), 4);
   vec_loop_end(f, &l, NULL);
}

/* Fields of `bits` bits of the 8 groups of this row, from the lines at `at`: bytes in i32[8]. */
static vec_value fields(embed *e, vec_value at, uint32_t bits)
{
   vec_fn *f = e->f;
   uint32_t per = 8 / bits;
   vec_value words = vec_poison(f, VEC_i32, 8);
   int64_t shift[8], mask = ((1 << bits) - 1) * 0x01010101ll;

   at = vec_at(f, at, vec_shl_i(f, e->lane, 2));
   for (uint32_t g = 0; g < 8; g += per) {
      vec_value word = vec_load(f, VEC_i32, 1, vec_at_i(f, at, g / per * LINE_BYTES), 4);
      for (uint32_t j = 0; j < per; j++) {
         words = vec_insert(f, words, word, g + j);
         shift[g + j] = bits * j;
      }
   }
   return vec_and_i(f, vec_lshr(f, words, vec_ints(f, VEC_i32, 8, shift)), mask);
}

/* The 32 codes of a cell as bytes; table indices already looked up. */
static vec_value codes_of(embed *e, vec_value cell)
{
   vec_fn *f = e->f;
   const panel_info *p = e->p;
   vec_value v = fields(e, cell, p->low);
   int64_t table[16];

   if (p->high) {
      vec_value high = fields(e, vec_at_i(f, cell, p->low * LINE_BYTES), p->high);
      v = vec_or(f, v, vec_shl_i(f, high, p->low));
   }
   v = vec_bits(f, v, VEC_i8, CELL_K);
   if (!panel_table(p))
      return v;
   for (int i = 0; i < 16; i++)
      table[i] = panel_table(p)[i];
   return vec_lookup(f, vec_ints(f, VEC_i8, 16, table), v);
}

static vec_value half_at(embed *e, vec_value at)
{
   dtype t = e->p->code == PANEL_CODE_E ? DT_bf16 : DT_f16;

   return vec_load_f32(e->f, t, 1, vec_at(e->f, at, vec_shl_i(e->f, e->lane, 1)));
}

static vec_value byte_at(embed *e, vec_value at, bool is_signed)
{
   vec_value v = vec_load(e->f, VEC_i8, 1, at, 1);

   return is_signed ? vec_sext(e->f, v, VEC_i32) : vec_zext(e->f, v, VEC_i32);
}

/* Integer scale and min of sub-block `which` of cell c; min means nothing for layouts without. */
static void sub_scale(embed *e, vec_value block, vec_value cell, vec_value c, uint32_t which,
                      vec_value *scale, vec_value *min)
{
   vec_fn *f = e->f;
   const panel_info *p = e->p;
   vec_value scales = vec_at_i(f, cell, p->scales_at);

   if (p->sub == 16) {
      vec_value at = vec_at_i(f, vec_at(f, scales, vec_shl_i(f, e->lane, 1)), which);
      vec_value both = byte_at(e, at, !p->has_min);
      *min = vec_lshr_i(f, both, 4);
      *scale = p->has_min ? vec_and_i(f, both, 15) : both;
      return;
   }
   vec_value line = vec_add(f, vec_and_i(f, c, -2), vec_lshr_i(f, e->lane, 3));
   vec_value in = vec_add(f, vec_shl_i(f, vec_and_i(f, e->lane, 7), 1), vec_and_i(f, c, 1));
   line = vec_add(f, vec_mul_i(f, line, p->cell_bytes), in);
   *min = byte_at(e, vec_at_i(f, vec_at(f, block, line), p->scales_at + PANEL_ROWS), false);
   *scale = byte_at(e, vec_at(f, scales, e->lane), true);
}

/* Factor and addend of sub-block `which` of cell c; *m NULL when nothing is added. As in
 * gemm_float.c. */
static void factors(embed *e, vec_value block, vec_value cell, vec_value c, uint32_t which,
                    vec_value *d, vec_value *m)
{
   vec_fn *f = e->f;
   const panel_info *p = e->p;
   vec_value tail =
      p->sub ? vec_at_i(f, block, 8 * p->cell_bytes) : vec_at_i(f, cell, p->scales_at);

   *d = half_at(e, tail);
   *m = p->has_min ? half_at(e, vec_at_i(f, tail, 2 * PANEL_ROWS)) : NULL;
   if (p->sub) {
      vec_value scale, min;
      sub_scale(e, block, cell, c, which, &scale, &min);
      *d = vec_fmul(f, *d, vec_itof(f, scale));
      *m = *m ? vec_fneg(f, vec_fmul(f, *m, vec_itof(f, min))) : NULL;
   }
   if (!*m && p->bias)
      *m = vec_fmul(f, *d, vec_float(f, 1, -p->bias));
}

static void cell_of_row(embed *e, vec_value block, vec_value cell, vec_value c, vec_value to)
{
   vec_fn *f = e->f;
   vec_value codes = codes_of(e, cell), d = NULL, m = NULL;

   for (uint32_t i = 0; i < CELL_K / PART; i++) {
      if (i == 0 || (i == 2 && e->p->sub == 16))
         factors(e, block, cell, c, i / 2, &d, &m);
      vec_value v = vec_part(f, codes, i * PART, PART);
      v = e->p->code == PANEL_CODE_U ? vec_zext(f, v, VEC_i32) : vec_sext(f, v, VEC_i32);
      v = vec_itof(f, v);
      v = m ? vec_fma(f, v, vec_splat(f, d, PART), vec_splat(f, m, PART))
            : vec_fmul(f, v, vec_splat(f, d, PART));
      vec_store(f, scaled(e, v), vec_at_i(f, to, i * PART * 4), 4);
   }
}

static void code_row(embed *e)
{
   vec_fn *f = e->f;
   uint32_t cells = e->p->block / CELL_K;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), e->k, e->p->block, 2, (vec_value[]){e->panel, e->y});
   vec_value block = l.var[0];
   vec_loop c = vec_loop_begin(f, vec_i(f, 0), vec_i(f, cells), 1, 1, &l.var[1]);

   cell_of_row(e, block, vec_at(f, block, vec_mul_i(f, c.i, e->p->cell_bytes)), c.i, c.var[0]);
   vec_loop_end(f, &c, (vec_value[]){vec_at_i(f, c.var[0], CELL_K * 4)});
   vec_loop_end(f, &l, (vec_value[]){vec_at_i(f, block, e->p->block_bytes), c.var[0]});
}

/* Row -1 - id of the features. */
static void feature_row(embed *e, vec_value id)
{
   vec_fn *f = e->f;
   vec_value row = vec_sub(f, vec_i(f, -1), id);
   vec_value from = vec_at(f, vec_karg_ptr(f, 3), vec_mul(f, row, vec_shl_i(f, e->k, 2)));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), e->k, 1, 0, NULL);
   vec_value at = vec_shl_i(f, l.i, 2);

   vec_store(f, scaled(e, vec_load_f32(f, DT_f32, 1, vec_at(f, from, at))), vec_at(f, e->y, at), 4);
   vec_loop_end(f, &l, NULL);
}

static void table_row(embed *e, vec_value id)
{
   vec_fn *f = e->f;

   id = vec_select(f, vec_icmp(f, VEC_lt, id, vec_karg_const(f, E_N)), id, vec_i(f, 0));
   id = vec_imax(f, id, vec_i(f, 0));
   e->lane = vec_and_i(f, id, PANEL_ROWS - 1);
   vec_value bytes = vec_mul(f, vec_lshr_i(f, id, 4), vec_karg_const(f, E_PANEL_BYTES));
   e->panel = vec_at(f, vec_karg_ptr(f, 2), bytes);
   if (e->p->kind == PANEL_KIND_FLOAT)
      float_row(e);
   else
      code_row(e);
}

void embed_emit(vec_module *m, const embed_key *key)
{
   char symbol[GEMM_SYMBOL_MAX];
   embed e = {.key = key, .p = &panel_infos[key->w]};

   embed_symbol(key, symbol);
   if (vec_module_has(m, symbol))
      return;
   vec_fn *f = e.f = vec_kernel(m, symbol);
   vec_value tile = vec_tile(f);
   vec_value at = vec_at(f, vec_karg_ptr(f, 1), vec_shl_i(f, tile, 2));
   vec_value id = vec_sext(f, vec_load(f, VEC_i32, 1, at, 4), VEC_i64);
   e.k = vec_karg_const(f, E_K);
   e.y = vec_at(f, vec_karg_ptr(f, 0), vec_mul(f, tile, vec_shl_i(f, e.k, 2)));
   if (!key->features) {
      table_row(&e, id);
   } else {
      vec_if below = vec_if_begin(f, vec_icmp(f, VEC_lt, id, vec_i(f, 0)));
      feature_row(&e, id);
      vec_if_else(f, &below);
      table_row(&e, id);
      vec_if_end(f, &below);
   }
   vec_end(f);
}
