/* trace.c - Chrome's trace event format, a line an event:
 *
 *    [ metadata                            a track of steps for each model
 *    , {"ph":"X", "name":"step", …}        begin and length, in microseconds
 *    , {"ph":"b"|"e", "id":request, …}     a request, and within it queue, prefill, decode
 *    ]                                     readers do without it, should the server be killed
 *
 * No texts. A disk that is full loses events, which is said once, and stops nobody. */
#include "log.h"
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void put(server *s, buffer *b, bool now)
{
   log_put(s->trace, b, now, &s->trace_is_lossy, s->options->trace);
   buffer_free(b);
}

bool trace_open(server *s)
{
   const char *path = s->options->trace;
   buffer b = {0};

   if (!path)
      return true;
   int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
   s->trace = fd < 0 ? NULL : fdopen(fd, "a");
   if (!s->trace) {
      (void)cli_fail(1, path, "name a file that can be written", "the trace cannot be opened: %s",
                     strerror(errno));
      return false;
   }
   buffer_printf(&b, "[{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"args\":{\"name\":"
                     "\"sinter serve\"}}\n");
   put(s, &b, true);
   return true;
}

static double us(double seconds)
{
   return seconds * 1e6;
}

void trace_step(const host *h, double begin, uint64_t rows, const sinter_stats *after)
{
   server *s = h->server;
   buffer b = {0};

   if (!s->trace)
      return;
   buffer_printf(
      &b, ",{\"ph\":\"X\",\"cat\":\"step\",\"name\":\"step\",\"pid\":1,\"tid\":%d,\"ts\":%.1f,",
      (int)(h - s->hosts) + 1, us(begin));
   buffer_printf(&b, "\"dur\":%.1f,\"args\":{\"model\":", us(cli_seconds() - begin));
   buffer_json_string(&b, h->name, strlen(h->name));
   buffer_printf(&b, ",\"rows\":%llu,\"running\":%u,\"waiting\":%u,\"kv_tokens_used\":%llu}}\n",
                 (unsigned long long)rows, after->running, after->waiting,
                 (unsigned long long)after->kv_tokens_used);
   put(s, &b, false);
}

static void span(buffer *b, const job *j, const char *name, double begin, double end)
{
   buffer_printf(b,
                 ",{\"ph\":\"b\",\"cat\":\"request\",\"name\":\"%s\",\"id\":\"%s\",\"pid\":1,"
                 "\"tid\":0,\"ts\":%.1f}\n"
                 ",{\"ph\":\"e\",\"cat\":\"request\",\"name\":\"%s\",\"id\":\"%s\",\"pid\":1,"
                 "\"tid\":0,\"ts\":%.1f}\n",
                 name, j->id, us(begin), name, j->id, us(end));
}

void trace_job(server *s, const job *j)
{
   double end = cli_seconds(), first = j->first > 0 ? j->first : end;
   double begun = j->queued > 0 ? j->started + j->queued : end;
   buffer b = {0};

   if (!s->trace)
      return;
   buffer_printf(&b,
                 ",{\"ph\":\"b\",\"cat\":\"request\",\"name\":\"request\",\"id\":\"%s\",\"pid\":1,"
                 "\"tid\":0,\"ts\":%.1f,\"args\":{\"prompt_tokens\":%llu,\"cached_tokens\":%u,"
                 "\"generated_tokens\":%llu,\"model\":",
                 j->id, us(j->started), (unsigned long long)job_prompt_tokens(j), j->cached_tokens,
                 (unsigned long long)job_generated(j));
   buffer_json_string(&b, j->host->name, strlen(j->host->name));
   buffer_printf(&b, "}}\n");
   span(&b, j, "queue", j->started, begun);
   if (begun < end)
      span(&b, j, "prefill", begun, first);
   if (j->first > 0)
      span(&b, j, "decode", first, end);
   buffer_printf(&b,
                 ",{\"ph\":\"e\",\"cat\":\"request\",\"name\":\"request\",\"id\":\"%s\",\"pid\":1,"
                 "\"tid\":0,\"ts\":%.1f}\n",
                 j->id, us(end));
   put(s, &b, true); /* who looks while the server runs sees whole requests */
}

void trace_close(server *s)
{
   buffer end = {0};

   if (!s->trace)
      return;
   buffer_printf(&end, "]\n");
   put(s, &end, true);
   fclose(s->trace);
   s->trace = NULL;
}
