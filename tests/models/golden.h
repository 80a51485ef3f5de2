/* golden.h - recorded checkpoints (tests/golden) and the outputs another implementation gave for
 * them.
 *
 *    golden g;  golden_open(&g, a, "llama");
 *    golden_tensor logits = golden_get(&g, "prompt1.logits");      f32[T, V]
 *
 * Needs base only, so that tests of the runtime and the command can use it too. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include "base/json.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>

typedef struct golden_tensor {
   uint64_t rank, dim[4];
   const float *f;   /* NULL unless F32 */
   const int32_t *i; /* NULL unless I32 */
} golden_tensor;

typedef struct golden {
   arena *a;
   const char *name, *dir;
   const json *entry; /* of MANIFEST.json */
   json *ref;         /* header of ref.safetensors */
   const uint8_t *data;
} golden;

static inline char *golden_read(arena *a, const char *path, size_t *out_size)
{
   FILE *f = fopen(path, "rb");

   cr_assert(f, "%s", path);
   fseek(f, 0, SEEK_END);
   *out_size = (size_t)ftell(f);
   rewind(f);
   char *bytes = arena_alloc(a, *out_size + 1);
   cr_assert_eq(fread(bytes, 1, *out_size, f), *out_size);
   fclose(f);
   return bytes;
}

static inline json *golden_json(arena *a, const char *path)
{
   size_t size;
   char *text = golden_read(a, path, &size);
   json *j = NULL;

   cr_assert_eq(json_parse(a, text, size, path, &j), SINTER_ok, "%s", sinter_error());
   return j;
}

static inline json *golden_manifest(arena *a)
{
   return golden_json(a, TEST_ROOT "/golden/MANIFEST.json");
}

static inline void golden_open(golden *g, arena *a, const char *name)
{
   size_t size;
   uint64_t len;
   json *manifest = golden_manifest(a);

   *g = (golden){.a = a, .name = name, .dir = arena_printf(a, "%s/golden/%s", TEST_ROOT, name)};
   g->entry = json_get(json_get(manifest, "models"), name);
   cr_assert(g->entry, "%s is not in MANIFEST.json", name);
   char *bytes = golden_read(a, arena_printf(a, "%s/ref.safetensors", g->dir), &size);
   memcpy(&len, bytes, 8);
   cr_assert_eq(json_parse(a, bytes + 8, len, name, &g->ref), SINTER_ok, "%s", sinter_error());
   g->data = (const uint8_t *)bytes + 8 + len;
}

static inline bool golden_has(const golden *g, const char *key)
{
   return json_get(g->ref, key) != NULL;
}

static inline golden_tensor golden_get(const golden *g, const char *key)
{
   const json *j = json_get(g->ref, key);
   golden_tensor t = {0};

   cr_assert(j, "%s has no %s", g->name, key);
   const json *shape = json_get(j, "shape");
   const char *type = json_get(j, "dtype")->string;
   const void *data = g->data + json_get(j, "data_offsets")->items[0]->integer;
   t.rank = shape->len;
   for (size_t d = 0; d < shape->len; d++)
      t.dim[d] = (uint64_t)shape->items[d]->integer;
   size_t bytes = (size_t)(json_get(j, "data_offsets")->items[1]->integer -
                           json_get(j, "data_offsets")->items[0]->integer);
   void *copy = arena_copy(g->a, data, bytes); /* aligned */
   t.f = strcmp(type, "F32") == 0 ? copy : NULL;
   t.i = strcmp(type, "I32") == 0 ? copy : NULL;
   return t;
}

/* Largest allowed difference of a logit; type: of a gguf_* folder, else NULL. */
static inline double golden_atol(const golden *g, const char *type)
{
   const json *atol = json_get(g->entry, "atol");

   return type ? json_get(atol, type)->number : atol->number;
}

#endif
