/* pool.h - the pages of one cache group: who holds them, which may be taken back.
 *
 *    free ──take──▶ held (refs ≥ 1) ──release──▶ free                    when nobody can find it
 *                      ▲    └────────release──▶ cached (refs 0, in LRU order) ──evict──▶ free
 *                      └─share── cached or held
 *
 * A page is cached when kv_pool_keep said that others may find it (kv/prefix). Thread: the engine.
 */
#ifndef KV_POOL_H
#define KV_POOL_H

#include "base/base.h"

typedef struct kv_pool kv_pool;

/* Told when a cached page is taken back (forget: nobody may find it any more) and when a page
 * becomes free (its content is dead). freed and grow may be NULL. */
typedef struct kv_pool_hooks {
   void *user;
   uint32_t group;
   void (*forget)(void *user, uint32_t group, int32_t page);
   void (*freed)(void *user, uint32_t group, int32_t page);
   /* Takes memory for the first `pages` pages; returns how many have some. NULL: all have. */
   int64_t (*grow)(void *user, uint32_t group, int64_t pages);
} kv_pool_hooks;

/* Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status kv_pool_create(int64_t pages, const kv_pool_hooks *hooks,
                                            kv_pool **out);
void kv_pool_destroy(kv_pool *p);

/* A page with one reference: the lowest free one from `hint` on, else the lowest free one, else the
 * cached one that was released first; -1 when every page is held. Pages without memory come after
 * other free ones; when they cannot get some the pool is as large as what has. */
int32_t kv_pool_take(kv_pool *p, int32_t hint);

/* Whether the next n takes find a page; takes memory for them. */
bool kv_pool_prepare(kv_pool *p, int64_t n);

/* Adds a reference to a held or cached page. */
void kv_pool_share(kv_pool *p, int32_t page);

/* Drops a reference. */
void kv_pool_release(kv_pool *p, int32_t page);

/* Marks a held page as one that others may find. */
void kv_pool_keep(kv_pool *p, int32_t page);

/* Takes a cached page back at once; one that is held or free stays as it is. */
void kv_pool_forget(kv_pool *p, int32_t page);

/* Counts how often the page was given out: a (page, generation) pair names one content. */
uint32_t kv_pool_generation(const kv_pool *p, int32_t page);
int32_t kv_pool_refs(const kv_pool *p, int32_t page);

int64_t kv_pool_size(const kv_pool *p);
/* Pages that kv_pool_take can still give: free and cached ones. */
int64_t kv_pool_available(const kv_pool *p);
int64_t kv_pool_free(const kv_pool *p);

#endif
