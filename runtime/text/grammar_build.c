/* grammar_build.c - states, character classes, and the parts that every JSON grammar needs. */
#include "grammar_build.h"

enum { MAX_CODE = 0x10ffff, SURROGATE_LO = 0xd800, SURROGATE_HI = 0xdfff, INDENT = 16 };

static uint32_t add(grammar_builder *b, grammar_state s)
{
   if (b->states.count >= GRAMMAR_MAX_STATES) {
      b->full = true;
      return GRAMMAR_FAIL;
   }
   *vec_push(b->a, &b->states) = s;
   return (uint32_t)b->states.count - 1;
}

void grammar_builder_init(grammar_builder *b, arena *a)
{
   *b = (grammar_builder){.a = a};
   (void)add(b, (grammar_state){.kind = GRAMMAR_fail});
   (void)add(b, (grammar_state){.kind = GRAMMAR_ret});
}

/* ---- states ---- */

uint32_t grammar_byte(grammar_builder *b, uint8_t lo, uint8_t hi, uint32_t next)
{
   if (next == GRAMMAR_FAIL)
      return GRAMMAR_FAIL;
   return add(b, (grammar_state){.kind = GRAMMAR_byte, .lo = lo, .hi = hi, .a = next});
}

uint32_t grammar_or(grammar_builder *b, uint32_t x, uint32_t y)
{
   if (x == GRAMMAR_FAIL || x == y)
      return y;
   return y == GRAMMAR_FAIL ? x : add(b, (grammar_state){.kind = GRAMMAR_split, .a = x, .b = y});
}

uint32_t grammar_call_rule(grammar_builder *b, uint32_t rule, uint32_t next)
{
   if (next == GRAMMAR_RET || rule == GRAMMAR_FAIL)
      return rule; /* its end is ours */
   if (next == GRAMMAR_FAIL)
      return GRAMMAR_FAIL;
   return add(b, (grammar_state){.kind = GRAMMAR_call, .a = rule, .b = next});
}

uint32_t grammar_text(grammar_builder *b, const char *text, size_t len, uint32_t next)
{
   while (len-- > 0)
      next = grammar_byte(b, (uint8_t)text[len], (uint8_t)text[len], next);
   return next;
}

uint32_t grammar_open(grammar_builder *b)
{
   return add(b, (grammar_state){.kind = GRAMMAR_jump});
}

void grammar_close(grammar_builder *b, uint32_t open, uint32_t to)
{
   if (open != GRAMMAR_FAIL)
      b->states.data[open].a = to;
}

uint32_t grammar_repeat_rule(grammar_builder *b, uint32_t rule, int64_t least, int64_t most,
                             uint32_t next)
{
   uint32_t end = next;

   if (most == GRAMMAR_UNBOUNDED) {
      uint32_t loop = grammar_open(b);
      grammar_close(b, loop, grammar_or(b, grammar_call_rule(b, rule, loop), end));
      next = loop;
   }
   for (int64_t i = least; i < most && !b->full; i++)
      next = grammar_or(b, grammar_call_rule(b, rule, next), end);
   for (int64_t i = 0; i < least && !b->full; i++)
      next = grammar_call_rule(b, rule, next);
   return next;
}

/* ---- sets of characters ---- */

void grammar_set_add(grammar_builder *b, grammar_set *s, uint32_t lo, uint32_t hi)
{
   if (lo <= hi)
      *vec_push(b->a, s) = (grammar_range){lo, hi};
}

void grammar_set_normalize(grammar_set *s)
{
   size_t n = 0;

   for (size_t i = 1; i < s->count; i++) {
      grammar_range r = s->data[i];
      size_t at = i;
      for (; at > 0 && s->data[at - 1].lo > r.lo; at--)
         s->data[at] = s->data[at - 1];
      s->data[at] = r;
   }
   for (size_t i = 0; i < s->count; i++) {
      if (n && s->data[i].lo <= s->data[n - 1].hi + 1)
         s->data[n - 1].hi = MAX(s->data[n - 1].hi, s->data[i].hi);
      else
         s->data[n++] = s->data[i];
   }
   s->count = n;
}

void grammar_set_complement(grammar_builder *b, grammar_set *s)
{
   grammar_set out = {0};
   uint32_t from = 0;

   grammar_set_normalize(s);
   for (size_t i = 0; i < s->count; i++) {
      if (s->data[i].lo > from)
         grammar_set_add(b, &out, from, s->data[i].lo - 1);
      from = s->data[i].hi + 1;
   }
   grammar_set_add(b, &out, from, MAX_CODE);
   *s = out;
}

static int encode(uint32_t c, uint8_t out[4])
{
   if (c < 0x80) {
      out[0] = (uint8_t)c;
      return 1;
   }
   int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
   for (int i = n - 1; i > 0; i--, c >>= 6)
      out[i] = (uint8_t)(0x80 | (c & 0x3f));
   out[0] = (uint8_t)(c | (uint32_t)(0xf00 >> n));
   return n;
}

uint32_t grammar_decode(const char *text, size_t len, size_t *at)
{
   const uint8_t *p = (const uint8_t *)text + *at;
   int n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
   uint32_t c = n == 1 ? *p : *p & (0xffu >> (n + 1));

   for (int i = 1; i < n && *at + (size_t)i < len; i++)
      c = c << 6 | (p[i] & 0x3f);
   *at += (size_t)n;
   return c;
}

/* lo..hi as sequences of byte ranges: cut where the length or a leading byte changes. */
static uint32_t utf8(grammar_builder *b, uint32_t lo, uint32_t hi, uint32_t next)
{
   static const uint32_t last[] = {0x7f, 0x7ff, 0xffff};
   uint8_t from[4], to[4];

   for (size_t i = 0; i < countof(last); i++) {
      if (lo <= last[i] && hi > last[i])
         return grammar_or(b, utf8(b, lo, last[i], next), utf8(b, last[i] + 1, hi, next));
   }
   int n = encode(lo, from);
   for (int i = 1; i < n; i++) {
      uint32_t low = (1u << (6 * i)) - 1;
      if ((lo & ~low) == (hi & ~low))
         continue;
      if (lo & low)
         return grammar_or(b, utf8(b, lo, lo | low, next), utf8(b, (lo | low) + 1, hi, next));
      if ((hi & low) != low)
         return grammar_or(b, utf8(b, lo, (hi & ~low) - 1, next), utf8(b, hi & ~low, hi, next));
   }
   (void)encode(hi, to);
   while (n-- > 0)
      next = grammar_byte(b, from[n], to[n], next);
   return next;
}

/* The part of a range that is no surrogate. */
static uint32_t characters(grammar_builder *b, uint32_t lo, uint32_t hi, uint32_t next)
{
   uint32_t out = GRAMMAR_FAIL;

   if (lo < SURROGATE_LO)
      out = utf8(b, lo, MIN(hi, (uint32_t)SURROGATE_LO - 1), next);
   if (hi > SURROGATE_HI)
      out = grammar_or(b, out, utf8(b, MAX(lo, (uint32_t)SURROGATE_HI + 1), hi, next));
   return out;
}

static bool is_escaped(uint32_t c)
{
   return c < 0x20 || c == '"' || c == '\\';
}

uint32_t grammar_json_char(grammar_builder *b, uint32_t c, uint32_t next)
{
   static const char letters[] = "btnfr", codes[] = "\b\t\n\f\r";
   char text[8] = {'\\', (char)c};

   if (!is_escaped(c))
      return characters(b, c, c, next);
   const char *letter = c ? strchr(codes, (int)c) : NULL;
   if (letter)
      text[1] = letters[letter - codes];
   else if (c < 0x20)
      memcpy(text,
             (char[]){'\\', 'u', '0', '0', (char)('0' + (c >> 4)), "0123456789abcdef"[c & 15]}, 6);
   return grammar_text(b, text, strlen(text), next);
}

uint32_t grammar_class(grammar_builder *b, const grammar_set *s, bool as_json, uint32_t next)
{
   uint32_t out = GRAMMAR_FAIL;

   for (size_t i = 0; i < s->count; i++) {
      uint32_t lo = s->data[i].lo, hi = s->data[i].hi;
      for (uint32_t c = lo; as_json && c <= hi && c <= '\\'; c++) {
         if (!is_escaped(c))
            continue;
         out = grammar_or(b, out, grammar_json_char(b, c, next));
         if (lo < c)
            out = grammar_or(b, out, characters(b, lo, c - 1, next));
         lo = c + 1;
      }
      if (lo <= hi)
         out = grammar_or(b, out, characters(b, lo, hi, next));
   }
   return out;
}

uint32_t grammar_json_string(grammar_builder *b, const char *text, size_t len, uint32_t next)
{
   VEC(uint32_t) codes = {0};

   for (size_t at = 0; at < len;)
      *vec_push(b->a, &codes) = grammar_decode(text, len, &at);
   next = grammar_byte(b, '"', '"', next);
   while (codes.count > 0)
      next = grammar_json_char(b, codes.data[--codes.count], next);
   return grammar_byte(b, '"', '"', next);
}

/* ---- shared parts ---- */

static uint32_t hex(grammar_builder *b, int digits, uint32_t next)
{
   for (; digits > 0; digits--) {
      uint32_t digit = grammar_byte(b, '0', '9', next);
      digit = grammar_or(b, digit, grammar_byte(b, 'a', 'f', next));
      next = grammar_or(b, digit, grammar_byte(b, 'A', 'F', next));
   }
   return next;
}

static uint32_t one_of(grammar_builder *b, const char *bytes, uint32_t next)
{
   uint32_t out = GRAMMAR_FAIL;

   for (; *bytes; bytes++)
      out = grammar_or(b, out, grammar_byte(b, (uint8_t)*bytes, (uint8_t)*bytes, next));
   return out;
}

/* Four hex digits that are no half of a pair, or a whole pair. */
static uint32_t unicode(grammar_builder *b)
{
   uint32_t three = hex(b, 3, GRAMMAR_RET), two = hex(b, 2, GRAMMAR_RET);
   uint32_t low = one_of(b, "cdefCDEF", two);
   uint32_t pair = hex(b, 2, grammar_text(b, "\\u", 2, one_of(b, "dD", low)));
   uint32_t out = one_of(b, "abcefABCEF", three);

   out = grammar_or(b, out, grammar_byte(b, '0', '9', three));
   out = grammar_or(b, out, one_of(b, "dD", grammar_byte(b, '0', '7', two)));
   out = grammar_or(b, out, one_of(b, "dD", one_of(b, "89abAB", pair)));
   return grammar_byte(b, 'u', 'u', out);
}

static uint32_t any_char(grammar_builder *b)
{
   uint32_t escape = grammar_or(b, one_of(b, "\"\\/bfnrt", GRAMMAR_RET), unicode(b));
   uint32_t plain = characters(b, 0x20, '"' - 1, GRAMMAR_RET);

   plain = grammar_or(b, plain, characters(b, '"' + 1, '\\' - 1, GRAMMAR_RET));
   plain = grammar_or(b, plain, characters(b, '\\' + 1, MAX_CODE, GRAMMAR_RET));
   return grammar_or(b, plain, grammar_byte(b, '\\', '\\', escape));
}

static uint32_t any_string(grammar_builder *b)
{
   uint32_t quote = grammar_byte(b, '"', '"', GRAMMAR_RET);
   uint32_t chars =
      grammar_repeat_rule(b, grammar_shared_rule(b, GRAMMAR_CHAR), 0, GRAMMAR_UNBOUNDED, quote);

   return grammar_byte(b, '"', '"', chars);
}

static uint32_t space(grammar_builder *b)
{
   uint32_t next = GRAMMAR_RET;

   for (int i = 0; i < INDENT; i++)
      next = grammar_or(b, one_of(b, " \t", next), GRAMMAR_RET);
   next = grammar_byte(b, '\n', '\n', next);
   next = grammar_or(b, next, grammar_byte(b, ' ', ' ', GRAMMAR_RET));
   return grammar_or(b, next, GRAMMAR_RET);
}

/* At least one. */
static uint32_t digits(grammar_builder *b, uint32_t next)
{
   uint32_t loop = grammar_open(b), digit = grammar_byte(b, '0', '9', loop);

   grammar_close(b, loop, grammar_or(b, digit, next));
   return digit;
}

uint32_t grammar_digits(grammar_builder *b, uint32_t most, uint32_t next)
{
   uint32_t out = next;

   while (most-- > 0)
      out = grammar_or(b, grammar_byte(b, '0', '9', out), next);
   return out;
}

static uint32_t number(grammar_builder *b, bool integer)
{
   uint32_t end = GRAMMAR_RET;

   if (!integer) {
      uint32_t power = grammar_byte(b, '0', '9', grammar_digits(b, 1, GRAMMAR_RET));
      power = one_of(b, "eE", grammar_or(b, power, one_of(b, "+-", power)));
      end = grammar_or(b, end, power);
      end = grammar_or(b, end, grammar_byte(b, '.', '.', digits(b, end)));
   }
   uint32_t whole = grammar_byte(b, '1', '9', grammar_digits(b, GRAMMAR_WHOLE_DIGITS - 1, end));
   whole = grammar_or(b, whole, grammar_byte(b, '0', '0', end));
   return grammar_or(b, whole, grammar_byte(b, '-', '-', whole));
}

/* open, items with commas between, close. */
static uint32_t list(grammar_builder *b, char open, uint32_t item, char close)
{
   uint32_t end = grammar_byte(b, (uint8_t)close, (uint8_t)close, GRAMMAR_RET);
   uint32_t more = grammar_open(b), items = grammar_call_rule(b, item, grammar_space(b, more));
   uint32_t comma = grammar_byte(b, ',', ',', grammar_space(b, items));

   grammar_close(b, more, grammar_or(b, comma, end));
   return grammar_byte(b, (uint8_t)open, (uint8_t)open,
                       grammar_space(b, grammar_or(b, items, end)));
}

static uint32_t any_value(grammar_builder *b, uint32_t self)
{
   uint32_t pair = grammar_byte(b, ':', ':', grammar_space(b, self));
   uint32_t string = grammar_shared_rule(b, GRAMMAR_STRING);

   pair = grammar_call_rule(b, string, grammar_space(b, pair));
   uint32_t out = grammar_or(b, string, grammar_shared_rule(b, GRAMMAR_NUMBER));
   out = grammar_or(b, out, list(b, '{', pair, '}'));
   out = grammar_or(b, out, list(b, '[', self, ']'));
   out = grammar_or(b, out, grammar_text(b, "true", 4, GRAMMAR_RET));
   out = grammar_or(b, out, grammar_text(b, "false", 5, GRAMMAR_RET));
   return grammar_or(b, out, grammar_text(b, "null", 4, GRAMMAR_RET));
}

uint32_t grammar_shared_rule(grammar_builder *b, grammar_shared what)
{
   if (b->shared[what])
      return b->shared[what];
   uint32_t rule = b->shared[what] = grammar_open(b), to = GRAMMAR_FAIL;
   switch (what) {
   case GRAMMAR_SPACE: to = space(b); break;
   case GRAMMAR_CHAR: to = any_char(b); break;
   case GRAMMAR_STRING: to = any_string(b); break;
   case GRAMMAR_NUMBER: to = number(b, false); break;
   case GRAMMAR_INTEGER: to = number(b, true); break;
   case GRAMMAR_ANY: to = any_value(b, rule); break;
   case GRAMMAR_SHARED_COUNT: break;
   }
   grammar_close(b, rule, to);
   return rule;
}

uint32_t grammar_space(grammar_builder *b, uint32_t next)
{
   return grammar_call_rule(b, grammar_shared_rule(b, GRAMMAR_SPACE), next);
}
