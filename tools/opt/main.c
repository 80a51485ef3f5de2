/* main.c - sinter-opt: prints, transforms, checks and evaluates IR files. */
#include "opt.h"

#include "passes/golden.h"

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
      return base_fail(SINTER_not_found, path, "", "cannot open: %s", strerror(errno));
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
   bool failed = ferror(file);

   if (file != stdin)
      fclose(file);
   if (failed || *out_len > MAX_FILE)
      return base_fail(failed ? SINTER_io : SINTER_bad_input, path, "",
                       failed ? "reading failed" : "the file is larger than 64 MiB");
   *out = text;
   return SINTER_ok;
}

static const char *const phases[] = {"clean", "fuse", "rest", "finish"};

static void list_passes(void)
{
   for (pass_id id = 0; id < pass_count(); id++)
      printf("%-16s %-7s %-4s %s\n", pass_infos[id].name, phases[pass_infos[id].phase],
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

static void print_sites(const pass_report *report)
{
   static const char *const verdicts[] = {"open", "fired", "declined"};

   for (pass_id id = 0; id < pass_count(); id++) {
      const pass_entry *e = &report->entry[id];

      for (size_t i = 0; i < e->sites.count; i++) {
         const pass_site *s = e->sites.data[i];

         printf("%s:%u %s %s%s%s\n", pass_infos[id].name, s->number, s->at, verdicts[s->verdict],
                s->reason ? ": " : "", s->reason ? s->reason : "");
      }
   }
}

static sinter_status find_phase(const char *name, pass_phase otherwise, pass_phase *out)
{
   *out = otherwise;
   for (size_t i = 0; name && i < countof(phases); i++)
      if (!strcmp(name, phases[i])) {
         *out = (pass_phase)i;
         return SINTER_ok;
      }
   if (name)
      return base_fail(SINTER_usage, name, "Use clean, fuse, rest or finish.",
                       "there is no such phase");
   return SINTER_ok;
}

/* --from and --to are short for the passes of these phases. */
static sinter_status select_phases(session *s)
{
   pass_phase from, to;
   text_buf names = {.a = s->a};

   if (!s->o.from && !s->o.to)
      return SINTER_ok;
   if (s->o.passes)
      return base_fail(SINTER_usage, "-p", "Leave one out.", "--from and --to choose the passes");
   SINTER_TRY(find_phase(s->o.from, PASS_CLEAN, &from));
   SINTER_TRY(find_phase(s->o.to, PASS_FINISH, &to));
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase >= from && pass_infos[id].phase <= to && pass_infos[id].on)
         text_printf(&names, "%s,", pass_infos[id].name);
   s->o.passes = names.data ? names.data : ",";
   return SINTER_ok;
}

static bool wants_layout(const session *s)
{
   if (!strcmp(s->o.passes, "all"))
      return true;
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase == PASS_FINISH && strstr(s->o.passes, pass_infos[id].name))
         return true;
   return false;
}

static sinter_status read_numerics(const session *s, sinter_numerics *out)
{
   const char *name = s->o.numerics ? s->o.numerics : "fast";

   *out = strcmp(name, "exact") ? SINTER_FAST : SINTER_EXACT;
   if (strcmp(name, "exact") && strcmp(name, "fast"))
      return base_fail(SINTER_usage, "--numerics", "Use fast or exact.", "there is no mode %s",
                       name);
   return SINTER_ok;
}

static sinter_status run_passes(session *s, ir_func *f)
{
   pass_target target = pass_target_cpu("cpu");
   pass_report report;
   pass_layout layout = {0};
   text_buf out = {.a = f->a};
   pass_options po = {.target = &target,
                      .with = s->o.with,
                      .without = s->o.without,
                      .skip = s->o.skip ? s->o.skip : getenv("SINTER_SKIP"),
                      .only = strcmp(s->o.passes, "all") ? s->o.passes : NULL,
                      .hook = hook,
                      .user = s};

   SINTER_TRY(read_numerics(s, &po.numerics));
   SINTER_TRY(pass_run_all(f, &po, &report));
   if (wants_layout(s))
      SINTER_TRY(pass_finish(f, &po, &report, &layout));
   for (size_t i = 0; i < report.notes.count; i++)
      fprintf(stderr, "note: %s\n", report.notes.data[i]);
   if (s->o.sites) {
      print_sites(&report);
      return SINTER_ok;
   }
   if (s->o.json) {
      pass_explain(&out, f, &target, &report, wants_layout(s) ? &layout : NULL);
   } else {
      ir_print(&out, f);
      if (wants_layout(s))
         pass_print_layout(&out, f, &layout);
   }
   fputs(out.data, stdout);
   return SINTER_ok;
}

static sinter_status run_func(session *s, ir_func *f, const char *path)
{
   text_buf violations = {.a = s->a};

   if (!ir_validate(f, &violations))
      return base_fail(SINTER_bad_input, path, "Correct the function.", "@%s is invalid:\n%s",
                       f->name, violations.data);
   if (s->o.eval)
      return opt_eval(s->a, f, &s->o);
   if (s->o.passes)
      return run_passes(s, f);
   print_func(stdout, f);
   return SINTER_ok;
}

static sinter_status check_file(session *s, const char *path, const char *text, size_t len)
{
   text_buf report = {.a = s->a};
   pass_golden result;

   SINTER_TRY(pass_golden_run(s->a, text, len, path, &report, &result));
   printf("%s: %u cases, %u failed, %u not executed\n", path, result.cases, result.failed,
          result.skipped);
   if (!result.failed)
      return SINTER_ok;
   fputs(report.data, stderr);
   return base_fail(SINTER_failed, path, "", "%u of %u cases failed", result.failed, result.cases);
}

static sinter_status run_file(session *s, const char *path)
{
   ir_module m = {0};
   const char *text;
   size_t len;

   SINTER_TRY(opt_read(s->a, path, &text, &len));
   if (s->o.check)
      return check_file(s, path, text, len);
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

   if (s->o.list) {
      list_passes();
      return SINTER_ok;
   }
   if (!s->o.files.count)
      return base_fail(SINTER_usage, "", "sinter-opt --help shows how.",
                       "there is no file to read");
   SINTER_TRY(select_phases(s));
   for (uint32_t i = 0; i < s->o.files.count; i++) {
      sinter_status status = run_file(s, s->o.files.item[i]);

      if (!s->o.check)
         SINTER_TRY(status);
      worst = status ? status : worst; /* --check goes on to the next file */
   }
   return worst;
}

int main(int argc, char **argv)
{
   session s = {0};
   sinter_status status = opt_parse(argc, argv, &s.o);

   if (status == SINTER_ok && s.o.help) {
      opt_help();
      return 0;
   }
   if (status == SINTER_ok)
      status = arena_create(&s.a);
   if (status == SINTER_ok)
      status = arena_catch(body, &s);
   if (status != SINTER_ok)
      fprintf(stderr, "sinter-opt: %s\n", sinter_error());
   arena_destroy(s.a);
   return sinter_status_exit_code(status);
}
