/* hash.h - XXH3-128 for names of blocks and kernels, BLAKE2b-256 for trust decisions. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base.h"

typedef struct hash128 {
   uint64_t lo, hi;
} hash128;

typedef struct digest {
   uint8_t bytes[32];
} digest;

hash128 hash_bytes(const void *data, size_t size, hash128 seed);
uint64_t hash64_bytes(const void *data, size_t size);

digest digest_bytes(const void *data, size_t size);
bool digest_equal(const digest *a, const digest *b);
/* 64 hex digits and a NUL. */
void digest_hex(const digest *d, char out[65]);

/* Incremental form. */
typedef struct digest_state {
   _Alignas(64) uint8_t opaque[384];
} digest_state;
void digest_init(digest_state *s);
void digest_update(digest_state *s, const void *data, size_t size);
digest digest_final(digest_state *s);

#endif
