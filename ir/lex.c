/* lex.c - characters to tokens. Comments reach from two slashes to the end of the line. */
#include "lex.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_NAME = 1024, MAX_DIGITS = 64 };

void lex_init(lexer *l, arena *a, const char *text, size_t len, const char *where)
{
   *l =
      (lexer){.a = a, .at = text, .end = text + len, .where = where, .line_start = text, .line = 1};
}

sinter_status lex_fail(const lexer *l, const token *at, const char *fmt, ...)
{
   char where[256], what[256];
   va_list args;

   va_start(args, fmt);
   vsnprintf(what, sizeof what, fmt, args);
   va_end(args);
   snprintf(where, sizeof where, "%.180s: line %u, column %u", l->where, at->line, at->column);
   return base_fail(SINTER_bad_input, where, "correct the IR text at that place", "%s", what);
}

static void skip_blank(lexer *l)
{
   while (l->at < l->end) {
      if (*l->at == '\n') {
         l->line++;
         l->line_start = l->at + 1;
      } else if (l->at + 1 < l->end && l->at[0] == '/' && l->at[1] == '/') {
         while (l->at + 1 < l->end && l->at[1] != '\n')
            l->at++;
      } else if (*l->at != ' ' && *l->at != '\t' && *l->at != '\r') {
         return;
      }
      l->at++;
   }
}

static bool is_digit(char c)
{
   return c >= '0' && c <= '9';
}

static const char *scan_name(const lexer *l, const char *s)
{
   const char *start = s;

   while (s < l->end && ir_name_char(*s, s == start))
      s++;
   return s;
}

/* Digits, a point that is not the start of a range, an exponent. */
static const char *scan_number(const lexer *l, const char *s)
{
   while (s < l->end && is_digit(*s))
      s++;
   if (s + 1 < l->end && s[0] == '.' && s[1] != '.')
      s++;
   while (s < l->end && is_digit(*s))
      s++;
   if (s < l->end && (*s == 'e' || *s == 'E')) {
      s++;
      if (s < l->end && (*s == '+' || *s == '-'))
         s++;
      while (s < l->end && is_digit(*s))
         s++;
   }
   return s;
}

static const char *scan_string(const lexer *l, const char *s)
{
   for (s++; s < l->end && *s != '\n'; s++) {
      if (*s == '"')
         return s + 1;
      if (*s == '\\' && s + 1 < l->end)
         s++;
   }
   return NULL;
}

/* After % or @: a name or, for values, a number. */
static sinter_status scan_sigil(lexer *l, token *t, token_kind kind)
{
   const char *s = l->at + 1;
   const char *end = scan_name(l, s);

   if (kind == TOKEN_value && s < l->end && is_digit(*s))
      for (end = s; end < l->end && is_digit(*end);)
         end++;
   t->kind = kind;
   if (end == s || end - s > MAX_NAME)
      return lex_fail(l, t, "%c is not followed by a name of at most %d characters", *l->at,
                      MAX_NAME);
   t->text = s;
   t->len = (size_t)(end - s);
   l->at = end;
   return SINTER_ok;
}

sinter_status lex_next(lexer *l)
{
   token *t = &l->now;

   skip_blank(l);
   *t = (token){.kind = TOKEN_end,
                .text = l->at,
                .line = l->line,
                .column = (uint32_t)(l->at - l->line_start) + 1};
   if (l->at == l->end)
      return SINTER_ok;
   char c = *l->at;
   const char *end = l->at + 1;
   if (c == '%' || c == '@')
      return scan_sigil(l, t, c == '%' ? TOKEN_value : TOKEN_func);
   if (ir_name_char(c, true)) {
      t->kind = TOKEN_name;
      end = scan_name(l, l->at);
   } else if (is_digit(c)) {
      t->kind = TOKEN_number;
      end = scan_number(l, l->at);
   } else if (c == '"') {
      t->kind = TOKEN_string;
      end = scan_string(l, l->at);
      if (!end)
         return lex_fail(l, t, "the string does not end on its line");
   } else if (c == '.' && end < l->end && *end == '.') {
      t->kind = TOKEN_dots;
      end++;
   } else if (strchr("(){}[],:=+-*/", c) && c) {
      t->kind = TOKEN_punct;
   } else {
      return lex_fail(l, t, "unexpected character 0x%02x", (unsigned char)c);
   }
   t->len = (size_t)(end - l->at);
   l->at = end;
   return SINTER_ok;
}

bool lex_is(const lexer *l, char punct)
{
   return l->now.kind == TOKEN_punct && l->now.text[0] == punct;
}

bool lex_token_is(const token *t, const char *name)
{
   return t->kind == TOKEN_name && strlen(name) == t->len && memcmp(t->text, name, t->len) == 0;
}

bool lex_is_name(const lexer *l, const char *name)
{
   return lex_token_is(&l->now, name);
}

sinter_status lex_take(lexer *l, char punct, bool *out_taken)
{
   *out_taken = lex_is(l, punct);
   return *out_taken ? lex_next(l) : SINTER_ok;
}

sinter_status lex_expect(lexer *l, char punct)
{
   if (!lex_is(l, punct))
      return lex_fail(l, &l->now, "expected `%c`", punct);
   return lex_next(l);
}

sinter_status lex_int(lexer *l, int64_t limit, int64_t *out)
{
   token start = l->now;
   bool negative;
   int64_t v = 0;

   SINTER_TRY(lex_take(l, '-', &negative));
   if (l->now.kind != TOKEN_number)
      return lex_fail(l, &l->now, "expected a number");
   for (size_t i = 0; i < l->now.len; i++) {
      if (!is_digit(l->now.text[i]))
         return lex_fail(l, &start, "expected a whole number");
      if (!base_mul(v, 10, &v) || !base_add(v, l->now.text[i] - '0', &v) || v > limit)
         return lex_fail(l, &start, "the number exceeds %lld", (long long)limit);
   }
   *out = negative ? -v : v;
   return lex_next(l);
}

sinter_status lex_float(lexer *l, double *out)
{
   token start = l->now;
   char text[MAX_DIGITS + 1];
   bool negative;

   SINTER_TRY(lex_take(l, '-', &negative));
   if (l->now.kind != TOKEN_number || l->now.len > MAX_DIGITS)
      return lex_fail(l, &start, "expected a number of at most %d characters", MAX_DIGITS);
   memcpy(text, l->now.text, l->now.len);
   text[l->now.len] = 0;
   char *point = strchr(text, '.');
   if (point)
      *point = localeconv()->decimal_point[0];
   char *end;
   double v = strtod(text, &end);
   if (*end || !isfinite(v))
      return lex_fail(l, &start, "the number is malformed or not finite");
   *out = negative ? -v : v;
   return lex_next(l);
}

static int hex_digit(char c)
{
   if (is_digit(c))
      return c - '0';
   return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One escape at s, behind the backslash; the closing quote bounds the reads. Returns its length, 0
 * when it is wrong. */
static size_t unescape(const char *s, char *out)
{
   if (*s == 'n' || *s == '"' || *s == '\\') {
      *out = *s == 'n' ? '\n' : *s;
      return 1;
   }
   if (*s != 'x' || hex_digit(s[1]) < 0 || hex_digit(s[2]) < 0)
      return 0;
   *out = (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
   return 3;
}

sinter_status lex_string(lexer *l, const char **out)
{
   const token *t = &l->now;

   if (t->kind != TOKEN_string)
      return lex_fail(l, t, "expected a string");
   char *text = arena_alloc(l->a, t->len);
   size_t n = 0;
   for (const char *s = t->text + 1, *end = t->text + t->len - 1; s < end; n++) {
      size_t len = 1;
      text[n] = *s;
      if (*s == '\\')
         s++, len = unescape(s, &text[n]);
      if (len == 0 || text[n] == 0)
         return lex_fail(l, t, "the string holds a wrong escape or a NUL");
      s += len;
   }
   *out = text;
   return lex_next(l);
}
