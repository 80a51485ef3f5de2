// LINK: models runtime base ir
/* text_long_test.c - words of hundreds of bytes, whose merges are sorted and not only queued,
 * against merging as it is defined: the first of the best pairs, again and again. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/import/tokenizer.h"
#include "models/import/vocab_hf.h"
#include "runtime/text/tokenizer.h"

enum { MOST = 3000, LETTERS = 8, PAIRS = 40, MERGES = 1500, PIECES = LETTERS + MERGES };

static uint32_t dice = 1;

static uint32_t roll(uint32_t n)
{
   dice = dice * 1664525 + 1013904223;
   return (dice >> 8) % n;
}

static bool is_known(char pieces[][16], int count, const char *text)
{
   for (int i = 0; i < count; i++) {
      if (strcmp(pieces[i], text) == 0)
         return true;
   }
   return false;
}

static void shuffle(int *order, int count)
{
   for (int i = 0; i < count; i++) {
      int k = (int)roll((uint32_t)i + 1);
      order[i] = order[k];
      order[k] = i;
   }
}

/* Letters, and merges of any two pieces in any order: later ones may be better than what they are
 * made of, and ids say nothing of ranks. */
static void describe(text_buf *out)
{
   static char pieces[PIECES][16];
   static char merges[MERGES][32];
   int order[PIECES], count = LETTERS;

   for (int i = 0; i < LETTERS; i++)
      snprintf(pieces[i], sizeof pieces[i], "%c", 'a' + i);
   while (count < PIECES) {
      uint32_t from = (uint32_t)(count < LETTERS + PAIRS ? LETTERS : count);
      const char *left = pieces[roll(from)], *right = pieces[roll(from)];
      char joined[32];

      snprintf(joined, sizeof joined, "%s%s", left, right);
      if (strlen(joined) > 9 || is_known(pieces, count, joined))
         continue;
      snprintf(merges[count - LETTERS], sizeof merges[0], "\"%s %s\"", left, right);
      memcpy(pieces[count++], joined, strlen(joined) + 1);
   }
   shuffle(order, PIECES);
   text_printf(out, "{\"model\":{\"type\":\"BPE\",\"vocab\":{");
   for (int i = 0; i < PIECES; i++)
      text_printf(out, "%s\"%s\":%d", i ? "," : "", pieces[i], order[i]);
   text_printf(out, "},\"merges\":[");
   shuffle(order, MERGES);
   for (int i = 0; i < MERGES; i++)
      text_printf(out, "%s%s", i ? "," : "", merges[order[i]]);
   text_printf(out, "]},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                    "\"use_regex\":false},\"decoder\":{\"type\":\"ByteLevel\"}}");
}

static void make_blob(arena *a, const uint8_t **blob, size_t *size)
{
   text_buf text = {.a = a};
   json *root;
   vocab_build b;

   describe(&text);
   cr_assert(json_parse(a, text.data, text.len, "made", &root) == SINTER_ok, "%s", sinter_error());
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
   static const char *const letters[] = {"a", "ab", "aab", "abc", "abcdefgh"};
   static const size_t lengths[] = {200, 255, 256, 257, 258, 300, 700, MOST};
   static int32_t expected[MOST];
   static char word[MOST];
   const uint8_t *blob;
   size_t size, n, merged = 0;
   text_tokenizer *t;
   int32_t *ids;
   vocab v;
   arena *a;

   cr_assert(arena_create(&a) == SINTER_ok);
   make_blob(a, &blob, &size);
   cr_assert(vocab_open(blob, size, &v) == SINTER_ok && v.header->flags & VOCAB_byte_level);
   cr_assert(text_tokenizer_create(blob, size, &t) == SINTER_ok);
   for (size_t i = 0; i < countof(letters) * countof(lengths); i++) {
      const char *from = letters[i % countof(letters)];
      size_t len = lengths[i / countof(letters)];

      for (size_t k = 0; k < len; k++)
         word[k] = from[roll((uint32_t)strlen(from))];
      cr_assert(text_encode(t, a, word, len, NULL, 0, &ids, &n) == SINTER_ok);
      size_t want = merge_plainly(&v, word, len, expected);
      cr_assert(n == want && memcmp(ids, expected, n * sizeof *ids) == 0,
                "%zu of \"%s\": %zu ids, not %zu", len, from, n, want);
      merged += len - n;
   }
   cr_assert(merged > 3000, "%zu merges only", merged);
   text_tokenizer_destroy(t);
   arena_destroy(a);
}
