/* jinja_lex.c - a template as tokens; all rules about white space are applied here.
 *
 *    {%- -%}  {{- -}}  {#- -#}   take the white space before, after
 *    trim_blocks                 a newline right after a block or comment goes
 *    lstrip_blocks               blanks between a line's start and a block or comment go
 *    the last newline of the source goes; \r\n counts as \n */
#include <stdio.h>
#include <stdlib.h>

#include "jinja.h"
#include "utf8.h"

typedef struct lexer {
   arena *a;
   const char *s;
   size_t len, at;
   uint32_t line;
   bool line_starting; /* the last tag ended with its newline */
   VEC(jtoken) out;
} lexer;

static sinter_status fail(const lexer *l, const char *what)
{
   char where[64];

   snprintf(where, sizeof where, "chat template: line %u", l->line);
   return base_fail(SINTER_bad_input, where, "repair the template", "%s", what);
}

static jtoken *add(lexer *l, jtoken_kind kind, const char *s, size_t len)
{
   jtoken *t = vec_push(l->a, &l->out);

   *t = (jtoken){.kind = kind, .line = l->line, .s = s, .len = (uint32_t)len};
   return t;
}

static bool is_blank(char c)
{
   return c == ' ' || (c >= 9 && c <= 13);
}

static void advance(lexer *l, size_t to)
{
   for (; l->at < to; l->at++)
      l->line += l->s[l->at] == '\n';
}

/* ---- text between tags ---- */

/* Where the next tag opens, or the end. */
static size_t next_tag(const lexer *l)
{
   size_t i = l->at;

   while (i + 1 < l->len && !(l->s[i] == '{' && strchr("{%#", l->s[i + 1]) && l->s[i + 1]))
      i++;
   return i + 1 < l->len ? i : l->len;
}

/* Adds the text up to a tag, without what the tag takes. */
static void add_text(lexer *l, size_t end)
{
   size_t begin = l->at, stop = end;
   char sign = end + 2 < l->len ? l->s[end + 2] : 0;
   bool is_tag = end < l->len, is_var = is_tag && l->s[end + 1] == '{';

   if (is_tag && sign == '-') {
      while (stop > begin && is_blank(l->s[stop - 1]))
         stop--;
   } else if (is_tag && !is_var && sign != '+') {
      while (stop > begin && is_blank(l->s[stop - 1]) && l->s[stop - 1] != '\n')
         stop--;
      if (stop > begin ? l->s[stop - 1] != '\n' : !l->line_starting)
         stop = end;
   }
   if (stop > begin)
      add(l, JT_text, l->s + begin, stop - begin);
   advance(l, end);
}

/* After a closing tag: '-' takes all white space, a block its newline. */
static void after_tag(lexer *l, char sign, bool trims)
{
   size_t begin = l->at;

   if (sign == '-')
      while (l->at < l->len && is_blank(l->s[l->at]))
         advance(l, l->at + 1);
   else if (trims && sign != '+' && l->at < l->len && l->s[l->at] == '\n')
      advance(l, l->at + 1);
   l->line_starting = l->at > begin && l->s[l->at - 1] == '\n';
}

static sinter_status comment(lexer *l)
{
   const char *end = memmem(l->s + l->at + 2, l->len - l->at - 2, "#}", 2);

   if (!end)
      return fail(l, "a comment is not closed");
   char sign = end[-1] == '-' && end - 1 >= l->s + l->at + 2 ? '-' : 0;
   advance(l, (size_t)(end - l->s) + 2);
   after_tag(l, sign, true);
   return SINTER_ok;
}

/* ---- inside tags ---- */

static size_t put_utf8(char *out, uint32_t cp)
{
   if (cp < 0x80) {
      out[0] = (char)cp;
      return 1;
   }
   size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
   for (size_t i = n; i-- > 1; cp >>= 6)
      out[i] = (char)(0x80 | (cp & 0x3f));
   out[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | cp);
   return n;
}

/* \xHH, \uHHHH, \UHHHHHHHH: digits at p; 0 when malformed. */
static size_t hex_escape(const char *p, size_t left, char kind, uint32_t *out)
{
   size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
   char text[9] = {0};

   if (left < digits)
      return 0;
   memcpy(text, p, digits);
   if (strspn(text, "0123456789abcdefABCDEF") != digits)
      return 0;
   *out = (uint32_t)strtoul(text, NULL, 16);
   return *out <= 0x10ffff && !(*out >= 0xd800 && *out < 0xe000) ? digits : 0;
}

/* Python's escapes; an unknown one stands for itself. */
static size_t unescape(const char *p, size_t n, char *out)
{
   static const char from[] = "nrtabfv\\'\"0", to[] = "\n\r\t\a\b\f\v\\'\"";
   size_t len = 0;

   for (size_t i = 0; i < n; i++) {
      uint32_t cp;
      size_t digits;
      const char *hit = p[i] == '\\' && i + 1 < n && p[i + 1] ? strchr(from, p[i + 1]) : NULL;
      if (hit) {
         out[len++] = to[hit - from];
         i++;
      } else if (p[i] == '\\' && i + 1 < n && p[i + 1] == '\n') {
         i++;
      } else if (p[i] == '\\' && i + 1 < n && p[i + 1] && strchr("xuU", p[i + 1]) &&
                 (digits = hex_escape(p + i + 2, n - i - 2, p[i + 1], &cp)) > 0) {
         len += put_utf8(out + len, cp);
         i += 1 + digits;
      } else {
         out[len++] = p[i];
      }
   }
   return len;
}

static sinter_status string(lexer *l)
{
   char quote = l->s[l->at];
   size_t end = l->at + 1;

   while (end < l->len && l->s[end] != quote)
      end += l->s[end] == '\\' ? 2 : 1;
   if (end >= l->len)
      return fail(l, "a string is not closed");
   char *text = arena_alloc(l->a, end - l->at);
   size_t n = unescape(l->s + l->at + 1, end - l->at - 1, text);
   add(l, JT_string, text, n);
   advance(l, end + 1);
   return SINTER_ok;
}

static bool is_digit(char c)
{
   return c >= '0' && c <= '9';
}

static void number(lexer *l)
{
   size_t begin = l->at, end = begin;
   char text[64] = {0};
   bool is_float = false;

   while (end < l->len && (is_digit(l->s[end]) || l->s[end] == '_'))
      end++;
   if (end + 1 < l->len && l->s[end] == '.' && is_digit(l->s[end + 1])) {
      is_float = true;
      for (end++; end < l->len && is_digit(l->s[end]);)
         end++;
   }
   if (end < l->len && (l->s[end] | 32) == 'e') {
      size_t k = end + 1 + (end + 1 < l->len && strchr("+-", l->s[end + 1]) != NULL);
      if (k < l->len && is_digit(l->s[k])) {
         is_float = true;
         for (end = k; end < l->len && is_digit(l->s[end]);)
            end++;
      }
   }
   for (size_t i = begin, n = 0; i < end && n + 1 < sizeof text; i++)
      if (l->s[i] != '_')
         text[n++] = l->s[i];
   jtoken *t = add(l, is_float ? JT_float : JT_int, l->s + begin, end - begin);
   t->i = strtoll(text, NULL, 10);
   t->f = strtod(text, NULL);
   advance(l, end);
}

static bool is_name(char c, bool first)
{
   return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && is_digit(c));
}

static sinter_status operator(lexer *l, int *depth)
{
   static const char *const two[] = {"==", "!=", ">=", "<=", "//", "**"};

   for (size_t i = 0; i < countof(two); i++)
      if (l->len - l->at >= 2 && memcmp(l->s + l->at, two[i], 2) == 0) {
         add(l, JT_op, two[i], 2);
         advance(l, l->at + 2);
         return SINTER_ok;
      }
   char c = l->s[l->at];
   if (!c || !strchr("+-*/%<>=|.,:()[]{}~", c))
      return fail(l, "a character is out of place");
   *depth += strchr("([{", c) != NULL;
   *depth -= strchr(")]}", c) != NULL;
   if (*depth < 0)
      return fail(l, "a bracket is closed that was not opened");
   add(l, JT_op, l->s + l->at, 1);
   advance(l, l->at + 1);
   return SINTER_ok;
}

/* True when the tag ends here; eats its end. */
static bool ends(lexer *l, const char *close, bool is_block)
{
   char sign = l->s[l->at];
   size_t skip = sign == '-' || (sign == '+' && is_block);

   if (l->len - l->at < 2 + skip || memcmp(l->s + l->at + skip, close, 2) != 0)
      return false;
   add(l, is_block ? JT_block_end : JT_var_end, l->s + l->at, 2 + skip);
   advance(l, l->at + 2 + skip);
   after_tag(l, skip ? sign : 0, is_block);
   return true;
}

static sinter_status tag(lexer *l, bool is_block)
{
   const char *close = is_block ? "%}" : "}}";
   int depth = 0;

   add(l, is_block ? JT_block : JT_var, l->s + l->at, 2);
   advance(l, l->at + 2);
   if (l->at < l->len && (l->s[l->at] == '-' || l->s[l->at] == '+'))
      advance(l, l->at + 1);
   while (l->at < l->len) {
      char c = l->s[l->at];
      if (is_blank(c)) {
         advance(l, l->at + 1);
      } else if (depth == 0 && ends(l, close, is_block)) {
         return SINTER_ok;
      } else if (c == '\'' || c == '"') {
         SINTER_TRY(string(l));
      } else if (is_digit(c)) {
         number(l);
      } else if (is_name(c, true)) {
         size_t end = l->at;
         while (end < l->len && is_name(l->s[end], false))
            end++;
         add(l, JT_name, l->s + l->at, end - l->at);
         advance(l, end);
      } else {
         SINTER_TRY(operator(l, &depth));
      }
   }
   return fail(l, "a tag is not closed");
}

static void normalise(lexer *l, const char *source, size_t len)
{
   char *s = arena_alloc(l->a, len + 1);

   for (size_t i = 0; i < len; i++)
      if (source[i] == '\r') {
         s[l->len++] = '\n';
         i += i + 1 < len && source[i + 1] == '\n';
      } else {
         s[l->len++] = source[i];
      }
   if (l->len > 0 && s[l->len - 1] == '\n')
      l->len--;
   l->s = s;
}

sinter_status jinja_lex(arena *a, const char *source, size_t len, jtoken **out)
{
   lexer l = {.a = a, .line = 1, .line_starting = true};

   normalise(&l, source, len);
   while (l.at < l.len) {
      size_t end = next_tag(&l);
      add_text(&l, end);
      if (end == l.len)
         break;
      if (l.s[end + 1] == '#')
         SINTER_TRY(comment(&l));
      else
         SINTER_TRY(tag(&l, l.s[end + 1] == '%'));
   }
   add(&l, JT_end, "", 0);
   *out = l.out.data;
   return SINTER_ok;
}
