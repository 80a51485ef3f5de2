/* llama.c - Llama 2 and 3, SmolLM2, Mistral, Mixtral, Qwen2, Qwen3 (dense and MoE): one block, five
 * switches.
 *
 *    h += W_o attention(rope(norm? W_q x), rope(norm? W_k x), W_v x)    x = norm(h)
 *    h += W_down (silu(W_gate x) * W_up x)                              x = norm(h)
 *
 * Biases on q, k, v (Qwen2), or on everything by flag (Llama); RMSNorm of each q and k head
 * (Qwen3); a sliding window on all layers (Mistral) or on the late ones (Qwen2, Qwen3); experts for
 * the MLP (Mixtral, Qwen3-MoE). */
#include "family.h"

#include <math.h>

void llama_defaults(model_config *c)
{
   c->norm_eps = 1e-6;
   c->rope_base = 10000;
}

/* layer_types where it is given, else the rule of the architecture. */
static sinter_status find_sliding(model_source *s, model_config *c)
{
   bool flag = (c->row->traits & MODEL_TRAIT_window_flag) != 0;
   bool everywhere = (c->row->traits & MODEL_TRAIT_window_everywhere) || (s->gguf && c->window) ||
                     (flag && c->use_window);
   bool late = (c->row->traits & MODEL_TRAIT_window_late) && !s->gguf && c->use_window && c->window;
   bool given;

   for (uint32_t l = 0; l < c->layers; l++)
      c->sliding[l] = c->window && (everywhere || (late && l >= c->window_layers));
   if (everywhere || flag || s->gguf)
      return SINTER_ok;
   if (!late && c->window && !(c->row->traits & MODEL_TRAIT_window_late))
      return config_bad(s, "sliding_window is set for an architecture that has none");
   SINTER_TRY(config_layer_types(s, c, &given));
   if (given && !late)
      for (uint32_t l = 0; l < c->layers; l++)
         c->sliding[l] = false;
   return SINTER_ok;
}

sinter_status llama_derive(model_source *s, model_config *c)
{
   SINTER_TRY(config_check_activation(s, c, "silu"));
   if (c->qk_norm && !(c->row->traits & MODEL_TRAIT_qk_norm))
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "use_qk_norm is set for %s, which has no such norms", c->row->name);
   c->attention_scale = 1 / sqrt(c->head_width);
   SINTER_TRY(find_sliding(s, c));
   return config_read_rope(s, c, false);
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   ir_value *q = model_query(m, l, x), *k = model_key(m, l, x), *v = model_value(m, l, x);

   if (c->row->traits & MODEL_TRAIT_qk_norm) {
      q = model_norm(m, l, "attn_q_norm", q);
      k = model_norm(m, l, "attn_k_norm", k);
   }
   q = model_rope(m, l, q);
   k = model_rope(m, l, k);
   ir_value *a = model_merge(m, model_attend(m, l, q, k, v));
   return model_linear(m, l, "attn_output", a, c->width, c->output_bias);
}

static ir_value *experts(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   bool norm = c->route_norm || !c->from_folder; /* GGUF has no key for it: always */
   model_experts how = {.experts = c->experts,
                        .used = c->experts_used,
                        .ffn = c->expert_ffn,
                        .route = AT(.score = "softmax", .norm = norm ? 1 : IR_NO_I)};

   return model_moe(m, l, x, &how);
}

static ir_value *feed_forward(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;

   return c->sparse[l] ? experts(m, l, x) : model_gated(m, l, "", x, c->ffn, ir_silu);
}

void llama_build(model_build *m)
{
   static const model_halves halves = {
      .attention = attention, .feed_forward = feed_forward, .norm_in = true};

   model_finish(m, model_blocks(m, model_embed(m, 1), &halves));
}
