/* exif.c - the orientation that a camera writes into a JPEG file.
 *
 *    FF D8   segments FF xx length …   FF E1 length "Exif\0\0" TIFF
 *    TIFF    II or MM, 42, offset of the directory; directory: count, entries of 12 bytes: tag type count value */
#include "image.h"

enum { APP1 = 0xe1, SCAN = 0xda, ORIENTATION = 0x0112, SHORT = 3 };

typedef struct reader {
   const uint8_t *bytes;
   size_t size;
   bool big; /* numbers are big-endian */
} reader;

/* n bytes at `at` as a number; 0 past the end. */
static uint32_t number(const reader *r, size_t at, uint32_t n)
{
   uint32_t v = 0;

   if (at > r->size || n > r->size - at)
      return 0;
   for (uint32_t i = 0; i < n; i++)
      v = v << 8 | r->bytes[at + (r->big ? i : n - 1 - i)];
   return v;
}

static uint32_t in_tiff(const uint8_t *bytes, size_t size)
{
   reader r = {bytes, size, size > 0 && bytes[0] == 'M'};
   size_t at = number(&r, 4, 4);
   uint32_t count = number(&r, 2, 2) == 42 ? number(&r, at, 2) : 0;

   for (uint32_t i = 0; i < count && at + 2 + 12 * (size_t)(i + 1) <= size; i++) {
      size_t entry = at + 2 + 12 * (size_t)i;
      uint32_t value = number(&r, entry + 8, 2);
      if (number(&r, entry, 2) == ORIENTATION && number(&r, entry + 2, 2) == SHORT)
         return value >= 1 && value <= 8 ? value : 1;
   }
   return 1;
}

uint32_t rt_image_orientation(const uint8_t *bytes, size_t size)
{
   const reader r = {bytes, size, true};

   for (size_t at = 2, len; at + 4 <= size && bytes[at] == 0xff && bytes[at + 1] != SCAN;
        at += 2 + len) {
      len = number(&r, at + 2, 2);
      if (len < 2 || len > size - at - 2)
         return 1;
      if (bytes[at + 1] == APP1 && len > 8 && memcmp(bytes + at + 4, "Exif\0", 6) == 0)
         return in_tiff(bytes + at + 10, len - 8);
   }
   return 1;
}
