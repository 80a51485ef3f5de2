/* main.c - sinter-opt: prints, transforms, checks and evaluates IR files. */
#include "opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FILE = 64 << 20 };

typedef struct session {
   arena *a;
   opt_options o;
} session;

sinter_status opt_read(arena *a, const char *path, const char **out, size_t *out_len)
{
   FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
   size_t cap = 1 << 16, n;
   char *text;

   if (!file)
      return base_fail(SINTER_not_found, path, "name a file that can be read, or - for stdin",
                       "cannot open: %s", strerror(errno));
   text = arena_alloc(a, cap);
   for (*out_len = 0; (n = fread(text + *out_len, 1, cap - *out_len, file)); *out_len += n) {
      if (*out_len + n < cap)
         continue;
      char *more = arena_alloc(a, 2 * cap);

      memcpy(more, text, cap);
      text = more;
      cap *= 2;
      if (cap > 2 * (size_t)MAX_FILE)
         break;
   }
   int error = ferror(file) ? errno : 0;

   if (file != stdin)
      fclose(file);
   if (error)
      return base_fail(SINTER_io, path, "name a file that can be read, or - for stdin",
                       "reading failed: %s", strerror(error));
   if (*out_len > MAX_FILE)
      return base_fail(SINTER_bad_input, path, "", "the file is larger than 64 MiB");
   *out = text;
   return SINTER_ok;
}

static void list_passes(void)
{
   static const char *const phases[] = {"clean", "fuse", "rest", "finish"};

   for (pass_id id = 0; id < pass_count(); id++)
      printf("%-20s %-7s %-4s %s\n", pass_infos[id].name, phases[pass_infos[id].phase],
             pass_infos[id].numerics == PASS_FAST ? "fast" : "any", pass_infos[id].what);
}

static void print_func(FILE *to, const ir_func *f)
{
   text_buf text = {.a = f->a};

   ir_print(&text, f);
   fputs(text.data, to);
}

static void hook(void *user, pass_id pass, bool after, bool changed, const ir_func *f)
{
   const session *s = user;
   bool wanted = after ? s->o.print_after || (s->o.print_changed && changed) : s->o.print_before;

   if (!wanted)
      return;
   fprintf(stderr, "// %s %s\n", after ? "after" : "before", pass_infos[pass].name);
   print_func(stderr, f);
}

static sinter_status print_result(const session *s, ir_func *f, const pass_target *target,
                                  const pass_report *report, const pass_layout *layout)
{
   text_buf out = {.a = f->a};

   if (s->o.why_not)
      return opt_why_not(report, &s->o);
   if (s->o.dot || s->o.svg)
      return opt_draw(s->a, f, &s->o);
   if (s->o.sites)
      opt_print_sites(report);
   if (s->o.breaks)
      opt_print_breaks(report);
   if (s->o.stats)
      opt_print_stats(report);
   if (s->o.sites || s->o.breaks || s->o.stats)
      return SINTER_ok;
   if (s->o.json) {
      pass_explain(&out, f, target, report, layout);
   } else {
      ir_print(&out, f);
      if (layout)
         pass_print_layout(&out, f, layout);
   }
   fputs(out.data, stdout);
   return SINTER_ok;
}

static sinter_status run_passes(session *s, ir_func *f)
{
   pass_report *report = arena_new(s->a, pass_report);
   pass_target target;
   pass_layout layout;
   pass_options po;

   SINTER_TRY(opt_setup(s->a, &s->o, &target, &po));
   po.hook = hook;
   po.user = s;
   SINTER_TRY(pass_run_all(f, &po, report));
   if (opt_wants_layout(&po))
      SINTER_TRY(pass_finish(f, &po, report, &layout));
   for (size_t i = 0; i < report->notes.count; i++)
      fprintf(stderr, "note: %s\n", report->notes.data[i]);
   return print_result(s, f, &target, report, opt_wants_layout(&po) ? &layout : NULL);
}

/* Whether an option asks for what only passes can show. */
static bool runs_passes(const opt_options *o)
{
   return o->passes || o->from || o->to || o->why_not || o->sites || o->breaks || o->stats;
}

/* Reports name values: %15 of the text is called %_15 then, whatever moves before it. */
static void name_all(ir_func *f)
{
   uint32_t next = 0;

   ir_op_foreach (f, op)
      for (uint32_t i = 0; i < op->num_results; i++)
         if (!op->results[i]->name)
            ir_set_name(f, op->results[i], arena_printf(f->a, "%u", next++));
}

static bool reports_names(const opt_options *o)
{
   return o->between || o->bisect || o->reduce || o->view || o->why_not || o->sites || o->breaks ||
          o->dot || o->svg || o->trace;
}

static sinter_status run_func(session *s, ir_func *f, const char *path)
{
   text_buf violations = {.a = s->a};

   if (!ir_validate(f, &violations))
      return base_fail(SINTER_bad_input, path, "Correct the function.", "@%s is invalid:\n%s",
                       f->name, violations.data);
   if (reports_names(&s->o))
      name_all(f);
   if (s->o.eval)
      return opt_eval(s->a, f, &s->o);
   if (s->o.between)
      return opt_between(s->a, f, &s->o);
   if (s->o.bisect)
      return opt_bisect(s->a, f, &s->o);
   if (s->o.reduce)
      return opt_reduce(s->a, f, &s->o);
   if (s->o.view)
      SINTER_TRY(opt_view(s->a, f, &s->o));
   if (s->o.view && !s->o.dot && !s->o.svg)
      return SINTER_ok;
   if (runs_passes(&s->o))
      return run_passes(s, f);
   if (s->o.dot || s->o.svg)
      return opt_draw(s->a, f, &s->o);
   print_func(stdout, f);
   return SINTER_ok;
}

static sinter_status run_file(session *s, const char *path)
{
   ir_module m = {0};
   const char *text;
   size_t len;

   if (s->o.check || s->o.update)
      return opt_golden(s->a, path, &s->o);
   if (s->o.diff_kernels)
      return opt_diff_kernels(s->a, path, &s->o);
   if (s->o.bisect && s->o.device && strcmp(s->o.device, "ref") != 0)
      return opt_bisect_device(s->a, path, &s->o);
   SINTER_TRY(opt_read(s->a, path, &text, &len));
   SINTER_TRY(ir_parse(s->a, text, len, path, &m));
   for (size_t i = 0; i < m.funcs.count; i++) {
      if (i)
         putchar('\n');
      SINTER_TRY(run_func(s, m.funcs.data[i], path));
   }
   return SINTER_ok;
}

static sinter_status body(void *user)
{
   session *s = user;
   sinter_status worst = SINTER_ok;

   SINTER_TRY(opt_load(&s->o.load));
   if (s->o.list) {
      list_passes();
      return SINTER_ok;
   }
   if (!s->o.files.count)
      return base_fail(SINTER_usage, "", "sinter-opt --help shows how.",
                       "there is no file to read");
   for (uint32_t i = 0; i < s->o.files.count; i++) {
      sinter_status status = run_file(s, s->o.files.item[i]);

      if (!s->o.check && !s->o.update)
         SINTER_TRY(status);
      worst = status ? status : worst; /* --check goes on to the next file */
   }
   return worst;
}

/* A full disk is a failure. */
static int finish(int code)
{
   if (fflush(stdout) == 0 && !ferror(stdout))
      return code;
   fprintf(stderr, "sinter-opt: writing to stdout failed\n");
   return code ? code : 1;
}

int main(int argc, char **argv)
{
   session s = {0};
   sinter_status status = opt_parse(argc, argv, &s.o);

   if (status == SINTER_ok && s.o.help) {
      opt_help();
      return finish(0);
   }
   if (status == SINTER_ok)
      status = arena_create(&s.a);
   if (status == SINTER_ok)
      status = arena_catch(body, &s);
   if (status != SINTER_ok)
      fprintf(stderr, "sinter-opt: %s\n", sinter_error());
   arena_destroy(s.a);
   return finish(sinter_status_exit_code(status));
}
