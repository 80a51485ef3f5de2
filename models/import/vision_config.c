/* vision_config.c - what config.json and preprocessor_config.json say about the tower that sees
 * images.
 *
 *    vision_config               widths, patches, rotary base       ─▶ model_vision
 *    image_token_id              the token in a prompt              ─▶ plan_vision.token
 *    preprocessor_config.json    sizes of images, mean and spread   ─▶ plan_vision, over the family's defaults */
#include "config.h"

#include <math.h>

typedef struct vision_keys {
   uint32_t layers, heads, patch, frames, merge, channels, width, hidden, out, ffn, ratio,
      positions;
} vision_keys;

static const struct {
   const char *key;
   size_t at;
} keys[] = {
#define VISION_KEY(field, key) {key, offsetof(vision_keys, field)},
#define VISION_KNOWN(key)
#include "vision.def"
#undef VISION_KEY
#undef VISION_KNOWN
};

static const char *const known[] = {
#define VISION_KEY(field, key)
#define VISION_KNOWN(key) key,
#include "vision.def"
#undef VISION_KEY
#undef VISION_KNOWN
};

static bool is_old(const model_config *c)
{
   return (c->row->traits & MODEL_TRAIT_vision_old) != 0;
}

/* What a vision_config may leave out. */
static vision_keys defaults(const model_config *c)
{
   if (is_old(c))
      return (vision_keys){.layers = 32,
                           .heads = 16,
                           .patch = 14,
                           .frames = 2,
                           .merge = 2,
                           .channels = 3,
                           .width = 1280,
                           .hidden = 3584,
                           .ratio = 4};
   return (vision_keys){.layers = 27,
                        .heads = 16,
                        .patch = 16,
                        .frames = 2,
                        .merge = 2,
                        .channels = 3,
                        .hidden = 1152,
                        .out = 3584,
                        .ffn = 4304,
                        .positions = 2304};
}

static bool is_nothing(const json *v)
{
   return v->kind == JSON_null || (v->kind == JSON_bool && !v->boolean) ||
          (v->kind == JSON_array && !v->len);
}

/* True when one of the tables has the key; numbers are stored. */
static bool take_key(const char *key, const json *v, vision_keys *out, bool *out_good)
{
   bool found = *key == '_';

   for (size_t i = 0; i < countof(keys); i++) {
      if (strcmp(keys[i].key, key) != 0)
         continue;
      double n = v->number;
      *out_good =
         (v->kind == JSON_int || v->kind == JSON_float) && n >= 1 && n <= 1 << 20 && n == floor(n);
      if (*out_good)
         *(uint32_t *)(void *)((char *)out + keys[i].at) = (uint32_t)n;
      found = true;
   }
   for (size_t i = 0; i < countof(known); i++)
      found |= strcmp(known[i], key) == 0;
   return found;
}

static sinter_status read_keys(const model_source *s, const json *j, vision_keys *out)
{
   for (size_t i = 0; i < j->len; i++) {
      bool good = true;
      if (is_nothing(j->items[i]))
         continue;
      if (!take_key(j->keys[i], j->items[i], out, &good))
         return base_fail(
            SINTER_unsupported, s->path,
            "remove the key if it changes nothing, else report the model",
            "vision_config has the key '%.80s', which may change what the tower computes",
            j->keys[i]);
      if (!good)
         return config_bad(s, "%s of vision_config is no whole number in range", j->keys[i]);
   }
   return SINTER_ok;
}

/* ---- preprocessor_config.json ---- */

static sinter_status read_triple(const model_source *s, const json *j, const char *key,
                                 double out[3])
{
   const json *list = json_get(j, key);

   if (!list || list->kind == JSON_null)
      return SINTER_ok;
   for (size_t i = 0; list->kind == JSON_array && list->len == 3 && i < 3; i++)
      out[i] = list->items[i]->number;
   if (list->kind != JSON_array || list->len != 3 || !isfinite(out[0] + out[1] + out[2]))
      return config_bad(s, "%s of preprocessor_config.json is no list of 3 numbers", key);
   return SINTER_ok;
}

static void read_count(const json *j, const char *key, uint64_t *out)
{
   const json *v = json_get(j, key);

   if (v && v->kind == JSON_int && v->integer > 0)
      *out = (uint64_t)v->integer;
}

/* Patches that the file and the configuration both describe are the same. */
static sinter_status check_same(const model_source *s, const json *j, const char *key, uint32_t is)
{
   uint64_t wanted = is;

   read_count(j, key, &wanted);
   return wanted == is
             ? SINTER_ok
             : config_bad(s, "%s of preprocessor_config.json is not that of vision_config", key);
}

static sinter_status read_preprocessor(model_source *s, plan_vision *v)
{
   json *j;

   SINTER_TRY(source_json(s, s->path, "preprocessor_config.json", &j));
   if (!j)
      return SINTER_ok;
   SINTER_TRY(read_triple(s, j, "image_mean", v->mean));
   SINTER_TRY(read_triple(s, j, "image_std", v->std));
   read_count(json_get(j, "size"), "shortest_edge", &v->min_pixels);
   read_count(json_get(j, "size"), "longest_edge", &v->max_pixels);
   read_count(j, "min_pixels", &v->min_pixels);
   read_count(j, "max_pixels", &v->max_pixels);
   SINTER_TRY(check_same(s, j, "patch_size", v->patch));
   SINTER_TRY(check_same(s, j, "temporal_patch_size", v->frames));
   return check_same(s, j, "merge_size", v->merge);
}

/* The families' own values. */
static void preprocessor_defaults(const model_config *c, plan_vision *v)
{
   static const double clip_mean[] = {0.48145466, 0.4578275, 0.40821073};
   static const double clip_std[] = {0.26862954, 0.26130258, 0.27577711};

   v->min_pixels = is_old(c) ? 56 * 56 : 256 * 256;
   v->max_pixels = is_old(c) ? 14 * 14 * 4 * 1280 : 4096 * 4096;
   for (int i = 0; i < 3; i++) {
      v->mean[i] = is_old(c) ? clip_mean[i] : 0.5;
      v->std[i] = is_old(c) ? clip_std[i] : 0.5;
   }
}

/* One image has to fit a step of the tower. */
static sinter_status bound_pixels(const model_source *s, plan_vision *v)
{
   uint64_t most = (uint64_t)MODEL_TOWER_ROWS * v->patch * v->patch;

   v->max_pixels = MIN(v->max_pixels, most);
   v->min_pixels = MIN(v->min_pixels, v->max_pixels);
   for (int i = 0; i < 3; i++)
      if (!(v->std[i] > 0))
         return config_bad(s, "image_std of preprocessor_config.json is not positive");
   return SINTER_ok;
}

/* ---- the whole ---- */

static sinter_status check_shape(const model_source *s, const model_config *c,
                                 const model_vision *v)
{
   uint32_t side = v->how.table;

   if (v->width % v->heads || v->width / v->heads % 4 || v->width / v->heads > ROPE_MAX_WIDTH)
      return config_bad(s, "%u heads of the vision tower do not share a width of %u in fours",
                        v->heads, v->width);
   if (v->out != c->width)
      return config_bad(s, "features are %u wide, embeddings %u", v->out, c->width);
   if (v->how.patch > 256 || v->how.frames > 16 || v->how.channels != 3 || v->how.merge > 16 ||
       side > 1 << 12)
      return config_bad(s, "patches of %u pixels, %u frames and %u channels are not supported",
                        v->how.patch, v->how.frames, v->how.channels);
   if (v->layers > 4096 || v->width > 1 << 16 || v->ffn > 1 << 18)
      return config_bad(s, "layers or widths of the vision tower exceed what a model can have");
   return SINTER_ok;
}

static sinter_status read_rope(const model_source *s, const json *j, model_vision *v)
{
   const json *rope = json_get(j, "rope_parameters"), *base = json_get(rope, "rope_theta");
   const json *kind = json_get(rope, "rope_type");

   v->rope = (rope_spec){.kind = ROPE_default,
                         .width = v->width / v->heads,
                         .base = 10000,
                         .factor = 1,
                         .attention_factor = 1,
                         .axial = true};
   if (kind && (kind->kind != JSON_string || strcmp(kind->string, "axial") != 0))
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "the rotary positions of the vision tower are not axial");
   if (base && (base->kind == JSON_int || base->kind == JSON_float))
      v->rope.base = base->number;
   return v->rope.base > 1 ? SINTER_ok
                           : config_bad(s, "rope_theta of vision_config is not above 1");
}

/* otherwise: where the key is absent; -1: none. */
static sinter_status read_token(const model_source *s, const model_config *c, const char *key,
                                int32_t otherwise, int32_t *out)
{
   const json *id = json_get(s->config, key);
   int64_t token = otherwise;

   if (id && id->kind != JSON_null)
      token = id->kind == JSON_int && id->integer >= 0 ? id->integer : INT64_MAX;
   if (token >= c->vocab)
      return config_bad(s, "%s is outside the vocabulary of %u", key, c->vocab);
   *out = (int32_t)token;
   return SINTER_ok;
}

/* Learned positions are a square. */
static sinter_status read_table(const model_source *s, uint32_t positions, plan_vision *v)
{
   v->table = (uint32_t)lround(sqrt(positions));
   return v->table * v->table == positions
             ? SINTER_ok
             : config_bad(s, "num_position_embeddings of vision_config is no square");
}

sinter_status config_read_vision(model_source *s, model_config *c)
{
   const json *j = s->gguf ? NULL : json_get(s->config, "vision_config");
   const json *act = json_get(j, "hidden_act");

   if (!(c->row->traits & MODEL_TRAIT_vision) || !j || j->kind != JSON_object)
      return SINTER_ok;
   vision_keys k = defaults(c);
   SINTER_TRY(read_keys(s, j, &k));
   model_vision *v = c->vision = arena_new(s->a, model_vision);
   *v = (model_vision){
      .layers = k.layers,
      .heads = k.heads,
      .width = is_old(c) ? k.width : k.hidden,
      .out = is_old(c) ? k.hidden : k.out,
      .ffn = is_old(c) ? k.width * k.ratio : k.ffn,
      .quick = is_old(c),
      .how = {.patch = k.patch, .frames = k.frames, .channels = k.channels, .merge = k.merge}};
   if (act && act->kind == JSON_string &&
       strcmp(act->string, v->quick ? "quick_gelu" : "gelu_pytorch_tanh") != 0)
      return base_fail(SINTER_unsupported, s->path, "report the model's config.json",
                       "the activation '%.40s' of the vision tower is not supported", act->string);
   SINTER_TRY(read_table(s, is_old(c) ? 0 : k.positions, &v->how));
   SINTER_TRY(check_shape(s, c, v));
   SINTER_TRY(read_rope(s, j, v));
   SINTER_TRY(read_token(s, c, "image_token_id", is_old(c) ? 151655 : 248056, &v->how.token));
   SINTER_TRY(read_token(s, c, "vision_start_token_id", -1, &v->how.before));
   SINTER_TRY(read_token(s, c, "vision_end_token_id", -1, &v->how.after));
   preprocessor_defaults(c, &v->how);
   SINTER_TRY(read_preprocessor(s, &v->how));
   return bound_pixels(s, &v->how);
}
