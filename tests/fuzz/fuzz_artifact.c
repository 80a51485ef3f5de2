// LINK: runtime base
/* Any bytes as an artifact. Digests would stop every mutation at the door, so they are made to fit
 * first: what is fuzzed is the table, the plan and everything behind them. */
#include "base/artifact.h"
#include "runtime/artifact.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DIGEST_AT = 32, ENTRIES_AT = 64, ENTRY_BYTES = 64 };

static uint64_t number(const uint8_t *p)
{
   uint64_t v;

   memcpy(&v, p, sizeof v);
   return v;
}

static void fix_digests(uint8_t *bytes, size_t size)
{
   uint32_t count;

   memcpy(&count, bytes + 12, sizeof count);
   for (uint32_t i = 0; i < MIN(count, (uint32_t)ARTIFACT_MAX_SECTIONS); i++) {
      uint8_t *entry = bytes + ENTRIES_AT + (size_t)i * ENTRY_BYTES;
      uint64_t offset = number(entry + 16), length = number(entry + 24);
      if (offset > size || length > size - offset)
         continue;
      digest d = digest_bytes(bytes + offset, length);
      memcpy(entry + 32, d.bytes, sizeof d.bytes);
   }
   memset(bytes + DIGEST_AT, 0, sizeof(digest));
   digest d = digest_bytes(bytes, ARTIFACT_PAGE);
   memcpy(bytes + DIGEST_AT, d.bytes, sizeof d.bytes);
}

static void use(const sinter_artifact *a)
{
   static const char *const names[] = {"manifest", "plan", "explain", "ir", "template"};
   const rt_artifact *r = rt_artifact_of(a);
   sinter_model_info info = SINTER_INIT(sinter_model_info);
   rt_bytes w;

   for (size_t i = 0; i < countof(names); i++) {
      const char *text = sinter_artifact_document(a, names[i]);
      if (text && strlen(text) > ((size_t)1 << 30))
         abort();
   }
   sinter_artifact_info(a, &info);
   for (uint32_t t = 0; t < rt_artifact_num_targets(r); t++) {
      sinter_status status = rt_artifact_weights(r, t, &w);
      (void)status;
   }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   char path[64];
   sinter_artifact *a;

   setenv("SINTER_CACHE", "/dev/null/none", 1); /* no folder, for root either */
   uint8_t *copy = malloc(size ? size : 1);
   if (size)
      memcpy(copy, data, size);
   if (size >= ARTIFACT_PAGE)
      fix_digests(copy, size);
   int fd = memfd_create("fuzz", 0);
   if (fd >= 0 && write(fd, copy, size) == (ssize_t)size) {
      snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
      if (sinter_artifact_open(path, &a) == SINTER_ok) {
         use(a);
         sinter_artifact_close(a);
      }
   }
   if (fd >= 0)
      close(fd);
   free(copy);
   return 0;
}
