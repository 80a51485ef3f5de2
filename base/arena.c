/* arena.c - chunks in a list; each is at least CHUNK bytes, large requests get their own. */
#include "arena.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 256 * 1024, ALIGN = 16 };

typedef struct chunk {
   struct chunk *next;
   size_t used, size;
   _Alignas(ALIGN) uint8_t data[];
} chunk;

struct arena {
   chunk *chunks;
   size_t used;
};

static _Thread_local jmp_buf *catcher;
static _Thread_local size_t fail_after;

void arena_fail_after(size_t n)
{
   fail_after = n;
}

_Noreturn static void out_of_memory(void)
{
   if (!catcher)
      abort();
   longjmp(*catcher, 1);
}

sinter_status arena_catch(sinter_status (*body)(void *user), void *user)
{
   jmp_buf here;
   jmp_buf *volatile outer = catcher;

   if (setjmp(here)) {
      catcher = outer;
      return base_fail(SINTER_out_of_memory, "", "close other programs or use a smaller model",
                       "memory is exhausted");
   }
   catcher = &here;
   sinter_status status = body(user);
   catcher = outer;
   return status;
}

sinter_status arena_create(arena **out)
{
   *out = calloc(1, sizeof **out);
   if (!*out)
      return base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   return SINTER_ok;
}

void arena_destroy(arena *a)
{
   if (!a)
      return;
   for (chunk *c = a->chunks, *next; c; c = next) {
      next = c->next;
      free(c);
   }
   free(a);
}

size_t arena_used(const arena *a)
{
   return a->used;
}

static chunk *add_chunk(arena *a, size_t size)
{
   size_t want = MAX(size, (size_t)CHUNK);

   if (want > SIZE_MAX - sizeof(chunk))
      out_of_memory();
   chunk *c = calloc(1, sizeof(chunk) + want);
   if (!c)
      out_of_memory();
   c->size = want;
   /* A chunk for one large request goes behind the current one, whose rest stays in use. */
   if (a->chunks && size > CHUNK / 2) {
      c->next = a->chunks->next;
      a->chunks->next = c;
   } else {
      c->next = a->chunks;
      a->chunks = c;
   }
   return c;
}

void *arena_alloc(arena *a, size_t size)
{
   if (fail_after && --fail_after == 0)
      out_of_memory();
   if (size > SIZE_MAX - ALIGN)
      out_of_memory();
   size = (size + ALIGN - 1) / ALIGN * ALIGN;
   chunk *c = a->chunks;
   if (!c || c->size - c->used < size)
      c = add_chunk(a, size);
   void *p = c->data + c->used;
   c->used += size;
   a->used += size;
   return p;
}

void *arena_alloc_array(arena *a, size_t n, size_t size)
{
   size_t bytes;

   if (!base_mul(n, size, &bytes))
      out_of_memory();
   return arena_alloc(a, bytes);
}

void *arena_copy(arena *a, const void *data, size_t size)
{
   void *p = arena_alloc(a, size);

   if (size)
      memcpy(p, data, size);
   return p;
}

char *arena_strndup(arena *a, const char *s, size_t len)
{
   char *p = arena_alloc(a, len + 1);

   if (len)
      memcpy(p, s, len);
   return p;
}

char *arena_strdup(arena *a, const char *s)
{
   return arena_strndup(a, s, strlen(s));
}

char *arena_printf(arena *a, const char *fmt, ...)
{
   va_list args, again;

   va_start(args, fmt);
   va_copy(again, args);
   int len = vsnprintf(NULL, 0, fmt, args);
   va_end(args);
   char *p = arena_alloc(a, (size_t)MAX(len, 0) + 1);
   vsnprintf(p, (size_t)MAX(len, 0) + 1, fmt, again);
   va_end(again);
   return p;
}

void *arena_grow(arena *a, void *data, size_t *cap, size_t size)
{
   size_t old = *cap, cap_new = old ? old * 2 : 8;
   void *p = arena_alloc_array(a, cap_new, size);

   if (old)
      memcpy(p, data, old * size);
   *cap = cap_new;
   return p;
}

static void reserve(text_buf *t, size_t more)
{
   size_t need = t->len + more + 1;

   if (need <= t->cap)
      return;
   size_t cap = MAX(t->cap * 2, MAX(need, (size_t)256));
   char *p = arena_alloc(t->a, cap);
   if (t->len)
      memcpy(p, t->data, t->len);
   t->data = p;
   t->cap = cap;
}

void text_append(text_buf *t, const char *s, size_t len)
{
   reserve(t, len);
   if (len)
      memcpy(t->data + t->len, s, len);
   t->len += len;
   t->data[t->len] = 0;
}

void text_printf(text_buf *t, const char *fmt, ...)
{
   va_list args, again;

   va_start(args, fmt);
   va_copy(again, args);
   int len = vsnprintf(NULL, 0, fmt, args);
   va_end(args);
   reserve(t, (size_t)MAX(len, 0));
   vsnprintf(t->data + t->len, t->cap - t->len, fmt, again);
   va_end(again);
   t->len += (size_t)MAX(len, 0);
}
