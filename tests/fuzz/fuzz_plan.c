// LINK: base
/* Any bytes as a plan: declined, or the one encoding of what was read. */
#include "base/plan.h"

#include <stdlib.h>

typedef struct input {
   arena *a;
   const uint8_t *data;
   size_t size;
} input;

static sinter_status body(void *user)
{
   input *in = user;
   plan *p;
   const uint8_t *again;
   size_t size;

   /* The first 8 bytes are the size of the weight section. */
   uint64_t weights;
   memcpy(&weights, in->data, sizeof weights);
   SINTER_TRY(plan_decode(in->a, in->data + 8, in->size - 8, weights, &p));
   plan_encode(in->a, p, &again, &size);
   if (size != in->size - 8 || memcmp(again, in->data + 8, size) != 0)
      abort();
   return SINTER_ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   input in = {.data = data, .size = size};

   if (size < 8 || arena_create(&in.a) != SINTER_ok)
      return 0;
   sinter_status status = arena_catch(body, &in);
   (void)status;
   arena_destroy(in.a);
   return 0;
}
