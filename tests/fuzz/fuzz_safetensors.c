// LINK: models ir base
/* Reads any bytes as one safetensors file. The copy ends where the input ends, so that every
 * overread is seen. */
#include "models/import/source.h"

#include <stdlib.h>

static sinter_status body(void *user)
{
   const source_file *f = user;
   source_file *files = NULL;
   arena *a;

   if (arena_create(&a) != SINTER_ok)
      return SINTER_ok;
   model_source s = {.a = a, .path = "fuzz", .files = &files};
   volatile uint8_t sum = 0;
   if (safetensors_read(&s, f) == SINTER_ok)
      for (size_t i = 0; i < s.tensors.count; i++)
         for (uint64_t k = 0; k < s.tensors.data[i].bytes; k++)
            sum ^= s.tensors.data[i].data[k];
   arena_destroy(a);
   return SINTER_ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   uint8_t *copy = malloc(size ? size : 1);
   source_file f = {.path = "fuzz.safetensors", .bytes = copy, .size = size};

   if (!copy)
      return 0;
   if (size)
      memcpy(copy, data, size);
   if (arena_catch(body, &f) != SINTER_ok)
      abort();
   free(copy);
   return 0;
}
