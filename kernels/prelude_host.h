/* prelude_host.h - simt.h as plain C: a thread of a block is a fiber of the mock device.
 *
 * The object has no external symbols: the device sets `simt_self` before it resumes a fiber, and
 * fibers meet through the functions that it points to. Warps have the width of the device that is
 * stood in for. */
#ifndef SIMT_PRELUDE_H
#define SIMT_PRELUDE_H

#include "simt_host.h"

#define SIMT_WARP SIMT_ARCH_WARP
#define SIMT_FN static inline __attribute__((always_inline, unused))
#define SIMT_TABLE static const
#define SIMT_UNROLL
#define SIMT_LOOP
#define SIMT_OFFSET(type, field) __builtin_offsetof(type, field)
#define SIMT_ASSERT(condition) _Static_assert(condition, "layout")

__attribute__((visibility("default"))) simt_fiber *simt_self;

#define SIMT_KERNEL(name)                                                                          \
   __attribute__((visibility("default"))) void name(const simt_args *simt_given);                  \
   void name(const simt_args *simt_given)
#define SIMT_WIDE_KERNEL(name, registers) SIMT_KERNEL(name)
#define SIMT_BEGIN(a)                                                                              \
   const simt_args *a = simt_given;                                                                \
   if (simt_tile() >= simt_tiles(a))                                                               \
   return
#define SIMT_SHARED(type, s)                                                                       \
   SIMT_ASSERT(sizeof(type) <= SIMT_BLOCK_SHARED);                                                 \
   type *s = (type *)simt_self->meet->shared(simt_self, sizeof(type))

SIMT_FN int simt_thread(void)
{
   return simt_self->thread;
}

SIMT_FN long long simt_tile(void)
{
   return simt_self->tile;
}

/* Where in the text a meeting is: all who meet must have come from the same place. */
#define simt_sync() simt_self->meet->sync(simt_self, __COUNTER__)
#define simt_sync_warp() simt_self->meet->warp(simt_self, (void *)0, simt_do_nothing, __COUNTER__)
#define simt_shfl_xor(v, mask) simt_shfl_xor_at(v, mask, __COUNTER__)

static void simt_do_nothing(void **lanes, int count)
{
   (void)lanes;
   (void)count;
}

typedef struct simt_shuffle {
   float value;
   int from;
   float result;
} simt_shuffle;

static void simt_do_shuffle(void **lanes, int count)
{
   for (int i = 0; i < count; i++) {
      simt_shuffle *s = (simt_shuffle *)lanes[i];

      s->result = ((simt_shuffle *)lanes[s->from])->value;
   }
}

SIMT_FN float simt_shfl_xor_at(float v, int mask, int place)
{
   simt_shuffle s = {v, simt_self->thread % SIMT_WARP ^ mask, 0};

   simt_self->meet->warp(simt_self, &s, simt_do_shuffle, place);
   return s.result;
}

SIMT_FN float simt_fma(float a, float b, float c)
{
   return __builtin_fmaf(a, b, c);
}

SIMT_FN float simt_sqrt(float v)
{
   return __builtin_sqrtf(v);
}

SIMT_FN float simt_rint(float v)
{
   return __builtin_rintf(v);
}

SIMT_FN unsigned simt_bits(float v)
{
   unsigned u;

   __builtin_memcpy(&u, &v, sizeof u);
   return u;
}

SIMT_FN float simt_float(unsigned v)
{
   float f;

   __builtin_memcpy(&f, &v, sizeof f);
   return f;
}

SIMT_FN float simt_f16(unsigned short v)
{
   _Float16 h;

   __builtin_memcpy(&h, &v, sizeof h);
   return (float)h;
}

SIMT_FN unsigned short simt_to_f16(float v)
{
   _Float16 h = (_Float16)v;
   unsigned short u;

   __builtin_memcpy(&u, &h, sizeof u);
   return u;
}

SIMT_FN int simt_dot4(unsigned a, unsigned b, int c)
{
   for (int j = 0; j < 4; j++)
      c += (signed char)(a >> 8 * j) * (signed char)(b >> 8 * j);
   return c;
}

/* ---- matrix instructions and asynchronous copies ---- */

/* Those of NVIDIA for warps of 32, of AMD for 64: emulated in fragments.cuh. */
#define SIMT_HAS_MMA 1
#define SIMT_EMULATES_MMA 1

enum { SIMT_MAX_COPIES = 64 };

/* A thread's copies under way: they are made as late as can be, so that reading too early shows;
 * or at once, so that it shows where others still read what was there. */
static struct simt_copies {
   int num, groups;
   struct simt_one_copy {
      void *to;
      const void *from;
      int bytes, there, group;
   } copy[SIMT_MAX_COPIES];
} simt_copies[SIMT_THREADS];

SIMT_FN void simt_copy_now(const struct simt_one_copy *one)
{
   if (one->there)
      __builtin_memcpy(one->to, one->from, (unsigned long)one->bytes);
   else
      __builtin_memset(one->to, 0, (unsigned long)one->bytes);
}

SIMT_FN void simt_copy_later(void *to, const void *from, int bytes, int there)
{
   struct simt_copies *c = &simt_copies[simt_self->thread];
   const struct simt_one_copy one = {to, from, bytes, there, c->groups};

   if (c->num == SIMT_MAX_COPIES)
      __builtin_trap();
   if (simt_self->early)
      simt_copy_now(&one);
   else
      c->copy[c->num++] = one;
}

SIMT_FN void simt_copy16(void *to, const void *from, int there)
{
   if ((unsigned long long)to % 16 || (there && (unsigned long long)from % 16))
      __builtin_trap(); /* as the instruction does */
   simt_copy_later(to, from, 16, there);
}

SIMT_FN void simt_copy4(void *to, const void *from, int there)
{
   simt_copy_later(to, from, 4, there);
}

SIMT_FN void simt_copy_end(void)
{
   simt_copies[simt_self->thread].groups++;
}

SIMT_FN void simt_copy_wait(int left)
{
   struct simt_copies *c = &simt_copies[simt_self->thread];
   int kept = 0;

   for (int i = 0; i < c->num; i++) {
      const struct simt_one_copy *one = &c->copy[i];
      if (one->group >= c->groups - left)
         c->copy[kept++] = *one;
      else
         simt_copy_now(one);
   }
   c->num = kept;
}

#endif
