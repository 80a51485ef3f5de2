/* reply.c - answers in OpenAI's forms: chunks of a stream, whole answers, log probabilities.
 *
 *    chat  {"object":"chat.completion[.chunk]","choices":[{"index","message"|"delta","logprobs","finish_reason"}]}
 *    text  {"object":"text_completion","choices":[{"index","text","logprobs","finish_reason"}]} */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

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
   buffer_printf(b, ",\"system_fingerprint\":\"%.16s\",\"choices\":[", j->host->digest);
}

static void usage(const job *j, buffer *b)
{
   uint64_t asked = 0, generated = 0;

   for (size_t i = 0; i < j->ask.num_prompts; i++)
      asked += j->ask.prompts[i].count;
   for (uint32_t i = 0; i < j->num_choices; i++)
      generated += j->choices[i].num_tokens;
   buffer_printf(
      b,
      "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
      "\"prompt_tokens_details\":{\"cached_tokens\":%u}}",
      (unsigned long long)asked, (unsigned long long)generated,
      (unsigned long long)(asked + generated), j->cached_tokens);
}

static void timings(const job *j, buffer *b)
{
   buffer_printf(b, "\"timings\":{\"first_token_ms\":%.3f,\"total_ms\":%.3f}",
                 j->first > 0 ? (j->first - j->started) * 1e3 : 0,
                 (cli_seconds() - j->started) * 1e3);
}

static void finish_reason(const choice *c, buffer *b)
{
   if (c->finish)
      buffer_printf(b, ",\"finish_reason\":\"%s\"}", c->finish);
   else
      add(b, ",\"finish_reason\":null}");
}

/* ---- log probabilities ---- */

/* Text of one token, special ones too are as the vocabulary decodes them. */
static size_t token_text(const choice *c, int32_t id, char *text, size_t cap)
{
   size_t len = 0;

   if (sinter_detokenize(c->job->host->session.artifact, &id, 1, text, cap, &len) != SINTER_ok)
      return 0;
   return len < cap ? len : cap;
}

static void number(buffer *b, float v)
{
   if (isfinite(v))
      buffer_printf(b, "%.7g", (double)v);
   else
      add(b, "-9999.0");
}

static void chat_entry(const choice *c, buffer *b, int32_t id, float logprob)
{
   char text[256];
   size_t len = token_text(c, id, text, sizeof text);

   add(b, "{\"token\":");
   add_text(b, text, len);
   add(b, ",\"logprob\":");
   number(b, logprob);
   add(b, ",\"bytes\":[");
   for (size_t i = 0; i < len; i++)
      buffer_printf(b, "%s%u", i ? "," : "", (unsigned char)text[i]);
   add(b, "]");
}

static void chat_token(choice *c, int32_t id, float logprob, uint32_t num_top, const int32_t *ids,
                       const float *probs)
{
   if (c->probs.len)
      add(&c->probs, ",");
   chat_entry(c, &c->probs, id, logprob);
   add(&c->probs, ",\"top_logprobs\":[");
   for (uint32_t i = 0; i < num_top; i++) {
      if (i)
         add(&c->probs, ",");
      chat_entry(c, &c->probs, ids[i], probs[i]);
      add(&c->probs, "}");
   }
   add(&c->probs, "]}");
}

static void text_token(choice *c, int32_t id, float logprob, uint32_t num_top, const int32_t *ids,
                       const float *probs)
{
   const char *comma = c->tokens.len ? "," : "";
   char text[256];
   size_t len = token_text(c, id, text, sizeof text);

   add(&c->tokens, comma);
   add_text(&c->tokens, text, len);
   add(&c->token_probs, comma);
   add(&c->tops, comma);
   buffer_printf(&c->offsets, "%s%zu", comma, c->offset);
   for (size_t i = 0; i < len; i++)
      c->offset += ((unsigned char)text[i] & 0xc0) != 0x80;
   if (isnan(logprob)) { /* the first token of an echoed prompt has none */
      add(&c->token_probs, "null");
      add(&c->tops, "null");
      return;
   }
   number(&c->token_probs, logprob);
   add(&c->tops, "{");
   for (uint32_t i = 0; i < num_top; i++) {
      if (i)
         add(&c->tops, ",");
      len = token_text(c, ids[i], text, sizeof text);
      add_text(&c->tops, text, len);
      add(&c->tops, ":");
      number(&c->tops, probs[i]);
   }
   add(&c->tops, "}");
}

void reply_token(choice *c, int32_t id, float logprob, uint32_t num_top, const int32_t *top_ids,
                 const float *top_logprobs)
{
   (c->job->ask.endpoint == SERVE_CHAT ? chat_token : text_token)(c, id, logprob, num_top, top_ids,
                                                                  top_logprobs);
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
      add(b, "]}");
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

void reply_stream(job *j, choice *c)
{
   size_t fresh = c->text.len - c->given;
   bool has_probs = c->probs.len || c->tokens.len;

   if (!c->has_role)
      role_chunk(c);
   if (!fresh && !has_probs && !c->finish)
      return;
   open_chunk(j);
   buffer_printf(&j->out, "{\"index\":%u,", c->index);
   if (j->ask.endpoint == SERVE_TEXT)
      add(&j->out, "\"text\":");
   else
      add(&j->out, fresh ? "\"delta\":{\"content\":" : "\"delta\":{");
   if (fresh || j->ask.endpoint == SERVE_TEXT)
      add_text(&j->out, c->text.data ? c->text.data + c->given : "", fresh);
   if (j->ask.endpoint == SERVE_CHAT)
      add(&j->out, "}");
   c->given = c->text.len;
   logprobs(c, &j->out);
   finish_reason(c, &j->out);
   close_chunk(j);
}

void reply_stream_end(job *j)
{
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

static void whole_choice(choice *c, buffer *b)
{
   buffer_printf(b, "{\"index\":%u,", c->index);
   add(b, c->job->ask.endpoint == SERVE_CHAT ? "\"message\":{\"role\":\"assistant\",\"content\":"
                                             : "\"text\":");
   add_text(b, c->text.data, c->text.len);
   if (c->job->ask.endpoint == SERVE_CHAT)
      add(b, ",\"refusal\":null}");
   logprobs(c, b);
   finish_reason(c, b);
}

void reply_whole(job *j, buffer *out)
{
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
