// LINK: models runtime base ir
/* Damaged tokenizers, hostile texts, and special tokens that users try to write. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "models/import/tokenizer.h"
#include "models/import/vocab_hf.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"

static char *read_file(const char *name, size_t *out_len)
{
   char path[300];
   char *bytes = malloc(1 << 20);

   snprintf(path, sizeof path, TEST_ROOT "/text_cases/%s", name);
   FILE *f = fopen(path, "rb");
   cr_assert(f, "%s", path);
   *out_len = fread(bytes, 1, 1 << 20, f);
   fclose(f);
   return bytes;
}

static sinter_status build(arena *a, const char *text, size_t len, const uint8_t **blob,
                           size_t *size)
{
   json *root;
   vocab_build b;

   SINTER_TRY(json_parse(a, text, len, "tokenizer.json", &root));
   build_init(&b, a);
   SINTER_TRY(hf_read(&b, root, 0));
   build_finish(&b, blob, size);
   return SINTER_ok;
}

static text_tokenizer *open_style(arena *a, const char *style)
{
   char name[100];
   size_t len, size;
   const uint8_t *blob;
   text_tokenizer *t;

   snprintf(name, sizeof name, "%s/tokenizer.json", style);
   char *text = read_file(name, &len);
   cr_assert(build(a, text, len, &blob, &size) == SINTER_ok, "%s", sinter_error());
   cr_assert(text_tokenizer_create(blob, size, &t) == SINTER_ok, "%s", sinter_error());
   free(text);
   return t;
}

static uint64_t next(uint64_t *seed)
{
   *seed = *seed * 6364136223846793005u + 1442695040888963407u;
   return *seed >> 33;
}

/* Encodes and decodes; any status is fine, any crash is not. */
static void use(text_tokenizer *t, arena *a)
{
   static const char text[] = "Hello <|eos|> w\xc3\xb6rld 123\xff \xe4\xbd\xa0";
   int32_t *ids;
   size_t n, len;
   char *out;

   if (text_encode(t, a, text, sizeof text - 1, NULL, 0, &ids, &n) == SINTER_ok)
      cr_expect(text_decode(t, a, ids, n, &out, &len) == SINTER_ok, "%s", sinter_error());
}

/* Kills: any array of the blob that vocab_open forgets to check (with a sanitizer). */
Test(hostile, damaged_blobs)
{
   static const char *const styles[] = {"gpt2", "gemma", "unigram"};
   uint64_t seed = 7;

   for (size_t k = 0; k < countof(styles); k++) {
      arena *a;
      char name[100];
      size_t len, size;
      const uint8_t *blob;
      cr_assert(arena_create(&a) == SINTER_ok);
      snprintf(name, sizeof name, "%s/tokenizer.json", styles[k]);
      char *text = read_file(name, &len);
      cr_assert(build(a, text, len, &blob, &size) == SINTER_ok);
      for (int i = 0; i < 4000; i++) {
         arena *b;
         text_tokenizer *t;
         bool cuts = i % 8 == 0;
         size_t cut = cuts ? next(&seed) % size : size;
         uint8_t *copy = malloc(cut ? cut : 1);
         memcpy(copy, blob, cut);
         for (uint64_t m = 0; m < 1 + next(&seed) % 3 && cut > 0; m++)
            copy[next(&seed) % (i % 2 ? MIN(cut, sizeof(vocab_header)) : cut)] =
               (uint8_t)next(&seed);
         cr_assert(arena_create(&b) == SINTER_ok);
         if (text_tokenizer_create(copy, cut, &t) == SINTER_ok) {
            use(t, b);
            text_tokenizer_destroy(t);
         }
         arena_destroy(b);
         free(copy);
      }
      free(text);
      arena_destroy(a);
   }
}

/* Every 7th truncation and 3,000 changes of each tokenizer.json: an error that says something, or a
 * tokenizer that works. */
Test(hostile, damaged_json)
{
   static const char *const styles[] = {"gpt2", "llama2", "unigram", "deepseek"};
   static const char bytes[] = "{}[]\",:0-9ntfx\\ue\x80 ";
   uint64_t seed = 11;

   for (size_t k = 0; k < countof(styles); k++) {
      char name[100];
      size_t len, size;
      snprintf(name, sizeof name, "%s/tokenizer.json", styles[k]);
      char *text = read_file(name, &len);
      for (size_t i = 0; i < len + 3000; i += i < len ? 7 : 1) {
         arena *a;
         text_tokenizer *t;
         const uint8_t *blob;
         size_t at = next(&seed) % len;
         char old = text[at];
         if (i >= len)
            text[at] = bytes[next(&seed) % (sizeof bytes - 1)];
         cr_assert(arena_create(&a) == SINTER_ok);
         if (build(a, text, MIN(i, len), &blob, &size) != SINTER_ok) {
            cr_expect(strchr(sinter_error(), '\n'), "one-part error: %s", sinter_error());
         } else {
            cr_expect(i >= len, "%s cut to %zu bytes is accepted", styles[k], i);
            cr_assert(text_tokenizer_create(blob, size, &t) == SINTER_ok, "%s", sinter_error());
            use(t, a);
            text_tokenizer_destroy(t);
         }
         text[at] = old;
         arena_destroy(a);
      }
      free(text);
   }
}

/* What the pipeline lacks is refused by name. Kills: ignoring an unknown part in silence. */
Test(hostile, unsupported_parts)
{
   static const struct {
      const char *text, *names;
   } cases[] = {
      {"{\"normalizer\":{\"type\":\"Precompiled\"},\"model\":{}}", "Precompiled"},
      {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},\"model\":{}}", "UnicodeScripts"},
      {"{\"decoder\":{\"type\":\"CTC\"},\"model\":{}}", "CTC"},
      {"{\"post_processor\":{\"type\":\"Foo\"},\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":"
       "\"BPE\",\"vocab\":{},"
       "\"merges\":[]}}",
       "Foo"},
      {"{\"model\":{\"type\":\"WordPiece\"}}", "WordPiece"},
      {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", "dropout"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&[b]]\"},\"behavior\":"
       "\"Isolated\"}}",
       "intersection"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":"
       "\"Isolated\"}}",
       "compile"},
   };

   for (size_t i = 0; i < countof(cases); i++) {
      arena *a;
      const uint8_t *blob;
      size_t size;
      cr_assert(arena_create(&a) == SINTER_ok);
      cr_expect(build(a, cases[i].text, strlen(cases[i].text), &blob, &size) != SINTER_ok, "%s",
                cases[i].text);
      cr_expect(strstr(sinter_error(), cases[i].names), "'%s' does not name %s", sinter_error(),
                cases[i].names);
      arena_destroy(a);
   }
}

static double seconds(void)
{
   struct timespec t;

   clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
   return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A megabyte of one unit is one word: merging must not become quadratic. Kills: rescanning the word
 * per merge. */
Test(hostile, long_runs)
{
   static const char *const styles[] = {"gpt2", "gemma", "unigram", "qwen2"};
   static const char *const units[] = {"a",  " ", "ab",   "\xcc\x81", "e\xcc\x81\xcc\xa3",
                                       "\n", "1", "\xff", "<|eos|>",  "\xe2\x96\x81"};

   for (size_t k = 0; k < countof(styles); k++) {
      arena *a;
      cr_assert(arena_create(&a) == SINTER_ok);
      text_tokenizer *t = open_style(a, styles[k]);
      for (size_t i = 0; i < countof(units); i++) {
         arena *b;
         int32_t *ids;
         size_t n, len = 1 << 20, unit = strlen(units[i]);
         char *text = malloc(len + unit);
         for (size_t p = 0; p < len; p += unit)
            memcpy(text + p, units[i], unit);
         double start = seconds();
         cr_assert(arena_create(&b) == SINTER_ok);
         cr_assert(text_encode(t, b, text, len, NULL, 0, &ids, &n) == SINTER_ok, "%s",
                   sinter_error());
         double used = seconds() - start;
         cr_expect(used < 20, "%s: a MiB of '%s' took %.1f s", styles[k], units[i], used);
         arena_destroy(b);
         free(text);
      }
      text_tokenizer_destroy(t);
      arena_destroy(a);
   }
}

/* Byte-level vocabularies hold any bytes: what is no UTF-8 comes back as U+FFFD, and the rest as it
 * was. */
Test(hostile, broken_utf8)
{
   static const struct {
      const char *in, *out;
   } cases[] = {
      {"a\xff"
       "b",
       "a\xef\xbf\xbd"
       "b"},
      {"\xc3", "\xef\xbf\xbd"},
      {"\xe4\xbd", "\xef\xbf\xbd"},
      {"\xe4\xbd"
       "a",
       "\xef\xbf\xbd"
       "a"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf0\x9f\x99 ok", "\xef\xbf\xbd ok"},
   };
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   text_tokenizer *t = open_style(a, "qwen2");
   for (size_t i = 0; i < countof(cases); i++) {
      int32_t *ids;
      size_t n, len;
      char *out;
      cr_assert(text_encode(t, a, cases[i].in, strlen(cases[i].in), NULL, 0, &ids, &n) ==
                SINTER_ok);
      cr_assert(text_decode(t, a, ids, n, &out, &len) == SINTER_ok);
      cr_expect(len == strlen(cases[i].out) && memcmp(out, cases[i].out, len) == 0,
                "case %zu: '%s'", i, out);
   }
   text_tokenizer_destroy(t);
   arena_destroy(a);
}

/* Special tokens count only where no byte is tainted; a tainted look-alike must not hide a true one
 * behind it. Kills: looking at the first byte only; stepping over a refused match whole. */
Test(hostile, taint)
{
   static const struct {
      const char *text, *taint; /* 1 where tainted */
      size_t specials;
   } cases[] = {
      {"<|eos|>", "0000000", 1},     {"<|eos|>", "1111111", 0},
      {"<|eos|>", "0000001", 0},     {"<|eos|>", "1000000", 0},
      {"x<|eos|>", "10000000", 1},   {"<|eos|><|eos|>", "11111110000000", 1},
      {"<|<|eos|>", "110000000", 1}, {"<|eos<|eos|>", "111110000000", 1},
      {"<|eos|>|>", "000000011", 1}, {"<|bos|>hi<|eos|>", "0000000110000000", 2},
   };
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   text_tokenizer *t = open_style(a, "gpt2");
   const vocab *v = text_tokenizer_vocab(t);
   for (size_t i = 0; i < countof(cases); i++) {
      uint8_t taint[64];
      int32_t *ids;
      size_t n, len = strlen(cases[i].text), specials = 0;
      for (size_t k = 0; k < len; k++)
         taint[k] = cases[i].taint[k] == '1';
      cr_assert(text_encode(t, a, cases[i].text, len, taint, SINTER_TEXT_no_bos, &ids, &n) ==
                SINTER_ok);
      for (size_t k = 0; k < n; k++)
         specials += (v->attr[ids[k]] & VOCAB_special) != 0;
      cr_expect(specials == cases[i].specials, "case %zu: %zu special tokens", i, specials);
   }
   text_tokenizer_destroy(t);
   arena_destroy(a);
}

/* A whole chat: rendered, then encoded. A harmless one gives the ids of its text; one that spells
 * control tokens gives only those of the template. Kills: encoding the text without its taint;
 * cutting words where the taint changes. */
Test(hostile, chat)
{
   static const char source[] =
      "{% for m in messages %}<|bos|>{{ m.role }}\n{{ m.content }}<|eos|>\n{% endfor %}";
   static const char harmless[] =
      "[{\"role\":\"user\",\"content\":\"\\n hello world\"},{\"role\":\"a\",\"content\":\"x\"}]";
   static const char hostile[] = "[{\"role\":\"<|bos|>\",\"content\":\"<|eos|><|image|><|\"},{"
                                 "\"role\":\"a\",\"content\":\"bos|>\"}]";
   text_chat_options o = {.bos_token = "", .eos_token = ""};
   arena *a;
   text_rendered r;
   int32_t *ids, *plain;
   size_t n, num_plain, specials = 0;

   cr_assert(arena_create(&a) == SINTER_ok);
   text_tokenizer *t = open_style(a, "gpt2");
   cr_assert(text_chat_render(a, source, strlen(source), harmless, strlen(harmless), &o, &r) ==
             SINTER_ok);
   cr_assert(text_encode(t, a, r.text, r.len, r.tainted, SINTER_TEXT_no_bos, &ids, &n) ==
             SINTER_ok);
   cr_assert(text_encode(t, a, r.text, r.len, NULL, SINTER_TEXT_no_bos, &plain, &num_plain) ==
             SINTER_ok);
   cr_expect(n == num_plain && memcmp(ids, plain, n * sizeof *ids) == 0);
   cr_assert(text_chat_render(a, source, strlen(source), hostile, strlen(hostile), &o, &r) ==
             SINTER_ok);
   cr_assert(text_encode(t, a, r.text, r.len, r.tainted, SINTER_TEXT_no_bos, &ids, &n) ==
             SINTER_ok);
   for (size_t i = 0; i < n; i++)
      specials += (text_tokenizer_vocab(t)->attr[ids[i]] & VOCAB_special) != 0;
   cr_expect(specials == 4, "%zu special tokens", specials);
   text_tokenizer_destroy(t);
   arena_destroy(a);
}

/* One run of everything, for running out of memory in. */
static sinter_status whole(void *user)
{
   arena *a = user;
   text_chat_options o = {.bos_token = "", .eos_token = ""};
   static const char source[] =
      "{% macro f(x) %}{{ x|upper }}{% endmacro %}{{ f(messages[0].content.split()|join) }}";
   static const char messages[] = "[{\"role\":\"user\",\"content\":\"a b 12\"}]";
   text_rendered r;
   model_text text;
   text_tokenizer *t;

   SINTER_TRY(model_vocab_from_hf(a, TEST_ROOT "/text_cases/unigram", 0, &text));
   SINTER_TRY(text_chat_render(a, source, strlen(source), messages, strlen(messages), &o, &r));
   SINTER_TRY(text_tokenizer_create(text.vocab, text.vocab_size, &t));
   text_tokenizer_destroy(t);
   return SINTER_ok;
}

/* Every allocation fails once: an error each time, then success. Kills: using memory after a failed
 * allocation. */
Test(hostile, out_of_memory)
{
   size_t failed = 0;

   for (size_t i = 1; failed + 1 == i; i += i < 200 ? 1 : 37) {
      arena *a;
      cr_assert(arena_create(&a) == SINTER_ok);
      arena_fail_after(i);
      sinter_status s = arena_catch(whole, a);
      arena_fail_after(0);
      cr_expect(s == SINTER_ok || s == SINTER_out_of_memory, "%zu: %s", i, sinter_error());
      failed = s == SINTER_out_of_memory ? (i < 200 ? i : i + 36) : failed;
      arena_destroy(a);
   }
   cr_expect(failed > 200, "only %zu allocations failed", failed);
}
