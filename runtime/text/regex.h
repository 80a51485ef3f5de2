/* regex.h - one PCRE2 pattern, compiled by the JIT on first use, shared between threads. */
#ifndef TEXT_REGEX_H
#define TEXT_REGEX_H

#include "base/arena.h"

typedef struct text_regex {
   _Atomic(void *) code;
} text_regex;

/* A search over valid UTF-8. */
typedef struct text_matcher {
   const void *code;
   void *data;
   const uint8_t *p;
   size_t len, at, last; /* where the last match ended */
   bool has_last;
} text_matcher;

/* Begins a search with the pattern (UTF-8, PCRE2 syntax). *shared is memory that searches of one
 * thread hand on, made in the arena when it is NULL. Errors BAD_INPUT when the pattern does not
 * compile. */
SINTER_CHECKED sinter_status text_matcher_begin(text_matcher *m, arena *a, void **shared,
                                                text_regex *re, const uint8_t *pattern,
                                                size_t pattern_len, const uint8_t *p, size_t len);

/* The next match; an empty one counts but where the last one ended, and at the end of the text.
 * *out_found false when there is none. Errors EXHAUSTED at the match limit. */
SINTER_CHECKED sinter_status text_matcher_next(text_matcher *m, bool *out_found, size_t *out_begin,
                                               size_t *out_end);

void text_regex_deinit(text_regex *re);

#endif
