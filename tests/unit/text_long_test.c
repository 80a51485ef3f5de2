// LINK: models runtime base ir
/* text_long_test.c - words of hundreds of bytes, whose merges are sorted and not only queued,
 * against merging as it is defined: the first of the best pairs, again and again. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/import/tokenizer.h"
#include "models/import/vocab_hf.h"
#include "runtime/text/tokenizer.h"

enum { MOST = 3000 };

static void read_blob(arena *a, const char *style, const uint8_t **blob, size_t *size)
{
   static char text[1 << 20];
   char path[300];
   json *root;
   vocab_build b;

   snprintf(path, sizeof path, TEST_ROOT "/text_cases/%s/tokenizer.json", style);
   FILE *f = fopen(path, "rb");
   cr_assert(f, "%s", path);
   size_t len = fread(text, 1, sizeof text, f);
   fclose(f);
   cr_assert(json_parse(a, text, len, path, &root) == SINTER_ok, "%s", sinter_error());
   build_init(&b, a);
   cr_assert(hf_read(&b, root, 0) == SINTER_ok, "%s", sinter_error());
   build_finish(&b, blob, size);
}

/* Ids of one word of a byte-level vocabulary. */
static size_t merge_plainly(const vocab *v, const char *word, size_t len, int32_t *ids)
{
   for (size_t i = 0; i < len; i++)
      ids[i] = v->byte_id[(uint8_t)word[i]];
   for (;;) {
      const vocab_merge *best = NULL;
      size_t at = 0;

      for (size_t i = 0; i + 1 < len; i++) {
         const vocab_merge *m = vocab_find_merge(v, (uint32_t)ids[i], (uint32_t)ids[i + 1]);
         if (m && (!best || m->rank < best->rank)) {
            best = m;
            at = i;
         }
      }
      if (!best)
         return len;
      ids[at] = (int32_t)best->made;
      memmove(&ids[at + 1], &ids[at + 2], (len - at - 2) * sizeof *ids);
      len--;
   }
}

/* Kills: entries of the sort that come before better ones of the queue, a sort that turns equal
 * entries around, an entry put behind the sorted ones that belongs between them. */
Test(text_long, merges_are_those_of_the_definition)
{
   static const char *const styles[] = {"gpt2", "qwen2", "llama3_small"};
   static const char *const letters[] = {"a", "ab", "aab", "etaoinshrdlu",
                                         "abcdefghijklmnopqrstuvwxyz"};
   static const size_t lengths[] = {200, 255, 256, 257, 258, 300, 700, MOST};
   static int32_t expected[MOST];
   static char word[MOST];
   uint32_t dice = 1;

   for (size_t s = 0; s < countof(styles); s++) {
      const uint8_t *blob;
      size_t size, merged = 0;
      text_tokenizer *t;
      vocab v;
      arena *a;

      cr_assert(arena_create(&a) == SINTER_ok);
      read_blob(a, styles[s], &blob, &size);
      cr_assert(vocab_open(blob, size, &v) == SINTER_ok && v.header->flags & VOCAB_byte_level);
      cr_assert(text_tokenizer_create(blob, size, &t) == SINTER_ok);
      for (size_t i = 0; i < countof(letters) * countof(lengths); i++) {
         const char *from = letters[i % countof(letters)];
         size_t len = lengths[i / countof(letters)], n;
         int32_t *ids;

         for (size_t k = 0; k < len; k++) {
            dice = dice * 1664525 + 1013904223;
            word[k] = from[(dice >> 8) % strlen(from)];
         }
         cr_assert(text_encode(t, a, word, len, NULL, 0, &ids, &n) == SINTER_ok);
         size_t want = merge_plainly(&v, word, len, expected);
         cr_assert(n == want && memcmp(ids, expected, n * sizeof *ids) == 0,
                   "%s: %zu of \"%s\": %zu ids, not %zu", styles[s], len, from, n, want);
         merged += len - n;
      }
      cr_assert(merged > 1000, "%s merges nothing of this", styles[s]);
      text_tokenizer_destroy(t);
      arena_destroy(a);
   }
}
