/* openapi.c - /openapi.json, made from routes.def and params.def. */
#include <string.h>

#include "params.h"

typedef struct field {
   const char *name, *what;
   int on, kind; /* of numbers */
   bool is_number, is_flag, is_refused;
   double least, most;
} field;

static const field fields[] = {
#define NUM(name, kind, least, most, field, on, what)                                              \
   {#name, what, on, kind, true, false, false, least, most},
#define FLAG(name, field, on, what) {#name, what, on, 0, false, true, false, 0, 0},
#define OWN(name, on, what) {#name, what, on, 0, false, false, false, 0, 0},
#define SKIP(name, on) {#name, "changes nothing here", on, 0, false, false, false, 0, 0},
#define NOT(name, neutral, on) {#name, "not supported", on, 0, false, false, true, 0, 0},
#include "params.def"
#undef NUM
#undef FLAG
#undef OWN
#undef SKIP
#undef NOT
};

static const struct {
   const char *method, *path, *handler, *what;
   bool guarded;
} routes[] = {
#define ROUTE(method, path, handler, guarded, what) {#method, path, #handler, what, guarded},
#include "routes.def"
#undef ROUTE
};

static void put(buffer *b, const char *text)
{
   buffer_printf(b, "%s", text);
}

static void quote(buffer *b, const char *text)
{
   buffer_json_string(b, text, strlen(text));
}

/* Shapes of the fields that functions read: what a client may send, not all that is checked. */
static const char *shape(const char *name, endpoint e)
{
   static const struct {
      const char *name, *schema;
   } shapes[] = {
      {"model", "\"type\":[\"string\",\"null\"]"},
      {"messages",
       "\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"required\":[\"role\"],"
       "\"properties\":{\"role\":{\"enum\":[\"system\",\"developer\",\"user\",\"assistant\","
       "\"tool\"]},\"content\":{\"type\":[\"string\",\"array\",\"null\"]}}}"},
      {"input", "\"type\":[\"string\",\"array\"],\"minItems\":1"},
      {"instructions", "\"type\":[\"string\",\"null\"]"},
      {"prompt", "\"type\":[\"string\",\"array\"],\"minItems\":1"},
      {"stop", "\"type\":[\"string\",\"array\",\"null\"],\"minLength\":1,\"maxLength\":256"},
      {"stop_token_ids", "\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"integer\"}"},
      {"logit_bias", "\"type\":[\"object\",\"null\"]"},
      {"tools", "\"type\":[\"array\",\"null\"],\"maxItems\":128"},
      {"tool_choice", "\"type\":[\"string\",\"object\",\"null\"]"},
      {"cache_salt", "\"type\":[\"string\",\"null\"],\"minLength\":1,\"maxLength\":256"},
      {"guided_regex", "\"type\":[\"string\",\"null\"]"},
      {"guided_choice", "\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"string\"}"},
      {"guided_json", "\"type\":[\"object\",\"string\",\"null\"]"},
   };

   if (strcmp(name, "logprobs") == 0)
      return e == SERVE_CHAT ? "\"type\":[\"boolean\",\"null\"]"
                             : "\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":20";
   for (size_t i = 0; i < countof(shapes); i++) {
      if (strcmp(shapes[i].name, name) == 0)
         return shapes[i].schema;
   }
   return "\"type\":[\"object\",\"null\"]";
}

static void put_field(buffer *b, const field *p, endpoint e)
{
   quote(b, p->name);
   put(b, ":{\"description\":");
   quote(b, p->what);
   if (p->is_number)
      buffer_printf(b, ",\"type\":[\"%s\",\"null\"],\"minimum\":%.17g,\"maximum\":%.17g",
                    p->kind == INT ? "integer" : "number", p->least, p->most);
   else if (p->is_flag)
      put(b, ",\"type\":[\"boolean\",\"null\"]");
   else if (p->is_refused)
      put(b, ",\"type\":\"null\",\"deprecated\":true");
   else if (strcmp(p->what, "changes nothing here") != 0)
      buffer_printf(b, ",%s", shape(p->name, e));
   put(b, "}");
}

static void put_fields(buffer *b, endpoint e)
{
   static const char *const needed[] = {"messages", "prompt", "input"};
   const char *comma = "";

   buffer_printf(b, "{\"type\":\"object\",\"required\":[\"%s\"],\"properties\":{", needed[e]);
   for (size_t i = 0; i < countof(fields); i++) {
      if (!(fields[i].on >> e & 1))
         continue;
      put(b, comma);
      put_field(b, &fields[i], e);
      comma = ",";
   }
   put(b, "}}");
}

/* What a POST takes; anything else than the big three has few fields. */
static void put_body(buffer *b, const char *handler)
{
   put(b, ",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":");
   if (strcmp(handler, "chat_completions") == 0)
      put_fields(b, SERVE_CHAT);
   else if (strcmp(handler, "completions") == 0)
      put_fields(b, SERVE_TEXT);
   else if (strcmp(handler, "responses") == 0)
      put_fields(b, SERVE_RESPONSES);
   else
      put(b, "{\"type\":\"object\"}");
   put(b, "}}}");
}

static void put_answers(buffer *b, const char *handler, bool guarded)
{
   static const char *const errors[] = {"400", "401", "403", "404", "408", "413",
                                        "415", "429", "500", "501", "503", "507"};
   const char *type = strcmp(handler, "metrics") == 0 ? "text/plain"
                      : strcmp(handler, "page") == 0  ? "text/html"
                                                      : "application/json";

   buffer_printf(
      b, ",\"responses\":{\"200\":{\"description\":\"the answer\",\"content\":{\"%s\":{}%s}}", type,
      strcmp(handler, "chat_completions") == 0 || strcmp(handler, "completions") == 0 ||
            strcmp(handler, "responses") == 0
         ? ",\"text/event-stream\":{}"
         : "");
   for (size_t i = 0; i < countof(errors); i++) {
      if (!guarded && strcmp(errors[i], "401") == 0)
         continue;
      buffer_printf(b,
                    ",\"%s\":{\"description\":\"an error\",\"content\":{\"application/json\":{"
                    "\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}}",
                    errors[i]);
   }
   put(b, "}");
}

static void put_route(buffer *b, size_t i)
{
   char method[8] = "", path[128];
   const char *star = strchr(routes[i].path, '*');

   for (size_t k = 0; routes[i].method[k] && k + 1 < sizeof method; k++)
      method[k] = (char)(routes[i].method[k] | 32);
   snprintf(path, sizeof path, "%.*s%s", star ? (int)(star - routes[i].path) : 100, routes[i].path,
            star ? "{name}" : "");
   quote(b, path);
   buffer_printf(b, ":{\"%s\":{\"operationId\":\"%s\",\"summary\":", method, routes[i].handler);
   quote(b, routes[i].what);
   if (star)
      put(b, ",\"parameters\":[{\"name\":\"name\",\"in\":\"path\",\"required\":true,\"schema\":{"
             "\"type\":\"string\"}}]");
   if (!routes[i].guarded)
      put(b, ",\"security\":[]");
   if (strcmp(method, "post") == 0)
      put_body(b, routes[i].handler);
   put_answers(b, routes[i].handler, routes[i].guarded);
   put(b, "}}");
}

int route_openapi(call *c)
{
   buffer b = {0};

   put(&b,
       "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Sinter\",\"version\":\"1\"},\"security\":[{"
       "\"key\":[]}],\"components\":{\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":"
       "\"bearer\"}},\"schemas\":{\"Error\":{\"type\":\"object\",\"required\":[\"error\"],"
       "\"properties\":{\"error\":{\"type\":\"object\",\"required\":[\"message\",\"type\","
       "\"code\"],\"properties\":{\"message\":{\"type\":\"string\"},\"type\":{\"type\":"
       "\"string\"},\"param\":{\"type\":[\"string\",\"null\"]},\"code\":{\"type\":\"string\"}}}}"
       "}}},\"paths\":{");
   for (size_t i = 0; i < countof(routes); i++) {
      if (i)
         put(&b, ",");
      put_route(&b, i);
   }
   put(&b, "}}");
   int ok = http_reply(c, 200, "application/json", &b);
   buffer_free(&b);
   return ok;
}
