/* gguf.c - reads the tables of a GGUF file with every size checked against the file. */
#include "gguf.h"

#include <stdio.h>
#include <stdlib.h>

enum {
   MAX_KEY = 64 << 10,
   MAX_STRING = 16 << 20,
   MAX_ITEMS = 4 << 20,
   MAX_TABLE = 1 << 16, /* keys, and tensors */
   MIN_KEY_BYTES = 8 + 4 + 1,
   MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8,
};

static const char damaged[] = "fetch the file again: it is damaged or no GGUF file";

/* A position in the mapped file. `at` never exceeds `size`. */
typedef struct cursor {
   const uint8_t *bytes;
   uint64_t size, at;
   const char *where;
   arena *a;
} cursor;

static PRINTF_LIKE(2, 3) sinter_status bad(const cursor *c, const char *fmt, ...)
{
   char text[256], where[512];
   va_list args;

   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   snprintf(where, sizeof where, "%s: offset %llu", c->where, (unsigned long long)c->at);
   return base_fail(SINTER_bad_input, where, damaged, "%s", text);
}

static sinter_status take(cursor *c, uint64_t n, const uint8_t **out)
{
   if (n > c->size - c->at)
      return bad(c, "%llu bytes are missing", (unsigned long long)(n - (c->size - c->at)));
   *out = c->bytes + c->at;
   c->at += n;
   return SINTER_ok;
}

static uint64_t little(const uint8_t *b, int n)
{
   uint64_t v = 0;

   for (int i = 0; i < n; i++)
      v |= (uint64_t)b[i] << 8 * i;
   return v;
}

static sinter_status take_int(cursor *c, int n, uint64_t *out)
{
   const uint8_t *b;

   SINTER_TRY(take(c, (uint64_t)n, &b));
   *out = little(b, n);
   return SINTER_ok;
}

static sinter_status take_string(cursor *c, uint64_t max, gguf_string *out)
{
   const uint8_t *b;
   uint64_t len;

   SINTER_TRY(take_int(c, 8, &len));
   if (len > max)
      return bad(c, "a string of %llu bytes exceeds the limit of %llu", (unsigned long long)len,
                 (unsigned long long)max);
   SINTER_TRY(take(c, len, &b));
   *out = (gguf_string){(const char *)b, len};
   return SINTER_ok;
}

static sinter_status take_name(cursor *c, const char **out)
{
   gguf_string s;

   SINTER_TRY(take_string(c, MAX_KEY, &s));
   if (!s.len || memchr(s.data, 0, s.len))
      return bad(c, "a name is empty or holds a NUL");
   *out = arena_strndup(c->a, s.data, s.len);
   return SINTER_ok;
}

/* Bytes of one item; 0 for strings and arrays, -1 for ids that are no type. */
static int type_bytes(uint64_t type)
{
   switch (type) {
#define GGUF_TYPE(name, id, bytes)                                                                 \
   case id:                                                                                        \
      return bytes;
#include "gguf_types.def"
#undef GGUF_TYPE
   default: return -1;
   }
}

static sinter_status take_type(cursor *c, gguf_type *out)
{
   uint64_t type;

   SINTER_TRY(take_int(c, 4, &type));
   if (type_bytes(type) < 0)
      return bad(c, "there is no value type %llu", (unsigned long long)type);
   *out = (gguf_type)type;
   return SINTER_ok;
}

static sinter_status take_items(cursor *c, gguf_value *v)
{
   uint64_t bytes;
   gguf_string s;

   v->data = c->bytes + c->at;
   if (v->type == GGUF_string) {
      for (uint64_t i = 0; i < v->count; i++)
         SINTER_TRY(take_string(c, MAX_STRING, &s));
      return SINTER_ok;
   }
   if (!base_mul(v->count, (uint64_t)type_bytes(v->type), &bytes))
      return bad(c, "the size of an array overflows");
   return take(c, bytes, &v->data);
}

static sinter_status take_value(cursor *c, gguf_value *v)
{
   SINTER_TRY(take_type(c, &v->type));
   v->count = 1;
   if (v->type == GGUF_array) {
      v->is_array = true;
      SINTER_TRY(take_type(c, &v->type));
      SINTER_TRY(take_int(c, 8, &v->count));
      if (v->type == GGUF_array)
         return bad(c, "arrays of arrays are not read");
      if (v->count > MAX_ITEMS)
         return bad(c, "an array of %llu items exceeds the limit of %d",
                    (unsigned long long)v->count, MAX_ITEMS);
   }
   return take_items(c, v);
}

static sinter_status read_header(cursor *c, gguf_file *g)
{
   const uint8_t *magic;
   uint64_t version;

   SINTER_TRY(take(c, 4, &magic));
   if (memcmp(magic, "GGUF", 4) != 0)
      return base_fail(SINTER_bad_input, c->where,
                       "name a GGUF file, or the folder that holds config.json and safetensors",
                       "the file does not start with GGUF");
   SINTER_TRY(take_int(c, 4, &version));
   if (version && version % (1 << 24) == 0)
      return base_fail(SINTER_unsupported, c->where, "convert the model again as little-endian",
                       "the file is big-endian");
   if (version != 2 && version != 3)
      return base_fail(
         SINTER_unsupported, c->where,
         "convert the model again with a current converter (little-endian, version 3)",
         "GGUF version %llu is not read, only 2 and 3", (unsigned long long)version);
   g->version = (uint32_t)version;
   SINTER_TRY(take_int(c, 8, &g->num_tensors));
   SINTER_TRY(take_int(c, 8, &g->num_keys));
   uint64_t left = c->size - c->at;
   if (g->num_tensors > MAX_TABLE || g->num_tensors > left / MIN_TENSOR_BYTES)
      return bad(c, "the header claims %llu tensors", (unsigned long long)g->num_tensors);
   if (g->num_keys > MAX_TABLE || g->num_keys > left / MIN_KEY_BYTES)
      return bad(c, "the header claims %llu keys", (unsigned long long)g->num_keys);
   return SINTER_ok;
}

static sinter_status read_keys(cursor *c, gguf_file *g)
{
   g->keys = arena_array(c->a, gguf_key, g->num_keys);
   for (uint64_t i = 0; i < g->num_keys; i++) {
      gguf_key *k = &g->keys[i];
      SINTER_TRY(take_name(c, &k->name));
      SINTER_TRY(take_value(c, &k->value));
      if (map_set(&g->by_key, k->name, k))
         return bad(c, "the key '%.80s' occurs twice", k->name);
   }
   return SINTER_ok;
}

static sinter_status read_alignment(cursor *c, gguf_file *g)
{
   const gguf_value *v = gguf_find(g, "general.alignment");
   int64_t n = 32;

   if (v && (v->is_array || v->type != GGUF_u32 || !gguf_int(v, 0, &n) || n < 8 || n > 64 << 10 ||
             (n & (n - 1))))
      return bad(c, "general.alignment is no power of two from 8 to 65536");
   g->alignment = (uint64_t)n;
   return SINTER_ok;
}

static sinter_status tensor_bytes(const cursor *c, gguf_tensor *t, uint64_t type)
{
   uint64_t n = 1;

   t->dtype = dtype_from_gguf((uint32_t)type);
   if (type > UINT32_MAX || t->dtype == DT_none)
      return base_fail(SINTER_unsupported, t->name,
                       "take a file in another quantisation, e.g. Q4_K_M or Q8_0",
                       "tensor type %llu is not supported", (unsigned long long)type);
   for (uint32_t i = 0; i < t->rank; i++)
      if (!t->dim[i] || t->dim[i] > INT64_MAX || !base_mul(n, t->dim[i], &n))
         return bad(c, "the extents of tensor '%.80s' are zero or overflow", t->name);
   if (t->dim[0] % dtype_infos[t->dtype].block || !dtype_size(t->dtype, n, &t->bytes))
      return bad(c, "rows of tensor '%.80s' are no whole blocks of %s", t->name,
                 dtype_infos[t->dtype].name);
   return SINTER_ok;
}

static sinter_status read_tensors(cursor *c, gguf_file *g)
{
   uint64_t rank, type;

   g->tensors = arena_array(c->a, gguf_tensor, g->num_tensors);
   for (uint64_t i = 0; i < g->num_tensors; i++) {
      gguf_tensor *t = &g->tensors[i];
      SINTER_TRY(take_name(c, &t->name));
      SINTER_TRY(take_int(c, 4, &rank));
      if (rank < 1 || rank > countof(t->dim))
         return bad(c, "tensor '%.80s' has %llu dimensions", t->name, (unsigned long long)rank);
      t->rank = (uint32_t)rank;
      for (uint32_t d = 0; d < t->rank; d++)
         SINTER_TRY(take_int(c, 8, &t->dim[d]));
      SINTER_TRY(take_int(c, 4, &type));
      SINTER_TRY(take_int(c, 8, &t->file_offset));
      SINTER_TRY(tensor_bytes(c, t, type));
      if (map_set(&g->by_name, t->name, t))
         return bad(c, "the tensor '%.80s' occurs twice", t->name);
   }
   return SINTER_ok;
}

static int by_offset(const void *x, const void *y)
{
   const gguf_tensor *a = *(gguf_tensor *const *)x, *b = *(gguf_tensor *const *)y;

   return (a->file_offset > b->file_offset) - (a->file_offset < b->file_offset);
}

/* Turns offsets within the data section into places in the file, none outside it and none shared.
 */
static sinter_status place_tensors(cursor *c, gguf_file *g)
{
   uint64_t start = base_align(c->at, g->alignment), end;
   gguf_tensor **order = arena_array(c->a, gguf_tensor *, g->num_tensors);

   for (uint64_t i = 0; i < g->num_tensors; i++) {
      gguf_tensor *t = order[i] = &g->tensors[i];
      if (t->file_offset % g->alignment)
         return bad(c, "tensor '%.80s' does not start at a multiple of %llu", t->name,
                    (unsigned long long)g->alignment);
      if (!base_add(t->file_offset, start, &t->file_offset) ||
          !base_add(t->file_offset, t->bytes, &end) || end > c->size)
         return bad(c, "tensor '%.80s' ends behind the end of the file", t->name);
      t->data = c->bytes + t->file_offset;
   }
   if (g->num_tensors)
      qsort(order, g->num_tensors, sizeof(*order), by_offset);
   for (uint64_t i = 1; i < g->num_tensors; i++)
      if (order[i]->file_offset < order[i - 1]->file_offset + order[i - 1]->bytes)
         return bad(c, "tensors '%.80s' and '%.80s' overlap", order[i - 1]->name, order[i]->name);
   return SINTER_ok;
}

sinter_status gguf_read(arena *a, const uint8_t *bytes, uint64_t size, const char *where,
                        gguf_file **out)
{
   cursor c = {bytes, size, 0, where, a};
   gguf_file *g = arena_new(a, gguf_file);

   g->where = where;
   g->by_key.a = g->by_name.a = a;
   SINTER_TRY(read_header(&c, g));
   SINTER_TRY(read_keys(&c, g));
   SINTER_TRY(read_alignment(&c, g));
   SINTER_TRY(read_tensors(&c, g));
   SINTER_TRY(place_tensors(&c, g));
   *out = g;
   return SINTER_ok;
}

const gguf_value *gguf_find(gguf_file *g, const char *name)
{
   gguf_key *k = map_get(&g->by_key, name);

   if (!k)
      return NULL;
   k->read = true;
   return &k->value;
}

bool gguf_int(const gguf_value *v, uint64_t i, int64_t *out)
{
   int bytes = type_bytes(v->type);

   if (i >= v->count || bytes <= 0)
      return false;
   uint64_t raw = little(v->data + i * (uint64_t)bytes, bytes);
   switch (v->type) {
   case GGUF_u8:
   case GGUF_u16:
   case GGUF_u32: *out = (int64_t)raw; return true;
   case GGUF_bool: *out = raw != 0; return true;
   case GGUF_i8: *out = (int8_t)raw; return true;
   case GGUF_i16: *out = (int16_t)raw; return true;
   case GGUF_i32: *out = (int32_t)raw; return true;
   case GGUF_u64: *out = (int64_t)raw; return raw <= INT64_MAX;
   case GGUF_i64: *out = (int64_t)raw; return true;
   default: return false;
   }
}

bool gguf_float(const gguf_value *v, uint64_t i, double *out)
{
   float single;
   int64_t n;

   if (i < v->count && v->type == GGUF_f32) {
      memcpy(&single, v->data + 4 * i, 4);
      *out = single;
      return true;
   }
   if (i < v->count && v->type == GGUF_f64) {
      memcpy(out, v->data + 8 * i, 8);
      return true;
   }
   if (!gguf_int(v, i, &n))
      return false;
   *out = (double)n;
   return true;
}

const gguf_string *gguf_strings(arena *a, const gguf_value *v)
{
   const uint8_t *at = v->data;
   gguf_string *s;

   if (v->type != GGUF_string)
      return NULL;
   s = arena_array(a, gguf_string, v->count);
   for (uint64_t i = 0; i < v->count; i++) {
      s[i] = (gguf_string){(const char *)at + 8, little(at, 8)};
      at += 8 + s[i].len;
   }
   return s;
}
