/* params.c - from the JSON of a client to an ask, by the table params.def. Nothing is guessed: what has another type
 * or range is refused with the field's name; what is not known is listed for the client. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "serve.h"

/* ---- faults ---- */

bool fault_set(fault *f, int http, const char *code, const char *param, const char *fmt, ...)
{
   va_list args;

   f->http = http;
   f->code = code;
   snprintf(f->param, sizeof f->param, "%s", param ? param : "");
   va_start(args, fmt);
   vsnprintf(f->message, sizeof f->message, fmt, args);
   va_end(args);
   return false;
}

bool fault_from_library(fault *f, sinter_status status, const char *param)
{
   static const int http[] = {
#define STATUS(name, exit_code, http, text) http,
      SINTER_STATUS_MAP(STATUS)
#undef STATUS
   };
   return fault_set(f, http[status], sinter_status_name(status), param, "%s", sinter_error());
}

static const char *fault_type(int http)
{
   switch (http) {
   case 401: return "authentication_error";
   case 403: return "permission_error";
   case 404: return "not_found_error";
   case 429: return "rate_limit_error";
   case 503: return "unavailable_error";
   default: return http < 500 ? "invalid_request_error" : "server_error";
   }
}

void fault_json(const fault *f, buffer *out)
{
   buffer_printf(out, "{\"error\":{\"message\":");
   buffer_json_string(out, f->message, strlen(f->message));
   buffer_printf(out, ",\"type\":\"%s\",\"param\":", fault_type(f->http));
   if (f->param[0])
      buffer_json_string(out, f->param, strlen(f->param));
   else
      buffer_printf(out, "null");
   buffer_printf(out, ",\"code\":\"%s\"}}", f->code);
}

static bool bad(fault *f, const char *param, const char *want)
{
   return fault_set(f, 400, "invalid_value", param, "'%s' must be %s", param, want);
}

/* ---- values ---- */

static bool is_null(const tree *t)
{
   return !t || t->kind == TREE_null;
}

static bool read_number(const tree *t, bool whole, double *out)
{
   char *end;

   if (t->kind != TREE_number)
      return false;
   *out = strtod(t->text, &end);
   return !*end && isfinite(*out) && (!whole || *out == floor(*out));
}

/* Exact also where a double is not. */
static bool read_int(const tree *t, int64_t *out)
{
   char *end;
   double number;

   if (!read_number(t, true, &number))
      return false;
   errno = 0;
   *out = strtoll(t->text, &end, 10);
   if (*end) /* 1e3 */
      *out = (int64_t)number;
   return !errno && fabs(number) < 9.3e18;
}

static bool read_flag(const tree *t, bool *out)
{
   *out = t->kind == TREE_bool && t->text[0] == 'y';
   return t->kind == TREE_bool;
}

/* Ids of an array of numbers, all below vocab. */
static bool read_ids(const tree *t, const host *h, const char *param, int32_t **out, size_t *count,
                     fault *f)
{
   size_t n = tree_count(t);
   int64_t id;

   *out = malloc((n + 1) * sizeof **out);
   *count = 0;
   if (!*out)
      return fault_set(f, 507, "out_of_memory", param, "memory is exhausted");
   for (const tree *e = tree_first(t); e; e = e->next) {
      if (!read_int(e, &id) || id < 0 || id >= h->session.info.vocab)
         return fault_set(f, 400, "invalid_value", param,
                          "'%s' has something else than token ids below %u", param,
                          h->session.info.vocab);
      (*out)[(*count)++] = (int32_t)id;
   }
   return true;
}

/* ---- prompts ---- */

/* Runs a function of the library that fills up to cap ids and says how many there are. */
typedef sinter_status ids_of(const host *h, const char *text, size_t len, int32_t *ids, size_t cap,
                             size_t *count);

static sinter_status plain_ids(const host *h, const char *text, size_t len, int32_t *ids,
                               size_t cap, size_t *count)
{
   return sinter_tokenize(h->session.artifact, text, len, 0, ids, cap, count);
}

static sinter_status chat_ids(const host *h, const char *text, size_t len, int32_t *ids, size_t cap,
                              size_t *count)
{
   (void)len;
   return sinter_chat(h->session.artifact, text, ids, cap, count);
}

static bool encode(const host *h, ids_of *of, const char *text, size_t len, const char *param,
                   prompt *out, fault *f)
{
   size_t cap = len / 2 + 64;
   sinter_status status = SINTER_ok;

   for (int round = 0; round < 2; round++) {
      free(out->ids);
      out->ids = malloc(cap * sizeof *out->ids);
      if (!out->ids)
         return fault_set(f, 507, "out_of_memory", param, "memory is exhausted");
      status = of(h, text, len, out->ids, cap, &out->count);
      if (status != SINTER_ok || out->count <= cap)
         break;
      cap = out->count;
   }
   /* What the library refuses of a text is the client's doing. */
   if (status == SINTER_failed || status == SINTER_usage || status == SINTER_bad_input)
      return fault_set(f, 400, "invalid_value", param, "%s", sinter_error());
   return status == SINTER_ok || fault_from_library(f, status, param);
}

static prompt *add_prompt(ask *a)
{
   a->prompts = realloc(a->prompts, (a->num_prompts + 1) * sizeof *a->prompts);
   if (!a->prompts)
      exit(6);
   a->prompts[a->num_prompts] = (prompt){0};
   return &a->prompts[a->num_prompts++];
}

static bool add_text(ask *a, const tree *t, const host *h, fault *f)
{
   return encode(h, plain_ids, t->text, t->len, "prompt", add_prompt(a), f);
}

static bool add_ids(ask *a, const tree *t, const host *h, fault *f)
{
   prompt *p = add_prompt(a);

   return read_ids(t, h, "prompt", &p->ids, &p->count, f);
}

static bool take_prompt(ask *a, const tree *t, const host *h, fault *f)
{
   const tree *first = tree_first(t);

   if (t->kind == TREE_string)
      return add_text(a, t, h, f);
   if (t->kind != TREE_array || !first)
      return bad(f, "prompt", "a string, an array of token ids, or an array of these");
   if (first->kind == TREE_number)
      return add_ids(a, t, h, f);
   for (const tree *e = first; e; e = e->next) {
      if (a->num_prompts == SERVE_MAX_CHOICES)
         return fault_set(f, 400, "too_many_prompts", "prompt", "at most %d prompts at once",
                          SERVE_MAX_CHOICES);
      if (e->kind != TREE_string && e->kind != TREE_array)
         return bad(f, "prompt", "strings or arrays of token ids throughout");
      if (!(e->kind == TREE_string ? add_text(a, e, h, f) : add_ids(a, e, h, f)))
         return false;
   }
   return true;
}

/* Text of a message: a string, or parts of type text, joined. */
static bool message_text(const tree *content, buffer *out, fault *f)
{
   if (content->kind == TREE_string) {
      buffer_add(out, content->text, content->len);
      return true;
   }
   if (content->kind != TREE_array)
      return bad(f, "messages", "messages whose content is a string or parts of type text");
   for (const tree *part = tree_first(content); part; part = part->next) {
      const tree *text = tree_get(part, "text");

      if (strcmp(tree_string(tree_get(part, "type")), "text") != 0 || !text ||
          text->kind != TREE_string)
         return fault_set(f, 400, "unsupported_content", "messages",
                          "this model reads parts of type text only");
      buffer_add(out, text->text, text->len);
   }
   return true;
}

static bool add_message(const tree *m, buffer *json, fault *f)
{
   static const char *const roles[] = {"system", "developer", "user", "assistant"};
   const char *role = tree_string(tree_get(m, "role"));
   const tree *content = tree_get(m, "content");
   buffer text = {0};
   size_t i = 0;

   while (i < countof(roles) && strcmp(roles[i], role) != 0)
      i++;
   if (m->kind != TREE_object || i == countof(roles))
      return bad(f, "messages", "objects whose role is system, developer, user or assistant");
   if (!is_null(tree_get(m, "tool_calls")))
      return fault_set(f, 400, "unsupported_parameter", "messages",
                       "tool calls are not supported by this server");
   if (is_null(content) && strcmp(role, "assistant") != 0)
      return bad(f, "messages", "messages with a content");
   bool ok = is_null(content) || message_text(content, &text, f);
   if (ok) {
      buffer_printf(json, "%s{\"role\":\"%s\",\"content\":", json->len > 1 ? "," : "",
                    i == 1 ? "system" : role);
      buffer_json_string(json, text.data ? text.data : "", text.len);
      buffer_add(json, "}", 1);
   }
   buffer_free(&text);
   return ok;
}

static bool take_messages(ask *a, const tree *t, const host *h, fault *f)
{
   buffer json = {0};
   bool ok = true;

   if (t->kind != TREE_array || !tree_first(t))
      return bad(f, "messages", "an array with at least one message");
   if (tree_count(t) > SERVE_MAX_MESSAGES)
      return fault_set(f, 400, "too_many_messages", "messages", "at most %d messages",
                       SERVE_MAX_MESSAGES);
   if (!h->session.info.has_chat_template)
      return fault_set(f, 400, "no_chat_template", "messages",
                       "this model came without a chat template: use /v1/completions");
   buffer_add(&json, "[", 1);
   for (const tree *m = tree_first(t); m && ok; m = m->next)
      ok = add_message(m, &json, f);
   buffer_add(&json, "]", 1);
   ok = ok && encode(h, chat_ids, json.data, json.len, "messages", add_prompt(a), f);
   buffer_free(&json);
   return ok;
}

/* ---- fields with a shape of their own ---- */

static bool take_model(ask *a, const tree *t, const host *h, fault *f)
{
   (void)a, (void)h;
   /* Which host it names was decided by the route. */
   return t->kind == TREE_string || bad(f, "model", "a string");
}

static bool take_logprobs(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   if (a->endpoint == SERVE_CHAT)
      return read_flag(t, &a->logprobs) || bad(f, "logprobs", "true or false");
   a->logprobs = true;
   if (!read_int(t, &a->top_logprobs) || a->top_logprobs < 0 || a->top_logprobs > 20)
      return bad(f, "logprobs", "a whole number from 0 to 20");
   return true;
}

static bool take_logit_bias(ask *a, const tree *t, const host *h, fault *f)
{
   size_t n = tree_count(t);
   double value;
   char *end;

   if (t->kind != TREE_object || n > SERVE_MAX_BIAS)
      return fault_set(f, 400, "invalid_value", "logit_bias",
                       "'logit_bias' must be an object of at most %d ids", SERVE_MAX_BIAS);
   a->bias_ids = malloc((n + 1) * sizeof *a->bias_ids);
   a->bias = malloc((n + 1) * sizeof *a->bias);
   if (!a->bias_ids || !a->bias)
      exit(6);
   for (const tree *e = tree_first(t); e; e = e->next) {
      unsigned long long id = strtoull(e->key, &end, 10);

      if (*end || end == e->key || e->key[0] == '-' || id >= h->session.info.vocab ||
          !read_number(e, false, &value) || value < -100 || value > 100)
         return bad(f, "logit_bias", "ids of the vocabulary with numbers from -100 to 100");
      a->bias_ids[a->sampling.num_bias] = (int32_t)id;
      a->bias[a->sampling.num_bias++] = (float)value;
   }
   a->sampling.bias_ids = a->bias_ids;
   a->sampling.bias = a->bias;
   return true;
}

static bool add_stop(ask *a, const tree *t, fault *f)
{
   if (t->kind != TREE_string || !t->len || t->len > SERVE_MAX_STOP_BYTES ||
       a->num_stops == SERVE_MAX_STOPS)
      return fault_set(f, 400, "invalid_value", "stop",
                       "'stop' must be at most %d strings of 1 to %d bytes", SERVE_MAX_STOPS,
                       SERVE_MAX_STOP_BYTES);
   char *copy = malloc(t->len + 1);
   if (!copy)
      exit(6);
   memcpy(copy, t->text, t->len + 1);
   a->stops[a->num_stops] = copy;
   a->stop_len[a->num_stops++] = t->len;
   return true;
}

static bool take_stop(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   if (t->kind != TREE_array)
      return add_stop(a, t, f);
   for (const tree *e = tree_first(t); e; e = e->next)
      if (!add_stop(a, e, f))
         return false;
   return true;
}

static bool take_stop_token_ids(ask *a, const tree *t, const host *h, fault *f)
{
   size_t count = 0;

   if (t->kind != TREE_array || tree_count(t) > SERVE_MAX_BIAS)
      return bad(f, "stop_token_ids", "an array of at most 1024 token ids");
   bool ok = read_ids(t, h, "stop_token_ids", &a->stop_ids, &count, f);
   a->num_stop_ids = (uint32_t)count;
   return ok;
}

static bool take_stream_options(ask *a, const tree *t, const host *h, fault *f)
{
   const tree *usage = tree_get(t, "include_usage");

   (void)h;
   if (t->kind != TREE_object || (!is_null(usage) && !read_flag(usage, &a->include_usage)))
      return bad(f, "stream_options", "an object with include_usage true or false");
   return true;
}

static bool take_cache_salt(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   if (t->kind != TREE_string || !t->len || t->len > 256)
      return bad(f, "cache_salt", "a string of 1 to 256 bytes");
   a->salt = 14695981039346656037u; /* FNV-1a */
   for (size_t i = 0; i < t->len; i++)
      a->salt = (a->salt ^ (unsigned char)t->text[i]) * 1099511628211u;
   return true;
}

/* ---- the table ---- */

enum { INT, FLOAT };
enum { CHAT = 1 << SERVE_CHAT, TEXT = 1 << SERVE_TEXT, BOTH = CHAT | TEXT };

typedef struct param {
   const char *name;
   int on;
   bool (*take)(ask *a, const tree *t, const host *h, fault *f);
} param;

static bool take_num(const tree *t, const char *name, int kind, double least, double most,
                     double *out, fault *f)
{
   if (read_number(t, kind == INT, out) && *out >= least && *out <= most)
      return true;
   return fault_set(f, 400, "invalid_value", name, "'%s' must be a %s from %.16g to %.16g", name,
                    kind == INT ? "whole number" : "number", least, most);
}

static bool take_not(const tree *t, const char *name, const char *neutral, fault *f)
{
   const char *given = t->kind == TREE_object ? tree_string(tree_get(t, "type")) : tree_string(t);

   /* A list or object without members asks for nothing. */
   if ((t->kind == TREE_array || t->kind == TREE_object) && !tree_first(t))
      return true;
   if (t->kind == TREE_array && tree_count(t) == 1)
      given = tree_string(tree_first(t));
   if (neutral[0] ? strcmp(given, neutral) == 0 : t->kind == TREE_string && !t->len)
      return true;
   return fault_set(f, 400, "unsupported_parameter", name, "'%s' is not supported by this server",
                    name);
}

#define NUM(name, kind, least, most, field, on, what)                                              \
   static bool num_##name(ask *a, const tree *t, const host *h, fault *f)                          \
   {                                                                                               \
      double number;                                                                               \
                                                                                                   \
      (void)h;                                                                                     \
      if (!take_num(t, #name, kind, least, most, &number, f))                                      \
         return false;                                                                             \
      NUM_##kind(a->field, t, number);                                                             \
      return true;                                                                                 \
   }
#define NUM_INT(to, t, number) (void)(number), (void)read_int(t, &(to))
#define NUM_FLOAT(to, t, number) ((to) = (float)(number))
#define FLAG(name, field, on, what)                                                                \
   static bool flag_##name(ask *a, const tree *t, const host *h, fault *f)                         \
   {                                                                                               \
      (void)h;                                                                                     \
      return read_flag(t, &a->field) || bad(f, #name, "true or false");                            \
   }
#define OWN(name, on, what)
#define SKIP(name, on)                                                                             \
   static bool skip_##name(ask *a, const tree *t, const host *h, fault *f)                         \
   {                                                                                               \
      (void)a, (void)t, (void)h, (void)f;                                                          \
      return true;                                                                                 \
   }
#define NOT(name, neutral, on)                                                                     \
   static bool not_##name(ask *a, const tree *t, const host *h, fault *f)                          \
   {                                                                                               \
      (void)a, (void)h;                                                                            \
      return take_not(t, #name, neutral, f);                                                       \
   }
#include "params.def"
#undef NUM
#undef FLAG
#undef OWN
#undef SKIP
#undef NOT

static const param params[] = {
#define NUM(name, kind, least, most, field, on, what) {#name, on, num_##name},
#define FLAG(name, field, on, what) {#name, on, flag_##name},
#define OWN(name, on, what) {#name, on, take_##name},
#define SKIP(name, on) {#name, on, skip_##name},
#define NOT(name, neutral, on) {#name, on, not_##name},
#include "params.def"
};

static bool read_fields(ask *a, const tree *body, const host *h, fault *f)
{
   bool seen[countof(params)] = {false};

   for (const tree *e = tree_first(body); e; e = e->next) {
      size_t i = 0;

      while (i < countof(params) &&
             (strcmp(params[i].name, e->key) != 0 || !(params[i].on >> a->endpoint & 1)))
         i++;
      if (i == countof(params)) {
         if (a->ignored.len < 512)
            buffer_printf(&a->ignored, "%s%.64s", a->ignored.len ? "," : "", e->key);
         continue;
      }
      if (seen[i])
         return fault_set(f, 400, "duplicate_parameter", e->key, "'%.60s' is given twice", e->key);
      seen[i] = true;
      if (is_null(e))
         continue;
      if (!params[i].take(a, e, h, f))
         return false;
      a->has_seed |= strcmp(e->key, "seed") == 0;
      a->has_max_tokens |= strncmp(e->key, "max_", 4) == 0;
   }
   return true;
}

/* What fields together must obey. */
static bool check(ask *a, const host *h, fault *f)
{
   size_t longest = 0;

   for (size_t i = 0; i < a->num_prompts; i++) {
      if (!a->prompts[i].count)
         return fault_set(f, 400, "invalid_value",
                          a->endpoint == SERVE_CHAT ? "messages" : "prompt",
                          "the prompt has no tokens");
      longest = a->prompts[i].count > longest ? a->prompts[i].count : longest;
   }
   if (!a->num_prompts)
      return fault_set(f, 400, "missing_parameter",
                       a->endpoint == SERVE_CHAT ? "messages" : "prompt", "'%s' is missing",
                       a->endpoint == SERVE_CHAT ? "messages" : "prompt");
   if (a->num_prompts * (size_t)a->n > SERVE_MAX_CHOICES)
      return fault_set(f, 400, "invalid_value", "n", "at most %d answers in one request",
                       SERVE_MAX_CHOICES);
   if (longest + (a->max_tokens > 0) > h->context ||
       (a->has_max_tokens && longest + (uint64_t)a->max_tokens > h->context))
      return fault_set(
         f, 400, "context_length_exceeded", a->endpoint == SERVE_CHAT ? "messages" : "prompt",
         "the prompt has %zu tokens and %lld are to follow, but the context has room for %u",
         longest, (long long)(a->has_max_tokens ? a->max_tokens : 1), h->context);
   if (a->top_logprobs && !a->logprobs)
      return fault_set(f, 400, "invalid_value", "top_logprobs",
                       "'top_logprobs' needs 'logprobs' to be true");
   if (a->echo && a->stream)
      return fault_set(f, 400, "unsupported_parameter", "echo",
                       "'echo' is not supported together with 'stream'");
   if (a->endpoint == SERVE_CHAT && !a->max_tokens)
      return bad(f, "max_tokens", "at least 1");
   return true;
}

bool ask_read(ask *a, endpoint e, const tree *body, const host *h, fault *f)
{
   *a = (ask){.endpoint = e,
              .sampling = SINTER_SAMPLING_GREEDY,
              .n = 1,
              .max_tokens = e == SERVE_CHAT ? INT32_MAX : 16};
   a->sampling.temperature = 1;
   if (!read_fields(a, body, h, f) || !check(a, h, f)) {
      ask_free(a);
      return false;
   }
   a->sampling.top_k = a->top_k > 0 ? (int32_t)a->top_k : 0;
   if (!a->has_seed && getrandom(&a->seed, sizeof a->seed, 0) != sizeof a->seed)
      a->seed = (int64_t)(cli_seconds() * 1e9);
   return true;
}

void ask_free(ask *a)
{
   for (size_t i = 0; i < a->num_prompts; i++)
      free(a->prompts[i].ids);
   for (uint32_t i = 0; i < a->num_stops; i++)
      free(a->stops[i]);
   free(a->prompts);
   free(a->stop_ids);
   free(a->bias_ids);
   free(a->bias);
   buffer_free(&a->ignored);
   *a = (ask){0};
}
