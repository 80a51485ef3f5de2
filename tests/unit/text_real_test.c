// LINK: models runtime base ir
/* The two real models' tokenizers against ids recorded with the `tokenizers` package over 12,000
 * hostile strings. The models are found by the variables SINTER_TEST_SMOLLM2 and
 * SINTER_TEST_GEMMA3, which ./check sets; without one its test is skipped, and says so. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "models/import/tokenizer.h"
#include "runtime/text/tokenizer.h"

enum { MIN_STRINGS = 10000, MOST_SHOWN = 20 };

typedef struct fixture {
   arena *a;
   text_tokenizer *t;
   int shown;
} fixture;

static FILE *open_case(const char *name)
{
   char path[300];

   snprintf(path, sizeof path, TEST_ROOT "/text_cases/%s", name);
   FILE *f = fopen(path, "rb");
   cr_assert(f, "%s", path);
   return f;
}

static bool open_model(fixture *f, const char *variable)
{
   const char *path = getenv(variable);
   struct stat st;
   gguf_file *g;
   model_text text;

   if (!path) {
      cr_skip("%s is not set: no model to test with", variable);
      return false;
   }
   int fd = open(path, O_RDONLY);
   cr_assert(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
   void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
   cr_assert(bytes != MAP_FAILED);
   cr_assert(arena_create(&f->a) == SINTER_ok);
   cr_assert(gguf_read(f->a, bytes, (uint64_t)st.st_size, path, &g) == SINTER_ok, "%s",
             sinter_error());
   cr_assert(model_vocab_from_gguf(f->a, g, 0, &text) == SINTER_ok, "%s", sinter_error());
   cr_assert(text_tokenizer_create(text.vocab, text.vocab_size, &f->t) == SINTER_ok, "%s",
             sinter_error());
   close(fd);
   return true;
}

static uint64_t fnv(const void *data, size_t n)
{
   const uint8_t *p = data;
   uint64_t h = 0xcbf29ce484222325u;

   for (size_t i = 0; i < n; i++)
      h = (h ^ p[i]) * 0x100000001b3u;
   return h;
}

/* One line of strings.jsonl. */
static text_buf expand(arena *a, const char *line)
{
   text_buf out = {.a = a};
   json *j;

   cr_assert(json_parse(a, line, strlen(line), "strings.jsonl", &j) == SINTER_ok, "%s",
             sinter_error());
   text_append(&out, "", 0);
   if (j->kind == JSON_string)
      text_append(&out, j->string, j->len);
   for (size_t i = 0; j->kind == JSON_array && i < j->len; i++)
      for (int64_t n = j->items[i]->items[1]->integer; n > 0; n--)
         text_append(&out, j->items[i]->items[0]->string, j->items[i]->items[0]->len);
   return out;
}

static void complain(fixture *f, const char *what, const char *line)
{
   f->shown++;
   cr_expect(f->shown > MOST_SHOWN, "%s differs: %.200s", what, line);
}

/* Streaming must give the same bytes, and never half a character on the way. */
static void expect_stream(fixture *f, arena *a, const int32_t *ids, size_t n, const char *all,
                          size_t all_len)
{
   text_stream *s;
   text_buf joined = {.a = a};
   const char *part;
   size_t len;

   cr_assert(text_stream_create(f->t, &s) == SINTER_ok);
   for (size_t i = 0; i <= n; i++) {
      sinter_status status =
         i < n ? text_stream_push(s, ids[i], &part, &len) : text_stream_finish(s, &part, &len);
      cr_assert(status == SINTER_ok);
      cr_expect(len == 0 || (part[0] & 0xc0) != 0x80, "a part begins inside a character");
      text_append(&joined, part, len);
   }
   text_stream_destroy(s);
   cr_expect(joined.len == all_len && (all_len == 0 || memcmp(joined.data, all, all_len) == 0),
             "streaming differs from decoding at once");
}

static void check_line(fixture *f, const char *line, const char *want)
{
   unsigned long long count, hash, plain_hash, text_hash;
   int32_t *ids, *plain;
   size_t n, num_plain, len;
   char *text;
   arena *a;

   cr_assert(sscanf(want, "%llu %llx %llx %llx", &count, &hash, &plain_hash, &text_hash) == 4);
   cr_assert(arena_create(&a) == SINTER_ok);
   text_buf s = expand(a, line);
   cr_assert(text_encode(f->t, a, s.data, s.len, NULL, 0, &ids, &n) == SINTER_ok, "%s",
             sinter_error());
   if (n != count || fnv(ids, n * 4) != hash)
      complain(f, "encoding", line);
   cr_assert(text_encode(f->t, a, s.data, s.len, NULL, SINTER_TEXT_plain, &plain, &num_plain) ==
             SINTER_ok);
   if (fnv(plain, num_plain * 4) != plain_hash)
      complain(f, "plain encoding", line);
   cr_assert(text_decode(f->t, a, ids, n, &text, &len) == SINTER_ok);
   if (fnv(text, len) != text_hash)
      complain(f, "decoding", line);
   expect_stream(f, a, ids, n, text, len);
   arena_destroy(a);
}

static void run(const char *variable, const char *hashes)
{
   fixture f = {0};
   static char line[1 << 16], want[256];
   size_t lines = 0;

   if (!open_model(&f, variable))
      return;
   FILE *strings = open_case("strings.jsonl"), *expected = open_case(hashes);
   while (fgets(line, sizeof line, strings) && fgets(want, sizeof want, expected)) {
      check_line(&f, line, want);
      lines++;
   }
   cr_expect(lines >= MIN_STRINGS && f.shown == 0, "%zu strings, %d differences", lines, f.shown);
   fclose(strings);
   fclose(expected);
   text_tokenizer_destroy(f.t);
   arena_destroy(f.a);
}

/* Kills: any change of merge order, split, digit rule, byte fallback or special token search. */
Test(real, smollm2)
{
   run("SINTER_TEST_SMOLLM2", "smollm2.hashes");
}

Test(real, gemma3)
{
   run("SINTER_TEST_GEMMA3", "gemma3.hashes");
}
