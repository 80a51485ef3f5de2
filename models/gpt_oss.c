/* gpt_oss.c - gpt-oss.
 *
 *    h += W_o attention(rope(W_q x), rope(W_k x), W_v x) + b, a sink a head    x = norm(h)
 *    h += experts(x), router and experts with biases                          x = norm(h)
 *
 *    expert   W_down ((min(max(up, -limit), limit) + 1) * g * sigmoid(alpha g)),  g = min(gate, limit)
 *
 * Every other layer slides. A checkpoint holds the rows of gate and up in turns; MXFP4 ones as
 * [E, N, K], plain ones as [E, K, N]; GGUF holds gate and up apart, all as [E, N, K]. */
#include "family.h"

#include <math.h>

void gpt_oss_defaults(model_config *c)
{
   c->vocab = 201088;
   c->width = 2880;
   c->ffn = 2880;
   c->layers = 36;
   c->heads = 64;
   c->kv_heads = 8;
   c->head_width = 64;
   c->context = 131072;
   c->norm_eps = 1e-5;
   c->window = 128;
   c->experts = 128;
   c->experts_used = 4;
   c->attention_bias = true;
   c->rope_base = 150000;
   c->swiglu_limit = 7;
   c->swiglu_alpha = 1.702;
}

sinter_status gpt_oss_derive(model_source *s, model_config *c)
{
   bool given;

   if (s->gguf) { /* no file has keys for them */
      c->swiglu_limit = 7;
      c->swiglu_alpha = 1.702;
   }
   SINTER_TRY(config_check_activation(s, c, "silu"));
   if (!(c->swiglu_limit > 0))
      return config_bad(s, "swiglu_limit is not positive");
   c->attention_scale = 1 / sqrt(c->head_width);
   for (uint32_t l = 0; l < c->layers; l++)
      c->sliding[l] = c->window && l % 2 == 0;
   SINTER_TRY(config_layer_types(s, c, &given));
   for (uint32_t l = 0; l < c->layers; l++)
      if (c->sliding[l] && !c->window)
         return config_bad(s, "layer %u slides, but there is no sliding_window", l);
   SINTER_TRY(config_read_rope(s, c, false));
   if (s->gguf)
      c->rope.truncate = false; /* as the model was trained; no key says it */
   return SINTER_ok;
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   ir_value *q = model_query(m, l, x), *k = model_key(m, l, x), *v = model_value(m, l, x);
   ir_value *sinks = model_vector(m, l, "attn_sinks.weight", c->heads);

   q = model_rope(m, l, q);
   k = model_rope(m, l, k);
   m->kv[l] = ir_kv_write(&m->b, m->kv[l], k, v);
   ir_value *a = ir_attention_sinks(&m->b, q, m->kv[l], sinks, c->attention_scale);
   return model_linear(m, l, "attn_output", model_merge(m, a), c->width, c->output_bias);
}

static ir_value *activation(model_build *m, ir_value *gate, ir_value *up)
{
   const double limit = m->config->swiglu_limit;

   gate = ir_clamp(&m->b, gate, IR_NO_F, limit);
   up = ir_shift(&m->b, ir_clamp(&m->b, up, -limit, limit), 1);
   ir_value *open = ir_sigmoid(&m->b, ir_scale(&m->b, gate, m->config->swiglu_alpha));
   return ir_mul(&m->b, up, ir_mul(&m->b, gate, open));
}

void gpt_oss_build(model_build *m)
{
   const model_config *c = m->config;
   const model_experts how = {.experts = c->experts,
                              .used = c->experts_used,
                              .ffn = c->expert_ffn,
                              .route = AT(.score = "softmax", .norm = 1),
                              .router_bias = true,
                              .biases = true,
                              .alternate = true,
                              .act = activation};
   ir_value *h = model_embed(m, 1);

   for (uint32_t l = 0; l < c->layers; l++) {
      h = ir_add(&m->b, h, attention(m, l, model_norm(m, l, "attn_norm", h)));
      if (c->from_folder) {
         model_turn_stack(m, l, "ffn_gate_up_exps.weight");
         model_turn_stack(m, l, "ffn_down_exps.weight");
      }
      h = ir_add(&m->b, h, model_moe(m, l, model_norm(m, l, "post_attention_norm", h), &how));
      model_name_block(m, l, h);
   }
   model_finish(m, h);
}
