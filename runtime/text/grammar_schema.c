/* grammar_schema.c - from a JSON schema to the rules of its values, object and array forms apart
 * (grammar_members.c).
 *
 *    schema ─flatten─▶ one object ─▶ alternatives of anyOf │ values of enum │ a form for each type it allows */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "grammar_members.h"

static const struct {
   const char *name;
   enum { HELD, NOTE, LACKS } kind;
} keywords[] = {
#define KEYWORD(name, kind) {name, kind},
#include "grammar_keywords.def"
#undef KEYWORD
};

static const struct {
   const char *name, *regex;
} formats[] = {
#define FORMAT(name, ...) {#name, __VA_ARGS__},
#include "grammar_formats.def"
#undef FORMAT
};

/* ---- keywords ---- */

sinter_status schema_lacks(const char *keyword, const char *fmt, ...)
{
   char text[160];
   va_list args;

   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   return base_fail(SINTER_unsupported, keyword, "leave it out, and check the answer", "%s", text);
}

static sinter_status malformed(const char *keyword, const char *want)
{
   return base_fail(SINTER_bad_input, keyword, "see the JSON Schema specification",
                    "'%s' of a schema must be %s", keyword, want);
}

static int kind_of(const char *key)
{
   for (size_t i = 0; i < countof(keywords); i++) {
      if (strcmp(keywords[i].name, key) == 0)
         return keywords[i].kind;
   }
   return NOTE;
}

bool schema_is_held(const char *key)
{
   return kind_of(key) != NOTE;
}

bool schema_is_any(const json *s)
{
   if (s->kind == JSON_bool)
      return s->boolean;
   for (size_t i = 0; i < s->len; i++) {
      if (schema_is_held(s->keys[i]))
         return false;
   }
   return true;
}

static bool asks_nothing(const json *v)
{
   return (v->kind == JSON_bool && !v->boolean) || (v->kind == JSON_int && v->integer == 0) ||
          (v->kind == JSON_object && v->len == 0);
}

static sinter_status check_keywords(const schema_job *j, const json *s)
{
   for (size_t i = 0; i < s->len; i++) {
      const char *key = s->keys[i];
      bool name = s == j->root && (strcmp(key, "$id") == 0 || strcmp(key, "id") == 0);

      /* not, if and contains ask something whatever their value is. */
      bool schemas = strcmp(key, "not") == 0 || strcmp(key, "if") == 0 ||
                     strcmp(key, "contains") == 0 || strcmp(key, "propertyNames") == 0 ||
                     strncmp(key, "uneval", 6) == 0;
      if (kind_of(key) == LACKS && !name && (schemas || !asks_nothing(s->items[i])))
         return schema_lacks(key, "the keyword '%s' cannot be held to", key);
   }
   return SINTER_ok;
}

unsigned schema_type_of(const json *v)
{
   switch (v->kind) {
   case JSON_null: return SCHEMA_null;
   case JSON_bool: return SCHEMA_boolean;
   case JSON_int: return SCHEMA_integer;
   case JSON_float: return v->number == floor(v->number) ? SCHEMA_integer : SCHEMA_number;
   case JSON_string: return SCHEMA_string;
   case JSON_array: return SCHEMA_array;
   case JSON_object: return SCHEMA_object;
   }
   return 0;
}

static unsigned type_named(const json *name)
{
   static const struct {
      const char *name;
      unsigned types;
   } names[] = {{"null", SCHEMA_null},       {"boolean", SCHEMA_boolean},
                {"integer", SCHEMA_integer}, {"number", SCHEMA_integer | SCHEMA_number},
                {"string", SCHEMA_string},   {"array", SCHEMA_array},
                {"object", SCHEMA_object}};

   for (size_t i = 0; name->kind == JSON_string && i < countof(names); i++) {
      if (strcmp(names[i].name, name->string) == 0)
         return names[i].types;
   }
   return 0;
}

sinter_status schema_types(const json *s, unsigned *out)
{
   const json *type = schema_get(s, "type");

   *out = type ? type_named(type) : SCHEMA_all;
   for (size_t i = 0; type && type->kind == JSON_array && i < type->len; i++) {
      unsigned one = type_named(type->items[i]);
      if (!one)
         return malformed("type", "names of types");
      *out |= one;
   }
   /* A list without types is what schemas that exclude each other merge to. */
   return *out || (type->kind == JSON_array && !type->len)
             ? SINTER_ok
             : malformed("type", "null, boolean, integer, number, string, array or object");
}

sinter_status schema_count(const json *s, const char *key, int64_t otherwise, int64_t *out)
{
   const json *v = schema_get(s, key);

   *out = otherwise;
   if (!v)
      return SINTER_ok;
   if ((v->kind != JSON_int && v->kind != JSON_float) || v->number < 0 || v->number > 1e15 ||
       v->number != (double)(int64_t)v->number)
      return malformed(key, "a whole number of at least 0");
   *out = (int64_t)v->number;
   return SINTER_ok;
}

/* ---- references ---- */

static int hex_digit(char c)
{
   char low = (char)(c | 32);

   return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* One segment of a JSON pointer in a fragment, unescaped: %25, ~1, ~0. */
static const char *segment(arena *a, const char *at, size_t *len)
{
   size_t n = strcspn(at, "/"), out = 0;
   char *text = arena_strndup(a, at, n);

   *len = n;
   for (size_t i = 0; i < n; i++) {
      int hi = text[i] == '%' && i + 2 < n ? hex_digit(text[i + 1]) : -1;
      int lo = hi >= 0 ? hex_digit(text[i + 2]) : -1;
      if (lo >= 0)
         i += 2;
      text[out++] = lo >= 0 ? (char)(hi * 16 + lo) : text[i];
   }
   n = out;
   out = 0;
   for (size_t i = 0; i < n; i++) {
      bool escape = text[i] == '~' && i + 1 < n && (text[i + 1] == '0' || text[i + 1] == '1');
      text[out++] = escape ? (text[++i] == '0' ? '~' : '/') : text[i];
   }
   text[out] = 0;
   return text;
}

static const json *child(const json *at, const char *name)
{
   size_t index = 0;

   if (at->kind != JSON_array)
      return schema_get(at, name);
   for (const char *p = name; *p; p++) {
      if (*p < '0' || *p > '9' || index > at->len)
         return NULL;
      index = index * 10 + (size_t)(*p - '0');
   }
   return *name && index < at->len ? at->items[index] : NULL;
}

sinter_status schema_find(const schema_job *j, const json *ref, const json **out)
{
   const json *at = j->root;

   if (ref->kind != JSON_string)
      return malformed("$ref", "a string");
   if (ref->string[0] != '#' || (ref->string[1] && ref->string[1] != '/'))
      return schema_lacks("$ref", "'%.80s' lies outside of this schema", ref->string);
   for (const char *p = ref->string + 1; *p && at;) {
      size_t len;
      const char *name = segment(j->b->a, p + 1, &len);
      at = child(at, name);
      p += len + 1;
   }
   if (!at)
      return base_fail(SINTER_bad_input, "$ref", "name something under $defs",
                       "there is no '%.80s' in this schema", ref->string);
   *out = at;
   return SINTER_ok;
}

/* ---- values ---- */

static uint32_t literal(grammar_builder *b, const json *v, uint32_t next)
{
   text_buf t = {.a = b->a};
   bool object = v->kind == JSON_object;

   if (v->kind == JSON_string)
      return grammar_json_string(b, v->string, v->len, next);
   if (v->kind < JSON_string) {
      if (v->kind == JSON_int)
         text_printf(&t, "%lld", (long long)v->integer);
      else if (v->kind == JSON_float)
         json_write_double(&t, v->number);
      else
         text_printf(&t, "%s", v->kind == JSON_null ? "null" : v->boolean ? "true" : "false");
      return grammar_text(b, t.data, t.len, next);
   }
   next = grammar_text(b, object ? "}" : "]", 1, next);
   for (size_t i = v->len; i-- > 0 && !b->full;) {
      next = literal(b, v->items[i], next);
      if (object)
         next = grammar_json_string(b, v->keys[i], v->key_lens[i],
                                    grammar_text(b, ":", 1, grammar_space(b, next)));
      if (i)
         next = grammar_text(b, ",", 1, grammar_space(b, next));
   }
   return grammar_text(b, object ? "{" : "[", 1, next);
}

static sinter_status values(schema_job *j, const json *s, uint32_t *out)
{
   const json *list = schema_get(s, "enum"), *one = schema_get(s, "const");
   VEC(schema_name) strings = {0};
   unsigned types;

   SINTER_TRY(schema_types(s, &types));
   if (list && (list->kind != JSON_array || !list->len))
      return malformed("enum", "an array with at least one value");
   for (size_t i = 0; i < s->len; i++) {
      const char *key = s->keys[i];
      if (schema_is_held(key) && strcmp(key, "enum") && strcmp(key, "const") && strcmp(key, "type"))
         return schema_lacks(key, "'%s' together with fixed values", key);
   }
   *out = GRAMMAR_FAIL;
   for (size_t i = 0; i < (list ? list->len : 1) && !j->b->full; i++) {
      const json *v = list ? list->items[i] : one;
      if (!(schema_type_of(v) & types) || (list && one && !schema_equal(v, one)))
         continue;
      if (v->kind == JSON_string)
         *vec_push(j->b->a, &strings) = (schema_name){.text = v->string, .len = v->len};
      else
         *out = grammar_or(j->b, *out, literal(j->b, v, GRAMMAR_RET));
   }
   if (strings.count) {
      uint32_t names;
      SINTER_TRY(schema_names(j->b, strings.data, strings.count, false, &names));
      *out = grammar_or(j->b, *out, names);
   }
   return SINTER_ok;
}

static sinter_status string_format(schema_job *j, const json *format, int64_t least, uint32_t next,
                                   uint32_t *out)
{
   size_t i = 0;

   if (format->kind != JSON_string)
      return malformed("format", "a string");
   while (i < countof(formats) && strcmp(formats[i].name, format->string) != 0)
      i++;
   if (i == countof(formats))
      return schema_lacks("format", "the format '%.60s' is not known here", format->string);
   if (least > 1)
      return schema_lacks("minLength", "'format' and a length together");
   return grammar_regex(j->b, formats[i].regex, strlen(formats[i].regex), GRAMMAR_WHOLE, true, next,
                        out);
}

static sinter_status string(schema_job *j, const json *s, uint32_t *out)
{
   grammar_builder *b = j->b;
   const json *pattern = schema_get(s, "pattern"), *format = schema_get(s, "format");
   uint32_t quote = grammar_byte(b, '"', '"', GRAMMAR_RET), inner;
   int64_t least, most;

   SINTER_TRY(schema_count(s, "minLength", 0, &least));
   SINTER_TRY(schema_count(s, "maxLength", GRAMMAR_UNBOUNDED, &most));
   if ((pattern || format) && most >= 0)
      return schema_lacks("maxLength", "'pattern' or 'format' and a length together");
   if (pattern && (format || least))
      return schema_lacks("pattern", "'pattern' and a format or length together");
   if (pattern && pattern->kind != JSON_string)
      return malformed("pattern", "a string");
   if (pattern)
      SINTER_TRY(
         grammar_regex(b, pattern->string, pattern->len, GRAMMAR_SEARCH, true, quote, &inner));
   else if (format)
      SINTER_TRY(string_format(j, format, least, quote, &inner));
   else if (most >= 0 && most < least)
      inner = GRAMMAR_FAIL;
   else
      inner = grammar_repeat_rule(b, grammar_shared_rule(b, GRAMMAR_CHAR), least, most, quote);
   *out = grammar_byte(b, '"', '"', inner);
   return SINTER_ok;
}

static sinter_status bound(const json *s, const char *inclusive, const char *exclusive, int sign,
                           const json **out, bool *excluded)
{
   const json *at = schema_get(s, inclusive), *past = schema_get(s, exclusive);

   *excluded = false;
   for (int i = 0; i < 2; i++) {
      const json *v = i ? past : at;
      if (v && v->kind != JSON_int && v->kind != JSON_float)
         return malformed(i ? exclusive : inclusive, "a number");
   }
   *excluded = past && (!at || sign * past->number >= sign * at->number);
   *out = *excluded ? past : at;
   return SINTER_ok;
}

static sinter_status number(schema_job *j, const json *s, bool integer, uint32_t *out)
{
   grammar_bounds n = {.integer = integer};

   SINTER_TRY(bound(s, "minimum", "exclusiveMinimum", 1, &n.least, &n.above));
   SINTER_TRY(bound(s, "maximum", "exclusiveMaximum", -1, &n.most, &n.below));
   return grammar_number(j->b, &n, GRAMMAR_RET, out);
}

static sinter_status forms(schema_job *j, const json *s, uint32_t *out)
{
   grammar_builder *b = j->b;
   uint32_t one = GRAMMAR_FAIL;
   unsigned types;

   *out = GRAMMAR_FAIL;
   SINTER_TRY(schema_types(s, &types));
   if (types & SCHEMA_object)
      SINTER_TRY(schema_object(j, s, out));
   if (types & SCHEMA_array)
      SINTER_TRY(schema_array(j, s, &one));
   *out = grammar_or(b, *out, one);
   one = GRAMMAR_FAIL;
   if (types & SCHEMA_string)
      SINTER_TRY(string(j, s, &one));
   *out = grammar_or(b, *out, one);
   one = GRAMMAR_FAIL;
   if (types & (SCHEMA_integer | SCHEMA_number))
      SINTER_TRY(number(j, s, !(types & SCHEMA_number), &one));
   *out = grammar_or(b, *out, one);
   if (types & SCHEMA_boolean) {
      *out = grammar_or(b, *out, grammar_text(b, "true", 4, GRAMMAR_RET));
      *out = grammar_or(b, *out, grammar_text(b, "false", 5, GRAMMAR_RET));
   }
   if (types & SCHEMA_null)
      *out = grammar_or(b, *out, grammar_text(b, "null", 4, GRAMMAR_RET));
   return SINTER_ok;
}

/* ---- alternatives ---- */

static bool values_differ(const json *x, const json *y)
{
   const json *const of[2] = {schema_get(x, "const"), schema_get(y, "const")};
   const json *const lists[2] = {schema_get(x, "enum"), schema_get(y, "enum")};

   if ((!of[0] && !lists[0]) || (!of[1] && !lists[1]))
      return false;
   for (size_t i = 0; i < (of[0] ? 1 : lists[0]->len); i++) {
      for (size_t k = 0; k < (of[1] ? 1 : lists[1]->len); k++) {
         if (schema_equal(of[0] ? of[0] : lists[0]->items[i], of[1] ? of[1] : lists[1]->items[k]))
            return false;
      }
   }
   return true;
}

/* Whether no value is valid under both: other types, other values, or a required property with
 * other values. */
static sinter_status are_apart(schema_job *j, const json *x, const json *y, bool *out)
{
   unsigned types[2];

   SINTER_TRY(schema_flatten(j, x, &x));
   SINTER_TRY(schema_flatten(j, y, &y));
   *out = false;
   if (x->kind != JSON_object || y->kind != JSON_object)
      return SINTER_ok;
   SINTER_TRY(schema_types(x, &types[0]));
   SINTER_TRY(schema_types(y, &types[1]));
   *out = !(types[0] & types[1]) || values_differ(x, y);
   const json *mine = schema_get(x, "properties"), *theirs = schema_get(y, "properties");
   bool objects = types[0] == SCHEMA_object || types[1] == SCHEMA_object;
   for (size_t i = 0; !*out && objects && mine && mine->kind == JSON_object && i < mine->len; i++) {
      const json *other = schema_get(theirs, mine->keys[i]);
      *out = other && schema_requires(x, mine->keys[i], mine->key_lens[i]) &&
             schema_requires(y, mine->keys[i], mine->key_lens[i]) &&
             values_differ(mine->items[i], other);
   }
   return SINTER_ok;
}

static sinter_status alternatives(schema_job *j, const json *s, const char *key, uint32_t *out)
{
   const json *list = schema_get(s, key), *rest = schema_without(j, s, key), *branch;
   bool exclusive = key[0] == 'o', apart;
   uint32_t rule;

   *out = GRAMMAR_FAIL;
   if (list->kind != JSON_array || !list->len)
      return malformed(key, "an array of schemas");
   for (size_t i = 0; exclusive && i < list->len; i++) {
      for (size_t k = 0; k < i; k++) {
         SINTER_TRY(are_apart(j, list->items[i], list->items[k], &apart));
         if (!apart)
            return schema_lacks(key, "oneOf whose alternatives may hold at once: use anyOf");
      }
   }
   for (size_t i = 0; i < list->len; i++) {
      branch = list->items[i];
      if (!schema_is_any(rest))
         SINTER_TRY(schema_merge(j, branch, rest, &branch));
      SINTER_TRY(schema_rule(j, branch, &rule));
      *out = grammar_or(j->b, *out, rule);
   }
   return SINTER_ok;
}

static sinter_status value(schema_job *j, const json *s, uint32_t *out)
{
   const json *target;

   if (s->kind == JSON_object && s->len == 1 && strcmp(s->keys[0], "$ref") == 0) {
      SINTER_TRY(schema_find(j, s->items[0], &target));
      return schema_rule(j, target, out);
   }
   SINTER_TRY(schema_flatten(j, s, &s));
   if (s->kind == JSON_object)
      SINTER_TRY(check_keywords(j, s));
   *out = GRAMMAR_FAIL;
   if (schema_is_any(s)) {
      *out = grammar_shared_rule(j->b, GRAMMAR_ANY);
      return SINTER_ok;
   }
   if (s->kind == JSON_bool)
      return SINTER_ok;
   if (schema_get(s, "anyOf"))
      return alternatives(j, s, "anyOf", out);
   if (schema_get(s, "oneOf"))
      return alternatives(j, s, "oneOf", out);
   if (schema_get(s, "enum") || schema_get(s, "const"))
      return values(j, s, out);
   return forms(j, s, out);
}

sinter_status schema_rule(schema_job *j, const json *s, uint32_t *out)
{
   schema_item *item = map_get_n(&j->rules, (const char *)&s, sizeof s);

   if (!item) {
      item = arena_new(j->b->a, schema_item);
      *item = (schema_item){s, grammar_open(j->b)};
      map_set_n(&j->rules, (const char *)&item->schema, sizeof item->schema, item);
      *vec_push(j->b->a, &j->queue) = *item;
   }
   *out = item->rule;
   return SINTER_ok;
}

sinter_status grammar_schema(grammar_builder *b, const json *schema, uint32_t *out_rule)
{
   schema_job j = {.b = b, .root = schema, .rules = {.a = b->a}};
   uint32_t to;

   SINTER_TRY(schema_rule(&j, schema, out_rule));
   for (size_t i = 0; i < j.queue.count && !b->full; i++) {
      schema_item item = j.queue.data[i];
      SINTER_TRY(value(&j, item.schema, &to));
      grammar_close(b, item.rule, to);
   }
   return SINTER_ok;
}
