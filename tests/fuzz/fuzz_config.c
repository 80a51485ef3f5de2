// LINK: models ir base
/* Opens a folder whose config.json is the input, with the weights of the tiny checkpoint. */
#include "models/model.h"
#include "tests/models/tiny.h"

#include <stdio.h>
#include <stdlib.h>

static bool write_file(const char *dir, const char *name, const void *bytes, size_t size)
{
   char path[128];

   snprintf(path, sizeof path, "%s/%s", dir, name);
   remove(path); /* some file systems flush a file that is cut and written again */
   FILE *f = fopen(path, "wb");
   bool done = f && fwrite(bytes, 1, size, f) == size;
   return (!f || fclose(f) == 0) && done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   static const model_options options = {.max_rows = 8, .max_wanted = 8, .max_sequences = 1};
   static char dir[] = "/tmp/sinter_fuzz_XXXXXX";
   static tiny_file weights;
   arena *a;
   model *m;

   if (arena_create(&a) != SINTER_ok)
      return 0;
   if (!weights.size) {
      tiny_safetensors(&weights, a);
      if (!mkdtemp(dir) || !write_file(dir, "model.safetensors", weights.bytes, weights.size))
         abort();
   }
   if (write_file(dir, "config.json", data, size) && model_open(a, dir, &options, &m) == SINTER_ok)
      model_close(m);
   arena_destroy(a);
   return 0;
}
