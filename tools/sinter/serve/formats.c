/* formats.c - what an answer may be: response_format and its relatives, as a description of a
 * grammar. */
#include <string.h>

#include "values.h"

enum { MAX_DESCRIPTION = 256 << 10 };

bool format_set(ask *a, const char *param, buffer *description, fault *f)
{
   bool ok = !a->grammar.len;

   if (ok && description->len > MAX_DESCRIPTION)
      ok = fault_set(f, 400, "invalid_value", param, "'%s' is longer than %d bytes", param,
                     MAX_DESCRIPTION);
   else if (!ok && strcmp(param, a->grammar_param) == 0)
      value_bad(f, param, "an object of one format");
   else if (!ok)
      fault_set(f, 400, "invalid_value", param, "'%s' and '%s' exclude each other", param,
                a->grammar_param);
   if (!ok) {
      buffer_free(description);
      return false;
   }
   buffer_free(&a->grammar);
   a->grammar = *description;
   a->grammar_param = param;
   return true;
}

static bool set_schema(ask *a, const char *param, const tree *schema, fault *f)
{
   buffer b = {0};

   if (!schema || (schema->kind != TREE_object && schema->kind != TREE_bool))
      return value_bad(f, param, "a format with a JSON schema");
   buffer_printf(&b, "{\"json_schema\":");
   value_write(&b, schema);
   buffer_add(&b, "}", 1);
   return format_set(a, param, &b, f);
}

static bool set_object(ask *a, const char *param, fault *f)
{
   buffer b = {0};

   buffer_printf(&b, "{\"json_schema\":{\"type\":\"object\"}}");
   return format_set(a, param, &b, f);
}

static bool set_regex(ask *a, const char *param, const tree *t, fault *f)
{
   buffer b = {0};

   if (t->kind != TREE_string)
      return value_bad(f, param, "a regular expression");
   buffer_printf(&b, "{\"regex\":");
   buffer_json_string(&b, t->text, t->len);
   buffer_add(&b, "}", 1);
   return format_set(a, param, &b, f);
}

static bool set_choice(ask *a, const char *param, const tree *t, fault *f)
{
   buffer b = {0};

   if (!tree_first(t))
      return value_bad(f, param, "an array of at least one string");
   buffer_printf(&b, "{\"any\":[");
   for (const tree *e = tree_first(t); e; e = e->next) {
      if (e->kind != TREE_string || t->kind != TREE_array) {
         buffer_free(&b);
         return value_bad(f, param, "an array of strings");
      }
      buffer_printf(&b, e == tree_first(t) ? "{\"literal\":" : ",{\"literal\":");
      buffer_json_string(&b, e->text, e->len);
      buffer_add(&b, "}", 1);
   }
   buffer_printf(&b, "]}");
   return format_set(a, param, &b, f);
}

/* A format as both endpoints have it; nested: the schema is inside of "json_schema". */
static bool set_format(ask *a, const char *param, const tree *t, bool nested, fault *f)
{
   const tree *type = tree_get(t, "type");

   if (t->kind != TREE_object)
      return value_bad(f, param, "an object");
   if (value_is(type, "text"))
      return true;
   if (value_is(type, "json_object"))
      return set_object(a, param, f);
   if (value_is(type, "json_schema"))
      return set_schema(a, param, tree_get(nested ? tree_get(t, "json_schema") : t, "schema"), f);
   return value_bad(f, param, "of type text, json_object or json_schema");
}

bool take_response_format(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   return set_format(a, "response_format", t, true, f);
}

/* The format of /v1/responses. */
bool take_text(ask *a, const tree *t, const host *h, fault *f)
{
   const tree *format = tree_get(t, "format");

   (void)h;
   if (t->kind != TREE_object)
      return value_bad(f, "text", "an object");
   return value_is_null(format) || set_format(a, "text", format, false, f);
}

/* A schema may come as an object, or as its text. */
bool take_guided_json(ask *a, const tree *t, const host *h, fault *f)
{
   tree *parsed = NULL;
   bool ok;

   (void)h;
   if (t->kind == TREE_string)
      parsed = tree_parse_limited(t->text, t->len, (size_t)serve_most.body_values);
   ok = set_schema(a, "guided_json", parsed ? parsed : t, f);
   tree_free(parsed);
   return ok;
}

bool take_guided_regex(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   return set_regex(a, "guided_regex", t, f);
}

bool take_guided_choice(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   return set_choice(a, "guided_choice", t, f);
}

bool take_structured_outputs(ask *a, const tree *t, const host *h, fault *f)
{
   const char *const param = "structured_outputs";
   bool ok = (t->kind == TREE_object && t->first) || value_bad(f, param, "an object of one format");
   bool object;

   (void)h;
   for (const tree *e = tree_first(t); e && ok; e = e->next) {
      if (value_is_null(e))
         continue;
      if (strcmp(e->key, "json") == 0)
         ok = set_schema(a, param, e, f);
      else if (strcmp(e->key, "regex") == 0)
         ok = set_regex(a, param, e, f);
      else if (strcmp(e->key, "choice") == 0)
         ok = set_choice(a, param, e, f);
      else if (strcmp(e->key, "json_object") == 0 && value_flag(e, &object))
         ok = !object || set_object(a, param, f);
      else
         ok = fault_set(f, 400, "unsupported_parameter", param,
                        "'%s' has '%.60s': use one of json, regex, choice, json_object", param,
                        e->key);
   }
   return ok;
}

bool format_compile(ask *a, const host *h, fault *f)
{
   if (!a->grammar.len)
      return true;
   sinter_status status =
      sinter_grammar_create(h->session.artifact, a->grammar.data, a->grammar.len, &a->rules);
   if (status == SINTER_ok)
      return true;
   if (status == SINTER_out_of_memory)
      return fault_from_library(f, status, a->grammar_param);
   return fault_set(f, 400,
                    status == SINTER_unsupported ? "unsupported_parameter" : "invalid_value",
                    a->grammar_param, "%s", sinter_error());
}
