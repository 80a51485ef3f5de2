/* gemm_epilogue.c - what becomes of a panel's products: steps in order, then y, codes and scales,
 * or a token's sum.
 *
 *    block[64][16] (second[64][16]) ─ steps ─▶ y[m][16 p ..]
 *                                          └─▶ group[64][32] ─ of two panels ─▶ codes, scales */
#include "gemm_kernel.h"

/* Where `lanes` outputs of one row lie. */
typedef struct place {
   vec_value row, column; /* of y */
   vec_value block;       /* byte offset in the stack blocks */
   vec_value left;        /* outputs that exist from column on; NULL: all */
} place;

static vec_value load_f32s(gemm_kernel *g, const place *at, vec_value ptr)
{
   uint32_t lanes = vec_lanes(g->f);

   return at->left ? vec_load_first(g->f, lanes, ptr, at->left)
                   : vec_load(g->f, VEC_f32, lanes, ptr, 4);
}

static vec_value row_operand(gemm_kernel *g, const place *at, vec_value base)
{
   return load_f32s(g, at, vec_at(g->f, base, vec_shl_i(g->f, at->column, 2)));
}

static vec_value matrix_at(gemm_kernel *g, const place *at, vec_value base)
{
   vec_value index = vec_add(g->f, vec_mul(g->f, at->row, g->k[C_Y_STRIDE]), at->column);

   index = vec_add(g->f, index, g->y_column);
   return vec_at(g->f, base, vec_shl_i(g->f, index, 2));
}

static vec_value second(gemm_kernel *g, const place *at)
{
   return vec_load(g->f, VEC_f32, vec_lanes(g->f), vec_at(g->f, g->block[1], at->block), 32);
}

/* Of a bound and NaN, vec_fmin and vec_fmax give NaN. */
static vec_value bounded(vec_fn *f, vec_value v, float size)
{
   v = vec_fmax(f, vec_float(f, vec_width(v), -size), v);
   return vec_fmin(f, vec_float(f, vec_width(v), size), v);
}

static vec_value apply_step(gemm_kernel *g, uint32_t i, const place *at, vec_value v)
{
   const gemm_step *s = &g->key->steps[i];
   vec_fn *f = g->f;
   vec_value base = g->operand[i];

   switch (s->kind) {
   case GEMM_STEP_add_row: return vec_fadd(f, v, row_operand(g, at, base));
   case GEMM_STEP_mul_row: return vec_fmul(f, v, row_operand(g, at, base));
   case GEMM_STEP_mul_col:
      base = vec_load(f, VEC_f32, 1, vec_at(f, base, vec_shl_i(f, at->row, 2)), 4);
      return vec_fma(f, vec_splat(f, base, vec_lanes(f)), v, vec_float(f, vec_lanes(f), 0));
   case GEMM_STEP_add_mat: return vec_fadd(f, v, load_f32s(g, at, matrix_at(g, at, base)));
   case GEMM_STEP_mul_mat: return vec_fmul(f, v, load_f32s(g, at, matrix_at(g, at, base)));
   case GEMM_STEP_mul_second: return vec_fmul(f, v, second(g, at));
   case GEMM_STEP_mul_bounded: return vec_fmul(f, v, bounded(f, second(g, at), s->arg));
   case GEMM_STEP_at_most: return vec_fmin(f, vec_float(f, vec_lanes(f), s->arg), v);
   case GEMM_STEP_scale: return vec_fmul(f, v, vec_float(f, vec_lanes(f), s->arg));
   case GEMM_STEP_softcap: return vec_softcap(f, v, s->arg);
   case GEMM_STEP_silu: return vec_silu(f, v);
   case GEMM_STEP_gelu: return vec_gelu(f, v);
   case GEMM_STEP_gelu_tanh: return vec_gelu_tanh(f, v);
   case GEMM_STEP_COUNT: break;
   }
   assert(!"no such step");
   return v;
}

/* Quantised outputs wait on the stack, until both panels of a group are there. */
static vec_value group_at(gemm_kernel *g, vec_value panel, vec_value row, uint32_t column)
{
   vec_fn *f = g->f;
   vec_value half = vec_mul_i(f, vec_and_i(f, panel, 1), PANEL_ROWS * 4);

   return vec_at_i(f, vec_at(f, vec_at(f, g->group, vec_mul_i(f, row, QUANT_GROUP * 4)), half),
                   4 * (int64_t)column);
}

/* Row number in y of row i of the chunk. */
static vec_value output_row(gemm_kernel *g, vec_value i)
{
   return vec_load(g->f, VEC_i64, 1, vec_at(g->f, g->to, vec_shl_i(g->f, i, 3)), 8);
}

/* Outputs of row i of the chunk behind all steps; what places they have. */
static void finish_outputs(gemm_kernel *g, vec_value panel, vec_value i, bool tail, place *at,
                           vec_value *out)
{
   vec_fn *f = g->f;
   uint32_t lanes = vec_lanes(f);
   vec_value row = output_row(g, i), column = vec_mul_i(f, panel, PANEL_ROWS), factor = NULL;

   if (g->key->combine)
      factor = vec_load(f, VEC_f32, 1, vec_at(f, g->factor, vec_shl_i(f, i, 2)), 4);
   for (uint32_t k = 0; k < PANEL_ROWS / lanes; k++) {
      at[k] = (place){
         .row = row,
         .column = vec_add_i(f, column, k * lanes),
         .block = vec_add_i(f, vec_mul_i(f, i, PANEL_ROWS * 4), 4 * (int64_t)(k * lanes)),
      };
      if (tail)
         at[k].left = vec_sub(f, g->k[C_N], at[k].column);
      out[k] = vec_load(f, VEC_f32, lanes, vec_at(f, g->block[g->weight], at[k].block), 32);
      for (uint32_t s = 0; s < g->key->num_steps; s++)
         out[k] = apply_step(g, s, &at[k], out[k]);
      if (g->key->combine)
         out[k] = vec_fma(f, vec_splat(f, factor, lanes), out[k],
                          load_f32s(g, &at[k], matrix_at(g, &at[k], g->y)));
   }
}

/* What the largest outputs of row i of the chunk are with these. */
static void keep_best(gemm_kernel *g, vec_value i, const place *at, const vec_value *v)
{
   gemm_best best = gemm_pick_load(g, i);

   for (uint32_t k = 0; k < PANEL_ROWS / vec_lanes(g->f); k++)
      gemm_pick_outputs(g, at[k].column, at[k].left, v[k], &best);
   gemm_pick_store(g, i, &best);
}

/* Rows of the chunk from the stack to y, the columns of a panel; tail: fewer than 16 exist. */
static void write_block(gemm_kernel *g, vec_value panel, bool tail)
{
   vec_fn *f = g->f;
   uint32_t lanes = vec_lanes(f), parts = PANEL_ROWS / lanes;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 0, NULL);
   place at[MAX_HALVES] = {0};
   vec_value v[MAX_HALVES];
   vec_if wanted;

   finish_outputs(g, panel, l.i, tail, at, v);
   if (g->key->picks) {
      if (g->key->bounds)
         gemm_bound_keep(g, panel, at[0].row, v, (vec_value[]){at[0].left, at[1].left});
      else
         keep_best(g, l.i, at, v);
      wanted = vec_if_begin(f, gemm_pick_is_wanted(g, at[0].row));
   }
   for (uint32_t k = 0; k < parts; k++) {
      if (g->key->quant)
         vec_store(f, v[k], group_at(g, panel, l.i, k * lanes), 4);
      else if (tail)
         vec_store_first(f, v[k], matrix_at(g, &at[k], g->y), at[k].left);
      else
         vec_store(f, v[k], matrix_at(g, &at[k], g->y), 4);
   }
   if (g->key->picks)
      vec_if_end(f, &wanted);
   vec_loop_end(f, &l, NULL);
}

/* Codes and scales of the group whose second panel this is. */
static void quantise_rows(gemm_kernel *g, vec_value panel)
{
   vec_fn *f = g->f;
   uint32_t lanes = vec_lanes(f);
   vec_value v[QUANT_GROUP], groups = vec_lshr_i(f, g->k[C_N], 5);
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 0, NULL);
   vec_value row = output_row(g, l.i);
   quant_place to = quant_place_of(f, vec_at(f, g->y, vec_mul(f, row, g->k[C_Y_STRIDE])),
                                   vec_at(f, g->scales, vec_mul(f, row, g->k[C_Y_SCALES])), groups,
                                   vec_lshr_i(f, panel, 1));

   for (uint32_t k = 0; k < QUANT_GROUP / lanes; k++)
      v[k] = vec_load(f, VEC_f32, lanes,
                      vec_at_i(f, vec_at(f, g->group, vec_mul_i(f, l.i, QUANT_GROUP * 4)),
                               4 * (int64_t)(k * lanes)),
                      4);
   quant_emit_group(f, v, &to);
   vec_loop_end(f, &l, NULL);
}

void gemm_write_panel(gemm_kernel *g, vec_value panel)
{
   vec_fn *f = g->f;

   if (g->key->quant) { /* N is whole groups: every panel is whole, and the tile's first one even */
      write_block(g, panel, false);
      vec_if odd = vec_if_begin(f, vec_icmp(f, VEC_ne, vec_and_i(f, panel, 1), vec_i(f, 0)));
      quantise_rows(g, panel);
      vec_if_end(f, &odd);
      return;
   }
   vec_value left = vec_sub(f, g->k[C_N], vec_mul_i(f, panel, PANEL_ROWS));
   vec_if whole = vec_if_begin(f, vec_icmp(f, VEC_ge, left, vec_i(f, PANEL_ROWS)));
   write_block(g, panel, false);
   vec_if_else(f, &whole);
   write_block(g, panel, true);
   vec_if_end(f, &whole);
}

void gemm_clear_panel(gemm_kernel *g, vec_value panel, vec_value tokens)
{
   vec_fn *f = g->f;
   uint32_t lanes = vec_lanes(f);
   vec_value zero = vec_float(f, lanes, 0);
   vec_loop t = vec_loop_begin(f, vec_i(f, 0), tokens, 1, 0, NULL);

   for (uint32_t c = 0; c < PANEL_ROWS; c += lanes) {
      place at = {.row = t.i, .column = vec_add_i(f, vec_mul_i(f, panel, PANEL_ROWS), c)};
      vec_value left = vec_sub(f, g->k[C_N], at.column);
      vec_store_first(f, zero, matrix_at(g, &at, g->y), left);
   }
   vec_loop_end(f, &t, NULL);
}
