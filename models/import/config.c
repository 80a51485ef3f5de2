/* config.c - reads config.json or GGUF keys into a model_config by the rows of config.def. */
#include "config.h"

#include <math.h>
#include <stdio.h>

enum { NEED_OPT, NEED_REQ };
typedef enum key_kind { KIND_INT, KIND_FLOAT, KIND_BOOL } key_kind;

typedef struct key_row {
   const char *hf, *gguf;
   key_kind kind;
   int need;
   size_t at;          /* offset of the field */
   const char *family; /* a row of models.def instead: the keys behind it are this family's */
} key_row;

typedef struct fixed_row {
   const char *hf, *gguf;
   double value;
   const char *remedy;
} fixed_row;

#define KEY(field, kind, need, hf, gguf)                                                           \
   {hf, gguf, KIND_##kind, NEED_##need, offsetof(model_config, field), NULL},
#define ALSO(field, kind, hf) {hf, "", KIND_##kind, NEED_OPT, offsetof(model_config, field), NULL},
#define MODEL(name, family, ...) {"", "", KIND_INT, NEED_OPT, 0, #family},
static const key_row keys[] = {
#include "config.def"
};
#define FIXED(hf, gguf, value, remedy) {hf, gguf, value, remedy},
static const fixed_row fixed[] = {
#include "config.def"
};
#define HANDLED(hf) hf,
#define IGNORE(hf) hf,
static const char *const known[] = {
#include "config.def"
};
#define IGNORE_GGUF(gguf) gguf,
static const char *const known_gguf[] = {
#include "config.def"
};
#define DEFAULT(row, field, kind, value)                                                           \
   {MODEL_AT_##row, KIND_##kind, offsetof(model_config, field), value},
static const struct {
   int row;
   key_kind kind;
   size_t at;
   double value;
} defaults[] = {
#include "config.def"
};
#define ONLY(trait, field) {MODEL_TRAIT_##trait, offsetof(model_config, field)},
static const struct {
   unsigned trait;
   size_t at;
} only[] = {
#include "config.def"
};

sinter_status config_fail(const model_source *s, bool past, const char *fmt, ...)
{
   static const char *const remedies[2][2] = {
      {"compare config.json with the one where the model comes from, or fetch it again",
       "convert the checkpoint again with a current converter, or take another file"},
      {"report the model with its config.json", "report the model with the metadata of its file"}};
   char text[256];
   va_list args;

   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   return base_fail(SINTER_bad_input, s->path, remedies[past][s->gguf != NULL], "%s", text);
}

const json *config_text(const model_source *s)
{
   const json *text = json_get(s->config, "text_config");

   return text && text->kind == JSON_object ? text : s->config;
}

/* ---- one value ---- */

static void put(model_config *c, key_kind kind, size_t at, double v)
{
   void *field = (char *)c + at;

   switch (kind) {
   case KIND_INT: *(config_INT *)field = (uint32_t)v; break;
   case KIND_FLOAT: *(config_FLOAT *)field = v; break;
   case KIND_BOOL: *(config_BOOL *)field = v != 0; break;
   }
}

static sinter_status store(const model_source *s, model_config *c, const key_row *k,
                           const char *name, double v)
{
   if (k->kind == KIND_INT && (!(v >= 0 && v <= INT32_MAX) || v != floor(v)))
      return config_bad(s, "%s is %g, no whole number in range", name, v);
   if (k->kind == KIND_FLOAT && !isfinite(v))
      return config_bad(s, "%s is not finite", name);
   put(c, k->kind, k->at, v);
   return SINTER_ok;
}

static bool number_of(const json *j, double *out)
{
   *out = j->kind == JSON_bool ? j->boolean : j->kind == JSON_null ? 0 : j->number;
   return j->kind == JSON_bool || j->kind == JSON_null || j->kind == JSON_int ||
          j->kind == JSON_float;
}

/* A number, or an array that repeats one number. */
static bool gguf_number(const gguf_value *v, double *out)
{
   double other;

   if (!gguf_float(v, 0, out))
      return false;
   for (uint64_t i = 1; i < v->count; i++)
      if (!gguf_float(v, i, &other) || other != *out)
         return false;
   return true;
}

static const gguf_value *arch_key(model_source *s, const model_row *row, const char *key)
{
   return *key ? gguf_find(s->gguf, arena_printf(s->a, "%s.%s", row->gguf, key)) : NULL;
}

/* ---- all values ---- */

static bool is_window_pattern(const key_row *k)
{
   return k->at == offsetof(model_config, window_pattern);
}

static sinter_status read_hf(model_source *s, model_config *c, const json *j)
{
   double v;

   for (size_t i = 0; i < countof(keys); i++) {
      const json *value = *keys[i].hf ? json_get(j, keys[i].hf) : NULL;
      /* null switches a count or a window off; a factor that is null keeps its default */
      if (!value || (value->kind == JSON_null && keys[i].kind == KIND_FLOAT))
         continue;
      /* letters, one a layer: read by config_window_pattern */
      if (is_window_pattern(&keys[i]) && value->kind == JSON_string)
         continue;
      if (!number_of(value, &v))
         return config_bad(s, "%s is no number", keys[i].hf);
      SINTER_TRY(store(s, c, &keys[i], keys[i].hf, v));
   }
   return SINTER_ok;
}

/* Whether the key means something for this family; what does not is unknown. */
static bool is_of_family(size_t key, const model_row *row)
{
   while (key-- > 0)
      if (keys[key].family)
         return strcmp(keys[key].family, row->family) == 0;
   return true;
}

/* The same in GGUF, where it also stays unread. */
static bool is_of(size_t key, const model_row *row)
{
   for (size_t i = 0; i < countof(only); i++)
      if (only[i].at == keys[key].at && !(row->traits & only[i].trait))
         return false;
   return is_of_family(key, row);
}

/* What the family reads for each layer: the first one's counts for the checks. */
static bool is_by_layer(const key_row *k, const model_row *row)
{
   return (row->traits & MODEL_TRAIT_by_layer) &&
          (k->at == offsetof(model_config, ffn) || k->at == offsetof(model_config, kv_heads));
}

static sinter_status read_gguf(model_source *s, model_config *c)
{
   double v;

   for (size_t i = 0; i < countof(keys); i++) {
      const gguf_value *value = is_of(i, c->row) ? arch_key(s, c->row, keys[i].gguf) : NULL;
      if (!value)
         continue;
      /* one flag a layer: layer types, read by the family */
      if (is_window_pattern(&keys[i]) && value->is_array)
         continue;
      if (!(is_by_layer(&keys[i], c->row) ? gguf_float(value, 0, &v) : gguf_number(value, &v)))
         return base_fail(SINTER_unsupported, s->path, "take a model whose layers are alike",
                          "%s.%s differs between layers or is no number", c->row->gguf,
                          keys[i].gguf);
      SINTER_TRY(store(s, c, &keys[i], keys[i].gguf, v));
   }
   return SINTER_ok;
}

static bool is_set(const model_config *c, const key_row *k)
{
   const char *field = (const char *)c + k->at;

   return k->kind == KIND_FLOAT ? *(const config_FLOAT *)(const void *)field > 0
                                : *(const config_INT *)(const void *)field > 0;
}

static sinter_status check_required(const model_source *s, const model_config *c)
{
   for (size_t i = 0; i < countof(keys); i++)
      if (keys[i].need == NEED_REQ && !is_set(c, &keys[i]))
         return config_bad(s, "%s%s is missing or zero", s->gguf ? c->row->gguf : "",
                           s->gguf ? arena_printf(s->a, ".%s", keys[i].gguf) : keys[i].hf);
   return SINTER_ok;
}

static sinter_status check_fixed(model_source *s, const model_row *row, const json *j)
{
   for (size_t i = 0; i < countof(fixed); i++) {
      const json *value = j && *fixed[i].hf ? json_get(j, fixed[i].hf) : NULL;
      const gguf_value *stored = s->gguf ? arch_key(s, row, fixed[i].gguf) : NULL;
      double v = fixed[i].value;
      if ((value && !number_of(value, &v)) || (stored && !gguf_number(stored, &v)) ||
          v != fixed[i].value)
         return base_fail(SINTER_unsupported, s->path, fixed[i].remedy, "%s is not %g",
                          s->gguf ? fixed[i].gguf : fixed[i].hf, fixed[i].value);
   }
   return SINTER_ok;
}

/* ---- keys nobody read ---- */

/* Of another family's key, 0 says that the model has no such thing. */
static bool is_known(const char *name, const json *v, const model_row *row)
{
   bool none = v->kind == JSON_int && v->integer == 0;

   for (size_t i = 0; i < countof(known); i++)
      if (strcmp(known[i], name) == 0)
         return true;
   for (size_t i = 0; i < countof(keys); i++)
      if (strcmp(keys[i].hf, name) == 0 && (none || is_of_family(i, row)))
         return true;
   for (size_t i = 0; i < countof(fixed); i++)
      if (strcmp(fixed[i].hf, name) == 0)
         return true;
   return *name == '_'; /* notes of the library that wrote the file */
}

static sinter_status check_unknown_hf(const model_source *s, const model_row *row, const json *j)
{
   for (size_t i = 0; i < j->len; i++) {
      const json *v = j->items[i];
      if (v->kind == JSON_null || (v->kind == JSON_bool && !v->boolean) ||
          is_known(j->keys[i], v, row))
         continue;
      return base_fail(
         SINTER_unsupported, s->path, "remove the key if it changes nothing, else report the model",
         "config.json has the key '%.80s', which may change what the model computes", j->keys[i]);
   }
   return SINTER_ok;
}

static sinter_status check_unknown_gguf(model_source *s, const model_row *row)
{
   size_t n = strlen(row->gguf);

   for (size_t i = 0; i < countof(known_gguf); i++)
      (void)arch_key(s, row, known_gguf[i]);
   for (uint64_t i = 0; i < s->gguf->num_keys; i++) {
      const gguf_key *k = &s->gguf->keys[i];
      if (!k->read && strncmp(k->name, row->gguf, n) == 0 && k->name[n] == '.')
         return base_fail(
            SINTER_unsupported, s->path, "take another conversion of the model, or report it",
            "the file has the key '%.80s', which may change what the model computes", k->name);
   }
   return SINTER_ok;
}

sinter_status config_layer_numbers(model_source *s, const model_config *c, const char *key,
                                   uint32_t *out, bool *out_given)
{
   const gguf_value *v = arch_key(s, c->row, key);
   int64_t n = 0;

   *out_given = v != NULL;
   if (!v)
      return SINTER_ok;
   if (v->is_array && v->count != c->layers)
      return config_bad(s, "%s has %llu entries for %u layers", key, (unsigned long long)v->count,
                        c->layers);
   for (uint32_t l = 0; l < c->layers; l++) {
      if (!gguf_int(v, v->is_array ? l : 0, &n) || n < 1 || n > 1 << 24)
         return config_bad(s, "%s holds something that is no count", key);
      out[l] = (uint32_t)n;
   }
   return SINTER_ok;
}

/* ---- layer types ---- */

static sinter_status gguf_layer_types(model_source *s, model_config *c, bool *out_given)
{
   const gguf_value *v = arch_key(s, c->row, "attention.sliding_window_pattern");
   int64_t flag;

   if (!v || !v->is_array)
      return SINTER_ok;
   if (v->count != c->layers)
      return config_bad(s, "sliding_window_pattern has %llu entries for %u layers",
                        (unsigned long long)v->count, c->layers);
   for (uint32_t l = 0; l < c->layers; l++) {
      if (!gguf_int(v, l, &flag))
         return config_bad(s, "sliding_window_pattern holds something that is no flag");
      c->sliding[l] = flag != 0;
   }
   *out_given = true;
   return SINTER_ok;
}

static sinter_status letters(const model_source *s, model_config *c, const json *pattern)
{
   if (!pattern->len || strspn(pattern->string, "LG") != pattern->len)
      return config_bad(s, "sliding_window_pattern '%.40s' is not made of L and G",
                        pattern->string);
   for (uint32_t l = 0; l < c->layers; l++)
      c->sliding[l] = l + 1 < c->layers && pattern->string[l % pattern->len] == 'L';
   return SINTER_ok;
}

sinter_status config_check_activation(const model_source *s, const model_config *c, const char *one)
{
   if (!c->activation || strcmp(c->activation, one) == 0)
      return SINTER_ok;
   return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                    "the activation '%.40s' is not %s", c->activation, one);
}

sinter_status config_window_pattern(model_source *s, model_config *c)
{
   const json *pattern = s->gguf ? NULL : json_get(config_text(s), "sliding_window_pattern");

   if (pattern && pattern->kind == JSON_string)
      return letters(s, c, pattern);
   for (uint32_t l = 0; l < c->layers; l++)
      c->sliding[l] = c->window_pattern && (l + 1) % c->window_pattern != 0;
   return SINTER_ok;
}

sinter_status config_layer_types(model_source *s, model_config *c, bool *out_given)
{
   const json *types = s->gguf ? NULL : json_get(config_text(s), "layer_types");

   *out_given = false;
   if (s->gguf)
      return gguf_layer_types(s, c, out_given);
   if (!types || types->kind == JSON_null)
      return SINTER_ok;
   if (types->kind != JSON_array || types->len != c->layers)
      return config_bad(s, "layer_types does not name a type for each of the %u layers", c->layers);
   for (uint32_t l = 0; l < c->layers; l++) {
      const json *t = types->items[l];
      bool sliding = t->kind == JSON_string && strcmp(t->string, "sliding_attention") == 0;
      if (!sliding && (t->kind != JSON_string || strcmp(t->string, "full_attention") != 0))
         return base_fail(
            SINTER_unsupported, s->path, "take a model with full and sliding attention only",
            "layer %u has the type '%.40s'", l, t->kind == JSON_string ? t->string : "");
      c->sliding[l] = sliding;
   }
   *out_given = true;
   return SINTER_ok;
}

/* ---- special ids ---- */

sinter_status config_add_eos(const model_source *s, model_config *c, int64_t id)
{
   if (id < 0 || id >= c->vocab)
      return config_bad(s, "the end-of-text id %lld is outside the vocabulary of %u", (long long)id,
                        c->vocab);
   for (uint32_t i = 0; i < c->num_eos; i++)
      if (c->eos[i] == id)
         return SINTER_ok;
   if (c->num_eos == PLAN_MAX_EOS)
      return config_past(s, "there are more than %d end-of-text ids", PLAN_MAX_EOS);
   c->eos[c->num_eos++] = (int32_t)id;
   return SINTER_ok;
}

/* An id, a list of ids, or null. */
static sinter_status add_eos(const model_source *s, model_config *c, const json *j)
{
   if (!j || j->kind == JSON_null)
      return SINTER_ok;
   if (j->kind == JSON_int)
      return config_add_eos(s, c, j->integer);
   if (j->kind != JSON_array)
      return config_bad(s, "eos_token_id is neither a number nor a list");
   for (size_t i = 0; i < j->len; i++) {
      if (j->items[i]->kind != JSON_int)
         return config_bad(s, "eos_token_id holds something that is no id");
      SINTER_TRY(config_add_eos(s, c, j->items[i]->integer));
   }
   return SINTER_ok;
}

static sinter_status read_special_ids(model_source *s, model_config *c)
{
   json *generation;
   const json *text = config_text(s), *bos = json_get(text, "bos_token_id");

   SINTER_TRY(source_json(s, s->path, "generation_config.json", &generation));
   if (!bos || bos->kind == JSON_null)
      bos = json_get(s->config, "bos_token_id");
   if (!bos || bos->kind == JSON_null)
      bos = json_get(generation, "bos_token_id");
   if (bos && bos->kind == JSON_int) {
      if (bos->integer < 0 || bos->integer >= c->vocab)
         return config_bad(s, "bos_token_id is outside the vocabulary of %u", c->vocab);
      c->bos = (int32_t)bos->integer;
   }
   SINTER_TRY(add_eos(s, c, json_get(generation, "eos_token_id")));
   SINTER_TRY(add_eos(s, c, json_get(text, "eos_token_id")));
   return add_eos(s, c, json_get(s->config, "eos_token_id"));
}

/* ---- the whole ---- */

/* Tokens of an image may see each other ("vision") where the text is causal: no such model is given
 * images here. */
static sinter_status check_direction(const model_source *s, const json *text)
{
   const json *v = json_get(text, "use_bidirectional_attention");
   double flag;

   if (!v || (number_of(v, &flag) && flag == 0) ||
       (v->kind == JSON_string && strcmp(v->string, "vision") == 0))
      return SINTER_ok;
   return base_fail(SINTER_unsupported, s->path,
                    "take a causal model: this one attends to later tokens",
                    "use_bidirectional_attention is neither false nor \"vision\"");
}

/* What single layers have otherwise, by their numbers, is a matter of the family that knows such
 * layers. */
static sinter_status check_per_layer(const model_source *s, const model_config *c, const json *text)
{
   const json *v = json_get(text, "per_layer_config");

   if (!v || v->kind == JSON_null || (v->kind == JSON_object && !v->len) ||
       strcmp(c->row->family, "gemma4") == 0)
      return SINTER_ok;
   return base_fail(SINTER_unsupported, s->path, "take a model whose layers are alike",
                    "per_layer_config gives layers of %s widths of their own", c->row->name);
}

static sinter_status read_folder(model_source *s, model_config *c)
{
   const json *text = config_text(s), *act = json_get(text, "hidden_activation");

   c->row->defaults(c);
   for (size_t i = 0; i < countof(defaults); i++)
      if (defaults[i].row == c->row->at)
         put(c, defaults[i].kind, defaults[i].at, defaults[i].value);
   if (text != s->config) {
      const json *tied = json_get(s->config, "tie_word_embeddings");
      if (tied && tied->kind == JSON_bool)
         c->tied = tied->boolean;
      SINTER_TRY(check_unknown_hf(s, c->row, s->config));
   }
   SINTER_TRY(read_hf(s, c, text));
   SINTER_TRY(check_fixed(s, c->row, text));
   SINTER_TRY(check_unknown_hf(s, c->row, text));
   SINTER_TRY(check_per_layer(s, c, text));
   SINTER_TRY(check_direction(s, text));
   if (!act || act->kind != JSON_string)
      act = json_get(text, "hidden_act");
   if (act && act->kind == JSON_string)
      c->activation = act->string;
   return SINTER_ok;
}

static sinter_status check_shape(const model_source *s, model_config *c)
{
   if (!c->kv_heads)
      c->kv_heads = c->heads;
   if (!c->head_width)
      c->head_width = c->width / c->heads;
   if (!c->vocab)
      return config_bad(s, "the size of the vocabulary is not given");
   if (c->heads % c->kv_heads)
      return config_bad(s, "%u query heads do not share %u kv heads evenly", c->heads, c->kv_heads);
   bool latent = s->gguf && c->kv_rank; /* widths of a row for all heads: the family's to check */
   if (!latent && (c->head_width % 2 || c->head_width > ROPE_MAX_WIDTH || !c->head_width))
      return config_past(s, "heads are %u wide: an even number up to %d is needed", c->head_width,
                         ROPE_MAX_WIDTH);
   if (!latent && c->value_width && c->value_width != c->head_width)
      return base_fail(SINTER_unsupported, s->path,
                       "take a model whose keys and values are equally wide",
                       "keys are %u wide, values %u", c->head_width, c->value_width);
   if (c->layers > 4096 || c->heads > 4096 || c->width > 1 << 20 || c->ffn > 1 << 24 ||
       c->vocab > 1 << 24)
      return config_past(s, "layers, heads, widths or vocabulary exceed what a model can have");
   return SINTER_ok;
}

bool config_has_tensor(const model_source *s, const char *name)
{
   for (size_t i = 0; i < s->tensors.count; i++)
      if (strcmp(s->tensors.data[i].source_name, name) == 0)
         return true;
   return false;
}

/* GGUF has no flags for what the tensor table shows. */
static void flags_from_tensors(const model_source *s, model_config *c)
{
   c->tied = !config_has_tensor(s, "output.weight");
   c->qkv_bias = config_has_tensor(s, "blk.0.attn_q.bias");
   c->output_bias = config_has_tensor(s, "blk.0.attn_output.bias");
   c->mlp_bias = config_has_tensor(s, "blk.0.ffn_down.bias");
   /* the key may name another count; the table decides */
   for (size_t i = 0; i < s->tensors.count; i++)
      if (strcmp(s->tensors.data[i].source_name, "token_embd.weight") == 0)
         c->vocab = (uint32_t)MIN(s->tensors.data[i].dim[0], UINT32_MAX);
}

sinter_status config_read(model_source *s, const model_row *row, model_config *c)
{
   bool flag = (row->traits & MODEL_TRAIT_bias_by_flag) != 0;

   *c = (model_config){.row = row, .from_folder = !s->gguf, .bos = -1};
   if (s->gguf) {
      SINTER_TRY(read_gguf(s, c));
      SINTER_TRY(check_fixed(s, row, NULL));
      flags_from_tensors(s, c);
      c->rope_style = row->rope_style;
   } else {
      SINTER_TRY(read_folder(s, c));
      c->qkv_bias = (row->traits & MODEL_TRAIT_qkv_bias) || (flag && c->attention_bias);
      c->output_bias = flag && c->attention_bias;
      c->mlp_bias = flag && c->mlp_bias;
      c->rope_style = "half";
   }
   SINTER_TRY(check_required(s, c));
   SINTER_TRY(check_shape(s, c));
   c->sliding = arena_array(s->a, bool, c->layers + 1); /* a draft layer may follow */
   c->sparse = arena_array(s->a, bool, c->layers + 1);
   SINTER_TRY(config_sparse_layers(s, c));
   SINTER_TRY(row->derive(s, c));
   SINTER_TRY(config_read_vision(s, c));
   if (s->gguf)
      return check_unknown_gguf(s, row);
   return read_special_ids(s, c);
}
