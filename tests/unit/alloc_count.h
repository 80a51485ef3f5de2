/* alloc_count.h - counts every malloc, calloc, realloc and free of the process while `counting` is
 * set. glibc only; not under sanitizers, which bring their own. */
#ifndef TEST_ALLOC_COUNT_H
#define TEST_ALLOC_COUNT_H

#include <stdatomic.h>
#include <stdlib.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static atomic_bool counting;
static _Atomic uint64_t calls;

static void count(void)
{
   if (atomic_load(&counting))
      atomic_fetch_add(&calls, 1);
}

void *malloc(size_t size)
{
   count();
   return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
   count();
   return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
   count();
   return __libc_realloc(p, size);
}

void free(void *p)
{
   if (p)
      count();
   __libc_free(p);
}

#endif
