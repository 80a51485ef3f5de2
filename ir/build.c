/* build.c - ops made by code: one builder per row of ops.def over ir_build. */
#include "internal.h"

#include <math.h>

static void set_STR(ir_func *f, ir_op *op, ir_attr_key key, const char *s)
{
   if (s)
      ir_attr_set(f, op, (ir_attr){.key = key, .s = arena_strdup(f->a, s)});
}

static void set_FLOAT(ir_func *f, ir_op *op, ir_attr_key key, double v)
{
   if (!isnan(v))
      ir_attr_set(f, op, (ir_attr){.key = key, .f = v});
}

static void set_INT(ir_func *f, ir_op *op, ir_attr_key key, int64_t i)
{
   if (i != IR_NO_I)
      ir_attr_set(f, op, (ir_attr){.key = key, .i = i});
}

static void set_META(ir_func *f, ir_op *op, ir_attr_key key, int64_t i)
{
   set_INT(f, op, key, i);
}

ir_op *ir_build(ir_builder *b, ir_opcode code, ir_value *const *operands, uint32_t num_operands,
                ir_attrs attrs, const ir_type *leaf)
{
   ir_func *f = b->f;
   uint32_t num_results = (uint32_t)ir_op_infos[code].results;
   ir_op *op = ir_op_create(f, code, num_operands, num_results);
   ir_type types[IR_MAX_RESULTS];

   for (uint32_t i = 0; i < num_operands; i++)
      ir_use_set(f, op, i, operands[i]);
#define ATTR(name, kind, what) set_##kind(f, op, IR_ATTR_##name, attrs.name);
#include "attrs.def"
#undef ATTR
   if (leaf)
      op->results[0]->type = *leaf;
   if (!ir_infer(op, types))
      for (uint32_t i = 0; i < num_results; i++)
         op->results[i]->type = types[i];
   ir_op_attach(f, op, b->before);
   return op;
}

#define NO_ATTRS AT(.name = NULL)
#define OPERANDS(...) (ir_value *const[]){__VA_ARGS__}, countof(((ir_value *[]){__VA_ARGS__}))
#define BUILD(op, operands, attrs) ir_build(b, IR_OP_##op, operands, attrs, NULL)->results[0]

static ir_value *leaf(ir_builder *b, ir_opcode code, ir_attrs attrs, ir_type type, const char *name)
{
   ir_value *v = ir_build(b, code, NULL, 0, attrs, &type)->results[0];

   ir_set_name(b->f, v, name);
   return v;
}

ir_value *ir_param(ir_builder *b, const char *name, ir_type type)
{
   return leaf(b, IR_OP_param, AT(.name = name), type, name);
}

ir_value *ir_weight(ir_builder *b, const char *name, ir_type type)
{
   return leaf(b, IR_OP_weight, AT(.name = name), type, name);
}

ir_value *ir_meta(ir_builder *b, ir_meta_field field, int64_t index, ir_type type)
{
   return leaf(b, IR_OP_meta, AT(.field = field, .index = index), type, ir_meta_infos[field].name);
}

ir_value *ir_state(ir_builder *b, int64_t layer, int64_t window, ir_type type)
{
   ir_attrs attrs = AT(.layer = layer, .window = window ? window : IR_NO_I);

   const char *stem = ir_state_infos[type.state].paged ? "kv" : ir_state_infos[type.state].name;

   return leaf(b, IR_OP_state, attrs, type,
               arena_printf(b->f->a, "%s%lld", stem, (long long)layer));
}

ir_value *ir_embed(ir_builder *b, ir_value *ids, ir_value *w)
{
   return BUILD(embed, OPERANDS(ids, w), NO_ATTRS);
}

ir_value *ir_embed_features(ir_builder *b, ir_value *ids, ir_value *w, ir_value *features)
{
   return BUILD(embed, OPERANDS(ids, w, features), NO_ATTRS);
}

ir_value *ir_take_rows(ir_builder *b, ir_value *x, ir_value *idx)
{
   return BUILD(take_rows, OPERANDS(x, idx), NO_ATTRS);
}

ir_value *ir_take_side_by_side(ir_builder *b, ir_value *x, ir_value *idx, int64_t size)
{
   return BUILD(take_rows, OPERANDS(x, idx), AT(.size = size));
}

ir_value *ir_reshape(ir_builder *b, ir_value *x, uint32_t rank, const ir_dim *dims)
{
   ir_type type = ir_type_make(x->type.dtype, rank, dims);

   return ir_build(b, IR_OP_reshape, OPERANDS(x), NO_ATTRS, &type)->results[0];
}

ir_value *ir_slice(ir_builder *b, ir_value *x, int64_t axis, int64_t start, int64_t size)
{
   return BUILD(slice, OPERANDS(x), AT(.axis = axis, .start = start, .size = size));
}

ir_value *ir_cast(ir_builder *b, ir_value *x, dtype to)
{
   ir_type type = x->type;

   type.dtype = to;
   return ir_build(b, IR_OP_cast, OPERANDS(x), NO_ATTRS, &type)->results[0];
}

ir_value *ir_add(ir_builder *b, ir_value *x, ir_value *y)
{
   return BUILD(add, OPERANDS(x, y), NO_ATTRS);
}

ir_value *ir_mul(ir_builder *b, ir_value *x, ir_value *y)
{
   return BUILD(mul, OPERANDS(x, y), NO_ATTRS);
}

ir_value *ir_scale(ir_builder *b, ir_value *x, double scale)
{
   return BUILD(scale, OPERANDS(x), AT(.scale = scale));
}

ir_value *ir_silu(ir_builder *b, ir_value *x)
{
   return BUILD(silu, OPERANDS(x), NO_ATTRS);
}

ir_value *ir_gelu(ir_builder *b, ir_value *x)
{
   return BUILD(gelu, OPERANDS(x), NO_ATTRS);
}

ir_value *ir_gelu_tanh(ir_builder *b, ir_value *x)
{
   return BUILD(gelu_tanh, OPERANDS(x), NO_ATTRS);
}

ir_value *ir_softcap(ir_builder *b, ir_value *x, double cap)
{
   return BUILD(softcap, OPERANDS(x), AT(.cap = cap));
}

ir_value *ir_sigmoid(ir_builder *b, ir_value *x)
{
   return BUILD(sigmoid, OPERANDS(x), NO_ATTRS);
}

ir_value *ir_softplus(ir_builder *b, ir_value *x)
{
   return BUILD(softplus, OPERANDS(x), NO_ATTRS);
}

ir_value *ir_clamp(ir_builder *b, ir_value *x, double min, double max)
{
   return BUILD(clamp, OPERANDS(x), AT(.min = min, .max = max));
}

ir_value *ir_shift(ir_builder *b, ir_value *x, double offset)
{
   return BUILD(shift, OPERANDS(x), AT(.offset = offset));
}

ir_value *ir_rmsnorm(ir_builder *b, ir_value *x, ir_value *w, double eps, double offset)
{
   return BUILD(rmsnorm, OPERANDS(x, w), AT(.eps = eps, .offset = offset != 0 ? offset : IR_NO_F));
}

ir_value *ir_l2norm(ir_builder *b, ir_value *x, double eps)
{
   return BUILD(l2norm, OPERANDS(x), AT(.eps = eps));
}

ir_value *ir_center(ir_builder *b, ir_value *x)
{
   return BUILD(center, OPERANDS(x), NO_ATTRS);
}

ir_value *ir_decay(ir_builder *b, ir_value *x, ir_value *a, ir_value *bias)
{
   return BUILD(decay, OPERANDS(x, a, bias), NO_ATTRS);
}

ir_op *ir_quant(ir_builder *b, ir_value *x, int64_t group)
{
   return ir_build(b, IR_OP_quant, OPERANDS(x), AT(.group = group), NULL);
}

ir_value *ir_rope(ir_builder *b, ir_value *x, ir_value *cs, const char *style)
{
   return BUILD(rope, OPERANDS(x, cs), AT(.style = style));
}

ir_value *ir_rope_last(ir_builder *b, ir_value *x, ir_value *cs, const char *style, bool inverse)
{
   int64_t start = ir_type_row(&x->type) - ir_type_row(&cs->type);

   return BUILD(
      rope, OPERANDS(x, cs),
      AT(.style = style, .start = start > 0 ? start : IR_NO_I, .inverse = inverse ? 1 : IR_NO_I));
}

ir_value *ir_matmul(ir_builder *b, ir_value *x, ir_value *w)
{
   return BUILD(matmul, OPERANDS(x, w), NO_ATTRS);
}

ir_value *ir_qmatmul(ir_builder *b, ir_value *q, ir_value *s, ir_value *w)
{
   return BUILD(qmatmul, OPERANDS(q, s, w), NO_ATTRS);
}

ir_op *ir_route(ir_builder *b, ir_value *logits, ir_value *bias, ir_attrs attrs)
{
   ir_value *operands[] = {logits, bias};

   return ir_build(b, IR_OP_route, operands, bias ? 2 : 1, attrs, NULL);
}

ir_value *ir_route_weights(ir_builder *b, ir_value *logits, ir_value *ids, ir_attrs attrs)
{
   return BUILD(route_weights, OPERANDS(logits, ids), attrs);
}

ir_value *ir_capture(ir_builder *b, ir_value *ids, int64_t layer)
{
   return BUILD(capture, OPERANDS(ids), AT(.layer = layer));
}

ir_value *ir_remap(ir_builder *b, ir_value *ids, ir_value *table, ir_value *rows)
{
   return BUILD(remap, OPERANDS(ids, table, rows), NO_ATTRS);
}

ir_op *ir_permute(ir_builder *b, ir_value *ids, int64_t experts)
{
   return ir_build(b, IR_OP_permute, OPERANDS(ids), AT(.experts = experts), NULL);
}

ir_value *ir_moe_matmul(ir_builder *b, ir_value *x, const ir_op *permute, ir_value *w)
{
   ir_value *const *p = permute->results;

   return BUILD(moe_matmul, OPERANDS(x, p[0], p[1], w), NO_ATTRS);
}

ir_value *ir_moe_qmatmul(ir_builder *b, ir_value *q, ir_value *s, const ir_op *permute, ir_value *w)
{
   ir_value *const *p = permute->results;

   return BUILD(moe_qmatmul, OPERANDS(q, s, p[0], p[1], w), NO_ATTRS);
}

ir_value *ir_combine(ir_builder *b, ir_value *x, ir_value *weights)
{
   return BUILD(combine, OPERANDS(x, weights), NO_ATTRS);
}

ir_value *ir_kv_write(ir_builder *b, ir_value *state, ir_value *k, ir_value *v)
{
   return BUILD(kv_write, OPERANDS(state, k, v), NO_ATTRS);
}

ir_value *ir_attention_sinks(ir_builder *b, ir_value *q, ir_value *state, ir_value *sinks,
                             double scale)
{
   return BUILD(attention, OPERANDS(q, state, sinks), AT(.scale = scale));
}

ir_value *ir_attention(ir_builder *b, ir_value *q, ir_value *state, double scale, double cap)
{
   return BUILD(attention, OPERANDS(q, state), AT(.scale = scale, .cap = cap != 0 ? cap : IR_NO_F));
}

ir_value *ir_attention_whole(ir_builder *b, ir_value *q, ir_value *state, double scale)
{
   return BUILD(attention, OPERANDS(q, state), AT(.scale = scale, .whole = 1));
}

ir_value *ir_concat(ir_builder *b, ir_value *x, ir_value *y)
{
   return BUILD(concat, OPERANDS(x, y), NO_ATTRS);
}

ir_value *ir_transpose(ir_builder *b, ir_value *x)
{
   return BUILD(transpose, OPERANDS(x), NO_ATTRS);
}

ir_value *ir_head_matmul(ir_builder *b, ir_value *x, ir_value *w)
{
   return BUILD(head_matmul, OPERANDS(x, w), NO_ATTRS);
}

ir_value *ir_mla_write(ir_builder *b, ir_value *state, ir_value *c, ir_value *k)
{
   return BUILD(mla_write, OPERANDS(state, c, k), NO_ATTRS);
}

ir_value *ir_mla_attention(ir_builder *b, ir_value *q, ir_value *p, ir_value *state, double scale)
{
   return BUILD(mla_attention, OPERANDS(q, p, state), AT(.scale = scale));
}

ir_value *ir_rows_state(ir_builder *b, int64_t layer, int64_t window, int64_t ratio, ir_type type)
{
   ir_attrs attrs =
      AT(.layer = layer, .window = window ? window : IR_NO_I, .ratio = ratio ? ratio : IR_NO_I);

   return leaf(b, IR_OP_state, attrs, type,
               arena_printf(b->f->a, "%s%lld", ir_state_infos[type.state].name, (long long)layer));
}

ir_value *ir_rows_write(ir_builder *b, ir_value *state, ir_value *const *parts, uint32_t n)
{
   ir_value *operands[IR_MAX_PARTS + 1] = {state};

   assert(n <= IR_MAX_PARTS);
   memcpy(operands + 1, parts, n * sizeof *parts);
   return ir_build(b, IR_OP_mla_write, operands, n + 1, NO_ATTRS, NULL)->results[0];
}

ir_value *ir_compress(ir_builder *b, ir_value *state, ir_value *ape, int64_t start, bool overlap)
{
   return BUILD(compress, OPERANDS(state, ape),
                AT(.start = start ? start : IR_NO_I, .overlap = overlap));
}

ir_value *ir_index_topk(ir_builder *b, ir_value *q, ir_value *w, ir_value *state, int64_t k)
{
   return BUILD(index_topk, OPERANDS(q, w, state), AT(.k = k));
}

ir_value *ir_sparse_attention(ir_builder *b, ir_value *q, ir_value *window, ir_value *sinks,
                              ir_value *entries, ir_value *ids, double scale)
{
   ir_value *operands[] = {q, window, sinks, entries, ids};

   return ir_build(b, IR_OP_sparse_attention, operands, 3 + (entries != NULL) + (ids != NULL),
                   AT(.scale = scale), NULL)
      ->results[0];
}

ir_value *ir_lookup(ir_builder *b, ir_value *table, ir_value *ids)
{
   return BUILD(lookup, OPERANDS(table, ids), NO_ATTRS);
}

ir_op *ir_hc_mix(ir_builder *b, ir_value *x, ir_value *fn, ir_value *scale, ir_value *base,
                 ir_attrs attrs)
{
   return ir_build(b, IR_OP_hc_mix, OPERANDS(x, fn, scale, base), attrs, NULL);
}

ir_value *ir_hc_collapse(ir_builder *b, ir_value *x, ir_value *pre)
{
   return BUILD(hc_collapse, OPERANDS(x, pre), NO_ATTRS);
}

ir_value *ir_hc_expand(ir_builder *b, ir_value *y, ir_value *x, ir_value *post, ir_value *comb)
{
   return BUILD(hc_expand, OPERANDS(y, x, post, comb), NO_ATTRS);
}

ir_op *ir_conv_step(ir_builder *b, ir_value *state, ir_value *x, ir_value *w)
{
   return ir_build(b, IR_OP_conv_step, OPERANDS(state, x, w), NO_ATTRS, NULL);
}

ir_op *ir_gdn(ir_builder *b, ir_value *state, ir_value *q, ir_value *k, ir_value *v, ir_value *g,
              ir_value *beta, double scale)
{
   return ir_build(b, IR_OP_gdn, OPERANDS(state, q, k, v, g, beta), AT(.scale = scale), NULL);
}

/* ---- clone ---- */

static void clone_attrs(ir_func *to, ir_op *copy, const ir_op *op)
{
   copy->num_attrs = op->num_attrs;
   copy->attrs = arena_copy(to->a, op->attrs, op->num_attrs * sizeof *op->attrs);
   for (uint32_t i = 0; i < copy->num_attrs; i++)
      if (ir_attr_infos[copy->attrs[i].key].kind == IR_KIND_STR)
         copy->attrs[i].s = arena_strdup(to->a, copy->attrs[i].s);
}

static void clone_result(ir_func *to, ir_value *copy, const ir_value *v)
{
   copy->type = v->type;
   if (v->name) {
      copy->name = arena_strdup(to->a, v->name);
      map_set(&to->names, copy->name, copy);
   }
}

ir_func *ir_func_clone(arena *a, const ir_func *f)
{
   ir_func *to = ir_func_create(a, f->name);
   ir_value **values = arena_array(a, ir_value *, f->num_values);
   ir_group **groups = arena_array(a, ir_group *, f->groups.count);

   memcpy(to->range, f->range, sizeof to->range);
   ir_op_foreach (f, op) {
      ir_op *copy = ir_op_create(to, op->code, op->num_operands, op->num_results);
      clone_attrs(to, copy, op);
      for (uint32_t i = 0; i < op->num_operands; i++)
         ir_use_set(to, copy, i, values[op->operands[i]->id]);
      for (uint32_t i = 0; i < op->num_results; i++) {
         clone_result(to, copy->results[i], op->results[i]);
         values[op->results[i]->id] = copy->results[i];
      }
      ir_op_attach(to, copy, NULL);
      if (op->group && !groups[op->group->id])
         groups[op->group->id] = ir_group_create(to, op->group->name, op->group->rule);
      if (op->group)
         ir_group_append(groups[op->group->id], copy);
   }
   for (size_t i = 0; i < f->returns.count; i++)
      ir_func_return(to, values[f->returns.data[i]->id]);
   to->num_kernels = f->num_kernels;
   return to;
}
