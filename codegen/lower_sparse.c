/* lower_sparse.c - compressed attention: each op alone in its kernel.
 *
 *    compress           one launch
 *    index_topk         scores, chunk by chunk of the context; selection
 *    sparse_attention   one launch */
#include "kernels/cpu/sparse.h"
#include "lower.h"

static sinter_status refuse(const ir_op *op, const char *why)
{
   return base_fail(SINTER_unsupported, ir_op_infos[op->code].name, "report the model",
                    "no kernel for cpu: %s", why);
}

static uint32_t width_of(const ir_value *v)
{
   return (uint32_t)ir_type_row(&v->type);
}

static const plan_cache_group *group_of(const cg_lower *l, const ir_value *state)
{
   return &l->layout->cache_groups[cg_place(l, state)->index];
}

static bool is_f32(const ir_value *v)
{
   return v->type.dtype == DT_f32;
}

/* Rows are the step's: their positions and sequences are metadata. */
static bool is_per_row(const ir_value *v)
{
   return ir_dim_equal(v->type.dim[0], ir_dim_sym(SYM_T));
}

static cg_launch *add_launch(const cg_lower *l, const ir_group *g, const char *symbol,
                             void (*emit)(arena *, vec_module *, const void *), const void *what,
                             const cg_simt_kind *simt, cg_launches *out)
{
   cg_launch *to = vec_push(l->a, &out->list);

   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "sparse", emit, what, simt}};
   to->launch.group = g->id;
   return to;
}

/* positions, seq_of and the block table of a state. */
static void add_places(const cg_lower *l, const ir_value *state, cg_launch *to)
{
   cg_launch_ref(to, cg_ref_meta(IR_META_positions, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_seq_of, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_block_table, cg_place(l, state)->index), 0, false);
}

/* ---- entries ---- */

static void emit_compress(arena *a, vec_module *m, const void *what)
{
   (void)a;
   compress_emit(m, what);
}

static sinter_status lower_compress(const cg_lower *l, const ir_group *g, const ir_op *op,
                                    cg_launches *out)
{
   const ir_value *state = op->operands[0], *place = op->operands[1];
   compress_key *key = arena_new(l->a, compress_key);
   char symbol[SPARSE_SYMBOL_MAX];

   *key = (compress_key){.kv = state->type.dtype,
                         .width = width_of(state),
                         .start = (uint32_t)ir_attr_i(op, IR_ATTR_start, 0),
                         .d = width_of(op->results[0]),
                         .ratio = (uint32_t)ir_dim_const(place->type.dim[0]),
                         .overlap = ir_attr_i(op, IR_ATTR_overlap, 0) != 0};
   if (!is_f32(place) || !is_f32(op->results[0]))
      return refuse(op, "places and entries are f32");
   if (group_of(l, state)->window < (int64_t)(1 + key->overlap) * key->ratio)
      return refuse(op, "the state's window is shorter than what an entry is made of");
   compress_symbol(key, symbol);
   cg_launch *to = add_launch(l, g, symbol, emit_compress, key, &cg_simt_compress, out);
   compress_launch(key, &to->launch);
   cg_launch_value(l, to, op->results[0], true);
   cg_launch_value(l, to, state, false);
   cg_launch_value(l, to, place, false);
   add_places(l, state, to);
   return SINTER_ok;
}

/* ---- choice ---- */

static void emit_index(arena *a, vec_module *m, const void *what)
{
   (void)a;
   index_emit(m, what);
}

static cg_launch *add_index(const cg_lower *l, const ir_group *g, const index_key *key,
                            cg_launches *out)
{
   char symbol[SPARSE_SYMBOL_MAX];

   index_symbol(key, symbol);
   cg_launch *to =
      add_launch(l, g, symbol, emit_index, arena_copy(l->a, key, sizeof *key), &cg_simt_index, out);
   index_launch(key, &to->launch);
   return to;
}

static sinter_status lower_index(const cg_lower *l, const ir_group *g, const ir_op *op,
                                 cg_launches *out)
{
   const ir_value *q = op->operands[0], *state = op->operands[2];
   const plan_ref scratch = {.kind = PLAN_REF_scratch};
   index_key key = {.kv = state->type.dtype,
                    .heads = (uint32_t)ir_dim_const(q->type.dim[1]),
                    .d = width_of(q),
                    .ratio = group_of(l, state)->ratio,
                    .k = width_of(op->results[0])};

   if (!is_f32(q) || !is_f32(op->operands[1]) || !is_per_row(q))
      return refuse(op, "queries and weights are f32, a row for each of the step's");
   cg_launch *score = add_index(l, g, &key, out);
   cg_launch_ref(score, scratch, 0, true);
   for (uint32_t i = 0; i < op->num_operands; i++)
      cg_launch_value(l, score, op->operands[i], false);
   add_places(l, state, score);
   cg_set_condition(&score->launch, cg_condition_of(l, op));
   key.select = true;
   cg_launch *select = add_index(l, g, &key, out);
   cg_launch_value(l, select, op->results[0], true);
   cg_launch_ref(select, scratch, 0, false);
   cg_launch_ref(select, cg_ref_meta(IR_META_positions, 0), 0, false);
   out->scratch = MAX(out->scratch, index_scratch(&key, l->max_rows));
   return SINTER_ok;
}

/* ---- attention ---- */

static void emit_sparse(arena *a, vec_module *m, const void *what)
{
   (void)a;
   sparse_emit(m, what);
}

static sinter_status sparse_key_of(const cg_lower *l, const ir_op *op, sparse_key *key)
{
   const ir_value *q = op->operands[0], *window = op->operands[1];
   const ir_value *entries = op->num_operands > 3 ? op->operands[3] : NULL;
   const ir_value *ids = op->num_operands > 4 ? op->operands[4] : NULL;

   *key = (sparse_key){.q = q->type.dtype,
                       .kv = window->type.dtype,
                       .entry = entries ? entries->type.dtype : window->type.dtype,
                       .y = op->results[0]->type.dtype,
                       .heads = (uint32_t)ir_dim_const(q->type.dim[1]),
                       .d = width_of(q),
                       .k = ids ? width_of(ids) : 0,
                       .ratio = entries ? group_of(l, entries)->ratio : 0,
                       .chosen = ids != NULL,
                       .window = group_of(l, window)->window,
                       .scale = ir_attr_f(op, IR_ATTR_scale, 1)};
   if (!is_f32(op->operands[2]) || (ids && ids->type.dtype != DT_i32) || !is_per_row(q))
      return refuse(op, "sinks are f32, ids i32, and a row is one of the step's");
   return key->d <= SPARSE_MAX_WIDTH ? SINTER_ok : refuse(op, "heads are wider than 1024");
}

static sinter_status lower_attention(const cg_lower *l, const ir_group *g, const ir_op *op,
                                     cg_launches *out)
{
   sparse_key *key = arena_new(l->a, sparse_key);
   char symbol[SPARSE_SYMBOL_MAX];

   SINTER_TRY(sparse_key_of(l, op, key));
   sparse_symbol(key, symbol);
   cg_launch *to = add_launch(l, g, symbol, emit_sparse, key, &cg_simt_sparse, out);
   sparse_launch(key, &to->launch);
   cg_launch_value(l, to, op->results[0], true);
   for (uint32_t i = 0; i < 3; i++)
      cg_launch_value(l, to, op->operands[i], false);
   add_places(l, op->operands[1], to);
   if (op->num_operands > 3) {
      uint32_t group = cg_place(l, op->operands[3])->index;
      cg_launch_value(l, to, op->operands[3], false);
      cg_launch_ref(to, cg_ref_meta(IR_META_block_table, group), 0, false);
   }
   if (op->num_operands > 4)
      cg_launch_value(l, to, op->operands[4], false);
   return SINTER_ok;
}

sinter_status cg_lower_sparse(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   const ir_op *op = g->first;

   if (g->num_ops != 1)
      return refuse(op, "it stands alone in its kernel");
   switch (op->code) {
   case IR_OP_compress: return lower_compress(l, g, op, out);
   case IR_OP_index_topk: return lower_index(l, g, op, out);
   default: return lower_attention(l, g, op, out);
   }
}
