// LINK: models runtime ir base
/* A tokenizer.json and a text, separated by the first byte 0xFF: builds the blob, opens it, encodes
 * and decodes. */
#include <stdlib.h>

#include "models/import/vocab_hf.h"
#include "runtime/text/tokenizer.h"

typedef struct input {
   arena *a;
   const char *json, *text;
   size_t json_len, text_len;
} input;

static sinter_status body(void *user)
{
   input *in = user;
   vocab_build b;
   json *root;
   const uint8_t *blob;
   size_t size, n, len;
   text_tokenizer *t;
   int32_t *ids;
   char *text;

   SINTER_TRY(json_parse(in->a, in->json, in->json_len, "tokenizer.json", &root));
   build_init(&b, in->a);
   SINTER_TRY(hf_read(&b, root, 0));
   build_finish(&b, &blob, &size);
   if (text_tokenizer_create(blob, size, &t) != SINTER_ok)
      abort(); /* what the builder writes must open */
   sinter_status s = text_encode(t, in->a, in->text, in->text_len, NULL, 0, &ids, &n);
   if (s == SINTER_ok && text_decode(t, in->a, ids, n, &text, &len) != SINTER_ok)
      abort(); /* what encode gives must decode */
   text_tokenizer_destroy(t);
   return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   const uint8_t *cut = memchr(data, 0xff, size);
   input in = {.json = (const char *)data,
               .json_len = cut ? (size_t)(cut - data) : size,
               .text = "a b 12 \xe4\xbd\xa0"};

   in.text_len = strlen(in.text);
   if (cut) {
      in.text = (const char *)cut + 1;
      in.text_len = size - in.json_len - 1;
   }
   if (arena_create(&in.a) != SINTER_ok)
      return 0;
   sinter_status s = arena_catch(body, &in);
   (void)s;
   arena_destroy(in.a);
   return 0;
}
