/* pool.c - a bitmap of free pages, reference counts, and the cached pages in a ring by age. */
#include "pool.h"

#include <stdlib.h>

typedef struct page {
   int32_t refs;
   uint32_t generation;
   int32_t prev, next; /* cached pages without references, oldest first; -1 ends */
   bool kept;
} page;

struct kv_pool {
   kv_pool_hooks hooks;
   int32_t size, num_free, num_cached;
   int32_t usable; /* pages with memory: the first ones */
   int32_t oldest, newest;
   uint64_t *free_bits; /* bit i of word i / 64: page i is free */
   page *pages;
};

sinter_status kv_pool_create(int64_t pages, const kv_pool_hooks *hooks, kv_pool **out)
{
   kv_pool *p = calloc(1, sizeof *p);

   *out = NULL;
   if (p && pages > 0 && pages < INT32_MAX) {
      p->free_bits = calloc((size_t)(pages + 63) / 64, sizeof *p->free_bits);
      p->pages = calloc((size_t)pages, sizeof *p->pages);
   }
   if (!p || !p->free_bits || !p->pages) {
      kv_pool_destroy(p);
      return base_fail(SINTER_out_of_memory, "KV pool", "use a smaller KV pool",
                       "no memory for %lld pages", (long long)pages);
   }
   p->hooks = *hooks;
   p->size = p->num_free = (int32_t)pages;
   p->usable = hooks->grow ? 0 : p->size;
   p->oldest = p->newest = -1;
   for (int32_t i = 0; i < p->size; i++)
      p->free_bits[i / 64] |= 1ull << (i % 64);
   *out = p;
   return SINTER_ok;
}

void kv_pool_destroy(kv_pool *p)
{
   if (!p)
      return;
   free(p->free_bits);
   free(p->pages);
   free(p);
}

/* The lowest free page from `from` on, -1 when there is none. */
static int32_t lowest_free(const kv_pool *p, int32_t from)
{
   int32_t words = (p->size + 63) / 64;
   uint64_t mask = ~0ull << (from % 64);

   for (int32_t w = from / 64; w < words; w++, mask = ~0ull) {
      uint64_t bits = p->free_bits[w] & mask;
      if (bits)
         return w * 64 + __builtin_ctzll(bits);
   }
   return -1;
}

static void unlink_cached(kv_pool *p, int32_t i)
{
   page *g = &p->pages[i];

   *(g->prev >= 0 ? &p->pages[g->prev].next : &p->oldest) = g->next;
   *(g->next >= 0 ? &p->pages[g->next].prev : &p->newest) = g->prev;
   p->num_cached--;
}

static void link_newest(kv_pool *p, int32_t i)
{
   page *g = &p->pages[i];

   g->prev = p->newest;
   g->next = -1;
   *(p->newest >= 0 ? &p->pages[p->newest].next : &p->oldest) = i;
   p->newest = i;
   p->num_cached++;
}

static void make_free(kv_pool *p, int32_t i)
{
   p->free_bits[i / 64] |= 1ull << (i % 64);
   p->num_free++;
   if (p->hooks.freed)
      p->hooks.freed(p->hooks.user, p->hooks.group, i);
}

static void evict(kv_pool *p, int32_t i)
{
   unlink_cached(p, i);
   p->pages[i].kept = false;
   p->hooks.forget(p->hooks.user, p->hooks.group, i);
   make_free(p, i);
}

/* The pool ends where its memory does: pages behind it, all free, are given up. */
static void shrink(kv_pool *p)
{
   for (int32_t i = p->usable; i < p->size; i++)
      p->free_bits[i / 64] &= ~(1ull << (i % 64));
   p->num_free -= p->size - p->usable;
   p->size = p->usable;
}

static bool has_memory(kv_pool *p, int32_t i)
{
   if (i >= p->usable) {
      int64_t has = p->hooks.grow(p->hooks.user, p->hooks.group, (int64_t)i + 1);
      p->usable = (int32_t)MIN(has, p->size);
   }
   if (i < p->usable)
      return true;
   shrink(p);
   return false;
}

int32_t kv_pool_take(kv_pool *p, int32_t hint)
{
   int32_t i = -1;

   if (!p->num_free && !p->num_cached)
      return -1;
   if (!p->num_free)
      evict(p, p->oldest);
   if (hint >= 0 && hint < p->size)
      i = lowest_free(p, hint);
   if (i < 0 || i >= p->usable)
      i = lowest_free(p, 0);
   if (!has_memory(p, i))
      return kv_pool_take(p, hint);
   p->free_bits[i / 64] &= ~(1ull << (i % 64));
   p->num_free--;
   p->pages[i].refs = 1;
   p->pages[i].generation++;
   return i;
}

bool kv_pool_prepare(kv_pool *p, int64_t n)
{
   while (kv_pool_available(p) >= n) {
      int32_t last = -1; /* of the n lowest free pages */

      for (int64_t left = MIN(n, p->num_free); left > 0; left--)
         last = lowest_free(p, last + 1);
      if (last < 0 || has_memory(p, last))
         return true;
   }
   return false;
}

void kv_pool_share(kv_pool *p, int32_t i)
{
   page *g = &p->pages[i];

   assert(g->refs > 0 || g->kept);
   if (!g->refs++)
      unlink_cached(p, i);
}

void kv_pool_release(kv_pool *p, int32_t i)
{
   page *g = &p->pages[i];

   assert(g->refs > 0);
   if (--g->refs)
      return;
   if (g->kept)
      link_newest(p, i);
   else
      make_free(p, i);
}

void kv_pool_keep(kv_pool *p, int32_t i)
{
   assert(p->pages[i].refs > 0);
   p->pages[i].kept = true;
}

void kv_pool_forget(kv_pool *p, int32_t i)
{
   if (p->pages[i].kept && !p->pages[i].refs)
      evict(p, i);
}

uint32_t kv_pool_generation(const kv_pool *p, int32_t i)
{
   return p->pages[i].generation;
}

int32_t kv_pool_refs(const kv_pool *p, int32_t i)
{
   return p->pages[i].refs;
}

int64_t kv_pool_size(const kv_pool *p)
{
   return p->size;
}

int64_t kv_pool_available(const kv_pool *p)
{
   return (int64_t)p->num_free + p->num_cached;
}

int64_t kv_pool_free(const kv_pool *p)
{
   return p->num_free;
}
