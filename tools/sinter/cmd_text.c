/* cmd_text.c - tokenize and detokenize: a JSON value a line in, a JSON value a line out. */
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "cli.h"

/* One line: a string, or an array of whole numbers. */
typedef struct line_reader {
   bool in_array, done;
   buffer text; /* the string, which may hold NUL */
   bool is_string;
   int32_t *ids;
   size_t count, cap;
} line_reader;

static int on_string(void *user, const unsigned char *s, size_t len)
{
   line_reader *r = user;

   if (r->in_array || r->done)
      return 0;
   buffer_add(&r->text, s, len);
   r->is_string = r->done = true;
   return 1;
}

static int on_integer(void *user, long long v)
{
   line_reader *r = user;

   if (!r->in_array || v < 0 || v > INT32_MAX)
      return 0;
   if (r->count == r->cap) {
      r->cap = r->cap * 2 + 64;
      r->ids = realloc(r->ids, r->cap * sizeof *r->ids);
      if (!r->ids)
         exit(6);
   }
   r->ids[r->count++] = (int32_t)v;
   return 1;
}

static int on_open(void *user)
{
   line_reader *r = user;

   if (r->in_array || r->done)
      return 0;
   r->in_array = true;
   return 1;
}

static int on_close(void *user)
{
   line_reader *r = user;

   r->in_array = false;
   r->done = true;
   return 1;
}

/* Nothing else may stand in a line; yajl skips what has no callback. */
static int refuse(void *user)
{
   (void)user;
   return 0;
}

static int refuse_boolean(void *user, int v)
{
   (void)v;
   return refuse(user);
}

static int refuse_float(void *user, double v)
{
   (void)v;
   return refuse(user);
}

static bool read_line(line_reader *r, const char *line, size_t len, bool want_string)
{
   static const yajl_callbacks callbacks = {.yajl_null = refuse,
                                            .yajl_boolean = refuse_boolean,
                                            .yajl_double = refuse_float,
                                            .yajl_start_map = refuse,
                                            .yajl_integer = on_integer,
                                            .yajl_string = on_string,
                                            .yajl_start_array = on_open,
                                            .yajl_end_array = on_close};

   r->text.len = r->count = 0;
   r->in_array = r->done = r->is_string = false;
   yajl_handle y = yajl_alloc(&callbacks, NULL, r);
   bool ok = yajl_parse(y, (const unsigned char *)line, len) == yajl_status_ok &&
             yajl_complete_parse(y) == yajl_status_ok && r->done && r->is_string == want_string;
   yajl_free(y);
   return ok;
}

static sinter_status print_ids(const options *o, const session *s, const buffer *text)
{
   unsigned flags = (o->no_bos ? SINTER_TEXT_no_bos : 0) | (o->plain ? SINTER_TEXT_plain : 0);
   size_t count = 0, cap = text->len + 16;
   int32_t *ids = NULL;
   sinter_status status;

   for (;; cap = count) {
      ids = realloc(ids, cap * sizeof *ids);
      if (!ids)
         exit(6);
      status = sinter_tokenize(s->artifact, text->data ? text->data : "", text->len, flags, ids,
                               cap, &count);
      if (status != SINTER_ok || count <= cap)
         break;
   }
   if (status == SINTER_ok) {
      putchar('[');
      for (size_t i = 0; i < count; i++)
         printf("%s%d", i ? "," : "", ids[i]);
      puts("]");
   }
   free(ids);
   return status;
}

static sinter_status print_text(const session *s, const line_reader *r)
{
   size_t len = 0;
   sinter_status status = sinter_detokenize(s->artifact, r->ids, r->count, NULL, 0, &len);
   char *text = malloc(len + 1);
   buffer out = {0};

   if (!text)
      exit(6);
   if (status == SINTER_ok)
      status = sinter_detokenize(s->artifact, r->ids, r->count, text, len, &len);
   if (status == SINTER_ok) {
      buffer_json_string(&out, text, len);
      fwrite(out.data, 1, out.len, stdout);
      putchar('\n');
   }
   buffer_free(&out);
   free(text);
   return status;
}

static int each_line(const options *o, bool strings)
{
   session s;
   line_reader r = {0};
   char *line = NULL;
   size_t cap = 0, number = 0;
   ssize_t len;
   int code = cli_open(o, &s);

   while (code == 0 && (len = getline(&line, &cap, stdin)) >= 0) {
      number++;
      if (!read_line(&r, line, (size_t)len, strings)) {
         code = cli_fail(3, "stdin", strings ? "\"text\" on a line" : "[1, 2, 3] on a line",
                         "line %zu is not a JSON %s", number,
                         strings ? "string" : "array of token ids");
         break;
      }
      sinter_status status = strings ? print_ids(o, &s, &r.text) : print_text(&s, &r);
      if (status != SINTER_ok)
         code = cli_error(status);
   }
   free(line);
   free(r.ids);
   buffer_free(&r.text);
   if (code == 0)
      cli_close(&s);
   return code;
}

int cmd_tokenize(const options *o)
{
   return each_line(o, true);
}

int cmd_detokenize(const options *o)
{
   return each_line(o, false);
}
