/* utf8.c - reading UTF-8 that may be damaged. */
#include "utf8.h"

size_t text_utf8_valid(const uint8_t *p, size_t n)
{
   size_t i = 0;

   while (i < n) {
      uint64_t eight;
      while (n - i >= 8 && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0))
         i += 8;
      if (i == n)
         break;
      uint32_t cp, len = text_utf8_next(p + i, n - i, &cp);
      if (cp == TEXT_INVALID)
         return i;
      i += len;
   }
   return i;
}

size_t text_utf8_broken(const uint8_t *p, size_t n)
{
   uint8_t low = 0x80, high = 0xbf;
   size_t want = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
                 : (p[0] & 0xf0) == 0xe0       ? 3
                 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                               : 1;
   size_t i;

   switch (p[0]) { /* the second byte is narrower for these */
   case 0xe0: low = 0xa0; break;
   case 0xed: high = 0x9f; break;
   case 0xf0: low = 0x90; break;
   case 0xf4: high = 0x8f; break;
   default: break;
   }
   for (i = 1; i < want && i < n && p[i] >= low && p[i] <= high; i++) {
      low = 0x80;
      high = 0xbf;
   }
   return i;
}

size_t text_utf8_pending(const uint8_t *p, size_t n)
{
   uint32_t cp;

   if (n == 0)
      return 0;
   text_utf8_next(p, n, &cp);
   if (cp != TEXT_INVALID || p[0] < 0xc2 || p[0] > 0xf4)
      return 0;
   return text_utf8_broken(p, n) == n ? n : 0;
}

bool text_is_space(uint32_t cp)
{
   return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
          (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
          cp == 0x205f || cp == 0x3000;
}
