// LINK: runtime base
/* A grammar and a text, separated by the first byte 0xFF: compiled, and followed as far as it
 * goes. */
#include "runtime/text/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   const uint8_t *cut = memchr(data, 0xff, size);
   size_t len = cut ? (size_t)(cut - data) : size;
   grammar *g;
   grammar_run *r;

   if (grammar_compile((const char *)data, len, &g) != SINTER_ok)
      return 0;
   if (grammar_run_create(g, NULL, 0, (grammar_ends){0}, &r) == SINTER_ok) {
      if (cut)
         (void)grammar_run_bytes(r, (const char *)cut + 1, size - len - 1);
      (void)grammar_run_is_over(r);
      grammar_run_destroy(r);
   }
   grammar_free(g);
   return 0;
}
