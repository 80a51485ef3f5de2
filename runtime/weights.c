/* weights.c - one mapping, and threads that read MiB after MiB, from a shared counter. */
#include "weights.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_WORKERS = 4 };

sinter_status rt_weights_map(int fd, uint64_t offset, uint64_t size, const char *where,
                             rt_weights *out)
{
   *out = (rt_weights){.size = size};
   if (!size)
      return SINTER_ok;
   assert(offset % ARTIFACT_PAGE == 0);
   void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)offset);
   if (map == MAP_FAILED)
      return base_fail(SINTER_out_of_memory, where, "close other programs",
                       "the weights cannot be mapped: %s", strerror(errno));
   /* A file that is read from disk now comes in huge pages; those in memory stay as they are. */
   (void)madvise(map, size, MADV_HUGEPAGE);
   *out = (rt_weights){.map = map, .map_size = size, .data = map, .size = size};
   return SINTER_ok;
}

void rt_weights_unmap(rt_weights *w)
{
   if (w->map)
      munmap(w->map, w->map_size);
   *w = (rt_weights){0};
}

/* One pass over all MiB of a part of a file, shared by threads. */
typedef struct sweep {
   int fd;
   uint64_t offset, size, chunks;
   void (*visit)(struct sweep *s, uint64_t chunk, const uint8_t *bytes, size_t size);
   atomic_uint_fast64_t next, bad; /* bad: lowest damaged chunk */
   atomic_int error;               /* errno of a read; -1: the file is shorter than `size` */
   const uint8_t *sums;
   digest *leaves;
} sweep;

/* 0, or what went wrong, as sweep.error says it. */
static int read_all(int fd, uint8_t *buffer, size_t size, uint64_t at)
{
   while (size) {
      ssize_t n = pread(fd, buffer, size, (off_t)at);
      if (n < 0 && errno == EINTR)
         continue;
      if (n <= 0)
         return n ? errno : -1;
      buffer += n;
      size -= (size_t)n;
      at += (uint64_t)n;
   }
   return 0;
}

static void visit_all(sweep *s, uint8_t *buffer)
{
   for (;;) {
      uint64_t i = atomic_fetch_add(&s->next, 1), at = i * ARTIFACT_CHUNK;
      if (i >= s->chunks || atomic_load(&s->error))
         return;
      size_t size = (size_t)MIN(s->size - at, (uint64_t)ARTIFACT_CHUNK);
      int error = read_all(s->fd, buffer, size, s->offset + at);
      if (error)
         atomic_store(&s->error, error);
      else
         s->visit(s, i, buffer, size);
   }
}

static void *work(void *user)
{
   sweep *s = user;
   uint8_t *buffer = malloc(ARTIFACT_CHUNK);

   if (buffer)
      visit_all(s, buffer);
   else
      atomic_store(&s->error, ENOMEM);
   free(buffer);
   return NULL;
}

static sinter_status run_sweep(sweep *s, const char *where)
{
   pthread_t threads[MAX_WORKERS];
   int count = 0;
   long cores = sysconf(_SC_NPROCESSORS_ONLN);
   int want = (int)MIN(MIN((uint64_t)MAX(cores, 1), (uint64_t)MAX_WORKERS), s->chunks) - 1;

   while (count < want && pthread_create(&threads[count], NULL, work, s) == 0)
      count++;
   work(s);
   while (count)
      pthread_join(threads[--count], NULL);
   if (s->error == -1)
      return base_fail(SINTER_io, where, "wait until the file is complete",
                       "the file became shorter while it was read");
   if (s->error)
      return base_fail(SINTER_io, where, "check the disk", "reading failed: %s",
                       strerror(s->error));
   return SINTER_ok;
}

static void compare(sweep *s, uint64_t chunk, const uint8_t *bytes, size_t size)
{
   uint64_t want;

   memcpy(&want, s->sums + chunk * sizeof want, sizeof want);
   if (hash64_bytes(bytes, size) == want)
      return;
   uint64_t bad = atomic_load(&s->bad);
   while (chunk < bad && !atomic_compare_exchange_weak(&s->bad, &bad, chunk))
      ;
}

sinter_status rt_weights_check(int fd, uint64_t offset, uint64_t size, const uint8_t *sums,
                               uint64_t num_sums, const char *where)
{
   sweep s = {.fd = fd, .offset = offset, .size = size, .visit = compare, .sums = sums};

   s.chunks = artifact_chunks(size);
   if (num_sums != s.chunks)
      return base_fail(SINTER_verify_failed, where, "compile the model again",
                       "weights and their checksums do not agree");
   atomic_init(&s.bad, UINT64_MAX);
   SINTER_TRY(run_sweep(&s, where));
   uint64_t bad = atomic_load(&s.bad);
   if (bad == UINT64_MAX)
      return SINTER_ok;
   return base_fail(SINTER_verify_failed, where, "compile the model again with --no-cache",
                    "the weights are damaged at byte %llu",
                    (unsigned long long)(bad * ARTIFACT_CHUNK));
}

static void hash_leaf(sweep *s, uint64_t chunk, const uint8_t *bytes, size_t size)
{
   s->leaves[chunk] = artifact_leaf(bytes, size);
}

sinter_status rt_weights_digest(int fd, uint64_t offset, uint64_t size, const char *where,
                                digest *out)
{
   sweep s = {.fd = fd, .offset = offset, .size = size, .visit = hash_leaf};

   s.chunks = artifact_chunks(size);
   s.leaves = calloc(MAX(s.chunks, 1u), sizeof *s.leaves);
   if (!s.leaves)
      return base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   sinter_status status = run_sweep(&s, where);
   if (status == SINTER_ok)
      *out = artifact_root(s.leaves, s.chunks);
   free(s.leaves);
   return status;
}
