/* weights.c - checking and hashing weights from several threads, each with threads of its own,
 * under ThreadSanitizer. */
#include "runtime/weights.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES = 5 * ARTIFACT_CHUNK + 777, CHUNKS = 6, USERS = 3 };

static int fd;
static uint64_t sums[CHUNKS];
static digest whole;

static void *use(void *failed)
{
   digest d;

   for (int i = 0; i < 8; i++)
      if (rt_weights_check(fd, 0, BYTES, (const uint8_t *)sums, CHUNKS, "weights") != SINTER_ok ||
          rt_weights_digest(fd, 0, BYTES, "weights", &d) != SINTER_ok || !digest_equal(&d, &whole))
         *(int *)failed = 1;
   return NULL;
}

int main(void)
{
   uint8_t *bytes = malloc(BYTES);
   pthread_t threads[USERS];
   int failed[USERS] = {0}, any = 0;

   fd = memfd_create("weights", 0);
   for (size_t i = 0; i < BYTES; i++)
      bytes[i] = (uint8_t)(i * 2654435761u >> 13);
   for (size_t i = 0; i < CHUNKS; i++)
      sums[i] = hash64_bytes(bytes + i * ARTIFACT_CHUNK,
                             MIN((size_t)ARTIFACT_CHUNK, BYTES - i * ARTIFACT_CHUNK));
   if (fd < 0 || write(fd, bytes, BYTES) != BYTES ||
       rt_weights_digest(fd, 0, BYTES, "weights", &whole) != SINTER_ok)
      return 1;
   for (int i = 0; i < USERS; i++)
      if (pthread_create(&threads[i], NULL, use, &failed[i]) != 0)
         return 1;
   for (int i = 0; i < USERS; i++) {
      pthread_join(threads[i], NULL);
      any |= failed[i];
   }
   /* The lowest of two damaged chunks is named, whichever thread finds it. */
   sums[2] ^= 1;
   sums[4] ^= 1;
   any |= rt_weights_check(fd, 0, BYTES, (const uint8_t *)sums, CHUNKS, "weights") !=
          SINTER_verify_failed;
   any |= strstr(sinter_error(), "byte 2097152") == NULL;
   free(bytes);
   return any;
}
