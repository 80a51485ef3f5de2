// LINK: runtime base
/* Chat templates against recorded output of Python's jinja2, and what a template must not be able
 * to do. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "runtime/text/chat.h"

enum { RECORDED_AT = 1753531200 };

static char *read_all(const char *name, size_t *out_len)
{
   char path[300];

   snprintf(path, sizeof path, TEST_ROOT "/text_cases/%s", name);
   FILE *f = fopen(path, "rb");
   cr_assert(f, "%s", path);
   char *bytes = malloc(4 << 20);
   *out_len = fread(bytes, 1, 4 << 20, f);
   fclose(f);
   return bytes;
}

static const char *string_of(const json *c, const char *key)
{
   const json *s = json_get(c, key);

   return s ? s->string : NULL;
}

static void check_case(const json *c)
{
   char name[128];
   size_t len;
   arena *a;
   text_rendered r;
   const json *want = json_get(c, "text"), *messages = json_get(c, "messages");
   text_chat_options o = {.bos_token = "<s>",
                          .eos_token = "</s>",
                          .add_generation_prompt = json_get(c, "add_generation_prompt")->boolean,
                          .tools_json = string_of(c, "tools"),
                          .extra_json = string_of(c, "extra"),
                          .now = RECORDED_AT};

   snprintf(name, sizeof name, "templates/%s", string_of(c, "template"));
   char *source = read_all(name, &len);
   cr_assert(arena_create(&a) == SINTER_ok);
   sinter_status s = text_chat_render(a, source, len, messages->string, messages->len, &o, &r);
   if (!want)
      cr_expect(s == SINTER_bad_input || s == SINTER_unsupported,
                "%s over %s: rendered '%.*s', recorded %s", name, messages->string,
                s ? 0 : (int)r.len, r.text, string_of(c, "error"));
   else if (s != SINTER_ok)
      cr_expect(false, "%s over %s: %s", name, messages->string, sinter_error());
   else
      cr_expect(r.len == want->len && memcmp(r.text, want->string, r.len) == 0,
                "%s over %s:\n'%.*s'\nwant\n'%s'", name, messages->string, (int)r.len, r.text,
                want->string);
   arena_destroy(a);
   free(source);
}

/* Kills: any wrong white-space rule, precedence, filter, scope or slice that the 24 templates use.
 */
Test(chat, recorded_templates)
{
   arena *a;
   json *cases;
   size_t len;
   char *text = read_all("template_cases.json", &len);

   setenv("TZ", "UTC", 1);
   cr_assert(arena_create(&a) == SINTER_ok);
   cr_assert(json_parse(a, text, len, "template_cases.json", &cases) == SINTER_ok, "%s",
             sinter_error());
   cr_expect(cases->len > 500);
   for (size_t i = 0; i < cases->len; i++)
      check_case(cases->items[i]);
   arena_destroy(a);
   free(text);
}
