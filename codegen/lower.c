/* lower.c - which family a group belongs to; row kernels and attention. */
#include "lower.h"

#include "kernels/cpu/attention.h"
#include "kernels/cpu/quant.h"
#include "passes/pass.h"
#include "region.h"

const pass_place *cg_place(const cg_lower *l, const ir_value *v)
{
   const pass_place *p = &l->layout->places[v->id];

   while (p->kind == PASS_PLACE_alias)
      p = &l->layout->places[p->alias->id];
   return p;
}

plan_ref cg_ref_of(const cg_lower *l, const ir_value *v)
{
   const pass_place *p = cg_place(l, v);

   switch (p->kind) {
   case PASS_PLACE_weight:
      return (plan_ref){.kind = PLAN_REF_weight, .offset = l->layout->weights[p->index].offset};
   case PASS_PLACE_state:
      return (plan_ref){.kind = PLAN_REF_state, .index = p->index, .index2 = p->index2};
   case PASS_PLACE_meta:
      return (plan_ref){.kind = PLAN_REF_meta, .index = p->index, .index2 = p->index2};
   case PASS_PLACE_output: return (plan_ref){.kind = PLAN_REF_output, .index = p->index};
   default: return (plan_ref){.kind = PLAN_REF_arena, .offset = p->offset};
   }
}

plan_ref cg_ref_meta(ir_meta_field field, uint32_t instance)
{
   return (plan_ref){.kind = PLAN_REF_meta, .index = field, .index2 = instance};
}

void cg_launch_ref(cg_launch *to, plan_ref ref, uint64_t bytes, bool written)
{
   bool is_arena = ref.kind == PLAN_REF_arena;

   assert(to->launch.num_refs < KARGS_MAX_PTRS);
   to->launch.refs[to->launch.num_refs++] = ref;
   if (ref.kind == PLAN_REF_weight || ref.kind == PLAN_REF_meta)
      return; /* never written */
   to->touches[to->num_touches++] = (cg_touch){.kind = ref.kind,
                                               .index = ref.index,
                                               .index2 = ref.index2,
                                               .from = is_arena ? ref.offset : 0,
                                               .to = is_arena ? ref.offset + bytes : UINT64_MAX,
                                               .written = written};
}

void cg_launch_value(const cg_lower *l, cg_launch *to, const ir_value *v, bool written)
{
   cg_launch_ref(to, cg_ref_of(l, v), cg_place(l, v)->size, written);
}

sinter_status cg_extent(int64_t k, ir_dim d, plan_extent *out)
{
   int factor = -1;

   *out = (plan_extent){.k = k};
   for (int s = 0; s < SYM_COUNT; s++) {
      if (d.coef[s] && factor >= 0)
         factor = SYM_COUNT;
      else if (d.coef[s])
         factor = s;
   }
   bool is_product = factor >= 0 && factor < SYM_COUNT && !d.add && d.div == 1;
   if (!is_product && !ir_dim_is_const(d))
      return base_fail(SINTER_unsupported, "", "report the model",
                       "kernels need rows that are a number or a multiple of one symbol");
   if (!base_mul(k, is_product ? d.coef[factor] : ir_dim_const(d), &out->k))
      return base_fail(SINTER_unsupported, "", "", "an extent overflows");
   if (is_product) {
      out->num_factors = 1;
      out->factor[0].sym = (uint32_t)factor;
      out->factor[0].div = 1;
   }
   return SINTER_ok;
}

bool cg_is_panel_quant(const ir_op *op)
{
   return pass_quant_is_packed(op) && op->operands[0]->type.rank == 2;
}

/* ---- row kernels ---- */

static void emit_region(arena *a, vec_module *m, const void *what)
{
   cg_region_emit(what, a, m);
}

/* Bytes from a pointer on that the rows of a region touch. */
static uint64_t region_bytes(const cg_lower *l, const cg_region *r, uint32_t i)
{
   int64_t syms[SYM_COUNT];

   for (int s = 0; s < SYM_COUNT; s++)
      syms[s] = l->f->range[s].max;
   for (uint32_t k = 0; k < r->num_values; k++)
      if (r->values[k].index_ptr >= 0 && r->values[k].ptr == i)
         return l->layout->arena_bytes; /* take_rows reads any row */
   return r->ref_bytes[i] * (uint64_t)ir_dim_eval(r->rows, syms);
}

sinter_status cg_lower_region(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   cg_region *r;
   uint64_t row_bytes = 0;

   SINTER_TRY(cg_region_build(l, g, &r));
   cg_launch *to = vec_push(l->a, &out->list);
   *to = (cg_launch){.kernel = {r->symbol, "region", emit_region, r, &cg_simt_region}};
   to->launch.group = g->id;
   for (uint32_t i = 0; i < r->num_refs; i++) {
      cg_launch_ref(to, r->refs[i], region_bytes(l, r, i), r->ref_written[i]);
      row_bytes += r->ref_bytes[i];
   }
   SINTER_TRY(cg_extent(r->blocks, r->rows, &to->launch.tiles));
   SINTER_TRY(cg_extent((int64_t)row_bytes, r->rows, &to->launch.bytes));
   return cg_extent((int64_t)r->flops, r->rows, &to->launch.flops);
}

/* ---- attention ---- */

static void emit_attention(arena *a, vec_module *m, const void *what)
{
   (void)a;
   attention_emit(m, what);
}

/* Operand of an attention that is the state: behind q, or behind both parts of latent queries. */
static const ir_value *state_of(const ir_op *op)
{
   return op->operands[op->code == IR_OP_mla_attention ? 2 : 1];
}

/* The scores without value, NULL when there are none. */
static const ir_value *sinks_of(const ir_op *op)
{
   return op->code == IR_OP_attention && op->num_operands > 2 ? op->operands[2] : NULL;
}

static const pass_attention *backend_of(const cg_lower *l, const ir_op *op)
{
   return &l->layout->attentions[l->layout->attention_of[op->id]];
}

static sinter_status attention_key_of(const cg_lower *l, const ir_op *op, attention_key *out)
{
   const pass_attention *how = backend_of(l, op);
   const ir_type *q = &op->operands[0]->type, *kv = &state_of(op)->type;
   const plan_cache_group *group = &l->layout->cache_groups[cg_place(l, state_of(op))->index];

   if (!kv->state || q->rank != 3 || !ir_dim_is_const(q->dim[1]) || !ir_dim_is_const(q->dim[2]))
      return base_fail(SINTER_unsupported, "attention", "report the model",
                       "attention on cpu takes q[T,H,d] with H and d known when compiling");
   *out = (attention_key){.q = q->dtype,
                          .kv = kv->dtype,
                          .y = op->results[0]->type.dtype,
                          .heads = (uint32_t)ir_dim_const(q->dim[1]),
                          .groups = group->heads,
                          .width = group->width,
                          .value = (uint32_t)ir_dim_const(q->dim[2]),
                          .sinks = sinks_of(op) != NULL,
                          .latent = op->code == IR_OP_mla_attention,
                          .columns = attention_columns(how->backend, &how->query),
                          .bytes = how->backend == ATTENTION_BACKEND_mma_f8,
                          .window = group->window,
                          .scale = ir_attr_f(op, IR_ATTR_scale, 1),
                          .cap = ir_attr_f(op, IR_ATTR_cap, 0)};
   if ((out->sinks && sinks_of(op)->type.dtype != DT_f32) ||
       (out->latent && out->q != op->operands[1]->type.dtype))
      return base_fail(SINTER_unsupported, "attention", "report the model",
                       "there is no kernel for %u heads over %u of width %u", out->heads,
                       out->groups, out->width);
   return SINTER_ok;
}

static cg_launch *attention_launch_of(const cg_lower *l, const ir_group *g,
                                      const attention_key *key, attention_form form,
                                      cg_launches *out)
{
   attention_key *own = arena_copy(l->a, key, sizeof *key);
   char symbol[ATTENTION_SYMBOL_MAX];
   cg_launch *to = vec_push(l->a, &out->list);

   own->form = form;
   attention_symbol(own, symbol);
   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "attention", emit_attention, own,
                                cg_simt_attention_of(own)}};
   attention_launch(own, l->isa->lanes, &to->launch);
   to->launch.num_refs = 0;
   to->launch.group = g->id;
   return to;
}

/* The field that holds the last position that a row sees. */
static plan_ref last_positions(const ir_op *op)
{
   return cg_ref_meta(ir_attr_i(op, IR_ATTR_whole, 0) ? IR_META_ends : IR_META_positions, 0);
}

/* Pointers of the whole and part forms behind the first. */
static void attention_inputs(const cg_lower *l, const ir_op *op, cg_launch *to)
{
   uint32_t group = cg_place(l, state_of(op))->index;

   for (uint32_t i = 0; i < op->num_operands; i++)
      cg_launch_value(l, to, op->operands[i], false);
   cg_launch_ref(to, cg_ref_meta(IR_META_tiles, 0), 0, false);
   cg_launch_ref(to, last_positions(op), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_seq_of, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_block_table, group), 0, false);
}

panel_layout cg_panels_of(const cg_lower *l, const ir_value *w)
{
   const pass_place *p = cg_place(l, w);

   return p->kind == PASS_PLACE_weight ? (panel_layout)l->layout->weights[p->index].layout
                                       : PANEL_none;
}

static sinter_status expanded_key_of(const cg_lower *l, const ir_op *op, attention_key *out)
{
   const pass_attention *how = backend_of(l, op);
   const ir_type *q = &op->operands[0]->type, *p = &op->operands[1]->type;
   const ir_value *keys = op->operands[3], *values = op->operands[4];

   *out = (attention_key){.form = ATTENTION_expanded,
                          .q = q->dtype,
                          .kv = op->operands[2]->type.dtype,
                          .y = op->results[0]->type.dtype,
                          .heads = (uint32_t)ir_dim_const(q->dim[1]),
                          .groups = (uint32_t)ir_dim_const(q->dim[1]),
                          .width = (uint32_t)(ir_type_row(q) + ir_type_row(p)),
                          .value = (uint32_t)ir_dim_const(values->type.dim[1]),
                          .rank = (uint32_t)ir_type_row(&keys->type),
                          .rotated = (uint32_t)ir_type_row(p),
                          .keys = cg_panels_of(l, keys),
                          .values = cg_panels_of(l, values),
                          .bytes = how->backend == ATTENTION_BACKEND_expand_f8,
                          .shared = l->simt ? attention_shared(how->backend, &how->query) : 0,
                          .scale = ir_attr_f(op, IR_ATTR_scale, 1)};
   const char *why = l->simt ? NULL : attention_expanded_unsupported(out);

   if (!why && p->dtype != q->dtype)
      why = "both parts of the queries must have one type";
   return why ? base_fail(SINTER_unsupported, "mla_expanded",
                          "compile without mla_expand, or report the model",
                          "no kernel for cpu: %s", why)
              : SINTER_ok;
}

/* What both kinds of kernels read, in this order. */
static void expanded_inputs(const cg_lower *l, const ir_op *op, cg_launch *to)
{
   uint32_t group = cg_place(l, op->operands[2])->index;

   for (uint32_t i = 0; i < op->num_operands; i++)
      cg_launch_value(l, to, op->operands[i], false);
   cg_launch_ref(to, cg_ref_meta(IR_META_runs, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_positions, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_seq_of, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_block_table, group), 0, false);
}

/* On a GPU a block takes a chunk, and a kernel of its own folds them. */
static void lower_expanded_simt(const cg_lower *l, const ir_op *op, const attention_key *key,
                                cg_launches *out)
{
   plan_ref scratch = {.kind = PLAN_REF_scratch};
   cg_launch *part = attention_launch_of(l, op->group, key, ATTENTION_expanded, out);

   cg_launch_ref(part, scratch, 0, true);
   expanded_inputs(l, op, part);
   cg_launch *merge = attention_launch_of(l, op->group, key, ATTENTION_expanded_merge, out);
   cg_launch_value(l, merge, op->results[0], true);
   cg_launch_ref(merge, scratch, 0, false);
   cg_launch_ref(merge, cg_ref_meta(IR_META_positions, 0), 0, false);
   out->scratch = MAX(out->scratch, cg_simt_expanded_scratch(key, l->max_rows));
}

static sinter_status lower_expanded(const cg_lower *l, const ir_op *op, cg_launches *out)
{
   plan_ref scratch = {.kind = PLAN_REF_scratch};
   attention_key key;

   SINTER_TRY(expanded_key_of(l, op, &key));
   if (l->simt) {
      lower_expanded_simt(l, op, &key, out);
      return SINTER_ok;
   }
   cg_launch *to = attention_launch_of(l, op->group, &key, ATTENTION_expanded, out);
   cg_launch_value(l, to, op->results[0], true);
   expanded_inputs(l, op, to);
   cg_launch_ref(to, scratch, 0, true);
   out->scratch =
      MAX(out->scratch, attention_expanded_scratch(&key, l->max_rows, l->f->range[SYM_S].max));
   return SINTER_ok;
}

/* What takes the result into the same kernel; *out NULL when the attention is alone. */
static sinter_status quant_behind(const cg_lower *l, const ir_group *g, attention_key *key,
                                  const ir_op **out)
{
   const ir_op *op = g->first, *quant = op->next;
   const char *why = NULL;

   while (quant && quant->group == g && ir_is_alias(quant))
      quant = quant->next;

   *out = NULL;
   if (g->num_ops == 1)
      return SINTER_ok;
   if (!quant || quant->group != g || quant->code != IR_OP_quant ||
       (quant->next && quant->next->group == g) ||
       cg_place(l, op->results[0])->kind != PASS_PLACE_kernel)
      why = "only a quant of its result follows an attention in its kernel";
   else if (!cg_is_panel_quant(quant) || key->value % QUANT_GROUP)
      why = "an attention's kernel quantises in groups of 32 inside of a head";
   if (why)
      return base_fail(SINTER_unsupported, "attention", "compile with --without attn_quant", "%s",
                       why);
   key->quant = true;
   *out = quant;
   return SINTER_ok;
}

static void attention_outputs(const cg_lower *l, const ir_op *op, const ir_op *quant, cg_launch *to)
{
   const ir_op *last = quant ? quant : op;

   for (uint32_t i = 0; i < last->num_results; i++)
      cg_launch_value(l, to, last->results[i], true);
}

sinter_status cg_lower_attention(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   const ir_op *op = g->first, *quant;
   plan_ref scratch = {.kind = PLAN_REF_scratch};
   attention_key key;

   if (op->code == IR_OP_mla_expanded)
      return lower_expanded(l, op, out);
   SINTER_TRY(attention_key_of(l, op, &key));
   SINTER_TRY(quant_behind(l, g, &key, &quant));
   if (!l->decode || l->one_chunk) {
      attention_form form = l->decode && !l->simt ? ATTENTION_row : ATTENTION_whole;
      cg_launch *whole = attention_launch_of(l, g, &key, form, out);
      attention_outputs(l, op, quant, whole);
      attention_inputs(l, op, whole);
      return SINTER_ok;
   }
   cg_launch *part = attention_launch_of(l, g, &key, ATTENTION_part, out);
   cg_launch_ref(part, scratch, 0, true);
   attention_inputs(l, op, part);
   cg_launch *merge = attention_launch_of(l, g, &key, ATTENTION_merge, out);
   attention_outputs(l, op, quant, merge);
   cg_launch_ref(merge, scratch, 0, false);
   if (sinks_of(op))
      cg_launch_value(l, merge, sinks_of(op), false);
   cg_launch_ref(merge, cg_ref_meta(IR_META_tiles, 0), 0, false);
   cg_launch_ref(merge, last_positions(op), 0, false);
   key.form = ATTENTION_part; /* whose blocks are not those of the whole form */
   uint64_t bytes = l->simt ? cg_simt_attention_scratch(&key, l->max_rows)
                            : attention_scratch(&key, l->isa->lanes, l->max_rows);
   out->scratch = MAX(out->scratch, bytes);
   return SINTER_ok;
}

/* ---- groups ---- */

typedef sinter_status lower_group(const cg_lower *l, const ir_group *g, cg_launches *out);

#define CG_OP(name) (UINT64_C(1) << IR_OP_##name)
static const struct {
   uint64_t takes;
   lower_group *lower;
} families[] = {
#define KERNEL(name, takes, what) {takes, cg_lower_##name},
#include "base/kernels.def"
#undef KERNEL
};

sinter_status cg_lower_group(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   uint64_t ops = 0;
   size_t i = 0;

   for (const ir_op *op = g->first; op && op->group == g; op = op->next)
      ops |= UINT64_C(1) << op->code;
   while (families[i].takes && !(families[i].takes & ops))
      i++;
   return families[i].lower(l, g, out);
}
