/* prefix.c - blocks in a fixed table, chained by the hash of their key. */
#include "prefix.h"

#include <stdlib.h>

typedef struct node {
   hash128 key;
   kv_block block;
   int32_t parent;
   int32_t next;     /* in its bucket, or in the free list */
   uint32_t holders; /* children, and callers of add and hold */
   int32_t pages[KV_MAX_GROUPS];
   uint32_t num_pages;
   uint32_t told; /* in which round of kv_prefix_tell_all */
} node;

struct kv_prefix {
   kv_prefix_options options;
   uint32_t capacity, count, mask;
   int32_t free;
   int32_t *buckets;
   node *nodes;
   int32_t *owners[KV_MAX_GROUPS]; /* block of each page, KV_NO_BLOCK */
   uint32_t round;
   int32_t *line; /* a block and its ancestors, for kv_prefix_tell_all */
};

static uint32_t power_of_two(uint32_t at_least)
{
   uint32_t n = 16;

   while (n < at_least)
      n *= 2;
   return n;
}

static bool allocate(kv_prefix *t)
{
   int64_t pages = 0;

   for (uint32_t g = 0; g < t->options.num_groups; g++) {
      int64_t n = t->options.pages[g];
      t->owners[g] = malloc((size_t)n * sizeof *t->owners[g]);
      if (!t->owners[g])
         return false;
      for (int64_t i = 0; i < n; i++)
         t->owners[g][i] = KV_NO_BLOCK;
      pages += n;
   }
   /* Room for a pageless ancestor to each block with pages. */
   t->capacity = (uint32_t)MIN(2 * pages + 64, INT32_MAX / 4);
   t->mask = power_of_two(t->capacity) - 1;
   t->buckets = malloc(((size_t)t->mask + 1) * sizeof *t->buckets);
   t->nodes = calloc(t->capacity, sizeof *t->nodes);
   t->line = t->options.changed ? calloc(t->capacity, sizeof *t->line) : NULL;
   return t->buckets && t->nodes && (t->line || !t->options.changed);
}

sinter_status kv_prefix_create(const kv_prefix_options *options, kv_prefix **out)
{
   kv_prefix *t = calloc(1, sizeof *t);

   *out = NULL;
   if (t)
      t->options = *options;
   if (!t || !allocate(t)) {
      kv_prefix_destroy(t);
      return base_fail(SINTER_out_of_memory, "prefix cache", "use a smaller KV pool",
                       "no memory for the table of blocks");
   }
   for (uint32_t i = 0; i <= t->mask; i++)
      t->buckets[i] = KV_NO_BLOCK;
   for (uint32_t i = 0; i < t->capacity; i++)
      t->nodes[i].next = i + 1 < t->capacity ? (int32_t)i + 1 : KV_NO_BLOCK;
   *out = t;
   return SINTER_ok;
}

void kv_prefix_destroy(kv_prefix *t)
{
   if (!t)
      return;
   for (uint32_t g = 0; g < KV_MAX_GROUPS; g++)
      free(t->owners[g]);
   free(t->buckets);
   free(t->nodes);
   free(t->line);
   free(t);
}

static hash128 key_of(const kv_prefix *t, int32_t parent, const kv_block *block)
{
   return hash_bytes(block, sizeof *block,
                     parent == KV_NO_BLOCK ? t->options.fingerprint : t->nodes[parent].key);
}

static int32_t find(const kv_prefix *t, int32_t parent, const kv_block *block, hash128 key)
{
   for (int32_t i = t->buckets[key.lo & t->mask]; i != KV_NO_BLOCK; i = t->nodes[i].next) {
      const node *n = &t->nodes[i];
      if (n->parent == parent && memcmp(&n->block, block, sizeof *block) == 0)
         return i;
   }
   return KV_NO_BLOCK;
}

int32_t kv_prefix_find(const kv_prefix *t, int32_t parent, const kv_block *block)
{
   return find(t, parent, block, key_of(t, parent, block));
}

int32_t kv_prefix_add(kv_prefix *t, int32_t parent, const kv_block *block)
{
   hash128 key = key_of(t, parent, block);
   int32_t i = find(t, parent, block, key);

   if (i == KV_NO_BLOCK) {
      i = t->free;
      if (i == KV_NO_BLOCK)
         return KV_NO_BLOCK;
      node *n = &t->nodes[i];
      t->free = n->next;
      *n = (node){.key = key, .block = *block, .parent = parent};
      for (uint32_t g = 0; g < KV_MAX_GROUPS; g++)
         n->pages[g] = -1;
      n->next = t->buckets[key.lo & t->mask];
      t->buckets[key.lo & t->mask] = i;
      if (parent != KV_NO_BLOCK)
         t->nodes[parent].holders++;
      t->count++;
   }
   t->nodes[i].holders++;
   return i;
}

/* Frees blocks that nobody holds and that have no page, from i towards the root. */
static void collect(kv_prefix *t, int32_t i)
{
   while (i != KV_NO_BLOCK && !t->nodes[i].holders && !t->nodes[i].num_pages) {
      node *n = &t->nodes[i];
      int32_t *at = &t->buckets[n->key.lo & t->mask];
      int32_t parent = n->parent;

      while (*at != i)
         at = &t->nodes[*at].next;
      *at = n->next;
      n->next = t->free;
      t->free = i;
      t->count--;
      i = parent;
      if (i != KV_NO_BLOCK)
         t->nodes[i].holders--;
   }
}

void kv_prefix_hold(kv_prefix *t, int32_t block)
{
   if (block != KV_NO_BLOCK)
      t->nodes[block].holders++;
}

void kv_prefix_drop(kv_prefix *t, int32_t block)
{
   if (block == KV_NO_BLOCK)
      return;
   t->nodes[block].holders--;
   collect(t, block);
}

static void changed(const kv_prefix *t, int32_t block, uint32_t group, bool removed)
{
   const node *n = &t->nodes[block];
   kv_change c = {.removed = removed, .key = n->key, .block = &n->block, .group = group};

   if (!t->options.changed)
      return;
   c.has_parent = n->parent != KV_NO_BLOCK;
   if (c.has_parent)
      c.parent = t->nodes[n->parent].key;
   t->options.changed(t->options.user, &c);
}

static void tell_pages(kv_prefix *t, int32_t block)
{
   for (uint32_t g = 0; g < t->options.num_groups; g++) {
      if (t->nodes[block].pages[g] >= 0)
         changed(t, block, g, false);
   }
}

void kv_prefix_tell_all(kv_prefix *t)
{
   if (!t->options.changed)
      return;
   t->round++;
   for (uint32_t bucket = 0; bucket <= t->mask; bucket++) {
      for (int32_t i = t->buckets[bucket]; i != KV_NO_BLOCK; i = t->nodes[i].next) {
         uint32_t n = 0;

         for (int32_t at = i; at != KV_NO_BLOCK && t->nodes[at].told != t->round;
              at = t->nodes[at].parent) {
            t->nodes[at].told = t->round;
            t->line[n++] = at;
         }
         while (n)
            tell_pages(t, t->line[--n]);
      }
   }
}

bool kv_prefix_attach(kv_prefix *t, int32_t block, uint32_t group, int32_t page)
{
   node *n = &t->nodes[block];

   if (n->pages[group] >= 0)
      return false;
   n->pages[group] = page;
   n->num_pages++;
   t->owners[group][page] = block;
   changed(t, block, group, false);
   return true;
}

void kv_prefix_forget(kv_prefix *t, uint32_t group, int32_t page)
{
   int32_t block = t->owners[group][page];
   node *n = &t->nodes[block];

   changed(t, block, group, true);
   t->owners[group][page] = KV_NO_BLOCK;
   n->pages[group] = -1;
   n->num_pages--;
   collect(t, block);
}

int32_t kv_prefix_page(const kv_prefix *t, int32_t block, uint32_t group)
{
   return t->nodes[block].pages[group];
}

int64_t kv_first_page(int64_t window, int64_t next)
{
   /* Position `next` reads positions above next - window. */
   int64_t first = next - window + 1;

   return window && first > 0 ? first / PAGE_TOKENS : 0;
}

int64_t kv_prefix_border(const kv_prefix *t, const int32_t *path, int64_t num_blocks, int64_t limit,
                         bool states)
{
   int64_t begin[KV_MAX_GROUPS] = {0}; /* start of the run of blocks with a page */
   int64_t best = 0;

   for (int64_t i = 0; i < num_blocks; i++) {
      int64_t stored = MIN((i + 1) * PAGE_TOKENS, limit);
      bool served = true;

      for (uint32_t g = 0; g < t->options.num_groups; g++) {
         bool has = t->nodes[path[i]].pages[g] >= 0;
         if (t->options.states[g]) {
            served = served && (!states || (has && stored == (i + 1) * PAGE_TOKENS));
            continue;
         }
         if (!has)
            begin[g] = i + 1;
         served = served && begin[g] <= kv_first_page(t->options.windows[g], stored);
      }
      if (served)
         best = stored;
   }
   return best;
}

uint32_t kv_prefix_count(const kv_prefix *t)
{
   return t->count;
}
