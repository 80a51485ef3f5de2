/* prefix.h - finds the pages of a prompt that some request has computed before.
 *
 *    root ─ block ─ block ─ block        a block: PAGE_TOKENS tokens after everything before them,
 *              └─── block                with the page of each cache group that still has it
 *
 * A block's key is XXH3-128 over its tokens, salt and rope table, chained to its parent's key; the
 * first one starts from the layout fingerprint. The key only finds candidates: parent, tokens, salt
 * and table are stored and compared, so a collision is a miss and never wrong content.
 *
 * A hit is the largest border that all groups can serve: a full group needs every page before it, a
 * window group those of the last window, a state group the page of the block that ends there.
 * Thread: the engine. */
#ifndef KV_PREFIX_H
#define KV_PREFIX_H

#include "base/hash.h"
#include "base/kargs.h"
#include "pool.h"

enum { KV_MAX_GROUPS = 8, KV_NO_BLOCK = -1 };

typedef struct kv_prefix kv_prefix;

/* What decides a block, besides its parent. */
typedef struct kv_block {
   int32_t tokens[PAGE_TOKENS];
   uint64_t rope; /* id of the tables its positions were rotated with */
   uint64_t salt;
} kv_block;

/* What others can find changed: a block has its page in a group, or has it no more. */
typedef struct kv_change {
   bool removed, has_parent;
   hash128 key, parent;
   const kv_block *block;
   uint32_t group;
} kv_change;

typedef struct kv_prefix_options {
   uint32_t num_groups;
   int64_t windows[KV_MAX_GROUPS]; /* 0: full */
   bool states[KV_MAX_GROUPS]; /* a page is the state after its block, not the block's content */
   int64_t pages[KV_MAX_GROUPS];
   hash128 fingerprint; /* of everything that the content of a page depends on */
   void *user;
   void (*changed)(void *user, const kv_change *change); /* NULL: nobody is told */
} kv_prefix_options;

/* Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status kv_prefix_create(const kv_prefix_options *options, kv_prefix **out);
void kv_prefix_destroy(kv_prefix *t);

/* The child of `parent` (KV_NO_BLOCK: a first block), KV_NO_BLOCK when there is none. */
int32_t kv_prefix_find(const kv_prefix *t, int32_t parent, const kv_block *block);

/* The child of `parent`, made when there is none; KV_NO_BLOCK when the table is full. The caller
 * holds it and lets go with kv_prefix_drop. A held block keeps its ancestors. */
int32_t kv_prefix_add(kv_prefix *t, int32_t parent, const kv_block *block);
void kv_prefix_hold(kv_prefix *t, int32_t block);
void kv_prefix_drop(kv_prefix *t, int32_t block);

/* Gives the block its page in a group; false when it has one already (then the caller's stays
 * private). */
bool kv_prefix_attach(kv_prefix *t, int32_t block, uint32_t group, int32_t page);

/* The page was evicted. */
void kv_prefix_forget(kv_prefix *t, uint32_t group, int32_t page);

/* The block's page in a group, -1 when it has none. */
int32_t kv_prefix_page(const kv_prefix *t, int32_t block, uint32_t group);

/* The largest number of tokens, at most `limit`, that a path of blocks can serve in all groups.
 *
 *   path     found blocks from the root on, num_blocks of them
 *   states   false: state groups are not asked */
int64_t kv_prefix_border(const kv_prefix *t, const int32_t *path, int64_t num_blocks, int64_t limit,
                         bool states);

/* First page that position `next` of a group with this window still reads; 0 for window 0. */
int64_t kv_first_page(int64_t window, int64_t next);

/* Tells `changed` of everything that can be found now, parents before children. */
void kv_prefix_tell_all(kv_prefix *t);

uint32_t kv_prefix_count(const kv_prefix *t);

#endif
