/* olmo2.c - OLMo 2 and 3.
 *
 *    h += norm(W_o attention(rope(heads(norm(W_q h))), rope(heads(norm(W_k h))), heads(W_v h)))
 *    h += norm(W_down (silu(W_gate h) * W_up h))
 *
 * Nothing is normed on the way in; q and k are, as whole rows. In OLMo 3 layers slide but every
 * fourth, which sees everything and alone has its rotation scaled. */
#include "family.h"

#include <math.h>

enum { PATTERN = 4 };

void olmo2_defaults(model_config *c)
{
   c->vocab = 50304;
   c->width = 4096;
   c->ffn = 11008;
   c->layers = 32;
   c->heads = 32;
   c->context = 2048;
   c->norm_eps = 1e-5;
   c->rope_base = 10000;
}

sinter_status olmo2_derive(model_source *s, model_config *c)
{
   bool given;

   SINTER_TRY(config_check_activation(s, c, "silu"));
   c->attention_scale = 1 / sqrt(c->head_width);
   if (!c->window)
      return config_read_rope(s, c, false);
   if (!c->window_pattern)
      c->window_pattern = PATTERN;
   SINTER_TRY(config_window_pattern(s, c));
   SINTER_TRY(config_layer_types(s, c, &given));
   if (!(c->rope_local_base > 0))
      c->rope_local_base = c->rope_base > 0 ? c->rope_base : 10000;
   return config_read_rope(s, c, true);
}

/* The heads of one projection, normed as one row where the model has a norm for it. */
static ir_value *rows(model_build *m, uint32_t l, const char *name, const char *norm, ir_value *x,
                      uint32_t heads)
{
   const model_config *c = m->config;
   ir_value *y = model_linear(m, l, name, x, heads * c->head_width, c->qkv_bias);

   if (norm)
      y = model_norm(m, l, norm, y);
   return model_heads(m, y, heads);
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   ir_value *q = rows(m, l, "attn_q", "attn_q_norm", x, c->heads);
   ir_value *k = rows(m, l, "attn_k", "attn_k_norm", x, c->kv_heads);
   ir_value *v = rows(m, l, "attn_v", NULL, x, c->kv_heads);

   q = model_rope(m, l, q);
   k = model_rope(m, l, k);
   ir_value *a = model_merge(m, model_attend(m, l, q, k, v));
   return model_linear(m, l, "attn_output", a, c->width, c->output_bias);
}

static ir_value *mlp(model_build *m, uint32_t l, ir_value *x)
{
   return model_gated(m, l, "", x, m->config->ffn, ir_silu);
}

void olmo2_build(model_build *m)
{
   static const model_halves halves = {
      .attention = attention, .feed_forward = mlp, .norm_out = true};

   model_finish(m, model_blocks(m, model_embed(m, 1), &halves));
}
