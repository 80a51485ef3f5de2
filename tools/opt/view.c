/* view.c - --view: all rewrites as one page that needs nothing else.
 *
 *    {"name", "lines": [text…], "steps": [{"pass","site","at","rule","splice":[at,gone,line…]}…],
 *     "sites": [{"pass","site","at","verdict","reason"}…], "near": […]}
 *
 * A step is the difference of its text to the one before: `gone` lines leave at `at`, these lines
 * (by number) take their place. The page, view.html, is part of the program. */
#include "opt.h"

#include "base/json.h"
#include "passes/run.h"

#include <stdio.h>

extern const unsigned char opt_view_page[];
extern const size_t opt_view_page_len;

#define PLACE "/*DATA*/"

typedef VEC(uint32_t) line_list;

typedef struct recorder {
   arena *a;
   map numbers; /* line → number + 1 */
   VEC(const char *) lines;
   line_list now;
   text_buf steps;
   uint32_t num_steps;
   pass_types types;
} recorder;

static uint32_t line_number(recorder *r, const char *s, size_t len)
{
   void *known = map_get_n(&r->numbers, s, len);

   if (known)
      return (uint32_t)((uintptr_t)known - 1);
   char *copy = arena_strndup(r->a, s, len);

   *vec_push(r->a, &r->lines) = copy;
   (void)map_set_n(&r->numbers, copy, len, (void *)(uintptr_t)r->lines.count);
   return (uint32_t)r->lines.count - 1;
}

static line_list lines_of(recorder *r, const ir_func *f)
{
   text_buf text = {.a = r->a};
   line_list out = {0};

   ir_print(&text, f);
   for (const char *line = text.data; *line;) {
      size_t len = strcspn(line, "\n");

      *vec_push(r->a, &out) = line_number(r, line, len);
      line += len + (line[len] == '\n');
   }
   return out;
}

static void string(text_buf *t, const char *key, const char *s)
{
   text_printf(t, "\"%s\":", key);
   json_write_string(t, s ? s : "", s ? strlen(s) : 0);
}

static void write_splice(recorder *r, const line_list *next)
{
   const line_list *was = &r->now;
   size_t head = 0, tail = 0, most = MIN(was->count, next->count);

   while (head < most && was->data[head] == next->data[head])
      head++;
   while (tail < most - head &&
          was->data[was->count - 1 - tail] == next->data[next->count - 1 - tail])
      tail++;
   text_printf(&r->steps, "\"splice\":[%zu,%zu", head, was->count - head - tail);
   for (size_t i = head; i < next->count - tail; i++)
      text_printf(&r->steps, ",%u", next->data[i]);
   text_printf(&r->steps, "]");
}

static void begin_step(recorder *r, const char *pass, const ir_func *f)
{
   text_printf(&r->steps, "%s\n{\"pass\":\"%s\",\"rounding\":\"%s\",", r->num_steps++ ? "," : "",
               pass, pass_rounding_name(pass_rounding_since(f, &r->types)));
   r->types = pass_types_of(r->a, f);
}

static void end_step(recorder *r, const ir_func *f)
{
   line_list next = lines_of(r, f);

   write_splice(r, &next);
   text_printf(&r->steps, "}");
   r->now = next;
}

static void on_site(void *user, const pass_site *s, const ir_func *f)
{
   recorder *r = user;

   begin_step(r, pass_infos[s->pass].name, f);
   text_printf(&r->steps, "\"site\":\"%s:%u\",\"rule\":%u,", pass_infos[s->pass].name, s->number,
               s->rule);
   string(&r->steps, "at", s->at);
   text_printf(&r->steps, ",");
   end_step(r, f);
}

/* FINISH passes have no sites: the whole pass is a step. */
static void on_pass(void *user, pass_id pass, bool after, bool changed, const ir_func *f)
{
   if (!after || !changed || pass_infos[pass].phase != PASS_FINISH)
      return;
   begin_step(user, pass_infos[pass].name, f);
   text_printf(&((recorder *)user)->steps, "\"site\":\"\",\"rule\":0,\"at\":\"\",");
   end_step(user, f);
}

static void write_sites(text_buf *t, const pass_report *report)
{
   static const char *const verdicts[] = {"open", "fired", "declined"};
   const char *comma = "";

   for (pass_id id = 0; id < pass_count(); id++) {
      const pass_entry *e = &report->entry[id];

      for (size_t i = 0; i < e->sites.count; i++, comma = ",") {
         const pass_site *s = e->sites.data[i];

         text_printf(t, "%s\n{\"pass\":\"%s\",\"site\":\"%s:%u\",\"verdict\":\"%s\",", comma,
                     pass_infos[id].name, pass_infos[id].name, s->number, verdicts[s->verdict]);
         string(t, "at", s->at);
         text_printf(t, ",");
         string(t, "reason", s->reason);
         text_printf(t, "}");
      }
      for (size_t i = 0; i < e->near.count; i++, comma = ",") {
         const pass_near *n = &e->near.data[i];

         text_printf(t, "%s\n{\"pass\":\"%s\",\"site\":\"\",\"verdict\":\"almost\",", comma,
                     pass_infos[id].name);
         string(t, "at", n->at);
         text_printf(t, ",");
         string(t, "reason",
                arena_printf(t->a, "%u of %u parts: %s", n->matched, n->total, n->missing));
         text_printf(t, "}");
      }
   }
}

static void write_data(text_buf *t, const recorder *r, const line_list *first, const char *name,
                       const pass_report *report)
{
   text_printf(t, "{");
   string(t, "name", name);
   text_printf(t, ",\"lines\":[");
   for (size_t i = 0; i < r->lines.count; i++) {
      text_printf(t, "%s\n", i ? "," : "");
      json_write_string(t, r->lines.data[i], strlen(r->lines.data[i]));
   }
   text_printf(t, "],\"first\":[");
   for (size_t i = 0; i < first->count; i++)
      text_printf(t, "%s%u", i ? "," : "", first->data[i]);
   text_printf(t, "],\"steps\":[%s],\"sites\":[", r->steps.data ? r->steps.data : "");
   write_sites(t, report);
   text_printf(t, "]}");
}

/* The page with the data in its place; a `<` in the data could end its script element. */
static void write_page(text_buf *out, const text_buf *data)
{
   const char *page = (const char *)opt_view_page;
   const char *at = memmem(page, opt_view_page_len, PLACE, strlen(PLACE));
   size_t head = (size_t)(at - page);

   text_append(out, page, head);
   for (size_t i = 0, from = 0; i <= data->len; i++)
      if (i == data->len || data->data[i] == '<') {
         text_append(out, data->data + from, i - from);
         if (i < data->len)
            text_append(out, "\\u003c", 6);
         from = i + 1;
      }
   text_append(out, at + strlen(PLACE), opt_view_page_len - head - strlen(PLACE));
}

sinter_status opt_view(arena *a, const ir_func *source, const opt_options *o)
{
   ir_func *f = ir_func_clone(a, source);
   recorder r = {.a = a, .numbers = {.a = a}, .steps = {.a = a}};
   pass_report *report = arena_new(a, pass_report);
   text_buf data = {.a = a}, page = {.a = a};
   pass_layout layout;
   pass_target target;
   pass_options po;

   SINTER_TRY(opt_setup(a, o, &target, &po));
   po.site_hook = on_site;
   po.hook = on_pass;
   po.user = &r;
   r.types = pass_types_of(a, f);
   line_list first = r.now = lines_of(&r, f);

   SINTER_TRY(pass_run_all(f, &po, report));
   if (opt_wants_layout(&po))
      SINTER_TRY(pass_finish(f, &po, report, &layout));
   write_data(&data, &r, &first, f->name, report);
   write_page(&page, &data);
   return opt_write(o->view, page.data, page.len);
}
