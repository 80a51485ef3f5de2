/* fewest.c - the fewest sites that still make something wrong, by delta debugging (Zeller and
 * Hildebrandt 2002): chunks and complements of chunks are tried, ever smaller. */
#include "opt.h"

static uint32_t without(const opt_site *all, uint32_t n, uint32_t from, uint32_t to, opt_site *out)
{
   uint32_t count = 0;

   for (uint32_t i = 0; i < n; i++)
      if (i < from || i >= to)
         out[count++] = all[i];
   return count;
}

/* One round over all chunks: true when a smaller set was found, which is then in sites[0..*n). */
static sinter_status shrink(opt_trial *try, void *user, opt_site *sites, uint32_t *n,
                            uint32_t *chunks, opt_site *scratch, bool *out_smaller)
{
   uint32_t size = (*n + *chunks - 1) / *chunks;

   *out_smaller = false;
   for (int complement = 0; complement < 2; complement++)
      for (uint32_t at = 0; at < *n; at += size) {
         uint32_t end = MIN(at + size, *n);
         uint32_t count = complement ? without(sites, *n, at, end, scratch) : end - at;

         if (!complement)
            memcpy(scratch, sites + at, count * sizeof *scratch);
         if (count == *n || (complement && *chunks == 2))
            continue;
         SINTER_TRY(try(user, scratch, count, out_smaller));
         if (!*out_smaller)
            continue;
         memcpy(sites, scratch, count * sizeof *sites);
         *n = count;
         *chunks = complement ? MAX(*chunks - 1, 2) : 2;
         return SINTER_ok;
      }
   return SINTER_ok;
}

sinter_status opt_fewest(arena *a, opt_trial *try, void *user, opt_site *sites, uint32_t *n)
{
   opt_site *scratch = arena_array(a, opt_site, *n + 1);
   uint32_t chunks = 2;

   while (*n > 1) {
      bool smaller;

      chunks = MIN(chunks, *n);
      SINTER_TRY(shrink(try, user, sites, n, &chunks, scratch, &smaller));
      if (smaller)
         continue;
      if (chunks >= *n)
         return SINTER_ok;
      chunks = MIN(2 * chunks, *n);
   }
   return SINTER_ok;
}
