/* host.c - one model: loads it, then runs the jobs of its queue, all in one thread.
 *
 *    load ─▶ { take the queue ─ drop who left ─ one engine step ─ end finished jobs } … ─▶ drain ─▶ close
 *
 * Between steps the thread looks whether clients have gone: a suspended connection would not say so. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <microhttpd.h>

#include "choice.h"
#include "events.h"

const double host_bounds[16] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                0.5,   1,      2.5,   5,    10,    30,   60,  1e300};

static void observe(histogram *h, double seconds)
{
   size_t i = 0;

   while (seconds > host_bounds[i])
      i++;
   h->count[i]++;
   h->sum += seconds;
}

/* ---- output of a job ---- */

/* After something was added: wakes the reader, gives up on one that does not read. */
static void flush(job *j)
{
   j->written = cli_seconds();
   if (j->ask.stream && j->out.len - j->sent > SERVE_MAX_UNREAD)
      j->gone = true;
   job_wake(j);
}

static void on_token(void *user, sinter_request *r, const sinter_token *t)
{
   choice *c = user;
   job *j = c->job;
   host_metrics *m = &j->host->metrics;
   double now = cli_seconds();

   (void)r;
   pthread_mutex_lock(&j->lock);
   if (!c->finish) {
      if (t->id >= 0 && c->num_tokens)
         observe(&m->between_tokens, now - c->last);
      if (t->id >= 0 && j->first == 0) {
         j->first = now;
         observe(&m->first_token, now - j->started);
      }
      c->last = now;
      m->generated_tokens += t->id >= 0;
      if (choice_token(c, t)) {
         j->left--;
         if (t->finish == SINTER_FINISH_none)
            sinter_cancel(c->request);
      }
      if (j->ask.stream) {
         reply_stream(j, c);
         flush(j);
      }
   }
   pthread_mutex_unlock(&j->lock);
}

static void on_logits(void *user, sinter_request *r, uint32_t pos, const float *logits)
{
   choice *c = user;

   (void)r;
   pthread_mutex_lock(&c->job->lock);
   choice_prompt_logits(c, pos, logits);
   pthread_mutex_unlock(&c->job->lock);
}

/* ---- life of a job ---- */

/* Submits all choices; the first failure ends the job. */
static void start(job *j)
{
   pictures_encode(j);
   pthread_mutex_lock(&j->lock);
   for (uint32_t i = 0; i < j->num_choices && !j->fault.http; i++) {
      choice *c = &j->choices[i];
      sinter_status status = choice_submit(c, on_token, on_logits);

      if (status != SINTER_ok)
         fault_from_library(&j->fault, status, NULL);
      if (c->finish) {
         j->left--;
         if (j->ask.stream)
            reply_stream(j, c);
      }
   }
   pthread_mutex_unlock(&j->lock);
}

static void count_end(host *h, const job *j)
{
   host_metrics *m = &h->metrics;

   for (uint32_t i = 0; i < j->num_choices; i++) {
      const char *why = j->choices[i].finish;
      m->requests[j->fault.http || !why        ? (j->gone ? 2 : 3)
                  : strcmp(why, "stop") == 0   ? 0
                  : strcmp(why, "length") == 0 ? 1
                                               : 3]++;
   }
   m->prompt_tokens += job_prompt_tokens(j);
   m->cached_tokens += j->cached_tokens;
   observe(&m->whole, cli_seconds() - j->started);
}

static void take_stats(host *h, job *j)
{
   for (uint32_t i = 0; i < j->num_choices; i++) {
      sinter_request_stats s = SINTER_INIT(sinter_request_stats);

      if (!j->choices[i].request)
         continue;
      sinter_request_get_stats(j->choices[i].request, &s);
      j->cached_tokens += s.prefix_hit_tokens;
      h->metrics.preemptions += s.preemptions;
   }
}

/* Frees what the job holds of the engine, and lets its connection have the end. */
static void end(host *h, job *j)
{
   pthread_mutex_lock(&j->lock);
   take_stats(h, j);
   for (uint32_t i = 0; i < j->num_choices; i++)
      choice_end(&j->choices[i]);
   for (uint32_t i = 0; i < j->num_choices && !j->fault.http && !j->gone; i++)
      if (j->choices[i].finish && strcmp(j->choices[i].finish, "error") == 0)
         fault_set(&j->fault, 500, "failed", NULL,
                   j->ask.rules ? "no token of the model continues the demanded format"
                                : "the model gave logits that are not finite");
   count_end(h, j);
   if (j->ask.stream && !j->gone)
      reply_stream_end(j);
   /* Behind this nothing looks at the artifact, which may go while the client still reads. */
   sinter_grammar_destroy(j->ask.rules);
   j->ask.rules = NULL;
   j->ended = true;
   job_wake(j);
   pthread_mutex_unlock(&j->lock);
   job_release(j);
}

/* A client that has gone, by the connection's own word or the socket's. */
static bool left(job *j, double now)
{
   struct pollfd p = {.fd = j->socket, .events = POLLRDHUP};

   pthread_mutex_lock(&j->lock);
   if (!j->gone && j->socket >= 0 && poll(&p, 1, 0) == 1 &&
       (p.revents & (POLLRDHUP | POLLHUP | POLLERR)))
      j->gone = true;
   if (!j->gone && j->ask.timeout_ms && now - j->started > (double)j->ask.timeout_ms * 1e-3 &&
       !j->fault.http)
      fault_set(&j->fault, 408, "timeout", "timeout_ms", "the request took longer than timeout_ms");
   if (!j->gone && j->ask.stream && now - j->written > SERVE_PING_SECONDS) {
      buffer_add(&j->out, ": ping\n\n", 8);
      flush(j);
   }
   bool over = j->gone || j->fault.http;
   pthread_mutex_unlock(&j->lock);
   return over;
}

/* ---- the loop ---- */

/* Whether nobody needs the model any more: it was told to go, or nobody asked for a while. The lock is held. */
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

/* Moves new jobs to the running ones; waits for them when there is nothing to do. False at the end, and when the model
 * has to go: then it is not ready any more. */
static bool take_queue(host *h, bool busy)
{
   job *fresh;

   pthread_mutex_lock(&h->lock);
   while (!h->queue && !busy && !h->stopping && !must_unload(h))
      wait_for_work(h);
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
      start(fresh);
      pthread_mutex_lock(&h->lock);
      fresh->next = h->running;
      h->running = fresh;
      pthread_mutex_unlock(&h->lock);
      fresh = next;
   }
   return busy || h->running || !h->stopping;
}

/* Ends jobs that are done, failed or left alone. */
static void reap(host *h, bool sweep, bool all)
{
   double now = cli_seconds();
   job *done = NULL;

   pthread_mutex_lock(&h->lock);
   for (job **at = &h->running; *at;) {
      job *j = *at;
      bool over = !j->left || j->fault.http || all || (sweep && left(j, now));

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
      end(h, done);
      done = next;
   }
}

/* What other threads may see. */
static void publish(host *h)
{
   pthread_mutex_lock(&h->lock);
   sinter_engine_stats(h->session.engine, &h->stats);
   h->shown = h->metrics;
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

static void serve(host *h)
{
   double swept = 0;
   bool busy = false;

   while (take_queue(h, busy)) {
      double now = cli_seconds();
      bool sweep = now - swept > 0.02;

      if (sweep) {
         swept = now;
         publish(h);
      }
      reap(h, sweep, must_end(h));
      if (sinter_step(h->session.engine, &busy) != SINTER_ok) {
         cli_error(SINTER_failed);
         pthread_mutex_lock(&h->lock);
         h->failed = h->stopping = h->at_once = true;
         pthread_mutex_unlock(&h->lock);
         busy = false;
      }
      events_flush(h->events, h->session.engine);
      reap(h, false, false);
      if (!busy && !h->running) {
         publish(h);
         publish_index(h);
      }
   }
}

/* ---- loading ---- */

static int load(host *h)
{
   options o = *h->options;
   const char *path = h->path;
   sinter_engine_options e = SINTER_INIT(sinter_engine_options);

   o.args[0] = path;
   o.num_args = 1;
   int code = cli_open(&o, &h->session);
   if (code)
      return code;
   sinter_artifact_digest(h->session.artifact, h->digest);
   h->stage = "engine";
   e.kv_tokens = (uint32_t)cli_int(o.kv_tokens, 0);
   e.max_sequences = (uint32_t)cli_int(o.max_sequences, 0);
   e.host_kv_tokens = (uint32_t)cli_int(o.kv_host_tokens, UINT32_MAX);
   e.max_step_ms = (uint32_t)cli_int(o.max_step_ms, 50);
   e.share_threads = true;
   e.on_kv = h->events ? events_tell : NULL;
   e.kv_user = h->events;
   code = cli_engine(&o, &h->session, &e);
   code = code ? code : pictures_open(&o, &h->session);
   if (code)
      return code;
   sinter_stats s = SINTER_INIT(sinter_stats);
   sinter_engine_stats(h->session.engine, &s);
   h->context = h->session.info.trained_context;
   if (!h->context || s.kv_tokens_total < h->context)
      h->context = (uint32_t)s.kv_tokens_total;
   loads_begin(&h->loads, h->session.artifact);
   return 0;
}

/* Lets calls that waited for the model go on, to its answer or to a fault. The lock is held. */
static void resume(host *h, const fault *f)
{
   while (h->waiting) {
      call *c = h->waiting;

      h->waiting = c->next_waiting;
      if (f)
         c->fault = *f;
      MHD_resume_connection(c->connection);
   }
}

/* Builds what the first request with a format would have to wait for: the tree of the vocabulary. A thread of its own,
 * behind everything else; one of the users. */
static void *prepare_formats(void *user)
{
   static const char any[] = "{\"literal\":\"a\"}";
   host *h = user;
   sinter_grammar *g;

   (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 10);
   if (sinter_grammar_create(h->session.artifact, any, sizeof any - 1, &g) == SINTER_ok)
      sinter_grammar_destroy(g);
   host_release(h);
   return NULL;
}

static void start_preparing(host *h)
{
   pthread_t thread;

   pthread_mutex_lock(&h->lock);
   h->users++;
   pthread_mutex_unlock(&h->lock);
   if (pthread_create(&thread, NULL, prepare_formats, h) == 0)
      pthread_detach(thread);
   else
      host_release(h); /* then the first such request builds it */
}

/* Waits for those who still read the artifact; the host is not ready any more, or stops. */
static void wait_for_users(host *h)
{
   pthread_mutex_lock(&h->lock);
   while (h->users)
      pthread_cond_wait(&h->wake, &h->lock);
   pthread_mutex_unlock(&h->lock);
}

/* Waits until somebody wants the model. False at the end. */
static bool wait_until_wanted(host *h)
{
   pthread_mutex_lock(&h->lock);
   while (!h->wanted && !h->stopping)
      pthread_cond_wait(&h->wake, &h->lock);
   bool go = !h->stopping;
   h->stage = go ? "compile" : h->stage;
   pthread_mutex_unlock(&h->lock);
   return go;
}

static void loaded(host *h, int code)
{
   fault f;

   fault_set(&f, 500, "load_failed", "model",
             "the model cannot be loaded: the server's messages say why");
   pthread_mutex_lock(&h->lock);
   h->exit_code = code;
   h->failed = code != 0 && h->is_required;
   h->ready = code == 0;
   h->was_ready |= h->ready;
   h->wanted = false;
   h->used = cli_seconds();
   h->stage = code ? "failed" : "ready";
   h->stats = SINTER_INIT(sinter_stats);
   resume(h, code ? &f : NULL);
   pthread_mutex_unlock(&h->lock);
}

/* After the model was closed: those who came meanwhile want it again. */
static void unloaded(host *h)
{
   pthread_mutex_lock(&h->lock);
   h->stage = "unloaded";
   h->kv_blocks = h->kv_sum = 0;
   loads_end(&h->loads);
   h->stats = SINTER_INIT(sinter_stats);
   h->wanted |= h->waiting != NULL;
   pthread_mutex_unlock(&h->lock);
}

static void *run(void *user)
{
   host *h = user;

   while (wait_until_wanted(h)) {
      int code = load(h);

      loaded(h, code);
      if (code == 0) {
         start_preparing(h);
         serve(h);
      }
      reap(h, false, true);
      wait_for_users(h);
      cli_close(&h->session);
      if (code == 0) {
         events_clear(h->events);
         unloaded(h);
      }
      if (h->failed)
         break;
   }
   fault f;
   fault_set(&f, 503, "shutting_down", NULL, "the server is shutting down");
   pthread_mutex_lock(&h->lock);
   h->stopping = true; /* nobody waits for it from here on */
   resume(h, &f);
   pthread_mutex_unlock(&h->lock);
   return NULL;
}

void host_init(host *h, const options *o, const char *path, const char *name, bool is_required,
               struct events *publisher)
{
   *h =
      (host){.options = o, .stage = "unloaded", .is_required = is_required, .wanted = is_required};
   snprintf(h->path, sizeof h->path, "%s", path);
   if (is_required)
      h->stage = "compile";
   if (name)
      snprintf(h->name, sizeof h->name, "%s", name);
   else
      models_short_name(h->name, sizeof h->name, path);
   pthread_mutex_init(&h->lock, NULL);
   pthread_cond_init(&h->wake, NULL);
   h->events = events_add(publisher, h->name);
}

bool host_start(host *h)
{
   return pthread_create(&h->thread, NULL, run, h) == 0;
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
   } else if (h->num_jobs >= SERVE_MAX_QUEUE) {
      fault_set(f, 429, "queue_full", NULL, "%d requests are waiting or running: try again later",
                SERVE_MAX_QUEUE);
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
