/* rope_config.c - which rotary tables a checkpoint asks for, in all spellings.
 *
 *    config.json, old   rope_theta, rope_scaling {type | rope_type, factor, …}
 *    config.json, new   rope_parameters {rope_type, rope_theta, …}, one per layer type where the family
 *                       has two tables
 *    GGUF               rope.freq_base, rope.scaling.*, tensors rope_freqs, rope_factors_{long,short} */
#include "config.h"

#include <math.h>

/* The keys of one dictionary; 0 means absent. */
typedef struct rope_keys {
   const char *kind;
   bool no_truncate, interleaved;
   const json *sections;
   const json *short_factor, *long_factor;
#define ROPE_KIND(kind, hf, gguf)
#define ROPE_NUMBER(field, hf) double field;
#include "rope.def"
#undef ROPE_NUMBER
} rope_keys;

static const struct {
   const char *name;
   size_t at;
} numbers[] = {
#define ROPE_NUMBER(field, hf) {hf, offsetof(rope_keys, field)},
#include "rope.def"
#undef ROPE_KIND
#undef ROPE_NUMBER
};

static const struct {
   rope_kind kind;
   const char *hf, *gguf;
} kinds[] = {
#define ROPE_KIND(kind, hf, gguf) {ROPE_##kind, hf, gguf},
#define ROPE_NUMBER(field, hf)
#include "rope.def"
#undef ROPE_KIND
#undef ROPE_NUMBER
};

static sinter_status find_kind(const model_source *s, const char *name, rope_kind *out)
{
   for (size_t i = 0; i < countof(kinds); i++) {
      const char *known = s->gguf ? kinds[i].gguf : kinds[i].hf;
      if (*known && strcmp(known, name) == 0) {
         *out = kinds[i].kind;
         return SINTER_ok;
      }
   }
   return base_fail(SINTER_unsupported, s->path,
                    "take a model with default, linear, dynamic, yarn, llama3 or longrope",
                    "RoPE of kind '%.40s' is not supported", name);
}

/* ---- config.json ---- */

static bool store_number(rope_keys *k, const char *key, const json *v)
{
   for (size_t i = 0; i < countof(numbers); i++)
      if (strcmp(numbers[i].name, key) == 0) {
         *(double *)(void *)((char *)k + numbers[i].at) = v->number;
         return v->kind == JSON_int || v->kind == JSON_float;
      }
   return false;
}

static sinter_status read_keys(const model_source *s, const json *j, rope_keys *k)
{
   for (size_t i = 0; j && i < j->len; i++) {
      const char *key = j->keys[i];
      const json *v = j->items[i];
      if (v->kind == JSON_null)
         continue;
      if ((strcmp(key, "rope_type") == 0 || strcmp(key, "type") == 0) && v->kind == JSON_string) {
         /* old files may hold both; the newer spelling decides */
         if (!k->kind || strcmp(key, "rope_type") == 0)
            k->kind = v->string;
      } else if (strcmp(key, "truncate") == 0 && v->kind == JSON_bool) {
         k->no_truncate = !v->boolean;
      } else if (strcmp(key, "short_factor") == 0 && v->kind == JSON_array) {
         k->short_factor = v;
      } else if (strcmp(key, "long_factor") == 0 && v->kind == JSON_array) {
         k->long_factor = v;
      } else if (strcmp(key, "mrope_section") == 0 && v->kind == JSON_array) {
         k->sections = v;
      } else if (strcmp(key, "mrope_interleaved") == 0 && v->kind == JSON_bool) {
         k->interleaved = v->boolean;
      } else if (strcmp(key, "finetuned") != 0 && !store_number(k, key, v)) {
         return base_fail(
            SINTER_unsupported, s->path, "report the model's config.json",
            "the RoPE parameters hold the key '%.60s', which is unknown or of the wrong type", key);
      }
   }
   return SINTER_ok;
}

static double mscale_of(double factor, double mscale)
{
   return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double attention_factor_of(const rope_keys *k, const rope_spec *r)
{
   if (k->attention_factor > 0)
      return k->attention_factor;
   if (r->kind == ROPE_longrope && r->factor > 1)
      return sqrt(1 + log(r->factor) / log(r->original_context));
   if (r->kind != ROPE_yarn)
      return 1;
   double more = k->yarn_attn > 0 ? k->yarn_attn : 1;
   if (k->mscale != 0 && k->mscale_all_dim != 0)
      return more * mscale_of(r->factor, k->mscale) / mscale_of(r->factor, k->mscale_all_dim);
   return more * mscale_of(r->factor, 1);
}

static sinter_status read_factors(const model_source *s, const char *name, const json *j,
                                  uint32_t n, double *out)
{
   if (!j || j->len != n)
      return config_bad(s, "%s does not hold %u numbers, one per rotary pair", name, n);
   for (uint32_t i = 0; i < n; i++) {
      out[i] = j->items[i]->number;
      if (!(out[i] > 0) || !isfinite(out[i]))
         return config_bad(s, "%s holds something that is no positive number", name);
   }
   return SINTER_ok;
}

/* How three axes of positions share the pairs. */
static sinter_status read_sections(const model_source *s, const rope_keys *k, rope_spec *r)
{
   uint32_t sum = 0;

   if (!k->sections)
      return SINTER_ok;
   if (k->sections->len != ROPE_AXES)
      return config_bad(s, "mrope_section does not hold %d numbers", ROPE_AXES);
   for (uint32_t i = 0; i < ROPE_AXES; i++) {
      const json *n = k->sections->items[i];
      if (n->kind != JSON_int || n->integer < 0 || n->integer > r->width / 2)
         return config_bad(s, "mrope_section holds something that is no count of pairs");
      sum += r->sections[i] = (uint32_t)n->integer;
   }
   r->interleaved = k->interleaved;
   if (!r->interleaved && sum != r->width / 2)
      return config_bad(s, "mrope_section shares %u pairs, RoPE turns %u", sum, r->width / 2);
   if (r->kind != ROPE_dynamic && r->kind != ROPE_longrope)
      return SINTER_ok;
   return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                    "RoPE depends on the length and on three axes of positions");
}

/* What every kind needs, whatever the format it came from. */
static sinter_status check_spec(const model_source *s, const rope_spec *r)
{
   bool scaled = r->kind == ROPE_yarn || r->kind == ROPE_llama3 || r->kind == ROPE_longrope;

   if (!r->width || r->width % 2 || r->width > ROPE_MAX_WIDTH)
      return config_past(s, "RoPE turns %u elements: an even number up to %d is needed", r->width,
                         ROPE_MAX_WIDTH);
   if (!(r->base > 1) || !isfinite(r->base))
      return config_bad(s, "the base of RoPE is missing or not above 1");
   if (!(r->factor > 0) || !isfinite(r->factor) || !isfinite(r->attention_factor))
      return config_bad(s, "the factor of RoPE is missing or not positive");
   if (scaled && !(r->original_context > 1))
      return config_bad(s, "RoPE lacks original_max_position_embeddings");
   if (r->kind == ROPE_dynamic && (r->width < 4 || !(r->max_context > 0)))
      return config_bad(s, "dynamic RoPE needs a context length and heads wider than 2");
   if (r->kind == ROPE_llama3 &&
       (!(r->low_freq_factor > 0) || !(r->high_freq_factor > r->low_freq_factor)))
      return config_bad(s, "llama3 RoPE needs low_freq_factor below high_freq_factor");
   if (r->kind == ROPE_yarn && (!(r->beta_fast > 0) || !(r->beta_slow > 0)))
      return config_bad(s, "yarn RoPE needs positive beta_fast and beta_slow");
   return SINTER_ok;
}

/* Only the first pairs of a whole head turn, at the frequencies they have in it: the others take a
 * frequency that is none in f32. */
static void turn_part(rope_spec *r, double part, double factor)
{
   const uint32_t turned = (uint32_t)(part * r->width / 2);

   r->has_freq_factors = true;
   for (uint32_t i = 0; i < r->width / 2; i++)
      r->long_factor[i] = i < turned ? factor : 1e300;
}

/* One dictionary into one table for heads of that width. */
static sinter_status spec_from_json(model_source *s, const model_config *c, const json *dict,
                                    double base, uint32_t width, rope_spec *r)
{
   rope_keys k = {0};

   SINTER_TRY(read_keys(s, dict, &k));
   SINTER_TRY(find_kind(s, k.kind ? k.kind : "default", &r->kind));
   double part = k.part > 0 ? k.part : c->rope_part > 0 ? c->rope_part : 1;
   bool proportional = k.kind && strcmp(k.kind, "proportional") == 0;
   part = MIN(part, 1);
   r->width = proportional ? width : (uint32_t)(width * part);
   r->base = k.base > 0 ? k.base : base;
   r->max_context = c->context;
   r->original_context = c->rope_original > 0 ? c->rope_original
                         : k.original > 0     ? k.original
                                              : c->context;
   r->factor = k.factor;
   if (r->kind == ROPE_default)
      r->factor = 1;
   else if (r->factor == 0 && (r->kind == ROPE_yarn || r->kind == ROPE_longrope))
      r->factor = r->max_context / r->original_context;
   r->beta_fast = k.beta_fast > 0 ? k.beta_fast : 32;
   r->beta_slow = k.beta_slow > 0 ? k.beta_slow : 1;
   r->truncate = !k.no_truncate;
   r->low_freq_factor = k.low;
   r->high_freq_factor = k.high;
   r->attention_factor = attention_factor_of(&k, r);
   if (k.yarn_attn != 0 && r->kind != ROPE_yarn)
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "the RoPE parameters hold 'attn_factor', which is known of yarn only");
   SINTER_TRY(check_spec(s, r));
   SINTER_TRY(read_sections(s, &k, r));
   if (proportional)
      turn_part(r, part, k.factor > 0 ? k.factor : 1);
   if (r->kind == ROPE_longrope) {
      SINTER_TRY(read_factors(s, "short_factor", k.short_factor, r->width / 2, r->short_factor));
      SINTER_TRY(read_factors(s, "long_factor", k.long_factor, r->width / 2, r->long_factor));
   }
   return SINTER_ok;
}

static const json *object_or_null(const json *j, const char *key)
{
   const json *v = json_get(j, key);

   return v && v->kind == JSON_object && v->len ? v : NULL;
}

/* Gemma 3: rope_parameters holds a dictionary per layer type; the old spelling scales the full
 * layers only. The reference reads `truncate` beside the nested dictionaries only, so one inside
 * them has no effect. */
static sinter_status read_two_tables(model_source *s, model_config *c, const json *text)
{
   const json *nested = object_or_null(text, "rope_parameters"),
              *scaling = object_or_null(text, "rope_scaling");
   const json *full = object_or_null(nested, "full_attention"),
              *local = object_or_null(nested, "sliding_attention");
   const json *truncate = json_get(nested, "truncate");
   const uint32_t wide = c->global_head_width ? c->global_head_width : c->head_width;

   if (nested && !full && !local)
      return base_fail(SINTER_unsupported, s->path,
                       "give one dictionary for full_attention and one for sliding_attention",
                       "rope_parameters is not divided by layer type");
   if (full && scaling)
      return config_bad(s, "rope_scaling and rope_parameters are both given");
   SINTER_TRY(spec_from_json(s, c, full ? full : scaling, c->rope_base, wide, &c->rope));
   SINTER_TRY(spec_from_json(s, c, local, c->rope_local_base, c->head_width, &c->rope_local));
   c->rope.truncate = c->rope_local.truncate =
      !truncate || truncate->kind != JSON_bool || truncate->boolean;
   return SINTER_ok;
}

/* DeepSeek V4: rope_parameters holds `main` and `compress`; or there is one dictionary, which
 * scales the table of layers with entries, with their own base and without a factor for cos and
 * sin. The reference reads `truncate` beside the two only. */
sinter_status config_read_entry_ropes(model_source *s, model_config *c)
{
   const json *text = config_text(s), *flat = object_or_null(text, "rope_scaling");
   const json *given = object_or_null(text, "rope_parameters");
   const json *main = object_or_null(given, "main"), *entries = object_or_null(given, "compress");
   bool nested = main && entries;

   if (!flat)
      flat = given;
   SINTER_TRY(spec_from_json(s, c, nested ? main : NULL, c->rope_base, c->head_width, &c->rope));
   SINTER_TRY(spec_from_json(s, c, nested ? entries : flat, c->entry_rope_base, c->head_width,
                             &c->rope_local));
   if (!nested) {
      c->rope_local.base = c->entry_rope_base;
      if (c->rope_local.kind == ROPE_yarn && !json_get(flat, "attention_factor"))
         c->rope_local.attention_factor = 1;
   }
   c->rope.truncate = c->rope_local.truncate = true;
   return SINTER_ok;
}

double config_rope_mscale(const model_source *s, const model_config *c)
{
   /* GGUF stores a tenth of mscale_all_dim */
   if (s->gguf)
      return c->rope.kind == ROPE_yarn ? mscale_of(c->rope.factor, 10 * c->rope_log_mul) : 1;
   const json *text = config_text(s), *dict = object_or_null(text, "rope_scaling");
   const json *v =
      json_get(dict ? dict : object_or_null(text, "rope_parameters"), "mscale_all_dim");

   if (c->rope.kind == ROPE_default || !v || (v->kind != JSON_int && v->kind != JSON_float) ||
       v->number == 0)
      return 1;
   return mscale_of(c->rope.factor, v->number);
}

static sinter_status read_one_table(model_source *s, model_config *c, const json *text)
{
   const json *dict = object_or_null(text, "rope_scaling");

   if (!dict)
      dict = object_or_null(text, "rope_parameters");
   if (object_or_null(dict, "full_attention") || object_or_null(dict, "sliding_attention"))
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "rope_parameters differ by layer type, which this family does not have");
   return spec_from_json(s, c, dict, c->rope_base, c->head_width, &c->rope);
}

/* ---- GGUF ---- */

static model_tensor *find_tensor(model_source *s, const char *name)
{
   for (size_t i = 0; i < s->tensors.count; i++)
      if (strcmp(s->tensors.data[i].source_name, name) == 0)
         return &s->tensors.data[i];
   return NULL;
}

static sinter_status tensor_factors(const model_source *s, model_tensor *t, uint32_t n, double *out)
{
   if (t->dtype != DT_f32 || t->rank != 1 || t->dim[0] != n)
      return config_bad(s, "%s does not hold %u f32 numbers, one per rotary pair", t->source_name,
                        n);
   dtype_load(DT_f32, t->data, n, out);
   for (uint32_t i = 0; i < n; i++)
      if (!(out[i] > 0) || !isfinite(out[i]))
         return config_bad(s, "%s holds something that is no positive number", t->source_name);
   t->read = true;
   return SINTER_ok;
}

/* Frequency factors: longrope has two sets, llama 3 and others one that always holds. */
static sinter_status read_gguf_factors(model_source *s, rope_spec *r)
{
   model_tensor *freqs = find_tensor(s, "rope_freqs.weight");
   model_tensor *far = find_tensor(s, "rope_factors_long.weight"),
                *near = find_tensor(s, "rope_factors_short.weight");

   if (!far != !near || (far && freqs))
      return config_bad(s, "the tensors of RoPE factors contradict each other");
   if (far) {
      r->kind = ROPE_longrope;
      SINTER_TRY(tensor_factors(s, far, r->width / 2, r->long_factor));
      return tensor_factors(s, near, r->width / 2, r->short_factor);
   }
   if (r->kind == ROPE_longrope)
      return config_bad(s, "longrope lacks the tensors rope_factors_long and rope_factors_short");
   r->has_freq_factors = freqs != NULL;
   return freqs ? tensor_factors(s, freqs, r->width / 2, r->long_factor) : SINTER_ok;
}

static sinter_status gguf_kind(model_source *s, const model_config *c, double factor,
                               rope_kind *out)
{
   const gguf_value *v =
      gguf_find(s->gguf, arena_printf(s->a, "%s.rope.scaling.type", c->row->gguf));

   *out = factor == 1 ? ROPE_default : ROPE_linear;
   if (!v)
      return SINTER_ok;
   const gguf_string *name = gguf_strings(s->a, v);
   if (!name || v->count != 1)
      return config_bad(s, "rope.scaling.type is no string");
   return find_kind(s, arena_strndup(s->a, name->data, name->len), out);
}

static sinter_status read_gguf_table(model_source *s, model_config *c)
{
   rope_spec *r = &c->rope;
   const uint32_t wide = c->global_head_width ? c->global_head_width : c->head_width;
   double factor = c->rope_factor > 0       ? c->rope_factor
                   : c->rope_old_factor > 0 ? c->rope_old_factor
                                            : 1;

   SINTER_TRY(gguf_kind(s, c, factor, &r->kind));
   r->width = c->rope_width ? c->rope_width : wide;
   r->base = c->rope_base > 0 ? c->rope_base : 10000;
   r->factor = r->kind == ROPE_default ? 1 : factor;
   r->max_context = c->context;
   r->original_context = c->rope_original > 0 ? c->rope_original : c->context;
   r->beta_fast = c->rope_beta_fast > 0 ? c->rope_beta_fast : 32;
   r->beta_slow = c->rope_beta_slow > 0 ? c->rope_beta_slow : 1;
   r->truncate = true;
   r->attention_factor = c->rope_attn_factor > 0 ? c->rope_attn_factor : 1;
   if (c->rope_yarn_attn > 0)
      r->attention_factor *= c->rope_yarn_attn;
   if (c->kv_rank && r->attention_factor != 1)
      return base_fail(SINTER_unsupported, s->path, "report the model",
                       "latent attention has a factor of its own for cos and sin");
   /* yarn_attn_factor is config.json's attention_factor: it stands for the usual one. With latents
    * the attention's scale takes that: config_rope_mscale */
   if (r->kind == ROPE_yarn && !c->kv_rank && !(c->rope_yarn_attn > 0))
      r->attention_factor *= mscale_of(r->factor, 1);
   if (r->width > wide)
      return config_bad(s, "RoPE turns %u elements of heads that are %u wide", r->width, wide);
   SINTER_TRY(check_spec(s, r));
   return read_gguf_factors(s, r);
}

sinter_status config_read_rope(model_source *s, model_config *c, bool two_tables)
{
   if (!s->gguf)
      return two_tables ? read_two_tables(s, c, config_text(s))
                        : read_one_table(s, c, config_text(s));
   SINTER_TRY(read_gguf_table(s, c));
   if (!two_tables)
      return SINTER_ok;
   c->rope_local =
      (rope_spec){.kind = ROPE_default, .width = c->rope.width, .factor = 1, .attention_factor = 1};
   if (c->global_head_width)
      c->rope_local.width = c->rope_local_width ? c->rope_local_width : c->head_width;
   c->rope_local.base = c->rope_local_base > 0 ? c->rope_local_base : 10000;
   c->rope_local.max_context = c->rope_local.original_context = c->context;
   return check_spec(s, &c->rope_local);
}
