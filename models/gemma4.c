/* gemma4.c - Gemma 4 text models.
 *
 *    h  = sqrt(D) embed(ids)
 *    h += norm(W_o attention(rope(norm(W_q x)), rope(norm(W_k x)), norm1(W_v x)))    x = norm(h)
 *    h += norm(W_down (gelu_tanh(W_gate x) * W_up x))                                x = norm(h)
 *         with experts: norm(norm(that) + norm(experts(norm(h)))), routed by h
 *    h += norm(W_projection (gelu_tanh(W_gate h) * e_l))          with embeddings of its own per layer
 *    h *= layer_scalar
 *
 * norm1 has no weight. Layers that see everything have heads of another width and number, and may
 * take v from k's projection; the last layers may read the state of an earlier layer of their kind
 * instead of having one, and then may have a wider MLP. Weights of norms are plain. */
#include "family.h"

#include <math.h>
#include <stdlib.h>

enum { PATTERN = 6 };

void gemma4_defaults(model_config *c)
{
   c->vocab = 262144;
   c->width = 2304;
   c->ffn = 9216;
   c->layers = 30;
   c->heads = 8;
   c->kv_heads = 4;
   c->head_width = 256;
   c->global_head_width = 512;
   c->context = 131072;
   c->norm_eps = 1e-6;
   c->window = 512;
   c->window_pattern = PATTERN;
   c->per_layer_width = 256;
   c->per_layer_vocab = 262144;
   c->tied = true;
   c->rope_base = 1e6;
   c->rope_local_base = 1e4;
}

/* The last layer of l's kind that has a state of its own; l when it has one. */
static uint32_t state_layer(const model_config *c, uint32_t l)
{
   const uint32_t own = c->layers - c->kv_shared;
   uint32_t from = own;

   if (!c->kv_shared || l < own)
      return l;
   while (from > 0 && c->sliding[from - 1] != c->sliding[l])
      from--;
   return from ? from - 1 : l;
}

static sinter_status find_states(model_source *s, model_config *c)
{
   if (c->kv_shared >= c->layers)
      return config_bad(s, "%u of %u layers cannot share states", c->kv_shared, c->layers);
   c->states = arena_array(s->a, model_state, c->layers);
   for (uint32_t l = 0; l < c->layers; l++) {
      model_state *k = &c->states[l];
      bool global = !c->sliding[l];
      k->width = global && c->global_head_width ? c->global_head_width : c->head_width;
      k->heads = global && c->global_kv_heads ? c->global_kv_heads : c->kv_heads;
      k->layer = state_layer(c, l);
      if (c->heads % k->heads || k->width % 2 || k->width > ROPE_MAX_WIDTH)
         return config_bad(s, "layer %u has %u query heads on %u of width %u", l, c->heads,
                           k->heads, k->width);
      if (l >= c->layers - c->kv_shared && k->layer == l)
         return config_bad(s, "no layer before the last %u is like layer %u, whose state it shares",
                           c->kv_shared, l);
   }
   return SINTER_ok;
}

/* ---- GGUF ---- */

/* The heads of both kinds of layer, from a list with one number a layer. */
static sinter_status gguf_heads(model_source *s, model_config *c)
{
   uint32_t *heads = arena_array(s->a, uint32_t, c->layers), of[2] = {0, 0};
   bool given;

   SINTER_TRY(config_layer_numbers(s, c, "attention.head_count_kv", heads, &given));
   for (uint32_t l = 0; given && l < c->layers; l++) {
      uint32_t *one = &of[c->sliding[l]];
      if (*one && *one != heads[l])
         return config_bad(s, "head_count_kv differs between layers of one kind");
      *one = heads[l];
   }
   if (of[true])
      c->kv_heads = of[true];
   if (of[false] && of[false] != c->kv_heads) {
      if (!c->k_eq_v)
         return config_bad(s,
                           "layers that see everything have other heads, and values of their own");
      c->global_kv_heads = of[false];
   }
   return SINTER_ok;
}

/* The last layers, which read the states of others, may have twice the width. */
static sinter_status gguf_widths(model_source *s, model_config *c)
{
   uint32_t *widths = arena_array(s->a, uint32_t, c->layers);
   bool given;

   SINTER_TRY(config_layer_numbers(s, c, "feed_forward_length", widths, &given));
   c->double_wide = given && widths[c->layers - 1] == 2 * c->ffn;
   for (uint32_t l = 0; given && l < c->layers; l++)
      if (widths[l] != (c->double_wide && l >= c->layers - c->kv_shared ? 2 * c->ffn : c->ffn))
         return config_bad(s, "feed_forward_length of layer %u is %u", l, widths[l]);
   return SINTER_ok;
}

/* What the tensors say: no values of their own, embeddings per layer. */
static void gguf_tensors(const model_source *s, model_config *c)
{
   uint32_t l = 0;

   while (l + 1 < c->layers && c->sliding[l])
      l++;
   c->k_eq_v = !config_has_tensor(s, arena_printf(s->a, "blk.%u.attn_v.weight", l));
   for (size_t i = 0; i < s->tensors.count; i++)
      if (strcmp(s->tensors.data[i].source_name, "per_layer_token_embd.weight") == 0)
         c->per_layer_vocab = (uint32_t)MIN(s->tensors.data[i].dim[0], UINT32_MAX);
   c->moe_block = c->experts > 0;
}

static sinter_status from_gguf(model_source *s, model_config *c)
{
   if (!c->local_width || c->local_width % 2 || c->local_value_width != c->local_width)
      return config_bad(s, "key_length_swa and value_length_swa are not one even number");
   c->global_head_width = c->head_width;
   c->head_width = c->local_width;
   if (c->kv_shared >= c->layers)
      return config_bad(s, "%u of %u layers cannot share states", c->kv_shared, c->layers);
   gguf_tensors(s, c);
   SINTER_TRY(gguf_heads(s, c));
   return gguf_widths(s, c);
}

/* ---- config.json ---- */

/* One layer's numbers in per_layer_config; what it does not name is as everywhere. */
static sinter_status layer_numbers(const model_source *s, const json *own, const char *layer,
                                   uint32_t *width, uint32_t *heads)
{
   for (size_t i = 0; i < own->len; i++) {
      const json *v = own->items[i];
      uint32_t *to = strcmp(own->keys[i], "head_dim") == 0              ? width
                     : strcmp(own->keys[i], "num_key_value_heads") == 0 ? heads
                                                                        : NULL;
      if (!to)
         return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                          "per_layer_config gives layer %.20s a '%.60s' of its own", layer,
                          own->keys[i]);
      if (v->kind != JSON_int || v->integer < 1 || v->integer > 1 << 16)
         return config_bad(s, "per_layer_config gives layer %.20s a %s that is no count", layer,
                           own->keys[i]);
      *to = (uint32_t)v->integer;
   }
   return SINTER_ok;
}

/* Keys are numbers, some with zeros in front. */
static const json *entry_of(const json *by, uint32_t l)
{
   for (size_t i = 0; i < by->len; i++) {
      char *end;
      unsigned long n = strtoul(by->keys[i], &end, 10);
      if (end != by->keys[i] && !*end && n == l)
         return by->items[i];
   }
   return NULL;
}

/* {"<layer>": {"head_dim": …, "num_key_value_heads": …}, …}: how newer files say what
 * global_head_dim and num_global_key_value_heads said. Layers of one kind are alike. */
static sinter_status read_per_layer(const model_source *s, model_config *c, const json *by)
{
   uint32_t width[2] = {0, c->head_width}, heads[2] = {0, c->kv_heads}; /* of those that slide: 1 */

   for (uint32_t l = 0; l < c->layers; l++) {
      const char *layer = arena_printf(s->a, "%u", l);
      const json *own = entry_of(by, l);
      uint32_t w = c->head_width, h = c->kv_heads, kind = c->sliding[l];
      if (own && own->kind != JSON_object)
         return config_bad(s, "per_layer_config says of layer %s what is no dictionary", layer);
      if (own)
         SINTER_TRY(layer_numbers(s, own, layer, &w, &h));
      if (!width[kind])
         width[kind] = w, heads[kind] = h;
      if (w != width[kind] || h != heads[kind])
         return base_fail(SINTER_unsupported, s->path,
                          "take a model whose layers of one kind are alike",
                          "per_layer_config gives layer %s %u kv heads of %u elements, not %u of "
                          "%u like others of its kind",
                          layer, h, w, heads[kind], width[kind]);
   }
   c->global_head_width = width[0];
   c->global_kv_heads = heads[0];
   return SINTER_ok;
}

/* The widths of layers that see everything, in both spellings. */
static sinter_status global_widths(const model_source *s, model_config *c)
{
   const json *by = s->gguf ? NULL : json_get(config_text(s), "per_layer_config");

   if (by && by->kind != JSON_null && by->kind != JSON_object)
      return config_bad(s, "per_layer_config is no dictionary");
   if (by && by->kind == JSON_object)
      return read_per_layer(s, c, by);
   if (!c->k_eq_v)
      c->global_kv_heads = 0;
   return SINTER_ok;
}

sinter_status gemma4_derive(model_source *s, model_config *c)
{
   bool given;

   SINTER_TRY(config_check_activation(s, c, "gelu_pytorch_tanh"));
   if (!c->window)
      return config_bad(s, "sliding_window is missing or zero");
   if (s->gguf)
      SINTER_TRY(config_layer_types(s, c, &given));
   if (s->gguf)
      SINTER_TRY(from_gguf(s, c));
   if (c->moe_block != (c->experts > 0))
      return config_bad(s, "enable_moe_block and num_experts contradict each other");
   c->attention_scale = 1;
   SINTER_TRY(config_window_pattern(s, c));
   c->sliding[c->layers - 1] = false;
   SINTER_TRY(config_layer_types(s, c, &given));
   if (s->gguf && !given)
      return config_bad(s, "sliding_window_pattern is missing");
   SINTER_TRY(global_widths(s, c));
   SINTER_TRY(find_states(s, c));
   return config_read_rope(s, c, true);
}

/* ---- tensors that no checkpoint has ---- */

/* n times `value`, as the f32 vector `name`. */
static ir_value *constant(model_build *m, const char *name, uint64_t n, float value)
{
   model *of = m->m;

   if (!map_get(&of->by_name, name)) {
      model_tensor *t = arena_new(of->a, model_tensor);
      float *values = arena_array(of->a, float, n);
      for (uint64_t i = 0; i < n; i++)
         values[i] = value;
      *t = (model_tensor){.name = name,
                          .source_name = name,
                          .dtype = DT_f32,
                          .rank = 1,
                          .dim = {n},
                          .data = (const uint8_t *)values,
                          .bytes = n * sizeof value};
      (void)map_set(&of->by_name, name, t);
   }
   return model_global_vector(m, name, n);
}

/* RMSNorm over the last dim without a weight. */
static ir_value *bare_norm(model_build *m, ir_value *x)
{
   uint64_t n = (uint64_t)ir_type_row(&x->type);
   ir_value *ones = constant(m, arena_printf(m->m->a, "ones.%llu", (unsigned long long)n), n, 1);

   return ir_rmsnorm(&m->b, x, ones, m->config->norm_eps, 0);
}

/* The number blk.<l>.layer_output_scale.weight as a row. */
static ir_value *layer_scalar(model_build *m, uint32_t l)
{
   const char *row = arena_printf(m->m->a, "blk.%u.layer_output_scale.row", l);

   return constant(m, row, m->config->width,
                   (float)model_number(m, l, "layer_output_scale.weight"));
}

/* ---- attention ---- */

static ir_value *heads(model_build *m, ir_value *x, uint32_t n, uint32_t width)
{
   return ir_reshape(&m->b, x, 3, (ir_dim[]){x->type.dim[0], ir_dim_of(n), ir_dim_of(width)});
}

static void write_state(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   const model_state *k = &c->states[l];
   uint32_t rows = k->heads * k->width;
   ir_value *key = model_linear(m, l, "attn_k", x, rows, c->qkv_bias), *value = key;

   if (c->sliding[l] || !c->k_eq_v)
      value = model_linear(m, l, "attn_v", x, rows, c->qkv_bias);
   key = model_rope(m, l, model_norm(m, l, "attn_k_norm", heads(m, key, k->heads, k->width)));
   value = bare_norm(m, heads(m, value, k->heads, k->width));
   m->kv[l] = ir_kv_write(&m->b, m->kv[l], key, value);
}

/* Tensors that a checkpoint may hold for a layer whose keys and values are another's. */
static void skip_unused(model_build *m, uint32_t l)
{
   static const char *const names[] = {"attn_k", "attn_v", "attn_k_norm"};

   for (size_t i = 0; i < countof(names); i++) {
      model_tensor *t =
         map_get(&m->m->by_name, arena_printf(m->m->a, "blk.%u.%s.weight", l, names[i]));
      if (t)
         t->read = true;
   }
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   const model_state *k = &c->states[l];
   ir_value *q = model_linear(m, l, "attn_q", x, c->heads * k->width, c->qkv_bias);

   q = model_rope(m, l, model_norm(m, l, "attn_q_norm", heads(m, q, c->heads, k->width)));
   if (k->layer == l)
      write_state(m, l, x);
   else
      skip_unused(m, l);
   ir_value *a = ir_attention(&m->b, q, m->kv[k->layer], c->attention_scale, 0);
   return model_linear(m, l, "attn_output", model_merge(m, a), c->width, c->output_bias);
}

/* ---- feed forward ---- */

static ir_value *mlp(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   bool wide = c->double_wide && c->states[l].layer != l;

   return model_gated(m, l, "", x, wide ? 2 * c->ffn : c->ffn, ir_gelu_tanh);
}

static ir_value *gelu_mul(model_build *m, ir_value *gate, ir_value *up)
{
   return ir_mul(&m->b, ir_gelu_tanh(&m->b, gate), up);
}

/* A vector as a table of rows of one element. */
static ir_value *column(model_build *m, uint32_t l, const char *name, uint64_t n)
{
   model_tensor *t = map_get(&m->m->by_name, arena_printf(m->m->a, "blk.%u.%s", l, name));

   if (t && t->rank == 1) {
      t->rank = 2;
      t->dim[1] = 1;
   }
   return model_matrix(m, l, name, n, 1);
}

/* The router sees the residual, normed and scaled by a vector; weights are scaled by expert. */
static ir_value *experts(model_build *m, uint32_t l, ir_value *h)
{
   const model_config *c = m->config;
   const model_experts how = {.experts = c->experts,
                              .used = c->experts_used,
                              .ffn = c->expert_ffn,
                              .route = AT(.score = "softmax", .norm = 1),
                              .act = gelu_mul};
   ir_value *scale = model_vector(m, l, "ffn_gate_inp.scale", c->width);
   ir_value *x = ir_mul(&m->b, bare_norm(m, h), scale);
   ir_op *route = model_route(m, l, ir_scale(&m->b, x, (float)(1 / sqrt(c->width))), &how);
   ir_value *ids = route->results[0], *weights = route->results[1];
   ir_dim slots = ir_dim_mul(ids->type.dim[0], c->experts_used);
   ir_value *by = column(m, l, "ffn_down_exps.scale", c->experts);

   by = ir_embed(&m->b, ir_reshape(&m->b, ids, 1, &slots), by);
   weights = ir_mul(&m->b, weights, ir_reshape(&m->b, by, 2, weights->type.dim));
   return model_experts_of(m, l, model_norm(m, l, "pre_ffw_norm_2", h), ids, weights, &how);
}

static ir_value *feed_forward(model_build *m, uint32_t l, ir_value *h)
{
   ir_value *f = mlp(m, l, model_norm(m, l, "ffn_norm", h));

   if (m->config->moe_block) {
      ir_value *sum = model_norm(m, l, "post_ffw_norm_2", experts(m, l, h));

      f = ir_add(&m->b, model_norm(m, l, "post_ffw_norm_1", f), sum);
   }
   return model_norm(m, l, "post_ffw_norm", f);
}

/* ---- embeddings per layer ---- */

/* Of all layers: (norm(W h / sqrt(D)) + sqrt(p) table[ids]) / sqrt(2), f32[T, L, p]. */
static ir_value *per_layer_inputs(model_build *m, ir_value *h)
{
   const model_config *c = m->config;
   const uint32_t p = c->per_layer_width, all = c->layers * p;
   const ir_dim dims[] = {h->type.dim[0], ir_dim_of(c->layers), ir_dim_of(p)};
   ir_value *table = model_global_matrix(m, "per_layer_token_embd.weight", c->per_layer_vocab, all);
   ir_value *w = model_global_matrix(m, "per_layer_model_proj.weight", all, c->width);
   ir_value *norm = model_global_vector(m, "per_layer_proj_norm.weight", p);
   ir_value *x = ir_scale(&m->b, ir_matmul(&m->b, h, w), (float)(1 / sqrt(c->width)));
   ir_value *e = ir_scale(&m->b, ir_embed(&m->b, m->ids, table), (float)sqrt(p));

   x = ir_rmsnorm(&m->b, ir_reshape(&m->b, x, 3, dims), norm, c->norm_eps, 0);
   return ir_scale(&m->b, ir_add(&m->b, x, ir_reshape(&m->b, e, 3, dims)), (float)sqrt(0.5));
}

static ir_value *add_per_layer(model_build *m, uint32_t l, ir_value *h, ir_value *inputs)
{
   const model_config *c = m->config;
   const ir_dim dims[] = {h->type.dim[0], ir_dim_of(c->per_layer_width)};
   ir_value *e = ir_reshape(&m->b, ir_slice(&m->b, inputs, 1, l, 1), 2, dims);
   ir_value *g = model_linear(m, l, "inp_gate", h, c->per_layer_width, false);

   g = model_linear(m, l, "proj", ir_mul(&m->b, ir_gelu_tanh(&m->b, g), e), c->width, false);
   return ir_add(&m->b, h, model_norm(m, l, "post_norm", g));
}

void gemma4_build(model_build *m)
{
   const model_config *c = m->config;
   ir_value *h = model_embed(m, (float)sqrt(c->width));
   ir_value *inputs = c->per_layer_width ? per_layer_inputs(m, h) : NULL;

   for (uint32_t l = 0; l < c->layers; l++) {
      ir_value *a = attention(m, l, model_norm(m, l, "attn_norm", h));
      h = ir_add(&m->b, h, model_norm(m, l, "post_attention_norm", a));
      h = ir_add(&m->b, h, feed_forward(m, l, h));
      if (inputs)
         h = add_per_layer(m, l, h, inputs);
      h = ir_mul(&m->b, h, layer_scalar(m, l));
      model_name_block(m, l, h);
   }
   model_finish(m, h);
}
