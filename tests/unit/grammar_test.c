// LINK: runtime base
/* Grammars against recorded verdicts: cases written by hand, the instances of
 * json-schema-test-suite, and random walks of llguidance (tests/data/make_grammar.py). Kills: a
 * keyword that is passed over, a property that may be left out, a bound off by one, a key spelled
 * in another way, a text that gets stuck, a schema that exhausts the machine. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "runtime/text/grammar.h"

static arena *memory;
static json *record;

static sinter_status read_record(void *user)
{
   text_buf t = {.a = memory};
   char chunk[4096];
   size_t n;
   FILE *f = fopen(TEST_ROOT "/data/grammar.json", "rb");

   (void)user;
   cr_assert(f);
   while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
      text_append(&t, chunk, n);
   fclose(f);
   return json_parse(memory, t.data, t.len, "grammar.json", &record);
}

static void setup(void)
{
   cr_assert(arena_create(&memory) == SINTER_ok);
   cr_assert(arena_catch(read_record, NULL) == SINTER_ok, "%s", sinter_error());
}

static bool matches(const grammar *g, const char *text, size_t len)
{
   grammar_run *r;

   cr_assert(grammar_run_create(g, NULL, 0, (grammar_ends){0}, &r) == SINTER_ok, "%s",
             sinter_error());
   bool ok = grammar_run_bytes(r, text, len) && grammar_run_is_complete(r);
   grammar_run_destroy(r);
   return ok;
}

static size_t check_texts(const json *c, const grammar *g, const char *list, bool want)
{
   const json *texts = json_get(c, list);

   for (size_t i = 0; i < texts->len; i++) {
      const json *t = texts->items[i];
      cr_expect(matches(g, t->string, t->len) == want, "%s, %s: %.200s\n  grammar %.300s",
                json_get(c, "from")->string, list, t->string, json_get(c, "grammar")->string);
   }
   return texts->len;
}

Test(grammar, recorded_verdicts, .init = setup)
{
   const json *cases = json_get(record, "cases");
   size_t held[3] = {0}, lacking = 0, texts = 0;

   for (size_t i = 0; i < cases->len; i++) {
      const json *c = cases->items[i], *text = json_get(c, "grammar");
      char kind = json_get(c, "from")->string[0];
      grammar *g;
      sinter_status status = grammar_compile(text->string, text->len, &g);

      if (status != SINTER_ok) {
         /* Schemas that no text satisfies are refused, too: none may be accepted by the record. */
         bool nothing = status == SINTER_bad_input && json_get(c, "accepts")->len == 0;
         cr_expect(kind == 's' && (status == SINTER_unsupported || nothing), "%s: %s\n  %.300s",
                   json_get(c, "from")->string, sinter_error(), text->string);
         lacking++;
         continue;
      }
      texts += check_texts(c, g, "accepts", true) + check_texts(c, g, "refuses", false);
      held[kind == 'h' ? 0 : kind == 's' ? 1 : 2]++;
      grammar_free(g);
   }
   fprintf(stderr, "%zu by hand, %zu of the suite (%zu declined), %zu of the peer: %zu texts\n",
           held[0], held[1], lacking, held[2], texts);
   cr_assert(held[0] >= 50 && held[1] >= 60 && held[2] >= 35);
}

Test(grammar, errors_are_named, .init = setup)
{
   const json *errors = json_get(record, "errors");

   for (size_t i = 0; i < errors->len; i++) {
      const json *text = json_get(errors->items[i], "grammar");
      const char *want = json_get(errors->items[i], "status")->string;
      grammar *g = NULL;
      sinter_status status = grammar_compile(text->string, text->len, &g);

      cr_expect(strcmp(sinter_status_name(status), want) == 0 && !g, "%s, not %s: %.200s\n  %s",
                sinter_status_name(status), want, text->string, status ? sinter_error() : "");
      grammar_free(g);
   }
}

/* A random walk never gets stuck: from every place some byte leads on, or the text is complete. */
/* Names that are written in the schema come once; open ones may be repeated (docs/serving.md). */
Test(grammar, repeated_names)
{
   static const char schema[] = "{\"json_schema\":{\"type\":\"object\",\"properties\":{\"a\":{}},"
                                "\"additionalProperties\":{\"type\":\"integer\"}}}";
   static const struct {
      const char *text;
      bool fits;
   } cases[] = {
      {"{\"a\":1,\"b\":2,\"c\":3}", true},  {"{\"b\":2,\"b\":3}", true},
      {"{\"a\":1,\"a\":1}", false},         {"{\"b\":2,\"a\":1}", false},
      {"{\"a\":1,\"\\u0061\":1}", false},   {"{\"b\":2,\"b\":\"x\"}", false},
      {"{\"a\":1,\"b\":2,\"a\":3}", false},
   };
   grammar *g;

   cr_assert(grammar_compile(schema, strlen(schema), &g) == SINTER_ok);
   for (size_t i = 0; i < countof(cases); i++)
      cr_expect(matches(g, cases[i].text, strlen(cases[i].text)) == cases[i].fits, "%s",
                cases[i].text);
   grammar_free(g);
}

Test(grammar, no_dead_ends, .init = setup)
{
   const json *cases = json_get(record, "cases");
   unsigned seed = 5;

   for (size_t i = 0; i < cases->len; i++) {
      const json *text = json_get(cases->items[i], "grammar");
      grammar *g;
      grammar_run *r;

      if (grammar_compile(text->string, text->len, &g) != SINTER_ok)
         continue;
      cr_assert(grammar_run_create(g, NULL, 0, (grammar_ends){0}, &r) == SINTER_ok);
      for (int step = 0; step < 60 && !grammar_run_is_over(r); step++) {
         char bytes[256];
         int n = 0;
         for (int c = 0; c < 256; c++) {
            if (grammar_run_may(r, (uint8_t)c))
               bytes[n++] = (char)c;
         }
         cr_expect(n > 0, "%s: stuck", json_get(cases->items[i], "from")->string);
         if (!n)
            break;
         seed = seed * 1103515245u + 12345u;
         cr_expect(grammar_run_bytes(r, &bytes[(seed >> 8) % (unsigned)n], 1));
      }
      grammar_run_destroy(r);
      grammar_free(g);
   }
}
