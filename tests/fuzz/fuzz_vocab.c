// LINK: runtime base
/* Any bytes as a precompiled tokenizer: opened, then used to encode and decode. Nothing in it may
 * lead outside it. */
#include <stdlib.h>

#include "runtime/text/tokenizer.h"

typedef struct input {
   arena *a;
   const void *blob;
   size_t size;
} input;

static sinter_status body(void *user)
{
   static const char text[] = "Hello <|im_end|> w\xc3\xb6rld 123 \xff\xe4\xbd\xa0  \n";
   input *in = user;
   text_tokenizer *t;
   int32_t *ids;
   size_t n, len;
   char *out;

   SINTER_TRY(text_tokenizer_create(in->blob, in->size, &t));
   sinter_status s = text_encode(t, in->a, text, sizeof text - 1, NULL, 0, &ids, &n);
   if (s == SINTER_ok)
      s = text_decode(t, in->a, ids, n, &out, &len);
   int32_t every[64];
   for (int32_t i = 0; i < 64; i++)
      every[i] = i;
   if (s == SINTER_ok)
      s = text_decode(t, in->a, every, MIN(64u, text_tokenizer_vocab(t)->header->num_pieces), &out,
                      &len);
   text_tokenizer_destroy(t);
   return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   input in = {.size = size};

   if (arena_create(&in.a) != SINTER_ok)
      return 0;
   in.blob = malloc(
      size ? size
           : 1); /* exactly as long as the data, so that a sanitizer sees every step outside */
   if (in.blob && size > 0)
      memcpy((void *)(uintptr_t)in.blob, data, size);
   sinter_status s = in.blob ? arena_catch(body, &in) : SINTER_ok;
   (void)s;
   free((void *)(uintptr_t)in.blob);
   arena_destroy(in.a);
   return 0;
}
