/* msgpack.h - the part of MessagePack that events need, appended to a buffer. */
#ifndef SERVE_MSGPACK_H
#define SERVE_MSGPACK_H

#include <string.h>

#include "tools/sinter/cli.h"

static inline void pack_be(buffer *b, unsigned char tag, uint64_t value, size_t bytes)
{
   unsigned char out[9] = {tag};

   for (size_t i = 0; i < bytes; i++)
      out[1 + i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
   buffer_add(b, out, bytes + 1);
}

static inline void pack_nil(buffer *b)
{
   buffer_add(b, "\xc0", 1);
}

static inline void pack_uint(buffer *b, uint64_t v)
{
   if (v < 128)
      buffer_add(b, &(unsigned char){(unsigned char)v}, 1);
   else if (v <= UINT32_MAX)
      pack_be(b, 0xce, v, 4);
   else
      pack_be(b, 0xcf, v, 8);
}

static inline void pack_double(buffer *b, double v)
{
   uint64_t bits;

   memcpy(&bits, &v, sizeof bits);
   pack_be(b, 0xcb, bits, 8);
}

static inline void pack_string(buffer *b, const char *s)
{
   size_t len = strlen(s);

   pack_be(b, 0xd9, len, 1); /* of at most 255 bytes */
   buffer_add(b, s, len);
}

static inline void pack_array(buffer *b, uint32_t count)
{
   pack_be(b, 0xdd, count, 4);
}

static inline void pack_map(buffer *b, uint32_t count)
{
   pack_be(b, 0xdf, count, 4);
}

#endif
