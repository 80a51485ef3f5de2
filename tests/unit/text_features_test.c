// LINK: models runtime base ir
/* Every supported part of a tokenizer.json, each in a small tokenizer, against the `tokenizers`
 * package. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/import/vocab_hf.h"
#include "runtime/text/tokenizer.h"

static const json *read_features(arena *a)
{
   enum { MOST = 4 << 20 };
   char *bytes = malloc(MOST);
   json *j;
   FILE *f = fopen(TEST_ROOT "/text_cases/features.json", "rb");

   cr_assert(f);
   size_t n = fread(bytes, 1, MOST, f);
   fclose(f);
   cr_assert(json_parse(a, bytes, n, "features.json", &j) == SINTER_ok, "%s", sinter_error());
   free(bytes);
   return j;
}

/* want NULL: a deliberate difference, see record_features.py. */
static void expect_ids(arena *a, const text_tokenizer *t, const char *name, const char *what,
                       const json *text, const json *want, unsigned flags)
{
   int32_t *ids;
   size_t n;
   bool same;

   if (!want)
      return;
   cr_assert(text_encode(t, a, text->string, text->len, NULL, flags, &ids, &n) == SINTER_ok, "%s",
             sinter_error());
   same = n == want->len;
   for (size_t i = 0; same && i < n; i++)
      same = ids[i] == want->items[i]->integer;
   if (same)
      return;
   text_buf got = {.a = a};
   for (size_t i = 0; i < n; i++)
      text_printf(&got, " %d", ids[i]);
   text_printf(&got, ", want");
   for (size_t i = 0; i < want->len; i++)
      text_printf(&got, " %d", (int)want->items[i]->integer);
   cr_expect(false, "%s %s '%s':%s", name, what, text->string, got.data);
}

static void expect_text(arena *a, const text_tokenizer *t, const char *name, const json *ids,
                        const json *want)
{
   int32_t *list = arena_array(a, int32_t, ids->len + 1);
   char *text;
   size_t n;

   if (!want)
      return;
   for (size_t i = 0; i < ids->len; i++)
      list[i] = (int32_t)ids->items[i]->integer;
   cr_assert(text_decode(t, a, list, ids->len, &text, &n) == SINTER_ok, "%s", sinter_error());
   cr_expect(n == want->len && memcmp(text, want->string, n) == 0, "%s decoded '%s', want '%s'",
             name, text, want->string);
}

/* Kills: any behaviour of a split, normaliser, prefix rule, added-token flag or decoder that is a
 * little different. */
Test(text, features)
{
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   const json *features = read_features(a);
   cr_expect(features->len >= 40);
   for (size_t i = 0; i < features->len; i++) {
      const json *feature = features->items[i], *cases = json_get(feature, "cases");
      const char *name = json_get(feature, "name")->string;
      const uint8_t *blob;
      size_t size;
      vocab_build b;
      text_tokenizer *t;
      build_init(&b, a);
      cr_assert(hf_read(&b, json_get(feature, "tokenizer"), 0) == SINTER_ok, "%s: %s", name,
                sinter_error());
      build_finish(&b, &blob, &size);
      cr_assert(text_tokenizer_create(blob, size, &t) == SINTER_ok, "%s: %s", name, sinter_error());
      for (size_t k = 0; k < cases->len; k++) {
         const json *c = cases->items[k];
         expect_ids(a, t, name, "ids", json_get(c, "text"), json_get(c, "ids"), 0);
         expect_ids(a, t, name, "plain", json_get(c, "text"), json_get(c, "plain"),
                    SINTER_TEXT_no_bos | SINTER_TEXT_plain);
         expect_text(a, t, name, json_get(c, "ids"), json_get(c, "decoded"));
      }
      text_tokenizer_destroy(t);
   }
   arena_destroy(a);
}
