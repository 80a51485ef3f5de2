/* turns.c - a ticket each: a mutex alone would let an engine that steps on and on take its own turn
 * again. */
#include "turns.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static rt_pool *pool;
static uint32_t users;
static uint64_t tickets, serving;

sinter_status rt_shared_pool(uint32_t threads, rt_pool **out)
{
   sinter_status status = SINTER_ok;

   pthread_mutex_lock(&lock);
   if (!pool)
      status = rt_pool_create(threads, &pool);
   users += status == SINTER_ok;
   *out = pool;
   pthread_mutex_unlock(&lock);
   return status;
}

void rt_shared_pool_drop(void)
{
   pthread_mutex_lock(&lock);
   rt_pool *last = --users ? NULL : pool;
   if (last)
      pool = NULL;
   pthread_mutex_unlock(&lock);
   rt_pool_destroy(last);
}

void rt_turn_take(void)
{
   pthread_mutex_lock(&lock);
   uint64_t ticket = tickets++;
   while (serving != ticket)
      pthread_cond_wait(&moved, &lock);
   pthread_mutex_unlock(&lock);
}

void rt_turn_give(void)
{
   pthread_mutex_lock(&lock);
   serving++;
   pthread_cond_broadcast(&moved);
   pthread_mutex_unlock(&lock);
}
