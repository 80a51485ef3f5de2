/* log.c - one line of JSON a request: what was asked for, how it ended, how long it took; never its
 * text, keys or users. */
#include <errno.h>
#include <fcntl.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static void describe_job(job *j, buffer *b)
{
   const char *finish = NULL;

   pthread_mutex_lock(&j->lock);
   for (uint32_t i = 0; i < j->num_choices; i++)
      finish = j->choices[i].finish ? j->choices[i].finish : finish;
   finish = j->fault.http ? j->fault.code : j->gone ? "cancelled" : finish;
   buffer_printf(b, ",\"id\":\"%s\",\"model\":", j->id);
   buffer_json_string(b, j->host->name, strlen(j->host->name));
   buffer_printf(b,
                 ",\"stream\":%s,\"choices\":%u,\"prompt_tokens\":%llu,\"cached_tokens\":%u,"
                 "\"completion_tokens\":%llu,\"first_token_ms\":%.3f,\"finish\":\"%s\"",
                 j->ask.stream ? "true" : "false", j->num_choices,
                 (unsigned long long)job_prompt_tokens(j), j->cached_tokens,
                 (unsigned long long)job_generated(j),
                 j->first > 0 ? (j->first - j->started) * 1e3 : 0, finish ? finish : "cancelled");
   pthread_mutex_unlock(&j->lock);
}

bool log_open(server *s)
{
   const char *path = s->options->log;

   if (!path)
      return true;
   s->log = strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");
   if (s->log)
      return true;
   (void)cli_fail(1, path, "name a file that can be written, or -", "the log cannot be opened: %s",
                  strerror(errno));
   return false;
}

/* What is buffered goes out before a line that does not fit beside it, so that only whole lines are
 * written at once. */
static bool write_line(FILE *to, const buffer *line, bool now)
{
   size_t pending = __fpending(to);
   bool ok = !pending || pending + line->len <= __fbufsize(to) || fflush(to) == 0;

   return ok && fwrite(line->data, 1, line->len, to) == line->len && (!now || fflush(to) == 0);
}

/* What a full disk took of lines is taken back: half of one would make the next one unreadable,
 * too. Not where others may write, nor in a pipe. */
static void take_back(FILE *to, const struct stat *before)
{
   int flags = fcntl(fileno(to), F_GETFL);

   __fpurge(to);
   if (S_ISREG(before->st_mode) && flags >= 0 && (flags & O_APPEND))
      (void)!ftruncate(fileno(to), before->st_size);
}

void log_put(FILE *to, const buffer *line, bool now, atomic_bool *is_lossy, const char *path)
{
   struct stat before = {0};

   flockfile(to);
   (void)fstat(fileno(to), &before);
   errno = 0;
   bool ok = write_line(to, line, now);
   int error = errno;
   if (!ok)
      take_back(to, &before);
   funlockfile(to);
   if (!ok && !atomic_exchange(is_lossy, true))
      fprintf(stderr,
              "warning: lines are lost: %s\n  at: %s\n  try: make room there; answers go on\n",
              strerror(error), path);
   clearerr(to);
}

void log_request(const call *c)
{
   struct timespec t;
   buffer b = {0};

   if (!c->server->log)
      return;
   clock_gettime(CLOCK_REALTIME, &t);
   buffer_printf(&b, "{\"time\":%lld.%03ld,\"method\":\"%.16s\",\"path\":", (long long)t.tv_sec,
                 t.tv_nsec / 1000000, c->method);
   buffer_json_string(&b, c->path, strlen(c->path));
   buffer_printf(&b, ",\"status\":%d,\"ms\":%.3f", c->status, (cli_seconds() - c->started) * 1e3);
   if (c->trace[0])
      buffer_printf(&b, ",\"request_id\":\"%s\"", c->trace);
   if (c->job)
      describe_job(c->job, &b);
   buffer_printf(&b, "}\n");
   log_put(c->server->log, &b, true, &c->server->log_is_lossy, c->server->options->log);
   buffer_free(&b);
}

void log_close(server *s)
{
   if (s->log && s->log != stdout)
      fclose(s->log);
   s->log = NULL;
}
