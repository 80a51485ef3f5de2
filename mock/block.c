/* block.c - fibers of a block, and where they meet. */
#include "block.h"

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/sanitized.h"
#include "base/simt_abi.h"
#include "fiber.h"

/* Checked kernels have room between their variables. */
enum { STACK = (BASE_SANITIZED ? 256 : 64) << 10, GUARD = 4096, MAX_WARP = 64 };

typedef enum state { READY, AT_BARRIER, AT_WARP, DONE } state;

typedef struct lane {
   simt_fiber f; /* first: the kernel's view */
   void *sp, *sanitizer;
   state state;
   int place;
   void *data;
   void (*what)(void **lanes, int count);
} lane;

typedef struct block {
   lane lanes[SIMT_THREADS];
   uint32_t threads, warp, current;
   mock_order order;
   const mock_kernel *kernel;
   const void *args;
   void *scheduler, *sanitizer;
   uint8_t *stacks, *shared;
   bool is_shared; /* a thread has asked for it */
   const char *error;
   bool runs; /* a thread of the block, on `host` */
   pthread_t host;
   char text[400];
} block;

static block the; /* one engine thread runs grids at a time: mock_run_grid is called under a lock */

/* ---- fibers ---- */

/* last: the stack is never come back to. */
static void leave(lane *l, bool last)
{
   mock_switch_begins(last ? NULL : &l->sanitizer, NULL, 0);
   mock_switch(&l->sp, the.scheduler);
   mock_switch_ends(l->sanitizer);
}

static void entry(void)
{
   lane *l = &the.lanes[the.current];

   mock_switch_ends(NULL);
   the.kernel->call(the.args);
   l->state = DONE;
   leave(l, true);
}

static uint8_t *stack_of(uint32_t thread)
{
   return the.stacks + (size_t)thread * (STACK + GUARD) + GUARD;
}

static void resume(lane *l, uint32_t thread)
{
   the.runs = true;
   mock_switch_begins(&the.sanitizer, stack_of(thread), STACK);
   mock_switch(&the.scheduler, l->sp);
   mock_switch_ends(the.sanitizer);
   the.runs = false;
}

static void sync_lane(simt_fiber *self, int place)
{
   lane *l = (lane *)self;

   l->state = AT_BARRIER;
   l->place = place;
   leave(l, false);
}

static void meet_warp(simt_fiber *self, void *data, void (*what)(void **lanes, int count),
                      int place)
{
   lane *l = (lane *)self;

   l->state = AT_WARP;
   l->place = place;
   l->data = data;
   l->what = what;
   leave(l, false);
}

/* The end of what there is, so that what lies behind a block's own cannot be touched. */
static void *shared_of(simt_fiber *self, unsigned long size)
{
   uint8_t *from = the.shared + SIMT_MOST_SHARED - base_align(size, 16);

   (void)self;
   if (!the.is_shared) {
      ASAN_POISON_MEMORY_REGION(the.shared, SIMT_MOST_SHARED);
      ASAN_UNPOISON_MEMORY_REGION(from, size);
      memset(from, 0xff, size);
   }
   the.is_shared = true;
   return from;
}

static const simt_meet meet = {sync_lane, meet_warp, shared_of};

/* ---- meeting ---- */

static void fail(const char *what, uint32_t thread)
{
   snprintf(the.text, sizeof the.text, "kernel %.120s, tile %lld, thread %u: %s", the.kernel->name,
            the.lanes[thread].f.tile, thread, what);
   the.error = the.text;
}

void mock_block_fault(const char *what)
{
   lane *l = &the.lanes[the.current];

   if (!the.runs || !pthread_equal(the.host, pthread_self()))
      return;
   fail(what, the.current);
   l->state = DONE;
   leave(l, true);
}

/* All lanes of l's warp have come: runs what they came for. */
static void try_warp(uint32_t thread)
{
   uint32_t first = thread / the.warp * the.warp;
   void *data[MAX_WARP];

   for (uint32_t i = 0; i < the.warp; i++) {
      const lane *l = &the.lanes[first + i];
      if (l->state == DONE || l->state == AT_BARRIER) {
         fail(l->state == DONE ? "a lane of its warp has returned"
                               : "a lane of its warp waits at a barrier",
              thread);
         return;
      }
      if (l->state != AT_WARP)
         return;
      if (l->place != the.lanes[thread].place) {
         fail("lanes of its warp meet at different places", thread);
         return;
      }
      data[i] = l->data;
   }
   the.lanes[first].what(data, (int)the.warp);
   for (uint32_t i = 0; i < the.warp; i++)
      the.lanes[first + i].state = READY;
}

static void try_barrier(uint32_t thread)
{
   for (uint32_t i = 0; i < the.threads; i++) {
      if (the.lanes[i].state == DONE) {
         fail("it waits at a barrier that another thread has passed by", thread);
         return;
      }
      if (the.lanes[i].state != AT_BARRIER)
         return;
   }
   for (uint32_t i = 0; i < the.threads; i++)
      if (the.lanes[i].place != the.lanes[0].place) {
         fail("threads meet at different barriers", i);
         return;
      }
   for (uint32_t i = 0; i < the.threads; i++)
      the.lanes[i].state = READY;
}

/* ---- schedule ---- */

/* The next thread that can go on; -1: none. */
static int next_thread(void)
{
   int n = (int)the.threads;

   for (int i = 0; i < n; i++) {
      int t = the.order == MOCK_FIRST  ? i
              : the.order == MOCK_LAST ? n - 1 - i
                                       : (int)(the.current + 1 + (uint32_t)i) % n;
      if (the.lanes[t].state == READY)
         return t;
   }
   return -1;
}

static void start_block(uint32_t tile)
{
   the.is_shared = false;
   for (uint32_t i = 0; i < the.threads; i++) {
      lane *l = &the.lanes[i];
      *l = (lane){.f = {&meet, tile, (int)i, the.order == MOCK_LAST}};
      l->sp = mock_stack(stack_of(i), STACK, entry);
   }
   the.current = the.threads - 1;
}

static const char *run_block(uint32_t tile)
{
   int t;

   start_block(tile);
   while (!the.error && (t = next_thread()) >= 0) {
      lane *l = &the.lanes[t];
      the.current = (uint32_t)t;
      *the.kernel->self = &l->f;
      resume(l, (uint32_t)t);
      if (l->state == AT_WARP)
         try_warp((uint32_t)t);
      else if (l->state == AT_BARRIER)
         try_barrier((uint32_t)t);
   }
   for (uint32_t i = 0; !the.error && i < the.threads; i++)
      if (the.lanes[i].state != DONE)
         fail("it waits for threads that never come", i);
   return the.error;
}

/* Stacks with a page in front of each that faults; shared memory that ends at one. */
static bool prepare(void)
{
   size_t one = STACK + GUARD, shared = SIMT_MOST_SHARED + GUARD;

   if (the.stacks)
      return true;
   uint8_t *memory = mmap(NULL, one * SIMT_THREADS + shared, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
   if (memory == MAP_FAILED)
      return false;
   for (size_t i = 0; i < SIMT_THREADS; i++)
      mprotect(memory + i * one, GUARD, PROT_NONE);
   the.stacks = memory;
   the.shared = memory + one * SIMT_THREADS;
   mprotect(the.shared + SIMT_MOST_SHARED, GUARD, PROT_NONE);
   return true;
}

const char *mock_run_grid(const mock_kernel *kernel, uint32_t grid, uint32_t threads, uint32_t warp,
                          mock_order order, const void *args)
{
   if (!prepare())
      return "there is no memory for fibers";
   the.host = pthread_self();
   the.kernel = kernel;
   the.args = args;
   the.threads = threads;
   the.warp = warp;
   the.order = order;
   the.error = NULL;
   for (uint32_t tile = 0; tile < grid; tile++)
      if (run_block(tile))
         break;
   for (uint32_t i = 0; the.error && i < threads; i++)
      ASAN_UNPOISON_MEMORY_REGION(stack_of(i), STACK); /* left with calls on them */
   return the.error;
}
