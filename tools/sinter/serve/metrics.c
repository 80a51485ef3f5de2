/* metrics.c - /metrics in Prometheus' text form 0.0.4. Labels are models, finishes and routes only:
 * never text or keys. */
#include <string.h>

#include "events.h"

typedef enum histogram_unit { SECONDS, COUNTS, UNITS } histogram_unit;

enum { BUCKETS = countof(((histogram *)NULL)->count) };

/* Upper bounds of buckets; the last is infinite. */
static const double bounds[UNITS][BUCKETS] = {
   {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 1e300},
   {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 1e300}};

static const struct {
   const char *name, *vllm, *what;
   histogram_unit unit;
} histograms[] = {
#define HISTOGRAM(id, name, vllm, unit, what) {name, vllm, what, unit},
#include "histograms.def"
#undef HISTOGRAM
};

void metrics_add(host_metrics *m, histogram_id id, double value)
{
   histogram *h = &m->histograms[id];
   size_t i = 0;

   while (value > bounds[histograms[id].unit][i])
      i++;
   h->count[i]++;
   h->sum += value;
}

void metrics_carry(sinter_stats *to, const sinter_stats *gone)
{
   to->steps += gone->steps;
   to->tokens += gone->tokens;
   to->launches += gone->launches;
   to->segments += gone->segments;
   to->graphs += gone->graphs;
   to->prefix_hit_tokens += gone->prefix_hit_tokens;
   to->weight_bytes_read += gone->weight_bytes_read;
   to->prefill_seconds += gone->prefill_seconds;
   to->decode_seconds += gone->decode_seconds;
   to->ops += gone->ops;
   to->byte_ops += gone->byte_ops;
   to->drafted_tokens += gone->drafted_tokens;
   to->accepted_tokens += gone->accepted_tokens;
   to->swapped_out_tokens += gone->swapped_out_tokens;
   to->swapped_in_tokens += gone->swapped_in_tokens;
   for (size_t i = 0; i < countof(to->preempted); i++)
      to->preempted[i] += gone->preempted[i];
   for (size_t i = 0; i < countof(to->sampled); i++)
      to->sampled[i] += gone->sampled[i];
   to->kv_refused += gone->kv_refused;
}

/* ---- text ---- */

/* The two ways to name things: our own, and vLLM's for dashboards made for it. */
typedef struct dialect {
   const char *prefix, *model, *finish;
   const char *const *finishes;
} dialect;

static const char *const own_finishes[] = {"stop", "length", "cancelled", "error"};
static const char *const vllm_finishes[] = {"stop", "length", "abort", "error"};
static const dialect own = {"sinter_", "model", "finish", own_finishes};
static const dialect vllm = {"vllm:", "model_name", "finished_reason", vllm_finishes};

static void kind(buffer *b, const dialect *d, const char *name, const char *type, const char *what)
{
   buffer_printf(b, "# HELP %s%s %s\n# TYPE %s%s %s\n", d->prefix, name, what, d->prefix, name,
                 type);
}

/* Opens the labels of a row with the model's: quotes, backslashes and line breaks escaped. */
static void begin(buffer *b, const dialect *d, const char *name, const char *tail, const host *h)
{
   buffer_printf(b, "%s%s%s{%s=\"", d->prefix, name, tail, d->model);
   for (const char *p = h->name; *p; p++) {
      if (*p == '"' || *p == '\\' || *p == '\n')
         buffer_add(b, "\\", 1);
      buffer_add(b, *p == '\n' ? "n" : p, 1);
   }
   buffer_add(b, "\"", 1);
}

static void value(buffer *b, const dialect *d, const char *name, const host *h, double v)
{
   begin(b, d, name, "", h);
   buffer_printf(b, "} %.17g\n", v);
}

static void finishes(buffer *b, const dialect *d, const char *name, const server *s)
{
   kind(b, d, name, "counter", "answers by how they ended");
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++) {
      for (size_t i = 0; i < countof(own_finishes); i++) {
         begin(b, d, name, "", h);
         buffer_printf(b, ",%s=\"%s\"} %llu\n", d->finish, d->finishes[i],
                       (unsigned long long)h->shown.requests[i]);
      }
   }
}

static void show(buffer *b, const dialect *d, size_t id, const host *h)
{
   const char *name = d == &vllm ? histograms[id].vllm : histograms[id].name;
   const histogram *g = &h->shown.histograms[id];
   unsigned long long sum = 0;

   for (size_t i = 0; i < BUCKETS; i++) {
      char bound[32] = "+Inf";

      sum += g->count[i];
      if (i + 1 < BUCKETS)
         snprintf(bound, sizeof bound, "%g", bounds[histograms[id].unit][i]);
      begin(b, d, name, "_bucket", h);
      buffer_printf(b, ",le=\"%s\"} %llu\n", bound, sum);
   }
   begin(b, d, name, "_sum", h);
   buffer_printf(b, "} %.9g\n", g->sum);
   begin(b, d, name, "_count", h);
   buffer_printf(b, "} %llu\n", sum);
}

static void show_histograms(buffer *b, const dialect *d, const server *s)
{
   for (size_t id = 0; id < HISTOGRAM_COUNT; id++) {
      const char *name = d == &vllm ? histograms[id].vllm : histograms[id].name;
      kind(b, d, name, "histogram", histograms[id].what);
      for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++)
         show(b, d, id, h);
   }
}

/* ---- what is no number of a model ---- */

/* What became of the pages of preempted requests, and why. */
static void preempted(buffer *b, const server *s)
{
   static const char *const names[] = {
#define WAY(name, why) #name,
      SINTER_PREEMPT_MAP(WAY)
#undef WAY
   };

   kind(b, &own, "preempted_total", "counter",
        "preempted sequences: swapped to host memory, or recomputed because that is cheaper "
        "(recomputed), there is no room (no_room) or swapping is off (off)");
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++) {
      for (size_t i = 0; i < countof(names); i++) {
         begin(b, &own, "preempted_total", "", h);
         buffer_printf(b, ",how=\"%s\"} %llu\n", names[i],
                       (unsigned long long)h->stats.preempted[i]);
      }
   }
}

static void infos(buffer *b, const server *s)
{
   kind(b, &own, "build_info", "gauge", "1; what serves");
   buffer_printf(b, "sinter_build_info{version=");
   buffer_json_string(b, sinter_version(), strlen(sinter_version()));
   buffer_printf(b, "} 1\n");
   kind(b, &own, "artifact_info", "gauge", "1; the machine code of a loaded model");
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++) {
      if (!h->ready)
         continue;
      begin(b, &own, "artifact_info", "", h);
      buffer_printf(b, ",digest=\"blake2b:%s\"} 1\n", h->digest);
   }
}

static void answers(buffer *b, const server *s)
{
   kind(b, &own, "http_responses_total", "counter", "HTTP answers by route and class of status");
   for (size_t r = 0; r <= SERVE_ROUTES; r++) {
      for (int i = 1; i < 6; i++) {
         unsigned long n = atomic_load(&s->answers[r][i]);
         char route[96];

         http_route_name(r, route);
         if (n)
            buffer_printf(b, "sinter_http_responses_total{route=\"%s\",code=\"%dxx\"} %lu\n", route,
                          i, n);
      }
   }
}

/* ---- the route ---- */

static void show_all(buffer *b, const server *s)
{
#define METRIC(name, type, what, expr)                                                             \
   kind(b, &own, #name, type, what);                                                               \
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++)                                \
      value(b, &own, #name, h, (double)(expr));
#define VLLM(name, type, what, expr)
#include "metrics.def"
#undef METRIC
#undef VLLM
   finishes(b, &own, "requests_total", s);
   show_histograms(b, &own, s);
   preempted(b, s);
   infos(b, s);
}

static void show_vllm(buffer *b, const server *s)
{
#define METRIC(name, type, what, expr)
#define VLLM(name, type, what, expr)                                                               \
   kind(b, &vllm, #name, type, what);                                                              \
   for (const host *h = s->hosts; h < s->hosts + s->num_hosts; h++)                                \
      value(b, &vllm, #name, h, (double)(expr));
#include "metrics.def"
#undef METRIC
#undef VLLM
   finishes(b, &vllm, "request_success_total", s);
   show_histograms(b, &vllm, s);
}

int route_metrics(call *c)
{
   server *s = c->server;
   buffer b = {0};

   pthread_mutex_lock(&s->adding); /* no model comes meanwhile */
   for (uint32_t i = 0; i < s->num_hosts; i++)
      pthread_mutex_lock(&s->hosts[i].lock);
   show_all(&b, s);
   if (s->options->metrics_compat)
      show_vllm(&b, s);
   for (uint32_t i = 0; i < s->num_hosts; i++)
      pthread_mutex_unlock(&s->hosts[i].lock);
   pthread_mutex_unlock(&s->adding);
   answers(&b, s);
   int ok = http_reply(c, 200, "text/plain; version=0.0.4", &b);
   buffer_free(&b);
   return ok;
}
