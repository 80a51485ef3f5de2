/* build.c - ops made by code: one builder per row of ops.def over ir_build. Those with attributes
 * of their own are below. */
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

#define PASSED_1 x
#define PASSED_2 x, y
#define PASSED_3 x, y, z
#define PASSED_4 x, y, z, w
#define RESULT_1 ->results[0]
#define RESULT_2
#define IR_BUILDER(name, operands, results)                                                        \
   IR_RESULTS_##results ir_##name(ir_builder *b, IR_OPERANDS_##operands)                           \
   {                                                                                               \
      return ir_build(b, IR_OP_##name, OPERANDS(PASSED_##operands), NO_ATTRS, NULL)                \
         RESULT_##results;                                                                         \
   }
#include "builders.def"

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
   return IR_NEW(b, embed, NO_ATTRS, ids, w);
}

ir_value *ir_embed_features(ir_builder *b, ir_value *ids, ir_value *w, ir_value *features)
{
   return IR_NEW(b, embed, NO_ATTRS, ids, w, features);
}

ir_value *ir_take_rows(ir_builder *b, ir_value *x, ir_value *idx)
{
   return IR_NEW(b, take_rows, NO_ATTRS, x, idx);
}

ir_value *ir_take_side_by_side(ir_builder *b, ir_value *x, ir_value *idx, int64_t size)
{
   return IR_NEW(b, take_rows, AT(.size = size), x, idx);
}

ir_value *ir_reshape(ir_builder *b, ir_value *x, uint32_t rank, const ir_dim *dims)
{
   ir_type type = ir_type_make(x->type.dtype, rank, dims);

   return ir_build(b, IR_OP_reshape, OPERANDS(x), NO_ATTRS, &type)->results[0];
}

ir_value *ir_slice(ir_builder *b, ir_value *x, int64_t axis, int64_t start, int64_t size)
{
   return IR_NEW(b, slice, AT(.axis = axis, .start = start, .size = size), x);
}

ir_value *ir_cast(ir_builder *b, ir_value *x, dtype to)
{
   ir_type type = x->type;

   type.dtype = to;
   return ir_build(b, IR_OP_cast, OPERANDS(x), NO_ATTRS, &type)->results[0];
}

ir_value *ir_scale(ir_builder *b, ir_value *x, double scale)
{
   return IR_NEW(b, scale, AT(.scale = scale), x);
}

ir_value *ir_softcap(ir_builder *b, ir_value *x, double cap)
{
   return IR_NEW(b, softcap, AT(.cap = cap), x);
}

ir_value *ir_clamp(ir_builder *b, ir_value *x, double min, double max)
{
   return IR_NEW(b, clamp, AT(.min = min, .max = max), x);
}

ir_value *ir_shift(ir_builder *b, ir_value *x, double offset)
{
   return IR_NEW(b, shift, AT(.offset = offset), x);
}

ir_value *ir_rmsnorm(ir_builder *b, ir_value *x, ir_value *w, double eps, double offset)
{
   return IR_NEW(b, rmsnorm, AT(.eps = eps, .offset = offset != 0 ? offset : IR_NO_F), x, w);
}

ir_value *ir_l2norm(ir_builder *b, ir_value *x, double eps)
{
   return IR_NEW(b, l2norm, AT(.eps = eps), x);
}

ir_op *ir_quant(ir_builder *b, ir_value *x, int64_t group)
{
   return ir_build(b, IR_OP_quant, OPERANDS(x), AT(.group = group), NULL);
}

ir_value *ir_rope(ir_builder *b, ir_value *x, ir_value *cs, const char *style)
{
   return IR_NEW(b, rope, AT(.style = style), x, cs);
}

ir_value *ir_rope_last(ir_builder *b, ir_value *x, ir_value *cs, const char *style, bool inverse)
{
   int64_t start = ir_type_row(&x->type) - ir_type_row(&cs->type);

   return IR_NEW(
      b, rope,
      AT(.style = style, .start = start > 0 ? start : IR_NO_I, .inverse = inverse ? 1 : IR_NO_I), x,
      cs);
}

ir_op *ir_route(ir_builder *b, ir_value *logits, ir_value *bias, ir_attrs attrs)
{
   ir_value *operands[] = {logits, bias};

   return ir_build(b, IR_OP_route, operands, bias ? 2 : 1, attrs, NULL);
}

ir_value *ir_route_weights(ir_builder *b, ir_value *logits, ir_value *ids, ir_attrs attrs)
{
   return IR_NEW(b, route_weights, attrs, logits, ids);
}

ir_value *ir_capture(ir_builder *b, ir_value *ids, int64_t layer)
{
   return IR_NEW(b, capture, AT(.layer = layer), ids);
}

ir_op *ir_permute(ir_builder *b, ir_value *ids, int64_t experts)
{
   return ir_build(b, IR_OP_permute, OPERANDS(ids), AT(.experts = experts), NULL);
}

ir_value *ir_moe_matmul(ir_builder *b, ir_value *x, const ir_op *permute, ir_value *w)
{
   ir_value *const *p = permute->results;

   return IR_NEW(b, moe_matmul, NO_ATTRS, x, p[0], p[1], w);
}

ir_value *ir_moe_qmatmul(ir_builder *b, ir_value *q, ir_value *s, const ir_op *permute, ir_value *w)
{
   ir_value *const *p = permute->results;

   return IR_NEW(b, moe_qmatmul, NO_ATTRS, q, s, p[0], p[1], w);
}

ir_value *ir_attention_sinks(ir_builder *b, ir_value *q, ir_value *state, ir_value *sinks,
                             double scale)
{
   return IR_NEW(b, attention, AT(.scale = scale), q, state, sinks);
}

ir_value *ir_attention(ir_builder *b, ir_value *q, ir_value *state, double scale, double cap)
{
   return IR_NEW(b, attention, AT(.scale = scale, .cap = cap != 0 ? cap : IR_NO_F), q, state);
}

ir_value *ir_attention_whole(ir_builder *b, ir_value *q, ir_value *state, double scale)
{
   return IR_NEW(b, attention, AT(.scale = scale, .whole = 1), q, state);
}

ir_value *ir_mla_write(ir_builder *b, ir_value *state, ir_value *c, ir_value *k)
{
   return IR_NEW(b, mla_write, NO_ATTRS, state, c, k);
}

ir_value *ir_mla_attention(ir_builder *b, ir_value *q, ir_value *p, ir_value *state, double scale)
{
   return IR_NEW(b, mla_attention, AT(.scale = scale), q, p, state);
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
   return IR_NEW(b, compress, AT(.start = start ? start : IR_NO_I, .overlap = overlap), state, ape);
}

ir_value *ir_index_topk(ir_builder *b, ir_value *q, ir_value *w, ir_value *state, int64_t k)
{
   return IR_NEW(b, index_topk, AT(.k = k), q, w, state);
}

ir_value *ir_sparse_attention(ir_builder *b, ir_value *q, ir_value *window, ir_value *sinks,
                              ir_value *entries, ir_value *ids, double scale)
{
   ir_value *operands[] = {q, window, sinks, entries, ids};

   return ir_build(b, IR_OP_sparse_attention, operands, 3 + (entries != NULL) + (ids != NULL),
                   AT(.scale = scale), NULL)
      ->results[0];
}

ir_op *ir_hc_mix(ir_builder *b, ir_value *x, ir_value *fn, ir_value *scale, ir_value *base,
                 ir_attrs attrs)
{
   return ir_build(b, IR_OP_hc_mix, OPERANDS(x, fn, scale, base), attrs, NULL);
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
