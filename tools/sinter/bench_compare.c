/* bench_compare.c - two sets of kept runs side by side: what changed beyond noise.
 *
 * Noise is judged by the repetitions. A test counts as changed when
 *    a two-sided Mann-Whitney test (exact) of its tokens/s gives p < 0.05, which takes at least four
 *    repetitions on each side, and
 *    the medians are at least 1 % apart, and
 *    they still are, in the same direction, as shares of the machine's limit measured in each run
 *    (read bandwidth for decode, integer peak for prefill); else the machine changed, not the program. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

enum { MAX_RUNS = 64, MAX_TESTS = 16, MAX_ROWS = 128, LEAST = 4 };

#define ALPHA 0.05
#define LEAST_CHANGE 0.01

typedef struct side {
   const char *name; /* as asked for */
   bool single;      /* one run, by number or age; else all runs of a commit */
   int num_runs;
   history_run runs[MAX_RUNS];
} side;

typedef struct row {
   const history_run *run; /* of the first side that has it */
   char test[64];
   size_t count[2];
   double samples[2][HISTORY_SAMPLES], limit[2];
} row;

/* ---- the statistic ---- */

/* Probability that U of n and m values without ties is at most `most`: f counts the orders of the
 * first i and j values by their U, f(i, j, u) = f(i-1, j, u-j) + f(i, j-1, u). */
static double at_most(size_t n, size_t m, size_t most)
{
   size_t span = n * m + 1;
   double *f = calloc((m + 1) * span, sizeof *f), low = 0, all = 0;

   if (!f)
      return 1;
   for (size_t j = 0; j <= m; j++)
      f[j * span] = 1;
   for (size_t i = 1; i <= n; i++)
      for (size_t j = 1; j <= m; j++)
         for (size_t u = span; u-- > 0;)
            f[j * span + u] = (u >= j ? f[j * span + u - j] : 0) + f[(j - 1) * span + u];
   for (size_t u = 0; u < span; u++) {
      all += f[m * span + u];
      low += u <= most ? f[m * span + u] : 0;
   }
   free(f);
   return low / all;
}

static double mann_whitney(const double *a, size_t n, const double *b, size_t m)
{
   double u = 0;

   for (size_t i = 0; i < n; i++)
      for (size_t j = 0; j < m; j++)
         u += a[i] > b[j] ? 1 : a[i] == b[j] ? 0.5 : 0;
   u = fmin(u, (double)(n * m) - u);
   return fmin(1, 2 * at_most(n, m, (size_t)ceil(u)));
}

static int by_value(const void *a, const void *b)
{
   double x = *(const double *)a, y = *(const double *)b;

   return (x > y) - (x < y);
}

static double median(const double *v, size_t n)
{
   double sorted[HISTORY_SAMPLES];

   memcpy(sorted, v, n * sizeof *v);
   qsort(sorted, n, sizeof *sorted, by_value);
   return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* ---- which runs ---- */

#define SAME_KIND                                                                                  \
   " AND EXISTS (SELECT 1 FROM runs n WHERE n.id = (SELECT max(id) FROM runs)"                     \
   " AND n.source = runs.source AND n.machine = runs.machine AND n.options = runs.options"         \
   " AND n.threads = runs.threads)"

static bool all_of(const char *s, const char *set)
{
   return s[0] && s[strspn(s, set)] == 0;
}

/* 0, or an exit code after saying what is wrong. */
static int find_side(history *h, const char *name, side *out)
{
   const char *where = NULL;
   size_t len = strlen(name);

   *out = (side){.name = name, .single = true};
   if (strcmp(name, "last") == 0)
      where = "?1 = ?1";
   else if (strcmp(name, "prev") == 0)
      where = "?1 = ?1 AND id < (SELECT max(id) FROM runs)" SAME_KIND;
   else if (len < 8 && all_of(name, "0123456789"))
      where = "id = CAST(?1 AS INTEGER)";
   else if (len >= 4 && all_of(name, "0123456789abcdef")) {
      where =
         "substr(commit_id, 1, length(?1)) = ?1 OR substr(?1, 1, length(commit_id)) = commit_id";
      out->single = false;
   } else {
      return cli_usage_error("'%s' is no run: give its number, a commit, last or prev", name);
   }
   out->num_runs = history_runs(h, where, name, NULL, out->runs, out->single ? 1 : MAX_RUNS);
   if (out->num_runs < 0)
      return 1;
   if (out->num_runs == 0) {
      fprintf(stderr,
              "error: no run '%s' is kept\n  bench history\n  try: sinter bench --history\n", name);
      return 1;
   }
   return 0;
}

static bool same_kind(const history_run *a, const history_run *b)
{
   return strcmp(a->source, b->source) == 0 && strcmp(a->machine, b->machine) == 0 &&
          strcmp(a->options, b->options) == 0 && a->threads == b->threads;
}

/* The limit that a test meets first. Which of its operations are of bytes is not kept: both integer
 * peaks of a machine move together. */
static double limit_of(const history_run *run, const history_test *t)
{
   bool integers = t->ops * run->read_bytes_s > t->bytes * run->int8_ops_s;

   return integers ? run->int8_ops_s : run->read_bytes_s;
}

/* Two single runs are compared test by test, whatever else differs; runs of commits only with runs
 * of the same model, machine, options and threads. Samples of equal runs of a side are joined. */
static row *row_of(row *rows, int *num_rows, const history_run *run, const char *test, bool loose)
{
   for (int i = 0; i < *num_rows; i++)
      if (strcmp(rows[i].test, test) == 0 && (loose || same_kind(rows[i].run, run)))
         return &rows[i];
   if (*num_rows == MAX_ROWS)
      return NULL;
   row *r = &rows[(*num_rows)++];
   *r = (row){.run = run};
   snprintf(r->test, sizeof r->test, "%s", test);
   return r;
}

static bool gather(history *h, const side *s, int which, bool loose, row *rows, int *num_rows)
{
   for (int i = 0; i < s->num_runs; i++) {
      history_test tests[MAX_TESTS];
      int n = history_tests(h, s->runs[i].id, tests, MAX_TESTS);
      if (n < 0)
         return false;
      for (int t = 0; t < n; t++) {
         row *r = row_of(rows, num_rows, &s->runs[i], tests[t].name, loose);
         if (!r)
            return true;
         if (r->count[which] == 0)
            r->limit[which] = limit_of(&s->runs[i], &tests[t]);
         for (size_t k = 0; k < tests[t].num_samples && r->count[which] < HISTORY_SAMPLES; k++)
            r->samples[which][r->count[which]++] = tests[t].samples[k];
      }
   }
   return true;
}

/* ---- what is said ---- */

static const char *verdict(const row *r, double p, double change, double share_change)
{
   if (r->count[0] < LEAST || r->count[1] < LEAST)
      return "too few repetitions";
   if (p >= ALPHA || fabs(change) < LEAST_CHANGE)
      return "same";
   if (change * share_change <= 0 || fabs(share_change) < LEAST_CHANGE)
      return "as the machine";
   return change > 0 ? "faster" : "slower";
}

static void print_row(const options *o, const row *r, bool first)
{
   double a = median(r->samples[0], r->count[0]), b = median(r->samples[1], r->count[1]),
          change = b / a - 1, machine = r->limit[1] / r->limit[0] - 1,
          p = mann_whitney(r->samples[0], r->count[0], r->samples[1], r->count[1]);
   const char *said = verdict(r, p, change, (1 + change) / (1 + machine) - 1);

   if (o->json) {
      buffer out = {0};
      buffer_printf(&out, "%s{\"model\":", first ? "" : ",");
      buffer_json_string(&out, r->run->model, strlen(r->run->model));
      buffer_printf(&out,
                    ",\"test\":\"%s\",\"a_tok_s\":%.3f,\"b_tok_s\":%.3f,\"change_pct\":%.2f,"
                    "\"machine_pct\":%.2f,\"p\":%.5f,\"verdict\":\"%s\"}",
                    r->test, a, b, 100 * change, 100 * machine, p, said);
      fwrite(out.data, 1, out.len, stdout);
      buffer_free(&out);
   } else {
      printf("%-24.24s %-14s %10.1f %10.1f %+7.1f %% %+7.1f %% %8.4f  %s\n", r->run->model, r->test,
             a, b, 100 * change, 100 * machine, p, said);
   }
}

static void print_side(const side *s)
{
   for (int i = 0; i < s->num_runs; i++) {
      const history_run *r = &s->runs[i];
      printf("%-8s run %lld of %s, commit %s, %lld threads%s%s\n", i ? "" : s->name,
             (long long)r->id, r->at, r->commit, (long long)r->threads, r->options[0] ? ", " : "",
             r->options);
   }
}

static int compare(history *h, const options *o, side *sides, row *rows)
{
   int num_rows = 0, shown = 0, code = 0;
   bool loose;

   for (int i = 0; code == 0 && i < 2; i++)
      code = find_side(h, o->args[i], &sides[i]);
   if (code)
      return code;
   loose = sides[0].single && sides[1].single;
   for (int i = 0; i < 2; i++)
      if (!gather(h, &sides[i], i, loose, rows, &num_rows))
         return 1;
   if (o->json) {
      printf("{\"changes\":[");
   } else {
      print_side(&sides[0]);
      print_side(&sides[1]);
      printf("\n%-24s %-14s %10s %10s %9s %9s %8s\n", "model", "test", "A tokens/s", "B tokens/s",
             "change", "machine", "p");
   }
   for (int i = 0; i < num_rows; i++)
      if (rows[i].count[0] && rows[i].count[1])
         print_row(o, &rows[i], shown++ == 0);
   if (o->json)
      puts("]}");
   if (shown)
      return 0;
   fprintf(stderr,
           "error: '%s' and '%s' have no test in common\n  bench history\n  try: sinter bench "
           "--history\n",
           o->args[0], o->args[1]);
   return 1;
}

int bench_compare(const options *o)
{
   history *h = history_open();
   side *sides = calloc(2, sizeof *sides);
   row *rows = calloc(MAX_ROWS, sizeof *rows);
   int code = h && sides && rows ? compare(h, o, sides, rows) : 1;

   free(rows);
   free(sides);
   history_close(h);
   return code;
}

/* ---- the list ---- */

static void list_run(history *h, const options *o, const history_run *r, bool first)
{
   history_test tests[MAX_TESTS];
   int n = history_tests(h, r->id, tests, MAX_TESTS);
   buffer out = {0};

   if (o->json) {
      const struct {
         const char *name, *text;
      } texts[] = {{"at", r->at},          {"commit", r->commit},     {"model", r->model},
                   {"source", r->source},  {"artifact", r->artifact}, {"machine", r->machine},
                   {"options", r->options}};
      buffer_printf(&out, "%s{\"run\":%lld,\"threads\":%lld", first ? "" : ",", (long long)r->id,
                    (long long)r->threads);
      for (size_t i = 0; i < countof(texts); i++) {
         buffer_printf(&out, ",\"%s\":", texts[i].name);
         buffer_json_string(&out, texts[i].text, strlen(texts[i].text));
      }
      buffer_printf(&out, ",\"tests\":{");
      for (int i = 0; i < n; i++)
         buffer_printf(&out, "%s\"%s\":%.3f", i ? "," : "", tests[i].name, tests[i].tok_s);
      buffer_printf(&out, "}}");
   } else {
      buffer_printf(&out, "%5lld  %s  %-12.12s  %-24.24s %2lld threads  ", (long long)r->id, r->at,
                    r->commit, r->model, (long long)r->threads);
      for (int i = 0; i < n; i++)
         buffer_printf(&out, "%s %.1f  ", tests[i].name, tests[i].tok_s);
      buffer_printf(&out, "%s\n", r->options);
   }
   fwrite(out.data, 1, out.len, stdout);
   buffer_free(&out);
}

int bench_history(const options *o)
{
   history *h = history_open();
   history_run *runs = calloc(MAX_RUNS, sizeof *runs);
   int n = h && runs ? history_runs(h, "1", NULL, NULL, runs, MAX_RUNS) : -1;

   if (o->json && n >= 0)
      printf("{\"runs\":[");
   for (int i = 0; i < n; i++)
      list_run(h, o, &runs[i], i == 0);
   if (o->json && n >= 0)
      puts("]}");
   free(runs);
   history_close(h);
   return n < 0;
}
