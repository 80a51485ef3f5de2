/* map.h - a hash map from byte strings to pointers, in an arena. Keys are not copied. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "arena.h"

typedef struct map_entry {
   const char *key;
   size_t len;
   uint64_t hash;
   void *value;
} map_entry;

typedef struct map {
   arena *a;
   map_entry *slots;
   size_t count, cap;
} map;

/* The value of a key, NULL when absent. */
void *map_get(const map *m, const char *key);
void *map_get_n(const map *m, const char *key, size_t len);

/* Sets the value (not NULL) of a key. Returns the value it replaced, or NULL. */
void *map_set(map *m, const char *key, void *value);
void *map_set_n(map *m, const char *key, size_t len, void *value);

#endif
