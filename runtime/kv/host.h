/* host.h - room in the host's memory for pages of sequences that had to give way: extents of one
 * mapping, which takes memory only while something is kept in it.
 *
 *    take ─▶ (pages are copied in) ─▶ seal … is_whole ─▶ (pages are copied back) ─▶ give
 *
 * Thread: the engine. Nothing is allocated after kv_host_create. */
#ifndef KV_HOST_H
#define KV_HOST_H

#include "base/base.h"

typedef struct kv_host kv_host;

typedef struct kv_extent {
   uint64_t offset, bytes; /* bytes 0: none */
   uint64_t sum;           /* of what it holds */
} kv_extent;

/* Room for `bytes` in at most `most` extents. Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status kv_host_create(uint64_t bytes, uint32_t most, kv_host **out);
void kv_host_destroy(kv_host *h);

/* False when there is no room. */
bool kv_host_take(kv_host *h, uint64_t bytes, kv_extent *out);
void kv_host_give(kv_host *h, kv_extent *e);

uint8_t *kv_host_data(const kv_host *h, const kv_extent *e);

/* Remembers what the extent holds; whether it still does. */
void kv_host_seal(const kv_host *h, kv_extent *e);
bool kv_host_is_whole(const kv_host *h, const kv_extent *e);

#endif
