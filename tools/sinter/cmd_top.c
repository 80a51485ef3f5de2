/* cmd_top.c - what a server does, looked at from outside: /v1/models, /metrics and /v1/requests,
 * once a second on a terminal; elsewhere once, over one second. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "tree.h"

enum { MAX_SHOWN = 40 };

/* ---- a sample ---- */

typedef struct sample {
   double time;
   tree *models, *requests;
   buffer models_text, requests_text, metrics;
} sample;

static void forget(sample *s)
{
   tree_free(s->models);
   tree_free(s->requests);
   buffer_free(&s->models_text);
   buffer_free(&s->requests_text);
   buffer_free(&s->metrics);
   *s = (sample){0};
}

/* 0, or the exit code after saying what is wrong. */
static int take(const client *c, sample *s)
{
   int status = client_get(c, "/v1/models", &s->models_text);

   if (status == 200)
      status = client_get(c, "/metrics", &s->metrics);
   if (status == 200)
      status = client_get(c, "/v1/requests", &s->requests_text);
   s->time = cli_seconds();
   if (status == 200) {
      s->models = tree_parse(s->models_text.data, s->models_text.len);
      s->requests = tree_parse(s->requests_text.data, s->requests_text.len);
   }
   if (s->models && s->requests)
      return 0;
   forget(s);
   if (status == 401)
      return cli_fail(1, c->at, "put its key into $SINTER_API_KEY", "the server asks for a key");
   if (status)
      return cli_fail(1, c->at, "name another server with --host and --port, or as a URL",
                      "the server answers %d", status);
   return 1;
}

/* The figure of a model, 0 when there is none. */
static double figure(const sample *s, const char *name, const char *model)
{
   char mark[512];
   size_t n = (size_t)snprintf(mark, sizeof mark, "\nsinter_%s{model=\"", name);

   for (const char *p = model; *p && n + 4 < sizeof mark; p++) { /* as metrics.c writes labels */
      if (*p == '"' || *p == '\\' || *p == '\n')
         mark[n++] = '\\';
      mark[n++] = *p == '\n' ? 'n' : *p;
   }
   memcpy(mark + n, "\"}", 3);
   const char *found = s->metrics.data ? strstr(s->metrics.data, mark) : NULL;
   return found ? strtod(found + strlen(mark), NULL) : 0;
}

/* What a counter gained in a second. */
static double rate(const sample *now, const sample *before, const char *name, const char *model)
{
   double time = now->time - before->time;

   if (!before->models || time <= 0)
      return 0;
   double more = figure(now, name, model) - figure(before, name, model);
   return more > 0 ? more / time : 0; /* a server that was started again counts from 0 */
}

/* Mean of a histogram in milliseconds: of what came since, else of all. */
static double mean_ms(const sample *now, const sample *before, const char *name, const char *model)
{
   char sum[96], count[96];

   snprintf(sum, sizeof sum, "%s_sum", name);
   snprintf(count, sizeof count, "%s_count", name);
   double n = figure(now, count, model), total = figure(now, sum, model);
   double past = before->models ? figure(before, count, model) : 0;
   if (past < n && past > 0) {
      total -= figure(before, sum, model);
      n -= past;
   }
   return n > 0 ? total / n * 1e3 : 0;
}

/* ---- the view ---- */

static void show_models(const sample *now, const sample *before)
{
   printf("%-24s %-9s %5s %7s %10s %10s %10s %9s %9s  %s\n", "MODEL", "STAGE", "RUN", "KV",
          "PROMPT/s", "CACHED/s", "TOKENS/s", "FIRST ms", "NEXT ms", "ARTIFACT");
   for (const tree *m = tree_first(tree_get(now->models, "data")); m; m = m->next) {
      const char *id = tree_string(tree_get(m, "id"));
      const char *artifact = tree_string(tree_get(m, "artifact"));
      double total = figure(now, "kv_tokens_total", id);

      printf("%-24.24s %-9.9s %5.0f %6.1f%% %10.1f %10.1f %10.1f %9.1f %9.1f  %.16s\n", id,
             tree_string(tree_get(m, "stage")), figure(now, "requests_running", id),
             total > 0 ? 100 * figure(now, "kv_tokens_used", id) / total : 0,
             rate(now, before, "prompt_tokens_total", id),
             rate(now, before, "cached_tokens_total", id),
             rate(now, before, "generated_tokens_total", id),
             mean_ms(now, before, "time_to_first_token_seconds", id),
             mean_ms(now, before, "inter_token_latency_seconds", id),
             strncmp(artifact, "blake2b:", 8) == 0 ? artifact + 8 : "");
   }
}

static void show_requests(const sample *s)
{
   int shown = 0;

   printf("\n%-40s %-24s %-8s %8s %9s %8s\n", "REQUEST", "MODEL", "PHASE", "PROMPT", "GENERATED",
          "SECONDS");
   for (const tree *r = tree_first(tree_get(s->requests, "data")); r && shown < MAX_SHOWN;
        r = r->next, shown++)
      printf("%-40.40s %-24.24s %-8s %8s %9s %8.7s\n", tree_string(tree_get(r, "id")),
             tree_string(tree_get(r, "model")), tree_string(tree_get(r, "phase")),
             tree_string(tree_get(r, "prompt_tokens")),
             tree_string(tree_get(r, "generated_tokens")), tree_string(tree_get(r, "seconds")));
}

static void show(const client *c, const sample *now, const sample *before, bool terminal)
{
   if (terminal)
      fputs("\033[H\033[2J", stdout); /* home, clear */
   printf("sinter top  %s  %zu under way\n\n", c->at, tree_count(tree_get(now->requests, "data")));
   show_models(now, before);
   show_requests(now);
   fflush(stdout);
}

/* The server's own documents as one. */
static void show_json(const sample *s)
{
   buffer b = {0};

   buffer_printf(&b, "{\"models\":%s,\"requests\":%s,\"metrics\":", s->models_text.data,
                 s->requests_text.data);
   buffer_json_string(&b, s->metrics.data, s->metrics.len);
   buffer_printf(&b, "}");
   puts(b.data);
   buffer_free(&b);
}

int cmd_top(const options *o)
{
   bool terminal = isatty(1) && !o->json;
   sample before = {0};
   client c;
   int code = client_init(&c, o);

   while (!code) {
      sample now = {0};

      code = take(&c, &now);
      if (code)
         break;
      if (o->json)
         show_json(&now);
      else if (terminal || before.models) /* rates need a sample before */
         show(&c, &now, &before, terminal);
      bool is_last = !terminal && (o->json || before.models);
      forget(&before);
      before = now;
      if (is_last)
         break;
      sleep(1);
   }
   forget(&before);
   client_deinit(&c);
   return code;
}
