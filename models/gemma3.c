/* gemma3.c - Gemma 3 text models.
 *
 *    h  = sqrt(D) embed(ids)
 *    h += norm(W_o attention(rope(norm(W_q x)), rope(norm(W_k x)), W_v x))    x = norm(h)
 *    h += norm(W_down (gelu_tanh(W_gate x) * W_up x))                         x = norm(h)
 *
 * Layers slide but every `pattern`-th, which sees everything; the two kinds turn by different
 * bases. Norm weights are stored as w - 1 by Hugging Face and as w by GGUF. The head is the
 * embedding. */
#include "family.h"

#include <math.h>

enum { PATTERN = 6, LAYERS_OF_27B = 62 };

void gemma3_defaults(model_config *c)
{
   c->vocab = 262208;
   c->width = 2304;
   c->ffn = 9216;
   c->layers = 26;
   c->heads = 8;
   c->kv_heads = 4;
   c->head_width = 256;
   c->context = 131072;
   c->norm_eps = 1e-6;
   c->query_scalar = 256;
   c->window = 4096;
   c->window_pattern = PATTERN;
   c->tied = true;
   c->rope_base = 1e6;
   c->rope_local_base = 1e4;
}

static sinter_status find_sliding(model_source *s, model_config *c)
{
   bool given;

   if (!c->window)
      return config_bad(s, "sliding_window is missing or zero");
   if (!c->window_pattern)
      c->window_pattern = PATTERN;
   SINTER_TRY(config_window_pattern(s, c));
   return config_layer_types(s, c, &given);
}

sinter_status gemma3_derive(model_source *s, model_config *c)
{
   SINTER_TRY(config_check_activation(s, c, "gelu_pytorch_tanh"));
   c->norm_offset = s->gguf ? 0 : 1;
   /* GGUF has no key for it: the 27B model alone scales by the width over the heads */
   if (s->gguf)
      c->query_scalar = c->layers == LAYERS_OF_27B ? (double)c->width / c->heads : c->head_width;
   if (!(c->query_scalar > 0))
      return config_bad(s, "query_pre_attn_scalar is not positive");
   c->attention_scale = 1 / sqrt(c->query_scalar);
   if (c->row->traits & MODEL_TRAIT_uncapped)
      c->final_softcap = 0;
   SINTER_TRY(find_sliding(s, c));
   return config_read_rope(s, c, true);
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   ir_value *q = model_query(m, l, x), *k = model_key(m, l, x), *v = model_value(m, l, x);

   q = model_rope(m, l, model_norm(m, l, "attn_q_norm", q));
   k = model_rope(m, l, model_norm(m, l, "attn_k_norm", k));
   ir_value *a = model_merge(m, model_attend(m, l, q, k, v));
   return model_linear(m, l, "attn_output", a, c->width, c->output_bias);
}

static ir_value *mlp(model_build *m, uint32_t l, ir_value *x)
{
   return model_gated(m, l, "", x, m->config->ffn, ir_gelu_tanh);
}

void gemma3_build(model_build *m)
{
   static const model_halves halves = {
      .attention = attention, .feed_forward = mlp, .norm_in = true, .norm_out = true};

   model_finish(m, model_blocks(m, model_embed(m, (float)sqrt(m->config->width)), &halves));
}
