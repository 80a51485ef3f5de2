/* messages.c - the messages of a chat, as the template gets them.
 *
 *    system, developer (as system), user     content: text, or parts of type text and images
 *    assistant                               content (also a refusal), reasoning_content, tool_calls
 *    tool                                    content, tool_call_id */
#include <string.h>

#include "pictures.h"
#include "values.h"

static bool unfit(fault *f, const char *what)
{
   return fault_set(f, 400, "invalid_value", "messages", "%s", what);
}

static bool part_text(const tree *part, buffer *out, fault *f)
{
   static const char *const types[] = {"text", "input_text", "output_text"};
   bool is_refusal = value_is(tree_get(part, "type"), "refusal");
   const tree *text = tree_get(part, is_refusal ? "refusal" : "text");
   bool known = is_refusal;

   for (size_t i = 0; i < countof(types); i++)
      known |= value_is(tree_get(part, "type"), types[i]);
   if (!known || !text || text->kind != TREE_string)
      return fault_set(f, 400, "unsupported_content", "messages",
                       "this model reads parts of type text only");
   buffer_add(out, text->text, text->len);
   return true;
}

static bool has_pictures(const tree *content)
{
   bool found = false;

   if (content && content->kind == TREE_array)
      for (const tree *part = tree_first(content); part; part = part->next)
         found |= picture_is(part);
   return found;
}

/* The parts of a message with images, as the template gets them. */
static bool add_parts(ask *a, const tree *content, buffer *json, fault *f)
{
   const char *comma = "[";

   for (const tree *part = tree_first(content); part; part = part->next, comma = ",") {
      buffer text = {0};
      bool is_picture = picture_is(part);
      bool ok = is_picture ? picture_take(a, part, f) : part_text(part, &text, f);

      buffer_printf(json, "%s{\"type\":\"%s\"", comma, is_picture ? "image" : "text");
      if (!is_picture) {
         buffer_printf(json, ",\"text\":");
         buffer_json_string(json, text.data ? text.data : "", text.len);
      }
      buffer_add(json, "}", 1);
      buffer_free(&text);
      if (!ok)
         return false;
   }
   buffer_add(json, "]", 1);
   return true;
}

/* Text of a message: a string, or parts of type text, a line each, as vLLM and llama-server join
 * them. */
static bool message_text(const tree *content, buffer *out, fault *f)
{
   if (content->kind == TREE_string) {
      buffer_add(out, content->text, content->len);
      return true;
   }
   if (content->kind != TREE_array)
      return unfit(f, "the content of a message must be a string, or parts of type text");
   for (const tree *part = tree_first(content); part; part = part->next) {
      if (part != tree_first(content))
         buffer_add(out, "\n", 1);
      if (!part_text(part, out, f))
         return false;
   }
   return true;
}

/* A member of the message, when it has it. */
static bool add_string(const tree *m, const char *key, buffer *json, fault *f)
{
   const tree *t = tree_get(m, key);

   if (value_is_null(t))
      return true;
   if (t->kind != TREE_string)
      return fault_set(f, 400, "invalid_value", "messages", "'%s' of a message must be a string",
                       key);
   buffer_printf(json, ",\"%s\":", key);
   buffer_json_string(json, t->text, t->len);
   return true;
}

/* Arguments come as JSON text; templates want the object. */
static bool add_arguments(const tree *arguments, buffer *json, fault *f)
{
   tree *object = NULL;
   bool ok = arguments && arguments->kind == TREE_string;

   if (ok && !arguments->len) {
      buffer_printf(json, "{}");
      return true;
   }
   if (ok)
      object = tree_parse_limited(arguments->text, arguments->len, (size_t)serve_most.body_values);
   ok = object && object->kind == TREE_object;
   if (ok)
      value_write(json, object);
   tree_free(object);
   return ok || unfit(f, "'arguments' of a tool call must be a JSON object as text");
}

static bool add_calls(const tree *calls, buffer *json, fault *f)
{
   const char *comma = "";

   if (calls->kind != TREE_array)
      return unfit(f, "'tool_calls' of a message must be an array");
   buffer_printf(json, ",\"tool_calls\":[");
   for (const tree *c = tree_first(calls); c; c = c->next, comma = ",") {
      const tree *function = tree_get(c, "function"), *id = tree_get(c, "id");
      const tree *name = tree_get(function, "name"), *type = tree_get(c, "type");

      if (!value_is_null(type) && !value_is(type, "function"))
         return unfit(f, "a tool call must be of type function");
      if (!name || name->kind != TREE_string || (!value_is_null(id) && id->kind != TREE_string))
         return unfit(f, "a tool call must have an id and a function with a name");
      buffer_printf(json, "%s{\"id\":", comma);
      buffer_json_string(json, tree_string(id), strlen(tree_string(id)));
      buffer_printf(json, ",\"type\":\"function\",\"function\":{\"name\":");
      buffer_json_string(json, name->text, name->len);
      buffer_printf(json, ",\"arguments\":");
      if (!add_arguments(tree_get(function, "arguments"), json, f))
         return false;
      buffer_printf(json, "}}");
   }
   buffer_printf(json, "]");
   return true;
}

void message_open(ask *a)
{
   a->messages.len = 0;
   buffer_add(&a->messages, "[", 1);
}

void message_close(ask *a)
{
   buffer_add(&a->messages, "]", 1);
}

/* What came before tools, and is named so that nobody takes it for read. */
static bool is_of_old(const tree *m, const char *role, fault *f)
{
   bool is_answer = strcmp(role, "function") == 0;

   if (!is_answer && value_is_null(tree_get(m, "function_call")))
      return false;
   fault_set(f, 400, "unsupported_parameter", "messages",
             is_answer ? "role 'function' is not supported: use role 'tool' with a 'tool_call_id'"
                       : "'function_call' of a message is not supported: use 'tool_calls'");
   return true;
}

bool message_add(ask *a, const tree *m, fault *f)
{
   static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
   const char *role = tree_string(tree_get(m, "role"));
   const tree *content = tree_get(m, "content"), *calls = tree_get(m, "tool_calls");
   buffer *json = &a->messages, text = {0};
   size_t i = 0;

   if (is_of_old(m, role, f))
      return false;
   while (i < countof(roles) && strcmp(roles[i], role) != 0)
      i++;
   if (m->kind != TREE_object || i == countof(roles))
      return unfit(f, "a message must be an object whose role is system, developer, user, "
                      "assistant or tool");
   bool assistant = strcmp(role, "assistant") == 0;
   if (value_is_null(content) && !assistant)
      return unfit(f, "a message must have a content");
   if (!value_is_null(calls) && !assistant)
      return unfit(f, "only an assistant makes tool calls");
   bool parts = strcmp(role, "user") == 0 && has_pictures(content);
   bool ok = parts || value_is_null(content) || message_text(content, &text, f);
   buffer_printf(json, "%s{\"role\":\"%s\",\"content\":", json->len > 1 ? "," : "",
                 i == 1 ? "system" : role);
   if (parts)
      ok = add_parts(a, content, json, f);
   else
      buffer_json_string(json, text.data ? text.data : "", text.len);
   buffer_free(&text);
   ok = ok && add_string(m, "name", json, f);
   if (assistant)
      ok = ok && add_string(m, "reasoning_content", json, f);
   if (strcmp(role, "tool") == 0)
      ok = ok && add_string(m, "tool_call_id", json, f);
   if (!value_is_null(calls) && (calls->kind != TREE_array || tree_first(calls)))
      ok = ok && add_calls(calls, json, f);
   buffer_add(json, "}", 1);
   return ok;
}

bool message_fits(const tree *m, const host *h, fault *f)
{
   return h->session.info.patch_width || !has_pictures(tree_get(m, "content")) ||
          fault_set(f, 400, "unsupported_content", "messages",
                    "this model reads parts of type text only");
}

void message_name(const ask *a, size_t i, fault *f)
{
   char why[sizeof f->message];

   memcpy(why, f->message, sizeof why);
   snprintf(f->param, sizeof f->param, "%s", prompt_param(a));
   snprintf(f->message, sizeof f->message, "%s[%zu]: %.300s", f->param, i, why);
}

bool take_messages(ask *a, const tree *t, const host *h, fault *f)
{
   bool ok = true;
   size_t i = 0;

   if (t->kind != TREE_array || !tree_first(t))
      return value_bad(f, "messages", "an array with at least one message");
   if (tree_count(t) > (size_t)serve_most.messages)
      return fault_set(f, 400, "too_many_messages", "messages", "at most %lld messages",
                       (long long)serve_most.messages);
   message_open(a);
   for (const tree *m = tree_first(t); m && ok; m = m->next, i++) {
      ok = message_fits(m, h, f) && message_add(a, m, f);
      if (!ok)
         message_name(a, i, f);
   }
   message_close(a);
   return ok;
}

/* Variables that the template gets from elsewhere may not be set. */
bool take_chat_template_kwargs(ask *a, const tree *t, const host *h, fault *f)
{
   static const char *const ours[] = {"messages",  "tools",     "documents",
                                      "bos_token", "eos_token", "add_generation_prompt"};

   (void)h;
   if (t->kind != TREE_object)
      return value_bad(f, "chat_template_kwargs", "an object");
   for (size_t i = 0; i < countof(ours); i++) {
      if (tree_get(t, ours[i]))
         return fault_set(f, 400, "invalid_value", "chat_template_kwargs",
                          "'%s' is no variable that a request may set", ours[i]);
   }
   a->extra.len = 0;
   value_write(&a->extra, t);
   return true;
}
