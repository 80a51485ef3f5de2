/* utf8.h - reading UTF-8 that may be damaged. */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include "base/base.h"

#define TEXT_INVALID UINT32_MAX

/* Bytes of the character at p (n > 0 bytes left) and its code point; 1 and TEXT_INVALID for a byte
 * that begins no valid character. */
static inline uint32_t text_utf8_next(const uint8_t *p, size_t n, uint32_t *out_cp)
{
   static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
   uint32_t len = p[0] < 0x80   ? 1
                  : p[0] < 0xc2 ? 0
                  : p[0] < 0xe0 ? 2
                  : p[0] < 0xf0 ? 3
                  : p[0] < 0xf5 ? 4
                                : 0;
   uint32_t cp = len == 1 ? p[0] : p[0] & (0x7fu >> len);

   *out_cp = TEXT_INVALID;
   if (len == 0 || len > n)
      return 1;
   for (uint32_t i = 1; i < len; i++) {
      if ((p[i] & 0xc0) != 0x80)
         return 1;
      cp = cp << 6 | (p[i] & 0x3f);
   }
   if (cp < least[len] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
      return 1;
   *out_cp = cp;
   return len;
}

/* Bytes of the longest prefix of p that is valid UTF-8. */
size_t text_utf8_valid(const uint8_t *p, size_t n);

/* How many bytes at p are the beginning of a character that more bytes could complete; 0 when it is
 * whole or broken. */
size_t text_utf8_pending(const uint8_t *p, size_t n);

/* Bytes of the broken sequence at p, at least 1: what one U+FFFD stands for (Unicode 15,
 * section 3.9, maximal subpart). */
size_t text_utf8_broken(const uint8_t *p, size_t n);

/* White_Space of Unicode. */
bool text_is_space(uint32_t cp);

#endif
