// LINK: models runtime base ir
/* Every tokenizer style against recorded ids and decoded text of the `tokenizers` package. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "models/import/tokenizer.h"
#include "runtime/text/tokenizer.h"

static const char *const styles[] = {"gpt2",  "llama3", "llama3_small", "qwen2",  "deepseek",
                                     "o200k", "llama2", "gemma",        "unigram"};

typedef struct fixture {
   arena *a;
   model_text text;
   text_tokenizer *t;
} fixture;

static fixture open_style(const char *style)
{
   fixture f = {0};
   char dir[256];

   snprintf(dir, sizeof dir, TEST_ROOT "/text_cases/%s", style);
   cr_assert(arena_create(&f.a) == SINTER_ok);
   cr_assert(model_vocab_from_hf(f.a, dir, 0, &f.text) == SINTER_ok, "%s: %s", style,
             sinter_error());
   cr_assert(text_tokenizer_create(f.text.vocab, f.text.vocab_size, &f.t) == SINTER_ok, "%s",
             sinter_error());
   return f;
}

static void close_style(fixture *f)
{
   text_tokenizer_destroy(f->t);
   arena_destroy(f->a);
}

static const json *read_cases(arena *a, const char *style)
{
   char path[256];
   static char bytes[1 << 20];
   json *j;

   snprintf(path, sizeof path, TEST_ROOT "/text_cases/%s/tokenizer_cases.json", style);
   FILE *file = fopen(path, "rb");
   cr_assert(file, "%s", path);
   size_t n = fread(bytes, 1, sizeof bytes, file);
   fclose(file);
   cr_assert(json_parse(a, bytes, n, path, &j) == SINTER_ok, "%s", sinter_error());
   return json_get(j, "cases");
}

static void expect_ids(const fixture *f, const char *style, const json *text, const json *want,
                       unsigned flags)
{
   int32_t *ids;
   size_t n;

   cr_assert(text_encode(f->t, f->a, text->string, text->len, NULL, flags, &ids, &n) == SINTER_ok);
   cr_expect(n == want->len, "%s: '%s': %zu ids, want %zu", style, text->string, n, want->len);
   for (size_t i = 0; i < MIN(n, want->len); i++)
      cr_expect(ids[i] == want->items[i]->integer, "%s: '%s': id %zu is %d, want %d", style,
                text->string, i, ids[i], (int)want->items[i]->integer);
}

/* Decodes at once and one by one; both must be the recorded text. Kills: emitting a broken
 * character early; stripping a space from every piece instead of the first. */
static void expect_text(const fixture *f, const char *style, const json *ids, const json *want)
{
   int32_t *list = arena_array(f->a, int32_t, ids->len + 1);
   text_buf joined = {.a = f->a};
   text_stream *s;
   const char *part;
   char *all;
   size_t n;

   cr_assert(text_stream_create(f->t, &s) == SINTER_ok);
   for (size_t i = 0; i < ids->len; i++) {
      list[i] = (int32_t)ids->items[i]->integer;
      cr_assert(text_stream_push(s, list[i], &part, &n) == SINTER_ok);
      text_append(&joined, part, n);
   }
   cr_assert(text_stream_finish(s, &part, &n) == SINTER_ok);
   text_append(&joined, part, n);
   text_stream_destroy(s);
   cr_assert(text_decode(f->t, f->a, list, ids->len, &all, &n) == SINTER_ok);
   cr_expect(n == want->len && memcmp(all, want->string, n) == 0, "%s: decoded '%s', want '%s'",
             style, all, want->string);
   cr_expect(joined.len == n && memcmp(joined.data, all, n) == 0, "%s: streamed '%s', decoded '%s'",
             style, joined.data, all);
}

/* Kills: any wrong split rule, merge order, normaliser or post-processor of the nine styles. */
Test(text, recorded_cases)
{
   for (size_t k = 0; k < countof(styles); k++) {
      fixture f = open_style(styles[k]);
      const json *cases = read_cases(f.a, styles[k]);
      cr_expect(cases->len >= 20);
      for (size_t i = 0; i < cases->len; i++) {
         const json *c = cases->items[i];
         expect_ids(&f, styles[k], json_get(c, "text"), json_get(c, "ids"), 0);
         expect_ids(&f, styles[k], json_get(c, "text"), json_get(c, "ids_no_special"),
                    SINTER_TEXT_no_bos);
         expect_text(&f, styles[k], json_get(c, "ids_no_special"), json_get(c, "decoded"));
      }
      close_style(&f);
   }
}
