/* serve_load.c - closed-loop clients against a server with /v1/completions, in one thread, with its
 * own CPU time.
 *
 *    serve_load --port P [--clients 8] [--requests 256] [--prompt 128] [--output 64] [--shared 0] [--random]
 *               [--leave PERCENT] [--check] [--vocab 400] [--seed 1] [--pid SERVER] [--path /v1/completions] [--list]
 *               [--with MEMBERS]
 *
 *    --shared    tokens that all prompts begin with
 *    --random    lengths from 1 to those given, some requests sampled, some not streamed
 *    --leave     of the requests, this share closes its connection early: politely, or with a reset
 *    --with      members of every request, as '"temperature":1,"top_p":0.9'
 *    --list      every time to a first token, too
 *    --check     sends every request alone first; answers under load must be the same to the bit
 *
 * Prints one JSON object: tokens a second, time to the first token and between tokens (p50, p95,
 * p99, ms), CPU of the client and, with --pid, of the server, its resident memory before and after.
 * Exit 1 when an answer differs or fails.
 *
 * Build: cc -O2 bench/serve_load.c -o serve_load */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BODY = 1 << 17, LINE = 1 << 16, MAX_CLIENTS = 2048 };

static struct {
   long port, clients, requests, prompt, output, shared, leave, vocab, seed, pid;
   bool random, check, list;
   const char *path, *with;
} o = {8080, 8, 256, 128, 64, 0, 0, 400, 1, 0, false, false, false, "/v1/completions", ""};

static uint64_t mix(uint64_t x)
{
   x += 0x9e3779b97f4a7c15u;
   x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
   x = (x ^ x >> 27) * 0x94d049bb133111ebu;
   return x ^ x >> 31;
}

static double now(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
   perror(what);
   exit(2);
}

/* ---- requests ---- */

typedef struct plan {
   long prompt, output, leave_after; /* leave_after: events, -1 never */
   bool stream, reset;
   double temperature;
} plan;

/* Request i of this run: another number for another seed, so that no prompt comes twice. */
static uint64_t number_of(long i)
{
   return (uint64_t)o.seed * 1000003u + (uint64_t)i;
}

static plan plan_of(long i)
{
   uint64_t r = mix(number_of(i));
   plan p = {o.prompt, o.output, -1, true, false, 0};

   if (o.random) {
      p.prompt = 1 + (long)(r % (uint64_t)o.prompt);
      p.output = 1 + (long)(r >> 16) % o.output;
      p.temperature = r >> 40 & 1 ? 0.8 : 0;
      p.stream = (r >> 41 & 7) != 0;
   }
   if ((long)(r >> 48) % 100 < o.leave)
      p.leave_after = (long)(r >> 20) % (p.output + 1);
   p.reset = r >> 45 & 1;
   return p;
}

static size_t write_request(long i, char *to)
{
   static char body[BODY];
   plan p = plan_of(i);
   size_t n = (size_t)snprintf(
      body, BODY, "{\"stream\":%s,\"max_tokens\":%ld,\"ignore_eos\":true,\"seed\":%ld,",
      p.stream ? "true" : "false", p.output, i);

   if (!strstr(o.with, "\"temperature\""))
      n += (size_t)snprintf(body + n, BODY - n, "\"temperature\":%g,", p.temperature);
   n += (size_t)snprintf(body + n, BODY - n, "%s%s\"prompt\":[", o.with, *o.with ? "," : "");

   for (long k = 0; k < o.shared + p.prompt && n + 16 < BODY; k++) {
      uint64_t which = k < o.shared ? (uint64_t)k : mix(number_of(i) << 20 | (uint64_t)k);
      n += (size_t)snprintf(body + n, BODY - n, "%s%llu", k ? "," : "",
                            (unsigned long long)(3 + which % (uint64_t)(o.vocab - 3)));
   }
   n += (size_t)snprintf(body + n, BODY - n, "]}");
   return (size_t)snprintf(
      to, BODY + 512,
      "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
      o.path, n, body);
}

/* ---- figures ---- */

typedef struct series {
   double *at;
   size_t n, cap;
} series;

static series first_token, between;
static long tokens, failures, different, left_early, done;

static void note(series *s, double v)
{
   if (s->n == s->cap) {
      s->cap = s->cap ? 2 * s->cap : 1024;
      s->at = realloc(s->at, s->cap * sizeof *s->at);
      if (!s->at)
         die("memory");
   }
   s->at[s->n++] = v;
}

static int by_value(const void *a, const void *b)
{
   double x = *(const double *)a, y = *(const double *)b;

   return (x > y) - (x < y);
}

static double part(const series *s, double q)
{
   return s->n ? s->at[(size_t)(q * (double)(s->n - 1))] * 1e3 : 0;
}

static void show(const char *name, series *s)
{
   if (s->n)
      qsort(s->at, s->n, sizeof *s->at, by_value);
   printf(",\"%s_ms\":{\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f}", name, part(s, 0.5),
          part(s, 0.95), part(s, 0.99), part(s, 1));
}

/* ---- connections ---- */

typedef struct client {
   int fd;
   long request;
   plan plan;
   char *out, *line;
   size_t out_len, sent, line_len;
   double started, last;
   long events;
   uint64_t hash; /* of the text, as it is escaped */
   int status;
   bool in_body, chunked, ended; /* ended: the answer said so */
   size_t chunk_left;
   int chunk_state; /* 0 size, 1 data, 2 line end behind data */
} client;

static void start(client *c, long request)
{
   struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o.port)};
   char *out = c->out, *line = c->line;

   *c = (client){.out = out, .line = line, .request = request, .hash = 14695981039346656037u};
   c->plan = plan_of(request);
   to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
   c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
   if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
      die("connect");
   setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
   fcntl(c->fd, F_SETFL, O_NONBLOCK);
   c->out_len = write_request(request, c->out);
   c->started = c->last = now();
}

/* Adds the value of "text" in a line to the hash. */
static bool take_text(client *c, const char *line)
{
   const char *at = strstr(line, "\"text\":\"");

   if (!at)
      at = strstr(line, "\"text\": \"");
   if (!at)
      return false;
   for (at = strchr(at + 7, '"') + 1; *at && *at != '"'; at++) {
      c->hash = (c->hash ^ (uint8_t)*at) * 1099511628211u;
      if (*at == '\\')
         c->hash = (c->hash ^ (uint8_t) * ++at) * 1099511628211u;
   }
   return true;
}

static void take_line(client *c)
{
   char *line = c->line;
   double t = now();

   line[c->line_len] = 0;
   if (!c->in_body) {
      if (!c->status)
         c->status = atoi(line + 9);
      c->chunked |= strncasecmp(line, "Transfer-Encoding: chunked", 26) == 0;
      c->in_body = c->line_len == 0;
   } else if (strncmp(line, "data: [DONE]", 12) == 0) {
      c->ended = true;
   } else if (strncmp(line, "data: ", 6) == 0 && take_text(c, line)) {
      if (c->events++)
         note(&between, t - c->last);
      else
         note(&first_token, t - c->started);
      c->last = t;
   } else if (line[0] == '{') {
      c->ended = take_text(c, line);
   }
   c->line_len = 0;
}

static void take_byte(client *c, char byte)
{
   if (byte == '\n') {
      if (c->line_len && c->line[c->line_len - 1] == '\r')
         c->line_len--;
      take_line(c);
   } else if (c->line_len + 1 < LINE) {
      c->line[c->line_len++] = byte;
   }
}

/* Bytes of the body, without the marks of chunks. */
static void take(client *c, const char *data, size_t len)
{
   for (size_t i = 0; i < len; i++) {
      if (!c->in_body || !c->chunked) {
         take_byte(c, data[i]);
      } else if (c->chunk_state == 1) {
         take_byte(c, data[i]);
         c->chunk_state = --c->chunk_left ? 1 : 2;
      } else if (data[i] == '\n') {
         c->chunk_state = c->chunk_state == 0 && c->chunk_left ? 1 : 0;
      } else if (c->chunk_state == 0 && data[i] != '\r') {
         char digit[2] = {data[i], 0};
         c->chunk_left = c->chunk_left * 16 + strtoul(digit, NULL, 16);
      }
   }
}

static void finish(client *c, uint64_t *alone)
{
   if (c->line_len)
      take_line(c);
   close(c->fd);
   c->fd = -1;
   done++;
   if (c->status != 200 || !c->ended) {
      failures++;
      return;
   }
   tokens += c->plan.output;
   if (o.check && !alone[c->request])
      alone[c->request] = c->hash;
   different += o.check && alone[c->request] != c->hash;
}

static void leave(client *c)
{
   if (c->plan.reset)
      setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
   close(c->fd);
   c->fd = -1;
   done++;
   left_early++;
}

/* Reads or writes what is possible. */
static void turn(client *c, short events, uint64_t *alone, bool may_leave)
{
   char data[1 << 14];

   if (c->sent < c->out_len && (events & POLLOUT)) {
      ssize_t n = send(c->fd, c->out + c->sent, c->out_len - c->sent, MSG_NOSIGNAL);
      if (n > 0)
         c->sent += (size_t)n;
   }
   if (events & (POLLIN | POLLHUP | POLLERR)) {
      ssize_t n = recv(c->fd, data, sizeof data, 0);
      if (n > 0)
         take(c, data, (size_t)n);
      else if (n == 0 || (errno != EAGAIN && errno != EINTR))
         finish(c, alone);
   }
   bool in_time = c->plan.stream ? c->events >= c->plan.leave_after : now() - c->started > 0.01;
   if (c->fd >= 0 && may_leave && c->plan.leave_after >= 0 && c->sent == c->out_len && in_time)
      leave(c);
}

static void run(long num_clients, uint64_t *alone, bool may_leave)
{
   static client clients[MAX_CLIENTS];
   static struct pollfd polls[MAX_CLIENTS];
   long next = 0, target = done + o.requests;

   for (long i = 0; i < num_clients; i++) {
      clients[i].out = clients[i].out ? clients[i].out : malloc(BODY + 512);
      clients[i].line = clients[i].line ? clients[i].line : malloc(LINE);
      clients[i].fd = -1;
   }
   while (done < target) {
      for (long i = 0; i < num_clients; i++) {
         if (clients[i].fd < 0 && next < o.requests)
            start(&clients[i], next++);
         polls[i] = (struct pollfd){
            .fd = clients[i].fd,
            .events = clients[i].sent < clients[i].out_len ? POLLIN | POLLOUT : POLLIN};
      }
      if (poll(polls, (nfds_t)num_clients, may_leave ? 5 : 1000) < 0)
         die("poll");
      for (long i = 0; i < num_clients; i++) {
         if (clients[i].fd >= 0)
            turn(&clients[i], polls[i].revents, alone, may_leave);
      }
   }
}

/* ---- the server, seen from outside ---- */

static double server_cpu(void)
{
   char path[64], text[1024];
   unsigned long user = 0, system = 0;

   snprintf(path, sizeof path, "/proc/%ld/stat", o.pid);
   FILE *f = o.pid ? fopen(path, "r") : NULL;
   if (f && fgets(text, sizeof text, f))
      sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
             &system);
   if (f)
      fclose(f);
   return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long server_rss(void)
{
   char path[64];
   long size = 0, resident = 0;

   snprintf(path, sizeof path, "/proc/%ld/statm", o.pid);
   FILE *f = o.pid ? fopen(path, "r") : NULL;
   if (f && fscanf(f, "%ld %ld", &size, &resident) != 2)
      resident = 0;
   if (f)
      fclose(f);
   return resident * (sysconf(_SC_PAGESIZE) >> 10);
}

/* ---- options ---- */

static void read_options(int argc, char **argv)
{
   const struct {
      const char *name;
      long *to;
   } numbers[] = {{"--port", &o.port},     {"--clients", &o.clients}, {"--requests", &o.requests},
                  {"--prompt", &o.prompt}, {"--output", &o.output},   {"--shared", &o.shared},
                  {"--leave", &o.leave},   {"--vocab", &o.vocab},     {"--seed", &o.seed},
                  {"--pid", &o.pid}};

   for (int i = 1; i < argc; i++) {
      bool known = true;
      if (strcmp(argv[i], "--random") == 0)
         o.random = true;
      else if (strcmp(argv[i], "--check") == 0)
         o.check = true;
      else if (strcmp(argv[i], "--list") == 0)
         o.list = true;
      else if (strcmp(argv[i], "--path") == 0 && i + 1 < argc)
         o.path = argv[++i];
      else if (strcmp(argv[i], "--with") == 0 && i + 1 < argc)
         o.with = argv[++i];
      else
         known = false;
      for (size_t k = 0; !known && k < sizeof numbers / sizeof *numbers && i + 1 < argc; k++) {
         if (strcmp(argv[i], numbers[k].name) == 0) {
            *numbers[k].to = strtol(argv[++i], NULL, 10);
            known = true;
         }
      }
      if (!known) {
         fprintf(stderr,
                 "serve_load: unknown option '%s' (the head of bench/serve_load.c has them)\n",
                 argv[i]);
         exit(2);
      }
   }
   if (o.clients < 1 || o.clients > MAX_CLIENTS || o.prompt < 1 || o.output < 1 || o.vocab < 4 ||
       strlen(o.with) > BODY / 2) {
      fprintf(stderr, "serve_load: a number is out of range\n");
      exit(2);
   }
}

int main(int argc, char **argv)
{
   struct rusage self;

   read_options(argc, argv);
   uint64_t *alone = calloc((size_t)o.requests + 1, sizeof *alone);
   if (!alone)
      die("memory");
   if (o.check)
      run(1, alone, false);
   first_token.n = between.n = 0;
   tokens = 0;
   double cpu = server_cpu(), begun = now();
   long rss = server_rss();
   run(o.clients, alone, o.leave > 0);
   double seconds = now() - begun;
   getrusage(RUSAGE_SELF, &self);
   printf("{\"requests\":%ld,\"clients\":%ld,\"seconds\":%.3f,\"output_tokens\":%ld,\"tok_s\":%.1f",
          o.requests, o.clients, seconds, tokens, (double)tokens / seconds);
   show("first_token", &first_token);
   show("between_tokens", &between);
   for (size_t i = 0; o.list && i < first_token.n; i++)
      printf("%s%.3f", i ? "," : ",\"first_token_list_ms\":[", first_token.at[i] * 1e3);
   printf(o.list && first_token.n ? "]" : "");
   printf(",\"failed\":%ld,\"different\":%ld,\"left\":%ld", failures, different, left_early);
   printf(",\"client_cpu_s\":%.3f",
          (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec) +
             (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec) * 1e-6);
   if (o.pid)
      printf(",\"server_cpu_s\":%.3f,\"rss_kib\":[%ld,%ld]", server_cpu() - cpu, rss, server_rss());
   printf("}\n");
   return failures || different;
}
