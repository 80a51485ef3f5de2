/* http.c - libmicrohttpd: connections, limits, keys, answers and streams.
 *
 *    headers ─check─▶ body, bounded ─▶ route's handler ─▶ answer at once
 *                                                    └─▶ job: suspended until it is done, or streamed
 *
 * A fault found in the headers is answered after the body, so that the connection stays usable. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <sodium.h>

#include "log.h"
#include "readers.h"
#include "reply.h"
#include "slow.h"
#include "tls.h"

enum { HTTP_THREADS = 2 };

/* ---- answers ---- */

static int queue(call *c, int status, struct MHD_Response *r)
{
   c->status = status;
   MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
   if (c->trace[0] || c->job)
      MHD_add_response_header(r, "X-Request-Id", c->trace[0] ? c->trace : c->job->id);
   if (c->job) {
      char name[80];

      snprintf(name, sizeof name, "blake2b:%s", c->job->digest);
      MHD_add_response_header(r, "X-Artifact", name);
      if (c->job->ask.ignored.len)
         MHD_add_response_header(r, "X-Ignored-Params", c->job->ask.ignored.data);
   }
   if (status == 401)
      MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
   if (status == 408) /* clients that ask again after one would take as long again */
      MHD_add_response_header(r, "X-Should-Retry", "false");
   if (status == 429 || status == 503)
      MHD_add_response_header(r, "Retry-After", "1");
   int ok = MHD_queue_response(c->connection, (unsigned)status, r);
   MHD_destroy_response(r);
   return ok;
}

int http_reply(call *c, int status, const char *type, const buffer *body)
{
   struct MHD_Response *r = MHD_create_response_from_buffer(body->len, body->data ? body->data : "",
                                                            MHD_RESPMEM_MUST_COPY);

   if (!r)
      return MHD_NO;
   MHD_add_response_header(r, "Content-Type", type);
   if (strncmp(type, "text/html", 9) == 0)
      MHD_add_response_header(r, "Content-Security-Policy",
                              "default-src 'none'; script-src 'unsafe-inline'; style-src "
                              "'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'");
   return queue(c, status, r);
}

int http_fault(call *c, const fault *f)
{
   buffer body = {0};

   fault_json(f, &body);
   struct MHD_Response *r =
      MHD_create_response_from_buffer(body.len, body.data, MHD_RESPMEM_MUST_COPY);
   buffer_free(&body);
   if (!r)
      return MHD_NO;
   MHD_add_response_header(r, "Content-Type", "application/json");
   if (f->http == 405)
      MHD_add_response_header(r, "Allow", f->param);
   return queue(c, f->http, r);
}

/* ---- jobs ---- */

static ssize_t read_stream(void *user, uint64_t pos, char *to, size_t max)
{
   job *j = user;
   ssize_t n = 0;

   (void)pos;
   pthread_mutex_lock(&j->lock);
   size_t ready = j->out.len - j->sent;
   if (ready) {
      n = (ssize_t)(ready < max ? ready : max);
      memcpy(to, j->out.data + j->sent, (size_t)n);
      j->sent += (size_t)n;
      if (j->sent == j->out.len)
         j->sent = j->out.len = 0;
   } else if (j->gone) {
      n = MHD_CONTENT_READER_END_WITH_ERROR;
   } else if (j->ended) {
      n = MHD_CONTENT_READER_END_OF_STREAM;
   } else {
      j->suspended = true;
      MHD_suspend_connection(j->connection);
   }
   pthread_mutex_unlock(&j->lock);
   return n;
}

static int begin_stream(call *c)
{
   struct MHD_Response *r =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 << 10, read_stream, c->job, NULL);

   if (!r)
      return MHD_NO;
   MHD_add_response_header(r, "Content-Type", "text/event-stream; charset=utf-8");
   MHD_add_response_header(r, "Cache-Control", "no-cache");
   return queue(c, 200, r);
}

/* The answer of a job that does not stream, or another wait for it. */
static int finish_or_wait(call *c)
{
   job *j = c->job;
   buffer body = {0};

   pthread_mutex_lock(&j->lock);
   bool ended = j->ended;
   if (!ended) {
      j->suspended = true;
      MHD_suspend_connection(c->connection);
   }
   pthread_mutex_unlock(&j->lock);
   if (!ended)
      return MHD_YES;
   if (j->fault.http)
      return http_fault(c, &j->fault);
   reply_whole(j, &body);
   int ok = http_reply(c, 200, "application/json", &body);
   buffer_free(&body);
   return ok;
}

int http_follow(call *c, job *j)
{
   const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
   fault f;

   j->connection = c->connection;
   j->socket = info ? info->connect_fd : -1;
   c->job = j;
   if (!host_submit(j->host, j, &f)) {
      job_release(j); /* the host's part */
      c->job = NULL;
      job_release(j);
      return http_fault(c, &f);
   }
   return j->ask.stream ? begin_stream(c) : finish_or_wait(c);
}

static void completed(void *user, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why)
{
   call *c = *state;
   server *s = user;

   (void)why;
   slow_request(s, connection, false);
   if (!c)
      return;
   if (c->status >= 100 && c->status < 600)
      atomic_fetch_add(&s->answers[c->route][c->status / 100], 1);
   log_request(c);
   if (c->job) {
      job *j = c->job;

      pthread_mutex_lock(&j->lock);
      j->gone |= !j->ended;
      j->suspended = false;
      j->socket = -1;
      pthread_mutex_unlock(&j->lock);
      job_release(j);
   }
   reading_free(c);
   buffer_free(&c->body);
   free(c);
   *state = NULL;
}

/* ---- what the headers must obey ---- */

static const char *header(const call *c, const char *name)
{
   return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

static bool has_key(const server *s, const char *given)
{
   uint8_t digest[32];
   int found = 0;

   if (!given)
      return false;
   crypto_generichash(digest, sizeof digest, (const uint8_t *)given, strlen(given), NULL, 0);
   for (uint32_t i = 0; i < s->num_keys; i++) /* all of them: the time must not tell which */
      found |= sodium_memcmp(digest, s->keys[i], sizeof digest) == 0;
   return found;
}

static bool check_key(call *c)
{
   const char *bearer = header(c, "Authorization"), *bare = header(c, "X-Api-Key");

   if (!c->server->num_keys || has_key(c->server, bare) ||
       (bearer && strncasecmp(bearer, "Bearer ", 7) == 0 && has_key(c->server, bearer + 7)))
      return true;
   return fault_set(&c->fault, 401, "invalid_api_key", NULL,
                    bearer || bare
                       ? "this server does not know the API key (Authorization: Bearer KEY)"
                       : "an API key is needed: Authorization: Bearer KEY");
}

typedef struct counts {
   int lengths, encodings;
} counts;

static enum MHD_Result count_header(void *user, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
   counts *n = user;

   (void)kind, (void)value;
   n->lengths += strcasecmp(key, "Content-Length") == 0;
   n->encodings += strcasecmp(key, "Transfer-Encoding") == 0;
   return MHD_YES;
}

/* A page of another site must not reach a server on this machine through the user's browser. */
static bool is_local(const char *name)
{
   static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

   for (size_t i = 0; i < countof(names); i++) {
      size_t len = strlen(names[i]);
      if (strncasecmp(name, names[i], len) == 0 && (!name[len] || name[len] == ':'))
         return true;
   }
   return false;
}

/* What a browser sends of the page that asks; other clients send none. */
static bool is_local_page(const char *origin)
{
   const char *name = strstr(origin, "://");

   return name && is_local(name + 3);
}

/* application/json, with parameters or without. */
static bool is_json(const char *type)
{
   return strncasecmp(type, "application/json", 16) == 0 && (!type[16] || strchr("; \t", type[16]));
}

static bool check_headers(call *c)
{
   const char *site = header(c, "Host"), *type = header(c, "Content-Type"),
              *length = header(c, "Content-Length"), *origin = header(c, "Origin");
   counts n = {0, 0};

   MHD_get_connection_values(c->connection, MHD_HEADER_KIND, count_header, &n);
   if (n.lengths + n.encodings > 1)
      return fault_set(&c->fault, 400, "ambiguous_length", NULL,
                       "the length of the body is given more than once");
   if (c->server->loopback && site && !is_local(site))
      return fault_set(&c->fault, 403, "foreign_host", NULL,
                       "this server answers to localhost only");
   if (c->server->loopback && !c->server->num_keys && origin && !is_local_page(origin))
      return fault_set(&c->fault, 403, "foreign_origin", NULL,
                       "pages of other sites may not ask a server without API keys");
   if (header(c, "Content-Encoding"))
      return fault_set(&c->fault, 415, "unsupported_encoding", NULL,
                       "bodies must not be compressed");
   if (strcmp(c->method, "POST") == 0 && type && !is_json(type))
      return fault_set(&c->fault, 415, "unsupported_media_type", NULL,
                       "bodies must be JSON, and say so: Content-Type: application/json");
   if (length && strtoull(length, NULL, 10) > (uint64_t)serve_most.body_bytes)
      return fault_set(&c->fault, 413, "body_too_large", NULL, "a body may have at most %lld bytes",
                       (long long)serve_most.body_bytes);
   return true;
}

/* ---- routes ---- */

static const struct {
   const char *method, *path;
   int (*handler)(call *c);
   bool guarded;
} routes[] = {
#define ROUTE(method, path, handler, guarded, what) {#method, path, route_##handler, guarded},
#include "routes.def"
#undef ROUTE
};

void http_route_name(size_t route, char out[96])
{
   if (route < countof(routes))
      snprintf(out, 96, "%s %s", routes[route].method, routes[route].path);
   else
      snprintf(out, 96, "other");
}

const char *http_query(const call *c, const char *name)
{
   return MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* Whether path is the route's; *tail is what its * stands for. */
static bool matches(const char *pattern, const char *path, const char **tail)
{
   size_t len = strlen(pattern);

   if (pattern[len - 1] != '*')
      return strcmp(pattern, path) == 0;
   *tail = path + len - 1;
   return strncmp(pattern, path, len - 1) == 0 && **tail;
}

static bool find_route(call *c)
{
   char allowed[64] = "";
   bool head = strcmp(c->method, "HEAD") == 0;

   for (size_t i = 0; i < countof(routes); i++) {
      if (!matches(routes[i].path, c->path, &c->tail))
         continue;
      if (strcmp(routes[i].method, head ? "GET" : c->method) != 0) {
         size_t len = strlen(allowed);
         snprintf(allowed + len, sizeof allowed - len, "%s%s", len ? ", " : "", routes[i].method);
         continue;
      }
      c->handler = routes[i].handler;
      c->route = i;
      return !routes[i].guarded || check_key(c);
   }
   if (allowed[0])
      return fault_set(&c->fault, 405, "method_not_allowed", allowed, "%s takes %s", c->path,
                       allowed);
   return fault_set(&c->fault, 404, "unknown_route", NULL, "there is no %.100s here", c->path);
}

/* A client's own name for the request, which it finds again in the answer and in the log. */
static void take_trace(call *c)
{
   static const char allowed[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
   const char *name = header(c, "X-Request-Id");
   size_t len = name ? strlen(name) : 0;

   if (len && len < sizeof c->trace && strspn(name, allowed) == len)
      memcpy(c->trace, name, len + 1);
}

static call *open_call(server *s, struct MHD_Connection *connection, const char *url,
                       const char *method)
{
   call *c = calloc(1, sizeof *c);

   if (!c)
      return NULL;
   c->server = s;
   c->connection = connection;
   c->started = cli_seconds();
   c->route = countof(routes);
   take_trace(c);
   snprintf(c->method, sizeof c->method, "%s", method);
   snprintf(c->path, sizeof c->path, "%s", url);
   if (find_route(c))
      (void)check_headers(c);
   return c;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
   call *c = *state;

   (void)version;
   if (!c) {
      slow_request(user, connection, true);
      *state = c = open_call(user, connection, url, method);
      if (!c)
         return MHD_NO;
      return c->fault.http == 413 ? (enum MHD_Result)http_fault(c, &c->fault) : MHD_YES;
   }
   if (*size) {
      if (!c->fault.http && c->body.len + *size > (size_t)serve_most.body_bytes)
         fault_set(&c->fault, 413, "body_too_large", NULL, "a body may have at most %lld bytes",
                   (long long)serve_most.body_bytes);
      if (!c->fault.http)
         buffer_add(&c->body, data, *size);
      else if ((c->skipped += *size) > (size_t)serve_most.body_bytes)
         return MHD_NO; /* a body without end gets no answer */
      *size = 0;
      return MHD_YES;
   }
   if (c->job)
      return (enum MHD_Result)finish_or_wait(c);
   return (enum MHD_Result)(c->fault.http ? http_fault(c, &c->fault) : c->handler(c));
}

/* ---- life ---- */

/* %XX in paths; a NUL stays as it is written, or the path would end there. */
static size_t unescape(void *user, struct MHD_Connection *connection, char *s)
{
   char *to = s;

   (void)user, (void)connection;
   for (const char *at = s; *at; at++, to++) {
      char hex[3] = {0}, *end = hex;
      if (*at == '%' && at[1] && at[2])
         memcpy(hex, at + 1, 2);
      long value = strtol(hex, &end, 16);
      bool escape = end == hex + 2 && value > 0;
      *to = escape ? (char)value : *at;
      at += escape ? 2 : 0;
   }
   *to = 0;
   return (size_t)(to - s);
}

static void raise_limit(void)
{
   struct rlimit r;

   if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
      rlim_t want = (rlim_t)(2 * serve_most.connections);
      r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
      (void)setrlimit(RLIMIT_NOFILE, &r);
   }
}

static bool is_loopback(const struct sockaddr *a)
{
   if (a->sa_family == AF_INET)
      return (ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24) == 127;
   return a->sa_family == AF_INET6 &&
          IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static bool read_pem(const char *path, bool secret, buffer *out)
{
   struct stat st;
   FILE *f = fopen(path, "re");
   bool is_private = f && fstat(fileno(f), &st) == 0 && !(secret && st.st_mode & 077);
   bool ok = is_private && buffer_read(out, f) && out->len;

   if (!ok)
      (void)cli_fail(1, path,
                     f && !is_private ? "chmod 600 on the file" : "name a file in PEM form",
                     "the %s cannot be used%s", secret ? "key of TLS" : "certificate",
                     f && !is_private ? ": other users may read it" : "");
   if (f)
      fclose(f);
   return ok;
}

/* Certificate and key of --tls-cert and --tls-key, as options of the daemon; none without them.
 * Versions before 1.2 are withdrawn (RFC 8996), and GnuTLS speaks them unless it is told not to. */
static bool read_tls(server *s, struct MHD_OptionItem out[4])
{
   static char versions[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1";
   const options *o = s->options;

   out[0] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
   if (!o->tls_cert && !o->tls_key)
      return true;
   if (!o->tls_cert || !o->tls_key) {
      (void)cli_usage_error("--tls-cert and --tls-key belong together");
      return false;
   }
   if (!read_pem(o->tls_cert, false, &s->tls_cert) || !read_pem(o->tls_key, true, &s->tls_key) ||
       !tls_load("--tls-cert"))
      return false;
   out[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, s->tls_cert.data};
   out[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, s->tls_key.data};
   out[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, versions};
   out[3] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
   return true;
}

/* Says why; always false. libmicrohttpd only leaves errno. */
static bool cannot_listen(const server *s, uint16_t port, int error)
{
   bool is_address = error == EADDRINUSE || error == EADDRNOTAVAIL || error == EACCES;
   char where[32];

   snprintf(where, sizeof where, "--port %u", port);
   if (s->tls_cert.len && !is_address)
      (void)cli_fail(1, s->options->tls_cert, "name the key that the certificate was made with",
                     "the certificate and the key are no pair, or no certificate and key");
   else
      (void)cli_fail(1, where,
                     error == EADDRINUSE ? "another --port: something else uses this one"
                                         : "another --host or --port",
                     "cannot listen: %s", strerror(error));
   return false;
}

static bool listen_on(server *s, const struct addrinfo *at, uint16_t port)
{
   unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
   struct MHD_OptionItem tls[4];

   s->loopback = is_loopback(at->ai_addr);
   if (!s->loopback && !s->num_keys && !s->options->insecure) {
      fprintf(stderr, "error: other machines could reach this server\n  --host is not a loopback "
                      "address\n  try: give "
                      "--api-key-file, or --insecure if that is meant\n");
      return false;
   }
   if (at->ai_family == AF_INET6)
      flags |= MHD_USE_IPv6;
   if (!read_tls(s, tls))
      return false;
   if (s->tls_cert.len)
      flags |= MHD_USE_TLS;
   s->daemon = MHD_start_daemon(
      flags, port, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR, at->ai_addr,
      MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT,
      (unsigned)serve_most.connections, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned)serve_most.idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      (size_t)serve_most.header_bytes, MHD_OPTION_STRICT_FOR_CLIENT, 1,
      MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, completed, s,
      MHD_OPTION_NOTIFY_CONNECTION, slow_connection, s, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
   if (!s->daemon)
      return cannot_listen(s, port, errno);
   const union MHD_DaemonInfo *at_port = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
   s->port = at_port ? at_port->port : port; /* with --port 0 the system's choice */
   return true;
}

bool http_start(server *s)
{
   struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                   *at = NULL;
   const char *address = s->options->host ? s->options->host : "127.0.0.1";
   int64_t port = cli_int(s->options->port, 8080);
   char service[24];

   if (port > 65535) {
      cli_usage_error("--port is at most 65535");
      return false;
   }
   snprintf(service, sizeof service, "%lld", (long long)port);
   if (sodium_init() < 0 || getaddrinfo(address, service, &want, &at) != 0) {
      fprintf(stderr,
              "error: '%s' is no address of this machine\n  --host\n  try: --host 127.0.0.1\n",
              address);
      return false;
   }
   raise_limit();
   pthread_mutex_init(&s->watching, NULL);
   if (!readers_start(s))
      return false;
   bool ok = listen_on(s, at, (uint16_t)port);
   freeaddrinfo(at);
   return ok;
}

void http_stop(server *s)
{
   readers_stop(s);
   if (s->daemon)
      MHD_stop_daemon(s->daemon);
   s->daemon = NULL;
   if (s->tls_key.data)
      sodium_memzero(s->tls_key.data, s->tls_key.cap);
   buffer_free(&s->tls_key);
   buffer_free(&s->tls_cert);
}
