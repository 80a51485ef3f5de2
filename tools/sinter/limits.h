/* limits.h - what this machine's processor can do at most, measured now. */
#ifndef LIMITS_H
#define LIMITS_H

#include <stdint.h>

typedef struct limits {
   unsigned threads;
   double bytes_s; /* streaming read of memory, all threads */
   /* Multiply-adds into i32 by the best vector instructions, two operations each, all threads: of
    * codes of few bits with bytes, and of bytes with bytes (sinter_stats.byte_ops). */
   double ops_s, byte_ops_s;
} limits;

/* Takes about 0.3 s. threads 0: all cores this process may use; bytes: that a step reads. Nothing
 * of a GPU is measured: for such a device all figures are 0, as they are without AVX2. */
void limits_measure(const char *device, unsigned threads, uint64_t bytes, limits *out);

#endif
