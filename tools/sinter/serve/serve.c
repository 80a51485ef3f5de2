/* serve.c - listen at once, load, answer, and on SIGTERM let what runs come to its end. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "bounds.h"
#include "events.h"
#include "log.h"
#include "models.h"
#include "slow.h"
#include "trace.h"

/* ---- keys ---- */

static int no_keys(const char *path, const char *remedy, const char *why)
{
   return cli_fail(1, path, remedy, "the keys cannot be used: %s", why);
}

static void add_key(server *s, const char *key, size_t len)
{
   s->keys = realloc(s->keys, (s->num_keys + 1) * sizeof *s->keys);
   if (!s->keys)
      exit(6);
   crypto_generichash(s->keys[s->num_keys++], sizeof *s->keys, (const uint8_t *)key, len, NULL, 0);
}

/* A key a line: a secret that is mounted, too, often ends with a line break, which no client could
 * send. Closes the file. NULL, or why there is no key. */
static const char *take_keys(server *s, FILE *f)
{
   const uint32_t before = s->num_keys;
   char *line = NULL;
   size_t cap = 0;
   ssize_t len;

   while ((len = getline(&line, &cap, f)) > 0) {
      while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
         len--;
      if (len)
         add_key(s, line, (size_t)len);
   }
   bool is_read = !ferror(f);
   if (line)
      sodium_memzero(line, cap);
   free(line);
   fclose(f);
   if (!is_read)
      return "it cannot be read to its end";
   return s->num_keys > before ? NULL : "there is none in it";
}

static int read_env_keys(server *s)
{
   char *keys = getenv("SINTER_API_KEY");

   if (!keys || !*keys)
      return 0;
   FILE *f = fmemopen(keys, strlen(keys), "r");
   if (!f)
      exit(6);
   const char *why = take_keys(s, f);
   return why ? no_keys("$SINTER_API_KEY", "put one key a line into it, or unset it", why) : 0;
}

static int read_file_keys(server *s, const char *path)
{
   FILE *f = fopen(path, "re");
   struct stat st;

   if (!f)
      return no_keys(path, "check the path, and who may read the file", strerror(errno));
   bool is_file = fstat(fileno(f), &st) == 0 && !S_ISDIR(st.st_mode);
   if (!is_file || st.st_mode & 077) {
      fclose(f);
      return is_file ? no_keys(path, "chmod 600 on the file", "other users may read them")
                     : no_keys(path, "name a file with one key a line", "it is a folder");
   }
   const char *why = take_keys(s, f);
   return why ? no_keys(path, "put one key a line into it", why) : 0;
}

/* From $SINTER_API_KEY and --api-key-file. */
static int read_keys(server *s)
{
   const char *path = s->options->api_key_file;
   int code = read_env_keys(s);

   return code || !path ? code : read_file_keys(s, path);
}

/* ---- the service manager ---- */

/* sd_notify: one datagram to $NOTIFY_SOCKET. */
static void notify(const char *state)
{
   const char *path = getenv("NOTIFY_SOCKET");
   struct sockaddr_un to = {.sun_family = AF_UNIX};

   if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
      return;
   memcpy(to.sun_path, path, strlen(path));
   if (path[0] == '@')
      to.sun_path[0] = 0;
   int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
   if (fd < 0)
      return;
   (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
   close(fd);
}

/* ---- memory ---- */

/* Left to itself, glibc learns from the first large block that is freed to keep up to 64 MiB at the
 * end of each thread's arena: a few bad requests of some MiB each stay resident for good, once
 * for every thread that answers. Fixed bounds give such blocks back. And one arena serves all
 * threads: of several, each would grow to what its thread needed in the moment when nearly all
 * connections happened to be its own, which may be hours later. */
static void bound_memory(void)
{
   enum { LARGE = 1 << 20, KEPT = 2 << 20 };

   mallopt(M_ARENA_MAX, 1);
   mallopt(M_MMAP_THRESHOLD, LARGE);
   mallopt(M_TRIM_THRESHOLD, KEPT);
}

/* ---- life ---- */

typedef enum outcome { LOADING, READY, FAILED } outcome;

static outcome look(server *s, int *code)
{
   outcome all = READY;

   for (uint32_t i = 0; i < s->num_hosts; i++) {
      host *h = &s->hosts[i];

      pthread_mutex_lock(&h->lock);
      if (h->failed) {
         *code = h->exit_code ? h->exit_code : 1;
         all = FAILED;
      } else if (h->is_required && !h->was_ready && all == READY) {
         all = LOADING;
      }
      pthread_mutex_unlock(&h->lock);
   }
   return all;
}

static void say_ready(const server *s, double started)
{
   for (int i = 0; i < s->options->num_args && !s->options->quiet; i++)
      fprintf(stderr, "ready    %s, context %u, artifact %.16s, %.2f s after the start\n",
              s->hosts[i].name, s->hosts[i].context, s->hosts[i].digest, cli_seconds() - started);
   notify("READY=1");
}

/* Until a signal asks for the end, or a model fails. */
static int wait_for_end(server *s, const sigset_t *signals)
{
   double started = cli_seconds();
   bool said = false;
   int code = 0;

   for (;;) {
      outcome now = look(s, &code);
      struct timespec wait = {said ? 1 : 0, 20000000};

      if (now == FAILED)
         return code;
      if (now == READY && !said) {
         say_ready(s, started);
         said = true;
      }
      slow_sweep(s);
      if (sigtimedwait(signals, NULL, &wait) > 0)
         return 0;
   }
}

/* Who pressed Ctrl-C would otherwise see nothing happen. */
static void say_drain(server *s)
{
   uint32_t under_way = 0;

   for (host *h = s->hosts; h < s->hosts + s->num_hosts; h++) {
      pthread_mutex_lock(&h->lock);
      under_way += h->num_jobs;
      pthread_mutex_unlock(&h->lock);
   }
   if (under_way && !s->options->quiet)
      fprintf(stderr,
              "drain    %u under way, for at most %lld s; a second signal ends them at once\n",
              under_way, (long long)serve_most.drain_seconds);
}

/* Ends the hosts: what runs may finish, within a time and until a second signal. */
static void drain(server *s, const sigset_t *signals)
{
   double end = cli_seconds() + (double)serve_most.drain_seconds;
   uint32_t left = s->num_hosts;
   bool done[SERVE_MAX_MODELS] = {false};

   s->draining = true;
   notify("STOPPING=1");
   say_drain(s);
   for (uint32_t i = 0; i < s->num_hosts; i++)
      host_stop(&s->hosts[i], false);
   while (left) {
      struct timespec wait = {0, 20000000};
      slow_sweep(s);
      bool at_once = sigtimedwait(signals, NULL, &wait) > 0 || cli_seconds() > end;

      for (uint32_t i = 0; i < s->num_hosts; i++) {
         if (at_once)
            host_stop(&s->hosts[i], true);
         if (!done[i] && pthread_tryjoin_np(s->hosts[i].thread, NULL) == 0) {
            done[i] = true;
            left--;
         }
      }
   }
}

static int start(server *s)
{
   const options *o = s->options;

   if (o->alias && o->num_args > 1)
      return cli_usage_error("--alias names one model, and there are %d", o->num_args);
   if (o->pooling && strcmp(o->pooling, "last") != 0 && strcmp(o->pooling, "mean") != 0)
      return cli_usage_error("--pooling is last or mean");
   if (!o->num_args && !o->models_dir)
      return cli_usage_error("'sinter serve' needs a MODEL, or --models-dir");
   if (sodium_init() < 0)
      return 1;
   int code = bounds_read(o);
   code = code ? code : read_keys(s);
   if (code)
      return code;
   if (o->metrics_compat && strcmp(o->metrics_compat, "vllm") != 0)
      return cli_usage_error("--metrics-compat is vllm, not '%s'", o->metrics_compat);
   if (!log_open(s) || !trace_open(s))
      return 1;
   if (!events_open(o, &s->events))
      return 1;
   code = models_init(s);
   if (code)
      return code;
   if (!http_start(s))
      return 1;
   for (int i = 0; i < o->num_args; i++)
      if (!host_start(&s->hosts[i]))
         return 1;
   if (!models_scan(s))
      return 1;
   if (!o->quiet)
      fprintf(stderr, "listen   %s://%s:%u  (page /, API /v1, metrics /metrics)\n",
              s->tls_cert.len ? "https" : "http", o->host ? o->host : "127.0.0.1", s->port);
   return 0;
}

int cmd_serve(const options *o)
{
   static server s;
   sigset_t signals;

   sigemptyset(&signals);
   sigaddset(&signals, SIGTERM);
   sigaddset(&signals, SIGINT);
   pthread_sigmask(SIG_BLOCK, &signals, NULL);
   signal(SIGPIPE, SIG_IGN);
   signal(SIGXFSZ, SIG_IGN); /* a log that reached `ulimit -f` is a full disk */
   bound_memory();
   s.options = o;
   int code = start(&s);
   if (code)
      return code;
   code = wait_for_end(&s, &signals);
   drain(&s, &signals);
   http_stop(&s);
   events_close(s.events);
   log_close(&s);
   trace_close(&s);
   free(s.keys);
   return code;
}
