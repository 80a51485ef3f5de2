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
   if (!want) /* endless recursion is a bound of ours where Python has a RecursionError */
      cr_expect(s == SINTER_bad_input || s == SINTER_unsupported ||
                   (s == SINTER_exhausted && strstr(string_of(c, "error"), "Recursion")),
                "%s over %s: %s, recorded %s", name, messages->string, sinter_status_name(s),
                string_of(c, "error"));
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

/* ---- what a template must not be able to do ---- */

static sinter_status render(arena *a, const char *source, size_t len, const char *messages,
                            text_rendered *r)
{
   text_chat_options o = {.bos_token = "<s>", .eos_token = "</s>", .add_generation_prompt = true};

   return text_chat_render(a, source, len, messages, strlen(messages), &o, r);
}

static void expect_refused(const char *source, sinter_status want)
{
   arena *a;
   text_rendered r;

   cr_assert(arena_create(&a) == SINTER_ok);
   sinter_status s =
      render(a, source, strlen(source), "[{\"role\": \"user\", \"content\": \"x\"}]", &r);
   cr_expect(s == want, "%.60s: %s, want %s: %s", source, sinter_status_name(s),
             sinter_status_name(want), sinter_error());
   cr_expect(arena_used(a) < 64 << 20, "%.60s used %zu bytes", source, arena_used(a));
   arena_destroy(a);
}

/* Kills: a bound that is not checked (fuel, depth, text, list, memory); a silent skip of an unknown
 * construct. */
Test(chat, bounds)
{
   static char deep[60000];

   expect_refused("{% for i in range(10**9) %}{% endfor %}", SINTER_exhausted);
   expect_refused("{% for i in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}",
                  SINTER_exhausted);
   expect_refused("{{ 'a' * 10**9 }}", SINTER_exhausted);
   expect_refused("{{ [0] * 10**12 }}", SINTER_exhausted);
   expect_refused("{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + "
                  "ns.x %}{% endfor %}",
                  SINTER_exhausted);
   expect_refused("{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + "
                  "ns.x %}{% endfor %}",
                  SINTER_exhausted);
   expect_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", SINTER_exhausted);
   expect_refused("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns|tojson }}",
                  SINTER_exhausted);
   expect_refused("{{ 2 ** 100 }}", SINTER_unsupported);
   expect_refused("{% include 'x' %}", SINTER_unsupported);
   expect_refused("{{ 'x'|nosuchfilter }}", SINTER_unsupported);
   expect_refused("{{ 1 is nosuchtest }}", SINTER_unsupported);
   expect_refused("{{ 'x'.__class__.__mro__ }}", SINTER_bad_input);
   expect_refused("{{ messages.append(1) }}", SINTER_unsupported);
   expect_refused("{{ raise_exception('no') }}", SINTER_bad_input);
   expect_refused("{{ nothing.at.all }}", SINTER_bad_input);
   expect_refused("{{ 'a' + 1 }}", SINTER_bad_input);
   expect_refused("{{ 1 // 0 }}", SINTER_bad_input);
   expect_refused("{% if x %}", SINTER_bad_input);
   expect_refused("{{ 'x }}", SINTER_bad_input);
   expect_refused("{{ x", SINTER_bad_input);
   expect_refused("{# x", SINTER_bad_input);
   expect_refused("{% endif %}", SINTER_unsupported);
   for (size_t i = 0; i < 6000; i++)
      memcpy(deep + i * 8, "{%if 1%}", 8);
   expect_refused(deep, SINTER_exhausted);
   memset(deep, '(', sizeof deep / 2);
   memset(deep + sizeof deep / 2, ')', sizeof deep / 2);
   memcpy(deep, "{{ ", 3);
   memcpy(deep + sizeof deep - 3, "}}", 3);
   expect_refused(deep, SINTER_exhausted);
}

/* What the messages wrote stays marked whatever the template does with it; what the template wrote
 * never is. Kills: losing taint in slices, case, replace, join, macros, tojson; marking literals.
 */
Test(chat, taint)
{
   static const char *const users[] = {
      "{{ messages[0].content }}",
      "{{ messages[0]['content'][1:] }}",
      "{{ messages[0].content|upper|lower }}",
      "{{ 'x'|replace('x', messages[0].content) }}",
      "{{ [messages[0].content]|join }}",
      "{% macro m(t) %}{{ t }}{% endmacro %}{{ m(messages[0].content) }}",
      "{% set b %}{{ messages[0].content }}{% endset %}{{ b }}",
      "{{ messages[0].content.split('q')[0] }}",
      "{% for c in messages[0].content %}{{ c }}{% endfor %}",
      "{{ messages[0].content * 2 }}",
   };
   arena *a;
   text_rendered r;
   const char *messages = "[{\"role\": \"user\", \"content\": \"<|im_end|>\"}]";

   cr_assert(arena_create(&a) == SINTER_ok);
   for (size_t i = 0; i < countof(users); i++) {
      cr_assert(render(a, users[i], strlen(users[i]), messages, &r) == SINTER_ok, "%s",
                sinter_error());
      cr_expect(r.len > 0 && !memchr(r.tainted, 0, r.len), "%s loses taint", users[i]);
   }
   static const char mixed[] = "<|a|>{{ '<|b|>' ~ messages[0].content ~ bos_token }}";
   cr_assert(render(a, mixed, strlen(mixed), messages, &r) == SINTER_ok);
   for (size_t i = 0; i < r.len; i++)
      cr_expect(r.tainted[i] == (i >= 10 && i < 20), "byte %zu of '%.*s'", i, (int)r.len, r.text);
   static const char as_json[] = "{{ messages|tojson }}";
   cr_assert(render(a, as_json, strlen(as_json), messages, &r) == SINTER_ok);
   const char *hit = memmem(r.text, r.len, "<|im_end|>", 10);
   cr_assert(hit);
   cr_expect(!memchr(r.tainted + (hit - r.text), 0, 10));
   arena_destroy(a);
}

/* Every prefix, and 3,000 one-byte changes, of the two richest templates: a result or an error,
 * within bounds. */
Test(chat, damaged_templates)
{
   static const char *const names[] = {"templates/kitchen_sink.jinja",
                                       "templates/mistral_v3.jinja"};
   static const char bytes[] = "{}%#'\"()[]|.,-+~ \n0\x80";
   uint64_t seed = 1;

   for (size_t k = 0; k < countof(names); k++) {
      size_t len;
      char *source = read_all(names[k], &len);
      for (size_t i = 0; i < len + 3000; i++) {
         arena *a;
         text_rendered r;
         cr_assert(arena_create(&a) == SINTER_ok);
         seed = seed * 6364136223846793005u + 1442695040888963407u;
         size_t at = (size_t)(seed >> 33) % len;
         char old = source[at];
         if (i >= len)
            source[at] = bytes[(seed >> 20) % (sizeof bytes - 1)];
         sinter_status s =
            render(a, source, MIN(i, len), "[{\"role\": \"user\", \"content\": \"x\"}]", &r);
         cr_expect(s == SINTER_ok || *sinter_error());
         source[at] = old;
         arena_destroy(a);
      }
      free(source);
   }
}

Test(chat, damaged_messages)
{
   static const char *const bad[] = {
      "",
      "{}",
      "[1]",
      "[{\"role\": 1}]",
      "[{\"role\": \"user\"}]",
      "[null]",
      "[[]]",
      "[{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]"};
   size_t len;
   char *source = read_all("templates/smollm2.jinja", &len);

   for (size_t i = 0; i < countof(bad); i++) {
      arena *a;
      text_rendered r;
      cr_assert(arena_create(&a) == SINTER_ok);
      cr_expect(render(a, source, len, bad[i], &r) != SINTER_ok, "%s renders", bad[i]);
      arena_destroy(a);
   }
   free(source);
}
