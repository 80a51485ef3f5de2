/* debug.c - looks for a word in SINTER_DEBUG. */
#include "debug.h"

#include <stdlib.h>

static const char *const words[DEBUG_COUNT] = {
#define DEBUG(word, what) #word,
#include "debug.def"
#undef DEBUG
};

/* Next word of the list, of *out_len letters; NULL at its end. */
static const char *next(const char **list, size_t *out_len)
{
   const char *word = *list;

   if (!word || !*word)
      return NULL;
   *out_len = strcspn(word, ",");
   *list = word + *out_len + (word[*out_len] == ',');
   return word;
}

static bool is(const char *word, size_t len, debug_word which)
{
   return len == strlen(words[which]) && memcmp(word, words[which], len) == 0;
}

sinter_status debug_check(void)
{
   const char *list = getenv("SINTER_DEBUG"), *word;
   size_t len;

   while ((word = next(&list, &len))) {
      bool known = !len;
      for (int i = 0; i < DEBUG_COUNT && !known; i++)
         known = is(word, len, (debug_word)i);
      if (!known)
         return base_fail(SINTER_usage, "SINTER_DEBUG",
                          "take words of this list, with commas between them",
                          "there is no word '%.*s', but"
#define DEBUG(word, what) "\n   " #word ": " what
#include "debug.def"
#undef DEBUG
                          ,
                          (int)MIN(len, 40), word);
   }
   return SINTER_ok;
}

bool debug_is_on(debug_word word)
{
   const char *list = getenv("SINTER_DEBUG"), *at;
   size_t len;

   while ((at = next(&list, &len)))
      if (is(at, len, word))
         return true;
   return false;
}
