/* openapi.c - /openapi.json, made from routes.def and params.def. */
#include <string.h>

#include "params.h"
#include "serve.h"

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

/* Schemas of shapes.def: of fields, of bodies, and what they refer to. */
typedef struct shape {
   const char *name, *schema;
} shape;

#define SHAPE(field, ...) {#field, #__VA_ARGS__},
#define BODY(handler, ...)
#define COMPONENT(name, ...)
static const shape shapes[] = {
#include "shapes.def"
};
#undef SHAPE
#undef BODY
#define SHAPE(field, ...)
#define BODY(handler, ...) {#handler, #__VA_ARGS__},
static const shape bodies[] = {
#include "shapes.def"
};
#undef BODY
#undef COMPONENT
#define BODY(handler, ...)
#define COMPONENT(name, ...) {#name, #__VA_ARGS__},
static const shape components[] = {
#include "shapes.def"
};
#undef SHAPE
#undef BODY
#undef COMPONENT

static const char *find_shape(const shape *list, size_t count, const char *name)
{
   for (size_t i = 0; i < count; i++) {
      if (strcmp(list[i].name, name) == 0)
         return list[i].schema;
   }
   return NULL;
}

/* The members of a schema; VOCAB becomes the last token id. */
static void put_schema(buffer *b, const char *schema, uint32_t vocab)
{
   static const char mark[] = "VOCAB";

   for (const char *at; (at = strstr(schema, mark)); schema = at + strlen(mark))
      buffer_printf(b, "%.*s%u", (int)(at - schema), schema, vocab - 1);
   put(b, schema);
}

/* The smallest vocabulary of the models that are ready. */
static uint32_t least_vocab(server *s)
{
   uint32_t vocab = INT32_MAX;

   for (uint32_t i = 0; i < s->num_hosts; i++) {
      host *h = &s->hosts[i];
      pthread_mutex_lock(&h->lock);
      if (h->ready && h->session.info.vocab < vocab)
         vocab = h->session.info.vocab;
      pthread_mutex_unlock(&h->lock);
   }
   return vocab;
}

static void put_shape(buffer *b, const char *name, endpoint e, uint32_t vocab)
{
   const char *schema = find_shape(shapes, countof(shapes), name);

   if (strcmp(name, "input") == 0 && e == SERVE_EMBED)
      schema = find_shape(shapes, countof(shapes), "prompt");
   if (strcmp(name, "logprobs") == 0)
      put(b, e == SERVE_CHAT ? "\"type\":[\"boolean\",\"null\"]"
                             : "\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":20");
   else
      put_schema(b, schema ? schema : "\"type\":[\"object\",\"null\"]", vocab);
}

static void put_field(buffer *b, const field *p, endpoint e, uint32_t vocab)
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
   else if (strcmp(p->what, "changes nothing here") != 0) {
      put(b, ",");
      put_shape(b, p->name, e, vocab);
   }
   put(b, "}");
}

static void put_fields(buffer *b, endpoint e, uint32_t vocab)
{
   static const char *const needed[] = {"messages", "prompt", "input", "input"};
   const char *comma = "";

   buffer_printf(b, "{\"type\":\"object\",\"required\":[\"%s\"],\"properties\":{", needed[e]);
   for (size_t i = 0; i < countof(fields); i++) {
      if (!(fields[i].on >> e & 1))
         continue;
      put(b, comma);
      put_field(b, &fields[i], e, vocab);
      comma = ",";
   }
   put(b, "}}");
}

/* What a POST takes; anything else than the big four has few fields. */
static void put_body(buffer *b, const char *handler, uint32_t vocab)
{
   const char *schema = find_shape(bodies, countof(bodies), handler);

   put(b, ",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":");
   if (strcmp(handler, "chat_completions") == 0)
      put_fields(b, SERVE_CHAT, vocab);
   else if (strcmp(handler, "completions") == 0)
      put_fields(b, SERVE_TEXT, vocab);
   else if (strcmp(handler, "responses") == 0)
      put_fields(b, SERVE_RESPONSES, vocab);
   else if (strcmp(handler, "embeddings") == 0)
      put_fields(b, SERVE_EMBED, vocab);
   else {
      put(b, "{");
      put_schema(b, schema ? schema : "\"type\":\"object\"", vocab);
      put(b, "}");
   }
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
      b, ",\"responses\":{\"%s\":{\"description\":\"the answer\",\"content\":{\"%s\":{}%s}}",
      strcmp(handler, "unload") == 0 ? "202" : "200", type,
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

static bool is_same_path(size_t i, size_t k)
{
   return k < countof(routes) && strcmp(routes[i].path, routes[k].path) == 0;
}

/* A method of a path; rows of one path stand together. */
static void put_route(buffer *b, size_t i, uint32_t vocab)
{
   char method[8] = "", path[128];
   const char *star = strchr(routes[i].path, '*');

   for (size_t k = 0; routes[i].method[k] && k + 1 < sizeof method; k++)
      method[k] = (char)(routes[i].method[k] | 32);
   snprintf(path, sizeof path, "%.*s%s", star ? (int)(star - routes[i].path) : 100, routes[i].path,
            star ? "{name}" : "");
   if (!i || !is_same_path(i, i - 1)) {
      quote(b, path);
      put(b, ":{");
   }
   buffer_printf(b, "\"%s\":{\"operationId\":\"%s\",\"summary\":", method, routes[i].handler);
   quote(b, routes[i].what);
   bool asks = strncmp(routes[i].handler, "kernel", 6) == 0;
   if (star || asks)
      put(b, ",\"parameters\":[");
   if (star)
      put(b, "{\"name\":\"name\",\"in\":\"path\",\"required\":true,\"schema\":{"
             "\"type\":\"string\"}}");
   if (asks)
      buffer_printf(
         b,
         "%s{\"name\":\"model\",\"in\":\"query\",\"required\":false,\"description\":\"may "
         "be left out when there is one\",\"schema\":{\"type\":\"string\"}}",
         star ? "," : "");
   if (star || asks)
      put(b, "]");
   if (!routes[i].guarded)
      put(b, ",\"security\":[]");
   if (strcmp(method, "post") == 0)
      put_body(b, routes[i].handler, vocab);
   put_answers(b, routes[i].handler, routes[i].guarded);
   put(b, is_same_path(i, i + 1) ? "}" : "}}");
}

int route_openapi(call *c)
{
   uint32_t vocab = least_vocab(c->server);
   buffer b = {0};

   put(&b,
       "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Sinter\",\"version\":\"1\"},\"x-limits\":");
   bounds_json(&b);
   put(&b,
       ",\"security\":[{"
       "\"key\":[]}],\"components\":{\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":"
       "\"bearer\"}},\"schemas\":{\"Error\":{\"type\":\"object\",\"required\":[\"error\"],"
       "\"properties\":{\"error\":{\"type\":\"object\",\"required\":[\"message\",\"type\","
       "\"code\"],\"properties\":{\"message\":{\"type\":\"string\"},\"type\":{\"type\":"
       "\"string\"},\"param\":{\"type\":[\"string\",\"null\"]},\"code\":{\"type\":\"string\"}}}}}");
   for (size_t i = 0; i < countof(components); i++) {
      buffer_printf(&b, ",\"%s\":{", components[i].name);
      put_schema(&b, components[i].schema, vocab);
      put(&b, "}");
   }
   put(&b, "}},\"paths\":{");
   for (size_t i = 0; i < countof(routes); i++) {
      if (i)
         put(&b, ",");
      put_route(&b, i, vocab);
   }
   put(&b, "}}");
   int ok = http_reply(c, 200, "application/json", &b);
   buffer_free(&b);
   return ok;
}
