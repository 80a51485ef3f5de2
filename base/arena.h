/* arena.h - memory that is freed all at once, for compiles and loaders.
 *
 * A compile uses one arena per thread. When memory runs out, arena_alloc does not return: it
 * unwinds to the innermost arena_catch of this thread, which reports OUT_OF_MEMORY. Without a catch
 * it aborts, so every entry point that uses an arena wraps its body in arena_catch. No open file,
 * lock or LLVM frame may lie between the two. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base.h"

typedef struct arena arena;

SINTER_CHECKED sinter_status arena_create(arena **out);
void arena_destroy(arena *a);

/* Zeroed memory, aligned to 16. */
void *arena_alloc(arena *a, size_t size);
void *arena_copy(arena *a, const void *data, size_t size);
char *arena_strdup(arena *a, const char *s);
char *arena_strndup(arena *a, const char *s, size_t len);
char *arena_printf(arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_alloc_array((a), (n), sizeof(type)))
void *arena_alloc_array(arena *a, size_t n, size_t size);

/* Bytes handed out so far. */
size_t arena_used(const arena *a);

/* Fails the n-th next allocation of this thread (1: the next), for tests; 0 switches it off. */
void arena_fail_after(size_t n);

/* Runs body(user) and returns its status, or OUT_OF_MEMORY when an arena ran out inside it. */
SINTER_CHECKED sinter_status arena_catch(sinter_status (*body)(void *user), void *user);

/* A growable array in an arena: VEC(type) v = {0}; *vec_push(a, &v) = x; v.data[i]; v.count. */
#define VEC(type)                                                                                  \
   struct {                                                                                        \
      type *data;                                                                                  \
      size_t count, cap;                                                                           \
   }
#define vec_push(a, v)                                                                             \
   ((v)->count == (v)->cap                                                                         \
       ? (void)((v)->data = arena_grow((a), (v)->data, &(v)->cap, sizeof *(v)->data))              \
       : (void)0,                                                                                  \
    &(v)->data[(v)->count++])
void *arena_grow(arena *a, void *data, size_t *cap, size_t size);

/* A growable text in an arena, always NUL-terminated. */
typedef struct text_buf {
   arena *a;
   char *data;
   size_t len, cap;
} text_buf;

void text_printf(text_buf *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_append(text_buf *t, const char *s, size_t len);

#endif
