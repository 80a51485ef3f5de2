/* seat.h - which core a thread is on, whether it has lost it, and trading cores with it.
 *
 * Beside a program that takes a core for itself, a thread of ours that shares that core waits there
 * for whole slices of the scheduler, milliseconds, while all others wait for its tile. Who waits
 * has no use for a core meanwhile: it gives its own to the one it waits for, and queues in its
 * place. */
#ifndef RT_SEAT_H
#define RT_SEAT_H

#include "base/base.h"

typedef struct rt_seat {
   _Atomic int32_t cpu; /* where the thread is at work; -1: it isn't, nobody waits for it */
   _Atomic int32_t tid; /* as the kernel counts */
} rt_seat;

/* The calling thread's. */
void rt_seat_take(rt_seat *s);
/* It is at work, here; or no longer. */
void rt_seat_work(rt_seat *s);
void rt_seat_rest(rt_seat *s);

/* True when the thread should be at work and its processor time stands still. Looks for about a
 * microsecond. */
bool rt_seat_lost(const rt_seat *s);

/* Gives the caller's core to the other thread and takes that one's. Both may run where they could
 * before. False when that cannot be: a core that one of them may not use, or a system that does not
 * let us. */
bool rt_seat_trade(const rt_seat *other);

#endif
