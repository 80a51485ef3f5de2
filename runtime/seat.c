/* seat.c - threads and their cores, by Linux's scheduler. */
#include "seat.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* Enough for the clock of a thread that runs to have moved. */
enum { LOOK_NS = 1000 };

static int64_t now_ns(clockid_t clock)
{
   struct timespec t;

   return clock_gettime(clock, &t) == 0 ? (int64_t)t.tv_sec * 1000000000 + t.tv_nsec : -1;
}

/* The clock of a thread's processor time: Linux makes its number from the thread's (man 3
 * clock_getcpuclockid has only the process's). 6 = of one thread (4), in nanoseconds (2). */
static clockid_t clock_of(int32_t tid)
{
   return (clockid_t)((~(uint32_t)tid << 3) | 6);
}

void rt_seat_take(rt_seat *s)
{
   atomic_store_explicit(&s->tid, gettid(), memory_order_relaxed);
}

void rt_seat_work(rt_seat *s)
{
   atomic_store_explicit(&s->cpu, sched_getcpu(), memory_order_relaxed);
}

void rt_seat_rest(rt_seat *s)
{
   atomic_store_explicit(&s->cpu, -1, memory_order_relaxed);
}

bool rt_seat_lost(const rt_seat *s)
{
   if (atomic_load_explicit(&s->cpu, memory_order_relaxed) < 0)
      return false;
   clockid_t clock = clock_of(atomic_load_explicit(&s->tid, memory_order_relaxed));
   int64_t used = now_ns(clock), begin = now_ns(CLOCK_MONOTONIC);
   if (used < 0)
      return false;
   while (now_ns(CLOCK_MONOTONIC) - begin < LOOK_NS)
      ;
   return now_ns(clock) == used;
}

/* Moves a thread to a core, and lets it run wherever it could. */
static bool move(pid_t tid, int cpu, const cpu_set_t *anywhere)
{
   cpu_set_t there;

   CPU_ZERO(&there);
   CPU_SET(cpu, &there);
   if (sched_setaffinity(tid, sizeof there, &there) != 0)
      return false;
   return sched_setaffinity(tid, sizeof *anywhere, anywhere) == 0;
}

bool rt_seat_trade(const rt_seat *other)
{
   int32_t tid = atomic_load_explicit(&other->tid, memory_order_relaxed);
   int theirs = atomic_load_explicit(&other->cpu, memory_order_relaxed), mine = sched_getcpu();
   cpu_set_t me, it;

   if (theirs < 0 || mine < 0)
      return false;
   if (theirs == mine)
      return sched_yield() == 0;
   if (sched_getaffinity(0, sizeof me, &me) != 0 || sched_getaffinity(tid, sizeof it, &it) != 0)
      return false;
   if (!CPU_ISSET(mine, &it) || !CPU_ISSET(theirs, &me))
      return false;
   return move(tid, mine, &it) && move(0, theirs, &me);
}
