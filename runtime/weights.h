/* weights.h - maps packed weights and checks them once per version of the file. */
#ifndef RT_WEIGHTS_H
#define RT_WEIGHTS_H

#include "base/artifact.h"

typedef struct rt_weights {
   uint8_t *map; /* whole pages around the section; NULL: not mapped */
   size_t map_size;
   const uint8_t *data;
   uint64_t size;
} rt_weights;

/* Maps size bytes at offset of fd. */
SINTER_CHECKED sinter_status rt_weights_map(int fd, uint64_t offset, uint64_t size,
                                            const char *where, rt_weights *out);
void rt_weights_unmap(rt_weights *w);

/* These read size bytes at offset of fd on up to 4 threads. Nothing is mapped: what is looked at
 * once is no memory of the process's, and a file that others cut meanwhile is an error. Errors IO
 * when it has fewer bytes or cannot be read. */

/* Compares every MiB with its XXH3-64. Errors VERIFY_FAILED naming the first damaged offset. */
SINTER_CHECKED sinter_status rt_weights_check(int fd, uint64_t offset, uint64_t size,
                                              const uint8_t *sums, uint64_t num_sums,
                                              const char *where);

/* The tree digest of artifact.h. */
SINTER_CHECKED sinter_status rt_weights_digest(int fd, uint64_t offset, uint64_t size,
                                               const char *where, digest *out);

#endif
