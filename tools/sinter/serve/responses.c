/* responses.c - /v1/responses without state: input items to messages, and answers as items and
 * events.
 *
 *    input   text │ message │ function_call │ function_call_output │ reasoning (passed over)
 *    output  [reasoning] [message] {function_call [message]}, in a stream each between
 *            output_item.added and .done; ids are the same in both */
#include <string.h>

#include "reply.h"
#include "split.h"
#include "values.h"

enum { ITEM_NONE, ITEM_REASONING, ITEM_MESSAGE, ITEM_CALL };

/* ---- input ---- */

static bool unfit(fault *f, const char *what)
{
   return fault_set(f, 400, "invalid_value", "input", "%s", what);
}

static void put_string(buffer *b, const char *key, const tree *t)
{
   buffer_printf(b, "\"%s\":", key);
   buffer_json_string(b, tree_string(t), t && t->text ? t->len : 0);
}

/* The item as the message it stands for, parsed again as one. */
static bool add_as_message(ask *a, buffer *json, fault *f)
{
   tree *m = tree_parse_limited(json->data, json->len, (size_t)serve_most.body_values);
   bool ok = m ? message_add(a, m, f) : unfit(f, "an item of 'input' is too deep");

   tree_free(m);
   buffer_free(json);
   return ok;
}

/* What the last item was to the model. */
typedef enum said { SAID_OTHER, SAID_TEXT, SAID_CALLS } said;

static const char call_begins[] = ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[";

/* The call at `from`, the last message, becomes part of the assistant's message before it: calls of
 * one turn, and its text, are one message to a template. */
static void join_turn(buffer *json, size_t from, said last)
{
   static const char more[] = ",", first[] = ",\"tool_calls\":[";
   const char *mark = last == SAID_CALLS ? more : first;
   size_t begin = from + sizeof call_begins - 1, to = from - (last == SAID_CALLS ? 2 : 1);
   buffer tail = {0};

   buffer_add(&tail, json->data + begin, json->len - begin);
   json->len = to;
   buffer_add(json, mark, strlen(mark));
   buffer_add(json, tail.data, tail.len);
   buffer_free(&tail);
}

static bool add_call(ask *a, const tree *item, said *last, fault *f)
{
   size_t from = a->messages.len;
   buffer b = {0};

   buffer_printf(&b, "%s{", call_begins + 1);
   put_string(&b, "id", tree_get(item, "call_id"));
   buffer_printf(&b, ",\"type\":\"function\",\"function\":{");
   put_string(&b, "name", tree_get(item, "name"));
   buffer_printf(&b, ",");
   put_string(&b, "arguments", tree_get(item, "arguments"));
   buffer_printf(&b, "}}]}");
   if (!add_as_message(a, &b, f))
      return false;
   if (*last != SAID_OTHER)
      join_turn(&a->messages, from, *last);
   *last = SAID_CALLS;
   return true;
}

static bool add_item(ask *a, const tree *item, said *last, fault *f)
{
   const tree *type = tree_get(item, "type"), *call_id = tree_get(item, "call_id");
   buffer b = {0};

   if (item->kind != TREE_object)
      return unfit(f, "an item must be an object");
   if (value_is(type, "reasoning"))
      return true;
   if (value_is(type, "function_call"))
      return add_call(a, item, last, f);
   *last = SAID_OTHER;
   if (value_is_null(type) || value_is(type, "message")) {
      bool has_calls = !value_is_null(tree_get(item, "tool_calls"));
      if (value_is(tree_get(item, "role"), "assistant") && !has_calls)
         *last = SAID_TEXT;
      return message_add(a, item, f);
   }
   if (value_is(type, "function_call_output")) {
      const tree *output = tree_get(item, "output");
      if (value_is_null(output))
         return unfit(f, "a function_call_output must have an output");
      buffer_printf(&b, "{\"role\":\"tool\",");
      put_string(&b, "tool_call_id", call_id);
      buffer_printf(&b, ",\"content\":");
      value_write(&b, output);
      buffer_printf(&b, "}");
      return add_as_message(a, &b, f);
   }
   return fault_set(f, 400, "unsupported_content", "input",
                    "items must be messages, function_call or function_call_output");
}

bool take_input(ask *a, const tree *t, const host *h, fault *f)
{
   said last = SAID_OTHER;
   bool ok = true;
   size_t i = 0;

   if (a->endpoint == SERVE_EMBED)
      return take_prompt(a, t, h, f);
   if (t->kind != TREE_string && (t->kind != TREE_array || !tree_first(t)))
      return unfit(f, "'input' must be text or an array of items");
   if (tree_count(t) > (size_t)serve_most.messages && t->kind == TREE_array)
      return unfit(f, "'input' has too many items");
   message_open(a);
   if (t->kind == TREE_string) {
      buffer_printf(&a->messages, "{\"role\":\"user\",\"content\":");
      buffer_json_string(&a->messages, t->text, t->len);
      buffer_printf(&a->messages, "}");
   }
   for (const tree *e = tree_first(t); e && ok; e = e->next, i++) {
      ok = message_fits(e, h, f) && add_item(a, e, &last, f);
      if (!ok)
         message_name(a, i, f);
   }
   message_close(a);
   return ok;
}

bool take_instructions(ask *a, const tree *t, const host *h, fault *f)
{
   (void)h;
   if (t->kind != TREE_string)
      return value_bad(f, "instructions", "a string");
   a->instructions.len = 0;
   buffer_printf(&a->instructions, "{\"role\":\"system\",\"content\":");
   buffer_json_string(&a->instructions, t->text, t->len);
   buffer_printf(&a->instructions, "}");
   return true;
}

/* Fields that a response repeats, and what they are when nobody gave them. */
static const struct {
   const char *name, *usual;
} echoes[] = {
   {"instructions", "null"},
   {"metadata", "{}"},
   {"parallel_tool_calls", "true"},
   {"prompt_cache_key", "null"},
   {"safety_identifier", "null"},
   {"text", "{\"format\":{\"type\":\"text\"}}"},
   {"tool_choice", "\"auto\""},
   {"tools", "[]"},
   {"user", "null"},
};

void responses_echo(ask *a, const tree *body)
{
   for (size_t i = 0; i < countof(echoes); i++) {
      const tree *given = tree_get(body, echoes[i].name);

      buffer_printf(&a->echoed, ",\"%s\":", echoes[i].name);
      if (value_is_null(given))
         buffer_printf(&a->echoed, "%s", echoes[i].usual);
      else
         value_write(&a->echoed, given);
   }
}

/* ---- items ---- */

typedef struct piece {
   const char *text;
   size_t len;
} piece;

static piece all_of(const buffer *text)
{
   return (piece){text->data ? text->data : "", text->len};
}

/* Where the message ends that has `at` calls before it. */
static size_t message_end(const choice *c, uint32_t at)
{
   return at < c->num_calls ? c->calls[at].content_at : c->content.len;
}

static piece message_of(const choice *c, uint32_t at)
{
   size_t from = at ? message_end(c, at - 1) : 0;

   return (piece){c->content.data ? c->content.data + from : "", message_end(c, at) - from};
}

/* Its place among its kind, behind what is random in the response's id. */
static void item_id(char to[SERVE_ID_BYTES], const job *j, uint32_t kind, uint32_t at)
{
   static const char *const prefixes[] = {"", "rs_", "msg_", "fc_"};

   snprintf(to, SERVE_ID_BYTES, "%s%.26s%u", prefixes[kind], strchr(j->id, '_') + 1, at);
}

static void text_of(buffer *b, piece p)
{
   buffer_json_string(b, p.text, p.len);
}

static void put_part(buffer *b, piece p)
{
   buffer_printf(b, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
   text_of(b, p);
   buffer_printf(b, "}");
}

/* Whether the item is one that the answer broke off in. */
static bool is_cut(const choice *c, uint32_t kind, uint32_t at)
{
   bool over = c->job->fault.http || (c->finish && strcmp(c->finish, "length") == 0);

   if (!over || kind == ITEM_REASONING)
      return over && !c->content.len && !c->num_calls;
   return at + (kind == ITEM_CALL) == c->num_calls && c->is_calling == (kind == ITEM_CALL);
}

/* An item as it is now; begun: before anything is in it. */
static void put_item(buffer *b, const choice *c, uint32_t kind, uint32_t at, bool begun)
{
   const char *status = begun ? "in_progress" : is_cut(c, kind, at) ? "incomplete" : "completed";
   char id[SERVE_ID_BYTES];

   item_id(id, c->job, kind, at);
   switch (kind) {
   case ITEM_REASONING:
      buffer_printf(b, "{\"id\":\"%s\",\"type\":\"reasoning\",\"summary\":[],\"content\":[", id);
      if (!begun) {
         buffer_printf(b, "{\"type\":\"reasoning_text\",\"text\":");
         text_of(b, all_of(&c->reasoning));
         buffer_printf(b, "}");
      }
      buffer_printf(b, "],\"status\":\"%s\"}", status);
      return;
   case ITEM_MESSAGE:
      buffer_printf(b,
                    "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"%s\","
                    "\"content\":[",
                    id, status);
      if (!begun)
         put_part(b, message_of(c, at));
      buffer_printf(b, "]}");
      return;
   default:
      buffer_printf(
         b,
         "{\"id\":\"%s\",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":\"%s\","
         "\"name\":\"%s\",\"arguments\":",
         id, status, c->calls[at].id, c->calls[at].name);
      text_of(b, begun ? (piece){"", 0} : all_of(&c->calls[at].arguments));
      buffer_printf(b, "}");
   }
}

/* An answer without anything is one empty message. */
static bool is_empty(const choice *c)
{
   return !c->reasoning.len && !c->content.len && !c->num_calls;
}

static void put_items(const choice *c, buffer *b)
{
   const char *comma = "";

   if (c->reasoning.len) {
      put_item(b, c, ITEM_REASONING, 0, false);
      comma = ",";
   }
   for (uint32_t k = 0; k <= c->num_calls; k++) {
      if (message_of(c, k).len || is_empty(c)) {
         buffer_printf(b, "%s", comma);
         put_item(b, c, ITEM_MESSAGE, k, false);
         comma = ",";
      }
      if (k < c->num_calls) {
         buffer_printf(b, "%s", comma);
         put_item(b, c, ITEM_CALL, k, false);
         comma = ",";
      }
   }
}

static void put_usage(const job *j, buffer *b)
{
   const choice *c = &j->choices[0];
   unsigned long long in = c->prompt->count, out = c->num_tokens;

   buffer_printf(b,
                 "{\"input_tokens\":%llu,\"input_tokens_details\":{\"cached_tokens\":%u,"
                 "\"cache_write_tokens\":0},"
                 "\"output_tokens\":%llu,\"output_tokens_details\":{\"reasoning_tokens\":%u},"
                 "\"total_tokens\":%llu}",
                 in, j->cached_tokens, out, c->num_reasoning, in + out);
}

/* The response object; ended: with its output and usage. */
static void put_response(const job *j, buffer *b, bool ended)
{
   const choice *c = &j->choices[0];
   const ask *a = &j->ask;
   bool cut = ended && c->finish && strcmp(c->finish, "length") == 0;
   bool failed = ended && j->fault.http;

   buffer_printf(b,
                 "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\","
                 "\"model\":",
                 j->id, (long long)j->created,
                 failed  ? "failed"
                 : cut   ? "incomplete"
                 : ended ? "completed"
                         : "in_progress");
   buffer_json_string(b, j->host->name, strlen(j->host->name));
   buffer_printf(b, ",\"error\":");
   if (failed) {
      buffer_printf(b, "{\"code\":\"%s\",\"message\":", j->fault.code);
      buffer_json_string(b, j->fault.message, strlen(j->fault.message));
      buffer_printf(b, "}");
   } else {
      buffer_printf(b, "null");
   }
   buffer_printf(b,
                 ",\"incomplete_details\":%s,\"temperature\":%.9g,\"top_p\":%.9g%s,"
                 "\"background\":false,\"previous_response_id\":null,\"store\":false,"
                 "\"truncation\":\"disabled\",\"max_output_tokens\":",
                 cut ? "{\"reason\":\"max_output_tokens\"}" : "null",
                 (double)a->sampling.temperature, (double)a->sampling.top_p, a->echoed.data);
   if (a->has_max_tokens)
      buffer_printf(b, "%lld", (long long)a->max_tokens);
   else
      buffer_printf(b, "null");
   buffer_printf(b, ",\"output\":[");
   if (ended)
      put_items(c, b);
   buffer_printf(b, "],\"usage\":");
   if (ended && !failed)
      put_usage(j, b);
   else
      buffer_printf(b, "null");
   buffer_printf(b, "}");
}

void responses_whole(job *j, buffer *out)
{
   split_text(&j->choices[0]);
   put_response(j, out, true);
}

/* ---- events ---- */

static void open_event(job *j, const char *type)
{
   buffer_printf(&j->out,
                 "event: response.%s\ndata: {\"type\":\"response.%s\",\"sequence_number\":%llu",
                 type, type, (unsigned long long)j->sequence++);
}

static void close_event(job *j)
{
   buffer_printf(&j->out, "}\n\n");
}

static void response_event(job *j, const char *type, bool ended)
{
   open_event(j, type);
   buffer_printf(&j->out, ",\"response\":");
   put_response(j, &j->out, ended);
   close_event(j);
}

static void open_item_event(job *j, const choice *c, const char *type)
{
   char id[SERVE_ID_BYTES];

   item_id(id, j, c->item_kind, c->item_at);
   open_event(j, type);
   buffer_printf(&j->out, ",\"item_id\":\"%s\",\"output_index\":%u", id, c->num_items - 1);
   if (c->item_kind != ITEM_CALL)
      buffer_printf(&j->out, ",\"content_index\":0");
}

static void item_event(job *j, const choice *c, bool begun)
{
   open_event(j, begun ? "output_item.added" : "output_item.done");
   buffer_printf(&j->out, ",\"output_index\":%u,\"item\":", c->num_items - 1);
   put_item(&j->out, c, c->item_kind, c->item_at, begun);
   close_event(j);
}

static void end_text(job *j, const choice *c, const char *type, const char *key, piece text)
{
   open_item_event(j, c, type);
   buffer_printf(&j->out, ",\"%s\":", key);
   text_of(&j->out, text);
   if (c->item_kind == ITEM_MESSAGE)
      buffer_printf(&j->out, ",\"logprobs\":[]");
   close_event(j);
}

static void end_item(job *j, choice *c)
{
   if (c->item_kind == ITEM_REASONING)
      end_text(j, c, "reasoning_text.done", "text", all_of(&c->reasoning));
   if (c->item_kind == ITEM_CALL)
      end_text(j, c, "function_call_arguments.done", "arguments",
               all_of(&c->calls[c->item_at].arguments));
   if (c->item_kind == ITEM_MESSAGE) {
      piece text = message_of(c, c->item_at);
      end_text(j, c, "output_text.done", "text", text);
      open_item_event(j, c, "content_part.done");
      buffer_printf(&j->out, ",\"part\":");
      put_part(&j->out, text);
      close_event(j);
   }
   if (c->item_kind != ITEM_NONE)
      item_event(j, c, false);
   c->item_kind = ITEM_NONE;
}

/* Ends the item before, unless it is this one. */
static void begin_item(job *j, choice *c, uint32_t kind, uint32_t at)
{
   if (c->item_kind == kind && c->item_at == at)
      return;
   end_item(j, c);
   c->item_kind = kind;
   c->item_at = at;
   c->num_items++;
   item_event(j, c, true);
   if (kind == ITEM_MESSAGE) {
      open_item_event(j, c, "content_part.added");
      buffer_printf(&j->out, ",\"part\":");
      put_part(&j->out, (piece){"", 0});
      close_event(j);
   }
}

static void text_delta(job *j, choice *c, const char *type, const buffer *text, size_t *given,
                       size_t end)
{
   if (*given >= end)
      return;
   open_item_event(j, c, type);
   buffer_printf(&j->out, ",\"delta\":");
   buffer_json_string(&j->out, text->data + *given, end - *given);
   if (c->item_kind == ITEM_MESSAGE)
      buffer_printf(&j->out, ",\"logprobs\":[]");
   close_event(j);
   *given = end;
}

/* What is new of the message that has `at` calls before it. */
static void message_delta(job *j, choice *c, uint32_t at)
{
   size_t end = message_end(c, at);

   if (c->given >= end)
      return;
   begin_item(j, c, ITEM_MESSAGE, at);
   text_delta(j, c, "output_text.delta", &c->content, &c->given, end);
}

void responses_stream(job *j, choice *c)
{
   if (!c->has_role) {
      c->has_role = true;
      response_event(j, "created", false);
      response_event(j, "in_progress", false);
   }
   split_text(c);
   if (c->reasoning.len > c->reasoning_given) {
      begin_item(j, c, ITEM_REASONING, 0);
      text_delta(j, c, "reasoning_text.delta", &c->reasoning, &c->reasoning_given,
                 c->reasoning.len);
   }
   for (uint32_t i = 0; i < c->num_calls; i++) {
      tool_call *t = &c->calls[i];
      message_delta(j, c, i);
      if (t->named && t->given == t->arguments.len)
         continue;
      begin_item(j, c, ITEM_CALL, i);
      t->named = true;
      text_delta(j, c, "function_call_arguments.delta", &t->arguments, &t->given, t->arguments.len);
   }
   message_delta(j, c, c->num_calls);
   if (c->finish && is_empty(c))
      begin_item(j, c, ITEM_MESSAGE, 0);
   if (c->finish)
      end_item(j, c);
}

void responses_stream_end(job *j)
{
   const choice *c = &j->choices[0];
   bool cut = c->finish && strcmp(c->finish, "length") == 0;

   response_event(j, j->fault.http ? "failed" : cut ? "incomplete" : "completed", true);
}
