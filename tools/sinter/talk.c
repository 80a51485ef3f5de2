/* talk.c - errors, progress and small output helpers. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

double cli_seconds(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int cli_error(sinter_status status)
{
   const char *text = sinter_error();

   fprintf(stderr, "error: %s\n", text[0] ? text : sinter_status_name(status));
   return sinter_status_exit_code(status);
}

int cli_fail(int code, const char *at, const char *remedy, const char *fmt, ...)
{
   va_list args;

   fputs("error: ", stderr);
   va_start(args, fmt);
   vfprintf(stderr, fmt, args);
   va_end(args);
   fprintf(stderr, "\n  at: %s\n  try: %s\n", at, remedy);
   return code;
}

static const char *const stage_names[] = {
   [SINTER_STAGE_hash] = "hash",     [SINTER_STAGE_import] = "import",
   [SINTER_STAGE_passes] = "passes", [SINTER_STAGE_codegen] = "codegen",
   [SINTER_STAGE_pack] = "pack",     [SINTER_STAGE_write] = "write",
   [SINTER_STAGE_done] = "done",
};

void progress_init(progress *p, bool quiet)
{
   *p = (progress){.terminal = isatty(2) && !getenv("NO_COLOR"),
                   .quiet = quiet,
                   .stage = -1,
                   .started = cli_seconds()};
}

static void bar(progress *p, uint64_t done, uint64_t total, const char *detail)
{
   enum { WIDTH = 24 };
   int filled = total ? (int)(done * WIDTH / total) : 0;
   char cells[WIDTH * 3 + 1] = "";

   for (int i = 0; i < WIDTH; i++)
      memcpy(cells + 3 * i, i < filled ? "█" : "░", 4);
   fprintf(stderr, "\r\033[K%-8s %s %3d %% %.40s", stage_names[p->stage], cells,
           total ? (int)(done * 100 / total) : 0, detail ? detail : "");
   p->open_line = true;
}

void progress_report(void *user, sinter_stage stage, uint64_t done, uint64_t total,
                     const char *detail)
{
   progress *p = user;
   double now = cli_seconds();
   bool last = total != 0 && done >= total;

   if (p->watch)
      p->watch(p->user, stage, done, total, detail);
   if (p->quiet || (size_t)stage >= countof(stage_names))
      return;
   p->stage = (int)stage;
   if (p->terminal && !p->name && !last) {
      /* At most 20 redraws a second. */
      if (now - p->shown > 0.05)
         bar(p, done, total, detail);
      p->shown = now - p->shown > 0.05 ? now : p->shown;
      return;
   }
   if (!last)
      return;
   char what[49];
   snprintf(what, sizeof what, "%s%s%s", p->name ? p->name : "",
            p->name && detail && *detail ? ": " : "", detail ? detail : "");
   fprintf(stderr, "%s%-8s %-48s %6.2f s\n", p->open_line ? "\r\033[K" : "", stage_names[stage],
           what, now - p->started);
   p->open_line = false;
}

void progress_end(progress *p)
{
   if (p->open_line)
      fputs("\r\033[K", stderr);
   p->open_line = false;
}

void buffer_reserve(buffer *b, size_t more)
{
   if (b->len + more + 1 <= b->cap)
      return;
   b->cap = (b->len + more + 1) * 2;
   b->data = realloc(b->data, b->cap);
   if (!b->data) {
      fputs("error: memory is exhausted\n", stderr);
      exit(6);
   }
}

void buffer_add(buffer *b, const void *data, size_t len)
{
   buffer_reserve(b, len);
   if (len)
      memcpy(b->data + b->len, data, len);
   b->len += len;
   b->data[b->len] = 0;
}

void buffer_printf(buffer *b, const char *fmt, ...)
{
   va_list args, again;

   va_start(args, fmt);
   va_copy(again, args);
   int n = vsnprintf(NULL, 0, fmt, args);
   va_end(args);
   if (n > 0) {
      buffer_reserve(b, (size_t)n);
      vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
      b->len += (size_t)n;
   }
   va_end(again);
}

void buffer_json_string(buffer *b, const char *s, size_t len)
{
   buffer_add(b, "\"", 1);
   for (size_t i = 0; i < len; i++) {
      unsigned char c = (unsigned char)s[i];
      if (c == '"' || c == '\\')
         buffer_printf(b, "\\%c", c);
      else if (c < 0x20 || c == 0x7f)
         buffer_printf(b, "\\u%04x", c);
      else
         buffer_add(b, &s[i], 1);
   }
   buffer_add(b, "\"", 1);
}

void buffer_free(buffer *b)
{
   free(b->data);
   *b = (buffer){0};
}

bool buffer_read(buffer *b, FILE *f)
{
   char bytes[4096];
   size_t n;

   buffer_add(b, "", 0);
   while ((n = fread(bytes, 1, sizeof bytes, f)) > 0)
      buffer_add(b, bytes, n);
   return !ferror(f);
}

bool buffer_read_file(buffer *b, const char *path)
{
   FILE *f = fopen(path, "rb");
   bool ok = f && buffer_read(b, f);

   if (f)
      fclose(f);
   return ok;
}

bool cli_ids(const char *text, int32_t **out, size_t *out_count)
{
   size_t count = 0, cap = strlen(text) / 2 + 1;
   int32_t *ids = malloc(cap * sizeof *ids);

   for (const char *p = text; ids;) {
      char *end;
      long long v = strtoll(p, &end, 10);
      if (end == p || v < 0 || v > INT32_MAX || (*end && *end != ','))
         break;
      ids[count++] = (int32_t)v;
      if (!*end) {
         *out = ids;
         *out_count = count;
         return true;
      }
      p = end + 1;
   }
   free(ids);
   return false;
}
