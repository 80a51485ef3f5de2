/* deepseek_v4.c - DeepSeek V4: n streams mixed by hyper-connections, and attention over a window
 * and compressed entries.
 *
 *    X[n,D] = n times the embedding;   for both halves of a layer:
 *    pre, post, comb = mix(X);  y = half(norm(pre X));  X = post y + comb^T X
 *
 *    attention   q = rope(rms(W_qb norm(W_qa x))),  r = rope(norm(W_kv x)): key and value at once
 *                o = softmax(q r | q e | sink) over the last `window` rows r and the entries e
 *                W_ob W_oa[g] rope^-1(o): heads in groups
 *    ratio m     0: no entries. Else chunks of m positions have one each, of values W x and gates W' x;
 *                chosen by an index where entries are made of two chunks
 *    experts     chosen by sqrt(softplus) and a bias, or by the token's id; gate and up are clamped
 *
 * Which layer is what is read from compress_ratios or layer_types, num_hash_layers or
 * mlp_layer_types. */
#include "family.h"

#include <math.h>

enum { MAX_RATIO = 1 << 16 };

/* ---- configuration ---- */

void deepseek_v4_defaults(model_config *c)
{
   c->norm_eps = 1e-6;
   c->rope_base = 10000;
   c->entry_rope_base = 160000;
   c->kv_heads = 1;
   c->head_width = 512;
   c->q_rank = 1024;
   c->ffn = 2048;
   c->window = 128;
   c->experts = 256;
   c->experts_used = 6;
   c->shared_experts = 1;
   c->route_scale = 1.5;
   c->swiglu_limit = 10;
   c->streams = 4;
   c->stream_iters = 20;
   c->stream_eps = 1e-6;
   c->o_groups = 8;
   c->o_rank = 1024;
   c->index_heads = 64;
   c->index_width = 128;
   c->index_top = 512;
   c->hash_layers = 3;
   c->ratio_csa = 4;
   c->ratio_hca = 128;
}

/* The list of config.json with an entry for each layer at least; NULL when it is absent. */
static sinter_status find_list(const model_source *s, const model_config *c, const char *key,
                               const json **out)
{
   const json *list = json_get(config_text(s), key);

   *out = list && list->kind != JSON_null ? list : NULL;
   if (*out && (list->kind != JSON_array || list->len < c->layers))
      return config_bad(s, "%s does not say something of each of the %u layers", key, c->layers);
   return SINTER_ok;
}

static sinter_status read_rates(const model_source *s, model_config *c)
{
   const json *rates = json_get(config_text(s), "compress_rates");
   uint32_t *const to[] = {&c->ratio_csa, &c->ratio_hca};
   static const char *const keys[] = {"compressed_sparse_attention",
                                      "heavily_compressed_attention"};

   for (size_t i = 0; i < countof(to) && rates && rates->kind == JSON_object; i++) {
      const json *v = json_get(rates, keys[i]);
      if (v && (v->kind != JSON_int || v->integer < 1 || v->integer > MAX_RATIO))
         return config_bad(s, "compress_rates holds something that is no number of positions");
      if (v)
         *to[i] = (uint32_t)v->integer;
   }
   return SINTER_ok;
}

/* A layer's kind by its name in layer_types. */
static sinter_status kind_by_name(const model_source *s, model_config *c, uint32_t l, const json *v)
{
   const char *name = v->kind == JSON_string ? v->string : "";

   if (strcmp(name, "compressed_sparse_attention") == 0) {
      c->ratios[l] = c->ratio_csa;
      c->indexed[l] = true;
   } else if (strcmp(name, "heavily_compressed_attention") == 0) {
      c->ratios[l] = c->ratio_hca;
   } else if (strcmp(name, "sliding_attention") != 0) {
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "layer %u has the type '%.40s'", l, name);
   }
   return SINTER_ok;
}

static bool has_indexer(const model_source *s, uint32_t l)
{
   static const char *const names[] = {"attn.indexer.wq_b.weight",
                                       "self_attn.compressor.indexer.q_b_proj.weight"};

   for (size_t i = 0; i < countof(names); i++) {
      const char *whole = arena_printf(s->a, "model.layers.%u.%s", l, names[i]);
      if (config_has_tensor(s, whole) || config_has_tensor(s, whole + strlen("model.")))
         return true;
   }
   return false;
}

/* A layer's kind by its ratio: 0 and 1 compress nothing. Whether entries are chosen is told by the
 * tensors that choose. */
static sinter_status kind_by_ratio(const model_source *s, model_config *c, uint32_t l,
                                   const json *v)
{
   if (v->kind != JSON_int || v->integer < 0 || v->integer > MAX_RATIO)
      return config_bad(s, "compress_ratios holds something that is no number of positions");
   if (v->integer <= 1)
      return SINTER_ok;
   c->ratios[l] = (uint32_t)v->integer;
   c->indexed[l] = has_indexer(s, l);
   return SINTER_ok;
}

/* Without a list the reference starts with two layers of long chunks and takes turns from there. */
static void kinds_by_default(model_config *c)
{
   for (uint32_t l = 0; l < c->layers; l++) {
      c->indexed[l] = l >= 2 && l % 2;
      c->ratios[l] = c->indexed[l] ? c->ratio_csa : c->ratio_hca;
   }
}

static sinter_status read_kinds(model_source *s, model_config *c)
{
   const json *types, *ratios;

   c->ratios = arena_array(s->a, uint32_t, c->layers + 1);
   c->indexed = arena_array(s->a, bool, c->layers + 1);
   SINTER_TRY(read_rates(s, c));
   SINTER_TRY(find_list(s, c, "layer_types", &types));
   SINTER_TRY(find_list(s, c, "compress_ratios", &ratios));
   if (!types && !ratios)
      kinds_by_default(c);
   for (uint32_t l = 0; l < c->layers && (types || ratios); l++)
      SINTER_TRY(types ? kind_by_name(s, c, l, types->items[l])
                       : kind_by_ratio(s, c, l, ratios->items[l]));
   if (c->ratio_csa < 1 || c->ratio_hca < 1)
      return config_bad(s, "a chunk has no position");
   return SINTER_ok;
}

static sinter_status read_mlp_kinds(model_source *s, model_config *c)
{
   const json *types;

   c->hashed = arena_array(s->a, bool, c->layers + 1);
   SINTER_TRY(find_list(s, c, "mlp_layer_types", &types));
   for (uint32_t l = 0; l < c->layers; l++) {
      const char *name =
         types && types->items[l]->kind == JSON_string ? types->items[l]->string : "";
      c->hashed[l] = types ? strcmp(name, "hash_moe") == 0 : l < c->hash_layers;
      if (types && !c->hashed[l] && strcmp(name, "moe") != 0)
         return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                          "the experts of layer %u have the type '%.40s'", l, name);
   }
   return SINTER_ok;
}

/* The rotated elements, the last ones of a head. */
static sinter_status read_rotation(model_source *s, model_config *c)
{
   if (c->rope_part > 0)
      c->rotated_width = (uint32_t)(c->head_width * c->rope_part);
   else if (!c->rotated_width)
      c->rotated_width = c->head_width / 8;
   if (!c->rotated_width || c->rotated_width % 2 || c->rotated_width > c->head_width ||
       c->rotated_width > c->index_width)
      return config_bad(s, "%u elements of heads that are %u wide cannot be turned",
                        c->rotated_width, c->head_width);
   c->rope_part = (double)c->rotated_width / c->head_width;
   c->rope_style = "pair";
   return config_read_entry_ropes(s, c);
}

/* The table of entries, by their ratio; turned by the position of a chunk's beginning. */
static uint32_t table_of(const model_config *c, uint32_t ratio)
{
   for (uint32_t i = 0; i < c->num_more_ropes; i++)
      if (c->more_ropes[i].back + 1 == ratio)
         return 2 + i;
   return UINT32_MAX;
}

static sinter_status add_entry_ropes(model_source *s, model_config *c)
{
   c->more_ropes = arena_array(s->a, rope_spec, MODEL_MAX_ROPES);
   for (uint32_t l = 0; l < c->layers; l++) {
      if (!c->ratios[l] || table_of(c, c->ratios[l]) != UINT32_MAX)
         continue;
      if (c->num_more_ropes + 2 == MODEL_MAX_ROPES)
         return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                          "compress_ratios has more than %d different ones", MODEL_MAX_ROPES - 2);
      rope_spec *r = &c->more_ropes[c->num_more_ropes++];
      *r = c->rope_local;
      r->back = c->ratios[l] - 1;
   }
   return SINTER_ok;
}

static const char *score_of(const model_source *s)
{
   const json *v = json_get(config_text(s), "scoring_func");
   const char *name = v && v->kind == JSON_string ? v->string : "sqrtsoftplus";

   if (strcmp(name, "sqrtsoftplus") == 0)
      return "sqrt_softplus";
   return strcmp(name, "sigmoid") == 0 || strcmp(name, "softmax") == 0 ? name : NULL;
}

static sinter_status check_choices(const model_source *s, const model_config *c)
{
   const json *method = json_get(config_text(s), "topk_method");

   if (c->activation && strcmp(c->activation, "silu") != 0)
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "hidden_act '%.40s' is not silu", c->activation);
   if (!score_of(s))
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "scoring_func is neither sqrtsoftplus, sigmoid nor softmax");
   if (method && method->kind == JSON_string && strcmp(method->string, "noaux_tc") != 0)
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "topk_method '%.40s' is not noaux_tc", method->string);
   return SINTER_ok;
}

static sinter_status check_widths(const model_source *s, const model_config *c)
{
   if (c->kv_heads != 1)
      return config_bad(s, "there are %u key heads, but one row is key and value of all",
                        c->kv_heads);
   if (!c->q_rank || !c->o_rank || !c->o_groups || c->heads % c->o_groups)
      return config_bad(s, "%u heads cannot leave in %u groups of rank %u", c->heads, c->o_groups,
                        c->o_rank);
   if (!c->streams || c->streams > 16 || !c->stream_iters || c->stream_iters > 1000)
      return config_bad(s, "%u streams cannot be mixed in %u rounds", c->streams, c->stream_iters);
   if (!c->window || !c->index_heads || !c->index_width || !c->index_top || !c->experts)
      return config_bad(s, "the window, the index or the number of experts is empty");
   if (c->q_rank > 1 << 16 || c->o_rank > 1 << 16 || c->index_heads > 1 << 12 ||
       c->index_width > ROPE_MAX_WIDTH || c->window > 1 << 20 || c->shared_experts > 64 ||
       c->index_top > 1 << 20)
      return config_past(s, "a width of the attention exceeds what a model can have");
   return SINTER_ok;
}

sinter_status deepseek_v4_derive(model_source *s, model_config *c)
{
   SINTER_TRY(check_choices(s, c));
   SINTER_TRY(check_widths(s, c));
   SINTER_TRY(read_kinds(s, c));
   SINTER_TRY(read_mlp_kinds(s, c));
   SINTER_TRY(read_rotation(s, c));
   SINTER_TRY(add_entry_ropes(s, c));
   c->route_score = score_of(s);
   c->attention_scale = 1 / sqrt(c->head_width);
   c->draft_layers = 0; /* its tensors are left out, with a note */
   return SINTER_ok;
}

/* ---- states ---- */

static ir_value *rows_state(model_build *m, uint32_t l, ir_state_kind kind, uint32_t window,
                            uint32_t ratio, uint32_t width)
{
   ir_type type = ir_type_make(DT_f32, 2, (ir_dim[]){ir_dim_of(1), ir_dim_of(width)});

   type.state = kind;
   return ir_rows_state(&m->b, l, window, ratio, type);
}

/* Entries of two chunks have values and gates twice: for their own chunk, and for the one
 * behind. */
static uint32_t halves(const model_config *c, uint32_t l)
{
   return c->indexed[l] ? 2 : 1;
}

static void make_states(model_build *m)
{
   const model_config *c = m->config;

   for (uint32_t l = 0; l < c->layers; l++) {
      uint32_t ratio = c->ratios[l], n = halves(c, l);
      uint32_t wide = c->head_width + (c->indexed[l] ? c->index_width : 0);
      m->kv[l] = rows_state(m, l, IR_STATE_window, c->window, 0, c->head_width);
      if (!ratio)
         continue;
      m->rows_of[l] = rows_state(m, l, IR_STATE_compressor, n * ratio, 0, 2 * n * wide);
      m->entries[l] =
         rows_state(m, l, c->indexed[l] ? IR_STATE_csa : IR_STATE_hca, 0, ratio, c->head_width);
      if (c->indexed[l])
         m->keys[l] = rows_state(m, l, IR_STATE_indexer, 0, ratio, c->index_width);
   }
}

/* ---- attention ---- */

static ir_value *heads_of(model_build *m, ir_value *x, uint32_t heads)
{
   int64_t d = ir_type_row(&x->type) / heads;

   return ir_reshape(&m->b, x, 3, (ir_dim[]){x->type.dim[0], ir_dim_of(heads), ir_dim_of(d)});
}

/* The last elements of each head, turned by the layer's table, or back. */
static ir_value *turn(model_build *m, uint32_t l, ir_value *x, bool back)
{
   return ir_rope_last(&m->b, x, m->tables[m->config->ratios[l] != 0], "pair", back);
}

/* x / sqrt(mean(x^2) + eps) of each head. */
static ir_value *unit(model_build *m, ir_value *x)
{
   double n = (double)ir_type_row(&x->type);

   return ir_scale(&m->b, ir_l2norm(&m->b, x, m->config->norm_eps * n), sqrt(n));
}

/* Values and gates of x for entries of that width, [T, 1, halves * width] each. */
static void pool_inputs(model_build *m, uint32_t l, const char *name, ir_value *x, uint32_t width,
                        ir_value **out)
{
   uint32_t n = halves(m->config, l) * width;
   const char *kv = arena_printf(m->m->a, "%s_kv", name);
   const char *gate = arena_printf(m->m->a, "%s_gate", name);

   out[0] = heads_of(m, model_linear(m, l, kv, x, n, false), 1);
   out[1] = heads_of(m, model_linear(m, l, gate, x, n, false), 1);
}

/* Entries from what stands at `start` in the rows, into `state`. */
static ir_value *add_entries(model_build *m, uint32_t l, const char *name, uint32_t start,
                             uint32_t width, ir_value *state)
{
   const model_config *c = m->config;
   uint32_t n = halves(c, l);
   ir_value *place = model_table(m, arena_printf(m->m->a, "blk.%u.%s_place.weight", l, name),
                                 c->ratios[l], n * width);
   ir_value *e = ir_compress(&m->b, m->rows_of[l], place, start, n == 2);

   e = model_norm(m, l, arena_printf(m->m->a, "%s_norm", name), e);
   e = ir_rope_last(&m->b, e, m->tables[table_of(c, c->ratios[l])], "pair", false);
   return ir_rows_write(&m->b, state, &e, 1);
}

static void compress(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   bool indexed = c->indexed[l];
   ir_value *parts[4];

   pool_inputs(m, l, "attn_entry", x, c->head_width, parts);
   if (indexed)
      pool_inputs(m, l, "attn_index", x, c->index_width, parts + 2);
   m->rows_of[l] = ir_rows_write(&m->b, m->rows_of[l], parts, indexed ? 4 : 2);
   m->entries[l] = add_entries(m, l, "attn_entry", 0, c->head_width, m->entries[l]);
   if (indexed)
      m->keys[l] = add_entries(m, l, "attn_index", 4 * c->head_width, c->index_width, m->keys[l]);
}

/* Ids of the entries that each row sees. */
static ir_value *choose(model_build *m, uint32_t l, ir_value *x, ir_value *latent)
{
   const model_config *c = m->config;
   ir_value *q = model_linear(m, l, "attn_index_q", latent, c->index_heads * c->index_width, false);
   ir_value *w = model_linear(m, l, "attn_index_weights", x, c->index_heads, false);

   q = turn(m, l, heads_of(m, q, c->index_heads), false);
   return ir_index_topk(&m->b, q, w, m->keys[l], c->index_top);
}

static ir_value *attention(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   uint64_t wide = (uint64_t)c->heads * c->head_width, each = wide / c->o_groups;
   ir_builder *b = &m->b;

   ir_value *latent =
      model_norm(m, l, "attn_q_a_norm", model_linear(m, l, "attn_q_a", x, c->q_rank, false));
   ir_value *q =
      heads_of(m, model_linear(m, l, "attn_q_b", latent, (uint32_t)wide, false), c->heads);
   ir_value *row = heads_of(m, model_linear(m, l, "attn_kv", x, c->head_width, false), 1);
   q = turn(m, l, unit(m, q), false);
   row = turn(m, l, model_norm(m, l, "attn_kv_norm", row), false);
   m->kv[l] = ir_rows_write(b, m->kv[l], &row, 1);
   ir_value *ids = NULL;
   if (c->ratios[l])
      compress(m, l, x);
   if (c->indexed[l])
      ids = choose(m, l, x, latent);
   ir_value *o =
      ir_sparse_attention(b, q, m->kv[l], model_vector(m, l, "attn_sinks.weight", c->heads),
                          m->entries[l], ids, c->attention_scale);
   o = heads_of(m, model_merge(m, turn(m, l, o, true)), c->o_groups);
   ir_value *w =
      model_matrix(m, l, "attn_output_a.weight", (uint64_t)c->o_groups * c->o_rank, each);
   w = ir_reshape(
      b, w, 3, (ir_dim[]){ir_dim_of(c->o_groups), ir_dim_of(c->o_rank), ir_dim_of((int64_t)each)});
   return model_linear(m, l, "attn_output_b", model_merge(m, ir_head_matmul(b, o, w)), c->width,
                       false);
}

/* ---- feed-forward ---- */

static ir_value *clamped(model_build *m, ir_value *gate, ir_value *up)
{
   const double limit = m->config->swiglu_limit;

   gate = ir_clamp(&m->b, gate, IR_NO_F, limit);
   up = ir_clamp(&m->b, up, -limit, limit);
   return ir_mul(&m->b, ir_silu(&m->b, gate), up);
}

static ir_value *shared(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   const model_tensor *t =
      map_get(&m->m->by_name, arena_printf(m->m->a, "blk.%u.ffn_gate_shexp.weight", l));
   /* the reference makes one, however many there are said to be */
   uint32_t n = t && t->rank == 2 && t->dim[0] == c->expert_ffn ? 1 : MAX(c->shared_experts, 1u);
   ir_value *gate = model_linear(m, l, "ffn_gate_shexp", x, n * c->expert_ffn, c->mlp_bias);
   ir_value *up = model_linear(m, l, "ffn_up_shexp", x, n * c->expert_ffn, c->mlp_bias);

   return model_linear(m, l, "ffn_down_shexp", clamped(m, gate, up), c->width, c->mlp_bias);
}

/* The experts that the token's id has, weighed by the router all the same. */
static ir_value *hashed(model_build *m, uint32_t l, ir_value *x, const model_experts *how)
{
   const model_config *c = m->config;
   ir_value *table = model_ids(m, l, "ffn_gate_tid2eid.weight", c->vocab, how->used, how->experts);
   ir_value *ids = ir_lookup(&m->b, table, m->ids);
   ir_value *w = model_matrix(m, l, "ffn_gate_inp.weight", how->experts, c->width);
   ir_value *weights = ir_route_weights(&m->b, ir_matmul(&m->b, x, w), ids, how->route);

   return model_experts_of(m, l, x, ids, weights, how);
}

static ir_value *feed_forward(model_build *m, uint32_t l, ir_value *x)
{
   const model_config *c = m->config;
   const model_experts how = {.experts = c->experts,
                              .used = c->experts_used,
                              .ffn = c->expert_ffn,
                              .select_bias = true,
                              .act = clamped,
                              .route =
                                 AT(.score = c->route_score, .scale = c->route_scale, .norm = 1)};
   ir_value *y = c->hashed[l] ? hashed(m, l, x, &how) : model_moe(m, l, x, &how);

   return ir_add(&m->b, y, shared(m, l, x));
}

/* ---- streams ---- */

typedef ir_value *half_of_layer(model_build *m, uint32_t l, ir_value *x);

/* One half of a layer between streams. */
static ir_value *half(model_build *m, uint32_t l, const char *name, ir_value *streams,
                      half_of_layer *body)
{
   const model_config *c = m->config;
   uint32_t n = c->streams, parts = (2 + n) * n;
   arena *a = m->m->a;
   ir_value *fn = model_table(m, arena_printf(a, "blk.%u.%s_hc_fn.weight", l, name), parts,
                              (uint64_t)n * c->width);
   ir_value *scale = model_vector(m, l, arena_printf(a, "%s_hc_scale.weight", name), 3);
   ir_value *base = model_vector(m, l, arena_printf(a, "%s_hc_base.weight", name), parts);
   ir_op *mix =
      ir_hc_mix(&m->b, streams, fn, scale, base,
                AT(.eps = c->norm_eps, .offset = c->stream_eps, .iters = (int64_t)c->stream_iters));
   ir_value *x = ir_hc_collapse(&m->b, streams, mix->results[0]);

   x = model_norm(m, l, arena_printf(a, "%s_norm", name), x);
   return ir_hc_expand(&m->b, body(m, l, x), streams, mix->results[1], mix->results[2]);
}

/* n times the embedding, side by side. */
static ir_value *spread(model_build *m, ir_value *x)
{
   uint32_t n = m->config->streams;
   ir_value *all = x;

   for (uint32_t i = 1; i < n; i++)
      all = ir_concat(&m->b, all, x);
   return heads_of(m, all, n);
}

/* The streams of the wanted rows as one. */
static ir_value *gather(model_build *m, ir_value *streams)
{
   const model_config *c = m->config;
   uint32_t n = c->streams;
   ir_value *x = ir_take_rows(&m->b, streams, m->rows);
   ir_value *flat = unit(m, model_merge(m, x));
   ir_value *fn = model_table(m, "output_hc_fn.weight", n, (uint64_t)n * c->width);
   ir_value *pre = ir_matmul(&m->b, flat, fn);

   pre = ir_scale(&m->b, pre, model_global_number(m, "output_hc_scale.weight"));
   pre = ir_sigmoid(&m->b, ir_add(&m->b, pre, model_global_vector(m, "output_hc_base.weight", n)));
   return ir_hc_collapse(&m->b, x, ir_shift(&m->b, pre, c->stream_eps));
}

void deepseek_v4_build(model_build *m)
{
   make_states(m);
   ir_value *streams = spread(m, model_embed(m, 1));

   for (uint32_t l = 0; l < m->config->layers; l++) {
      streams = half(m, l, "attn", streams, attention);
      streams = model_name_block(m, l, half(m, l, "ffn", streams, feed_forward));
   }
   model_finish_rows(m, gather(m, streams));
}
