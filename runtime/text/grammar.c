/* grammar.c - descriptions to automata: compositions, states that lead nowhere, classes of
 * bytes. */
#include "grammar.h"

#include <stdlib.h>

#include "grammar_automaton.h"

enum { MAX_DEPTH = 16, MAX_MARK = 64 };

typedef struct compile_job {
   const char *text;
   size_t len;
   grammar_builder b;
   grammar *out;
} compile_job;

/* ---- descriptions ---- */

static sinter_status malformed(const json *at, const char *want)
{
   return base_fail(SINTER_bad_input, "grammar", "see grammar.h for the forms",
                    "a grammar at byte %zu must be %s", at->offset, want);
}

static sinter_status build(grammar_builder *b, const json *d, int depth, uint32_t next,
                           uint32_t *out);

static sinter_status build_list(grammar_builder *b, const json *list, bool any, int depth,
                                uint32_t next, uint32_t *out)
{
   uint32_t one;

   *out = any ? (uint32_t)GRAMMAR_FAIL : next;
   if (list->kind != JSON_array || !list->len)
      return malformed(list, "an array of grammars");
   for (size_t i = list->len; i-- > 0 && !b->full;) {
      SINTER_TRY(build(b, list->items[i], depth, any ? next : *out, &one));
      *out = any ? grammar_or(b, one, *out) : one;
   }
   return SINTER_ok;
}

static sinter_status build_repeat(grammar_builder *b, const json *d, int depth, uint32_t next,
                                  uint32_t *out)
{
   const json *least = json_get(d, "min"), *most = json_get(d, "max"), *t = json_get(d, "between");
   int64_t min = least ? least->integer : 0, max = most ? most->integer : GRAMMAR_UNBOUNDED;
   uint32_t body, entry = grammar_open(b);

   if ((least && (least->kind != JSON_int || min < 0)) ||
       (most && (most->kind != JSON_int || max < min)) || (t && t->kind != JSON_string))
      return malformed(d, "a repeat with numbers min and max and a text between");
   SINTER_TRY(build(b, json_get(d, "repeat"), depth, GRAMMAR_RET, &body));
   grammar_close(b, entry, body);
   *out = next;
   if (max == 0)
      return SINTER_ok;
   /* The first one, then the others behind the text between. */
   uint32_t other = grammar_open(b);
   grammar_close(b, other,
                 t ? grammar_text(b, t->string, t->len, grammar_call_rule(b, entry, GRAMMAR_RET))
                   : entry);
   uint32_t rest = grammar_repeat_rule(b, other, min > 0 ? min - 1 : 0,
                                       max < 0 ? GRAMMAR_UNBOUNDED : max - 1, next);
   *out = grammar_call_rule(b, entry, rest);
   if (min == 0)
      *out = grammar_or(b, *out, next);
   return SINTER_ok;
}

/* How much of mark the text ends in, when it ended in the first n bytes of it and c follows. */
static size_t mark_step(const char *mark, size_t n, char c)
{
   for (size_t k = n + 1; k > 0; k--) {
      if (mark[k - 1] == c && memcmp(mark, mark + n + 1 - k, k - 1) == 0)
         return k;
   }
   return 0;
}

/* One state for each beginning of mark; the whole of it leads nowhere. */
static uint32_t build_without(grammar_builder *b, const char *mark, size_t len, uint32_t next)
{
   uint32_t states[MAX_MARK];

   for (size_t i = 0; i < len; i++)
      states[i] = grammar_open(b);
   for (size_t i = 0; i < len; i++) {
      uint32_t out = next;
      for (int c = 0, first = 0; c < 256; c++) {
         size_t to = mark_step(mark, i, (char)c);
         if (c < 255 && mark_step(mark, i, (char)(c + 1)) == to)
            continue;
         if (to < len)
            out = grammar_or(b, grammar_byte(b, (uint8_t)first, (uint8_t)c, states[to]), out);
         first = c + 1;
      }
      grammar_close(b, states[i], out);
   }
   return states[0];
}

static sinter_status build(grammar_builder *b, const json *d, int depth, uint32_t next,
                           uint32_t *out)
{
   const json *v;
   uint32_t rule;

   *out = GRAMMAR_FAIL;
   if (depth > MAX_DEPTH)
      return base_fail(SINTER_exhausted, "grammar", "nest less",
                       "grammars are nested more than %d deep", MAX_DEPTH);
   if ((v = json_get(d, "literal")) && v->kind == JSON_string) {
      *out = grammar_text(b, v->string, v->len, next);
      return SINTER_ok;
   }
   if ((v = json_get(d, "regex")) && v->kind == JSON_string)
      return grammar_regex(b, v->string, v->len, GRAMMAR_WHOLE, false, next, out);
   if ((v = json_get(d, "json_schema"))) {
      SINTER_TRY(grammar_schema(b, v, &rule));
      *out = grammar_call_rule(b, rule, next);
      return SINTER_ok;
   }
   if ((v = json_get(d, "without")) && v->kind == JSON_string && v->len && v->len <= MAX_MARK) {
      *out = build_without(b, v->string, v->len, next);
      return SINTER_ok;
   }
   if ((v = json_get(d, "seq")))
      return build_list(b, v, false, depth + 1, next, out);
   if ((v = json_get(d, "any")))
      return build_list(b, v, true, depth + 1, next, out);
   if (json_get(d, "repeat"))
      return build_repeat(b, d, depth + 1, next, out);
   return malformed(d, "an object with literal, regex, json_schema, without, seq, any or repeat");
}

/* ---- the automaton ---- */

static bool leads(const grammar_state *s, const uint8_t *good)
{
   switch (s->kind) {
   case GRAMMAR_ret: return true;
   case GRAMMAR_byte:
   case GRAMMAR_jump: return good[s->a];
   case GRAMMAR_split: return good[s->a] || good[s->b];
   case GRAMMAR_call: return good[s->a] && good[s->b];
   default: return false;
   }
}

/* States from which the end cannot be reached become failures, so that a text never gets stuck.
 * Successors mostly have lower numbers, those of rules higher ones: passes alternate. */
static void prune(grammar_builder *b)
{
   size_t n = b->states.count;
   uint8_t *good = arena_alloc(b->a, n);
   bool changed = true;

   for (int pass = 0; changed; pass++) {
      changed = false;
      for (size_t k = 0; k < n; k++) {
         size_t i = pass & 1 ? n - 1 - k : k;
         if (!good[i] && leads(&b->states.data[i], good))
            good[i] = changed = true;
      }
   }
   for (size_t i = 0; i < n; i++) {
      if (!good[i])
         b->states.data[i] = (grammar_state){.kind = GRAMMAR_fail};
   }
}

static void classify(grammar *g)
{
   bool cuts[257] = {false};

   for (uint32_t i = 0; i < g->num_states; i++) {
      if (g->states[i].kind == GRAMMAR_byte)
         cuts[g->states[i].lo] = cuts[g->states[i].hi + 1] = true;
   }
   g->num_classes = 1;
   for (int c = 0; c < 256; c++) {
      g->num_classes += c && cuts[c];
      g->class_of[c] = (uint8_t)(g->num_classes - 1);
      g->byte_of[g->num_classes - 1] = (uint8_t)c;
   }
}

static sinter_status finish(compile_job *j, uint32_t start)
{
   grammar_builder *b = &j->b;
   grammar *g = j->out;
   uint32_t behind_space = grammar_byte(b, ' ', ' ', start);

   if (b->full)
      return base_fail(SINTER_exhausted, "grammar", "use smaller bounds and fewer values",
                       "the grammar needs more than %d states", GRAMMAR_MAX_STATES);
   prune(b);
   if (b->states.data[start].kind == GRAMMAR_fail)
      return base_fail(SINTER_bad_input, "grammar", "see what its parts exclude",
                       "no text is valid under this grammar");
   g->start = start;
   g->start_behind_space = behind_space;
   g->num_states = (uint32_t)b->states.count;
   g->states = malloc(g->num_states * sizeof *g->states);
   if (!g->states)
      return base_fail(SINTER_out_of_memory, "grammar", "", "no memory for a grammar");
   memcpy(g->states, b->states.data, g->num_states * sizeof *g->states);
   classify(g);
   return SINTER_ok;
}

static sinter_status compile(void *user)
{
   compile_job *j = user;
   uint32_t start;
   json *d;

   SINTER_TRY(json_parse(j->b.a, j->text, j->len, "grammar", &d));
   grammar_builder_init(&j->b, j->b.a);
   SINTER_TRY(build(&j->b, d, 0, GRAMMAR_RET, &start));
   return finish(j, start);
}

sinter_status grammar_compile(const char *text, size_t len, grammar **out)
{
   compile_job j = {.text = text, .len = len, .out = calloc(1, sizeof(grammar))};

   *out = NULL;
   if (!j.out)
      return base_fail(SINTER_out_of_memory, "grammar", "", "no memory for a grammar");
   sinter_status status = arena_create(&j.b.a);
   if (status == SINTER_ok) {
      status = arena_catch(compile, &j);
      arena_destroy(j.b.a);
   }
   /* One that cannot even begin is the description's fault, not that of a later request. */
   grammar_run *trial = NULL;
   if (status == SINTER_ok)
      status = grammar_run_create(j.out, NULL, 0, (grammar_ends){0}, &trial);
   grammar_run_destroy(trial);
   if (status == SINTER_ok)
      *out = j.out;
   else
      grammar_free(j.out);
   return status;
}

void grammar_free(grammar *g)
{
   if (!g)
      return;
   free(g->states);
   free(g);
}
