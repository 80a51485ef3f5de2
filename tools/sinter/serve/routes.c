/* routes.c - what each endpoint answers. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <microhttpd.h>

#include "models.h"
#include "readers.h"
#include "texts.h"
#include "values.h"

static int json(call *c, int status, buffer *b)
{
   int ok = http_reply(c, status, "application/json", b);

   buffer_free(b);
   return ok;
}

static void quoted(buffer *b, const char *text)
{
   buffer_json_string(b, text, strlen(text));
}

/* ---- the page ---- */

extern const unsigned char serve_page[];
extern const size_t serve_page_len;

int route_page(call *c)
{
   buffer b = {.data = (char *)(uintptr_t)serve_page, .len = serve_page_len};

   return http_reply(c, 200, "text/html; charset=utf-8", &b);
}

/* ---- health ---- */

int route_livez(call *c)
{
   buffer b = {0};

   buffer_printf(&b, "{\"status\":\"ok\"}");
   return json(c, 200, &b);
}

/* A model of the command line that is not ready, and where it is. */
typedef struct unready {
   const char *model, *stage; /* NULL, "draining" when the server ends */
   double done;
   bool failed;
} unready;

/* False when every model is ready. */
static bool not_ready(server *s, unready *out)
{
   *out = (unready){.stage = s->draining ? "draining" : NULL};
   for (uint32_t i = 0; i < s->num_hosts && !out->stage; i++) {
      host *h = &s->hosts[i];
      pthread_mutex_lock(&h->lock);
      if (h->is_required && (h->failed || h->not_again || !h->was_ready))
         *out = (unready){h->name, h->stage, h->progress, h->failed || h->not_again};
      pthread_mutex_unlock(&h->lock);
   }
   return out->stage != NULL;
}

int route_readyz(call *c)
{
   unready u;
   bool is_ready = !not_ready(c->server, &u);
   buffer b = {0};

   if (is_ready || !u.model) {
      buffer_printf(&b, "{\"status\":\"%s\"}", is_ready ? "ready" : u.stage);
   } else {
      buffer_printf(&b, "{\"status\":\"%s\",\"model\":", u.failed ? "failed" : "loading");
      quoted(&b, u.model);
      buffer_printf(&b, ",\"stage\":\"%s\",\"progress\":%.3f}", u.stage, u.done);
   }
   return json(c, is_ready ? 200 : 503, &b);
}

int route_health(call *c)
{
   unready u;
   fault f;

   if (!not_ready(c->server, &u))
      return route_livez(c);
   fault_set(&f, 503, "loading", NULL, "Loading model");
   return http_fault(c, &f);
}

/* ---- models ---- */

/* Seconds since 1970 of the model's file, or of the artifact of a name; 0: neither is known yet. */
static int64_t created(const host *h)
{
   struct stat st;
   bool known = stat(h->path, &st) == 0 || (h->ready && stat(h->session.path, &st) == 0);

   return known ? (int64_t)st.st_mtime : 0;
}

static void describe(host *h, buffer *b)
{
   buffer_printf(b, "{\"id\":");
   quoted(b, h->name);
   buffer_printf(b,
                 ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"sinter\",\"ready\":%s,"
                 "\"stage\":\"%s\"",
                 (long long)created(h), h->ready ? "true" : "false", h->stage);
   if (h->ready)
      buffer_printf(b,
                    ",\"artifact\":\"blake2b:%s\",\"context_length\":%u,\"vocab\":%u,\"layers\":%u,"
                    "\"weight_bytes\":%llu",
                    h->digest, h->context, h->session.info.vocab, h->session.info.layers,
                    (unsigned long long)h->session.info.weight_bytes);
   buffer_printf(b, "}");
}

int route_models(call *c)
{
   buffer b = {0};

   const char *comma = "";

   (void)models_scan(c->server);
   buffer_printf(&b, "{\"object\":\"list\",\"data\":[");
   for (uint32_t i = 0; i < c->server->num_hosts; i++) {
      host *h = &c->server->hosts[i];
      if (!models_has(h))
         continue;
      buffer_printf(&b, "%s", comma);
      comma = ",";
      pthread_mutex_lock(&h->lock);
      describe(h, &b);
      pthread_mutex_unlock(&h->lock);
   }
   buffer_printf(&b, "]}");
   return json(c, 200, &b);
}

/* The manifest is a JSON object already: the cache key, versions, licences, targets. */
static void describe_artifact(host *h, buffer *b)
{
   const char *manifest = sinter_artifact_document(h->session.artifact, "manifest");

   buffer_printf(b, "{\"id\":\"blake2b:%s\",\"object\":\"artifact\",\"model\":", h->digest);
   quoted(b, h->name);
   buffer_printf(b, ",\"from_cache\":%s,\"manifest\":%s}", h->session.cached ? "true" : "false",
                 manifest ? manifest : "null");
}

int route_artifacts(call *c)
{
   const char *comma = "";
   buffer b = {0};

   buffer_printf(&b, "{\"object\":\"list\",\"data\":[");
   for (uint32_t i = 0; i < c->server->num_hosts; i++) {
      host *h = &c->server->hosts[i];

      pthread_mutex_lock(&h->lock);
      if (h->ready) {
         buffer_printf(&b, "%s", comma);
         describe_artifact(h, &b);
         comma = ",";
      }
      pthread_mutex_unlock(&h->lock);
   }
   buffer_printf(&b, "]}");
   return json(c, 200, &b);
}

/* The loaded model whose artifact the path names, locked; NULL with a fault. */
static host *find_artifact(call *c, fault *f)
{
   for (uint32_t i = 0; i < c->server->num_hosts; i++) {
      host *h = &c->server->hosts[i];

      pthread_mutex_lock(&h->lock);
      if (h->ready && strncmp(c->tail, "blake2b:", 8) == 0 && strcmp(c->tail + 8, h->digest) == 0)
         return h;
      pthread_mutex_unlock(&h->lock);
   }
   fault_set(f, 404, "artifact_not_found", NULL, "there is no artifact '%.80s': see /v1/artifacts",
             c->tail);
   return NULL;
}

int route_artifact(call *c)
{
   buffer b = {0};
   fault f;
   host *h = find_artifact(c, &f);

   if (!h)
      return http_fault(c, &f);
   const char *explain = sinter_artifact_document(h->session.artifact, "explain");
   const char *manifest = sinter_artifact_document(h->session.artifact, "manifest");
   buffer_printf(&b, "{\"id\":\"blake2b:%s\",\"object\":\"artifact\",\"model\":", h->digest);
   quoted(&b, h->name);
   buffer_printf(&b, ",\"manifest\":%s,\"explain\":%s}", manifest ? manifest : "null",
                 explain ? explain : "null");
   pthread_mutex_unlock(&h->lock);
   return json(c, 200, &b);
}

int route_unload(call *c)
{
   buffer b = {0};
   fault f;
   host *h = find_artifact(c, &f);

   if (!h)
      return http_fault(c, &f);
   buffer_printf(&b, "{\"id\":\"blake2b:%s\",\"object\":\"artifact\",\"model\":", h->digest);
   quoted(&b, h->name);
   buffer_printf(&b, ",\"stage\":\"unload\"}");
   pthread_mutex_unlock(&h->lock);
   (void)host_unload(h);
   return json(c, 202, &b);
}

int route_model(call *c)
{
   buffer b = {0};
   fault f;
   host *h = models_find(c->server, c->tail, &f);

   if (!h)
      return http_fault(c, &f);
   pthread_mutex_lock(&h->lock);
   describe(h, &b);
   pthread_mutex_unlock(&h->lock);
   return json(c, 200, &b);
}

int route_experts(call *c)
{
   buffer b = {0};
   fault f;
   host *h = models_find(c->server, c->tail, &f);

   if (!h)
      return http_fault(c, &f);
   pthread_mutex_lock(&h->lock);
   bool ready = h->ready, some = ready && h->loads.num_routes;
   if (some)
      loads_json(&h->loads, &b);
   pthread_mutex_unlock(&h->lock);
   if (some)
      return json(c, 200, &b);
   fault_set(&f, 404, ready ? "no_experts" : "not_loaded", "model",
             ready ? "'%.100s' has no experts to count"
                   : "'%.100s' is not loaded: nothing has been counted",
             h->name);
   return http_fault(c, &f);
}

/* ---- completions ---- */

/* The body as a JSON object; NULL with a fault. */
static tree *read_body(const call *c, fault *f)
{
   tree_fault why = {"it is empty", 0};
   tree *body = c->body.len ? tree_parse_telling(c->body.data, c->body.len,
                                                 (size_t)serve_most.body_values, &why)
                            : NULL;

   if (body && body->kind == TREE_object)
      return body;
   if (body)
      fault_set(f, 400, "invalid_json", NULL, "the body is JSON, but no object");
   else
      fault_set(f, 400, "invalid_json", NULL,
                "the body is not one JSON object in UTF-8: %s, seen at byte %zu", why.what, why.at);
   tree_free(body);
   return NULL;
}

/* The model that a body names, ready; host_release when done with it. NULL: with a fault, or
 * without one when the call sleeps until the model is loaded. */
static host *open_model(call *c, const tree *body, fault *f)
{
   const tree *model = tree_get(body, "model");

   if (model && (model->kind == TREE_string ? strlen(model->text) != model->len
                                            : model->kind != TREE_null)) {
      fault_set(f, 400, "invalid_value", "model", "'model' must be a string");
      return NULL;
   }
   host *h = models_find(c->server, model && model->kind == TREE_string ? model->text : NULL, f);
   return h && host_acquire(h, c, f) ? h : NULL;
}

/* The end of a call without a model: its fault, or its sleep. */
static int closed(call *c, const fault *f)
{
   return f->http ? http_fault(c, f) : MHD_YES;
}

/* A model is loaded for one or the other. */
static bool gives(const host *h, endpoint e, fault *f)
{
   if ((e == SERVE_EMBED) == (h->session.info.hidden > 0))
      return true;
   return fault_set(
      f, 400, "unsupported", "model",
      e == SERVE_EMBED
         ? "'%.100s' is served to generate text: start the server with --embeddings"
         : "'%.100s' is served for /v1/embeddings only: start the server without --embeddings",
      h->name);
}

static bool parse_body(call *c)
{
   c->reading.body = read_body(c, &c->reading.fault);
   return c->reading.body != NULL;
}

/* Parses the body, and has it read once its model is ready. True when that is done; false with the
 * answer to give until then. */
static bool is_read(call *c, reader_work *read, int *answer)
{
   reading *r = &c->reading;
   fault f = {0};

   *answer = MHD_YES;
   if (!r->host) {
      if (!readers_run(c, parse_body))
         return false;
      r->host = r->ok ? open_model(c, r->body, &f) : NULL;
      if (!r->host) {
         *answer = closed(c, r->ok ? &f : &r->fault);
         return false;
      }
   }
   if (!readers_run(c, read))
      return false;
   tree_free(r->body);
   r->body = NULL;
   return true;
}

static host *take_host(call *c)
{
   host *h = c->reading.host;

   c->reading.host = NULL;
   return h;
}

static bool read_ask(call *c)
{
   reading *r = &c->reading;

   return gives(r->host, r->endpoint, &r->fault) &&
          ask_read(&r->ask, r->endpoint, r->body, r->host, &r->fault);
}

static int complete(call *c, endpoint e)
{
   int answer;

   c->reading.endpoint = e;
   if (!is_read(c, read_ask, &answer))
      return answer;
   host *h = take_host(c);
   buffer_free(&c->body);
   answer = c->reading.ok ? http_follow(c, job_create(h, &c->reading.ask))
                          : http_fault(c, &c->reading.fault);
   host_release(h);
   return answer;
}

void reading_free(call *c)
{
   reading *r = &c->reading;

   if (r->host) { /* read, and its client had gone */
      if (r->work == read_ask && r->done && r->ok)
         ask_free(&r->ask);
      host_release(r->host);
   }
   tree_free(r->body);
   buffer_free(&r->answer);
}

int route_load(call *c)
{
   buffer b = {0};
   fault f = {0};
   tree *body = read_body(c, &f);
   host *h = body ? open_model(c, body, &f) : NULL;

   tree_free(body);
   if (!h)
      return closed(c, &f);
   pthread_mutex_lock(&h->lock);
   describe_artifact(h, &b);
   pthread_mutex_unlock(&h->lock);
   host_release(h);
   return json(c, 200, &b);
}

int route_chat_completions(call *c)
{
   return complete(c, SERVE_CHAT);
}

int route_completions(call *c)
{
   return complete(c, SERVE_TEXT);
}

int route_responses(call *c)
{
   return complete(c, SERVE_RESPONSES);
}

int route_embeddings(call *c)
{
   return complete(c, SERVE_EMBED);
}

/* ---- text ---- */

static bool read_text(call *c)
{
   reading *r = &c->reading;

   return r->of_text(r->host, r->body, &r->answer, &r->fault);
}

static int text_route(call *c, bool (*of_text)(host *, const tree *, buffer *, fault *))
{
   int answer;

   c->reading.of_text = of_text;
   if (!is_read(c, read_text, &answer))
      return answer;
   host_release(take_host(c));
   return c->reading.ok ? json(c, 200, &c->reading.answer) : http_fault(c, &c->reading.fault);
}

int route_apply_template(call *c)
{
   return text_route(c, texts_prompt);
}

int route_tokenize(call *c)
{
   return text_route(c, texts_tokens);
}

int route_detokenize(call *c)
{
   return text_route(c, texts_text);
}

/* ---- requests under way ---- */

static void describe_job(job *j, buffer *b)
{
   pthread_mutex_lock(&j->lock);
   uint64_t asked = job_prompt_tokens(j), generated = job_generated(j);
   buffer_printf(b, "{\"id\":\"%s\",\"model\":", j->id);
   quoted(b, j->host->name);
   buffer_printf(b,
                 ",\"phase\":\"%s\",\"prompt_tokens\":%llu,\"generated_tokens\":%llu,"
                 "\"kv_pages\":%u,\"seconds\":%.3f}",
                 generated       ? "decode"
                 : j->queued > 0 ? "prefill"
                                 : "waiting",
                 (unsigned long long)asked, (unsigned long long)generated, j->kv_pages,
                 cli_seconds() - j->started);
   pthread_mutex_unlock(&j->lock);
}

int route_requests(call *c)
{
   const char *comma = "";
   buffer b = {0};

   buffer_printf(&b, "{\"object\":\"list\",\"data\":[");
   for (uint32_t i = 0; i < c->server->num_hosts; i++) {
      host *h = &c->server->hosts[i];

      pthread_mutex_lock(&h->lock);
      for (job *j = h->running; j; j = j->next, comma = ",") {
         buffer_printf(&b, "%s", comma);
         describe_job(j, &b);
      }
      pthread_mutex_unlock(&h->lock);
   }
   buffer_printf(&b, "]}");
   return json(c, 200, &b);
}
