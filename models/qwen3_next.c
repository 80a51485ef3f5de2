/* qwen3_next.c - Qwen3-Next and Qwen3.5, dense and with experts: most layers are gated delta nets,
 * every few one attends.
 *
 *    h += mixer(norm(h));   h += mlp(norm(h))
 *
 *    attention   W_o (attention(rope(norm(W_q x)), rope(norm(W_k x)), W_v x) * sigmoid(W_gate x))
 *    delta net   u = silu(conv(W_qkv x));  q, k = l2norm(u's);  v = u's
 *                S = exp(g) S,  S += k (beta (v - S^T k))^T,  o = S^T q / sqrt(dk)
 *                W_out (norm(o) * silu(W_z x)),  beta = sigmoid(W_b x),  g = -exp(A) softplus(W_a x + dt)
 *    mlp         W_down (silu(W_gate x) * W_up x);  with experts their sum and a shared one, which
 *                sigmoid(w x) weighs
 *
 * Norm weights are stored as w - 1, but for the delta net's. Qwen3-Next stores q, k, v, z and b, a
 * of each key head together; both store q and gate of each query head together. */
#include "family.h"

#include <math.h>

static bool is_next(const model_config *c)
{
   return (c->row->traits & MODEL_TRAIT_delta_by_head) != 0;
}

static bool has_experts(const model_config *c)
{
   return (c->row->traits & MODEL_TRAIT_experts) != 0;
}

static void expert_defaults(model_config *c)
{
   c->experts = is_next(c) ? 512 : 256;
   c->experts_used = is_next(c) ? 10 : 8;
   c->expert_ffn = c->shared_ffn = 512;
   c->sparse_step = 1;
   c->route_norm = true;
}

void qwen3_next_defaults(model_config *c)
{
   bool small = is_next(c) || has_experts(c);

   c->vocab = is_next(c) ? 151936 : 248320;
   c->width = small ? 2048 : 4096;
   c->ffn = is_next(c) ? 5632 : 12288;
   c->layers = is_next(c) ? 48 : small ? 40 : 32;
   c->heads = 16;
   c->kv_heads = small ? 2 : 4;
   c->head_width = 256;
   c->context = 32768;
   c->norm_eps = 1e-6;
   c->rope_base = 10000;
   c->rope_part = 0.25;
   c->conv_width = 4;
   c->delta_key_width = c->delta_value_width = 128;
   c->delta_key_heads = 16;
   c->delta_heads = 32;
   c->full_interval = 4;
   if (has_experts(c))
      expert_defaults(c);
}

/* ---- what the configuration says ---- */

static sinter_status read_kinds(const model_source *s, model_config *c)
{
   const json *types = json_get(config_text(s), "layer_types");

   for (uint32_t l = 0; l < c->layers; l++)
      c->recurrent[l] = !c->full_interval || (l + 1) % c->full_interval != 0;
   if (!types || types->kind == JSON_null)
      return SINTER_ok;
   if (types->kind != JSON_array || types->len != c->layers)
      return config_bad(s, "layer_types does not name a type for each of the %u layers", c->layers);
   for (uint32_t l = 0; l < c->layers; l++) {
      const char *t = types->items[l]->kind == JSON_string ? types->items[l]->string : "";
      c->recurrent[l] = strcmp(t, "linear_attention") == 0;
      if (!c->recurrent[l] && strcmp(t, "full_attention") != 0)
         return base_fail(SINTER_unsupported, s->path,
                          "take a model with linear and full attention only",
                          "layer %u has the type '%.40s'", l, t);
   }
   return SINTER_ok;
}

static sinter_status check_delta(const model_source *s, const model_config *c)
{
   const uint32_t most = 1 << 14;

   if (!c->delta_key_heads || !c->delta_heads || c->delta_heads % c->delta_key_heads ||
       c->delta_heads > most)
      return config_bad(s, "%u value heads do not share %u key heads evenly", c->delta_heads,
                        c->delta_key_heads);
   if (!c->delta_key_width || !c->delta_value_width || c->delta_key_width > most ||
       c->delta_value_width > most)
      return config_bad(s, "linear heads are %u and %u wide", c->delta_key_width,
                        c->delta_value_width);
   if (c->conv_width < 2 || c->conv_width > most)
      return config_bad(s, "linear_conv_kernel_dim is %u", c->conv_width);
   return SINTER_ok;
}

sinter_status qwen3_next_derive(model_source *s, model_config *c)
{
   SINTER_TRY(config_check_activation(s, c, "silu"));
   c->norm_offset = 1;
   c->attention_scale = 1 / sqrt(c->head_width);
   c->recurrent = arena_array(s->a, bool, c->layers);
   c->route_norm = c->route_norm || !is_next(c);
   SINTER_TRY(read_kinds(s, c));
   SINTER_TRY(check_delta(s, c));
   return config_read_rope(s, c, false);
}

/* ---- rows that a checkpoint keeps together by head ---- */

static const char *tensor(model_build *m, uint32_t l, const char *name)
{
   return arena_printf(m->m->a, "blk.%u.%s", l, name);
}

/* Rows at .. at + rows of each of `heads` pieces of `from`, one after the other. */
static void take_heads(model_build *m, uint32_t l, const char *from, const char *name,
                       uint64_t heads, uint64_t piece, uint64_t at, uint64_t rows)
{
   uint64_t *first = arena_array(m->m->a, uint64_t, heads);

   for (uint64_t h = 0; h < heads; h++)
      first[h] = h * piece + at;
   model_gather(m, tensor(m, l, from), heads * piece, tensor(m, l, name), rows, first, heads);
}

static void split_gate(model_build *m, uint32_t l)
{
   const model_config *c = m->config;
   uint64_t d = c->head_width;

   take_heads(m, l, "attn_q_gate.weight", "attn_q.weight", c->heads, 2 * d, 0, d);
   take_heads(m, l, "attn_q_gate.weight", "attn_gate.weight", c->heads, 2 * d, d, d);
   take_heads(m, l, "attn_q_gate.bias", "attn_q.bias", c->heads, 2 * d, 0, d);
   take_heads(m, l, "attn_q_gate.bias", "attn_gate.bias", c->heads, 2 * d, d, d);
}

static uint64_t divisor(uint64_t a, uint64_t b)
{
   while (b) {
      uint64_t r = a % b;
      a = b;
      b = r;
   }
   return a;
}

/* q, k and v of all heads below each other, in parts that are rows of each. */
static void join_qkv(model_build *m, uint32_t l, uint64_t piece, uint64_t values)
{
   const model_config *c = m->config;
   uint64_t heads = c->delta_key_heads, dk = c->delta_key_width, part = divisor(dk, values);
   const uint64_t at[] = {0, dk, 2 * dk}, rows[] = {dk, dk, values};
   uint64_t *first = arena_array(m->m->a, uint64_t, heads * (2 * dk + values) / part), n = 0;

   for (int k = 0; k < 3; k++)
      for (uint64_t h = 0; h < heads; h++)
         for (uint64_t r = 0; r < rows[k]; r += part)
            first[n++] = h * piece + at[k] + r;
   model_gather(m, tensor(m, l, "ssm_in.weight"), heads * piece, tensor(m, l, "ssm_qkv.weight"),
                part, first, n);
}

static void split_by_head(model_build *m, uint32_t l)
{
   const model_config *c = m->config;
   uint64_t heads = c->delta_key_heads, share = c->delta_heads / heads;
   uint64_t values = share * c->delta_value_width, piece = 2 * (c->delta_key_width + values);

   join_qkv(m, l, piece, values);
   take_heads(m, l, "ssm_in.weight", "ssm_z.weight", heads, piece, piece - values, values);
   take_heads(m, l, "ssm_ba.weight", "ssm_beta.weight", heads, 2 * share, 0, share);
   take_heads(m, l, "ssm_ba.weight", "ssm_alpha.weight", heads, 2 * share, share, share);
}

/* ---- blocks ---- */

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   uint32_t q_rows = c->heads * c->head_width;

   split_gate(m, l);
   ir_value *q = model_query(m, l, x), *k = model_key(m, l, x), *v = model_value(m, l, x);
   ir_value *gate = model_linear(m, l, "attn_gate", x, q_rows, c->qkv_bias);

   q = model_rope(m, l, model_norm(m, l, "attn_q_norm", q));
   k = model_rope(m, l, model_norm(m, l, "attn_k_norm", k));
   ir_value *a = model_merge(m, model_attend(m, l, q, k, v));
   a = ir_mul(&m->b, a, ir_sigmoid(&m->b, gate));
   return model_linear(m, l, "attn_output", a, c->width, c->output_bias);
}

/* Channels from `at` on, as heads. */
static ir_value *part(model_build *m, ir_value *u, uint32_t at, uint32_t heads, uint32_t width)
{
   ir_dim dims[] = {u->type.dim[0], ir_dim_of(heads), ir_dim_of(width)};

   return ir_reshape(&m->b, ir_slice(&m->b, u, 1, at, (int64_t)heads * width), 3, dims);
}

static ir_value *delta_net(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   uint32_t groups = c->delta_key_heads, heads = c->delta_heads, dk = c->delta_key_width,
            dv = c->delta_value_width, keys = groups * dk, values = heads * dv;
   ir_builder *b = &m->b;

   if (is_next(c))
      split_by_head(m, l);
   ir_value *u = model_linear(m, l, "ssm_qkv", x, 2 * keys + values, false);
   ir_value *z = model_linear(m, l, "ssm_z", x, values, false);
   ir_value *beta = ir_sigmoid(b, model_linear(m, l, "ssm_beta", x, heads, false));
   ir_value *bias = model_vector(m, l, "ssm_dt.bias", heads);
   ir_value *rate = model_vector(m, l, "ssm_a.weight", heads);
   ir_value *g = ir_decay(b, model_linear(m, l, "ssm_alpha", x, heads, false), rate, bias);

   u = ir_silu(b, model_conv(m, l, "ssm_conv1d.weight", u, c->conv_width));
   ir_value *q = ir_l2norm(b, part(m, u, 0, groups, dk), 1e-6);
   ir_value *k = ir_l2norm(b, part(m, u, keys, groups, dk), 1e-6);
   ir_value *v = part(m, u, 2 * keys, heads, dv);
   ir_op *step = ir_gdn(b, m->memory[l], q, k, v, g, beta, 1 / sqrt(dk));
   m->memory[l] = step->results[0];

   ir_value *o =
      ir_rmsnorm(b, step->results[1], model_vector(m, l, "ssm_norm.weight", dv), c->norm_eps, 0);
   z = ir_reshape(b, z, 3, o->type.dim);
   return model_linear(m, l, "ssm_out", model_merge(m, ir_mul(b, o, ir_silu(b, z))), c->width,
                       false);
}

static ir_value *experts(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   model_experts how = {.experts = c->experts,
                        .used = c->experts_used,
                        .ffn = c->expert_ffn,
                        .route = AT(.score = "softmax", .norm = c->route_norm ? 1 : IR_NO_I)};
   ir_value *y = model_moe(m, l, x, &how);
   ir_value *shared = model_gated(m, l, "_shexp", x, c->shared_ffn, ir_silu);
   ir_value *weight = ir_sigmoid(&m->b, model_linear(m, l, "ffn_gate_inp_shexp", x, 1, false));

   return ir_add(&m->b, y, ir_combine(&m->b, shared, weight));
}

static ir_value *mix(model_build *m, uint32_t l, ir_value *x)
{
   return m->config->recurrent[l] ? delta_net(m, l, x) : attention(m, l, x);
}

static ir_value *feed_forward(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;

   return c->sparse[l] ? experts(m, l, x) : model_gated(m, l, "", x, c->ffn, ir_silu);
}

void qwen3_next_build(model_build *m)
{
   static const model_halves halves = {
      .attention = mix, .feed_forward = feed_forward, .norm_in = true};

   model_finish(m, model_blocks(m, model_embed(m, 1), &halves));
}
