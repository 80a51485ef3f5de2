/* weights.c - one mapping, and threads that take MiB after MiB from a shared counter. */
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
   *out = (rt_weights){.map = map, .map_size = size, .data = map, .size = size};
   return SINTER_ok;
}

void rt_weights_unmap(rt_weights *w)
{
   if (w->map)
      munmap(w->map, w->map_size);
   *w = (rt_weights){0};
}

/* One pass over all MiB of data, shared by threads. */
typedef struct sweep {
   const uint8_t *data;
   uint64_t size, chunks;
   void (*visit)(struct sweep *s, uint64_t chunk, const uint8_t *bytes, size_t size);
   atomic_uint_fast64_t next, bad; /* bad: lowest damaged chunk */
   const uint8_t *sums;
   digest *leaves;
} sweep;

static void *work(void *user)
{
   sweep *s = user;

   for (;;) {
      uint64_t i = atomic_fetch_add(&s->next, 1), at = i * ARTIFACT_CHUNK;
      if (i >= s->chunks)
         return NULL;
      s->visit(s, i, s->data + at, (size_t)MIN(s->size - at, (uint64_t)ARTIFACT_CHUNK));
   }
}

static void run_sweep(sweep *s)
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

sinter_status rt_weights_check(const rt_weights *w, const uint8_t *sums, uint64_t num_sums,
                               const char *where)
{
   sweep s = {.data = w->data, .size = w->size, .visit = compare, .sums = sums};

   s.chunks = artifact_chunks(w->size);
   if (num_sums != s.chunks)
      return base_fail(SINTER_verify_failed, where, "compile the model again",
                       "weights and their checksums do not agree");
   atomic_init(&s.bad, UINT64_MAX);
   run_sweep(&s);
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

sinter_status rt_weights_digest(const uint8_t *data, uint64_t size, digest *out)
{
   sweep s = {.data = data, .size = size, .visit = hash_leaf};

   s.chunks = artifact_chunks(size);
   s.leaves = calloc(MAX(s.chunks, 1u), sizeof *s.leaves);
   if (!s.leaves)
      return base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   run_sweep(&s);
   *out = artifact_root(s.leaves, s.chunks);
   free(s.leaves);
   return SINTER_ok;
}
