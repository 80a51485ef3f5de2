/* regex_translate.c - Oniguruma patterns in PCRE2's syntax.
 *
 * Both read most patterns alike. Different, and rewritten here:
 *    \s \S \w \W \d \h   PCRE2 counts U+180E as space and no marks as word characters
 *    \v                  U+000B, not all that end a line
 *    \p{Han}, of scripts PCRE2 adds what several scripts share, where \p{sc:Han} does not
 *    [[:alpha:]] …       what Unicode calls so
 *    \uHHHH              \x{HHHH}
 *    X{n,m}+             repeats the repetition, where PCRE2 would make it possessive
 *    ^ $ and (?m         always multi-line; m means what PCRE2 calls s
 * Declined: set operations and nested sets inside [ ]. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

#include "vocab_build.h"

#define SPACES "\\p{Z}\\t-\\r\\x{85}"
#define WORDS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORDS_ALONE WORDS "\\xb2\\xb3\\xb9\\xbc-\\xbe" /* outside of sets only */
#define HEX "0-9A-Fa-f"
#define GRAPHS "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}"

enum { MAX_GROUPS = 256 };

typedef struct reader {
   const char *p, *end, *start;
   text_buf out;
   size_t atom;              /* where the last atom begins in out */
   size_t group[MAX_GROUPS]; /* where open groups begin */
   int depth;
} reader;

static sinter_status unsupported(const reader *r, const char *what)
{
   return base_fail(SINTER_unsupported, "tokenizer.json", "report the model",
                    "the pattern '%.120s' uses %s", r->start, what);
}

static void put(reader *r, const char *s)
{
   text_append(&r->out, s, strlen(s));
}

/* The characters of a class escape, NULL when c is none that differs. */
static const char *class_of(char c, bool in_set)
{
   switch (c) {
   case 's':
   case 'S': return SPACES;
   case 'w':
   case 'W': return in_set ? WORDS : WORDS_ALONE;
   case 'h':
   case 'H': return HEX;
   default: return NULL;
   }
}

static bool is_script(const char *name, size_t len)
{
   char pattern[64];
   int code;
   PCRE2_SIZE at;

   if (snprintf(pattern, sizeof pattern, "\\p{sc:%.*s}", (int)len, name) >= (int)sizeof pattern)
      return false;
   pcre2_code *c =
      pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
   pcre2_code_free(c);
   return c != NULL;
}

/* What stands behind \p, \P or \x: {…}. */
static void braced(reader *r, bool property)
{
   const char *end = memchr(r->p, '}', (size_t)(r->end - r->p));

   if (!end)
      return;
   text_append(&r->out, r->p++, 1);
   if (property && *r->p == '^')
      text_append(&r->out, r->p++, 1);
   if (property && is_script(r->p, (size_t)(end - r->p)))
      put(r, "sc:");
   text_append(&r->out, r->p, (size_t)(end + 1 - r->p));
   r->p = end + 1;
}

static sinter_status escape(reader *r, bool in_set)
{
   char c = r->p[1];
   const char *members = class_of(c, in_set);
   bool negated = c >= 'A' && c <= 'Z';

   if (members && in_set && negated && c != 'S')
      return unsupported(r, "a negated class inside a set");
   if (members && !(in_set && negated)) {
      if (in_set)
         put(r, members);
      else
         text_printf(&r->out, "[%s%s]", negated ? "^" : "", members);
      r->p += 2;
      return SINTER_ok;
   }
   if (c == 'u' && r->end - r->p >= 6) {
      text_printf(&r->out, "\\x{%.4s}", r->p + 2);
      r->p += 6;
      return SINTER_ok;
   }
   if (c == 'v')
      put(r, "\\x0b");
   else
      text_append(&r->out, r->p, 2);
   r->p += 2;
   if ((c == 'p' || c == 'P' || c == 'x') && r->p < r->end && *r->p == '{')
      braced(r, c != 'x');
   return SINTER_ok;
}

/* [:name:] inside a set. */
static sinter_status named(reader *r)
{
   static const struct {
      const char *name, *members;
   } sets[] = {
      {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
      {"[:alpha:]", "\\p{Alphabetic}"},
      {"[:blank:]", "\\p{Zs}\\t"},
      {"[:graph:]", GRAPHS},
      {"[:lower:]", "\\p{Lowercase}"},
      {"[:print:]", GRAPHS "\\p{Zs}"},
      {"[:punct:]", "\\p{P}\\p{S}"},
      {"[:space:]", SPACES},
      {"[:upper:]", "\\p{Uppercase}"},
      {"[:word:]", WORDS},
   };

   for (size_t i = 0; i < countof(sets); i++) {
      size_t len = strlen(sets[i].name);
      if ((size_t)(r->end - r->p) >= len && memcmp(r->p, sets[i].name, len) == 0) {
         put(r, sets[i].members);
         r->p += len;
         return SINTER_ok;
      }
   }
   if (r->end - r->p > 2 && r->p[2] == '^')
      return unsupported(r, "a negated class inside a set");
   do
      text_append(&r->out, r->p++, 1);
   while (r->p < r->end && !(r->p[-1] == ']'));
   return SINTER_ok;
}

/* From '[' to its ']'. */
static sinter_status set(reader *r)
{
   text_append(&r->out, r->p++, 1);
   if (r->p < r->end && *r->p == '^')
      text_append(&r->out, r->p++, 1);
   if (r->p < r->end && *r->p == ']')
      put(r, "\\]"), r->p++;
   while (r->p < r->end && *r->p != ']') {
      if (*r->p == '\\' && r->end - r->p >= 2) {
         SINTER_TRY(escape(r, true));
      } else if (*r->p == '[' && !(r->end - r->p >= 2 && r->p[1] == ':')) {
         return unsupported(r, "a set inside a set");
      } else if (r->end - r->p >= 2 && r->p[0] == '&' && r->p[1] == '&') {
         return unsupported(r, "an intersection of sets");
      } else if (*r->p == '[') {
         SINTER_TRY(named(r));
      } else {
         text_append(&r->out, r->p++, 1);
      }
   }
   if (r->p < r->end)
      text_append(&r->out, r->p++, 1);
   return SINTER_ok;
}

static sinter_status open_group(reader *r)
{
   if (r->depth == MAX_GROUPS)
      return unsupported(r, "more than 256 nested groups");
   r->group[r->depth++] = r->out.len;
   text_append(&r->out, r->p++, 1);
   if (r->end - r->p < 2 || *r->p != '?')
      return SINTER_ok;
   text_append(&r->out, r->p++, 1);
   while (r->p < r->end && (*r->p == 'i' || *r->p == 'm' || *r->p == 'x' || *r->p == '-')) {
      text_append(&r->out, *r->p == 'm' ? "s" : r->p, 1);
      r->p++;
   }
   while (r->p < r->end && strchr(":=!<>", *r->p) && *r->p)
      text_append(&r->out, r->p++, 1);
   return SINTER_ok;
}

static void wrap(reader *r, const char *before, const char *after)
{
   size_t len = r->out.len - r->atom;
   char *atom = arena_strndup(r->out.a, r->out.data + r->atom, len);

   r->out.len = r->atom;
   put(r, before);
   text_append(&r->out, atom, len);
   put(r, after);
}

/* {n,m} and what follows it; false when the brace is no quantifier. */
static bool interval(reader *r)
{
   const char *q = r->p + 1;

   while (q < r->end && ((*q >= '0' && *q <= '9') || *q == ','))
      q++;
   if (q == r->end || *q != '}' || q == r->p + 1)
      return false;
   text_append(&r->out, r->p, (size_t)(q + 1 - r->p));
   r->p = q + 1;
   if (r->p < r->end && *r->p == '+') {
      wrap(r, "(?:", ")+");
      r->p++;
   }
   return true;
}

static sinter_status step(reader *r)
{
   size_t here = r->out.len;

   switch (*r->p) {
   case '(': return open_group(r);
   case ')':
      r->atom = r->depth > 0 ? r->group[--r->depth] : here;
      text_append(&r->out, r->p++, 1);
      return SINTER_ok;
   case '?':
   case '*':
   case '+':
   case '|': text_append(&r->out, r->p++, 1); return SINTER_ok;
   case '{':
      if (interval(r))
         return SINTER_ok;
      break;
   case '[': r->atom = here; return set(r);
   case '\\':
      r->atom = here;
      if (r->end - r->p >= 2)
         return escape(r, false);
      break;
   default: break;
   }
   r->atom = here;
   do /* a whole character */
      text_append(&r->out, r->p++, 1);
   while (r->p < r->end && (*r->p & 0xc0) == 0x80);
   return SINTER_ok;
}

static sinter_status compiles(const reader *r)
{
   int code;
   PCRE2_SIZE at;
   pcre2_code *c = pcre2_compile((PCRE2_SPTR)r->out.data, r->out.len,
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);

   if (!c) {
      PCRE2_UCHAR why[128];
      pcre2_get_error_message(code, why, sizeof why);
      return base_fail(SINTER_bad_input, "tokenizer.json", "repair the tokenizer",
                       "the pattern '%.120s' does not compile: %s", r->start, (char *)why);
   }
   pcre2_code_free(c);
   return SINTER_ok;
}

sinter_status regex_translate(arena *a, const char *pattern, size_t len, const char **out,
                              size_t *out_len)
{
   reader r = {.p = pattern, .end = pattern + len, .start = pattern, .out = {.a = a}};

   if (len > 64 * 1024)
      return unsupported(&r, "more than 64 KiB");
   put(&r, "(?m)");
   while (r.p < r.end)
      SINTER_TRY(step(&r));
   SINTER_TRY(compiles(&r));
   *out = r.out.data;
   *out_len = r.out.len;
   return SINTER_ok;
}
