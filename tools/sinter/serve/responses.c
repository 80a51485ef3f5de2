/* responses.c - /v1/responses without state: input items to messages, and answers as items and
 * events.
 *
 *    input   text │ message │ function_call │ function_call_output │ reasoning (passed over)
 *    output  [reasoning] [message] function_call …, in a stream each between output_item.added and .done */
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

static bool add_item(ask *a, const tree *item, fault *f)
{
   const tree *type = tree_get(item, "type"), *call_id = tree_get(item, "call_id");
   buffer b = {0};

   if (item->kind != TREE_object)
      return unfit(f, "'input' must be text or an array of items");
   if (value_is_null(type) || value_is(type, "message"))
      return message_add(a, item, f);
   if (value_is(type, "reasoning"))
      return true;
   if (value_is(type, "function_call")) {
      buffer_printf(&b, "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{");
      put_string(&b, "id", call_id);
      buffer_printf(&b, ",\"type\":\"function\",\"function\":{");
      put_string(&b, "name", tree_get(item, "name"));
      buffer_printf(&b, ",");
      put_string(&b, "arguments", tree_get(item, "arguments"));
      buffer_printf(&b, "}}]}");
      return add_as_message(a, &b, f);
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
   bool ok = true;

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
   for (const tree *e = tree_first(t); e && ok; e = e->next)
      ok = add_item(a, e, f);
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

/* ---- items ---- */

static void text_of(buffer *b, const buffer *text)
{
   buffer_json_string(b, text->data ? text->data : "", text->len);
}

static void put_part(buffer *b, const buffer *text)
{
   buffer_printf(b, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
   text_of(b, text);
   buffer_printf(b, "}");
}

/* An item as it is now; begun: before anything is in it. */
static void put_item(buffer *b, const choice *c, uint32_t kind, uint32_t at, const char *id,
                     bool begun)
{
   static const buffer nothing = {0};
   const char *status = begun ? "in_progress" : "completed";

   switch (kind) {
   case ITEM_REASONING:
      buffer_printf(b, "{\"id\":\"%s\",\"type\":\"reasoning\",\"summary\":[],\"content\":[", id);
      if (!begun) {
         buffer_printf(b, "{\"type\":\"reasoning_text\",\"text\":");
         text_of(b, &c->reasoning);
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
         put_part(b, &c->content);
      buffer_printf(b, "]}");
      return;
   default:
      buffer_printf(
         b,
         "{\"id\":\"%s\",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":\"%s\","
         "\"name\":\"%s\",\"arguments\":",
         id, status, c->calls[at].id, c->calls[at].name);
      text_of(b, begun ? &nothing : &c->calls[at].arguments);
      buffer_printf(b, "}");
   }
}

static void put_items(const choice *c, buffer *b)
{
   const char *comma = "";
   char id[SERVE_ID_BYTES];

   for (uint32_t k = 0; k < 2 + c->num_calls; k++) {
      uint32_t kind = k == 0 ? ITEM_REASONING : k == 1 ? ITEM_MESSAGE : ITEM_CALL;
      if ((k == 0 && !c->reasoning.len) || (k == 1 && !c->content.len && c->num_calls))
         continue;
      buffer_printf(b, "%s", comma);
      job_id(id, k == 0 ? "rs_" : k == 1 ? "msg_" : "fc_", 24);
      put_item(b, c, kind, k - 2, id, false);
      comma = ",";
   }
}

static void put_usage(const job *j, buffer *b)
{
   const choice *c = &j->choices[0];
   unsigned long long in = c->prompt->count, out = c->num_tokens;

   buffer_printf(b,
                 "{\"input_tokens\":%llu,\"input_tokens_details\":{\"cached_tokens\":%u},"
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
                 ",\"incomplete_details\":%s,\"instructions\":null,\"metadata\":{},"
                 "\"parallel_tool_calls\":%s,\"temperature\":%.9g,\"top_p\":%.9g,"
                 "\"tool_choice\":\"%s\",\"tools\":[],\"max_output_tokens\":",
                 cut ? "{\"reason\":\"max_output_tokens\"}" : "null",
                 a->parallel ? "true" : "false", (double)a->sampling.temperature,
                 (double)a->sampling.top_p,
                 a->tool_choice == TOOL_AUTO   ? "auto"
                 : a->tool_choice == TOOL_NONE ? "none"
                                               : "required");
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
   open_event(j, type);
   buffer_printf(&j->out, ",\"item_id\":\"%s\",\"output_index\":%u", c->item_id, c->num_items - 1);
   if (c->item_kind != ITEM_CALL)
      buffer_printf(&j->out, ",\"content_index\":0");
}

static void item_event(job *j, const choice *c, bool begun)
{
   open_event(j, begun ? "output_item.added" : "output_item.done");
   buffer_printf(&j->out, ",\"output_index\":%u,\"item\":", c->num_items - 1);
   put_item(&j->out, c, c->item_kind, c->item_call, c->item_id, begun);
   close_event(j);
}

static void end_text(job *j, const choice *c, const char *type, const char *key, const buffer *text)
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
      end_text(j, c, "reasoning_text.done", "text", &c->reasoning);
   if (c->item_kind == ITEM_CALL)
      end_text(j, c, "function_call_arguments.done", "arguments",
               &c->calls[c->item_call].arguments);
   if (c->item_kind == ITEM_MESSAGE) {
      end_text(j, c, "output_text.done", "text", &c->content);
      open_item_event(j, c, "content_part.done");
      buffer_printf(&j->out, ",\"part\":");
      put_part(&j->out, &c->content);
      close_event(j);
   }
   if (c->item_kind != ITEM_NONE)
      item_event(j, c, false);
   c->item_kind = ITEM_NONE;
}

/* Ends the item before, unless it is this one. */
static void begin_item(job *j, choice *c, uint32_t kind, uint32_t at)
{
   static const buffer nothing = {0};

   if (c->item_kind == kind && c->item_call == at)
      return;
   end_item(j, c);
   c->item_kind = kind;
   c->item_call = at;
   c->num_items++;
   job_id(c->item_id, kind == ITEM_REASONING ? "rs_" : kind == ITEM_MESSAGE ? "msg_" : "fc_", 24);
   item_event(j, c, true);
   if (kind == ITEM_MESSAGE) {
      open_item_event(j, c, "content_part.added");
      buffer_printf(&j->out, ",\"part\":");
      put_part(&j->out, &nothing);
      close_event(j);
   }
}

static void text_delta(job *j, choice *c, const char *type, const buffer *text, size_t *given)
{
   open_item_event(j, c, type);
   buffer_printf(&j->out, ",\"delta\":");
   buffer_json_string(&j->out, text->data + *given, text->len - *given);
   if (c->item_kind == ITEM_MESSAGE)
      buffer_printf(&j->out, ",\"logprobs\":[]");
   close_event(j);
   *given = text->len;
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
      text_delta(j, c, "reasoning_text.delta", &c->reasoning, &c->reasoning_given);
   }
   if (c->content.len > c->given) {
      begin_item(j, c, ITEM_MESSAGE, 0);
      text_delta(j, c, "output_text.delta", &c->content, &c->given);
   }
   for (uint32_t i = 0; i < c->num_calls; i++) {
      tool_call *t = &c->calls[i];
      if (t->named && t->given == t->arguments.len)
         continue;
      begin_item(j, c, ITEM_CALL, i);
      t->named = true;
      if (t->given < t->arguments.len)
         text_delta(j, c, "function_call_arguments.delta", &t->arguments, &t->given);
   }
   if (c->finish)
      end_item(j, c);
}

void responses_stream_end(job *j)
{
   const choice *c = &j->choices[0];
   bool cut = c->finish && strcmp(c->finish, "length") == 0;

   response_event(j, j->fault.http ? "failed" : cut ? "incomplete" : "completed", true);
}
