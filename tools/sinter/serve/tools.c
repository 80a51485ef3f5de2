/* tools.c - tools of a request: what the template shows, how the model writes a call, and which
 * calls it must make.
 *
 * A call is looked for in every answer of a request with tools (split.c). Where tool_choice demands
 * one, the grammar lets nothing else through, and arguments obey the tool's schema; those of strict
 * tools do so everywhere. */
#include <stdlib.h>
#include <string.h>

#include "values.h"

static const tool_format formats[] = {
#define TOOLS(name, signs, begin, end, arguments) {#name, signs, begin, end, arguments},
#include "tools.def"
#undef TOOLS
};

/* ---- fields ---- */

static bool is_name(const tree *t)
{
   static const char letters[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

   return t && t->kind == TREE_string && t->len && t->len < sizeof((tool *)NULL)->name &&
          strspn(t->text, letters) == t->len;
}

static tool *find(const ask *a, const char *name, size_t len)
{
   for (uint32_t i = 0; i < a->num_tools; i++) {
      if (strlen(a->tools[i].name) == len && memcmp(a->tools[i].name, name, len) == 0)
         return &a->tools[i];
   }
   return NULL;
}

const tool *tool_find(const ask *a, const char *name, size_t len)
{
   const tool *t = find(a, name, len);

   return t && !t->barred ? t : NULL;
}

/* One tool: {"type":"function","function":{…}}, or flat as /v1/responses has it. */
static bool add_tool(ask *a, const tree *t, fault *f)
{
   const tree *inner = tree_get(t, "function"), *type = tree_get(t, "type");
   const tree *function = inner ? inner : t, *name = tree_get(function, "name");
   const tree *parameters = tree_get(function, "parameters");
   const tree *about = tree_get(function, "description"), *strict = tree_get(function, "strict");
   bool is_strict = false;

   if (t->kind != TREE_object || !value_is(type, "function"))
      return fault_set(f, 400, "unsupported_parameter", "tools", "tools must be of type function");
   if (!is_name(name) || find(a, name->text, name->len))
      return value_bad(f, "tools", "functions with names of their own, 1 to 64 of A-Za-z0-9_.-");
   if (!value_is_null(parameters) && parameters->kind != TREE_object)
      return value_bad(f, "tools", "functions whose parameters are a JSON schema");
   if (!value_is_null(about) && about->kind != TREE_string)
      return value_bad(f, "tools", "functions whose description is a string");
   if (!value_is_null(strict) && !value_flag(strict, &is_strict))
      return value_bad(f, "tools", "functions whose strict is true or false");
   tool *to = &a->tools[a->num_tools++];
   memcpy(to->name, name->text, name->len + 1);
   to->strict = is_strict;
   if (!value_is_null(parameters))
      value_write(&to->parameters, parameters);
   else
      buffer_printf(&to->parameters, "{\"type\":\"object\",\"properties\":{}}");
   if (a->tools_json.len > 1)
      buffer_add(&a->tools_json, ",", 1);
   buffer_printf(&a->tools_json, "{\"type\":\"function\",\"function\":{\"name\":\"%s\"", to->name);
   if (!value_is_null(about)) {
      buffer_printf(&a->tools_json, ",\"description\":");
      buffer_json_string(&a->tools_json, about->text, about->len);
   }
   buffer_printf(&a->tools_json, ",\"parameters\":%s}}", to->parameters.data);
   return true;
}

bool take_tools(ask *a, const tree *t, const host *h, fault *f)
{
   bool ok = true;

   (void)h;
   if (t->kind != TREE_array || tree_count(t) > (size_t)serve_most.tools)
      return fault_set(f, 400, "invalid_value", "tools", "'tools' must be an array of at most %lld",
                       (long long)serve_most.tools);
   if (!tree_first(t))
      return true;
   a->tools = calloc(tree_count(t), sizeof *a->tools);
   if (!a->tools)
      exit(6);
   buffer_add(&a->tools_json, "[", 1);
   for (const tree *e = tree_first(t); e && ok; e = e->next)
      ok = add_tool(a, e, f);
   buffer_add(&a->tools_json, "]", 1);
   return ok;
}

/* A function by its name, as add_tool takes them. */
static bool choose(ask *a, const tree *t)
{
   const tree *function = tree_get(t, "function");
   const tree *name = tree_get(function ? function : t, "name");

   if (!value_is(tree_get(t, "type"), "function") || !is_name(name))
      return false;
   memcpy(a->chosen[a->num_chosen++], name->text, name->len + 1);
   return true;
}

/* {"type":"allowed_tools","allowed_tools":{"mode":…,"tools":[…]}}, or flat as /v1/responses has it.
 */
static bool choose_some(ask *a, const tree *t, fault *f)
{
   const tree *inner = tree_get(t, "allowed_tools"), *of = inner ? inner : t;
   const tree *mode = tree_get(of, "mode"), *tools = tree_get(of, "tools");
   bool ok = tools && tools->kind == TREE_array && tree_first(tools) &&
             tree_count(tools) <= (size_t)serve_most.tools;

   if (!value_is(mode, "auto") && !value_is(mode, "required"))
      return value_bad(f, "tool_choice", "allowed_tools with a mode auto or required");
   a->tool_choice = value_is(mode, "auto") ? TOOL_AUTO : TOOL_REQUIRED;
   if (ok)
      a->chosen = calloc(tree_count(tools), sizeof *a->chosen);
   if (ok && !a->chosen)
      exit(6);
   for (const tree *e = ok ? tree_first(tools) : NULL; e && ok; e = e->next)
      ok = choose(a, e);
   return ok || value_bad(f, "tool_choice", "allowed_tools with an array of functions by name");
}

bool take_tool_choice(ask *a, const tree *t, const host *h, fault *f)
{
   const tree *type = t->kind == TREE_object ? tree_get(t, "type") : NULL;

   (void)h;
   if (value_is(t, "none"))
      a->tool_choice = TOOL_NONE;
   else if (value_is(t, "auto"))
      a->tool_choice = TOOL_AUTO;
   else if (value_is(t, "required"))
      a->tool_choice = TOOL_REQUIRED;
   else if (value_is(type, "allowed_tools"))
      return choose_some(a, t, f);
   else {
      a->tool_choice = TOOL_NAMED;
      a->chosen = calloc(1, sizeof *a->chosen);
      if (!a->chosen)
         exit(6);
      return choose(a, t) || value_bad(f, "tool_choice",
                                       "none, auto, required, a function by its name, or "
                                       "allowed_tools");
   }
   return true;
}

/* Bars the tools that tool_choice does not name, where it names any. */
static bool bar_others(ask *a, fault *f)
{
   for (uint32_t i = 0; i < a->num_tools; i++)
      a->tools[i].barred = a->num_chosen > 0;
   for (uint32_t i = 0; i < a->num_chosen; i++) {
      tool *t = find(a, a->chosen[i], strlen(a->chosen[i]));

      if (!t)
         return fault_set(f, 400, "invalid_value", "tool_choice",
                          "there is no tool '%s' in 'tools'", a->chosen[i]);
      t->barred = false;
   }
   return true;
}

/* ---- the template ---- */

static bool has_signs(const char *template, const char *signs)
{
   char sign[64];

   while (*signs) {
      size_t n = strcspn(signs, "|");
      bool absent = *signs == '!';

      snprintf(sign, sizeof sign, "%.*s", (int)(n - absent), signs + absent);
      if ((strstr(template, sign) != NULL) == absent)
         return false;
      signs += n + (signs[n] == '|');
   }
   return true;
}

/* One tool's call, without what stands around it. */
static void describe_call(const ask *a, const tool *t, buffer *b)
{
   bool obeys = t->strict || a->tool_choice != TOOL_AUTO || a->grammar.len;

   buffer_printf(b,
                 "{\"seq\":[{\"literal\":\"{\\\"name\\\": \\\"%s\\\", \\\"%s\\\": \"},"
                 "{\"json_schema\":%s},{\"literal\":\"}\"}]}",
                 t->name, a->calls->arguments,
                 obeys ? t->parameters.data : "{\"type\":\"object\"}");
}

/* One call of any tool that may be called, with its marks. */
static void describe_one(const ask *a, buffer *b)
{
   const char *comma = "", *line = a->calls->begin[0] ? "\\n" : "";

   buffer_printf(b, "{\"seq\":[{\"literal\":\"%s%s\"},{\"any\":[", a->calls->begin, line);
   for (uint32_t i = 0; i < a->num_tools; i++) {
      if (a->tools[i].barred)
         continue;
      buffer_printf(b, "%s", comma);
      describe_call(a, &a->tools[i], b);
      comma = ",";
   }
   buffer_printf(b, "]},{\"literal\":\"%s%s\"}]}", line, a->calls->end);
}

/* The calls that are demanded, as a grammar. */
static void describe_calls(const ask *a, buffer *b)
{
   bool many = a->calls->begin[0] && a->parallel && a->tool_choice == TOOL_REQUIRED;

   buffer_printf(b, "{\"repeat\":");
   describe_one(a, b);
   buffer_printf(b, ",\"min\":1,\"max\":%d,\"between\":\"\\n\"}", many ? SERVE_MAX_CALLS : 1);
}

/* Any text, with calls in it. A format without marks begins with its call, or has none. */
static bool let_calls(ask *a, fault *f)
{
   buffer b = {0};

   if (a->calls->begin[0]) {
      buffer_printf(&b, "{\"seq\":[{\"without\":\"%s\"},{\"repeat\":{\"seq\":[", a->calls->begin);
      describe_one(a, &b);
      buffer_printf(&b, ",{\"without\":\"%s\"}]},\"min\":0,\"max\":%d}]}", a->calls->begin,
                    a->parallel ? SERVE_MAX_CALLS : 1);
   } else {
      buffer_printf(&b, "{\"any\":[");
      describe_one(a, &b);
      buffer_printf(&b, ",{\"regex\":\"([ \\t\\r\\n;]*[^ \\t\\r\\n;{](.|\\n)*)?\"}]}");
   }
   a->is_prose = true;
   return format_set(a, "tools", &b, f);
}

static bool demand_calls(ask *a, fault *f)
{
   buffer b = {0};

   describe_calls(a, &b);
   return format_set(a, a->tool_choice == TOOL_NAMED ? "tool_choice" : "tools", &b, f);
}

/* Under auto, a format of the content leaves room for calls beside it; guided_… describe the whole
 * text. */
static void allow_calls(ask *a)
{
   buffer b = {0};

   buffer_printf(&b, "{\"any\":[%s,", a->grammar.data);
   describe_calls(a, &b);
   buffer_printf(&b, "]}");
   buffer_free(&a->grammar);
   a->grammar = b;
}

bool tools_prepare(ask *a, const host *h, fault *f)
{
   const char *template = sinter_artifact_document(h->session.artifact, "template");

   a->thinks = template && strstr(template, "<think>");
   if (!bar_others(a, f))
      return false;
   if (a->tool_choice == TOOL_REQUIRED && !a->num_tools)
      return fault_set(f, 400, "invalid_value", "tool_choice", "'tool_choice' needs 'tools'");
   if (!a->num_tools || a->tool_choice == TOOL_NONE)
      return true;
   for (size_t i = 0; template && i < countof(formats) && !a->calls; i++)
      a->calls = has_signs(template, formats[i].signs) ? &formats[i] : NULL;
   if (!a->calls || !strstr(template, "tools"))
      return fault_set(f, 400, "unsupported_parameter", "tools",
                       "the chat template of this model has no tool calls of a known form");
   if (a->tool_choice != TOOL_AUTO)
      return demand_calls(a, f);
   bool is_content = a->grammar.len && (strcmp(a->grammar_param, "response_format") == 0 ||
                                        strcmp(a->grammar_param, "text") == 0);
   if (is_content)
      allow_calls(a);
   bool held = a->num_chosen > 0;
   for (uint32_t i = 0; i < a->num_tools; i++)
      held |= a->tools[i].strict;
   return is_content || !held || let_calls(a, f);
}
