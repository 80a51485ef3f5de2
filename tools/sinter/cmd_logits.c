/* cmd_logits.c - logits of every position of --ids, and perplexity of a text. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct sink {
   FILE *file;
   uint32_t vocab;
   uint32_t rows; /* to be written: those behind have no token that follows */
   bool failed;
   int32_t *experts; /* [count][ids of a position] */
   uint32_t num_routes, width;
   const sinter_route *routes;
   cli_images images;
   /* perplexity: */
   int32_t best; /* id with the largest logit of the last row */
   const int32_t *ids;
   uint32_t count;
   double nll;
   uint64_t scored;
} sink;

static void write_row(void *user, sinter_request *r, uint32_t pos, const float *logits)
{
   sink *s = user;

   (void)r;
   if (pos >= s->rows)
      return;
   s->failed |= fwrite(logits, sizeof *logits, s->vocab, s->file) != s->vocab;
}

static void keep_experts(void *user, sinter_request *r, uint32_t pos, const int32_t *ids)
{
   sink *s = user;

   (void)r;
   if (pos < s->count)
      memcpy(s->experts + (size_t)pos * s->width, ids, s->width * sizeof *ids);
}

/* [{"layer":0,"ids":[[3,5],…]},…]: ids of each position. */
static void print_experts(const sink *s)
{
   uint32_t at = 0;

   printf("[");
   for (uint32_t l = 0; l < s->num_routes; l++) {
      uint32_t k = s->routes[l].k;
      printf("%s{\"layer\":%u,\"ids\":[", l ? "," : "", s->routes[l].layer);
      for (uint32_t pos = 0; pos < s->count; pos++)
         for (uint32_t j = 0; j < k; j++)
            printf("%s%d%s",
                   j     ? ","
                   : pos ? ",["
                         : "[",
                   s->experts[pos * s->width + at + j], j + 1 == k ? "]" : "");
      printf("]}");
      at += k;
   }
   printf("]");
}

static void want_experts(sink *k, const session *s, size_t count)
{
   k->num_routes = sinter_artifact_routes(s->artifact, &k->routes);
   for (uint32_t l = 0; l < k->num_routes; l++)
      k->width += k->routes[l].k;
   k->count = (uint32_t)count;
   k->experts = malloc((count * k->width + 1) * sizeof *k->experts);
   if (!k->experts)
      exit(6);
}

/* -log softmax(logits)[next], summed in double. */
static void score_row(void *user, sinter_request *r, uint32_t pos, const float *logits)
{
   sink *s = user;

   (void)r;
   if (pos + 1 >= s->count)
      return;
   s->nll += sinter_log_sum(logits, s->vocab) - (double)logits[s->ids[pos + 1]];
   s->scored++;
}

static sinter_status run_prompt(sinter_engine *e, const int32_t *ids, uint32_t count, uint32_t from,
                                sinter_on_logits *row, sink *s)
{
   sinter_request_options r = SINTER_INIT(sinter_request_options);
   sinter_request *request;
   bool busy = true;

   r.prompt = ids;
   r.num_prompt = count;
   r.on_logits = row;
   r.logits_from = from;
   r.sampling = SINTER_SAMPLING_GREEDY;
   r.user = s;
   r.on_experts = s->experts ? keep_experts : NULL;
   r.images = s->images.features;
   r.num_images = s->images.count;
   sinter_status status = sinter_submit(e, &r, &request);
   if (status != SINTER_ok)
      return status;
   while (status == SINTER_ok && busy)
      status = sinter_step(e, &busy);
   sinter_request_destroy(request);
   return status;
}

static void keep_best(void *user, sinter_request *r, uint32_t pos, const float *logits)
{
   sink *s = user;

   (void)r;
   (void)pos;
   s->best = 0;
   for (uint32_t v = 1; v < s->vocab; v++)
      if (logits[v] > logits[s->best])
         s->best = (int32_t)v;
}

/* The draft layer reads the token behind each row: behind the last one the model's own best. */
static int append_best(const options *o, int32_t **ids, size_t *count)
{
   options plain = *o;
   session s;
   sink k = {0};

   plain.mtp = false;
   int code = cli_open(&plain, &s);
   if (code)
      return code;
   sinter_engine_options room = cli_room(&plain, &s, *count, 1);
   code = cli_engine(&plain, &s, &room);
   if (code)
      return code;
   k.vocab = s.info.vocab;
   sinter_status status =
      run_prompt(s.engine, *ids, (uint32_t)*count, (uint32_t)*count - 1, keep_best, &k);
   cli_close(&s);
   if (status != SINTER_ok)
      return cli_error(status);
   *ids = realloc(*ids, (*count + 1) * sizeof **ids);
   if (!*ids)
      exit(6);
   (*ids)[(*count)++] = k.best;
   return 0;
}

int cmd_logits(const options *o)
{
   session s;
   sink k = {0};
   int32_t *ids = NULL;
   size_t count = 0;

   if (!o->ids || !cli_ids(o->ids, &ids, &count))
      return cli_usage_error("'sinter logits' needs --ids, whole numbers separated by commas");
   if (!o->output)
      return cli_usage_error("'sinter logits' needs -o FILE.npy");
   if (o->mtp && (o->pixels || o->image))
      return cli_usage_error("--mtp takes text only");
   k.rows = (uint32_t)count;
   int code = o->mtp ? append_best(o, &ids, &count) : 0;
   if (!code)
      code = cli_open(o, &s);
   if (code)
      return code;
   code = cli_images_read(o, &s, &k.images);
   if (!code)
      code = cli_images_encode(o, &s, &k.images);
   if (code)
      return code;
   cli_images_expand(&s, &k.images, false, &ids, &count);
   k.rows = o->mtp ? k.rows : (uint32_t)count;
   sinter_engine_options room = cli_room(o, &s, count, 1);
   code = cli_engine(o, &s, &room);
   if (code)
      return code;
   k.vocab = s.info.vocab;
   if (o->json)
      want_experts(&k, &s, count);
   k.file = fopen(o->output, "wb");
   if (!k.file || !npy_header(k.file, k.rows, k.vocab))
      return cli_fail(1, o->output, "another file with -o", "the logits cannot be written: %s",
                      strerror(errno));
   sinter_status status = run_prompt(s.engine, ids, (uint32_t)count, 0, write_row, &k);
   if (fclose(k.file) != 0 || k.failed)
      return cli_fail(1, o->output, "free some space, or another file with -o",
                      "the logits cannot be written: %s", strerror(errno));
   if (status != SINTER_ok)
      return cli_error(status);
   if (o->json) {
      sinter_stats st = SINTER_INIT(sinter_stats);
      sinter_engine_stats(s.engine, &st);
      printf("{\"device\":\"%s\",\"launches\":%llu,\"graphs\":%llu,\"graph_bytes\":%llu,"
             "\"segments\":%llu,\"experts\":",
             st.device, (unsigned long long)st.launches, (unsigned long long)st.graphs,
             (unsigned long long)st.graph_bytes, (unsigned long long)st.segments);
      print_experts(&k);
      printf("}\n");
   }
   cli_images_free(&k.images);
   cli_close(&s);
   free(k.experts);
   free(ids);
   return 0;
}

/* Chunks of ctx tokens, the model's BOS in front of each, scored on the second half. */
static sinter_status score(session *s, const int32_t *text, size_t count, size_t ctx, sink *k)
{
   size_t lead = s->info.adds_bos && s->info.bos >= 0 ? 1 : 0;
   int32_t *chunk = malloc(ctx * sizeof *chunk);
   sinter_status status = SINTER_ok;

   if (!chunk)
      exit(6);
   for (size_t at = 0; status == SINTER_ok && at + ctx - lead <= count; at += ctx - lead) {
      chunk[0] = s->info.bos;
      memcpy(chunk + lead, text + at, (ctx - lead) * sizeof *chunk);
      k->ids = chunk;
      k->count = (uint32_t)ctx;
      status = run_prompt(s->engine, chunk, (uint32_t)ctx, (uint32_t)(ctx / 2), score_row, k);
   }
   free(chunk);
   return status;
}

int cmd_perplexity(const options *o)
{
   session s;
   sink k = {0};
   buffer text = {0};
   size_t ctx = (size_t)cli_int(o->ctx, 512), count = 0;

   if (ctx < 4)
      return cli_usage_error("--ctx is at least 4");
   if (!buffer_read_file(&text, o->args[1]))
      return cli_fail(3, o->args[1], "the path of a text file", "the text cannot be read: %s",
                      strerror(errno));
   int code = cli_open(o, &s);
   if (code)
      return code;
   sinter_engine_options room = cli_room(o, &s, ctx, 1);
   room.no_prefix_cache = true;
   code = cli_engine(o, &s, &room);
   if (code)
      return code;
   int32_t *ids = malloc((text.len + 8) * sizeof *ids);
   if (!ids)
      return 6;
   sinter_status status = sinter_tokenize(s.artifact, text.data, text.len, SINTER_TEXT_no_bos, ids,
                                          text.len + 8, &count);
   k.vocab = s.info.vocab;
   if (status == SINTER_ok)
      status = score(&s, ids, count, ctx, &k);
   if (status != SINTER_ok)
      return cli_error(status);
   if (k.scored == 0)
      return cli_fail(1, o->args[1], "a longer text, or a smaller --ctx",
                      "the text has %zu tokens, less than one chunk of %zu", count, ctx);
   double ppl = exp(k.nll / (double)k.scored);
   if (o->json)
      printf("{\"perplexity\":%.9g,\"tokens\":%llu,\"nll\":%.12g}\n", ppl,
             (unsigned long long)k.scored, k.nll / (double)k.scored);
   else
      printf("perplexity %.4f over %llu tokens (ctx %zu)\n", ppl, (unsigned long long)k.scored,
             ctx);
   cli_close(&s);
   free(ids);
   buffer_free(&text);
   return 0;
}
