/* golden.c - reads golden files, runs their cases, matches what comes out. */
#include "golden.h"

#include "exec.h"
#include "golden_parts.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#define DIRECTIVES(DIRECTIVE)                                                                      \
   DIRECTIVE(RUN, "RUN")                                                                           \
   DIRECTIVE(CHECK, "CHECK")                                                                       \
   DIRECTIVE(NEXT, "CHECK-NEXT")                                                                   \
   DIRECTIVE(NOT, "CHECK-NOT")                                                                     \
   DIRECTIVE(DECLINE, "DECLINE")                                                                   \
   DIRECTIVE(ROUNDING, "ROUNDING")                                                                 \
   DIRECTIVE(NOTE, "NOTE")                                                                         \
   DIRECTIVE(SKIP, "SKIP-EXEC")

typedef enum directive_kind {
#define DIRECTIVE(name, text) DIR_##name,
   DIRECTIVES(DIRECTIVE)
#undef DIRECTIVE
      DIR_COUNT
} directive_kind;

static const char *const directive_names[DIR_COUNT] = {
#define DIRECTIVE(name, text) text,
   DIRECTIVES(DIRECTIVE)
#undef DIRECTIVE
};

typedef struct directive {
   directive_kind kind;
   const char *text;
} directive;

typedef VEC(directive) directives;

typedef struct binding {
   const char *name, *value; /* value escaped */
} binding;

typedef struct golden {
   arena *a;
   const char *where;
   text_buf *report;
   pass_golden *out;
   const char *text; /* of the case */
   size_t len;
   directives dirs;
   pass_target target;
   pass_options options;
   pass_report passes;
   VEC(char *) lines; /* of the printed result */
   VEC(binding) bindings;
   text_buf *update;      /* NULL: only check */
   bool failed, outdated; /* outdated: a CHECK does not hold, and that is being updated */
} golden;

static void complain(golden *g, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void complain(golden *g, const char *fmt, ...)
{
   char text[1024];
   va_list args;

   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   text_printf(g->report, "%s: case %u: %s\n", g->where, g->out->cases, text);
   g->failed = true;
}

static void complain_if(golden *g, const char *why)
{
   if (why)
      complain(g, "%s", why);
}

/* ---- directives ---- */

/* A comment that starts with capitals and a colon is a directive. */
static bool looks_like_directive(const char *s, size_t len, size_t *out_name)
{
   size_t n = 0;

   while (n < len && (isupper((unsigned char)s[n]) || s[n] == '-'))
      n++;
   *out_name = n;
   return n >= 3 && n < len && s[n] == ':';
}

static void read_line(golden *g, const char *line, size_t len)
{
   size_t name;

   if (len < 3 || memcmp(line, "// ", 3) != 0)
      return;
   line += 3;
   len -= 3;
   if (!looks_like_directive(line, len, &name))
      return;
   for (int k = 0; k < DIR_COUNT; k++) {
      if (strlen(directive_names[k]) != name || memcmp(directive_names[k], line, name) != 0)
         continue;
      const char *text = line + name + 1;

      while (*text == ' ')
         text++;
      *vec_push(g->a, &g->dirs) =
         (directive){(directive_kind)k, arena_strndup(g->a, text, (size_t)(line + len - text))};
      return;
   }
   complain(g, "there is no directive %.*s", (int)name, line);
}

static void read_directives(golden *g)
{
   const char *end = g->text + g->len;

   for (const char *line = g->text; line < end;) {
      const char *stop = memchr(line, '\n', (size_t)(end - line));

      stop = stop ? stop : end;
      read_line(g, line, (size_t)(stop - line));
      line = stop + 1;
   }
}

static const char *find_directive(const golden *g, directive_kind kind)
{
   for (size_t i = 0; i < g->dirs.count; i++)
      if (g->dirs.data[i].kind == kind)
         return g->dirs.data[i].text;
   return NULL;
}

/* ---- RUN ---- */

static void read_run(golden *g)
{
   const char *text = find_directive(g, DIR_RUN);
   char *save = NULL;

   g->target = pass_target_cpu("golden");
   g->options = (pass_options){.target = &g->target};
   if (!text) {
      complain(g, "has no RUN");
      return;
   }
   char *copy = arena_strdup(g->a, text), *word = strtok_r(copy, " ", &save);

   if (word && strcmp(word, "all") != 0)
      g->options.only = word;
   while (word && (word = strtok_r(NULL, " ", &save))) {
      char *value = strchr(word, '=');

      if (value)
         *value++ = '\0';
      if (!strcmp(word, "exact"))
         g->options.numerics = SINTER_NUMERICS_exact;
      else
         complain_if(g,
                     pass_golden_option(g->a, word, value ? value : "", &g->target, &g->options));
   }
}

static bool wants_layout(const golden *g)
{
   if (!g->options.only)
      return true;
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase == PASS_FINISH && strstr(g->options.only, pass_infos[id].name))
         return true;
   return false;
}

/* ---- patterns ---- */

static void escape(text_buf *out, const char *s, size_t len)
{
   for (size_t i = 0; i < len; i++)
      text_printf(out, strchr("\\^$.|?*+()[]{}", s[i]) ? "\\%c" : "%c", s[i]);
}

typedef struct compiled {
   text_buf regex;
   int groups;
   VEC(struct new_name {
      const char *name;
      int group;
   })
   names;
} compiled;

/* {{regex}}: its own parentheses count as groups. */
static const char *add_regex(compiled *c, const char *p)
{
   const char *end = strstr(p, "}}");

   if (!end)
      end = p + strlen(p);
   text_printf(&c->regex, "(%.*s)", (int)(end - p), p);
   c->groups++;
   for (const char *q = p; q < end; q++)
      c->groups += *q == '(' && (q == p || q[-1] != '\\');
   return *end ? end + 2 : end;
}

static const char *add_name(golden *g, compiled *c, const char *p)
{
   size_t len = 0;

   while (isalnum((unsigned char)p[len]) || p[len] == '_')
      len++;
   for (size_t i = 0; i < g->bindings.count; i++)
      if (strlen(g->bindings.data[i].name) == len && !memcmp(g->bindings.data[i].name, p, len)) {
         text_printf(&c->regex, "%s", g->bindings.data[i].value);
         return p + len;
      }
   text_printf(&c->regex, "(%%[A-Za-z0-9_.]+)");
   *vec_push(g->a, &c->names) = (struct new_name){arena_strndup(g->a, p, len), ++c->groups};
   return p + len;
}

static void compile(golden *g, compiled *c, const char *p)
{
   c->regex.a = g->a;
   text_printf(&c->regex, "%s", "");
   while (*p) {
      if (p[0] == '{' && p[1] == '{')
         p = add_regex(c, p + 2);
      else if (p[0] == '$' && (isalpha((unsigned char)p[1]) || p[1] == '_'))
         p = add_name(g, c, p + 1);
      else if (isspace((unsigned char)*p)) {
         p += strspn(p, " \t");
         text_printf(&c->regex, "[ \t]+");
      } else
         escape(&c->regex, p++, 1);
   }
}

/* Whether a line matches; new names are bound only when `bind`. */
static bool matches(golden *g, const char *pattern, const char *line, bool bind)
{
   regmatch_t at[32];
   compiled c = {0};
   regex_t re;

   compile(g, &c, pattern);
   if (regcomp(&re, c.regex.data, REG_EXTENDED)) {
      complain(g, "the pattern is not a regular expression: %s", pattern);
      return false;
   }
   bool found = regexec(&re, line, countof(at), at, 0) == 0;

   regfree(&re);
   for (size_t i = 0; found && bind && i < c.names.count; i++) {
      regmatch_t m = at[MIN(c.names.data[i].group, 31)];
      text_buf value = {.a = g->a};

      escape(&value, line + m.rm_so, (size_t)(m.rm_eo - m.rm_so));
      *vec_push(g->a, &g->bindings) = (binding){c.names.data[i].name, value.data};
   }
   return found;
}

/* ---- checks ---- */

static void split_lines(golden *g, char *text)
{
   char *save = NULL;

   for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
      *vec_push(g->a, &g->lines) = line;
}

static void check_absent(golden *g, size_t from, size_t to, size_t first, size_t last)
{
   for (size_t d = first; d < last; d++)
      for (size_t i = from; g->dirs.data[d].kind == DIR_NOT && i < to; i++)
         if (matches(g, g->dirs.data[d].text, g->lines.data[i], false))
            complain(g, "CHECK-NOT: %s\n  found: %s", g->dirs.data[d].text, g->lines.data[i]);
}

/* CHECK-NOTs between two CHECKs look at the lines between what these matched. */
static void check_lines(golden *g)
{
   size_t at = 0, since = 0;

   for (size_t d = 0; d < g->dirs.count; d++) {
      const directive *dir = &g->dirs.data[d];
      size_t i = at;

      if (dir->kind != DIR_CHECK && dir->kind != DIR_NEXT)
         continue;
      size_t stop = dir->kind == DIR_NEXT ? MIN(at + 1, g->lines.count) : g->lines.count;

      /* An empty CHECK asks for --update: it holds nowhere. */
      while (i < stop && (!*dir->text || !matches(g, dir->text, g->lines.data[i], true)))
         i++;
      if (i == stop && g->update) {
         g->outdated = true;
         return;
      }
      if (i == stop) {
         complain(g, "%s: %s\n  not found%s%s", directive_names[dir->kind], dir->text,
                  stop > at && dir->kind == DIR_NEXT ? "; the line is: " : "",
                  stop > at && dir->kind == DIR_NEXT ? g->lines.data[at] : "");
         return;
      }
      check_absent(g, at, i, since, d);
      at = i + 1;
      since = d + 1;
   }
   check_absent(g, at, g->lines.count, since, g->dirs.count);
}

static bool has_decline(const golden *g, const char *text)
{
   for (pass_id id = 0; id < pass_count(); id++) {
      const pass_entry *e = &g->passes.entry[id];

      for (size_t i = 0; i < e->sites.count; i++)
         if (e->sites.data[i]->verdict == PASS_DECLINED && strstr(e->sites.data[i]->reason, text))
            return true;
   }
   return false;
}

static bool has_note(const golden *g, const char *text)
{
   for (size_t i = 0; i < g->passes.notes.count; i++)
      if (strstr(g->passes.notes.data[i], text))
         return true;
   return false;
}

static pass_rounding worst_rounding(const pass_report *r)
{
   pass_rounding worst = PASS_EXACT;

   for (pass_id id = 0; id < pass_count(); id++)
      worst = MAX(worst, r->entry[id].rounding);
   return worst;
}

static void check_report(golden *g)
{
   const char *rounding = pass_rounding_name(worst_rounding(&g->passes));
   size_t expectations = 0;

   for (size_t i = 0; i < g->dirs.count; i++) {
      const directive *d = &g->dirs.data[i];

      expectations += d->kind != DIR_RUN && d->kind != DIR_SKIP;
      g->out->declines += d->kind == DIR_DECLINE;
      if (d->kind == DIR_DECLINE && !has_decline(g, d->text))
         complain(g, "no site was declined with: %s", d->text);
      if (d->kind == DIR_NOTE && !has_note(g, d->text))
         complain(g, "no note says: %s", d->text);
      if (d->kind == DIR_ROUNDING && strcmp(d->text, rounding) != 0)
         complain(g, "the rounding is %s, not %s", rounding, d->text);
   }
   if (!expectations)
      complain(g, "expects nothing");
}

/* ---- cases ---- */

static uint32_t count_fired(const pass_report *r)
{
   uint32_t n = 0;

   for (pass_id id = 0; id < pass_count(); id++)
      n += r->entry[id].fired;
   return n;
}

/* Runs the passes on a variant; another eps must not change what fires. */
static sinter_status execute_variant(golden *g, const ir_func *before, pass_variant v)
{
   ir_func *f = pass_golden_variant(g->a, before, v);
   pass_report *report = arena_new(g->a, pass_report);
   text_buf why = {.a = g->a};
   bool same = true;

   if (!f)
      return SINTER_ok;
   const ir_func *was = ir_func_clone(g->a, f);
   SINTER_TRY_IN(pass_variant_names[v], pass_run_all(f, &g->options, report));
   g->out->variants++;
   if (v == PASS_VARIANT_eps && count_fired(report) != count_fired(&g->passes))
      complain(g, "with another eps %u sites fire, not %u", count_fired(report),
               count_fired(&g->passes));
   SINTER_TRY_IN(pass_variant_names[v],
                 pass_exec_compare(g->a, was, f, worst_rounding(report), &why, &same));
   if (!same)
      complain(g, "with %s: %s", pass_variant_names[v], why.data);
   return SINTER_ok;
}

static sinter_status execute(golden *g, const ir_func *before, const ir_func *after)
{
   text_buf why = {.a = g->a};
   bool same = true;

   if (find_directive(g, DIR_SKIP)) {
      g->out->skipped++;
      return SINTER_ok;
   }
   SINTER_TRY(pass_exec_compare(g->a, before, after, worst_rounding(&g->passes), &why, &same));
   if (!same) {
      complain(g, "%s", why.data);
      return SINTER_ok;
   }
   SINTER_TRY(pass_exec_agreement(g->a, before, after, &g->out->experts));
   for (pass_variant v = 0; v < PASS_VARIANT_COUNT; v++)
      SINTER_TRY(execute_variant(g, before, v));
   return SINTER_ok;
}

static sinter_status run_passes(golden *g, ir_func *f, text_buf *printed)
{
   pass_layout layout;

   SINTER_TRY(pass_run_all(f, &g->options, &g->passes));
   if (wants_layout(g))
      SINTER_TRY(pass_finish(f, &g->options, &g->passes, &layout));
   ir_print(printed, f);
   if (wants_layout(g))
      pass_print_layout(printed, f, &layout);
   return SINTER_ok;
}

static sinter_status run_case(golden *g, text_buf *printed)
{
   text_buf violations = {.a = g->a};
   ir_module m = {0};

   read_directives(g);
   read_run(g);
   SINTER_TRY(ir_parse(g->a, g->text, g->len, g->where, &m));
   if (m.funcs.count != 1) {
      complain(g, "holds %zu functions, not one", m.funcs.count);
      return SINTER_ok;
   }
   ir_func *f = m.funcs.data[0], *before = ir_func_clone(g->a, f);

   if (!ir_validate(f, &violations)) {
      complain(g, "is invalid: %s", violations.data);
      return SINTER_ok;
   }
   SINTER_TRY(run_passes(g, f, printed));
   split_lines(g, arena_strdup(g->a, printed->data));
   check_lines(g);
   check_report(g);
   SINTER_TRY(execute(g, before, f));
   if (g->failed)
      text_printf(g->report, "%s\n", printed->data);
   return SINTER_ok;
}

/* Only what was executed and is right may become the expectation. */
static void finish_case(golden *g, const text_buf *printed)
{
   if (!g->update)
      return;
   if (g->outdated && !g->failed) {
      pass_golden_rewrite(g->update, g->text, g->len, printed->data);
      g->out->updated++;
      return;
   }
   if (g->outdated)
      complain(g, "is not updated: it fails for another reason than its CHECK lines");
   text_append(g->update, g->text, g->len);
}

/* End of the case that starts at `from`: a line of "// -----", or the end of the text. */
static const char *case_end(const char *from, const char *end)
{
   for (const char *line = from; line < end;) {
      const char *stop = memchr(line, '\n', (size_t)(end - line));

      stop = stop ? stop : end;
      if (stop - line >= 8 && !memcmp(line, "// -----", 8))
         return line;
      line = stop + 1;
   }
   return end;
}

static sinter_status run_text(arena *a, const char *text, size_t len, const char *where,
                              text_buf *report, text_buf *update, pass_golden *out)
{
   const char *end = text + len;

   *out = (pass_golden){0};
   while (text < end) {
      const char *stop = case_end(text, end), *next;
      golden *g = arena_new(a, golden);
      text_buf printed = {.a = a};

      *g = (golden){.a = a, .where = where, .report = report, .out = out, .text = text};
      g->len = (size_t)(stop - text);
      g->update = update;
      out->cases++;
      if (run_case(g, &printed) != SINTER_ok)
         complain(g, "%s", sinter_error());
      finish_case(g, &printed);
      out->failed += g->failed;
      next = stop < end ? stop + strcspn(stop, "\n") + 1 : end;
      next = MIN(next, end);
      if (update)
         text_append(update, stop, (size_t)(next - stop));
      text = next;
   }
   if (!out->cases)
      return base_fail(SINTER_bad_input, where, "", "there are no cases in it");
   return SINTER_ok;
}

sinter_status pass_golden_run(arena *a, const char *text, size_t len, const char *where,
                              text_buf *report, pass_golden *out)
{
   return run_text(a, text, len, where, report, NULL, out);
}

sinter_status pass_golden_update(arena *a, const char *text, size_t len, const char *where,
                                 text_buf *report, text_buf *out_text, pass_golden *out)
{
   return run_text(a, text, len, where, report, out_text, out);
}
