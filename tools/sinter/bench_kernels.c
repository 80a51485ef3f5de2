/* bench_kernels.c - every kernel of a step timed alone, equal ones together.
 *
 *    launches of the engine ─ by kernel group ─ by equal groups ─▶ a row: how many, time of each,
 *    share of the roof that its bytes and operations allow, and what the cost model expected
 *
 * The fastest run of a launch counts: other programs can only add to it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "tree.h"

enum { STEP_ROWS = 512, DECODE_STEPS = 16 };

/* One kernel group, or all that are like it. */
typedef struct row {
   const sinter_launch_time *first;
   uint32_t launches, count;
   double seconds, bytes, work; /* of all that it stands for */
   const tree *kernel;          /* of the explain document, NULL none */
} row;

typedef struct table {
   row *rows;
   size_t count;
   double seconds[2]; /* of decode steps, of prefill steps */
   int64_t batch;     /* rows of a decode step */
   tree *explain;
} table;

static bool is_prefill(const row *r)
{
   return strcmp(r->first->variant, "prefill") == 0;
}

static const tree *kernel_of(const tree *explain, const char *group)
{
   for (const tree *k = tree_first(tree_get(explain, "kernels")); k; k = k->next)
      if (strcmp(tree_string(tree_get(k, "name")), group) == 0)
         return k;
   return NULL;
}

static bool is_like(const row *a, const row *b)
{
   if (strcmp(a->first->variant, b->first->variant) != 0 || a->launches != b->launches)
      return false;
   for (uint32_t i = 0; i < a->launches; i++)
      if (strcmp(a->first[i].kernel, b->first[i].kernel) != 0 ||
          a->first[i].bytes != b->first[i].bytes || a->first[i].ops != b->first[i].ops)
         return false;
   return true;
}

static void add(table *t, const row *r)
{
   row *to = NULL;

   t->seconds[is_prefill(r)] += r->seconds;
   for (size_t i = 0; i < t->count && !to; i++)
      if (is_like(&t->rows[i], r))
         to = &t->rows[i];
   if (!to) {
      to = &t->rows[t->count++];
      *to = *r;
      to->kernel = kernel_of(t->explain, r->first->group);
      return;
   }
   to->count++;
   to->seconds += r->seconds;
   to->bytes += r->bytes;
   to->work += r->work;
}

static void collect(table *t, const sinter_launch_time *launches, uint32_t n)
{
   for (uint32_t i = 0, next; i < n; i = next) {
      row r = {.first = &launches[i], .count = 1};

      for (next = i; next < n && launches[next].variant == launches[i].variant &&
                     launches[next].group == launches[i].group;
           next++) {
         r.launches++;
         r.seconds += launches[next].best_seconds;
         r.bytes += (double)launches[next].bytes;
         r.work += (double)launches[next].ops;
      }
      if (launches[i].runs)
         add(t, &r);
   }
}

/* Seconds that bytes and operations need at least: by what was measured of this machine, for a GPU
 * by the figures of its data sheet that the compiler had. */
static double roof(const row *r, const limits *l)
{
   const char *light = is_prefill(r) ? "prefill_light_ns" : "decode_light_ns";

   if (l->bytes_s <= 0)
      return 1e-9 * r->count * atof(tree_string(tree_get(r->kernel, light)));
   return fmax(r->bytes / l->bytes_s, r->work / l->ops_s);
}

/* Microseconds by the cost model, or `none`: of decode steps it knows those of one row only. */
static const char *expected(const table *t, const row *r, const char *none, char out[32])
{
   if (!is_prefill(r) && t->batch > 1)
      return none;
   const char *ns = tree_string(tree_get(r->kernel, is_prefill(r) ? "prefill_ns" : "decode_ns"));
   snprintf(out, 32, "%.3f", atof(ns) / 1e3);
   return out;
}

static void name_ops(const row *r, buffer *out, const char *between)
{
   const char *comma = "";

   for (const tree *op = tree_first(tree_get(r->kernel, "ops")); op; op = op->next) {
      buffer_printf(out, "%s%s", comma, tree_string(op));
      comma = between;
   }
}

static long long rows_of(const table *t, const row *r)
{
   return is_prefill(r) ? STEP_ROWS : t->batch;
}

static void print_json(const table *t, const limits *l)
{
   printf("{\"threads\":%u,\"read_bytes_s\":%.0f,\"int8_ops_s\":%.0f,\"kernels\":[", l->threads,
          l->bytes_s, l->ops_s);
   for (size_t i = 0; i < t->count; i++) {
      const row *r = &t->rows[i];
      buffer ops = {0};
      char us[32];

      name_ops(r, &ops, "\",\"");
      printf("%s\n{\"step\":\"%s\",\"rows\":%lld,\"group\":\"%s\",\"rule\":\"%s\",\"ops\":[%s%s%s],"
             "\"kernel\":\"%s\",\"launches\":%u,\"count\":%u,\"us\":%.3f,\"bytes\":%.0f,"
             "\"work\":%.0f,\"roof_pct\":%.1f,\"expected_us\":%s}",
             i ? "," : "", r->first->variant, rows_of(t, r), r->first->group, r->first->rule,
             ops.data ? "\"" : "", ops.data ? ops.data : "", ops.data ? "\"" : "", r->first->kernel,
             r->launches, r->count, 1e6 * r->seconds / r->count, r->bytes / r->count,
             r->work / r->count, 100 * roof(r, l) / r->seconds, expected(t, r, "null", us));
      buffer_free(&ops);
   }
   printf("]}\n");
}

static void print_table(const table *t, const limits *l)
{
   printf("%-8s %-44s %6s %9s %8s %9s %8s %11s\n", "step", "kernel", "count", "us each", "of step",
          "KiB", "of roof", "expected us");
   for (size_t i = 0; i < t->count; i++) {
      const row *r = &t->rows[i];
      buffer name = {0};
      char us[32];

      if (r->first->rule[0])
         buffer_printf(&name, "%s: ", r->first->rule);
      name_ops(r, &name, " ");
      printf("%-8s %-44.44s %6u %9.2f %6.1f %% %9.1f %6.1f %% %11s\n", r->first->variant,
             name.data ? name.data : r->first->group, r->count, 1e6 * r->seconds / r->count,
             100 * r->seconds / t->seconds[is_prefill(r)], r->bytes / r->count / 1024,
             100 * roof(r, l) / r->seconds, expected(t, r, "-", us));
      buffer_free(&name);
   }
}

/* A prefill of one whole step, then decode steps of a row for each sequence. Run 0 touches memory;
 * as the fastest run counts, it need not be told apart. */
static sinter_status run(session *s, int64_t repeat, int64_t batch)
{
   const bench_test prefill = {STEP_ROWS, 0, 0, 1}, decode = {0, DECODE_STEPS, 0, batch};
   int32_t *ids = bench_ids(s->info.vocab, STEP_ROWS + (size_t)batch + 1);
   sinter_status status = SINTER_ok;

   for (int64_t i = 0; status == SINTER_ok && i <= repeat; i++) {
      uint64_t salt = (uint64_t)(i + 1) << 32;
      bench_time time = {.before = SINTER_INIT(sinter_stats), .after = SINTER_INIT(sinter_stats)};

      status = bench_prefill(s, &prefill, ids, salt, &time);
      if (status == SINTER_ok)
         status = bench_decode(s, &decode, ids, salt + 1, &time);
   }
   free(ids);
   return status;
}

int bench_kernels(const options *o, session *s, const limits *l, int64_t repeat)
{
   const char *explain = sinter_artifact_document(s->artifact, "explain");
   const sinter_launch_time *launches;
   table t = {.batch = cli_int(o->batch, 1)};
   sinter_status status = run(s, repeat, t.batch);

   if (status != SINTER_ok)
      return cli_error(status);
   uint32_t n = sinter_engine_launches(s->engine, &launches);
   if (!n)
      return cli_fail(1, o->device ? o->device : "cpu", "measure on cpu",
                      "this device has no launches to time");
   t.rows = calloc(n, sizeof *t.rows);
   if (!t.rows)
      exit(6);
   t.explain = explain ? tree_parse(explain, strlen(explain)) : NULL;
   collect(&t, launches, n);
   if (o->json)
      print_json(&t, l);
   else
      print_table(&t, l);
   free(t.rows);
   tree_free(t.explain);
   return 0;
}
