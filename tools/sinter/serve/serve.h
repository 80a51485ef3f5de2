/* serve.h - the server: HTTP threads read requests, one thread a model runs them.
 *
 *    connection ─http─▶ route ─params─▶ job ─queue─▶ host (owns the engine) ─reply─▶ job.out ─▶ connection
 *
 * A job is shared by the connection and the host; its lock covers what both touch. The host never
 * waits for a client: what is not read fast enough ends the request. */
#ifndef SERVE_H
#define SERVE_H

#include "host.h"

struct events;

enum {
#define ROUTE(method, path, handler, guarded, what) SERVE_ROUTE_##handler,
#include "routes.def"
#undef ROUTE
   SERVE_ROUTES
};

typedef struct server {
   const options *options;
   host hosts[SERVE_MAX_MODELS];
   atomic_uint num_hosts;
   pthread_mutex_t adding; /* a host */
   struct events *events;  /* NULL: none are published */
   struct MHD_Daemon *daemon;
   bool loopback;
   uint16_t port;       /* that it listens on */
   uint8_t (*keys)[32]; /* BLAKE2b of each API key */
   uint32_t num_keys;
   FILE *log, *trace; /* NULL: none */
   atomic_bool log_is_lossy, trace_is_lossy;
   buffer tls_cert, tls_key; /* PEM, empty: no TLS */
   pthread_t reader;         /* of long bodies */
   pthread_mutex_t reading;
   pthread_cond_t any_unread;
   struct call *unread;
   bool no_more;
   pthread_mutex_t watching; /* connections, for slow.c */
   struct watched *watched;
   double swept; /* clock */
   atomic_bool draining;
   atomic_ulong answers[SERVE_ROUTES + 1]
                       [6]; /* by route, the last: none; by hundreds of the status */
} server;

/* Fills fields of c->reading; false with its fault. */
typedef bool reader_work(struct call *c);

/* A body on its way to what its handler needs (readers.c). */
typedef struct reading {
   reader_work *work; /* the latest, which is done or not, and whose result is ok or not */
   bool done, ok;
   tree *body; /* as JSON */
   host *host; /* the model that it names; held until the handler is done */
   endpoint endpoint;
   bool (*of_text)(host *h, const tree *body, buffer *out, fault *f);
   ask ask;
   buffer answer;
   fault fault;
} reading;

/* One request of a connection. */
typedef struct call {
   server *server;
   struct MHD_Connection *connection;
   char path[256], method[16];
   const char *tail; /* what a * matched */
   int (*handler)(struct call *c);
   size_t route;   /* its place in routes.def */
   char trace[65]; /* X-Request-Id, if it has a sane one */
   buffer body;
   size_t skipped; /* bytes of a body behind a fault */
   fault fault;    /* http 0: none; else the answer once the body is over */
   int status;
   double started;
   job *job;
   struct call *next_waiting; /* for the same host, or to be read */
   reading reading;
} call;

bool http_start(server *s);
void http_stop(server *s);
/* A ?name=value of the path, NULL without. */
const char *http_query(const call *c, const char *name);
/* "GET /livez" of a route. */
void http_route_name(size_t route, char out[96]);
/* Answers; every handler ends with one of these. */
int http_reply(call *c, int status, const char *type, const buffer *body);
int http_fault(call *c, const fault *f);
/* Hands the job to its host and leaves the answer to it. */
int http_follow(call *c, job *j);
/* Frees what was read for a call that needs it no more. */
void reading_free(call *c);

#define ROUTE(method, path, handler, guarded, what) int route_##handler(call *c);
#include "routes.def"
#undef ROUTE

#endif
