// LINK: models ir base
/* Opens any bytes as a GGUF checkpoint: tables, configuration, graph, tokenizer. */
#include "models/model.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   static const model_options options = {.max_rows = 8, .max_wanted = 8, .max_sequences = 1};
   char path[64];
   arena *a;
   model *m;
   int fd = memfd_create("fuzz", 0);

   if (fd < 0 || write(fd, data, size) != (ssize_t)size || arena_create(&a) != SINTER_ok)
      return 0;
   snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
   if (model_open(a, path, &options, &m) == SINTER_ok)
      model_close(m);
   arena_destroy(a);
   close(fd);
   return 0;
}
