/* draft.c - the longest suffix that was seen before, the latest place of it. */
#include "draft.h"

enum { LONGEST = 4, SHORTEST = 2, LOOK_BACK = 16384 };

/* How many tokens that end at `at` are those that end at `last`. */
static int64_t common(const int32_t *tokens, int64_t at, int64_t last)
{
   int64_t n = 0;

   while (n < LONGEST && n <= at && tokens[at - n] == tokens[last - n])
      n++;
   return n;
}

uint32_t rt_draft(int32_t *tokens, int64_t count, uint32_t most)
{
   int64_t last = count - 1, best = SHORTEST - 1, from = -1;

   for (int64_t at = last - 1; at >= MAX(last - LOOK_BACK, 0) && best < LONGEST; at--) {
      int64_t n = tokens[at] == tokens[last] ? common(tokens, at, last) : 0;
      if (n > best) {
         best = n;
         from = at + 1;
      }
   }
   if (from < 0)
      return 0;
   /* May run into what was just guessed: a text that repeats itself goes on doing so. */
   for (uint32_t i = 0; i < most; i++)
      tokens[count + i] = tokens[from + i];
   return most;
}

uint32_t rt_draft_next(uint32_t drafted, uint32_t accepted, uint32_t most)
{
   return MIN(accepted == drafted ? 2 * drafted : accepted + 1, most);
}
