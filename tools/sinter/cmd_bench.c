/* cmd_bench.c - prefill and decode speed, beside the limits of this machine measured in the same
 * run. What was measured is kept (history.h). */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

typedef struct run_state {
   uint32_t started, finished; /* sequences that have their first token, or all */
   uint64_t tokens;
   double first, last;
} run_state;

static void on_token(void *user, sinter_request *r, const sinter_token *t)
{
   run_state *s = user;

   (void)r;
   if (t->id >= 0 && t->index == 0)
      s->started++;
   s->tokens += t->id >= 0;
   if (t->finish != SINTER_FINISH_none)
      s->finished++;
   s->last = cli_seconds();
}

int32_t *bench_ids(uint32_t vocab, size_t count)
{
   int32_t *ids = malloc((count + 1) * sizeof *ids);
   uint64_t x = 88172645463325252u;

   if (!ids)
      exit(6);
   for (size_t i = 0; i < count; i++) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      ids[i] = (int32_t)(x % vocab);
   }
   return ids;
}

static sinter_status drain(sinter_engine *e)
{
   bool busy = true;
   sinter_status status = SINTER_ok;

   while (status == SINTER_ok && busy)
      status = sinter_step(e, &busy);
   return status;
}

static sinter_status submit(session *s, run_state *state, const int32_t *ids, int64_t count,
                            int64_t generate, uint64_t salt, sinter_request **out)
{
   sinter_request_options r = SINTER_INIT(sinter_request_options);

   r.prompt = ids;
   r.num_prompt = (uint32_t)count;
   r.max_tokens = (uint32_t)generate;
   r.ignore_eos = true;
   r.sampling = SINTER_SAMPLING_GREEDY;
   r.on_token = on_token;
   r.salt = salt;
   r.user = state;
   return sinter_submit(s->engine, &r, out);
}

sinter_status bench_prefill(session *s, const bench_test *t, const int32_t *ids, uint64_t salt,
                            bench_time *out)
{
   run_state state = {0};
   sinter_request *r[64];
   sinter_status status = SINTER_ok;

   if (t->depth) {
      status = submit(s, &state, ids, t->depth, 1, salt, &r[0]);
      if (status == SINTER_ok)
         status = drain(s->engine);
      if (status != SINTER_ok)
         return status;
      sinter_request_destroy(r[0]);
   }
   sinter_engine_stats(s->engine, &out->before);
   double started = cli_seconds();
   for (int64_t b = 0; status == SINTER_ok && b < t->batch; b++)
      status = submit(s, &state, ids, t->depth + t->prompt, 1, t->depth ? salt : salt + (uint64_t)b,
                      &r[b]);
   if (status == SINTER_ok)
      status = drain(s->engine);
   out->seconds = cli_seconds() - started;
   out->tokens = (uint64_t)(t->prompt * t->batch);
   sinter_engine_stats(s->engine, &out->after);
   for (int64_t b = 0; status == SINTER_ok && b < t->batch; b++)
      sinter_request_destroy(r[b]);
   return status;
}

sinter_status bench_decode(session *s, const bench_test *t, const int32_t *ids, uint64_t salt,
                           bench_time *out)
{
   run_state state = {0};
   sinter_request *r[64];
   sinter_status status = SINTER_ok;
   bool busy = true;

   for (int64_t b = 0; status == SINTER_ok && b < t->batch; b++)
      status = submit(s, &state, ids + b, t->depth > 0 ? t->depth : 1, t->generate + 1,
                      salt + (uint64_t)b, &r[b]);
   while (status == SINTER_ok && busy && state.started < (uint32_t)t->batch)
      status = sinter_step(s->engine, &busy);
   /* While the prompts of some sequences ran, others made tokens already. */
   uint64_t made = state.tokens;
   sinter_engine_stats(s->engine, &out->before);
   double started = cli_seconds();
   if (status == SINTER_ok)
      status = drain(s->engine);
   out->seconds = state.last - started;
   out->tokens = state.tokens - made;
   sinter_engine_stats(s->engine, &out->after);
   for (int64_t b = 0; status == SINTER_ok && b < t->batch; b++)
      sinter_request_destroy(r[b]);
   return status;
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
   return sorted[n / 2];
}

static void name_test(const bench_test *t, char *name, size_t cap)
{
   snprintf(name, cap, "%s%lld", t->prompt ? "pp" : "tg",
            (long long)(t->prompt ? t->prompt : t->generate));
   if (t->depth)
      snprintf(name + strlen(name), cap - strlen(name), "@d%lld", (long long)t->depth);
   if (t->batch > 1)
      snprintf(name + strlen(name), cap - strlen(name), "x%lld", (long long)t->batch);
}

/* What a token takes at least, by its operations and by its bytes. */
static double work_seconds(const history_test *t, const limits *l)
{
   return (t->ops - t->byte_ops) / l->ops_s + t->byte_ops / l->byte_ops_s;
}

static double read_seconds(const history_test *t, const limits *l)
{
   return t->bytes / l->bytes_s;
}

static sinter_status measure(session *s, const bench_test *t, int64_t repeat, const limits *l,
                             history_test *out)
{
   int32_t *ids = bench_ids(s->info.vocab, (size_t)(t->depth + t->prompt + t->batch + 1));
   double bytes[HISTORY_SAMPLES], ops[HISTORY_SAMPLES], byte_ops[HISTORY_SAMPLES];
   sinter_status status = SINTER_ok;

   *out = (history_test){.num_samples = (size_t)repeat};
   name_test(t, out->name, sizeof out->name);
   /* Run 0 touches memory and is not counted. */
   for (int64_t i = 0; status == SINTER_ok && i <= repeat; i++) {
      bench_time time = {.before = SINTER_INIT(sinter_stats), .after = SINTER_INIT(sinter_stats)};
      uint64_t salt = (uint64_t)(i + 1) << 32;
      size_t k = i ? (size_t)i - 1 : 0;
      status =
         t->prompt ? bench_prefill(s, t, ids, salt, &time) : bench_decode(s, t, ids, salt, &time);
      out->samples[k] = (double)time.tokens / time.seconds;
      bytes[k] =
         (double)(time.after.weight_bytes_read - time.before.weight_bytes_read) / time.seconds;
      ops[k] = (double)(time.after.ops - time.before.ops) / time.seconds;
      byte_ops[k] = (double)(time.after.byte_ops - time.before.byte_ops) / time.seconds;
   }
   out->tok_s = median(out->samples, (size_t)repeat);
   out->bytes = median(bytes, (size_t)repeat) / out->tok_s;
   out->ops = median(ops, (size_t)repeat) / out->tok_s;
   out->byte_ops = median(byte_ops, (size_t)repeat) / out->tok_s;
   /* The roof is the limit that is reached first, where one was measured. */
   if (l->bytes_s > 0)
      out->limit_pct = 100 * out->tok_s * fmax(work_seconds(out, l), read_seconds(out, l));
   free(ids);
   return status;
}

static void print_result(const options *o, const limits *l, const history_test *t, bool first)
{
   if (!o->json && l->bytes_s <= 0) {
      printf("%-16s %10.1f tokens/s\n", t->name, t->tok_s);
      return;
   }
   if (!o->json) {
      printf("%-16s %10.1f tokens/s   %5.1f %% of this machine's %s\n", t->name, t->tok_s,
             t->limit_pct,
             work_seconds(t, l) > read_seconds(t, l) ? "integer peak" : "read bandwidth");
      return;
   }
   printf("%s{\"test\":\"%s\",\"tok_s\":%.3f,\"bytes\":%.0f,\"ops\":%.0f,\"byte_ops\":%.0f,"
          "\"limit_pct\":%.1f,\"samples\":[",
          first ? "" : ",", t->name, t->tok_s, t->bytes, t->ops, t->byte_ops, t->limit_pct);
   for (size_t i = 0; i < t->num_samples; i++)
      printf("%s%.3f", i ? "," : "", t->samples[i]);
   printf("]}");
}

/* A run that cannot be kept was still measured: that is said on stderr, and "run" is null. */
static void keep(const options *o, const session *s, const limits *l, const history_test *tests,
                 size_t num_tests)
{
   history_run run;
   history *h = history_open();

   history_describe(o, s, &run);
   run.threads = l->threads;
   run.read_bytes_s = l->bytes_s;
   run.int8_ops_s = l->ops_s;
   bool kept = h && history_add(h, &run, tests, num_tests);
   history_close(h);
   if (o->json && kept)
      printf("],\"run\":%lld,\"commit\":\"%s\"}\n", (long long)run.id, run.commit);
   else if (o->json)
      printf("],\"run\":null,\"commit\":\"%s\"}\n", run.commit);
   else if (kept && !o->quiet)
      fprintf(stderr, "kept as run %lld; see sinter bench --history\n", (long long)run.id);
}

static int run_tests(const options *o, session *s, const limits *l, const bench_test *tests,
                     int64_t repeat)
{
   history_test results[2];
   size_t n = 0;

   if (o->json)
      printf("{\"threads\":%u,\"read_bytes_s\":%.0f,\"int8_ops_s\":%.0f,\"byte_ops_s\":%.0f,"
             "\"results\":[",
             l->threads, l->bytes_s, l->ops_s, l->byte_ops_s);
   for (size_t i = 0; i < countof(results); i++) {
      if (tests[i].prompt + tests[i].generate == 0)
         continue;
      sinter_status status = measure(s, &tests[i], repeat, l, &results[n]);
      if (status != SINTER_ok) {
         if (o->json)
            puts("]}");
         return cli_error(status);
      }
      print_result(o, l, &results[n], n == 0);
      n++;
   }
   keep(o, s, l, results, n);
   return 0;
}

static int bench(const options *o)
{
   session s;
   limits l;
   sinter_engine_options e = SINTER_INIT(sinter_engine_options);
   int64_t p = cli_int(o->prompt_tokens, 512), n = cli_int(o->num_tokens, 128),
           d = cli_int(o->depth, 0), b = cli_int(o->batch, 1), repeat = cli_int(o->repeat, 5);
   const bench_test tests[2] = {{p, 0, d, b}, {0, n, d, b}};

   if (b < 1 || b > 64 || repeat < 1 || repeat > HISTORY_SAMPLES)
      return cli_usage_error("-b and -r are 1 to 64");
   if (p == 0 && n == 0)
      return cli_usage_error("nothing to measure: -p 0 and -n 0");
   if (o->kernels && (p != 512 || d))
      return cli_usage_error(
         "--kernels measures decode steps and prompts of 512 tokens: no -p, -d");
   int code = cli_open(o, &s);
   if (code)
      return code;
   e.kv_tokens = (uint32_t)((d + p + n + 64) * (b + 1));
   e.max_sequences = 64;
   e.time_launches = o->kernels;
   code = cli_engine(o, &s, &e);
   if (code)
      return code;
   limits_measure(o->device, (unsigned)cli_int(o->threads, 0), s.info.weight_bytes, &l);
   if (o->kernels && b > 1 && l.bytes_s <= 0)
      return cli_usage_error("--kernels -b: the limits of this device are known for one sequence");
   code = o->kernels ? bench_kernels(o, &s, &l, repeat) : run_tests(o, &s, &l, tests, repeat);
   cli_close(&s);
   return code;
}

int cmd_bench(const options *o)
{
   if (o->compare && o->history)
      return cli_usage_error("--compare or --history, not both");
   if (o->num_args != (o->history ? 0 : o->compare ? 2 : 1))
      return cli_usage_error("'sinter bench' takes %s", o->history   ? "no argument with --history"
                                                        : o->compare ? "two runs with --compare"
                                                                     : "one model");
   return o->history ? bench_history(o) : o->compare ? bench_compare(o) : bench(o);
}
