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

/* Compares every MiB with its XXH3-64, on up to 4 threads. Errors VERIFY_FAILED naming the first
 * damaged offset. */
SINTER_CHECKED sinter_status rt_weights_check(const rt_weights *w, const uint8_t *sums,
                                              uint64_t num_sums, const char *where);

/* The tree digest of artifact.h, on up to 4 threads. */
SINTER_CHECKED sinter_status rt_weights_digest(const uint8_t *data, uint64_t size, digest *out);

/* The same of the first size bytes of a file that others may still write to: it is read, not
 * mapped. Errors IO when it has fewer. */
SINTER_CHECKED sinter_status rt_weights_digest_file(int fd, uint64_t size, const char *where,
                                                    digest *out);

#endif
