/* map.c - open addressing, linear probing, at most three quarters full. */
#include "map.h"

#include "hash.h"

static map_entry *find(const map *m, const char *key, size_t len, uint64_t hash)
{
   for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
      map_entry *e = &m->slots[i];
      if (!e->value || (e->hash == hash && e->len == len && memcmp(e->key, key, len) == 0))
         return e;
   }
}

static void grow(map *m)
{
   map old = *m;

   m->cap = old.cap ? old.cap * 2 : 16;
   m->slots = arena_array(m->a, map_entry, m->cap);
   for (size_t i = 0; i < old.cap; i++) {
      const map_entry *e = &old.slots[i];
      if (e->value)
         *find(m, e->key, e->len, e->hash) = *e;
   }
}

void *map_get_n(const map *m, const char *key, size_t len)
{
   if (!m->cap)
      return NULL;
   return find(m, key, len, hash64_bytes(key, len))->value;
}

void *map_get(const map *m, const char *key)
{
   return map_get_n(m, key, strlen(key));
}

void *map_set_n(map *m, const char *key, size_t len, void *value)
{
   assert(value);
   if ((m->count + 1) * 4 > m->cap * 3)
      grow(m);
   uint64_t hash = hash64_bytes(key, len);
   map_entry *e = find(m, key, len, hash);
   void *old = e->value;
   if (!old)
      m->count++;
   *e = (map_entry){key, len, hash, value};
   return old;
}

void *map_set(map *m, const char *key, void *value)
{
   return map_set_n(m, key, strlen(key), value);
}
