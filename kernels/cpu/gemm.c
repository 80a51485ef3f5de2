/* gemm.c - GEMM kernels: what a tile, the work that a thread takes at once, computes. Its products
 * are made in gemm_rows.c, and what becomes of them is gemm_epilogue.c.
 *
 *    for each panel of the tile
 *       dot products of 8 to 1 rows at a time    -> block[64][16] on the stack   (L1)
 *       with a second weight: the same           -> second[64][16]
 *       epilogue row by row                      -> y
 *
 * The panel stays in L1 while the rows of the chunk (L2) pass over it. */
#include "gemm_kernel.h"

uint32_t gemm_load_arguments(gemm_kernel *g, uint32_t p)
{
   vec_fn *f = g->f;

   for (uint32_t i = 0; i < GEMM_CONSTS; i++)
      g->k[i] = vec_karg_const(f, i);
   g->y = vec_karg_ptr(f, p++);
   if (g->key->picks) {
      g->parts_of = vec_karg_ptr(f, p++);
      g->draws = vec_karg_ptr(f, p++);
   }
   if (g->key->quant)
      g->scales = vec_karg_ptr(f, p++);
   if (g->key->norm.stored)
      g->normed = vec_karg_ptr(f, p++);
   g->x = vec_karg_ptr(f, p++);
   if (g->key->norm.k)
      g->norm_weight = vec_karg_ptr(f, p++);
   g->s = g->key->int8 ? vec_karg_ptr(f, p++) : g->x;
   if (g->key->bounds)
      g->raised = vec_karg_ptr(f, p++);
   g->w[0] = vec_karg_ptr(f, p++);
   if (g->key->w2 != PANEL_none)
      g->w[1] = vec_karg_ptr(f, p++);
   if (g->key->grouped) {
      g->order = vec_karg_ptr(f, p++);
      g->offsets = vec_karg_ptr(f, p++);
   }
   if (g->key->combine)
      g->weights = vec_karg_ptr(f, p++);
   for (uint32_t i = 0; i < g->key->num_steps; i++)
      if (gemm_step_infos[g->key->steps[i].kind].has_operand)
         g->operand[i] = vec_karg_ptr(f, p++);
   return p;
}

/* ---- tiles ---- */

static vec_loop each_panel(gemm_kernel *g, vec_value column_tile)
{
   vec_fn *f = g->f;
   vec_value first = vec_mul(f, column_tile, g->k[C_PANELS]);
   vec_value panels = vec_lshr_i(f, vec_add_i(f, g->k[C_N], PANEL_ROWS - 1), 4);
   vec_value end = vec_imin(f, panels, vec_add(f, first, g->k[C_PANELS]));

   return vec_loop_begin(f, first, end, 1, 0, NULL);
}

void gemm_each_panel(gemm_kernel *g, vec_value column_tile)
{
   vec_fn *f = g->f;
   vec_loop l = each_panel(g, column_tile);
   uint32_t end = g->w[1] && !g->key->bounds ? 2 : g->weight + 1;
   vec_value panel[2];
   vec_if one;

   for (uint32_t i = g->weight; i < end; i++)
      panel[i] = vec_at(f, g->w[i], vec_mul(f, l.i, g->k[C_PANEL_BYTES + i]));
   if (g->two[0]) {
      one = vec_if_begin(f, vec_icmp(f, VEC_eq, g->rows, vec_i(f, 1)));
      gemm_two_dots(g, panel);
      vec_if_else(f, &one);
   }
   for (uint32_t i = g->weight; i < end; i++)
      gemm_panel_dots(g, i, panel[i]);
   if (g->two[0])
      vec_if_end(f, &one);
   gemm_write_panel(g, l.i);
   vec_loop_end(f, &l, NULL);
}

/* AMX is set up once for all panels, where the rows are many. */
void gemm_tile_panels(gemm_kernel *g, vec_value column_tile)
{
   vec_fn *f = g->f;
   vec_value many;
   vec_if i;

   gemm_fill_last_call(g);
   if (g->amx_dots[0][0]) {
      g->in_blocks = vec_and_i(f, g->rows, -PANEL_ROWS);
      many = vec_icmp(f, VEC_gt, g->in_blocks, vec_i(f, 0));
      i = vec_if_begin(f, many);
      g->set = amx_begin(f);
      vec_if_end(f, &i);
   }
   if (g->key->bounds) {
      gemm_bound_panels(g, column_tile);
   } else {
      if (g->key->picks)
         gemm_pick_begin(g);
      gemm_each_panel(g, column_tile);
      if (g->key->picks)
         gemm_pick_end(g, column_tile);
   }
   if (g->amx_dots[0][0]) {
      i = vec_if_begin(f, many);
      vec_tiles_end(f);
      vec_if_end(f, &i);
   }
}

/* Rows first .. first + rows, as they are. */
void gemm_number_rows(gemm_kernel *g, vec_value first)
{
   vec_fn *f = g->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 0, NULL);

   vec_store(f, vec_add(f, first, l.i), vec_at(f, g->from, vec_shl_i(f, l.i, 3)), 8);
   vec_loop_end(f, &l, NULL);
}

static vec_value load_i32(gemm_kernel *g, vec_value base, vec_value index)
{
   vec_fn *f = g->f;

   return vec_sext(f, vec_load(f, VEC_i32, 1, vec_at(f, base, vec_shl_i(f, index, 2)), 4), VEC_i64);
}

/* Slots order[first .. first + rows): their own rows of y, and their tokens' of x. */
static void number_slots(gemm_kernel *g, vec_value first)
{
   vec_fn *f = g->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->rows, 1, 0, NULL);
   vec_value slot = load_i32(g, g->order, vec_add(f, first, l.i)), at = vec_shl_i(f, l.i, 3);

   if (g->key->combine) {
      vec_value weight = vec_at(f, g->weights, vec_shl_i(f, slot, 2));
      weight = vec_load(f, VEC_f32, 1, weight, 4);
      vec_store(f, weight, vec_at(f, g->factor, vec_shl_i(f, l.i, 2)), 4);
   }
   vec_value row = g->key->combine ? vec_div(f, slot, g->k[C_SLOTS_PER_TOKEN]) : slot;
   vec_store(f, row, vec_at(f, g->to, at), 8);
   vec_store(f, vec_div(f, slot, g->k[C_SLOTS_PER_ROW]), vec_at(f, g->from, at), 8);
   vec_loop_end(f, &l, NULL);
}

vec_value gemm_rows_of_step(gemm_kernel *g)
{
   vec_fn *f = g->f;
   vec_value rows = vec_mul(f, g->k[C_ROWS_PER_SYM], vec_sym_at(f, g->k[C_SYM]));

   return vec_add(f, rows, g->k[C_ROWS]);
}

/* A tile is a chunk of rows x some columns. */
static void dense_tile(gemm_kernel *g)
{
   vec_fn *f = g->f;
   vec_value rest = vec_div(f, vec_tile(f), g->k[C_COLUMN_TILES]);
   vec_value head = vec_rem(f, rest, g->k[C_HEADS]), chunk = vec_div(f, rest, g->k[C_HEADS]);

   g->row0 = vec_mul_i(f, chunk, GEMM_ROWS);
   g->y_column = vec_mul(f, head, g->k[C_N]);
   g->x = vec_at(f, g->x, vec_mul(f, head, g->k[C_X_HEAD]));
   g->w[0] = vec_at(f, g->w[0], vec_mul(f, head, g->k[C_W_HEAD]));
   g->rows = vec_imin(f, vec_sub(f, gemm_rows_of_step(g), g->row0), vec_i(f, GEMM_ROWS));
   vec_return_if(f, vec_icmp(f, VEC_le, g->rows, vec_i(f, 0)));
   vec_value column_tile = vec_rem(f, vec_tile(f), g->k[C_COLUMN_TILES]);
   if (g->key->norm.k) {
      gemm_norm_tile(g, column_tile);
      return;
   }
   gemm_number_rows(g, g->row0);
   gemm_tile_panels(g, column_tile);
}

/* Columns of the tile = 0, for every token. */
static void clear_outputs(gemm_kernel *g, vec_value tokens)
{
   vec_loop l = each_panel(g, vec_tile(g->f));

   gemm_clear_panel(g, l.i, tokens);
   vec_loop_end(g->f, &l, NULL);
}

/* The expert of place `slot` in the order, E for a slot without one: the last that does not begin
 * behind it. */
static vec_value expert_of(gemm_kernel *g, vec_value slot)
{
   vec_fn *f = g->f;
   vec_value start[] = {vec_i(f, 0), vec_shl(f, vec_i(f, 1), g->k[C_SEARCH])}, next[2];
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), g->k[C_SEARCH], 1, 2, start);

   next[1] = vec_lshr_i(f, l.var[1], 1);
   vec_value at = vec_add(f, l.var[0], next[1]), most = vec_imin(f, at, g->k[C_EXPERTS]);
   vec_value here = vec_and(f, vec_icmp(f, VEC_le, load_i32(g, g->offsets, most), slot),
                            vec_icmp(f, VEC_le, at, g->k[C_EXPERTS]));
   next[0] = vec_select(f, here, at, l.var[0]);
   vec_loop_end(f, &l, next);
   return l.var[0];
}

/* Which experts a tile is for, from .. to, and which columns. */
typedef struct tile_range {
   vec_value column, from, to;
} tile_range;

/* All of them; or, with few slots, the one whose first slot the tile has: so that tiles are of one
 * size, and a thread walks through one matrix. */
static tile_range range_of(gemm_kernel *g)
{
   vec_fn *f = g->f;
   tile_range all = {vec_tile(f), vec_i(f, 0), vec_add_i(f, g->k[C_EXPERTS], 1)};

   if (g->key->combine)
      return all;
   vec_value slot = vec_div(f, all.column, g->k[C_COLUMN_TILES]), e = expert_of(g, slot);
   vec_value is_first = vec_icmp(f, VEC_eq, load_i32(g, g->offsets, e), slot);
   vec_value end = vec_select(f, is_first, vec_add_i(f, e, 1), e);
   vec_value few = vec_icmp(f, VEC_gt, g->k[C_SEARCH], vec_i(f, 0));
   return (tile_range){vec_rem(f, all.column, g->k[C_COLUMN_TILES]),
                       vec_select(f, few, e, all.from), vec_select(f, few, end, all.to)};
}

/* A tile is some columns of experts that have rows; slots without an expert come last. */
void gemm_grouped_tile(gemm_kernel *g)
{
   vec_fn *f = g->f;
   vec_value w[2] = {g->w[0], g->w[1]}, slots = gemm_rows_of_step(g);
   const tile_range range = range_of(g);

   g->y_column = vec_i(f, 0);
   if (g->key->combine)
      clear_outputs(g, vec_div(f, slots, g->k[C_SLOTS_PER_TOKEN]));
   vec_loop e = vec_loop_begin(f, range.from, range.to, 1, 0, NULL);

   g->has_expert = vec_icmp(f, VEC_lt, e.i, g->k[C_EXPERTS]);
   vec_value next = vec_imin(f, vec_add_i(f, e.i, 1), g->k[C_EXPERTS]);
   vec_value end = vec_select(f, g->has_expert, load_i32(g, g->offsets, next), slots);
   for (uint32_t i = 0; i < 2 && w[i]; i++)
      g->w[i] = vec_at(f, w[i], vec_mul(f, e.i, g->k[C_W_HEAD + i]));
   vec_loop l = vec_loop_begin(f, load_i32(g, g->offsets, e.i), end, GEMM_ROWS, 0, NULL);
   g->rows = vec_imin(f, vec_sub(f, end, l.i), vec_i(f, GEMM_ROWS));
   number_slots(g, l.i);
   gemm_tile_panels(g, range.column);
   vec_loop_end(f, &l, NULL);
   vec_loop_end(f, &e, NULL);
}

void gemm_take_stack(gemm_kernel *g)
{
   vec_fn *f = g->f;

   for (uint32_t i = 0; i < 2 && g->w[i]; i++)
      g->block[i] = vec_stack(f, GEMM_ROWS * PANEL_ROWS * 4, 64);
   if (g->unpack[0][0] || g->unpack[1][0])
      g->unpacked = vec_stack(f, UNPACKED_BYTES, 64);
   if (g->amx_dots[0][0])
      g->products = vec_stack(f, 2 * 2 * PANEL_ROWS * PANEL_ROWS * 4, 64);
   g->from = g->to = vec_stack(f, GEMM_ROWS * 8, 64);
   if (g->key->grouped || g->key->norm.k)
      g->to = vec_stack(f, GEMM_ROWS * 8, 64);
   if (g->key->combine)
      g->factor = vec_stack(f, GEMM_ROWS * 4, 64);
   if (g->key->picks && !g->key->bounds) {
      g->most = vec_stack(f, GEMM_ROWS * vec_lanes(f) * 4, 64);
      g->most_at = vec_stack(f, GEMM_ROWS * vec_lanes(f) * 4, 64);
   }
   if (g->key->quant)
      g->group = vec_stack(f, GEMM_ROWS * QUANT_GROUP * 4, 64);
}

/* The local functions that the kernel calls for one of its weights. */
static void emit_dots(vec_module *m, gemm_kernel *g, uint32_t weight)
{
   panel_layout w = weight ? g->key->w2 : g->key->w;
   const panel_info *p = &panel_infos[w];
   bool int8 = g->key->int8, few = g->key->norm.k != 0; /* rows at a time */
   bool amx = int8 && !few && !g->key->grouped && vec_module_isa(m)->amx;
   bool unpacks = int8 ? p->high > 0 : p->kind != PANEL_KIND_FLOAT;
   unpacks = unpacks && !amx && !few;

   if (w == PANEL_none)
      return;
   if (g->key->parts) {
      amx_emit_parts(m, g->parts);
      return;
   }
   if (amx)
      dot_emit(m, w, DOT_amx, PANEL_ROWS, g->amx_dots[weight]);
   for (uint32_t log = 0; log <= g->most_log; log++) {
      dot_emit(m, w, int8 ? DOT_int8 : DOT_float, 1 << log, g->dots[weight][log]);
      if (unpacks)
         dot_emit(m, int8 ? w : PANEL_f32, int8 ? DOT_int8_unpacked : DOT_float, 1 << log,
                  g->unpacked_dots[weight][log]);
   }
   if (int8 && !amx && !few)
      dot_emit(m, w, DOT_int8_half, 1 << g->most_log, g->half[weight]);
   if (int8 && (unpacks || (amx && p->low < 8))) /* bytes lie as AMX wants them */
      unpack_emit_int8(m, w, amx, g->unpack[weight]);
   else if (unpacks)
      unpack_emit_float(m, w, g->unpack[weight]);
}

void gemm_emit_dots(vec_module *m, gemm_kernel *g)
{
   const gemm_key *key = g->key;

   g->most_log = key->norm.k ? NORM_LOG : dot_most_log(vec_module_isa(m));
   for (uint32_t i = 0; i < 2; i++)
      emit_dots(m, g, i);
   if (key->w2 == key->w && !key->int8 && !key->parts && dot_has_two(key->w))
      dot_emit(m, key->w, DOT_two, 1, g->two);
}

void gemm_emit(vec_module *m, const gemm_key *key)
{
   gemm_kernel g = {.key = key};
   char symbol[GEMM_SYMBOL_MAX];

   gemm_symbol(key, symbol);
   if (vec_module_has(m, symbol))
      return;
   gemm_emit_dots(m, &g);
   g.f = vec_kernel(m, symbol);
   (void)gemm_load_arguments(&g, 0);
   gemm_take_stack(&g);
   if (key->grouped)
      gemm_grouped_tile(&g);
   else
      dense_tile(&g);
   vec_end(g.f);
}
