/* grammar_merge.c - schemas that hold at once (allOf, and a reference with keywords beside it) as
 * one. */
#include <stdlib.h>

#include "grammar_schema.h"

enum { MAX_MERGES = 1024 };

/* A schema being put together. */
typedef struct draft {
   VEC(json *) items;
   VEC(const char *) keys;
   VEC(size_t) lens;
} draft;

static void put(arena *a, draft *d, const char *key, size_t len, const json *value)
{
   *vec_push(a, &d->items) = (json *)(uintptr_t)value;
   *vec_push(a, &d->keys) = key;
   *vec_push(a, &d->lens) = len;
}

static const json *object_of(arena *a, const draft *d)
{
   json *o = arena_new(a, json);

   *o = (json){.kind = JSON_object,
               .len = d->items.count,
               .items = d->items.data,
               .keys = d->keys.data,
               .key_lens = d->lens.data};
   return o;
}

static const json *list_of(arena *a, const draft *d)
{
   json *o = arena_new(a, json);

   *o = (json){.kind = JSON_array, .len = d->items.count, .items = d->items.data};
   return o;
}

/* json_get hashes objects of the reader only; this works on drafts, too. */
static const json *member(const json *o, const char *key, size_t len)
{
   for (size_t i = 0; o && o->kind == JSON_object && i < o->len; i++) {
      if (o->key_lens[i] == len && memcmp(o->keys[i], key, len) == 0)
         return o->items[i];
   }
   return NULL;
}

const json *schema_get(const json *s, const char *key)
{
   return member(s, key, strlen(key));
}

const json *schema_without(schema_job *j, const json *s, const char *key)
{
   draft d = {0};

   for (size_t i = 0; i < s->len; i++) {
      if (strcmp(s->keys[i], key) != 0)
         put(j->b->a, &d, s->keys[i], s->key_lens[i], s->items[i]);
   }
   return object_of(j->b->a, &d);
}

bool schema_equal(const json *x, const json *y)
{
   bool numbers = (x->kind == JSON_int || x->kind == JSON_float) &&
                  (y->kind == JSON_int || y->kind == JSON_float);

   if (numbers)
      return x->number == y->number;
   if (x->kind != y->kind || x->len != y->len || x->boolean != y->boolean)
      return false;
   if (x->kind == JSON_string)
      return memcmp(x->string, y->string, x->len) == 0;
   for (size_t i = 0; x->kind >= JSON_array && i < x->len; i++) {
      const json *other =
         x->kind == JSON_array ? y->items[i] : member(y, x->keys[i], x->key_lens[i]);
      if (!other || !schema_equal(x->items[i], other))
         return false;
   }
   return true;
}

static bool contains(const json *list, const json *value)
{
   for (size_t i = 0; i < list->len; i++) {
      if (schema_equal(list->items[i], value))
         return true;
   }
   return false;
}

static sinter_status both_types(schema_job *j, const json *x, const json *y, const json **out)
{
   static const char *const names[] = {"null",   "boolean", "integer", "number",
                                       "string", "array",   "object"};
   const json *const of[2] = {x, y};
   unsigned types[2];
   draft d = {0};

   for (int i = 0; i < 2; i++) {
      draft one = {0};
      put(j->b->a, &one, "type", 4, of[i]);
      SINTER_TRY(schema_types(object_of(j->b->a, &one), &types[i]));
   }
   for (unsigned i = 0; i < countof(names); i++) {
      json *name = arena_new(j->b->a, json);
      if (!(types[0] & types[1] & 1u << i))
         continue;
      *name = (json){.kind = JSON_string, .string = names[i], .len = strlen(names[i])};
      put(j->b->a, &d, NULL, 0, name);
   }
   *out = list_of(j->b->a, &d);
   return SINTER_ok;
}

static const json *both_values(schema_job *j, const json *x, const json *y)
{
   draft d = {0};

   for (size_t i = 0; i < x->len; i++) {
      if (contains(y, x->items[i]))
         put(j->b->a, &d, NULL, 0, x->items[i]);
   }
   return list_of(j->b->a, &d);
}

static const json *either_value(schema_job *j, const json *x, const json *y)
{
   draft d = {0};

   for (size_t i = 0; i < x->len; i++)
      put(j->b->a, &d, NULL, 0, x->items[i]);
   for (size_t i = 0; i < y->len; i++) {
      if (!contains(x, y->items[i]))
         put(j->b->a, &d, NULL, 0, y->items[i]);
   }
   return list_of(j->b->a, &d);
}

/* Properties of x, each held to what y says of it: a property of its own, or
 * additionalProperties. */
static sinter_status add_properties(schema_job *j, draft *d, const json *x, const json *y,
                                    bool skip_shared)
{
   const json *mine = member(x, "properties", 10), *theirs = member(y, "properties", 10);
   const json *rest = member(y, "additionalProperties", 20);

   for (size_t i = 0; mine && mine->kind == JSON_object && i < mine->len; i++) {
      const json *other = member(theirs, mine->keys[i], mine->key_lens[i]);
      const json *value = mine->items[i];

      if (other && skip_shared)
         continue;
      other = other ? other : rest;
      if (other)
         SINTER_TRY(schema_merge(j, value, other, &value));
      put(j->b->a, d, mine->keys[i], mine->key_lens[i], value);
   }
   return SINTER_ok;
}

/* A keyword that both schemas have. */
static sinter_status merge_keyword(schema_job *j, const char *key, const json *x, const json *y,
                                   const json **out)
{
   static const char *const largest[] = {"minimum", "exclusiveMinimum", "minItems", "minLength"},
                            *const least[] = {"maximum", "exclusiveMaximum", "maxItems",
                                              "maxLength"};

   *out = x;
   if (!schema_is_held(key) || schema_equal(x, y))
      return SINTER_ok;
   if (strcmp(key, "type") == 0)
      return both_types(j, x, y, out);
   if (strcmp(key, "additionalProperties") == 0)
      return schema_merge(j, x, y, out);
   if (strcmp(key, "required") == 0 && x->kind == JSON_array && y->kind == JSON_array) {
      *out = either_value(j, x, y);
      return SINTER_ok;
   }
   if (strcmp(key, "enum") == 0 && x->kind == JSON_array && y->kind == JSON_array) {
      *out = both_values(j, x, y);
      return SINTER_ok;
   }
   for (size_t i = 0; i < countof(least); i++) {
      bool up = strcmp(key, largest[i]) == 0, down = strcmp(key, least[i]) == 0;
      if (up || down) {
         *out = (x->number < y->number) == up ? y : x;
         return SINTER_ok;
      }
   }
   return schema_lacks(key, "two schemas that hold at once both have '%s'", key);
}

/* What keywords of arrays mean depends on each other: only one of the schemas may have them. */
static sinter_status check_items(const json *x, const json *y)
{
   static const char *const keys[] = {"items", "prefixItems", "additionalItems"};
   bool has[2] = {false, false}, tuple = false;

   for (size_t i = 0; i < countof(keys); i++) {
      const json *const of[2] = {schema_get(x, keys[i]), schema_get(y, keys[i])};
      for (int k = 0; k < 2; k++) {
         has[k] |= of[k] != NULL;
         tuple |= of[k] && (i == 1 || of[k]->kind == JSON_array);
      }
   }
   return has[0] && has[1] && tuple
             ? schema_lacks("prefixItems", "two schemas of tuples hold at once")
             : SINTER_ok;
}

static sinter_status merge_objects(schema_job *j, const json *x, const json *y, const json **out)
{
   draft d = {0}, properties = {0};

   SINTER_TRY(check_items(x, y));
   for (size_t i = 0; i < x->len; i++) {
      const json *other = member(y, x->keys[i], x->key_lens[i]), *value = x->items[i];
      if (strcmp(x->keys[i], "properties") == 0)
         continue;
      if (other)
         SINTER_TRY(merge_keyword(j, x->keys[i], value, other, &value));
      put(j->b->a, &d, x->keys[i], x->key_lens[i], value);
   }
   for (size_t i = 0; i < y->len; i++) {
      if (strcmp(y->keys[i], "properties") != 0 && !member(x, y->keys[i], y->key_lens[i]))
         put(j->b->a, &d, y->keys[i], y->key_lens[i], y->items[i]);
   }
   SINTER_TRY(add_properties(j, &properties, x, y, false));
   SINTER_TRY(add_properties(j, &properties, y, x, true));
   if (properties.items.count)
      put(j->b->a, &d, "properties", 10, object_of(j->b->a, &properties));
   *out = object_of(j->b->a, &d);
   return SINTER_ok;
}

sinter_status schema_merge(schema_job *j, const json *x, const json *y, const json **out)
{
   if (++j->merges > MAX_MERGES)
      return base_fail(SINTER_exhausted, "json_schema", "use fewer references with others beside",
                       "more than %d schemas have to be merged", MAX_MERGES);
   SINTER_TRY(schema_flatten(j, x, &x));
   SINTER_TRY(schema_flatten(j, y, &y));
   *out = x;
   if (schema_is_any(y) || (x->kind == JSON_bool && !x->boolean))
      return SINTER_ok;
   *out = y;
   if (schema_is_any(x) || (y->kind == JSON_bool && !y->boolean))
      return SINTER_ok;
   return merge_objects(j, x, y, out);
}

sinter_status schema_flatten(schema_job *j, const json *s, const json **out)
{
   const json *ref = schema_get(s, "$ref"), *all = schema_get(s, "allOf"), *target;

   *out = s;
   if (s->kind != JSON_object && s->kind != JSON_bool)
      return base_fail(SINTER_bad_input, "json_schema", "use an object, true or false",
                       "a schema is something else than an object or a boolean");
   if (ref) {
      SINTER_TRY(schema_find(j, ref, &target));
      return schema_merge(j, schema_without(j, s, "$ref"), target, out);
   }
   if (!all)
      return SINTER_ok;
   if (all->kind != JSON_array || !all->len)
      return base_fail(SINTER_bad_input, "allOf", "use an array of schemas",
                       "allOf is no array, or empty");
   *out = schema_without(j, s, "allOf");
   for (size_t i = 0; i < all->len; i++)
      SINTER_TRY(schema_merge(j, *out, all->items[i], out));
   return SINTER_ok;
}
