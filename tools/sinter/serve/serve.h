/* serve.h - the server: HTTP threads read requests, one thread a model runs them.
 *
 *    connection ─http─▶ route ─params─▶ job ─queue─▶ host (owns the engine) ─reply─▶ job.out ─▶ connection
 *
 * A job is shared by the connection and the host; its lock covers what both touch. The host never
 * waits for a client: what is not read fast enough ends the request. */
#ifndef SERVE_H
#define SERVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "tools/sinter/cli.h"
#include "tools/sinter/limits.h"
#include "tools/sinter/loads.h"
#include "tools/sinter/tree.h"

struct MHD_Connection;
struct events;
struct events_source;

enum {
   SERVE_MAX_MODELS = 64,
   SERVE_MAX_STOPS = 16,
   SERVE_MAX_STOP_BYTES = 256,
   SERVE_MAX_CALLS = 16, /* that a grammar lets an answer make */
   SERVE_ID_BYTES = 48,
};

/* What else is bounded (bounds.c); set before the first thread starts. */
typedef struct serve_bounds {
#define BOUND(name, otherwise, least, most, what) int64_t name;
#include "bounds.def"
#undef BOUND
} serve_bounds;

extern serve_bounds serve_most;

/* Takes --limit; 0, or the exit code after saying what is wrong. */
int bounds_read(const options *o);
/* All of them, as an object. */
void bounds_json(buffer *b);

/* ---- what a client asks for (params.c) ---- */

enum {
#define ROUTE(method, path, handler, guarded, what) SERVE_ROUTE_##handler,
#include "routes.def"
#undef ROUTE
   SERVE_ROUTES
};

typedef enum endpoint { SERVE_CHAT, SERVE_TEXT, SERVE_RESPONSES, SERVE_EMBED } endpoint;

/* A way of models to write tool calls (tools.def). */
typedef struct tool_format {
   const char *name, *signs, *begin, *end, *arguments;
} tool_format;

typedef enum tool_choice { TOOL_AUTO, TOOL_NONE, TOOL_REQUIRED, TOOL_NAMED } tool_choice;

typedef struct tool {
   char name[65];
   bool strict;
   buffer parameters; /* JSON schema */
} tool;

typedef struct prompt {
   int32_t *ids;
   size_t count;
} prompt;

typedef struct ask {
   endpoint endpoint;
   sinter_sampling sampling;
   int64_t top_k, seed, n, max_tokens, min_tokens, top_logprobs, timeout_ms, priority;
   bool has_seed, has_max_tokens, stream, echo, ignore_eos, include_usage, logprobs, base64;
   uint64_t salt;
   prompt *prompts;
   size_t num_prompts;
   char *stops[SERVE_MAX_STOPS];
   size_t stop_len[SERVE_MAX_STOPS];
   uint32_t num_stops;
   int32_t *stop_ids, *bias_ids;
   float *bias;
   uint32_t num_stop_ids;
   buffer messages, instructions, tools_json, extra; /* JSON for the chat template */
   buffer *files;                                    /* of images, as they came */
   uint32_t num_files;
   cli_images images;
   tool *tools;
   uint32_t num_tools;
   tool_choice tool_choice;
   char chosen[65]; /* of TOOL_NAMED */
   bool parallel;
   const tool_format *calls; /* that are looked for in the answer, or NULL */
   bool thinks;              /* the answer may begin with reasoning */
   bool opens_thought;       /* the prompt ends in the middle of it */
   buffer grammar;           /* what the answer may be: a description, and compiled */
   const char *grammar_param;
   sinter_grammar *rules;
   buffer ignored; /* names of unknown fields, comma-separated */
} ask;

/* An error as the client sees it. */
typedef struct fault {
   int http;
   const char *code;
   char param[64], message[400];
} fault;

/* Fills a fault; always false, so that readers can return it. */
bool fault_set(fault *f, int http, const char *code, const char *param, const char *fmt, ...)
   __attribute__((format(printf, 5, 6)));
/* The same from sinter_error(). */
bool fault_from_library(fault *f, sinter_status status, const char *param);
void fault_json(const fault *f, buffer *out);

typedef struct host host;

/* Reads a body. False with a fault. */
bool ask_read(ask *a, endpoint e, const tree *body, const host *h, fault *f);
void ask_free(ask *a);
/* The text of a chat's prompt, for /apply-template. False with a fault. */
bool ask_render(const tree *body, const host *h, buffer *out, fault *f);
/* Whether a part of a message is an image; takes its file (pictures.c). False with a fault. */
bool picture_is(const tree *part);
bool picture_take(ask *a, const tree *part, fault *f);
/* Whether the model sees the images of the request, if any. */
bool pictures_check(const ask *a, const host *h, fault *f);
/* Cuts them, and gives the prompt a token for each row of their features. */
bool pictures_place(ask *a, const host *h, prompt *p, fault *f);
void pictures_free(ask *a);
/* A tool of the request, NULL when there is none of that name. */
const tool *tool_find(const ask *a, const char *name, size_t len);

/* ---- jobs (job.c) ---- */

/* Where split.c stands in the text of an answer. */
typedef enum split_state {
   SPLIT_START,
   SPLIT_THINK,
   SPLIT_GAP, /* white space that belongs to nothing */
   SPLIT_CONTENT,
   SPLIT_CALL,
   SPLIT_END /* behind a call */
} split_state;

typedef struct tool_call {
   char id[SERVE_ID_BYTES], name[65];
   buffer arguments;
   size_t given; /* of them, to the client */
   bool named;   /* the client knows of it */
} tool_call;

/* One answer to one prompt. */
typedef struct choice {
   struct job *job;
   const prompt *prompt;
   uint32_t index;
   sinter_request *request;
   sinter_stream *decoder;
   buffer text;  /* that is certain: no stop string begins in it */
   buffer held;  /* behind it: may become a stop string */
   size_t given; /* of text or content, to the client */
   split_state split;
   size_t split_at; /* in text: before it, all is in one of these */
   buffer reasoning, content;
   size_t reasoning_given;
   tool_call *calls;
   uint32_t num_calls;
   bool is_calling;                          /* the last call goes on */
   uint32_t num_items, item_kind, item_call; /* of a stream of /v1/responses (responses.c) */
   char item_id[SERVE_ID_BYTES];
   buffer probs; /* JSON of the tokens not yet given, comma-separated */
   buffer tokens, token_probs, tops, offsets; /* the same for completions, as four lists */
   size_t offset;                             /* characters of the tokens so far */
   float *state; /* an embedding (embed.c); complete once it has so many: */
   uint32_t num_states;
   uint32_t num_tokens;
   double last; /* clock of the last token */
   bool has_role;
   const char *finish; /* NULL: goes on */
} choice;

typedef struct job {
   pthread_mutex_t lock;
   atomic_int refs;
   host *host;
   char digest[65]; /* of the artifact that answers */
   ask ask;
   char id[SERVE_ID_BYTES];
   uint64_t sequence;     /* events of /v1/responses so far */
   int64_t created;       /* seconds since 1970 */
   double started, first; /* clock: submitted, first token */
   double written;        /* clock of the last bytes, for keep-alive */
   double queued;         /* seconds until its first step; 0: it still waits */
   uint32_t kv_pages;     /* that it holds, when last looked */
   choice *choices;
   uint32_t num_choices, left;
   uint32_t cached_tokens;
   fault fault; /* http 0: none */

   buffer out;
   size_t sent;
   bool ended;     /* nothing will be added to out */
   bool gone;      /* the client left, or is too slow */
   bool suspended; /* the connection waits for out */
   struct MHD_Connection *connection;
   int socket;
   struct job *next; /* in the queue or list of its host */
} job;

/* The prefix and random letters. */
void job_id(char to[SERVE_ID_BYTES], const char *prefix, size_t letters);
/* Takes over a. One reference each for the caller and the host. */
job *job_create(host *h, ask *a);
void job_release(job *j);
/* Of all prompts; of all answers so far. */
uint64_t job_prompt_tokens(const job *j);
uint64_t job_generated(const job *j);
/* Makes the tower of a model that sees images; the exit code. */
int pictures_open(const options *o, session *s);
/* Makes the features of the job's images, on the thread of its host; a failure is the job's
 * fault. */
void pictures_encode(job *j);
/* Wakes the connection when it waits; the lock is held. */
void job_wake(job *j);

/* ---- answers (reply.c); the lock of the job is held ---- */

/* The parts of a stream that are certain by now. */
void reply_stream(job *j, choice *c);
void reply_stream_end(job *j);
/* The whole answer of a request that does not stream. */
void reply_whole(job *j, buffer *out);
/* The same for /v1/embeddings (embed.c). */
void embed_whole(job *j, buffer *out);
/* The same for /v1/responses (responses.c). */
void responses_stream(job *j, choice *c);
void responses_stream_end(job *j);
void responses_whole(job *j, buffer *out);
/* A token's entry in logprobs. */
void reply_token(choice *c, int32_t id, float logprob, uint32_t num_top, const int32_t *top_ids,
                 const float *top_logprobs);

/* ---- figures (metrics.c) ---- */

typedef enum histogram_id {
#define HISTOGRAM(id, name, vllm, unit, what) HISTOGRAM_##id,
#include "histograms.def"
#undef HISTOGRAM
   HISTOGRAM_COUNT
} histogram_id;

typedef struct histogram {
   uint64_t count[16];
   double sum;
} histogram;

typedef struct host_metrics {
   uint64_t requests[4]; /* by finish: stop, length, cancelled, error */
   uint64_t prompt_tokens, cached_tokens, generated_tokens, preemptions;
   histogram histograms[HISTOGRAM_COUNT];
} host_metrics;

void metrics_add(host_metrics *m, histogram_id id, double value);

/* ---- models (host.c) ---- */

/* What is known of the kernels' times (kernels.c). */
typedef struct kernel_times {
   bool wants_limits;
   uint32_t steps; /* to be timed from now on */
   limits machine; /* of this machine; bytes_s 0: not measured yet */
   sinter_launch_time *launches;
   uint32_t num_launches;
} kernel_times;

/* A model that can be loaded. While it is ready, `users` keep it so: handlers that read the
 * artifact. */
struct host {
   struct server *server;
   const options *options;
   char path[4096];  /* as given */
   char name[128];   /* as clients call it */
   bool is_required; /* named on the command line: the server is not ready without it */
   session session;
   char digest[65];  /* of the last artifact */
   uint32_t context; /* tokens a request may have in all */
   pthread_t thread;
   pthread_mutex_t lock; /* covers everything below */
   pthread_cond_t wake;
   bool ready, was_ready, stopping, at_once;
   bool failed;    /* before it was ever ready, which ends the server */
   bool not_again; /* was ready, and its last load failed */
   bool wanted;    /* to be loaded */
   bool unwanted;  /* to be unloaded once what runs is done */
   double used;    /* clock of the last request */
   uint32_t users;
   struct call *waiting;         /* until it is loaded */
   struct events_source *events; /* NULL: nobody listens */
   uint64_t kv_blocks, kv_sum;   /* of the prefix cache, when the engine was last idle */
   const char *stage;
   double progress;                /* of it, 0 to 1 */
   uint64_t num_loads, cache_hits; /* times it was loaded; of these, from the cache */
   kernel_times times;
   job *queue, *last; /* not yet seen by the engine */
   job *running;
   uint32_t num_jobs;
   sinter_stats stats;
   host_metrics shown;
   loads loads;          /* of its experts, since it was loaded */
   host_metrics metrics; /* of the thread, without the lock */
   int exit_code;
};

/* What other threads may look at before it is started. name NULL: made from the path. */
void host_init(host *h, struct server *s, const char *path, const char *name, bool is_required);
/* Starts a thread that loads the model when it is wanted, and then serves. */
bool host_start(host *h);
/* Takes a ready host for the call, true; host_release ends that. Else the call is suspended until
 * the host is ready and its handler then called again, or f is set. */
bool host_acquire(host *h, struct call *c, fault *f);
void host_release(host *h);
/* Unloads it once what runs is done. False when it is not loaded. */
bool host_unload(host *h);
/* Hands a job over; false with a fault when the queue is full or the server ends. */
bool host_submit(host *h, job *j, fault *f);
/* No new jobs; running ones end when they are done, or at once. */
void host_stop(host *h, bool at_once);

/* ---- HTTP (http.c, routes.c) ---- */

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
   pthread_mutex_t watching; /* connections, for slow.c */
   struct watched *watched;
   double swept; /* clock */
   atomic_bool draining;
   atomic_ulong answers[SERVE_ROUTES + 1]
                       [6]; /* by route, the last: none; by hundreds of the status */
} server;

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
   struct call *next_waiting; /* for the same host */
} call;

/* The models of the command line (models.c); 0, or the exit code after saying what is wrong. */
int models_init(server *s);
/* "dir/Model.gguf" is served as "Model". */
void models_short_name(char *out, size_t cap, const char *path);
/* Looks for further ones in --models-dir. False after saying why. */
bool models_scan(server *s);
/* False once the file of a model that is not loaded has gone from --models-dir; it may come
 * back. */
bool models_has(host *h);
/* The model of that name (NULL: the only one), NULL with a fault. */
host *models_find(server *s, const char *name, fault *f);

/* The request log (log.c), as --log says. False after saying why. */
bool log_open(server *s);
void log_request(const call *c);
/* Writes a line in one call, so that lines of other threads do not fall into it; says once that
 * some are lost. */
void log_put(FILE *to, const buffer *line, bool now, atomic_bool *is_lossy, const char *path);
void log_close(server *s);

/* Makes TLS possible (tls.c). False after saying why not. */
bool tls_load(void);
bool http_start(server *s);
/* Closes connections that have been sending headers for too long; to be called often, by one thread
 * (slow.c). */
void slow_sweep(server *s);
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

#define ROUTE(method, path, handler, guarded, what) int route_##handler(call *c);
#include "routes.def"
#undef ROUTE

#endif
