/* host.c - first fit over extents that are kept sorted. A file in memory, so that what is given
 * back can be cut out of it. */
#include "host.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"

struct kv_host {
   uint8_t *data;
   uint64_t bytes;
   uint32_t most, count;
   struct {
      uint64_t offset, bytes;
   } used[]; /* by offset */
};

enum { ROUND = 4096 }; /* pages of the system, which are given back */

static sinter_status map(kv_host *h)
{
   int fd = memfd_create("sinter-kv", MFD_CLOEXEC);
   bool ok = fd >= 0 && ftruncate(fd, (off_t)h->bytes) == 0;

   h->data = ok ? mmap(NULL, h->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
                : MAP_FAILED;
   if (fd >= 0)
      close(fd);
   if (h->data != MAP_FAILED)
      return SINTER_ok;
   h->data = NULL;
   return base_fail(SINTER_out_of_memory, "host_kv_tokens", "keep fewer tokens aside, or 0",
                    "%llu bytes cannot be mapped", (unsigned long long)h->bytes);
}

sinter_status kv_host_create(uint64_t bytes, uint32_t most, kv_host **out)
{
   kv_host *h = calloc(1, sizeof *h + most * sizeof h->used[0]);

   *out = NULL;
   if (!h)
      return base_fail(SINTER_out_of_memory, "host_kv_tokens", "", "no memory for %u extents",
                       most);
   h->bytes = base_align(bytes, ROUND);
   h->most = most;
   sinter_status status = map(h);
   if (status != SINTER_ok) {
      kv_host_destroy(h);
      return status;
   }
   *out = h;
   return SINTER_ok;
}

void kv_host_destroy(kv_host *h)
{
   if (!h)
      return;
   if (h->data)
      munmap(h->data, h->bytes);
   free(h);
}

bool kv_host_take(kv_host *h, uint64_t bytes, kv_extent *out)
{
   uint64_t end = 0, whole = base_align(bytes, ROUND);
   uint32_t at = 0;

   *out = (kv_extent){0};
   if (!bytes || bytes > h->bytes || h->count == h->most)
      return false;
   while (at < h->count && h->used[at].offset - end < whole) {
      end = h->used[at].offset + h->used[at].bytes;
      at++;
   }
   if (at == h->count && h->bytes - end < whole)
      return false;
   memmove(&h->used[at + 1], &h->used[at], (h->count++ - at) * sizeof h->used[0]);
   h->used[at].offset = end;
   h->used[at].bytes = whole;
   *out = (kv_extent){.offset = end, .bytes = bytes};
   return true;
}

void kv_host_give(kv_host *h, kv_extent *e)
{
   uint32_t at = 0;

   if (!e->bytes)
      return;
   while (h->used[at].offset != e->offset)
      at++;
   (void)madvise(h->data + e->offset, h->used[at].bytes, MADV_REMOVE);
   memmove(&h->used[at], &h->used[at + 1], (--h->count - at) * sizeof h->used[0]);
   *e = (kv_extent){0};
}

uint8_t *kv_host_data(const kv_host *h, const kv_extent *e)
{
   return h->data + e->offset;
}

void kv_host_seal(const kv_host *h, kv_extent *e)
{
   e->sum = hash64_bytes(h->data + e->offset, e->bytes);
}

bool kv_host_is_whole(const kv_host *h, const kv_extent *e)
{
   return hash64_bytes(h->data + e->offset, e->bytes) == e->sum;
}
