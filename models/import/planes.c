/* planes.c - weights that a checkpoint stores as two tensors or three, codes and scales, become
 * one.
 *
 *    x.weight        F8_E4M3 [N, K]     ┐
 *    x.weight_scale_inv  F32 [n, k]     ┴▶ x.weight  f8_128 [N, K]
 *    x.weight             I8 [N, K]     ┐
 *    x.weight_scale      F32 [N, 1]     ┴▶ x.weight  i8_128 [N, K]
 *    x.weight_packed      U8 [N, K/2]   ┐
 *    x.weight_scale  F8_E4M3 [N, K/16]  ┼▶ x.weight  i8_16 [N, K]
 *    x.weight_global_scale F32 [1]      ┘
 *    x_blocks             U8 [.., G, 16]┐
 *    x_scales             U8 [.., G]    ┴▶ x         mxfp4  [.., 32 G]
 *
 * Which of them a checkpoint may hold is said by its quantization_config; families never see it.
 * Activations are not quantised, whatever the configuration asks for. */
#include "planes.h"

#include <stdio.h>

typedef enum join_kind { JOIN_f8, JOIN_i8, JOIN_mxfp4, JOIN_nvfp4 } join_kind;

typedef struct join_row {
   join_kind kind;
   const char *method, *codes, *scales, *joined;
} join_row;

static const join_row join_rows[] = {
#define JOIN(kind, method, codes, scales, joined) {JOIN_##kind, method, codes, scales, joined},
#define JOIN_UNUSED(method, suffix)
#define JOIN_KEY(method, key)
#include "planes.def"
#undef JOIN
#undef JOIN_UNUSED
};

static const struct {
   const char *method, *suffix;
} unused[] = {
#define JOIN(kind, method, codes, scales, joined)
#define JOIN_UNUSED(method, suffix) {method, suffix},
#include "planes.def"
#undef JOIN_UNUSED
#undef JOIN_KEY
};

static const struct {
   const char *method, *key;
} known_keys[] = {
#define JOIN_UNUSED(method, suffix)
#define JOIN_KEY(method, key) {method, key},
#include "planes.def"
#undef JOIN
#undef JOIN_UNUSED
#undef JOIN_KEY
};

/* What the configuration says. */
typedef struct scheme {
   const char *method; /* of planes.def */
   uint64_t block[2];  /* rows and columns that share a scale; 0: not given */
   bool nvfp4;         /* bytes of two codes have scales of 16 elements, else of 32 */
} scheme;

static const char take_another[] = "take the unquantised checkpoint, or a GGUF file";

/* ---- the configuration ---- */

static const char *text_of(const json *j, const char *key)
{
   const json *v = json_get(j, key);

   return v && v->kind == JSON_string ? v->string : "";
}

static const json *set_value(const json *j, const char *key)
{
   const json *v = json_get(j, key);

   return v && v->kind != JSON_null ? v : NULL;
}

static sinter_status read_block(const model_source *s, const json *size, scheme *out)
{
   if (!size)
      return SINTER_ok;
   for (size_t i = 0; i < 2; i++)
      if (size->kind != JSON_array || size->len != 2 || size->items[i]->kind != JSON_int ||
          size->items[i]->integer < 1 || size->items[i]->integer > INT32_MAX)
         return config_bad(s, "the block of the quantised weights is not two positive numbers");
      else
         out->block[i] = (uint64_t)size->items[i]->integer;
   return SINTER_ok;
}

static sinter_status read_fp8(const model_source *s, const json *q, scheme *out)
{
   const char *fmt = text_of(q, "fmt");

   if (*fmt && strcmp(fmt, "e4m3") != 0 && strcmp(fmt, "float8_e4m3fn") != 0)
      return base_fail(SINTER_unsupported, s->path, take_another,
                       "the weights are FP8 of the format '%.40s', not e4m3", fmt);
   return read_block(s, set_value(q, "weight_block_size"), out);
}

/* compressed-tensors: one format for all groups; the shapes of the scales tell the rest. */
static sinter_status read_compressed(const model_source *s, const json *q, scheme *out)
{
   static const char *const formats[] = {"float-quantized", "int-quantized", "mxfp4-pack-quantized",
                                         "nvfp4-pack-quantized"};
   const char *format = text_of(q, "format");
   const json *groups = set_value(q, "config_groups");
   bool found = false;

   out->nvfp4 = strcmp(format, "nvfp4-pack-quantized") == 0;
   for (size_t i = 0; i < countof(formats); i++)
      found |= strcmp(formats[i], format) == 0;
   if (!found)
      return base_fail(SINTER_unsupported, s->path, take_another,
                       "compressed-tensors of the format '%.40s' are not supported", format);
   for (size_t i = 0; groups && groups->kind == JSON_object && i < groups->len; i++) {
      const json *weights = json_get(groups->items[i], "weights");
      const char *own = text_of(groups->items[i], "format");
      if (*own && strcmp(own, format) != 0)
         return base_fail(SINTER_unsupported, s->path, take_another,
                          "the weights are of the formats '%.40s' and '%.40s'", format, own);
      SINTER_TRY(read_block(s, set_value(weights, "block_structure"), out));
      const json *bits = json_get(weights, "num_bits"), *symmetric = json_get(weights, "symmetric");
      if (strcmp(format, "int-quantized") == 0 &&
          (!bits || bits->kind != JSON_int || bits->integer != 8 || !symmetric ||
           symmetric->kind != JSON_bool || !symmetric->boolean))
         return base_fail(SINTER_unsupported, s->path, take_another,
                          "weights of whole numbers are read with 8 bits and without zero points");
   }
   return SINTER_ok;
}

static sinter_status check_keys(const model_source *s, const json *q, const char *method)
{
   for (size_t i = 0; i < q->len; i++) {
      const json *v = q->items[i];
      bool known = v->kind == JSON_null || (v->kind == JSON_bool && !v->boolean);
      for (size_t k = 0; k < countof(known_keys) && !known; k++)
         known =
            strcmp(known_keys[k].method, method) == 0 && strcmp(known_keys[k].key, q->keys[i]) == 0;
      if (!known)
         return base_fail(SINTER_unsupported, s->path, take_another,
                          "quantization_config has the key '%.60s', which may change what the "
                          "weights mean",
                          q->keys[i]);
   }
   return SINTER_ok;
}

static sinter_status read_scheme(const model_source *s, const json *q, scheme *out)
{
   const char *method = text_of(q, "quant_method");

   out->method = method;
   if (strcmp(method, "fp8") == 0)
      SINTER_TRY(read_fp8(s, q, out));
   else if (strcmp(method, "compressed-tensors") == 0)
      SINTER_TRY(read_compressed(s, q, out));
   else if (!*method)
      return config_bad(s, "quantization_config does not name its quant_method");
   else if (strcmp(method, "mxfp4") != 0)
      return base_fail(SINTER_unsupported, s->path, take_another,
                       "checkpoints quantised by the method '%.40s' are not supported", method);
   return check_keys(s, q, method);
}

/* ---- shapes ---- */

static uint64_t elements(const model_tensor *t, uint32_t from, uint32_t to)
{
   uint64_t n = 1;

   for (uint32_t i = from; i < to && i < t->rank; i++)
      n *= t->dim[i];
   return n;
}

static sinter_status mismatch(const model_source *s, const model_tensor *codes,
                              const model_tensor *scales)
{
   return base_fail(
      SINTER_bad_input, s->path, "fetch the checkpoint again",
      "the shapes or types of '%.100s' and its scales '%.100s' do not belong together",
      codes->source_name, scales->source_name);
}

static uint64_t ceil_div(uint64_t n, uint64_t by)
{
   return n / by + (n % by != 0);
}

/* Blocks as configured, one scale a row, or one a matrix: whichever the scales' shape is. */
static bool fit_blocks(const model_tensor *t, const model_tensor *scales, const scheme *q,
                       uint64_t *out)
{
   const uint64_t n = t->dim[t->rank - 2], k = t->dim[t->rank - 1];
   const uint64_t each = elements(t, 0, t->rank - 2), all = elements(scales, 0, scales->rank);
   const uint64_t sizes[][2] = {{q->block[0], q->block[1]}, {1, k}, {n, k}};

   for (size_t i = 0; i < countof(sizes); i++) {
      const uint64_t rows = sizes[i][0], cols = sizes[i][1];
      if (!rows || !cols || all != each * ceil_div(n, rows) * ceil_div(k, cols))
         continue;
      out[0] = MIN(rows, n);
      out[1] = cols;
      return i > 0 || (scales->rank == t->rank && scales->dim[t->rank - 1] == ceil_div(k, cols));
   }
   return false;
}

static bool is_scale_type(dtype t)
{
   return t == DT_f32 || t == DT_f16 || t == DT_bf16 || t == DT_u8; /* u8: powers of two, e8m0 */
}

/* Codes of a byte each. */
static sinter_status join_bytes(model_source *s, model_tensor *t, const model_tensor *scales,
                                const scheme *q)
{
   uint64_t block[2];

   if (t->rank < 2 || t->rank > 3 || !elements(t, 0, t->rank) || scales->rank > 3 ||
       !is_scale_type(scales->dtype) || !fit_blocks(t, scales, q, block))
      return mismatch(s, t, scales);
   if (block[1] % MODEL_F8_BLOCK && block[1] < t->dim[t->rank - 1])
      return base_fail(SINTER_unsupported, s->path, take_another,
                       "scales of '%.100s' hold for %llu columns, which is no multiple of %d",
                       t->source_name, (unsigned long long)block[1], MODEL_F8_BLOCK);
   t->layout =
      (model_layout){.kind = MODEL_ROWS_f8, .block_rows = block[0], .block_cols = block[1]};
   t->dtype = t->dtype == DT_i8 ? DT_i8_128 : DT_f8_128;
   return SINTER_ok;
}

/* Codes [.., G, 16] or [.., K/2], scales [.., G]. */
static sinter_status join_mxfp4(model_source *s, model_tensor *t, const model_tensor *scales)
{
   uint32_t rank = scales->rank;
   bool split = t->rank == rank + 1 && t->dim[rank] == 16, flat = t->rank == rank;

   if ((t->dtype != DT_u8 && t->dtype != DT_i8) || scales->dtype != DT_u8 || rank < 2 || rank > 3 ||
       (!split && !flat))
      return mismatch(s, t, scales);
   if (elements(t, 0, t->rank) != 16 * elements(scales, 0, rank) ||
       memcmp(t->dim, scales->dim, (rank - 1) * sizeof *t->dim) != 0)
      return mismatch(s, t, scales);
   t->layout.kind = MODEL_ROWS_mxfp4;
   t->rank = rank;
   t->dim[rank - 1] = 32 * scales->dim[rank - 1];
   t->dtype = DT_mxfp4;
   return SINTER_ok;
}

/* Codes [N, K/2], scales [N, K/16]; the divisor is a tensor of one number. */
static sinter_status join_nvfp4(model_source *s, model_tensor *t, const model_tensor *scales,
                                model_tensor *divisor)
{
   if (t->dtype != DT_u8 || scales->dtype != DT_f8e4m3 || t->rank != 2 || scales->rank != 2 ||
       t->dim[0] != scales->dim[0] || t->dim[1] != 8 * scales->dim[1])
      return mismatch(s, t, scales);
   if (!divisor || divisor->dtype != DT_f32 || elements(divisor, 0, divisor->rank) != 1)
      return config_bad(s, "the weight '%.120s' has no global scale", t->source_name);
   float *value = arena_copy(s->a, divisor->data, sizeof *value);
   if (!(*value > 0))
      return config_bad(s, "the global scale of '%.120s' is not positive", t->source_name);
   divisor->is_plane = true;
   t->layout.kind = MODEL_ROWS_nvfp4;
   t->layout.divisors = value;
   t->dim[1] = 16 * scales->dim[1];
   t->dtype = DT_i8_16;
   return SINTER_ok;
}

/* ---- pairing ---- */

static const char *without(arena *a, const char *name, const char *suffix)
{
   size_t n = strlen(name), m = strlen(suffix);

   return n >= m && strcmp(name + n - m, suffix) == 0 ? arena_strndup(a, name, n - m) : NULL;
}

static sinter_status join(model_source *s, const scheme *q, const map *by_name, const join_row *row,
                          model_tensor *t, model_tensor *scales, const char *base)
{
   switch (row->kind) {
   case JOIN_f8:
   case JOIN_i8: SINTER_TRY(join_bytes(s, t, scales, q)); break;
   case JOIN_mxfp4: SINTER_TRY(join_mxfp4(s, t, scales)); break;
   case JOIN_nvfp4:
      SINTER_TRY(join_nvfp4(s, t, scales,
                            map_get(by_name, arena_printf(s->a, "%s.weight_global_scale", base))));
   }
   t->layout.scales = scales->data;
   t->layout.scale_type = scales->dtype;
   t->source_name = arena_printf(s->a, "%s%s", base, row->joined);
   scales->is_plane = true;
   return SINTER_ok;
}

static bool is_codes(join_kind kind, const model_tensor *t, const scheme *q)
{
   switch (kind) {
   case JOIN_f8: return t->dtype == DT_f8e4m3;
   case JOIN_i8: return t->dtype == DT_i8;
   case JOIN_nvfp4: return q->nvfp4;
   case JOIN_mxfp4: break;
   }
   return t->dtype != DT_f8e4m3 && !q->nvfp4;
}

static sinter_status join_tensor(model_source *s, const scheme *q, const map *by_name,
                                 model_tensor *t)
{
   for (size_t i = 0; i < countof(join_rows); i++) {
      const join_row *row = &join_rows[i];
      const char *base = without(s->a, t->source_name, row->codes);
      if (strcmp(row->method, q->method) != 0 || !base || !is_codes(row->kind, t, q))
         continue;
      model_tensor *scales = map_get(by_name, arena_printf(s->a, "%s%s", base, row->scales));
      if (scales && scales != t)
         return join(s, q, by_name, row, t, scales, base);
   }
   if (t->dtype == DT_f8e4m3)
      return config_bad(s, "the FP8 weight '%.120s' has no scales", t->source_name);
   for (size_t i = 0; i < countof(unused); i++)
      t->is_plane |= strcmp(unused[i].method, q->method) == 0 &&
                     without(s->a, t->source_name, unused[i].suffix);
   return SINTER_ok;
}

sinter_status source_join_planes(model_source *s)
{
   const json *q = set_value(s->config, "quantization_config");
   map by_name = {.a = s->a};
   scheme found = {0};

   if (!q && s->config)
      q = set_value(config_text(s), "quantization_config");
   if (!q)
      return SINTER_ok;
   if (q->kind != JSON_object)
      return config_bad(s, "quantization_config is no object");
   SINTER_TRY(read_scheme(s, q, &found));
   for (size_t i = 0; i < s->tensors.count; i++)
      (void)map_set(&by_name, s->tensors.data[i].source_name, &s->tensors.data[i]);
   /* FP8 last: they may be scales of others. */
   for (int f8 = 0; f8 < 2; f8++)
      for (size_t i = 0; i < s->tensors.count; i++)
         if (!s->tensors.data[i].is_plane && (s->tensors.data[i].dtype == DT_f8e4m3) == f8)
            SINTER_TRY(join_tensor(s, &found, &by_name, &s->tensors.data[i]));
   return SINTER_ok;
}
