/* params.c - from the JSON of a client to an ask, by the table params.def. Nothing is guessed: what
 * has another type or range is refused with the field's name; what is not known is listed for the
 * client. */
#include <float.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "params.h"
#include "pictures.h"
#include "reply.h"
#include "values.h"

/* ---- prompts ---- */

/* Ids of an array of numbers, all below vocab. */
bool prompt_read_ids(const tree *t, const host *h, const char *param, int32_t **out, size_t *count,
                     fault *f)
{
   size_t n = tree_count(t);
   int64_t id;

   *out = malloc((n + 1) * sizeof **out);
   *count = 0;
   if (!*out)
      return fault_set(f, 507, "out_of_memory", param, "memory is exhausted");
   for (const tree *e = tree_first(t); e; e = e->next) {
      if (!value_int(e, &id) || id < 0 || id >= h->session.info.vocab)
         return fault_set(f, 400, "invalid_value", param,
                          "'%s' has something else than token ids below %u", param,
                          h->session.info.vocab);
      (*out)[(*count)++] = (int32_t)id;
   }
   return true;
}

/* Runs a function of the library that fills up to cap ids and says how many there are. */
typedef sinter_status ids_of(const host *h, const void *user, int32_t *ids, size_t cap,
                             size_t *count);

typedef struct plain {
   const char *text;
   size_t len;
} plain;

static sinter_status plain_ids(const host *h, const void *user, int32_t *ids, size_t cap,
                               size_t *count)
{
   const plain *p = user;

   return sinter_tokenize(h->session.artifact, p->text, p->len, 0, ids, cap, count);
}

static sinter_status chat_ids(const host *h, const void *user, int32_t *ids, size_t cap,
                              size_t *count)
{
   return sinter_chat_tokens(h->session.artifact, user, ids, cap, count);
}

static bool encode(const host *h, ids_of *of, const void *user, size_t len, const char *param,
                   prompt *out, fault *f)
{
   size_t cap = len / 2 + 64;
   sinter_status status = SINTER_ok;

   for (int round = 0; round < 2; round++) {
      free(out->ids);
      out->ids = malloc(cap * sizeof *out->ids);
      if (!out->ids)
         return fault_set(f, 507, "out_of_memory", param, "memory is exhausted");
      status = of(h, user, out->ids, cap, &out->count);
      if (status != SINTER_ok || out->count <= cap)
         break;
      cap = out->count;
   }
   /* What the library refuses of a text, or of a template with it, would be refused again. */
   if (status == SINTER_failed || status == SINTER_usage || status == SINTER_bad_input ||
       status == SINTER_exhausted)
      return fault_set(f, 400, "invalid_value", param, "%s", sinter_error());
   return status == SINTER_ok || fault_from_library(f, status, param);
}

const char *prompt_param(const ask *a)
{
   return a->endpoint == SERVE_TEXT ? "prompt" : a->endpoint == SERVE_CHAT ? "messages" : "input";
}

static prompt *add_prompt(ask *a)
{
   a->prompts = realloc(a->prompts, (a->num_prompts + 1) * sizeof *a->prompts);
   if (!a->prompts)
      exit(6);
   a->prompts[a->num_prompts] = (prompt){0};
   return &a->prompts[a->num_prompts++];
}

bool prompt_add_text(ask *a, const char *text, size_t len, const host *h, fault *f)
{
   return encode(h, plain_ids, &(plain){text, len}, len, prompt_param(a), add_prompt(a), f);
}

bool prompt_add_ids(ask *a, const tree *list, const host *h, fault *f)
{
   prompt *p = add_prompt(a);

   return prompt_read_ids(list, h, prompt_param(a), &p->ids, &p->count, f);
}

bool take_prompt(ask *a, const tree *t, const host *h, fault *f)
{
   const tree *first = tree_first(t);
   const char *param = prompt_param(a);
   const size_t most =
      (size_t)(a->endpoint == SERVE_EMBED ? serve_most.embeddings : serve_most.choices);

   if (t->kind == TREE_string)
      return prompt_add_text(a, t->text, t->len, h, f);
   if (t->kind != TREE_array || !first)
      return value_bad(f, param, "a string, an array of token ids, or an array of these");
   if (first->kind == TREE_number)
      return prompt_add_ids(a, t, h, f);
   for (const tree *e = first; e; e = e->next) {
      if (a->num_prompts == most)
         return fault_set(f, 400, "too_many_prompts", param, "at most %zu prompts at once", most);
      if (e->kind != TREE_string && e->kind != TREE_array)
         return value_bad(f, param, "strings or arrays of token ids throughout");
      if (!(e->kind == TREE_string ? prompt_add_text(a, e->text, e->len, h, f)
                                   : prompt_add_ids(a, e, h, f)))
         return false;
   }
   return true;
}

/* Texts are echoed as they were given, with the special tokens that are written in them. */
static void keep_texts(ask *a, const tree *given)
{
   const tree *e = given->kind == TREE_array ? tree_first(given) : given;

   for (size_t i = 0; i < a->num_prompts; i++, e = e->next) {
      if (e->kind == TREE_string)
         buffer_add(&a->prompts[i].text, e->text, e->len);
   }
}

/* What the template gets. */
static sinter_chat_options chat_options(const ask *a)
{
   sinter_chat_options o = SINTER_INIT(sinter_chat_options);

   o.messages = a->messages.data;
   o.tools = a->tools_json.len && a->tool_choice != TOOL_NONE ? a->tools_json.data : NULL;
   o.extra = a->extra.len ? a->extra.data : NULL;
   return o;
}

static bool render(const ask *a, const host *h, buffer *out, fault *f)
{
   sinter_chat_options o = chat_options(a);
   size_t len = 0;

   sinter_status status = sinter_chat_text(h->session.artifact, &o, NULL, 0, &len);
   buffer_reserve(out, len);
   if (status == SINTER_ok)
      status = sinter_chat_text(h->session.artifact, &o, out->data, len, &len);
   out->len = status == SINTER_ok ? len : 0;
   if (status == SINTER_ok)
      return true;
   return status == SINTER_out_of_memory
             ? fault_from_library(f, status, "messages")
             : fault_set(f, 400, "invalid_value", "messages", "%s", sinter_error());
}

/* Whether the prompt leaves the model in the middle of its reasoning. */
static bool opens_thought(const ask *a, const host *h)
{
   static const char mark[] = "<think>";
   buffer text = {0};
   fault ignored;
   bool opens = a->thinks && (!a->rules || a->is_prose) && render(a, h, &text, &ignored);
   size_t len = text.len;

   while (opens && len && (text.data[len - 1] == '\n' || text.data[len - 1] == ' '))
      len--;
   opens = opens && len >= strlen(mark) &&
           memcmp(text.data + len - strlen(mark), mark, strlen(mark)) == 0;
   buffer_free(&text);
   return opens;
}

/* Instructions of /v1/responses come before the chat. */
static void put_instructions(ask *a)
{
   buffer all = {0};

   if (!a->instructions.len)
      return;
   buffer_printf(&all, "[%s%s%s", a->instructions.data, a->messages.len > 2 ? "," : "",
                 a->messages.data + 1);
   buffer_free(&a->messages);
   a->messages = all;
}

bool prompt_add_chat(ask *a, const host *h, fault *f)
{
   const char *param = prompt_param(a);

   if (!a->messages.len)
      return fault_set(f, 400, "missing_parameter", param, "'%s' is missing", param);
   if (!h->session.info.has_chat_template)
      return fault_set(f, 400, "no_chat_template", param,
                       "this model came without a chat template: use /v1/completions");
   put_instructions(a);
   if (!tools_prepare(a, h, f) || !format_compile(a, h, f))
      return false;
   a->opens_thought = opens_thought(a, h);
   sinter_chat_options o = chat_options(a);
   prompt *p = add_prompt(a);
   return encode(h, chat_ids, &o, a->messages.len + a->tools_json.len, param, p, f) &&
          pictures_place(a, h, p, f);
}

bool ask_render(const tree *body, const host *h, buffer *out, fault *f)
{
   ask a = {.endpoint = SERVE_CHAT};
   const tree *messages = tree_get(body, "messages"), *tools = tree_get(body, "tools");
   const tree *extra = tree_get(body, "chat_template_kwargs");

   bool ok = messages ? take_messages(&a, messages, h, f)
                      : fault_set(f, 400, "missing_parameter", "messages", "'messages' is missing");
   ok = ok && (value_is_null(tools) || take_tools(&a, tools, h, f));
   ok = ok && (value_is_null(extra) || take_chat_template_kwargs(&a, extra, h, f));
   ok = ok && render(&a, h, out, f);
   ask_free(&a);
   return ok;
}

/* ---- fields with a shape of their own ---- */

bool take_model(ask *a, const tree *t, const host *h, fault *f)
{
   (void)a, (void)h;
   /* Which host it names was decided by the route. */
   return t->kind == TREE_string || value_bad(f, "model", "a string");
}

bool take_logprobs(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   if (a->endpoint == SERVE_CHAT)
      return value_flag(t, &a->logprobs) || value_bad(f, "logprobs", "true or false");
   a->logprobs = true;
   if (!value_int(t, &a->top_logprobs) || a->top_logprobs < 0 || a->top_logprobs > 20)
      return value_bad(f, "logprobs", "a whole number from 0 to 20");
   return true;
}

bool take_logit_bias(ask *a, const tree *t, const host *h, fault *f)
{
   size_t n = tree_count(t);
   double value;
   char *end;

   if (t->kind != TREE_object || n > (size_t)serve_most.logit_biases)
      return fault_set(f, 400, "invalid_value", "logit_bias",
                       "'logit_bias' must be an object of at most %lld ids",
                       (long long)serve_most.logit_biases);
   a->bias_ids = malloc((n + 1) * sizeof *a->bias_ids);
   a->bias = malloc((n + 1) * sizeof *a->bias);
   if (!a->bias_ids || !a->bias)
      exit(6);
   for (const tree *e = tree_first(t); e; e = e->next) {
      unsigned long long id = strtoull(e->key, &end, 10);

      if (*end || end == e->key || e->key[0] == '-' || id >= h->session.info.vocab ||
          !value_number(e, false, &value) || value < -100 || value > 100)
         return value_bad(f, "logit_bias", "ids of the vocabulary with numbers from -100 to 100");
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

bool take_stop(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   if (t->kind != TREE_array)
      return add_stop(a, t, f);
   for (const tree *e = tree_first(t); e; e = e->next)
      if (!add_stop(a, e, f))
         return false;
   return true;
}

bool take_stop_token_ids(ask *a, const tree *t, const host *h, fault *f)
{
   size_t count = 0;

   if (t->kind != TREE_array || tree_count(t) > (size_t)serve_most.logit_biases)
      return value_bad(f, "stop_token_ids", "an array of at most 1024 token ids");
   bool ok = prompt_read_ids(t, h, "stop_token_ids", &a->stop_ids, &count, f);
   a->num_stop_ids = (uint32_t)count;
   return ok;
}

bool take_stream_options(ask *a, const tree *t, const host *h, fault *f)
{
   const tree *usage = tree_get(t, "include_usage");
   const tree *always = tree_get(t, "continuous_usage_stats");
   bool asked = false;

   (void)h;
   a->has_stream_options = true;
   if (!value_is_null(always) && (!value_flag(always, &asked) || asked))
      return fault_set(f, 400, "unsupported_parameter", "stream_options",
                       "'stream_options' has 'continuous_usage_stats', which is not supported: "
                       "'include_usage' gives the usage at the end");
   if (t->kind != TREE_object || (!value_is_null(usage) && !value_flag(usage, &a->include_usage)))
      return value_bad(f, "stream_options", "an object with include_usage true or false");
   return true;
}

bool take_cache_salt(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   if (t->kind != TREE_string || !t->len || t->len > 256)
      return value_bad(f, "cache_salt", "a string of 1 to 256 bytes");
   a->salt = 14695981039346656037u; /* FNV-1a */
   for (size_t i = 0; i < t->len; i++)
      a->salt = (a->salt ^ (unsigned char)t->text[i]) * 1099511628211u;
   return true;
}

/* ---- the table ---- */

typedef struct param {
   const char *name;
   int on;
   bool (*take)(ask *a, const tree *t, const host *h, fault *f);
} param;

static bool take_num(const tree *t, const char *name, int kind, double least, double most,
                     double *out, fault *f)
{
   if (value_number(t, kind == INT, out) && *out >= least && *out <= most)
      return true;
   return fault_set(f, 400, "invalid_value", name, "'%s' must be a %s from %.16g to %.16g", name,
                    kind == INT ? "whole number" : "number", least, most);
}

/* Nothing but nulls: an empty list, an object that SDKs make of fields nobody set. */
static bool asks_nothing(const tree *t)
{
   const tree *e = tree_first(t);

   while (e && value_is_null(e))
      e = e->next;
   return (t->kind == TREE_array || t->kind == TREE_object) && !e;
}

static bool is_neutral(const tree *t, const char *neutral)
{
   const char *given = t->kind == TREE_object ? tree_string(tree_get(t, "type")) : tree_string(t);
   double number;
   char *end;

   if (t->kind == TREE_array && tree_count(t) == 1)
      given = tree_string(tree_first(t));
   if (!neutral[0])
      return t->kind == TREE_string && !t->len;
   double wanted = strtod(neutral, &end);
   return strcmp(given, neutral) == 0 ||
          (!*end && value_number(t, false, &number) && number == wanted);
}

static bool take_not(const tree *t, const char *name, const char *neutral, fault *f)
{
   if (asks_nothing(t) || is_neutral(t, neutral))
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
#define NUM_INT(to, t, number) (void)(number), (void)value_int(t, &(to))
#define NUM_FLOAT(to, t, number) ((to) = (float)(number))
#define FLAG(name, field, on, what)                                                                \
   static bool flag_##name(ask *a, const tree *t, const host *h, fault *f)                         \
   {                                                                                               \
      (void)h;                                                                                     \
      return value_flag(t, &a->field) || value_bad(f, #name, "true or false");                     \
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

/* Notes an unknown field for the answer's headers, which take ASCII. */
static void ignore(ask *a, const char *name)
{
   size_t from = a->ignored.len;

   if (from >= 512)
      return;
   buffer_printf(&a->ignored, "%s%.64s", from ? "," : "", name);
   for (size_t i = from; i < a->ignored.len; i++) {
      char c = a->ignored.data[i];
      a->ignored.data[i] = c > ' ' && c < 127 ? c : '?';
   }
}

static bool read_fields(ask *a, const tree *body, const host *h, fault *f)
{
   bool seen[countof(params)] = {false};

   for (const tree *e = tree_first(body); e; e = e->next) {
      size_t i = 0;

      while (i < countof(params) &&
             (strcmp(params[i].name, e->key) != 0 || !(params[i].on >> a->endpoint & 1)))
         i++;
      if (i == countof(params)) {
         ignore(a, e->key);
         continue;
      }
      if (seen[i])
         return fault_set(f, 400, "duplicate_parameter", e->key, "'%.60s' is given twice", e->key);
      seen[i] = true;
      if (value_is_null(e))
         continue;
      if (!params[i].take(a, e, h, f))
         return false;
      a->has_seed |= strcmp(e->key, "seed") == 0;
      if (strncmp(e->key, "max_", 4) == 0 && strstr(e->key, "_tokens")) {
         a->has_max_tokens = true;
         a->max_name = params[i].name;
      }
   }
   return true;
}

/* What fields must obey together that have to do with how an answer ends and is given. */
static bool check_answer(const ask *a, size_t longest, const host *h, fault *f)
{
   int64_t room = (int64_t)(h->context - longest);
   int64_t most = a->max_tokens < room ? a->max_tokens : room;

   if (a->min_tokens > most)
      return fault_set(f, 400, "invalid_value", "min_tokens",
                       "'min_tokens' is %lld, but the answer has room for %lld tokens",
                       (long long)a->min_tokens, (long long)most);
   if (a->has_stream_options && !a->stream)
      return fault_set(f, 400, "invalid_value", "stream_options",
                       "'stream_options' needs 'stream' to be true");
   if (a->top_logprobs && !a->logprobs)
      return fault_set(f, 400, "invalid_value", "top_logprobs",
                       "'top_logprobs' needs 'logprobs' to be true");
   if (a->endpoint != SERVE_TEXT && a->endpoint != SERVE_EMBED && !a->max_tokens)
      return value_bad(f, "max_tokens", "at least 1");
   return true;
}

/* What fields together must obey. */
static bool check(ask *a, const host *h, fault *f)
{
   const char *prompt_name = prompt_param(a);
   size_t longest = 0;

   for (size_t i = 0; i < a->num_prompts; i++) {
      if (!a->prompts[i].count)
         return fault_set(f, 400, "invalid_value", prompt_name, "the prompt has no tokens");
      longest = a->prompts[i].count > longest ? a->prompts[i].count : longest;
   }
   if (!a->num_prompts)
      return fault_set(f, 400, "missing_parameter", prompt_name, "'%s' is missing", prompt_name);
   if (a->endpoint != SERVE_EMBED && a->num_prompts * (size_t)a->n > (size_t)serve_most.choices)
      return fault_set(f, 400, "invalid_value", "n", "at most %lld answers in one request",
                       (long long)serve_most.choices);
   if (longest + (a->max_tokens > 0) > h->context ||
       (a->has_max_tokens && longest + (uint64_t)a->max_tokens > h->context))
      return fault_set(
         f, 400, "context_length_exceeded", longest < h->context ? a->max_name : prompt_name,
         "the prompt has %zu tokens and %lld are to follow, but the context has room for %u",
         longest, (long long)(a->has_max_tokens ? a->max_tokens : a->max_tokens > 0), h->context);
   return check_answer(a, longest, h, f);
}

bool ask_read(ask *a, endpoint e, const tree *body, const host *h, fault *f)
{
   *a = (ask){.endpoint = e,
              .sampling = SINTER_SAMPLING_GREEDY,
              .n = 1,
              .parallel = true,
              .max_tokens = e == SERVE_TEXT    ? 16
                            : e == SERVE_EMBED ? 0
                                               : INT32_MAX};
   a->sampling.temperature = 1;
   bool ok = read_fields(a, body, h, f);
   if (ok && e != SERVE_EMBED)
      ok = e == SERVE_TEXT ? format_compile(a, h, f) : prompt_add_chat(a, h, f);
   if (!ok || !check(a, h, f)) {
      ask_free(a);
      return false;
   }
   if (e == SERVE_RESPONSES)
      responses_echo(a, body);
   if (a->echo)
      keep_texts(a, tree_get(body, "prompt"));
   if (a->sampling.top_p <= 0) /* what OpenAI allows: the likeliest only */
      a->sampling.top_p = FLT_MIN;
   a->sampling.top_k = a->top_k > 0 ? (int32_t)a->top_k : 0;
   if (!a->has_seed && getrandom(&a->seed, sizeof a->seed, 0) != sizeof a->seed)
      a->seed = (int64_t)(cli_seconds() * 1e9);
   return true;
}

void ask_free(ask *a)
{
   for (size_t i = 0; i < a->num_prompts; i++) {
      free(a->prompts[i].ids);
      buffer_free(&a->prompts[i].text);
   }
   for (uint32_t i = 0; i < a->num_stops; i++)
      free(a->stops[i]);
   for (uint32_t i = 0; i < a->num_tools; i++)
      buffer_free(&a->tools[i].parameters);
   buffer *const texts[] = {&a->messages, &a->instructions, &a->tools_json, &a->extra,
                            &a->grammar,  &a->ignored,      &a->echoed};
   for (size_t i = 0; i < countof(texts); i++)
      buffer_free(texts[i]);
   sinter_grammar_destroy(a->rules);
   pictures_free(a);
   free(a->tools);
   free(a->chosen);
   free(a->prompts);
   free(a->stop_ids);
   free(a->bias_ids);
   free(a->bias);
   *a = (ask){0};
}
