/* regex.c - PCRE2 behind a lazily compiled handle. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex.h"

#include <pcre2.h>
#include <stdatomic.h>

enum { MATCH_LIMIT = 20000000, HEAP_LIMIT_KIB = 256 * 1024 };

static sinter_status compile(text_regex *re, const uint8_t *pattern, size_t len)
{
   int code;
   PCRE2_SIZE at;
   pcre2_code *c = pcre2_compile(pattern, len, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                                 &code, &at, NULL);

   if (!c) {
      PCRE2_UCHAR why[128];
      pcre2_get_error_message(code, why, sizeof why);
      return base_fail(SINTER_bad_input, "tokenizer", "check the tokenizer of the model",
                       "a pattern does not compile at byte %zu: %s", (size_t)at, (char *)why);
   }
   pcre2_jit_compile(c,
                     PCRE2_JIT_COMPLETE); /* without a JIT the interpreter does the same, slower */
   void *expected = NULL;
   if (!atomic_compare_exchange_strong(&re->code, &expected, c))
      pcre2_code_free(c); /* another thread was first */
   return SINTER_ok;
}

void text_regex_deinit(text_regex *re)
{
   pcre2_code_free(atomic_exchange(&re->code, NULL));
}

/* The library takes its memory from the arena: when that runs out, it unwinds past the matcher, and
 * nothing may leak. */
static void *from_arena(size_t size, void *a)
{
   return arena_alloc(a, size);
}

static void stay(void *p, void *a)
{
   (void)p, (void)a;
}

sinter_status text_matcher_begin(text_matcher *m, arena *a, void **shared, text_regex *re,
                                 const uint8_t *pattern, size_t pattern_len, const uint8_t *p,
                                 size_t len)
{
   *m = (text_matcher){.p = p, .len = len};
   if (!atomic_load(&re->code))
      SINTER_TRY(compile(re, pattern, pattern_len));
   m->code = atomic_load(&re->code);
   if (!*shared)
      *shared = pcre2_match_data_create(1, pcre2_general_context_create(from_arena, stay, a));
   m->data = *shared;
   return SINTER_ok;
}

/* The interpreter with bounds, for what overflows the JIT's stack. It takes memory of its own,
 * which is given back. */
static int match_slowly(const text_matcher *m, uint32_t options)
{
   pcre2_match_context *limits = pcre2_match_context_create(NULL);
   pcre2_match_data *data = pcre2_match_data_create(1, NULL);
   int n = PCRE2_ERROR_NOMEMORY;

   if (limits && data) {
      pcre2_set_match_limit(limits, MATCH_LIMIT);
      pcre2_set_heap_limit(limits, HEAP_LIMIT_KIB);
      n = pcre2_match(m->code, m->p, m->len, m->at, options | PCRE2_NO_JIT, data, limits);
   }
   if (n >= 0)
      memcpy(pcre2_get_ovector_pointer(m->data), pcre2_get_ovector_pointer(data),
             2 * sizeof(PCRE2_SIZE));
   pcre2_match_data_free(data);
   pcre2_match_context_free(limits);
   return n;
}

static size_t behind_char(const text_matcher *m)
{
   size_t at = m->at + 1;

   while (at < m->len && (m->p[at] & 0xc0) == 0x80)
      at++;
   return at;
}

sinter_status text_matcher_next(text_matcher *m, bool *out_found, size_t *out_begin,
                                size_t *out_end)
{
   *out_found = false;
   for (; m->at < m->len; m->at = behind_char(m)) {
      int n = pcre2_match(m->code, m->p, m->len, m->at, PCRE2_NO_UTF_CHECK, m->data, NULL);
      if (n == PCRE2_ERROR_JIT_STACKLIMIT)
         n = match_slowly(m, PCRE2_NO_UTF_CHECK);
      if (n == PCRE2_ERROR_NOMATCH)
         return SINTER_ok;
      if (n < 0)
         return base_fail(SINTER_exhausted, "tokenizer", "use shorter text or another model",
                          "a pattern gave up on this text (PCRE2 error %d)", n);
      const PCRE2_SIZE *span = pcre2_get_ovector_pointer(m->data);
      if (span[1] < span[0]) /* \K can move the start behind the end */
         return SINTER_ok;
      if (span[1] == span[0] && m->has_last && span[1] == m->last)
         continue;
      *out_found = m->has_last = true;
      *out_begin = MAX(span[0], m->at);
      *out_end = m->at = m->last = span[1];
      return SINTER_ok;
   }
   return SINTER_ok;
}
