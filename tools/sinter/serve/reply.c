/* reply.c - answers in OpenAI's forms: chunks of a stream, whole answers, log probabilities.
 *
 *    chat  {"object":"chat.completion[.chunk]","choices":[{"index","message"|"delta","logprobs","finish_reason"}]}
 *    text  {"object":"text_completion","choices":[{"index","text","logprobs","finish_reason"}]} */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "reply.h"
#include "split.h"

/* ---- small parts ---- */

static void add(buffer *b, const char *text)
{
   buffer_add(b, text, strlen(text));
}

static void add_text(buffer *b, const char *text, size_t len)
{
   buffer_json_string(b, text ? text : "", len);
}

static void head(const job *j, buffer *b, bool chunk)
{
   const char *object = j->ask.endpoint == SERVE_TEXT ? "text_completion"
                        : chunk                       ? "chat.completion.chunk"
                                                      : "chat.completion";

   buffer_printf(b, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", j->id, object,
                 (long long)j->created);
   add_text(b, j->host->name, strlen(j->host->name));
   buffer_printf(b, ",\"system_fingerprint\":\"%.16s\",\"choices\":[", j->digest);
}

static void usage(const job *j, buffer *b)
{
   uint64_t asked = job_prompt_tokens(j), generated = job_generated(j);

   buffer_printf(
      b,
      "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
      "\"prompt_tokens_details\":{\"cached_tokens\":%u},"
      "\"completion_tokens_details\":{\"reasoning_tokens\":%llu}}",
      (unsigned long long)asked, (unsigned long long)generated,
      (unsigned long long)(asked + generated), j->cached_tokens,
      (unsigned long long)job_reasoning(j));
}

static double per_second(uint64_t n, double ms)
{
   return ms > 0 ? (double)n * 1e3 / ms : 0;
}

static void timings(const job *j, buffer *b)
{
   uint64_t asked = job_prompt_tokens(j), generated = job_generated(j);
   uint64_t computed = asked > j->cached_tokens ? asked - j->cached_tokens : 0;
   /* the first tokens come with the prompt */
   uint64_t steps = generated > j->num_choices ? generated - j->num_choices : 0;
   double total = (cli_seconds() - j->started) * 1e3;
   double first = j->first > 0 ? (j->first - j->started) * 1e3 : 0;
   double later = j->first > 0 ? total - first : 0;

   buffer_printf(b, "\"timings\":{\"first_token_ms\":%.3f,\"total_ms\":%.3f,\"cache_n\":%u", first,
                 total, j->cached_tokens);
   buffer_printf(b, ",\"prompt_n\":%llu,\"prompt_ms\":%.3f,\"prompt_per_second\":%.3f",
                 (unsigned long long)computed, first, per_second(computed, first));
   buffer_printf(b, ",\"predicted_n\":%llu,\"predicted_ms\":%.3f,\"predicted_per_second\":%.3f}",
                 (unsigned long long)generated, later, per_second(steps, later));
}

static void finish_reason(const choice *c, buffer *b)
{
   bool calls = c->num_calls && c->finish && strcmp(c->finish, "stop") == 0;

   if (c->finish)
      buffer_printf(b, ",\"finish_reason\":\"%s\"}", calls ? "tool_calls" : c->finish);
   else
      add(b, ",\"finish_reason\":null}");
}

/* ---- log probabilities ---- */

/* A token where it stands: its bytes in the text, or the name of a special one, in no text. */
typedef struct piece {
   char bytes[256];
   size_t len;
   bool special;
} piece;

static piece piece_of(const choice *c, int32_t id)
{
   const sinter_artifact *artifact = c->job->host->session.artifact;
   sinter_status status;
   piece p;

   status = sinter_token_bytes(artifact, id, p.bytes, sizeof p.bytes, &p.len, &p.special);
   /* The begin of a text may lose a space. */
   if (status == SINTER_ok && !c->begun && !p.special && tree_is_utf8(p.bytes, p.len))
      status = sinter_detokenize(artifact, &id, 1, p.bytes, sizeof p.bytes, &p.len);
   p.len = status != SINTER_ok ? 0 : p.len < sizeof p.bytes ? p.len : sizeof p.bytes;
   return p;
}

/* Half a character has no text of its own: a client puts characters together from the bytes. */
static void add_piece(buffer *b, const piece *p)
{
   if (tree_is_utf8(p->bytes, p->len))
      add_text(b, p->bytes, p->len);
   else
      add(b, "\"\xef\xbf\xbd\"");
}

/* Moves the offset past a token. Of special ones only those count that a prompt's text has. */
static void pass(choice *c, const piece *p)
{
   const buffer *given = &c->prompt->text;
   bool is_next = given->len && p->len <= given->len - c->passed &&
                  memcmp(given->data + c->passed, p->bytes, p->len) == 0;

   c->begun |= !p->special;
   if (is_next)
      c->passed += p->len;
   for (size_t i = 0; i < p->len && (is_next || !p->special); i++)
      c->offset += ((unsigned char)p->bytes[i] & 0xc0) != 0x80;
}

static void number(buffer *b, float v)
{
   if (isfinite(v))
      buffer_printf(b, "%.7g", (double)v);
   else
      add(b, "-9999.0");
}

static void chat_entry(buffer *b, const piece *p, float logprob)
{
   add(b, "{\"token\":");
   add_piece(b, p);
   add(b, ",\"logprob\":");
   number(b, logprob);
   add(b, ",\"bytes\":[");
   for (size_t i = 0; i < p->len; i++)
      buffer_printf(b, "%s%u", i ? "," : "", (unsigned char)p->bytes[i]);
   add(b, "]");
}

static void chat_token(choice *c, const piece *p, float logprob, uint32_t num_top,
                       const int32_t *ids, const float *probs)
{
   if (c->probs.len)
      add(&c->probs, ",");
   chat_entry(&c->probs, p, logprob);
   add(&c->probs, ",\"top_logprobs\":[");
   for (uint32_t i = 0; i < num_top; i++) {
      if (i)
         add(&c->probs, ",");
      const piece top = piece_of(c, ids[i]);
      chat_entry(&c->probs, &top, probs[i]);
      add(&c->probs, "}");
   }
   add(&c->probs, "]}");
}

/* A token of a completion, which has no list of bytes: half a character is told as OpenAI does. */
static void add_name(buffer *b, const piece *p)
{
   if (tree_is_utf8(p->bytes, p->len)) {
      add_text(b, p->bytes, p->len);
      return;
   }
   add(b, "\"bytes:");
   for (size_t i = 0; i < p->len; i++)
      buffer_printf(b, "\\\\x%02x", (unsigned char)p->bytes[i]);
   add(b, "\"");
}

static bool is_alike(const piece *p, const piece *q)
{
   return p->len == q->len && memcmp(p->bytes, q->bytes, p->len) == 0;
}

static void top_entry(choice *c, const piece *p, float prob, const char *comma)
{
   add(&c->tops, comma);
   add_name(&c->tops, p);
   add(&c->tops, ":");
   number(&c->tops, prob);
}

/* The token itself is among the likeliest in any case, as OpenAI has it: so many of them, and one
 * more. Of several that are spelled alike it is the one that is shown, else the likeliest. */
static void top_entries(choice *c, int32_t id, const piece *p, float logprob, uint32_t num_top,
                        const int32_t *ids, const float *probs)
{
   piece shown[20];
   uint32_t n = 0;
   bool is_among = false;

   for (uint32_t i = 0; i < num_top; i++) {
      shown[n] = piece_of(c, ids[i]);
      is_among |= ids[i] == id;
      bool again = ids[i] != id && is_alike(&shown[n], p);
      for (uint32_t k = 0; k < n && !again; k++)
         again = is_alike(&shown[n], &shown[k]);
      if (!again)
         top_entry(c, &shown[n], probs[i], n ? "," : "");
      n += !again;
   }
   if (!is_among)
      top_entry(c, p, logprob, n ? "," : "");
}

static void text_token(choice *c, int32_t id, const piece *p, float logprob, uint32_t num_top,
                       const int32_t *ids, const float *probs)
{
   const char *comma = c->tokens.len ? "," : "";

   add(&c->tokens, comma);
   add_name(&c->tokens, p);
   add(&c->token_probs, comma);
   add(&c->tops, comma);
   buffer_printf(&c->offsets, "%s%zu", comma, c->offset);
   if (isnan(logprob)) { /* the first token of an echoed prompt has none */
      add(&c->token_probs, "null");
      add(&c->tops, "null");
      return;
   }
   number(&c->token_probs, logprob);
   add(&c->tops, "{");
   top_entries(c, id, p, logprob, num_top, ids, probs);
   add(&c->tops, "}");
}

void reply_token(choice *c, int32_t id, float logprob, uint32_t num_top, const int32_t *top_ids,
                 const float *top_logprobs)
{
   const piece p = piece_of(c, id);

   if (c->job->ask.endpoint == SERVE_CHAT)
      chat_token(c, &p, logprob, num_top, top_ids, top_logprobs);
   else
      text_token(c, id, &p, logprob, num_top, top_ids, top_logprobs);
   pass(c, &p);
}

static void take(buffer *to, buffer *from)
{
   buffer_add(to, from->data ? from->data : "", from->len);
   from->len = 0;
}

/* What has been collected since the last time. */
static void logprobs(choice *c, buffer *b)
{
   if (!c->job->ask.logprobs) {
      add(b, ",\"logprobs\":null");
      return;
   }
   if (c->job->ask.endpoint == SERVE_CHAT) {
      add(b, ",\"logprobs\":{\"content\":[");
      take(b, &c->probs);
      add(b, "],\"refusal\":null}");
      return;
   }
   add(b, ",\"logprobs\":{\"tokens\":[");
   take(b, &c->tokens);
   add(b, "],\"token_logprobs\":[");
   take(b, &c->token_probs);
   add(b, "],\"top_logprobs\":[");
   take(b, &c->tops);
   add(b, "],\"text_offset\":[");
   take(b, &c->offsets);
   add(b, "]}");
}

/* ---- streams ---- */

static void open_chunk(job *j)
{
   add(&j->out, "data: ");
   head(j, &j->out, true);
}

static void close_chunk(job *j)
{
   add(&j->out, "]");
   if (j->ask.include_usage)
      add(&j->out, ",\"usage\":null");
   add(&j->out, "}\n\n");
}

static void role_chunk(choice *c)
{
   job *j = c->job;

   c->has_role = true;
   if (j->ask.endpoint == SERVE_TEXT)
      return;
   open_chunk(j);
   buffer_printf(
      &j->out,
      "{\"index\":%u,\"delta\":{\"role\":\"assistant\",\"content\":null},\"logprobs\":null,"
      "\"finish_reason\":null}",
      c->index);
   close_chunk(j);
}

/* Calls as a client adds them up; fresh: only what it does not know yet. */
static void tool_calls(choice *c, buffer *b, bool fresh)
{
   const char *comma = "";

   add(b, "\"tool_calls\":[");
   for (uint32_t i = 0; i < c->num_calls; i++) {
      tool_call *t = &c->calls[i];
      bool head = !fresh || !t->named;

      if (fresh && t->named && t->given == t->arguments.len)
         continue;
      add(b, comma);
      add(b, "{");
      if (fresh)
         buffer_printf(b, "\"index\":%u,", i);
      if (head)
         buffer_printf(b, "\"id\":\"%s\",\"type\":\"function\",", t->id);
      add(b, "\"function\":{");
      if (head)
         buffer_printf(b, "\"name\":\"%s\",", t->name);
      add(b, "\"arguments\":");
      size_t from = fresh ? t->given : 0;
      add_text(b, t->arguments.data ? t->arguments.data + from : "", t->arguments.len - from);
      add(b, "}}");
      t->named = true;
      t->given = t->arguments.len;
      comma = ",";
   }
   add(b, "]");
}

static bool has_fresh_call(const choice *c)
{
   const tool_call *last = c->num_calls ? &c->calls[c->num_calls - 1] : NULL;

   return last && (!last->named || last->given < last->arguments.len);
}

static void delta(choice *c, buffer *b)
{
   const char *comma = "";

   add(b, "\"delta\":{");
   if (c->reasoning.len > c->reasoning_given) {
      add(b, "\"reasoning_content\":");
      add_text(b, c->reasoning.data + c->reasoning_given, c->reasoning.len - c->reasoning_given);
      c->reasoning_given = c->reasoning.len;
      comma = ",";
   }
   if (c->content.len > c->given) {
      add(b, comma);
      add(b, "\"content\":");
      add_text(b, c->content.data + c->given, c->content.len - c->given);
      c->given = c->content.len;
      comma = ",";
   }
   if (has_fresh_call(c)) {
      add(b, comma);
      tool_calls(c, b, true);
   }
   add(b, "}");
}

void reply_stream(job *j, choice *c)
{
   bool chat = j->ask.endpoint == SERVE_CHAT, has_probs = c->probs.len || c->tokens.len;

   if (j->ask.endpoint == SERVE_RESPONSES) {
      responses_stream(j, c);
      return;
   }
   if (!c->has_role)
      role_chunk(c);
   if (chat)
      split_text(c);
   size_t fresh =
      chat ? c->content.len - c->given + c->reasoning.len - c->reasoning_given + has_fresh_call(c)
           : c->text.len - c->given;
   if (!fresh && !has_probs && !c->finish)
      return;
   open_chunk(j);
   buffer_printf(&j->out, "{\"index\":%u,", c->index);
   if (chat) {
      delta(c, &j->out);
   } else {
      add(&j->out, "\"text\":");
      add_text(&j->out, c->text.data ? c->text.data + c->given : "", fresh);
      c->given = c->text.len;
   }
   logprobs(c, &j->out);
   finish_reason(c, &j->out);
   close_chunk(j);
}

void reply_stream_end(job *j)
{
   if (j->ask.endpoint == SERVE_RESPONSES) {
      responses_stream_end(j);
      return;
   }
   if (j->fault.http) {
      add(&j->out, "data: ");
      fault_json(&j->fault, &j->out);
      add(&j->out, "\n\n");
   } else if (j->ask.include_usage) {
      open_chunk(j);
      add(&j->out, "],");
      usage(j, &j->out);
      add(&j->out, ",");
      timings(j, &j->out);
      add(&j->out, "}\n\n");
   }
   add(&j->out, "data: [DONE]\n\n");
}

/* ---- whole answers ---- */

static void message(choice *c, buffer *b)
{
   split_text(c);
   add(b, "\"message\":{\"role\":\"assistant\",\"content\":");
   if (c->num_calls && !c->content.len)
      add(b, "null");
   else
      add_text(b, c->content.data, c->content.len);
   if (c->reasoning.len) {
      add(b, ",\"reasoning_content\":");
      add_text(b, c->reasoning.data, c->reasoning.len);
   }
   if (c->num_calls) {
      add(b, ",");
      tool_calls(c, b, false);
   }
   add(b, ",\"refusal\":null}");
}

static void whole_choice(choice *c, buffer *b)
{
   buffer_printf(b, "{\"index\":%u,", c->index);
   if (c->job->ask.endpoint == SERVE_CHAT) {
      message(c, b);
   } else {
      add(b, "\"text\":");
      add_text(b, c->text.data, c->text.len);
   }
   logprobs(c, b);
   finish_reason(c, b);
}

void reply_whole(job *j, buffer *out)
{
   if (j->ask.endpoint == SERVE_RESPONSES) {
      responses_whole(j, out);
      return;
   }
   if (j->ask.endpoint == SERVE_EMBED) {
      embed_whole(j, out);
      return;
   }
   head(j, out, false);
   for (uint32_t i = 0; i < j->num_choices; i++) {
      if (i)
         add(out, ",");
      whole_choice(&j->choices[i], out);
   }
   add(out, "],");
   usage(j, out);
   add(out, ",");
   timings(j, out);
   add(out, "}");
}
