/* deepseek.c - DeepSeek V2, V2-Lite, V3, R1: latent attention, experts behind the first layers.
 *
 *    q     = W_q x, or W_qb norm(W_qa x)      per head: a plain elements, n rotated ones
 *    c | k = W_kva x                          c = norm(c) of r elements, k rotated: the state's row
 *    W_kvb                                    per head: a rows W_uk, v rows W_uv, of r elements
 *
 *    absorbed:  ql = W_uk^T q_plain;  u = softmax(scale (ql c + q_rotated k)) c;  o = W_uv u
 *
 *    h += W_o o                               x = norm(h)
 *    h += mlp(x), or experts(x) + mlp of the shared experts
 *
 * The draft layer (multi-token prediction) is one more block behind the last. Its row t sees the
 * model's output for token t and the embedding of token t + 1, and scores token t + 2. */
#include "family.h"

#include <math.h>

static const double latent_eps = 1e-6; /* of the norms of latents, whatever rms_norm_eps says */

/* ---- configuration ---- */

/* Chooses experts by sigmoid scores and a bias. */
static bool is_v3(const model_config *c)
{
   return strcmp(c->route_score, "sigmoid") == 0;
}

void deepseek_defaults(model_config *c)
{
   c->route_score = c->row->traits & MODEL_TRAIT_select_bias ? "sigmoid" : "softmax";
   c->norm_eps = 1e-6;
   c->rope_base = 10000;
   c->kv_rank = 512;
   c->q_rank = 1536;
   c->head_width = c->rotated_width = 64;
   c->plain_width = c->v_width = 128;
   c->rotated_pairs = true;
   c->experts = 64;
   c->shared_experts = 2;
   c->expert_ffn = 1407;
   c->route_scale = 1;
}

static sinter_status check_choice(const model_source *s, const char *key, const char *a,
                                  const char *b)
{
   const json *v = json_get(config_text(s), key);
   const char *is = v && v->kind == JSON_string ? v->string : "";

   if (!v || v->kind == JSON_null || strcmp(is, a) == 0 || strcmp(is, b) == 0)
      return SINTER_ok;
   return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                    "%s '%.40s' is not what this architecture has (%s)", key, is, a);
}

/* How tokens choose experts. V2 names it; without a name it is greedy. */
static sinter_status check_routing(const model_source *s, model_config *c)
{
   const json *method = json_get(config_text(s), "topk_method");

   SINTER_TRY(check_choice(s, "scoring_func", is_v3(c) ? "sigmoid" : "softmax", ""));
   if (is_v3(c)) {
      SINTER_TRY(check_choice(s, "topk_method", "noaux_tc", "noaux_tc"));
   } else {
      SINTER_TRY(check_choice(s, "topk_method", "greedy", "group_limited_greedy"));
      if (!s->gguf &&
          (!method || method->kind != JSON_string || strcmp(method->string, "greedy") == 0))
         c->route_groups = 0;
   }
   uint32_t groups = MAX(c->route_groups, 1u), kept = c->route_groups ? c->route_kept : 1;
   if (!c->experts)
      return SINTER_ok;
   if (c->experts % groups || !kept || kept > groups ||
       c->experts_used > c->experts / groups * kept)
      return config_bad(s, "%u of %u groups of %u experts cannot give %u experts to a token", kept,
                        groups, c->experts, c->experts_used);
   if (!is_v3(c) && !s->gguf && c->route_norm)
      return base_fail(
         SINTER_unsupported, s->path,
         "set it to false to run the model as transformers does, or take it as a GGUF file",
         "norm_topk_prob is true: of DeepSeek V2, transformers ignores it, and DeepSeek's own code "
         "normalises instead of scaling");
   if (is_v3(c) && groups > 1 && c->experts / groups < 2)
      return config_bad(s, "groups are judged by two experts, but hold one");
   return SINTER_ok;
}

/* ---- GGUF ---- */

/* Both models have one architecture there: the scores tell them apart. */
static sinter_status gguf_score(const model_source *s, model_config *c)
{
   static const char *const scores[] = {"softmax", "softmax",
                                        "sigmoid"}; /* 0: not said, before V3 */

   if (c->gating >= countof(scores))
      return base_fail(SINTER_unsupported, s->path, "take a DeepSeek model of version 2 or 3",
                       "experts are scored by function %u, which is neither softmax nor sigmoid",
                       c->gating);
   /* a bias for the choice is V3's, whether or not its configuration named the scores to the
    * converter */
   bool biased =
      config_has_tensor(s, arena_printf(s->a, "blk.%u.exp_probs_b.bias", c->dense_layers));
   c->route_score = biased && !c->gating ? "sigmoid" : scores[c->gating];
   return SINTER_ok;
}

/* Files count the draft layer as a block; whether they hold it, its tensors say. */
static sinter_status gguf_draft_layers(const model_source *s, model_config *c)
{
   if (!c->draft_layers)
      return SINTER_ok;
   const char *last = arena_printf(s->a, "blk.%u.nextn.eh_proj.weight", c->layers - 1);
   if (!config_has_tensor(s, last))
      c->draft_layers = 0;
   else if (c->draft_layers >= c->layers)
      return config_bad(s, "%u of %u layers draft tokens", c->draft_layers, c->layers);
   c->layers -= c->draft_layers;
   return SINTER_ok;
}

/* What files leave out, or say about the attention in another form: older ones count its heads with
 * their own keys and values, newer ones as one row of latents for all heads. */
static sinter_status from_gguf(const model_source *s, model_config *c)
{
   const uint32_t row = c->qk_width ? c->qk_width : c->head_width;

   if (!c->kv_rank)
      return config_bad(s, "deepseek2.attention.kv_lora_rank is missing or zero");
   if (!c->qk_width)
      c->v_width = c->value_width;
   if (c->rope_width >= row)
      return config_bad(s, "%u of %u elements of a head are rotated", c->rope_width, row);
   c->rotated_width = c->rope_width;
   c->plain_width = row - c->rope_width;
   c->qk_width = row;
   c->rotated_pairs = true;
   c->kv_heads = c->heads;
   if (c->route_scale == 0)
      c->route_scale = 1;
   SINTER_TRY(gguf_draft_layers(s, c));
   return gguf_score(s, c);
}

/* A folder that was saved without the draft layer keeps its number: the tensors decide. */
static void find_draft_layers(const model_source *s, model_config *c)
{
   if (!config_has_tensor(s, arena_printf(s->a, "model.layers.%u.enorm.weight", c->layers)))
      c->draft_layers = 0;
}

static sinter_status check_widths(const model_source *s, const model_config *c)
{
   if (!c->kv_rank || !c->plain_width || !c->v_width || !c->rotated_width || c->rotated_width % 2)
      return config_bad(s, "kv_lora_rank, qk_nope_head_dim, v_head_dim or qk_rope_head_dim cannot "
                           "be what it is");
   if (c->qk_width && c->qk_width != c->plain_width + c->rotated_width)
      return config_bad(s, "qk_head_dim is not the sum of its parts");
   if (c->kv_rank > 1 << 14 || c->q_rank > 1 << 20 || c->plain_width > 1 << 14 ||
       c->v_width > 1 << 14 || c->shared_experts > 1 << 10)
      return config_past(s,
                         "a width of the attention or the number of shared experts is too large");
   if (c->kv_heads != c->heads)
      return config_bad(s, "latent attention has as many key heads as query heads");
   return SINTER_ok;
}

sinter_status deepseek_derive(model_source *s, model_config *c)
{
   SINTER_TRY(config_check_activation(s, c, "silu"));
   if (s->gguf)
      SINTER_TRY(from_gguf(s, c));
   else
      find_draft_layers(s, c);
   if (c->draft_layers > 1)
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "there are %u draft layers: one is known", c->draft_layers);
   SINTER_TRY(check_widths(s, c));
   SINTER_TRY(check_routing(s, c));
   for (uint32_t l = 0; l < c->layers; l++)
      c->sparse[l] = c->experts && l >= c->dense_layers;
   c->head_width = c->rotated_width;
   SINTER_TRY(config_read_rope(s, c, false));
   double mscale = config_rope_mscale(s, c);
   c->attention_scale = mscale * mscale / sqrt(c->plain_width + c->rotated_width);
   c->rope_style = is_v3(c) && !c->rotated_pairs ? "half" : "pair";
   return SINTER_ok;
}

/* ---- attention ---- */

static ir_value *heads_of(model_build *m, ir_value *x, uint32_t heads)
{
   int64_t d = ir_type_row(&x->type) / heads;

   return ir_reshape(&m->b, x, 3, (ir_dim[]){x->type.dim[0], ir_dim_of(heads), ir_dim_of(d)});
}

static ir_value *latent_norm(model_build *m, uint32_t l, const char *name, ir_value *x)
{
   uint64_t n = (uint64_t)ir_type_row(&x->type);

   return ir_rmsnorm(&m->b, x, model_vector(m, l, name, n), latent_eps, 0);
}

/* Per head [plain | rotated]. f32[T, H, a + n] */
static ir_value *queries(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   uint32_t rows = c->heads * (c->plain_width + c->rotated_width);

   if (!c->q_rank)
      return heads_of(m, model_linear(m, l, "attn_q", x, rows, false), c->heads);
   ir_value *qa = model_linear(m, l, "attn_q_a", x, c->q_rank, c->qkv_bias);
   qa = latent_norm(m, l, "attn_q_a_norm.weight", qa);
   return heads_of(m, model_linear(m, l, "attn_q_b", qa, rows, false), c->heads);
}

/* Newer GGUF files hold the two halves of W_kvb apart, the keys' turned already. */
static bool is_split(const model_build *m, uint32_t l)
{
   return map_get(&m->m->by_name, arena_printf(m->m->a, "blk.%u.attn_k_b.weight", l)) != NULL;
}

/* Rows first .. first + rows of each head of W_kvb. [H, rows, r] */
static ir_value *head_weights(model_build *m, uint32_t l, int64_t first, int64_t rows)
{
   const model_config *c = m->config;
   uint32_t each = c->plain_width + c->v_width;
   ir_value *w = model_matrix(m, l, "attn_kv_b.weight", (uint64_t)c->heads * each, c->kv_rank);

   w = ir_reshape(&m->b, w, 3,
                  (ir_dim[]){ir_dim_of(c->heads), ir_dim_of(each), ir_dim_of(c->kv_rank)});
   return ir_slice(&m->b, w, 1, first, rows);
}

/* W_uk^T [H, r, a] and W_uv [H, v, r]. */
static ir_value *key_weights(model_build *m, uint32_t l)
{
   const model_config *c = m->config;

   if (is_split(m, l))
      return model_stack(m, l, "attn_k_b.weight", c->heads, c->kv_rank, c->plain_width);
   return ir_transpose(&m->b, head_weights(m, l, 0, c->plain_width));
}

static ir_value *value_weights(model_build *m, uint32_t l)
{
   const model_config *c = m->config;

   if (is_split(m, l))
      return model_stack(m, l, "attn_v_b.weight", c->heads, c->v_width, c->kv_rank);
   return head_weights(m, l, c->plain_width, c->v_width);
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   int64_t a = c->plain_width, n = c->rotated_width, r = c->kv_rank;
   ir_builder *b = &m->b;

   ir_value *q = queries(m, l, x);
   ir_value *kva = model_linear(m, l, "attn_kv_a_mqa", x, (uint32_t)(r + n), c->qkv_bias);
   kva = heads_of(m, kva, 1);
   ir_value *latent = latent_norm(m, l, "attn_kv_a_norm.weight", ir_slice(b, kva, 2, 0, r));
   ir_value *k = model_rope(m, l, ir_slice(b, kva, 2, r, n));
   ir_value *rotated = model_rope(m, l, ir_slice(b, q, 2, a, n));

   m->kv[l] = ir_mla_write(b, m->kv[l], latent, k);
   ir_value *by = key_weights(m, l);
   ir_value *ql = ir_head_matmul(b, ir_slice(b, q, 2, 0, a), by);
   ir_value *u = ir_mla_attention(b, ql, rotated, m->kv[l], c->attention_scale);
   ir_value *o = ir_head_matmul(b, u, value_weights(m, l));
   return model_linear(m, l, "attn_output", model_merge(m, o), c->width, c->output_bias);
}

/* ---- feed-forward ---- */

static ir_value *feed_forward(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   bool v3 = is_v3(c), grouped = c->route_groups > 1;
   const model_experts how = {
      .experts = c->experts,
      .used = c->experts_used,
      .ffn = c->expert_ffn,
      .select_bias = v3,
      .route =
         AT(.score = v3 ? "sigmoid" : "softmax", .scale = c->route_scale,
            .norm = c->route_norm ? 1 : IR_NO_I, .groups = grouped ? c->route_groups : IR_NO_I,
            .kept = grouped ? c->route_kept : IR_NO_I, .group_top = grouped && v3 ? 2 : IR_NO_I)};

   if (!c->experts || l < c->dense_layers)
      return model_gated(m, l, "", x, c->ffn, ir_silu);
   ir_value *y = model_moe(m, l, x, &how);
   if (!c->shared_experts)
      return y;
   return ir_add(&m->b, y,
                 model_gated(m, l, "_shexp", x, c->expert_ffn * c->shared_experts, ir_silu));
}

/* ---- the whole ---- */

static const model_halves halves = {
   .attention = attention, .feed_forward = feed_forward, .norm_in = true};

/* h: what the last block left of every row. The reference feeds it behind the final norm. The
 * layer's positions are one further, which no dot product of rotated vectors shows. */
static void draft(model_build *m, ir_value *h)
{
   const model_config *c = m->config;
   uint32_t l = c->layers;
   const char *norm = arena_printf(m->m->a, "blk.%u.nextn.shared_head_norm.weight", l);

   model_expect_copy(m, l, "nextn.embed_tokens.weight", "token_embd.weight");
   model_expect_copy(m, l, "nextn.shared_head_head.weight",
                     c->tied ? "token_embd.weight" : "output.weight");
   h = ir_rmsnorm(&m->b, h, model_output_norm(m), c->norm_eps, c->norm_offset);
   ir_value *e = model_norm(m, l, "nextn.enorm", model_embed_ids(m, m->next_ids));
   ir_value *both = ir_concat(&m->b, e, model_norm(m, l, "nextn.hnorm", h));
   h = model_linear(m, l, "nextn.eh_proj", both, c->width, false);
   h = model_block(m, l, h, &halves);
   model_finish_with(m, h, norm);
}

void deepseek_build(model_build *m)
{
   ir_value *h = model_blocks(m, model_embed(m, 1), &halves);

   if (m->next_ids)
      draft(m, h);
   else
      model_finish(m, h);
}
