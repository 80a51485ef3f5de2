/* host_load.c - the thread of a model: loads it when it is wanted, serves, lets go of it.
 *
 *    wanted ─▶ load ─▶ host_serve ─▶ close ─▶ wanted … */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <microhttpd.h>

#include "events.h"
#include "host.h"
#include "pictures.h"

/* How far a compile is, for those who ask /readyz. */
static void watch(void *user, sinter_stage stage, uint64_t done, uint64_t total, const char *detail)
{
   static const char *const names[] = {"hash", "import", "passes", "codegen",
                                       "pack", "write",  "open"};
   host *h = user;

   (void)detail;
   pthread_mutex_lock(&h->lock);
   h->stage = (size_t)stage < countof(names) ? names[stage] : "compile";
   h->progress = total ? (double)done / (double)total : 0;
   pthread_mutex_unlock(&h->lock);
}

static int load(host *h)
{
   options o = *h->options;
   const char *path = h->path;
   sinter_engine_options e = SINTER_INIT(sinter_engine_options);

   o.args[0] = path;
   o.num_args = 1;
   int code =
      cli_open_watched(&o, &h->session, h->server->num_hosts > 1 ? h->name : NULL, watch, h);
   if (code)
      return code;
   sinter_artifact_digest(h->session.artifact, h->digest);
   pthread_mutex_lock(&h->lock);
   h->stage = "engine";
   h->num_loads++;
   h->cache_hits += h->session.cached;
   pthread_mutex_unlock(&h->lock);
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

/* Builds what the first request with a format would have to wait for: the tree of the vocabulary. A
 * thread of its own, behind everything else; one of the users. */
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
   h->failed = code != 0 && h->is_required && !h->was_ready;
   h->not_again = code != 0 && h->was_ready;
   h->ready = code == 0;
   h->was_ready |= h->ready;
   h->wanted = false;
   h->used = cli_seconds();
   h->stage = code ? "failed" : "ready";
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
   h->gone = SINTER_INIT(sinter_stats);
   metrics_carry(&h->gone, &h->stats);
   h->stats = h->gone;
   h->wanted |= h->waiting != NULL;
   pthread_mutex_unlock(&h->lock);
}

void *host_run(void *user)
{
   host *h = user;

   while (wait_until_wanted(h)) {
      int code = load(h);

      loaded(h, code);
      if (code == 0) {
         start_preparing(h);
         host_serve(h);
      }
      host_reap(h, false, true);
      wait_for_users(h);
      kernels_forget(h);
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
