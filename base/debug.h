/* debug.h - switches for people who look for a fault: SINTER_DEBUG=word,word. */
#ifndef BASE_DEBUG_H
#define BASE_DEBUG_H

#include "base.h"

typedef enum debug_word {
#define DEBUG(word, what) DEBUG_##word,
#include "debug.def"
#undef DEBUG
   DEBUG_COUNT
} debug_word;

/* Errors USAGE with all words when SINTER_DEBUG has one that is none, such as help. */
SINTER_CHECKED sinter_status debug_check(void);

/* True when the environment asks for it. Not for hot paths. */
bool debug_is_on(debug_word word);

#endif
