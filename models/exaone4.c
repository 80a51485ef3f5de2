/* exaone4.c - EXAONE 4.0, and the text side of 4.5.
 *
 *    h += norm(W_o attention(rope?(norm(W_q h)), rope?(norm(W_k h)), W_v h))
 *    h += norm(W_down (silu(W_gate h) * W_up h))
 *
 * Nothing is normed on the way in. With a sliding window, layers that slide turn and those that see
 * everything do not; without one, all turn. */
#include "family.h"

#include <math.h>

enum { PATTERN = 4 };

void exaone4_defaults(model_config *c)
{
   c->vocab = 102400;
   c->width = 4096;
   c->ffn = 16384;
   c->layers = 32;
   c->heads = 32;
   c->kv_heads = 32;
   c->context = 2048;
   c->norm_eps = 1e-5;
   c->window = 4096;
   c->window_pattern = PATTERN;
   c->rope_base = 10000;
}

sinter_status exaone4_derive(model_source *s, model_config *c)
{
   bool given;

   SINTER_TRY(config_check_activation(s, c, "silu"));
   c->attention_scale = 1 / sqrt(c->head_width);
   if (s->gguf && !c->window_pattern)
      c->window_pattern = PATTERN;
   if (c->window) {
      SINTER_TRY(config_window_pattern(s, c));
      SINTER_TRY(config_layer_types(s, c, &given));
   }
   return config_read_rope(s, c, false);
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   ir_value *q = model_query(m, l, x), *k = model_key(m, l, x), *v = model_value(m, l, x);

   q = model_norm(m, l, "attn_q_norm", q);
   k = model_norm(m, l, "attn_k_norm", k);
   if (!c->window || c->sliding[l]) {
      q = model_rope(m, l, q);
      k = model_rope(m, l, k);
   }
   ir_value *a = model_merge(m, model_attend(m, l, q, k, v));
   return model_linear(m, l, "attn_output", a, c->width, false);
}

static ir_value *mlp(model_build *m, uint32_t l, ir_value *x)
{
   return model_gated(m, l, "", x, m->config->ffn, ir_silu);
}

void exaone4_build(model_build *m)
{
   static const model_halves halves = {
      .attention = attention, .feed_forward = mlp, .norm_out = true};

   model_finish(m, model_blocks(m, model_embed(m, 1), &halves));
}
