/* safetensors.c - tensor tables of safetensors files, single and sharded.
 *
 *    u64 header length │ JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …} │ data
 *
 * The ranges must tile the data section exactly: no hole, no overlap, nothing behind the end. */
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_HEADER = 100 << 20, MAX_TENSORS = 1000000, MAX_RANK = 8 };

static const char damaged[] = "fetch the file again: it is damaged or no safetensors file";

static PRINTF_LIKE(2, 3) sinter_status bad(const char *where, const char *fmt, ...)
{
   char text[256];
   va_list args;

   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   return base_fail(SINTER_bad_input, where, damaged, "%s", text);
}

static bool is_size(const json *j, uint64_t *out)
{
   if (!j || j->kind != JSON_int || j->integer < 0)
      return false;
   *out = (uint64_t)j->integer;
   return true;
}

static sinter_status read_dtype(const char *where, const json *j, model_tensor *t,
                                uint64_t *out_bits)
{
   static const struct {
      const char *name;
      dtype dtype;
      uint64_t bits;
   } types[] = {
#define ST_TYPE(name, type, bits) {name, DT_##type, bits},
#include "safetensors_types.def"
#undef ST_TYPE
   };

   if (!j || j->kind != JSON_string)
      return bad(where, "tensor '%.80s' has no dtype", t->source_name);
   for (size_t i = 0; i < countof(types); i++)
      if (strcmp(types[i].name, j->string) == 0) {
         t->dtype = types[i].dtype;
         *out_bits = types[i].bits;
         return SINTER_ok;
      }
   return base_fail(SINTER_unsupported, where, "take a checkpoint in F32, F16 or BF16",
                    "tensor '%.80s' has the unknown dtype '%.40s'", t->source_name, j->string);
}

/* Shape and range of one tensor, checked against each other and the data section. */
static sinter_status read_tensor(const source_file *f, uint64_t start, const json *j,
                                 model_tensor *t)
{
   const json *shape = json_get(j, "shape"), *range = json_get(j, "data_offsets");
   uint64_t bits, n = 1, begin, end, dim;

   SINTER_TRY(read_dtype(f->path, json_get(j, "dtype"), t, &bits));
   if (!shape || shape->kind != JSON_array || shape->len > MAX_RANK)
      return bad(f->path, "tensor '%.80s' has no shape of at most %d extents", t->source_name,
                 MAX_RANK);
   t->rank = (uint32_t)shape->len;
   for (size_t i = 0; i < shape->len; i++) {
      if (!is_size(shape->items[i], &dim) || !base_mul(n, dim, &n))
         return bad(f->path, "the shape of tensor '%.80s' overflows", t->source_name);
      if (i < countof(t->dim))
         t->dim[i] = dim;
   }
   if (!range || range->kind != JSON_array || range->len != 2 ||
       !is_size(range->items[0], &begin) || !is_size(range->items[1], &end) || begin > end ||
       end > f->size - start)
      return bad(f->path, "the range of tensor '%.80s' lies outside the file", t->source_name);
   if (!base_mul(n, bits, &n) || n % 8 || n / 8 != end - begin)
      return bad(f->path, "shape and range of tensor '%.80s' disagree", t->source_name);
   t->file_offset = start + begin;
   t->bytes = end - begin;
   t->data = f->bytes + t->file_offset;
   return SINTER_ok;
}

static int by_offset(const void *x, const void *y)
{
   const model_tensor *a = x, *b = y;

   if (a->file_offset != b->file_offset)
      return a->file_offset < b->file_offset ? -1 : 1;
   return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int by_name(const void *x, const void *y)
{
   return strcmp(((const model_tensor *)x)->source_name, ((const model_tensor *)y)->source_name);
}

static sinter_status check_tiling(const source_file *f, uint64_t start, model_tensor *t, size_t n)
{
   uint64_t at = start;

   qsort(t, n, sizeof(*t), by_offset);
   for (size_t i = 0; i < n; i++) {
      if (t[i].file_offset != at)
         return bad(f->path, "before tensor '%.80s' there is a hole or an overlap",
                    t[i].source_name);
      at += t[i].bytes;
   }
   if (at != f->size)
      return bad(f->path, "%llu bytes at the end belong to no tensor",
                 (unsigned long long)(f->size - at));
   qsort(t, n, sizeof(*t), by_name);
   return SINTER_ok;
}

static sinter_status read_header(model_source *s, const source_file *f, json **out,
                                 uint64_t *out_start)
{
   uint64_t len = 0;

   if (f->size < 8)
      return bad(f->path, "the file is shorter than its header length");
   for (int i = 0; i < 8; i++)
      len |= (uint64_t)f->bytes[i] << 8 * i;
   if (len > MAX_HEADER || len > f->size - 8)
      return bad(f->path, "a header of %llu bytes does not fit", (unsigned long long)len);
   *out_start = 8 + len;
   while (len && f->bytes[8 + len - 1] == 0) /* some writers pad with NUL */
      len--;
   SINTER_TRY(json_parse(s->a, (const char *)f->bytes + 8, len, f->path, out));
   if ((*out)->kind != JSON_object || (*out)->len > MAX_TENSORS)
      return bad(f->path, "the header is no object of at most %d tensors", MAX_TENSORS);
   return SINTER_ok;
}

sinter_status safetensors_read(model_source *s, const source_file *f)
{
   json *header;
   uint64_t start;
   size_t n = 0;

   SINTER_TRY(read_header(s, f, &header, &start));
   model_tensor *t = arena_array(s->a, model_tensor, header->len);
   for (size_t i = 0; i < header->len; i++) {
      if (strcmp(header->keys[i], "__metadata__") == 0)
         continue;
      if (strlen(header->keys[i]) != header->key_lens[i] || !header->key_lens[i])
         return bad(f->path, "a tensor name is empty or holds a NUL");
      t[n].source_name = header->keys[i];
      SINTER_TRY(read_tensor(f, start, header->items[i], &t[n]));
      n++;
   }
   SINTER_TRY(check_tiling(f, start, t, n));
   for (size_t i = 0; i < n; i++)
      *vec_push(s->a, &s->tensors) = t[i];
   return SINTER_ok;
}

/* Names in an index are plain file names in the same folder. */
static bool is_plain_name(const json *j)
{
   return j->kind == JSON_string && j->len && strlen(j->string) == j->len &&
          !strchr(j->string, '/') && j->string[0] != '.';
}

static sinter_status read_shards(model_source *s, const char *where, const json *weight_map)
{
   map files = {.a = s->a}, tensors = {.a = s->a};
   source_file *f;

   for (size_t i = 0; i < weight_map->len; i++) {
      const json *name = weight_map->items[i];
      if (!is_plain_name(name))
         return bad(where, "the file of tensor '%.80s' is no plain file name", weight_map->keys[i]);
      if (map_get(&files, name->string))
         continue;
      const char *path = arena_printf(s->a, "%s/%s", s->path, name->string);
      if (access(path, F_OK) != 0 && errno == ENOENT)
         return base_fail(SINTER_not_found, path, "fetch it: model.safetensors.index.json names it",
                          "a file of the checkpoint is missing");
      SINTER_TRY(source_map(s, path, &f));
      map_set(&files, name->string, f);
      SINTER_TRY(safetensors_read(s, f));
   }
   for (size_t i = 0; i < s->tensors.count; i++)
      if (map_set(&tensors, s->tensors.data[i].source_name, &s->tensors.data[i]))
         return bad(where, "tensor '%.80s' is in two shards", s->tensors.data[i].source_name);
   for (size_t i = 0; i < weight_map->len; i++) {
      const model_tensor *t = map_get(&tensors, weight_map->keys[i]);
      f = map_get(&files, weight_map->items[i]->string);
      if (!t || t->data < f->bytes || t->data > f->bytes + f->size)
         return bad(where, "tensor '%.80s' is not in %.80s", weight_map->keys[i],
                    weight_map->items[i]->string);
   }
   return SINTER_ok;
}

sinter_status safetensors_read_folder(model_source *s)
{
   const char *single = arena_printf(s->a, "%s/model.safetensors", s->path);
   json *index;
   source_file *f;

   SINTER_TRY(source_json(s, s->path, "model.safetensors.index.json", &index));
   if (index) {
      const json *weight_map = json_get(index, "weight_map");
      const char *where = arena_printf(s->a, "%s/model.safetensors.index.json", s->path);
      if (!weight_map || weight_map->kind != JSON_object)
         return bad(where, "there is no object weight_map");
      return read_shards(s, where, weight_map);
   }
   if (access(single, F_OK) != 0)
      return base_fail(
         SINTER_not_found, s->path, "name a folder with model.safetensors, or a GGUF file",
         "the folder holds neither model.safetensors nor model.safetensors.index.json");
   SINTER_TRY(source_map(s, single, &f));
   return safetensors_read(s, f);
}
