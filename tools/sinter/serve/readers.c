/* readers.c - a thread that parses and tokenizes long bodies. A text of megabytes takes seconds
 * when it is one word; meanwhile the threads of HTTP serve everybody else.
 *
 *    handler ─▶ readers_run ─short─▶ done here
 *                     └─long─▶ the call sleeps ─▶ done by the thread ─▶ handler again */
#include <sys/resource.h>
#include <unistd.h>

#include <microhttpd.h>

#include "readers.h"

enum { LONG_BODY = 32 << 10 };

static void work_now(call *c)
{
   c->reading.ok = c->reading.work(c);
   c->reading.done = true;
}

bool readers_run(call *c, reader_work *work)
{
   server *s = c->server;

   if (c->reading.work == work && c->reading.done)
      return true;
   c->reading.work = work;
   c->reading.done = false;
   if (c->body.len < LONG_BODY) {
      work_now(c);
      return true;
   }
   MHD_suspend_connection(c->connection);
   pthread_mutex_lock(&s->reading);
   call **end = &s->unread;
   while (*end)
      end = &(*end)->next_waiting;
   c->next_waiting = NULL;
   *end = c;
   pthread_cond_signal(&s->any_unread);
   pthread_mutex_unlock(&s->reading);
   return false;
}

/* The next call; NULL at the end, when none is left. */
static call *next_call(server *s)
{
   pthread_mutex_lock(&s->reading);
   while (!s->unread && !s->no_more)
      pthread_cond_wait(&s->any_unread, &s->reading);
   call *c = s->unread;
   if (c)
      s->unread = c->next_waiting;
   pthread_mutex_unlock(&s->reading);
   return c;
}

static void *run(void *user)
{
   server *s = user;
   call *c;

   (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 5); /* behind those who wait for tokens */
   while ((c = next_call(s))) {
      work_now(c);
      MHD_resume_connection(c->connection);
   }
   return NULL;
}

bool readers_start(server *s)
{
   pthread_mutex_init(&s->reading, NULL);
   pthread_cond_init(&s->any_unread, NULL);
   return pthread_create(&s->reader, NULL, run, s) == 0;
}

void readers_stop(server *s)
{
   pthread_mutex_lock(&s->reading);
   s->no_more = true;
   pthread_cond_signal(&s->any_unread);
   pthread_mutex_unlock(&s->reading);
   pthread_join(s->reader, NULL);
}
