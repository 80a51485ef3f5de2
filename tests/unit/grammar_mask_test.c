// LINK: models runtime base ir
/* Masks over real vocabularies: a token is allowed exactly when the text it makes, as the decoder
 * shows it, can go on; and nothing is allocated on the way. Kills: a token spelled otherwise than
 * it is decoded, a leading space that is shown, or that is demanded and is not shown, a mask of
 * another place, tables that lose the place when they are emptied, a token that is allowed by
 * itself and not by the mask, or the other way round. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "models/import/tokenizer.h"
#include "runtime/text/grammar_automaton.h"
#include "runtime/text/tokenizer.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS
#include "alloc_count.h"
#endif

static const char *const styles[] = {"gpt2",  "llama3", "llama3_small", "qwen2",  "deepseek",
                                     "o200k", "llama2", "gemma",        "unigram"};

static const char *const grammars[] = {
   ("{\"json_schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{"
    "\"type\":\"array\",\"items\":{\"type\":\"integer\"}}},\"required\":[\"a\",\"b\"]}}"),
   "{\"json_schema\":{}}",
   "{\"regex\":\"[^\\\"]{0,40}x\"}",
   "{\"json_schema\":{\"type\":\"string\",\"maxLength\":3000}}",
   "{\"regex\":\" [a-z]{1,40}( [a-z]{1,40}){0,9}\"}",
};

static uint32_t total_checked;

typedef struct fixture {
   arena *a;
   model_text text;
   text_tokenizer *t;
   grammar_vocab *v;
   grammar *g;
   grammar_run *r;
   int32_t ids[64], end; /* end: a token that may stand behind a whole text */
   size_t count;
} fixture;

static bool decodes(fixture *f, int32_t id, char **out, size_t *len)
{
   f->ids[f->count] = id;
   return text_decode(f->t, f->a, f->ids, f->count + 1, out, len) == SINTER_ok;
}

/* Whether the decoded text can go on. Half a character at its end says nothing: then *known is
 * false. */
static bool leads_on(fixture *f, int32_t id, bool *known)
{
   grammar_run *r;
   char *text;
   size_t len;

   *known = decodes(f, id, &text, &len) && !memmem(text, len, "\xef\xbf\xbd", 3);
   if (!*known)
      return false;
   cr_assert(grammar_run_create(f->g, NULL, 0, (grammar_ends){0}, &r) == SINTER_ok);
   bool ok = grammar_run_bytes(r, text, len);
   grammar_run_destroy(r);
   return ok;
}

static void check_step(fixture *f, const char *style, uint32_t tokens, uint32_t step,
                       unsigned *seed)
{
   const uint32_t *made = grammar_run_mask(f->r), words = (tokens + 31) / 32;
   uint32_t next = 0, checked = 0, allowed = 0;

   cr_assert(made);
   uint32_t *mask = arena_copy(f->a, made, words * sizeof *made);
   for (uint32_t id = 0; id < tokens; id++)
      cr_assert(grammar_run_allows(f->r, (int32_t)id) == (mask[id / 32] >> id % 32 & 1),
                "%s, step %u: token %u", style, step, id);
   for (uint32_t id = 0; id < tokens; id++) {
      bool known, bit = mask[id / 32] >> id % 32 & 1;
      if ((int32_t)id == f->end)
         continue;
      allowed += bit;
      *seed = *seed * 1103515245u + 12345u;
      if (bit && (*seed >> 8) % allowed == 0)
         next = id;
      if ((*seed >> 16) % (tokens / 150 + 1) != 0)
         continue;
      bool want = leads_on(f, (int32_t)id, &known);
      char *text;
      size_t len, before;
      /* Control tokens make no text, and are never allowed; nor is the unknown token, which may be
       * shown. */
      (void)decodes(f, (int32_t)id, &text, &len);
      cr_assert(text_decode(f->t, f->a, f->ids, f->count, &text, &before) == SINTER_ok);
      if (!known || len == before || (int32_t)id == text_tokenizer_vocab(f->t)->header->unk)
         continue;
      checked++;
      cr_expect(bit == want, "%s, step %u: token %u is %d", style, step, id, bit);
   }
   cr_expect(allowed > 0, "%s, step %u: stuck", style, step);
   total_checked += checked;
   f->ids[f->count++] = (int32_t)next;
   cr_expect(grammar_run_take(f->r, (int32_t)next));
}

static void check_style(const char *style, const char *description)
{
   fixture f = {0};
   char dir[256];
   unsigned seed = 3;

   snprintf(dir, sizeof dir, TEST_ROOT "/text_cases/%s", style);
   cr_assert(arena_create(&f.a) == SINTER_ok);
   cr_assert(model_vocab_from_hf(f.a, dir, 0, &f.text) == SINTER_ok);
   cr_assert(text_tokenizer_create(f.text.vocab, f.text.vocab_size, &f.t) == SINTER_ok);
   cr_assert(grammar_vocab_create(f.t, &f.v) == SINTER_ok, "%s", sinter_error());
   cr_assert(grammar_compile(description, strlen(description), &f.g) == SINTER_ok);
   uint32_t tokens = text_tokenizer_vocab(f.t)->header->num_pieces;
   f.end = (int32_t)tokens - 1;
   cr_assert(grammar_run_create(f.g, f.v, tokens, (grammar_ends){&f.end, 1}, &f.r) == SINTER_ok);
   for (uint32_t step = 0; step < 6 && !grammar_run_is_over(f.r); step++)
      check_step(&f, style, tokens, step, &seed);
   grammar_run_destroy(f.r);
   grammar_free(f.g);
   grammar_vocab_destroy(f.v);
   text_tokenizer_destroy(f.t);
   arena_destroy(f.a);
}

Test(grammar_mask, allows_what_leads_on)
{
   for (size_t i = 0; i < countof(styles); i++) {
      for (size_t k = 0; k < countof(grammars); k++)
         check_style(styles[i], grammars[k]);
   }
   cr_expect(total_checked > 5000, "%u tokens checked", total_checked);
}

enum { LONGEST = 10, WORDS = (2 << LONGEST) - 2 };

typedef struct words {
   grammar_vocab v;
   grammar_node nodes[WORDS + 1];
   int32_t sorted[WORDS];
   uint32_t offset[WORDS + 1];
   uint8_t bytes[WORDS * LONGEST], path[LONGEST];
} words;

/* Every word of a and b as a token, in the order of the trie. */
static void plant(words *w, uint8_t depth)
{
   for (uint8_t c = 'a'; c <= 'b' && depth < LONGEST; c++) {
      uint32_t at = w->v.num_nodes++, id = at - 1;
      w->path[depth] = c;
      w->nodes[at] = (grammar_node){.first = id, .count = 1, .byte = c, .depth = depth + 1};
      w->sorted[id] = (int32_t)id;
      memcpy(w->bytes + w->offset[id], w->path, depth + 1);
      w->offset[id + 1] = w->offset[id] + depth + 1;
      plant(w, depth + 1);
      w->nodes[at].skip = w->v.num_nodes;
   }
}

/* A text that may be in a hundred places at once, and tokens that each lead to other ones: the
 * tables do not hold them all. No two b follow each other. */
Test(grammar_mask, full_tables_on_the_way)
{
   static const char text[] = "{\"regex\":\"(b?a)*ba(b?a){0,100}b?\"}";
   static words w;
   grammar *g;
   grammar_run *r;

   w.v = (grammar_vocab){.num_tokens = WORDS,
                         .num_nodes = 1,
                         .nodes = w.nodes,
                         .sorted = w.sorted,
                         .offset = w.offset,
                         .bytes = w.bytes};
   plant(&w, 0);
   w.nodes[0].skip = w.v.num_nodes;
   cr_assert(grammar_compile(text, strlen(text), &g) == SINTER_ok);
   cr_assert(grammar_run_create(g, &w.v, WORDS, (grammar_ends){0}, &r) == SINTER_ok);
   for (int i = 0; i < 150; i++)
      cr_assert(grammar_run_bytes(r, "ba", 2));
   const uint32_t *mask = grammar_run_mask(r);
   cr_assert(mask);
   for (uint32_t id = 0; id < WORDS; id++) {
      bool want = !memmem(w.bytes + w.offset[id], w.offset[id + 1] - w.offset[id], "bb", 2);
      cr_expect(want == (mask[id / 32] >> id % 32 & 1), "token %u", id);
   }
   grammar_run_destroy(r);
   grammar_free(g);
}

/* A long text empties the tables many times; the bytes that lead on are the same as from a fresh
 * start. */
Test(grammar_mask, full_tables)
{
   static const char text[] = "{\"json_schema\":{\"type\":\"string\",\"minLength\":9000}}";
   grammar *g;
   grammar_run *r;

   cr_assert(grammar_compile(text, strlen(text), &g) == SINTER_ok);
   cr_assert(grammar_run_create(g, NULL, 0, (grammar_ends){0}, &r) == SINTER_ok);
   cr_assert(grammar_run_bytes(r, "\"", 1));
#ifdef COUNTS_ALLOCATIONS
   atomic_store(&counting, true);
#endif
   for (int i = 0; i < 9000; i++) {
      cr_assert(grammar_run_may(r, 'x') && !grammar_run_may(r, '"'), "character %d", i);
      cr_assert(grammar_run_bytes(r, "x", 1));
   }
#ifdef COUNTS_ALLOCATIONS
   atomic_store(&counting, false);
   cr_assert_eq(atomic_load(&calls), 0);
#endif
   cr_assert(grammar_run_bytes(r, "\"", 1) && grammar_run_is_complete(r) && grammar_run_is_over(r));
   grammar_run_destroy(r);
   grammar_free(g);
}
