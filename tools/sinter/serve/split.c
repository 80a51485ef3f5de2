/* split.c - the text of a chat's answer into reasoning, content and tool calls, as far as each is
 * certain.
 *
 *    [<think> reasoning </think>] content [<tool_call> {"name": …, "arguments": {…}} </tool_call>] …
 *
 * Text that only looks like a call (no JSON, no tool of that name) is content. */
#include "host.h"
#include "split.h"

#include <stdlib.h>
#include <string.h>

/* ---- JSON that may not be complete ---- */

typedef enum scan { SCAN_OPEN, SCAN_DONE, SCAN_BAD } scan;

typedef struct cursor {
   const char *at, *end;
} cursor;

static void skip_space(cursor *c)
{
   while (c->at < c->end && strchr(" \t\r\n", *c->at))
      c->at++;
}

static scan take_byte(cursor *c, char byte)
{
   skip_space(c);
   if (c->at == c->end)
      return SCAN_OPEN;
   if (*c->at != byte)
      return SCAN_BAD;
   c->at++;
   return SCAN_DONE;
}

/* A string, its text between the quotes as it is written. */
static scan take_string(cursor *c, const char **text, size_t *len)
{
   scan s = take_byte(c, '"');

   if (s != SCAN_DONE)
      return s;
   for (*text = c->at; c->at < c->end && *c->at != '"'; c->at++)
      c->at += *c->at == '\\' && c->at + 1 < c->end;
   if (c->at >= c->end)
      return SCAN_OPEN;
   *len = (size_t)(c->at - *text);
   c->at++;
   return SCAN_DONE;
}

/* Skips an object, or as much of it as there is. */
static scan skip_object(cursor *c)
{
   const char *text;
   size_t len;
   int depth = 0;

   do {
      if (c->at == c->end)
         return SCAN_OPEN;
      if (*c->at == '"') {
         if (take_string(c, &text, &len) == SCAN_DONE)
            continue;
         c->at = c->end;
         return SCAN_OPEN;
      }
      depth += (*c->at == '{' || *c->at == '[') - (*c->at == '}' || *c->at == ']');
      c->at++;
   } while (depth > 0);
   return SCAN_DONE;
}

/* {"name": "f", "arguments": {…}}; name and arguments in either order, nothing else. */
typedef struct call_scan {
   const char *name, *arguments;
   size_t name_len, arguments_len;
   const char *end;
} call_scan;

static scan scan_member(cursor *c, const ask *a, call_scan *out)
{
   const char *key;
   size_t len;
   scan s = take_string(c, &key, &len);

   if (s != SCAN_DONE || (s = take_byte(c, ':')) != SCAN_DONE)
      return s;
   if (len == 4 && memcmp(key, "name", 4) == 0) {
      size_t n;
      s = take_string(c, &out->name, &n);
      out->name_len = s == SCAN_DONE ? n : 0;
      return s == SCAN_DONE && !tool_find(a, out->name, n) ? SCAN_BAD : s;
   }
   if (len != strlen(a->calls->arguments) || memcmp(key, a->calls->arguments, len) != 0)
      return SCAN_BAD;
   skip_space(c);
   if (c->at == c->end)
      return SCAN_OPEN;
   if (*c->at != '{')
      return SCAN_BAD;
   out->arguments = c->at;
   s = skip_object(c);
   out->arguments_len = (size_t)(c->at - out->arguments);
   return s;
}

static scan scan_call(const char *text, size_t len, const ask *a, call_scan *out)
{
   cursor c = {text, text + len};
   scan s = take_byte(&c, '{');

   *out = (call_scan){0};
   for (int members = 0; s == SCAN_DONE; members++) {
      if (members && take_byte(&c, '}') == SCAN_DONE)
         break;
      if (members == 2 || (members && (s = take_byte(&c, ',')) != SCAN_DONE))
         return members == 2 && c.at == c.end ? SCAN_OPEN : s == SCAN_OPEN ? SCAN_OPEN : SCAN_BAD;
      s = scan_member(&c, a, out);
   }
   out->end = c.at;
   return s == SCAN_DONE && !out->name_len ? SCAN_BAD : s;
}

/* ---- pieces ---- */

/* Where mark begins in text, or may begin at its end; len when nowhere. */
static size_t find_mark(const char *text, size_t len, const char *mark, bool *whole)
{
   size_t n = strlen(mark);
   const char *at = len ? memmem(text, len, mark, n) : NULL;

   *whole = at != NULL;
   if (at)
      return (size_t)(at - text);
   for (size_t k = n - 1 < len ? n - 1 : len; k > 0; k--) {
      if (memcmp(text + len - k, mark, k) == 0)
         return len - k;
   }
   return len;
}

static const char *rest(const choice *c, size_t *len)
{
   *len = c->text.len - c->split_at;
   return c->text.data ? c->text.data + c->split_at : "";
}

static void move_to(choice *c, buffer *to, size_t n)
{
   size_t len;

   if (n)
      buffer_add(to, rest(c, &len), n);
   c->split_at += n;
}

static void skip_blanks(choice *c)
{
   size_t len;
   const char *text = rest(c, &len);

   while (len > 0 && strchr(" \t\r\n", *text)) {
      text++;
      len--;
      c->split_at++;
   }
}

static tool_call *new_call(choice *c)
{
   c->calls = realloc(c->calls, (c->num_calls + 1) * sizeof *c->calls);
   if (!c->calls)
      exit(6);
   tool_call *t = &c->calls[c->num_calls++];
   *t = (tool_call){.content_at = c->content.len};
   job_id(t->id, "call_", 20);
   return t;
}

/* ---- states ---- */

/* Each returns whether to go on at once. */
static bool at_start(choice *c, bool last)
{
   static const char mark[] = "<think>";
   size_t len, blanks = 0;
   const char *text = rest(c, &len);

   while (blanks < len && strchr(" \t\r\n", text[blanks]))
      blanks++;
   size_t n = len - blanks < sizeof mark - 1 ? len - blanks : sizeof mark - 1;
   bool fits = c->job->ask.thinks && memcmp(text + blanks, mark, n) == 0;
   if (fits && n < sizeof mark - 1 && !last)
      return false;
   c->split = SPLIT_CONTENT;
   if (fits && n == sizeof mark - 1) {
      c->split_at += blanks + n;
      c->split = SPLIT_THINK;
   }
   return true;
}

static bool in_thought(choice *c, bool last)
{
   bool whole;
   size_t len;
   const char *text = rest(c, &len);
   size_t at = find_mark(text, len, "</think>", &whole);

   if (!c->reasoning.len)
      skip_blanks(c);
   text = rest(c, &len);
   at = find_mark(text, len, "</think>", &whole);
   move_to(c, &c->reasoning, last && !whole ? len : at);
   if (!whole)
      return false;
   c->split_at += strlen("</think>");
   c->split = SPLIT_GAP;
   return true;
}

static bool in_gap(choice *c)
{
   size_t len;

   skip_blanks(c);
   (void)rest(c, &len);
   c->split = len ? SPLIT_CONTENT : SPLIT_GAP;
   return len > 0;
}

/* Content up to the next call, or to what may become one. */
static bool in_content(choice *c, bool last)
{
   const ask *a = &c->job->ask;
   bool whole = false;
   size_t len, at;
   const char *text = rest(c, &len);

   if (!a->calls) {
      move_to(c, &c->content, len);
      return false;
   }
   if (!a->calls->begin[0]) { /* only an answer that begins with it is a call */
      bool blank = !c->content.len && strspn(text, " \t\r\n") >= len;
      if (blank && !last)
         return false;
      size_t blanks = c->content.len ? 0 : strspn(text, " \t\r\n;");
      if (c->content.len || blanks >= len || text[blanks] != '{') {
         move_to(c, &c->content, len);
         return false;
      }
      c->split_at += blanks;
      c->gap = blanks;
      c->split = SPLIT_CALL;
      return true;
   }
   at = find_mark(text, len, a->calls->begin, &whole);
   if (at < len && !whole && last && a->tool_choice == TOOL_AUTO)
      at = len;
   /* Blanks before a call belong to neither. */
   size_t end = at;
   while (end > 0 && strchr(" \t\r\n", text[end - 1]))
      end--;
   if (whole || (!last && end < at)) {
      move_to(c, &c->content, end);
      c->split_at += whole ? at - end : 0;
      c->gap = at - end;
   } else {
      move_to(c, &c->content, at);
   }
   if (whole) {
      c->split_at += strlen(a->calls->begin);
      c->split = SPLIT_CALL;
   }
   return whole;
}

/* What is no call after all. */
static void take_back(choice *c, size_t len)
{
   size_t before = strlen(c->job->ask.calls->begin) + c->gap;

   c->split_at -= before;
   move_to(c, &c->content, before + len);
   c->split = SPLIT_CONTENT;
}

static bool in_call(choice *c, bool last)
{
   const ask *a = &c->job->ask;
   size_t len;
   const char *text = rest(c, &len);
   call_scan s;
   scan found = scan_call(text, len, a, &s);

   if (found == SCAN_BAD && !c->is_calling) {
      take_back(c, a->calls->begin[0] ? 0 : len);
      return true;
   }
   if (found != SCAN_BAD && s.name_len && !c->is_calling && (s.arguments || found == SCAN_DONE)) {
      tool_call *t = new_call(c);
      memcpy(t->name, s.name, s.name_len);
      c->is_calling = true;
   }
   if (found == SCAN_OPEN && last && !c->is_calling) {
      if (a->tool_choice == TOOL_AUTO) /* else it can only have been a call */
         take_back(c, len);
      return false;
   }
   if (c->is_calling) {
      tool_call *t = &c->calls[c->num_calls - 1];
      if (s.arguments && s.arguments_len > t->arguments.len)
         buffer_add(&t->arguments, s.arguments + t->arguments.len,
                    s.arguments_len - t->arguments.len);
      if (found == SCAN_DONE && !t->arguments.len)
         buffer_add(&t->arguments, "{}", 2);
   }
   if (found == SCAN_OPEN)
      return false;
   c->is_calling = false;
   c->split_at += found == SCAN_DONE ? (size_t)(s.end - text) : len;
   c->split = SPLIT_END;
   return true;
}

/* Behind a call: its end mark, when there is one. */
static bool at_end(choice *c, bool last)
{
   const char *mark = c->job->ask.calls->end;
   size_t len, n = strlen(mark);

   skip_blanks(c);
   const char *text = rest(c, &len);
   size_t have = len < n ? len : n;
   bool fits = memcmp(text, mark, have) == 0;
   if (fits && have < n && !last)
      return false;
   c->split_at += fits && have == n ? n : 0;
   c->split = n ? SPLIT_GAP : SPLIT_CONTENT;
   return len > have || n;
}

void split_text(choice *c)
{
   bool last = c->finish != NULL, more = true;

   while (more) {
      switch (c->split) {
      case SPLIT_START: more = at_start(c, last); break;
      case SPLIT_THINK: more = in_thought(c, last); break;
      case SPLIT_GAP: more = in_gap(c); break;
      case SPLIT_CONTENT: more = in_content(c, last); break;
      case SPLIT_CALL: more = in_call(c, last); break;
      case SPLIT_END: more = at_end(c, last); break;
      }
   }
}

bool split_is_over(choice *c)
{
   if (!c->job->ask.calls || c->job->ask.parallel)
      return false;
   split_text(c);
   return c->num_calls && !c->is_calling && c->split != SPLIT_CALL && c->split != SPLIT_END;
}

void split_free(choice *c)
{
   for (uint32_t i = 0; i < c->num_calls; i++)
      buffer_free(&c->calls[i].arguments);
   free(c->calls);
   buffer_free(&c->content);
   buffer_free(&c->reasoning);
}
