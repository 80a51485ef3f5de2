/* host_jobs.c - the life of a job on the thread of its host: submitted, its tokens taken, looked
 * after, ended. */
#include <poll.h>
#include <string.h>

#include "choice.h"
#include "host.h"
#include "pictures.h"
#include "reply.h"
#include "split.h"
#include "trace.h"

/* ---- output of a job ---- */

/* After something was added: has the reader woken, gives up on one that does not read. Prompts come
 * all at once, with more than a quick reader could have read: they do not count. */
static void flush(job *j)
{
   host *h = j->host;

   j->written = cli_seconds();
   if (j->ask.stream && j->out.len - j->sent > (size_t)serve_most.unread_bytes + j->echoed)
      j->gone = true;
   if (j->waking)
      return;
   j->waking = true;
   atomic_fetch_add(&j->refs, 1);
   j->next_woken = h->woken;
   h->woken = j;
}

void host_wake(host *h)
{
   job *list = h->woken;

   h->woken = NULL;
   if (list && !sinter_post(h->session.engine, jobs_wake, list))
      jobs_wake(list);
}

/* The echo of the prompt, with its log probabilities, in front of the first token. */
static void stream_prompt(choice *c)
{
   job *j = c->job;
   size_t before = j->out.len;

   c->echoes = false;
   reply_stream(j, c);
   j->echoed += j->out.len - before;
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
      if (c->echoes && j->ask.stream)
         stream_prompt(c);
      if (t->id >= 0 && c->num_tokens)
         metrics_add(m, HISTOGRAM_between_tokens, now - c->last);
      if (t->id >= 0 && j->first == 0) {
         j->first = now;
         metrics_add(m, HISTOGRAM_first_token, now - j->started);
      }
      c->last = now;
      m->generated_tokens += t->id >= 0;
      if (choice_token(c, t) || split_is_over(c)) {
         c->finish = c->finish ? c->finish : "stop";
         j->left--;
         if (t->finish == SINTER_FINISH_none)
            sinter_cancel(c->request);
      }
      if (j->ask.thinks) {
         split_text(c);
         c->num_reasoning += t->id >= 0 && c->split == SPLIT_THINK;
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

void host_job_start(job *j)
{
   pictures_encode(j);
   pthread_mutex_lock(&j->lock);
   for (uint32_t i = 0; i < j->num_choices && !j->fault.http; i++) {
      choice *c = &j->choices[i];
      sinter_status status = choice_submit(c, on_token, on_logits);

      if (status != SINTER_ok)
         fault_from_library(&j->fault, status, NULL);
      j->left -= c->finish != NULL;
      /* with log probabilities the prompt is complete only once it has been computed */
      if (j->ask.stream && (c->finish || (c->echoes && !j->ask.logprobs)))
         stream_prompt(c);
   }
   if (j->ask.stream)
      flush(j);
   pthread_mutex_unlock(&j->lock);
}

static void count_end(host *h, const job *j)
{
   host_metrics *m = &h->metrics;
   double now = cli_seconds();

   for (uint32_t i = 0; i < j->num_choices; i++) {
      const choice *c = &j->choices[i];
      const char *why = c->finish;
      m->requests[j->fault.http || !why        ? (j->gone ? 2 : 3)
                  : strcmp(why, "stop") == 0   ? 0
                  : strcmp(why, "length") == 0 ? 1
                                               : 3]++;
      metrics_add(m, HISTOGRAM_generated, c->num_tokens);
      if (c->num_tokens > 1)
         metrics_add(m, HISTOGRAM_per_token, (c->last - j->first) / (c->num_tokens - 1));
   }
   m->prompt_tokens += job_prompt_tokens(j);
   m->cached_tokens += j->cached_tokens;
   metrics_add(m, HISTOGRAM_whole, now - j->started);
   metrics_add(m, HISTOGRAM_queued, j->queued);
   metrics_add(m, HISTOGRAM_prompt, (double)job_prompt_tokens(j));
   metrics_add(m, HISTOGRAM_choices, j->num_choices);
   if (j->ask.has_max_tokens)
      metrics_add(m, HISTOGRAM_max_tokens, (double)j->ask.max_tokens);
   if (j->first > 0) {
      metrics_add(m, HISTOGRAM_prefill, j->first - j->started - j->queued);
      metrics_add(m, HISTOGRAM_decode, now - j->first);
   }
}

void host_job_watch(job *j)
{
   uint32_t pages = 0, submitted = 0;
   double queued = 0;

   pthread_mutex_lock(&j->lock);
   for (uint32_t i = 0; i < j->num_choices; i++) {
      sinter_request_stats s = SINTER_INIT(sinter_request_stats);

      if (!j->choices[i].request)
         continue;
      sinter_request_get_stats(j->choices[i].request, &s);
      pages += s.kv_pages;
      queued = !submitted++ || s.queue_seconds < queued ? s.queue_seconds : queued;
   }
   j->kv_pages = pages;
   j->queued = submitted ? queued : j->queued;
   pthread_mutex_unlock(&j->lock);
}

/* A prompt counts once, however many answers it gets: with what none of them had to compute, nor
 * had again after it was preempted. */
static void take_cached(job *j, uint32_t i, uint32_t hits, uint32_t *least)
{
   uint32_t n = (uint32_t)j->ask.n, most = (uint32_t)j->choices[i].prompt->count;

   hits = hits < most ? hits : most;
   *least = i % n == 0 || hits < *least ? hits : *least;
   j->cached_tokens += i % n == n - 1 ? *least : 0;
}

static void take_stats(host *h, job *j)
{
   uint32_t least = 0;

   for (uint32_t i = 0; i < j->num_choices; i++) {
      sinter_request_stats s = SINTER_INIT(sinter_request_stats);

      if (j->choices[i].request)
         sinter_request_get_stats(j->choices[i].request, &s);
      take_cached(j, i, s.prefix_hit_tokens, &least);
      if (!j->choices[i].request)
         continue;
      j->queued = !i || s.queue_seconds < j->queued ? s.queue_seconds : j->queued;
      h->metrics.preemptions += s.preemptions;
   }
}

/* What the engine says of an answer that it could not go on with. */
static void take_error(job *j, const choice *c)
{
   sinter_request_stats s = SINTER_INIT(sinter_request_stats);

   if (j->fault.http || j->gone || !c->finish || strcmp(c->finish, "error") != 0)
      return;
   const char *why = sinter_request_error(c->request);
   sinter_request_get_stats(c->request, &s);
   if (s.error == SINTER_exhausted) /* the client's format is too much, not the server too little */
      fault_set(&j->fault, 400, "format_too_complex", j->ask.grammar_param, "%s", why);
   else
      fault_set(&j->fault, 500, "failed", NULL, "%s", *why ? why : "the answer was cancelled");
}

void host_job_end(host *h, job *j)
{
   pthread_mutex_lock(&j->lock);
   take_stats(h, j);
   for (uint32_t i = 0; i < j->num_choices; i++) {
      take_error(j, &j->choices[i]);
      choice_end(&j->choices[i]);
   }
   count_end(h, j);
   trace_job(h->server, j);
   if (j->ask.stream && !j->gone)
      reply_stream_end(j);
   /* Behind this nothing looks at the artifact, which may go while the client still reads. */
   sinter_grammar_destroy(j->ask.rules);
   j->ask.rules = NULL;
   j->ended = true;
   pthread_mutex_unlock(&j->lock);
   job_wake(j);
   job_release(j);
}

bool host_job_left(job *j, double now)
{
   pthread_mutex_lock(&j->lock);
   struct pollfd p = {.fd = j->socket, .events = POLLRDHUP};
   if (!j->gone && j->socket >= 0 && poll(&p, 1, 0) == 1 &&
       (p.revents & (POLLRDHUP | POLLHUP | POLLERR)))
      j->gone = true;
   if (!j->gone && j->ask.timeout_ms && now - j->started > (double)j->ask.timeout_ms * 1e-3 &&
       !j->fault.http)
      fault_set(&j->fault, 408, "timeout", "timeout_ms", "the request took longer than timeout_ms");
   if (!j->gone && j->ask.stream && now - j->written > (double)serve_most.ping_seconds) {
      buffer_add(&j->out, ": ping\n\n", 8);
      flush(j);
   }
   bool over = j->gone || j->fault.http;
   pthread_mutex_unlock(&j->lock);
   return over;
}
