/* metrics.c - /metrics in Prometheus' text form 0.0.4. Labels are models and finishes only: never text or keys. */
#include "events.h"

static void kind(buffer *b, const char *name, const char *type, const char *what)
{
   buffer_printf(b, "# HELP sinter_%s %s\n# TYPE sinter_%s %s\n", name, what, name, type);
}

/* The name of a model as a label's value: quotes, backslashes and line breaks escaped. */
static const char *label(const host *h, char out[2 * sizeof h->name])
{
   size_t n = 0;

   for (const char *p = h->name; *p; p++) {
      if (*p == '"' || *p == '\\' || *p == '\n')
         out[n++] = '\\';
      out[n++] = *p == '\n' ? 'n' : *p;
   }
   out[n] = 0;
   return out;
}

static void value(buffer *b, const char *name, const host *h, double v)
{
   char model[2 * sizeof h->name];

   buffer_printf(b, "sinter_%s{model=\"%s\"} %.17g\n", name, label(h, model), v);
}

/* One row a figure: METRIC(name, type, what it is, expression of h) */
#define METRICS(METRIC)                                                                            \
   METRIC(requests_running, "gauge", "requests that wait or run", h->num_jobs)                     \
   METRIC(kv_tokens_total, "gauge", "positions the KV pool holds", h->stats.kv_tokens_total)       \
   METRIC(kv_tokens_used, "gauge", "positions in use", h->stats.kv_tokens_used)                    \
   METRIC(prompt_tokens_total, "counter", "tokens of prompts", h->shown.prompt_tokens)             \
   METRIC(cached_tokens_total, "counter", "of them found in the prefix cache",                     \
          h->shown.cached_tokens)                                                                  \
   METRIC(generated_tokens_total, "counter", "tokens generated", h->shown.generated_tokens)        \
   METRIC(drafted_tokens_total, "counter", "tokens guessed ahead (--speculate)",                   \
          h->stats.drafted_tokens)                                                                 \
   METRIC(accepted_tokens_total, "counter", "of them right", h->stats.accepted_tokens)             \
   METRIC(kv_blocks, "gauge", "pages of the prefix cache, when last idle (--kv-events)",           \
          h->kv_blocks)                                                                            \
   METRIC(kv_blocks_sum, "gauge", "sum of their hashes' low 32 bits, each xor its group",          \
          h->kv_sum)                                                                               \
   METRIC(kv_events_published_total, "counter", "changes of the prefix cache published",           \
          events_published(h->events))                                                             \
   METRIC(kv_events_resyncs_total, "counter", "times events were lost and all was told again",     \
          events_resyncs(h->events))                                                               \
   METRIC(preemptions_total, "counter", "requests set back for want of pages",                     \
          h->shown.preemptions)                                                                    \
   METRIC(kept_tokens_total, "counter", "positions of theirs kept aside (--kv-host-tokens)",       \
          h->stats.kept_tokens)                                                                    \
   METRIC(restored_tokens_total, "counter", "of them put back", h->stats.restored_tokens)          \
   METRIC(steps_total, "counter", "engine steps", h->stats.steps)                                  \
   METRIC(segments_total, "counter", "graph segments run", h->stats.segments)                      \
   METRIC(launches_total, "counter", "kernel launches", h->stats.launches)                         \
   METRIC(prefill_seconds_total, "counter", "time in prompt rows", h->stats.prefill_seconds)       \
   METRIC(decode_seconds_total, "counter", "time in generated rows", h->stats.decode_seconds)

static void finishes(buffer *b, const host *h)
{
   static const char *const why[] = {"stop", "length", "cancelled", "error"};
   char model[2 * sizeof h->name];

   for (size_t i = 0; i < countof(why); i++)
      buffer_printf(b, "sinter_requests_total{model=\"%s\",finish=\"%s\"} %llu\n", label(h, model),
                    why[i], (unsigned long long)h->shown.requests[i]);
}

static void show(buffer *b, const char *name, const host *h, const histogram *g)
{
   char model[2 * sizeof h->name];
   uint64_t sum = 0;

   (void)label(h, model);
   for (size_t i = 0; i < countof(host_bounds); i++) {
      char bound[32] = "+Inf";

      sum += g->count[i];
      if (i + 1 < countof(host_bounds))
         snprintf(bound, sizeof bound, "%g", host_bounds[i]);
      buffer_printf(b, "sinter_%s_bucket{model=\"%s\",le=\"%s\"} %llu\n", name, model, bound,
                    (unsigned long long)sum);
   }
   buffer_printf(b, "sinter_%s_sum{model=\"%s\"} %.9g\nsinter_%s_count{model=\"%s\"} %llu\n", name,
                 model, g->sum, name, model, (unsigned long long)sum);
}

int route_metrics(call *c)
{
   server *s = c->server;
   buffer b = {0};

   for (uint32_t i = 0; i < s->num_hosts; i++)
      pthread_mutex_lock(&s->hosts[i].lock);
#define METRIC(name, type, what, expr)                                                             \
   kind(&b, #name, type, what);                                                                    \
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++)                                \
      value(&b, #name, h, (double)(expr));
   METRICS(METRIC)
#undef METRIC
   kind(&b, "requests_total", "counter", "answers by how they ended");
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++)
      finishes(&b, h);
#define HISTOGRAM(name, field, what)                                                               \
   kind(&b, name, "histogram", what);                                                              \
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++)                                \
      show(&b, name, h, &h->shown.field);
   HISTOGRAM("time_to_first_token_seconds", first_token, "from arrival to the first token")
   HISTOGRAM("inter_token_latency_seconds", between_tokens, "between tokens of one answer")
   HISTOGRAM("request_seconds", whole, "from arrival to the end")
#undef HISTOGRAM
   for (uint32_t i = 0; i < s->num_hosts; i++)
      pthread_mutex_unlock(&s->hosts[i].lock);
   kind(&b, "http_responses_total", "counter", "HTTP answers by class of status");
   for (int i = 1; i < 6; i++)
      buffer_printf(&b, "sinter_http_responses_total{code=\"%dxx\"} %lu\n", i,
                    atomic_load(&s->answers[i]));
   int ok = http_reply(c, 200, "text/plain; version=0.0.4", &b);
   buffer_free(&b);
   return ok;
}
