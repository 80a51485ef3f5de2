/* config_moe.c - which layers are mixtures of experts, and whether their counts can be. */
#include "config.h"

enum { MAX_EXPERTS = 1 << 16 };

static sinter_status drop_dense(const model_source *s, model_config *c)
{
   const json *list = json_get(config_text(s), "mlp_only_layers");

   if (!list || list->kind == JSON_null)
      return SINTER_ok;
   if (list->kind != JSON_array)
      return config_bad(s, "mlp_only_layers is no list");
   for (size_t i = 0; i < list->len; i++) {
      const json *l = list->items[i];
      if (l->kind != JSON_int || l->integer < 0)
         return config_bad(s, "mlp_only_layers holds something that is no layer");
      if (l->integer < c->layers) /* a truncated model may keep the list of the whole one */
         c->sparse[l->integer] = false;
   }
   return SINTER_ok;
}

static sinter_status check_counts(const model_source *s, const model_config *c)
{
   if (!c->experts_used || c->experts_used > c->experts || c->experts > MAX_EXPERTS)
      return config_bad(s, "%u of %u experts cannot be used for a token", c->experts_used,
                        c->experts);
   if (c->expert_ffn > 1 << 24)
      return config_bad(s, "experts are %u wide", c->expert_ffn);
   return SINTER_ok;
}

sinter_status config_sparse_layers(model_source *s, model_config *c)
{
   unsigned wanted = MODEL_TRAIT_experts | (s->gguf ? MODEL_TRAIT_experts_gguf : 0);

   if (!c->experts)
      return SINTER_ok;
   if (!(c->row->traits & wanted))
      return base_fail(SINTER_unsupported, s->path, "take a dense model of this architecture",
                       "%s is %u, but experts are not known of %s",
                       s->gguf ? "expert_count" : "the number of experts", c->experts,
                       c->row->name);
   SINTER_TRY(check_counts(s, c));
   if (!c->expert_ffn)
      c->expert_ffn = c->ffn;
   for (uint32_t l = 0; l < c->layers; l++)
      c->sparse[l] = s->gguf
                        ? config_has_tensor(s, arena_printf(s->a, "blk.%u.ffn_gate_inp.weight", l))
                        : !c->sparse_step || (l + 1) % c->sparse_step == 0;
   return s->gguf ? SINTER_ok : drop_dense(s, c);
}
