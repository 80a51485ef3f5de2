/* grammar_members.c - objects and arrays of a JSON schema.
 *
 *    { p1 , p2 , … , others }     properties in the schema's order, those not required may be left out
 *    [ e1 , e2 , … , rest ]
 *
 * Two chains of states: nothing has been written yet (no comma), and something has. */
#include <stdlib.h>

#include "grammar_members.h"

enum { MAX_NAME = 256 };

static sinter_status malformed(const char *keyword, const char *want)
{
   return base_fail(SINTER_bad_input, keyword, "see the JSON Schema specification",
                    "'%s' of a schema must be %s", keyword, want);
}

/* ---- names ---- */

static int by_codes(const void *x, const void *y)
{
   const schema_name *a = x, *b = y;

   for (size_t i = 0; i < a->num_codes && i < b->num_codes; i++) {
      if (a->codes[i] != b->codes[i])
         return a->codes[i] < b->codes[i] ? -1 : 1;
   }
   return (a->num_codes > b->num_codes) - (a->num_codes < b->num_codes);
}

/* States behind the first `depth` characters, which names share. free: where all others go on, FAIL
 * for none. */
static uint32_t names_from(grammar_builder *b, const schema_name *names, size_t count, size_t depth,
                           uint32_t free)
{
   uint32_t quote = grammar_byte(b, '"', '"', GRAMMAR_RET), out;
   bool ends = names->num_codes == depth;
   grammar_set rest = {0};
   size_t i = 0;

   while (i < count && names[i].num_codes == depth)
      i++; /* equal names */
   out = ends == (free == GRAMMAR_FAIL) ? quote : GRAMMAR_FAIL;
   while (i < count && !b->full) {
      uint32_t c = names[i].codes[depth];
      size_t from = i;
      while (i < count && names[i].codes[depth] == c)
         i++;
      uint32_t next = names_from(b, names + from, i - from, depth + 1, free);
      out = grammar_or(b, out, grammar_json_char(b, c, next));
      grammar_set_add(b, &rest, c, c);
   }
   grammar_set_complement(b, &rest);
   return free == GRAMMAR_FAIL ? out : grammar_or(b, out, grammar_class(b, &rest, true, free));
}

sinter_status schema_names(grammar_builder *b, schema_name *names, size_t count, bool others,
                           uint32_t *out)
{
   uint32_t free = GRAMMAR_FAIL;

   for (size_t i = 0; i < count; i++) {
      VEC(uint32_t) codes = {0};
      for (size_t at = 0; at < names[i].len;)
         *vec_push(b->a, &codes) = grammar_decode(names[i].text, names[i].len, &at);
      if (codes.count > MAX_NAME)
         return base_fail(SINTER_exhausted, "json_schema", "use shorter ones",
                          "a name or fixed string has more than %d characters", MAX_NAME);
      names[i].codes = codes.data;
      names[i].num_codes = codes.count;
   }
   qsort(names, count, sizeof *names, by_codes);
   if (others) {
      grammar_set all = {0};
      grammar_set_add(b, &all, 0, 0x10ffff);
      uint32_t quote = grammar_byte(b, '"', '"', GRAMMAR_RET);
      free = grammar_open(b);
      grammar_close(b, free, grammar_or(b, quote, grammar_class(b, &all, true, free)));
   }
   *out = grammar_byte(b, '"', '"', names_from(b, names, count, 0, free));
   return SINTER_ok;
}

/* ---- objects ---- */

typedef struct property {
   const char *name;
   size_t len;
   const json *schema; /* NULL: of additional properties */
   bool required;
} property;

typedef struct members {
   VEC(property) list;
   const json *others; /* NULL: anything */
} members;

bool schema_requires(const json *s, const char *name, size_t len)
{
   const json *list = schema_get(s, "required");

   for (size_t i = 0; list && list->kind == JSON_array && i < list->len; i++) {
      const json *v = list->items[i];
      if (v->kind == JSON_string && v->len == len && memcmp(v->string, name, len) == 0)
         return true;
   }
   return false;
}

static sinter_status collect(arena *a, const json *s, members *m)
{
   const json *properties = schema_get(s, "properties"), *required = schema_get(s, "required");

   m->others = schema_get(s, "additionalProperties");
   if (properties && properties->kind != JSON_object)
      return malformed("properties", "an object");
   if (required && required->kind != JSON_array)
      return malformed("required", "an array of names");
   for (size_t i = 0; properties && i < properties->len; i++)
      *vec_push(a, &m->list) =
         (property){.name = properties->keys[i],
                    .len = properties->key_lens[i],
                    .schema = properties->items[i],
                    .required = schema_requires(s, properties->keys[i], properties->key_lens[i])};
   for (size_t i = 0; required && i < required->len; i++) {
      const json *name = required->items[i];
      bool known = false;
      if (name->kind != JSON_string)
         return malformed("required", "an array of names");
      for (size_t k = 0; k < m->list.count && !known; k++)
         known = m->list.data[k].len == name->len &&
                 !memcmp(m->list.data[k].name, name->string, name->len);
      if (!known)
         *vec_push(a, &m->list) = (property){name->string, name->len, m->others, true};
   }
   return SINTER_ok;
}

/* A value's rule; NULL is any value. */
static sinter_status rule_of(schema_job *j, const json *s, uint32_t *out)
{
   if (s)
      return schema_rule(j, s, out);
   *out = grammar_shared_rule(j->b, GRAMMAR_ANY);
   return SINTER_ok;
}

static uint32_t colon(grammar_builder *b, uint32_t value, uint32_t next)
{
   next = grammar_call_rule(b, value, grammar_space(b, next));
   return grammar_space(b, grammar_byte(b, ':', ':', grammar_space(b, next)));
}

static uint32_t comma(grammar_builder *b, uint32_t next)
{
   return grammar_byte(b, ',', ',', grammar_space(b, next));
}

/* Any number of properties that the schema does not name: with none before, and with some. */
static sinter_status others(schema_job *j, const members *m, uint32_t end, uint32_t *first,
                            uint32_t *more)
{
   grammar_builder *b = j->b;
   uint32_t key, value, loop = grammar_open(b);
   VEC(schema_name) names = {0};

   *first = *more = end;
   if (m->others && m->others->kind == JSON_bool && !m->others->boolean)
      return SINTER_ok;
   for (size_t i = 0; i < m->list.count; i++)
      *vec_push(b->a, &names) =
         (schema_name){.text = m->list.data[i].name, .len = m->list.data[i].len};
   key = grammar_shared_rule(b, GRAMMAR_STRING);
   if (names.count)
      SINTER_TRY(schema_names(b, names.data, names.count, true, &key));
   SINTER_TRY(rule_of(j, m->others, &value));
   uint32_t pair = grammar_call_rule(b, key, colon(b, value, loop));
   grammar_close(b, loop, grammar_or(b, comma(b, pair), end));
   *first = grammar_or(b, pair, end);
   *more = loop;
   return SINTER_ok;
}

sinter_status schema_object(schema_job *j, const json *s, uint32_t *out)
{
   grammar_builder *b = j->b;
   members m = {0};
   uint32_t first, more, end = grammar_byte(b, '}', '}', GRAMMAR_RET);

   SINTER_TRY(collect(b->a, s, &m));
   SINTER_TRY(others(j, &m, end, &first, &more));
   for (size_t i = m.list.count; i-- > 0 && !b->full;) {
      const property *p = &m.list.data[i];
      uint32_t value;
      SINTER_TRY(rule_of(j, p->schema, &value));
      uint32_t pair = grammar_json_string(b, p->name, p->len, colon(b, value, more));
      more = grammar_or(b, comma(b, pair), p->required ? GRAMMAR_FAIL : more);
      first = grammar_or(b, pair, p->required ? GRAMMAR_FAIL : first);
   }
   *out = grammar_byte(b, '{', '{', grammar_space(b, first));
   return SINTER_ok;
}

/* ---- arrays ---- */

typedef struct tuple {
   const json *prefix; /* an array of schemas, or NULL */
   const json *rest;   /* NULL: anything */
   int64_t count, least, most;
} tuple;

static sinter_status collect_items(const json *s, tuple *t)
{
   const json *items = schema_get(s, "items");

   t->prefix = schema_get(s, "prefixItems");
   t->rest = items;
   if (items && items->kind == JSON_array) { /* as drafts before 2020 have it */
      if (t->prefix)
         return malformed("items", "a schema beside prefixItems");
      t->prefix = items;
      t->rest = schema_get(s, "additionalItems");
   }
   if (t->prefix && t->prefix->kind != JSON_array)
      return malformed("prefixItems", "an array of schemas");
   t->count = t->prefix ? (int64_t)t->prefix->len : 0;
   SINTER_TRY(schema_count(s, "minItems", 0, &t->least));
   SINTER_TRY(schema_count(s, "maxItems", GRAMMAR_UNBOUNDED, &t->most));
   if (t->rest && t->rest->kind == JSON_bool && !t->rest->boolean)
      t->most = t->most < 0 ? t->count : MIN(t->most, t->count);
   return SINTER_ok;
}

sinter_status schema_array(schema_job *j, const json *s, uint32_t *out)
{
   grammar_builder *b = j->b;
   uint32_t end = grammar_byte(b, ']', ']', GRAMMAR_RET), item;
   tuple t;

   SINTER_TRY(collect_items(s, &t));
   *out = GRAMMAR_FAIL;
   if (t.most >= 0 && t.most < t.least)
      return SINTER_ok;
   int64_t last = t.most >= 0 ? t.most : MAX(t.count, t.least);
   uint32_t first = end, more = end;
   SINTER_TRY(rule_of(j, t.rest, &item));
   if (t.most < 0) {
      uint32_t loop = grammar_open(b), next = grammar_call_rule(b, item, grammar_space(b, loop));
      grammar_close(b, loop, grammar_or(b, comma(b, next), end));
      more = loop;
      first = grammar_or(b, next, end);
   }
   /* Before element i: what follows it is `more`. */
   for (int64_t i = last; i-- > 0 && !b->full;) {
      uint32_t rule = item, may_end = i >= t.least ? end : (uint32_t)GRAMMAR_FAIL;
      if (i < t.count)
         SINTER_TRY(rule_of(j, t.prefix->items[i], &rule));
      uint32_t next = grammar_call_rule(b, rule, grammar_space(b, more));
      first = grammar_or(b, next, may_end);
      more = grammar_or(b, comma(b, next), may_end);
   }
   *out = grammar_byte(b, '[', '[', grammar_space(b, first));
   return SINTER_ok;
}
