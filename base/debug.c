/* debug.c - looks for a word in SINTER_DEBUG. */
#include "debug.h"

#include <stdlib.h>

static const char *const words[DEBUG_COUNT] = {
#define DEBUG(word, what) #word,
#include "debug.def"
#undef DEBUG
};

bool debug_is_on(debug_word word)
{
   const char *at = getenv("SINTER_DEBUG");
   size_t len = strlen(words[word]);

   while (at && *at) {
      size_t n = strcspn(at, ",");
      if (n == len && memcmp(at, words[word], n) == 0)
         return true;
      at += n + (at[n] == ',');
   }
   return false;
}
