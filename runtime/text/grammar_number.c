/* grammar_number.c - decimals between two bounds, digit by digit.
 *
 *    [12.5, 340]  =  12 with a fraction of at least .5 │ 13 … 339 with any │ 340 with none but zeros
 *
 * Negative numbers are the mirror image behind a minus. No exponents: they would make the digits
 * unequal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "grammar_build.h"

enum { MAX_FRACTION = 40, MAX_DIGITS = 20 };

/* A bound of at least 0: 10^18 at most, with its digits behind the point. */
typedef struct decimal {
   bool none;     /* no bound */
   bool excluded; /* the bound itself is not allowed */
   uint64_t whole;
   char fraction[MAX_FRACTION + 1];
} decimal;

typedef struct interval {
   grammar_builder *b;
   decimal lo, hi; /* lo has a bound always */
   bool integer;
   uint32_t next;
   uint32_t any_fraction;
} interval;

/* ---- integers ---- */

static uint32_t any_digits(grammar_builder *b, int n, uint32_t next)
{
   while (n-- > 0)
      next = grammar_byte(b, '0', '9', next);
   return next;
}

/* Numbers of n digits from lo to hi, both of which have n digits. */
static uint32_t same_length(grammar_builder *b, const char *lo, const char *hi, int n,
                            uint32_t next)
{
   static const char least[] = "00000000000000000000", most[] = "99999999999999999999";

   if (n == 0)
      return next;
   if (memcmp(lo, least, (size_t)n) == 0 && memcmp(hi, most, (size_t)n) == 0)
      return any_digits(b, n, next);
   if (*lo == *hi)
      return grammar_byte(b, (uint8_t)*lo, (uint8_t)*lo,
                          same_length(b, lo + 1, hi + 1, n - 1, next));
   uint32_t out =
      grammar_byte(b, (uint8_t)*lo, (uint8_t)*lo, same_length(b, lo + 1, most, n - 1, next));
   out = grammar_or(
      b, out,
      grammar_byte(b, (uint8_t)*hi, (uint8_t)*hi, same_length(b, least, hi + 1, n - 1, next)));
   if (*lo + 1 < *hi)
      out = grammar_or(
         b, out,
         grammar_byte(b, (uint8_t)(*lo + 1), (uint8_t)(*hi - 1), any_digits(b, n - 1, next)));
   return out;
}

/* Whole numbers from lo to hi without leading zeros; with unbounded, from lo on. */
static uint32_t whole_range(grammar_builder *b, uint64_t lo, uint64_t hi, bool unbounded,
                            uint32_t next)
{
   char from[24], to[24];
   uint32_t out = GRAMMAR_FAIL;
   int n = snprintf(from, sizeof from, "%llu", (unsigned long long)lo);
   int last = snprintf(to, sizeof to, "%llu", (unsigned long long)hi);

   if (!unbounded && lo > hi)
      return GRAMMAR_FAIL;
   if (unbounded) {
      last = n;
      memset(to, '9', (size_t)n);
      uint32_t more = grammar_digits(b, GRAMMAR_WHOLE_DIGITS - 1 - (uint32_t)n, next);
      out = grammar_byte(b, '1', '9', any_digits(b, n, more));
   }
   for (int len = n; len <= last; len++) {
      char least[24] = "1", most[24];
      memset(least + 1, '0', sizeof least - 1);
      memset(most, '9', sizeof most);
      out = grammar_or(b, out,
                       same_length(b, len == n ? from : least, len == last ? to : most, len, next));
   }
   return out;
}

/* ---- fractions ---- */

static bool is_zero(const char *digits)
{
   return digits[strspn(digits, "0")] == 0;
}

/* Whether a fraction may end here, all its digits so far being those of the bounds that are
 * tight. */
static bool may_end(const interval *n, size_t at, bool tight_lo, bool tight_hi)
{
   if (tight_lo && (n->lo.excluded || !is_zero(n->lo.fraction + at)))
      return false;
   return !tight_hi || !n->hi.excluded || !is_zero(n->hi.fraction + at);
}

/* Digits behind the point from place `at`; tight: those before are the bound's own. */
static uint32_t fraction(interval *n, size_t at, bool tight_lo, bool tight_hi, bool first)
{
   grammar_builder *b = n->b;
   uint32_t out = !first && may_end(n, at, tight_lo, tight_hi) ? n->next : GRAMMAR_FAIL;
   bool past = at == MAX_FRACTION;
   char lo = tight_lo ? n->lo.fraction[at] : '0', hi = tight_hi ? n->hi.fraction[at] : '9';

   if (!tight_lo && !tight_hi)
      return n->any_fraction;
   if (past) { /* both go on with zeros for ever */
      uint32_t loop = grammar_open(b);
      out = grammar_or(b, out, grammar_byte(b, '0', '0', loop));
      if (!tight_hi)
         out = grammar_or(b, out, grammar_byte(b, '1', '9', n->any_fraction));
      grammar_close(b, loop, out);
      return loop;
   }
   for (char c = lo; c <= hi; c++) {
      uint32_t rest = fraction(n, at + 1, tight_lo && c == lo, tight_hi && c == hi, false);
      out = grammar_or(b, out, grammar_byte(b, (uint8_t)c, (uint8_t)c, rest));
   }
   return out;
}

/* What follows a whole part that is a bound's own, or lies between. */
static uint32_t behind(interval *n, bool tight_lo, bool tight_hi)
{
   uint32_t end = may_end(n, 0, tight_lo, tight_hi) ? n->next : GRAMMAR_FAIL;

   if (n->integer)
      return end;
   if (!tight_lo && !tight_hi)
      return grammar_or(
         n->b, end, grammar_byte(n->b, '.', '.', grammar_byte(n->b, '0', '9', n->any_fraction)));
   return grammar_or(n->b, end,
                     grammar_byte(n->b, '.', '.', fraction(n, 0, tight_lo, tight_hi, true)));
}

/* Numbers of at least 0. */
static uint32_t positive(interval *n)
{
   grammar_builder *b = n->b;
   uint64_t lo = n->lo.whole, hi = n->hi.whole;

   n->any_fraction = grammar_open(b);
   grammar_close(b, n->any_fraction,
                 grammar_or(b, grammar_byte(b, '0', '9', n->any_fraction), n->next));
   if (!n->hi.none && lo > hi)
      return GRAMMAR_FAIL;
   if (!n->hi.none && lo == hi)
      return whole_range(b, lo, lo, false, behind(n, true, true));
   uint32_t out = whole_range(b, lo, lo, false, behind(n, true, false));
   if (!n->hi.none)
      out = grammar_or(b, out, whole_range(b, hi, hi, false, behind(n, false, true)));
   return grammar_or(b, out, whole_range(b, lo + 1, hi - 1, n->hi.none, behind(n, false, false)));
}

/* ---- bounds ---- */

/* |j| as a decimal. */
static sinter_status read_decimal(arena *a, const json *j, bool excluded, decimal *out)
{
   text_buf t = {.a = a};
   char digits[96] = "";
   int power = 0, point = 0, n = 0;

   *out = (decimal){.excluded = excluded};
   json_write_double(&t, fabs(j->number));
   for (const char *p = t.data; *p; p++) {
      if (*p == 'e') {
         power = atoi(p + 1);
         break;
      }
      if (*p == '.')
         point = n;
      else
         digits[n++] = *p;
   }
   point = (memchr(t.data, '.', t.len) ? point : n) + power;
   if (!isfinite(j->number) || fabs(j->number) >= 1e18 || n - point > MAX_FRACTION || point < -30)
      return base_fail(SINTER_unsupported, "number", "use bounds below 1e18 with fewer digits",
                       "a bound of %g cannot be held to", j->number);
   for (int i = 0; i < point; i++)
      out->whole = out->whole * 10 + (uint64_t)(i < n ? digits[i] - '0' : 0);
   memset(out->fraction, '0', MAX_FRACTION);
   for (int i = MAX(point, 0); i < n; i++)
      out->fraction[i - point] = digits[i];
   if (j->kind == JSON_int) /* exact also where a double is not */
      out->whole = j->integer < 0 ? 0 - (uint64_t)j->integer : (uint64_t)j->integer;
   return SINTER_ok;
}

/* Numbers of at least 0 between two bounds, of which NULL is none. */
static sinter_status side(grammar_builder *b, const json *lo, bool above, const json *hi,
                          bool below, bool integer, uint32_t next, uint32_t *out)
{
   interval n = {
      .b = b, .lo = {.none = !lo}, .hi = {.none = true}, .integer = integer, .next = next};

   memset(n.lo.fraction, '0', MAX_FRACTION);
   memset(n.hi.fraction, '0', MAX_FRACTION);
   if (lo)
      SINTER_TRY(read_decimal(b->a, lo, above, &n.lo));
   if (hi)
      SINTER_TRY(read_decimal(b->a, hi, below, &n.hi));
   *out = positive(&n);
   return SINTER_ok;
}

static bool is_negative(const json *j)
{
   return j && j->number < 0;
}

sinter_status grammar_number(grammar_builder *b, const grammar_bounds *n, uint32_t next,
                             uint32_t *out)
{
   uint32_t minus = GRAMMAR_FAIL, plus = GRAMMAR_FAIL;

   if (!n->least && !n->most) {
      *out = grammar_call_rule(
         b, grammar_shared_rule(b, n->integer ? GRAMMAR_INTEGER : GRAMMAR_NUMBER), next);
      return SINTER_ok;
   }
   if (!is_negative(n->most))
      SINTER_TRY(side(b, is_negative(n->least) ? NULL : n->least, n->above, n->most, n->below,
                      n->integer, next, &plus));
   /* -0 is 0, so the mirror image begins there only where 0 is inside. */
   bool negative = !n->least || n->least->number < 0;
   if (negative)
      SINTER_TRY(side(b, is_negative(n->most) ? n->most : NULL, n->below, n->least, n->above,
                      n->integer, next, &minus));
   bool zero_out = n->most && n->most->number == 0 && n->below;
   if (negative && zero_out) {
      json zero = {.kind = JSON_int};
      SINTER_TRY(side(b, &zero, true, n->least, n->above, n->integer, next, &minus));
   }
   *out = grammar_or(b, plus, grammar_byte(b, '-', '-', minus));
   return SINTER_ok;
}
