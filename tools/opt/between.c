/* between.c - --between: nothing may be wrong even for a moment.
 *
 * After every rewrite the function must be valid, print and parse to itself, and mean what it meant
 * before that rewrite, by the class of what the rewrite did to the types. The first rewrite that
 * breaks this is named, with the first value it spoils. A rewrite that only puts ops into a kernel
 * leaves what the interpreter runs as it is, which takes minutes with a model of usual size: the
 * ops are compared then. */
#include "opt.h"

#include "passes/exec.h"
#include "passes/run.h"

#include <stdio.h>
#include <stdlib.h>

/* Between rewrites; the whole is judged with all probes at the end. */
enum { PROBES = 1u << PASS_PROBE_normal | 1u << PASS_PROBE_tiny };

typedef struct watch {
   arena *a;
   const ir_func *start; /* ids as in the function that is changed */
   const ir_func *last;  /* after the rewrite before */
   pass_types start_types, last_types;
   uint32_t rewrites;
   sinter_status status; /* of the interpreter */
   bool failed;
   const pass_site *site;
   const char *why;
   pass_spot spot;
} watch;

static bool round_trips(arena *a, const ir_func *f, const char **out_why)
{
   text_buf once = {.a = a}, twice = {.a = a};
   ir_module m = {0};

   ir_print(&once, f);
   if (ir_parse(a, once.data, once.len, f->name, &m) != SINTER_ok) {
      *out_why = arena_printf(a, "its text does not parse: %s", sinter_error());
      return false;
   }
   ir_print(&twice, m.funcs.data[0]);
   *out_why = "its text parses to another function";
   return once.len == twice.len && !memcmp(once.data, twice.data, once.len);
}

static int by_text(const void *x, const void *y)
{
   return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* The lines of f's text but those of kernels, sorted: what the interpreter runs, since values have
 * names (main.c), and what may stand where is the validator's to say. */
static const char *ops_of(arena *a, const ir_func *f)
{
   VEC(const char *) lines = {0};
   text_buf all = {.a = a}, out = {.a = a};

   ir_print(&all, f);
   for (const char *line = all.data, *next; *line; line = next) {
      const char *start = line + strspn(line, " ");
      size_t len = strcspn(start, "\n");

      next = start + len + (start[len] == '\n');
      if (strncmp(start, "kernel ", 7) != 0 && *start != '}')
         *vec_push(a, &lines) = arena_strndup(a, start, len);
   }
   qsort(lines.data, lines.count, sizeof *lines.data, by_text);
   for (size_t i = 0; i < lines.count; i++)
      text_printf(&out, "%s\n", lines.data[i]);
   return out.data;
}

/* What is wrong with f after a rewrite, NULL nothing. */
static sinter_status examine(watch *w, arena *a, const ir_func *f, const char **out_why)
{
   text_buf why = {.a = a};
   pass_rounding since = pass_rounding_since(f, &w->last_types);
   bool same = true;

   *out_why = NULL;
   if (!ir_validate(f, &why)) {
      *out_why = why.data;
      return SINTER_ok;
   }
   if (!round_trips(a, f, out_why))
      return SINTER_ok;
   *out_why = NULL;
   if (!strcmp(ops_of(a, w->last), ops_of(a, f)))
      return SINTER_ok;
   SINTER_TRY(pass_exec_probe(a, w->last, f, since, PROBES, &why, &same));
   if (same)
      return SINTER_ok;
   *out_why = why.data;
   return pass_exec_first(a, w->start, f, pass_rounding_since(f, &w->start_types), &w->spot);
}

static void see(void *user, const pass_site *site, const ir_func *f)
{
   watch *w = user;
   arena *a;

   if (w->failed || w->status)
      return;
   w->status = arena_create(&a);
   if (w->status)
      return;
   w->rewrites++;
   const char *why = NULL;

   w->status = examine(w, a, f, &why);
   w->failed = why;
   if (why) {
      w->site = site;
      w->why = arena_strdup(w->a, why);
      if (w->spot.found)
         w->spot.value = arena_strdup(w->a, w->spot.value);
   }
   arena_destroy(a);
   if (w->failed)
      return; /* an invalid function may not be one that can be cloned */
   w->last = ir_func_clone(w->a, f);
   w->last_types = pass_types_of(w->a, f);
}

static sinter_status report(const watch *w, const ir_func *f)
{
   text_buf t = {.a = w->a};
   const pass_spot *s = &w->spot;

   if (!w->failed) {
      printf("@%s: %u rewrites, each valid, round-trip, and in contract\n", f->name, w->rewrites);
      return SINTER_ok;
   }
   text_printf(&t, "%s:%u, rule %u, at %s: %s", pass_infos[w->site->pass].name, w->site->number,
               w->site->rule, w->site->at, w->why);
   if (s->found) {
      text_printf(&t, "first value: %s[", s->value);
      for (uint32_t i = 0; i < s->rank; i++)
         text_printf(&t, "%s%lld", i ? "," : "", (long long)s->index[i]);
      text_printf(&t, "]: %s (%s)", pass_numbers(f->a, s->got, ", not ", s->want), s->what);
   }
   return base_fail(SINTER_failed, f->name, "Correct the rule, or leave the site out with --skip.",
                    "the first wrong rewrite is %s", t.data);
}

sinter_status opt_between(arena *a, const ir_func *source, const opt_options *o)
{
   watch *w = arena_new(a, watch);
   ir_func *f = ir_func_clone(a, source);
   pass_report *r = arena_new(a, pass_report);
   pass_target target;
   pass_options po;

   SINTER_TRY(opt_setup(a, o, &target, &po));
   *w = (watch){.a = a, .start = ir_func_clone(a, f), .last = ir_func_clone(a, f)};
   w->start_types = w->last_types = pass_types_of(a, f);
   po.site_hook = see;
   po.user = w;
   sinter_status status = pass_run_all(f, &po, r);

   if (!w->failed && !w->status)
      SINTER_TRY(status);
   SINTER_TRY(w->status);
   return report(w, f);
}
