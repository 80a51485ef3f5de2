/* choice.c - the tokens of one answer: text, stop strings, log probabilities of an echoed
 * prompt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "host.h"
#include "reply.h"

/* ---- text and stop strings ---- */

/* Where the first stop string begins in held, or its length. */
static size_t find_stop(const choice *c)
{
   const ask *a = &c->job->ask;
   size_t first = c->held.len;

   for (uint32_t i = 0; i < a->num_stops; i++) {
      const char *at = memmem(c->held.data, c->held.len, a->stops[i], a->stop_len[i]);
      if (at && (size_t)(at - c->held.data) < first)
         first = (size_t)(at - c->held.data);
   }
   return first;
}

/* Bytes at the end of held that may be the beginning of a stop string. */
static size_t open_tail(const choice *c)
{
   const ask *a = &c->job->ask;
   size_t longest = 0;

   for (uint32_t i = 0; i < a->num_stops; i++)
      for (size_t n = a->stop_len[i] - 1; n > longest; n--)
         if (n <= c->held.len && memcmp(c->held.data + c->held.len - n, a->stops[i], n) == 0)
            longest = n;
   return longest;
}

/* Moves the first n bytes from held to text. */
static void settle(choice *c, size_t n)
{
   if (!n)
      return;
   buffer_add(&c->text, c->held.data, n);
   memmove(c->held.data, c->held.data + n, c->held.len - n);
   c->held.len -= n;
}

/* True when a stop string ends the answer; it and what follows are dropped. */
static bool add_text(choice *c, const char *text, size_t len, bool may_stop)
{
   if (len)
      buffer_add(&c->held, text, len);
   if (!c->held.len)
      return false;
   size_t stop = may_stop ? find_stop(c) : c->held.len;
   bool stopped = stop < c->held.len;
   settle(c, stopped ? stop : c->held.len - open_tail(c));
   if (stopped)
      c->held.len = 0;
   return stopped;
}

static bool is_stop_id(const ask *a, int32_t id)
{
   for (uint32_t i = 0; i < a->num_stop_ids; i++)
      if (a->stop_ids[i] == id)
         return true;
   return false;
}

/* Gives out what was held back; only once. */
static void finish(choice *c, const char *why)
{
   const char *text = "";
   size_t len = 0;

   bool stopped =
      sinter_stream_finish(c->decoder, &text, &len) == SINTER_ok && add_text(c, text, len, true);
   settle(c, c->held.len);
   c->finish = stopped ? "stop" : why;
}

static const char *finish_word(sinter_finish f)
{
   return f == SINTER_FINISH_stop ? "stop" : f == SINTER_FINISH_length ? "length" : "error";
}

bool choice_token(choice *c, const sinter_token *t)
{
   const ask *a = &c->job->ask;
   const char *text;
   size_t len;

   if (c->finish)
      return true;
   if (t->id >= 0) {
      bool may_stop = ++c->num_tokens > (uint64_t)a->min_tokens;

      if (may_stop && is_stop_id(a, t->id)) {
         finish(c, "stop");
         return true;
      }
      if (a->logprobs)
         reply_token(c, t->id, t->logprob, t->num_top, t->top_ids, t->top_logprobs);
      if (sinter_stream_push(c->decoder, t->id, &text, &len) == SINTER_ok &&
          add_text(c, text, len, may_stop)) {
         c->finish = "stop";
         return true;
      }
   }
   if (t->finish != SINTER_FINISH_none)
      finish(c, finish_word(t->finish));
   return c->finish != NULL;
}

/* ---- an echoed prompt ---- */

typedef struct likely {
   float logit;
   int32_t id;
} likely;

/* The k largest, descending; ties: lower id first. */
static uint32_t likeliest(const float *logits, uint32_t vocab, uint32_t k, likely *out)
{
   uint32_t n = 0;

   for (uint32_t id = 0; id < vocab && k; id++) {
      if (n == k && !(logits[id] > out[n - 1].logit))
         continue;
      uint32_t at = n < k ? n++ : n - 1;
      for (; at > 0 && logits[id] > out[at - 1].logit; at--)
         out[at] = out[at - 1];
      out[at] = (likely){logits[id], (int32_t)id};
   }
   return n;
}

void choice_prompt_logits(choice *c, uint32_t pos, const float *logits)
{
   const ask *a = &c->job->ask;
   uint32_t vocab = c->job->host->session.info.vocab;
   likely top[20];
   int32_t ids[20];
   float probs[20];

   if (a->endpoint == SERVE_EMBED) {
      embed_take(c, pos, logits);
      return;
   }
   if (pos + 1 >= c->prompt->count)
      return;
   double base = sinter_log_sum(logits, vocab);
   if (isnan(base)) {
      fault_set(&c->job->fault, 500, "failed", NULL,
                "the logits are not finite, so that the prompt has no scores: check the weights "
                "for NaN and infinity, or serve with --numerics exact");
      return;
   }
   uint32_t n = likeliest(logits, vocab, (uint32_t)a->top_logprobs, top);
   for (uint32_t i = 0; i < n; i++) {
      ids[i] = top[i].id;
      probs[i] = (float)(top[i].logit - base);
   }
   int32_t id = c->prompt->ids[pos + 1];
   reply_token(c, id, (float)(logits[id] - base), n, ids, probs);
}

/* ---- start ---- */

static sinter_status echo(choice *c)
{
   const sinter_artifact *artifact = c->job->host->session.artifact;
   const prompt *p = c->prompt;
   sinter_status status = SINTER_ok;
   size_t len = 0;

   if (p->text.len) {
      buffer_add(&c->text, p->text.data, p->text.len);
   } else {
      status = sinter_detokenize(artifact, p->ids, p->count, NULL, 0, &len);
      buffer_reserve(&c->text, len);
      if (status == SINTER_ok)
         status = sinter_detokenize(artifact, p->ids, p->count, c->text.data, len, &len);
      c->text.len = status == SINTER_ok ? len : 0;
   }
   if (c->job->ask.logprobs)
      reply_token(c, p->ids[0], NAN, 0, NULL, NULL);
   return status;
}

/* An answer that a grammar rules is a text of its own: nothing comes before what it allows. */
static bool continues(const ask *a)
{
   return a->endpoint == SERVE_TEXT && !a->rules;
}

static void on_experts(void *user, sinter_request *r, uint32_t pos, const int32_t *ids)
{
   host *h = ((choice *)user)->job->host;

   (void)r;
   (void)pos;
   pthread_mutex_lock(&h->lock);
   loads_count(&h->loads, ids);
   pthread_mutex_unlock(&h->lock);
}

sinter_status choice_submit(choice *c, sinter_on_token *on_token, sinter_on_logits *on_logits)
{
   const ask *a = &c->job->ask;
   host *h = c->job->host;
   sinter_request_options o = SINTER_INIT(sinter_request_options);
   uint64_t room = h->context - c->prompt->count;
   bool embeds = a->endpoint == SERVE_EMBED;
   bool score = embeds || (a->echo && a->logprobs && c->prompt->count > 1);
   sinter_status status = a->echo ? echo(c) : SINTER_ok;

   if (status == SINTER_ok)
      status = sinter_stream_create(h->session.artifact, &c->decoder);
   if (status != SINTER_ok)
      return status;
   if (continues(a)) {
      sinter_stream_continue(c->decoder);
      c->begun |= !a->echo;
   }
   o.prompt = c->prompt->ids;
   o.num_prompt = (uint32_t)c->prompt->count;
   o.max_tokens = (uint32_t)((uint64_t)a->max_tokens < room ? (uint64_t)a->max_tokens : room);
   o.min_tokens = (uint32_t)a->min_tokens;
   o.ignore_eos = a->ignore_eos;
   o.want_logprobs = a->logprobs;
   o.top_logprobs = (uint32_t)a->top_logprobs;
   o.sampling = a->sampling;
   o.sampling.seed = (uint64_t)a->seed + c->index % (uint32_t)a->n;
   o.on_token = on_token;
   o.on_logits = score ? on_logits : NULL;
   o.logits_from = embeds ? embed_from(c) : 0;
   o.salt = a->salt;
   o.priority = (int32_t)a->priority;
   o.user = c;
   o.on_experts = h->loads.num_routes ? on_experts : NULL;
   o.grammar = a->rules;
   o.images = a->images.features;
   o.num_images = a->images.count;
   if (!o.max_tokens && !score) { /* nothing to run */
      finish(c, "length");
      return SINTER_ok;
   }
   return sinter_submit(h->session.engine, &o, &c->request);
}

void choice_end(choice *c)
{
   sinter_request_destroy(c->request);
   sinter_stream_destroy(c->decoder);
   c->request = NULL;
   c->decoder = NULL;
}
