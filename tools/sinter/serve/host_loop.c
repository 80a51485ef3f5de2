/* host_loop.c - the loop of a loaded model.
 *
 *    { take the queue ─ drop who left ─ one engine step ─ end finished jobs } …
 *
 * Between steps the thread looks whether clients have gone: a suspended connection would not say
 * so. */
#include <time.h>

#include "events.h"
#include "host.h"
#include "trace.h"

static bool must_unload(const host *h)
{
   int64_t after = cli_int(h->options->idle_unload, 0);

   return !h->queue && !h->running && !h->users &&
          (h->unwanted || (after && cli_seconds() - h->used >= (double)after));
}

/* Until something is to be done, or the model may have to go. The lock is held. */
static void wait_for_work(host *h)
{
   int64_t after = cli_int(h->options->idle_unload, 0);
   struct timespec until;

   bool lost = events_are_lost(h->events); /* to be told again once the publisher has room */
   if (!after && !lost) {
      pthread_cond_wait(&h->wake, &h->lock);
      return;
   }
   double left = (double)after - (cli_seconds() - h->used);
   clock_gettime(CLOCK_REALTIME, &until);
   if (lost)
      until.tv_nsec += 2000000;
   else
      until.tv_sec += left > 0 ? (time_t)left + 1 : 1;
   until.tv_sec += until.tv_nsec / 1000000000;
   until.tv_nsec %= 1000000000;
   pthread_cond_timedwait(&h->wake, &h->lock, &until);
   if (lost)
      events_flush(h->events, h->session.engine);
}

/* Moves new jobs to the running ones; waits for them when there is nothing to do. False at the end,
 * and when the model has to go: then it is not ready any more. */
static bool take_queue(host *h, bool busy)
{
   job *fresh;

   pthread_mutex_lock(&h->lock);
   while (!h->queue && !busy && !h->stopping && !must_unload(h)) {
      kernels_measure(h);
      wait_for_work(h);
   }
   if (!h->queue && !busy && !h->stopping) {
      h->ready = h->unwanted = false;
      h->stage = "unload";
      pthread_mutex_unlock(&h->lock);
      return false;
   }
   fresh = h->queue;
   h->queue = h->last = NULL;
   pthread_mutex_unlock(&h->lock);
   while (fresh) {
      job *next = fresh->next;
      host_job_start(fresh);
      pthread_mutex_lock(&h->lock);
      fresh->next = h->running;
      h->running = fresh;
      pthread_mutex_unlock(&h->lock);
      fresh = next;
   }
   return busy || h->running || !h->stopping;
}

void host_reap(host *h, bool sweep, bool all)
{
   double now = cli_seconds();
   job *done = NULL;

   pthread_mutex_lock(&h->lock);
   for (job **at = &h->running; *at;) {
      job *j = *at;
      bool over = !j->left || j->fault.http || all || (sweep && host_job_left(j, now));

      if (!over) {
         at = &j->next;
         continue;
      }
      *at = j->next;
      j->next = done;
      done = j;
      h->num_jobs--;
      h->used = now;
   }
   pthread_mutex_unlock(&h->lock);
   while (done) {
      job *next = done->next;

      if (all && done->left && !done->fault.http)
         fault_set(&done->fault, 503, "shutting_down", NULL, "the server is shutting down");
      host_job_end(h, done);
      done = next;
   }
}

/* What other threads may see. */
static void publish(host *h)
{
   pthread_mutex_lock(&h->lock);
   for (job *j = h->running; j; j = j->next)
      host_job_watch(j);
   sinter_engine_stats(h->session.engine, &h->stats);
   metrics_carry(&h->stats, &h->gone);
   h->shown = h->metrics;
   kernels_publish(h);
   pthread_mutex_unlock(&h->lock);
}

/* The prefix cache as it is while nothing runs, to be held against what events told. */
static void publish_index(host *h)
{
   uint64_t blocks = 0, sum = 0;

   events_measure(h->events, h->session.engine, &blocks, &sum);
   pthread_mutex_lock(&h->lock);
   h->kv_blocks = blocks;
   h->kv_sum = sum;
   pthread_mutex_unlock(&h->lock);
}

static bool must_end(host *h)
{
   pthread_mutex_lock(&h->lock);
   bool at_once = h->stopping && h->at_once;
   pthread_mutex_unlock(&h->lock);
   return at_once;
}

/* One step, counted and traced; *tokens: rows of all steps so far. */
static bool step(host *h, uint64_t *tokens, bool *busy)
{
   sinter_stats s = SINTER_INIT(sinter_stats);
   double begin = cli_seconds();
   bool ok = sinter_step(h->session.engine, busy) == SINTER_ok;

   sinter_engine_stats(h->session.engine, &s);
   if (s.tokens > *tokens) {
      metrics_add(&h->metrics, HISTOGRAM_step_rows, (double)(s.tokens - *tokens));
      trace_step(h, begin, s.tokens - *tokens, &s);
   }
   *tokens = s.tokens;
   return ok;
}

void host_serve(host *h)
{
   uint64_t tokens = 0;
   double swept = 0;
   bool busy = false;

   while (take_queue(h, busy)) {
      double now = cli_seconds();
      bool sweep = now - swept > 0.02;

      if (sweep) {
         swept = now;
         publish(h);
      }
      host_reap(h, sweep, must_end(h));
      if (!step(h, &tokens, &busy)) {
         cli_error(SINTER_failed);
         pthread_mutex_lock(&h->lock);
         h->failed = h->stopping = h->at_once = true;
         pthread_mutex_unlock(&h->lock);
         busy = false;
      }
      host_wake(h);
      events_flush(h->events, h->session.engine);
      host_reap(h, false, false);
      if (!busy && !h->running) {
         publish(h);
         publish_index(h);
      }
   }
}
