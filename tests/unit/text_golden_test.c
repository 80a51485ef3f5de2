// LINK: models runtime base ir
/* Every tokenizer style against recorded ids and decoded text of the `tokenizers` package. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "models/import/tokenizer.h"
#include "models/import/vocab_gguf.h"
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

/* ---- the same vocabularies as GGUF spells them ---- */

static const json *read_tokenizer(arena *a, const char *style)
{
   char path[256];
   char *bytes = malloc(1 << 20);
   json *j;

   snprintf(path, sizeof path, TEST_ROOT "/text_cases/%s/tokenizer.json", style);
   FILE *file = fopen(path, "rb");
   cr_assert(file, "%s", path);
   size_t n = fread(bytes, 1, 1 << 20, file);
   fclose(file);
   cr_assert(json_parse(a, bytes, n, path, &j) == SINTER_ok, "%s", sinter_error());
   free(bytes);
   return j;
}

/* Arrays as tokenizer.ggml.* would hold them: control tokens are type 3, bytes 6, the rest 1. */
static gguf_vocab to_gguf(arena *a, const json *root)
{
   enum { MOST = 2048 };
   const json *vocab_json = json_get(json_get(root, "model"), "vocab"),
              *merges = json_get(json_get(root, "model"), "merges"),
              *added = json_get(root, "added_tokens");
   gguf_string *tokens = arena_array(a, gguf_string, MOST),
               *list = arena_array(a, gguf_string, merges->len + 1);
   int32_t *types = arena_array(a, int32_t, MOST);
   gguf_value *type_value = arena_new(a, gguf_value);
   gguf_vocab g = {.tokens = tokens,
                   .merges = list,
                   .num_merges = merges->len,
                   .types = type_value,
                   .bos = -1,
                   .eos = -1,
                   .unk = -1,
                   .adds_bos = 0,
                   .adds_eos = 0,
                   .space_prefix = -1};

   for (size_t i = 0; i < vocab_json->len; i++) {
      int64_t id = vocab_json->items[i]->integer;
      tokens[id] = (gguf_string){vocab_json->keys[i], vocab_json->key_lens[i]};
      types[id] = byte_piece(vocab_json->keys[i], vocab_json->key_lens[i]) >= 0 ? 6 : 1;
      g.num_tokens = MAX(g.num_tokens, (uint64_t)id + 1);
   }
   for (size_t i = 0; i < added->len; i++) {
      int64_t id = json_get(added->items[i], "id")->integer;
      const json *content = json_get(added->items[i], "content");
      tokens[id] = (gguf_string){content->string, content->len};
      types[id] = 3;
      g.num_tokens = MAX(g.num_tokens, (uint64_t)id + 1);
      if (strcmp(content->string, "<unk>") == 0)
         g.unk = (int32_t)id;
   }
   for (size_t i = 0; i < merges->len; i++) {
      const json *m = merges->items[i];
      text_buf joined = {.a = a};
      text_append(&joined, m->items[0]->string, m->items[0]->len);
      text_append(&joined, " ", 1);
      text_append(&joined, m->items[1]->string, m->items[1]->len);
      list[i] = (gguf_string){joined.data, joined.len};
   }
   *type_value = (gguf_value){
      .type = GGUF_i32, .is_array = true, .count = g.num_tokens, .data = (uint8_t *)types};
   return g;
}

/* Kills: a wrong pattern behind a name of pretokenizers.def; a missing NFC, space prefix or
 * respelling of bytes. */
Test(text, gguf_arrays)
{
   static const struct {
      const char *style, *model, *pre, *architecture;
   } cases[] = {
      {"gpt2", "gpt2", "gpt-2", "llama"},      {"llama3", "gpt2", "llama-bpe", "llama"},
      {"qwen2", "gpt2", "qwen2", "qwen2"},     {"deepseek", "gpt2", "deepseek-v3", ""},
      {"o200k", "gpt2", "gpt-4o", ""},         {"llama2", "llama", "", "llama"},
      {"gemma", "llama", "default", "gemma3"},
   };

   for (size_t k = 0; k < countof(cases); k++) {
      fixture f = {0};
      vocab_build b;
      cr_assert(arena_create(&f.a) == SINTER_ok);
      gguf_vocab g = to_gguf(f.a, read_tokenizer(f.a, cases[k].style));
      g.model = cases[k].model;
      g.pre = cases[k].pre;
      g.architecture = cases[k].architecture;
      build_init(&b, f.a);
      cr_assert(gguf_build(&b, &g) == SINTER_ok, "%s: %s", cases[k].style, sinter_error());
      build_finish(&b, &f.text.vocab, &f.text.vocab_size);
      cr_assert(text_tokenizer_create(f.text.vocab, f.text.vocab_size, &f.t) == SINTER_ok, "%s",
                sinter_error());
      const json *list = read_cases(f.a, cases[k].style);
      for (size_t i = 0; i < list->len; i++) {
         expect_ids(&f, cases[k].style, json_get(list->items[i], "text"),
                    json_get(list->items[i], "ids_no_special"), SINTER_TEXT_no_bos);
         expect_text(&f, cases[k].style, json_get(list->items[i], "ids_no_special"),
                     json_get(list->items[i], "decoded"));
      }
      close_style(&f);
   }
}
