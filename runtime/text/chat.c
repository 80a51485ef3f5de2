/* chat.c - rendering of chat templates. */
#include "chat.h"

#include "jinja.h"

enum { MAX_SOURCE = 1 << 20, MAX_MESSAGES = 8 << 20 };

static bool mentions(const char *source, size_t len, const char *what)
{
   return memmem(source, len, what, strlen(what)) != NULL;
}

/* Lists of text parts become one text for templates that never look at a part's type. */
static sinter_status flatten(jinja *j, jvalue *messages)
{
   for (size_t i = 0; i < messages->list->v.count; i++) {
      const jvalue *message = &messages->list->v.data[i];
      jvalue *content = message->kind == J_dict ? jdict_get(message->dict, "content", 7) : NULL;
      jbuild text = {.a = j->a};
      if (!content || content->kind != J_list)
         continue;
      for (size_t k = 0; k < content->list->v.count; k++) {
         const jvalue *part = &content->list->v.data[k];
         const jvalue *s = part->kind == J_dict ? jdict_get(part->dict, "text", 4) : NULL;
         if (!s || s->kind != J_string)
            return jinja_fail(j, SINTER_unsupported, "a message holds a part that is no text");
         SINTER_TRY(jbuild_add(j, &text, s));
      }
      *content = jbuild_string(&text);
   }
   return SINTER_ok;
}

static void set(jinja *j, const char *name, jvalue v)
{
   jdict_set(j, &j->scope->vars, jstring(name, strlen(name)), v);
}

static sinter_status set_json(jinja *j, const char *name, const char *json_text)
{
   jvalue v = {.kind = J_none};

   if (json_text)
      SINTER_TRY(jparse_json(j, json_text, strlen(json_text), name, true, &v));
   set(j, name, v);
   return SINTER_ok;
}

static sinter_status set_extra(jinja *j, const char *json_text)
{
   jvalue v;

   if (!json_text)
      return SINTER_ok;
   SINTER_TRY(jparse_json(j, json_text, strlen(json_text), "template variables", true, &v));
   if (v.kind != J_dict)
      return jinja_fail(j, SINTER_bad_input, "the template variables are no JSON object");
   for (size_t i = 0; i < v.dict->v.count; i++)
      jdict_set(j, &j->scope->vars, v.dict->v.data[i].key, v.dict->v.data[i].value);
   return SINTER_ok;
}

static sinter_status set_variables(jinja *j, const char *source, size_t len,
                                   const char *messages_json, size_t messages_len,
                                   const text_chat_options *o)
{
   jvalue messages;

   SINTER_TRY(jparse_json(j, messages_json, messages_len, "messages", true, &messages));
   if (messages.kind != J_list)
      return jinja_fail(j, SINTER_bad_input, "the messages are no JSON array");
   if (!mentions(source, len, "['type']") && !mentions(source, len, "[\"type\"]") &&
       !mentions(source, len, ".type"))
      SINTER_TRY(flatten(j, &messages));
   jinja_globals(j);
   set(j, "messages", messages);
   set(j, "bos_token", jstring(o->bos_token, strlen(o->bos_token)));
   set(j, "eos_token", jstring(o->eos_token, strlen(o->eos_token)));
   set(j, "add_generation_prompt", jbool(o->add_generation_prompt));
   set(j, "documents", (jvalue){.kind = J_none});
   SINTER_TRY(set_json(j, "tools", o->tools_json));
   return set_extra(j, o->extra_json);
}

sinter_status text_chat_render(arena *a, const char *source, size_t len, const char *messages_json,
                               size_t messages_len, const text_chat_options *options,
                               text_rendered *out)
{
   jscope globals = {0};
   jbuild text = {.a = a};
   jinja j = {.a = a,
              .fuel = JINJA_FUEL,
              .memory_at_start = arena_used(a),
              .now = options->now,
              .scope = &globals,
              .out = &text,
              .line = 1};
   jtoken *tokens;
   jnode *root;

   if (len > MAX_SOURCE || messages_len > MAX_MESSAGES)
      return jinja_fail(&j, SINTER_exhausted, "the template or the messages are too long");
   SINTER_TRY(jinja_lex(a, source, len, &tokens));
   SINTER_TRY(jinja_parse(a, tokens, &root));
   SINTER_TRY(set_variables(&j, source, len, messages_json, messages_len, options));
   SINTER_TRY(jinja_run(&j, root));
   *out = (text_rendered){text.s ? text.s : "", text.taint, text.len};
   return SINTER_ok;
}
