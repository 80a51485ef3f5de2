/* serve_start.c - how long a server takes from exec to its first answers.
 *
 *    cc -O2 -o serve_start bench/serve_start.c && ./serve_start build/sinter serve MODEL -q
 *
 * Starts the command again and again (its first start may compile the model and does not count),
 * asks for /livez as soon as it listens (any answer will do), and then, on a connection of its own,
 * for a streamed completion: the server holds that until the model is loaded; one that refuses it
 * meanwhile, as llama-server does, is asked again. Prints the least, the median and the largest
 * time in milliseconds as JSON. Nothing but the C library. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 11, MAX_ARGS = 60, SECONDS = 120, SECONDS_TO_END = 20, MAX_ANSWER = 1 << 16 };

static double now_ms(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int fail(const char *what)
{
   fprintf(stderr, "serve_start: %s: %s\n", what, strerror(errno));
   return 1;
}

static struct sockaddr_in loopback(int port)
{
   struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

   a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
   return a;
}

static int free_port(void)
{
   struct sockaddr_in a = loopback(0);
   socklen_t len = sizeof a;
   int fd = socket(AF_INET, SOCK_STREAM, 0);

   if (bind(fd, (struct sockaddr *)&a, len) != 0 ||
       getsockname(fd, (struct sockaddr *)&a, &len) != 0)
      exit(fail("no port"));
   close(fd);
   return ntohs(a.sin_port);
}

static int dial(int port)
{
   struct sockaddr_in a = loopback(port);
   double end = now_ms() + SECONDS * 1e3;

   while (now_ms() < end) {
      int fd = socket(AF_INET, SOCK_STREAM, 0);
      if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
         return fd;
      close(fd);
      usleep(50);
   }
   exit(fail("the server does not listen"));
}

/* Sends a request; whether `mark` comes. */
static bool try(int port, const char *request, const char *mark, char answer[MAX_ANSWER])
{
   size_t len = 0;
   ssize_t n;
   int fd = dial(port);
   bool found = false;

   if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
      exit(fail("send"));
   while (!found && (n = recv(fd, answer + len, MAX_ANSWER - 1 - len, 0)) > 0) {
      len += (size_t)n;
      answer[len] = 0;
      found = strstr(answer, mark) != NULL;
   }
   close(fd);
   return found;
}

static void ask(int port, const char *request, const char *mark)
{
   static char answer[MAX_ANSWER];
   double end = now_ms() + SECONDS * 1e3;

   while (!try(port, request, mark, answer)) {
      if (now_ms() > end) {
         fprintf(stderr, "serve_start: no answer, but: %.500s\n", answer);
         exit(1);
      }
      usleep(500);
   }
}

/* llama-server was seen to sleep on after SIGTERM. */
static void end(pid_t pid)
{
   double until = now_ms() + SECONDS_TO_END * 1e3;

   kill(pid, SIGTERM);
   while (waitpid(pid, NULL, WNOHANG) == 0) {
      if (now_ms() > until) {
         fprintf(stderr, "serve_start: alive %d s after SIGTERM, killed\n", SECONDS_TO_END);
         kill(pid, SIGKILL);
         waitpid(pid, NULL, 0);
         return;
      }
      usleep(1000);
   }
}

static void one(char **command, int count, double *live, double *token)
{
   static const char body[] =
      "{\"prompt\":[1,2,3,4,5,6,7,8],\"max_tokens\":8,\"stream\":true,\"ignore_eos\":true}";
   char *argv[MAX_ARGS + 3], text[16], request[512];
   int port = free_port();

   snprintf(text, sizeof text, "%d", port);
   memcpy(argv, command, (size_t)count * sizeof *argv);
   argv[count] = "--port";
   argv[count + 1] = text;
   argv[count + 2] = NULL;
   double begin = now_ms();
   pid_t pid = fork();
   if (pid == 0) {
      execv(argv[0], argv);
      _exit(127);
   }
   ask(port, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.1 ");
   *live = now_ms() - begin;
   snprintf(request, sizeof request,
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
            strlen(body), body);
   ask(port, request, "data: {");
   *token = now_ms() - begin;
   end(pid);
}

static int by_size(const void *a, const void *b)
{
   double x = *(const double *)a, y = *(const double *)b;

   return (x > y) - (x < y);
}

static void show(const char *name, double *v, const char *end)
{
   qsort(v, ROUNDS, sizeof *v, by_size);
   printf("\"%s\":{\"least\":%.2f,\"median\":%.2f,\"most\":%.2f}%s", name, v[0], v[ROUNDS / 2],
          v[ROUNDS - 1], end);
}

int main(int argc, char **argv)
{
   double live[ROUNDS], token[ROUNDS];

   if (argc < 2 || argc > MAX_ARGS || strcmp(argv[1], "--help") == 0) {
      puts("usage: serve_start PROGRAM serve MODEL [OPTION…]");
      return argc < 2 || argc > MAX_ARGS ? 2 : 0;
   }
   one(argv + 1, argc - 1, &live[0], &token[0]);
   for (int i = 0; i < ROUNDS; i++)
      one(argv + 1, argc - 1, &live[i], &token[i]);
   printf("{");
   show("livez_ms", live, ",");
   show("first_token_ms", token, "}\n");
   return 0;
}
