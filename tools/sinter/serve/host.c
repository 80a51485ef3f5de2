/* host.c - a model as the HTTP threads see it: they hold it, hand it jobs, have it unloaded. Its
 * own thread is in host_load.c and host_loop.c. */
#include <stdio.h>
#include <string.h>

#include <microhttpd.h>

#include "host.h"
#include "models.h"

void host_init(host *h, server *s, const char *path, const char *name, bool is_required)
{
   *h = (host){.server = s,
               .options = s->options,
               .stage = "unloaded",
               .stats = SINTER_INIT(sinter_stats),
               .is_required = is_required,
               .wanted = is_required};
   snprintf(h->path, sizeof h->path, "%s", path);
   if (is_required)
      h->stage = "compile";
   if (name)
      snprintf(h->name, sizeof h->name, "%s", name);
   else
      models_short_name(h->name, sizeof h->name, path);
   pthread_mutex_init(&h->lock, NULL);
   pthread_cond_init(&h->wake, NULL);
}

bool host_start(host *h)
{
   return pthread_create(&h->thread, NULL, host_run, h) == 0;
}

bool host_acquire(host *h, call *c, fault *f)
{
   bool ok = false;

   pthread_mutex_lock(&h->lock);
   if (h->stopping || h->failed) {
      fault_set(f, 503, "shutting_down", NULL, "the server is shutting down");
   } else if (h->ready && !h->unwanted) {
      h->users++;
      h->used = cli_seconds();
      ok = true;
   } else {
      h->wanted = true;
      c->next_waiting = h->waiting;
      h->waiting = c;
      MHD_suspend_connection(c->connection);
      pthread_cond_signal(&h->wake);
   }
   pthread_mutex_unlock(&h->lock);
   return ok;
}

void host_release(host *h)
{
   pthread_mutex_lock(&h->lock);
   h->users--;
   pthread_cond_signal(&h->wake);
   pthread_mutex_unlock(&h->lock);
}

bool host_unload(host *h)
{
   pthread_mutex_lock(&h->lock);
   bool is_loaded = h->ready && !h->stopping;
   h->unwanted |= is_loaded;
   pthread_cond_signal(&h->wake);
   pthread_mutex_unlock(&h->lock);
   return is_loaded;
}

bool host_submit(host *h, job *j, fault *f)
{
   bool ok = false;

   pthread_mutex_lock(&h->lock);
   if (h->stopping) {
      fault_set(f, 503, "shutting_down", NULL, "the server is shutting down");
   } else if (h->num_jobs >= serve_most.queue) {
      fault_set(f, 429, "queue_full", NULL, "%lld requests are waiting or running: try again later",
                (long long)serve_most.queue);
   } else {
      *(h->last ? &h->last->next : &h->queue) = j;
      h->last = j;
      h->num_jobs++;
      pthread_cond_signal(&h->wake);
      ok = true;
   }
   pthread_mutex_unlock(&h->lock);
   return ok;
}

void host_stop(host *h, bool at_once)
{
   pthread_mutex_lock(&h->lock);
   h->stopping = true;
   h->at_once |= at_once;
   pthread_cond_broadcast(&h->wake);
   pthread_mutex_unlock(&h->lock);
}
