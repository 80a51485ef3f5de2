/* cmd_run.c - run: one prompt, streamed; chat: one line a turn. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loads.h"
#include "tree.h"

/* What the token callback collects. */
typedef struct answer {
   sinter_stream *decoder;
   bool stream, continues; /* continues: with the text of the prompt */
   int32_t *ids;
   float *logprobs;
   size_t count, cap;
   buffer text;
   loads loads;
   sinter_finish finish;
   double first, last; /* seconds */
} answer;

static void emit(answer *a, const char *text, size_t len)
{
   buffer_add(&a->text, text, len);
   if (a->stream && len) {
      fwrite(text, 1, len, stdout);
      fflush(stdout);
   }
}

static void on_token(void *user, sinter_request *r, const sinter_token *t)
{
   answer *a = user;
   const char *text;
   size_t len;

   (void)r;
   a->finish = t->finish;
   if (t->id < 0)
      return;
   a->last = cli_seconds();
   if (a->count == 0)
      a->first = a->last;
   if (a->count == a->cap) {
      a->cap = a->cap * 2 + 64;
      a->ids = realloc(a->ids, a->cap * sizeof *a->ids);
      a->logprobs = realloc(a->logprobs, a->cap * sizeof *a->logprobs);
      if (!a->ids || !a->logprobs)
         exit(6);
   }
   a->ids[a->count] = t->id;
   a->logprobs[a->count++] = t->logprob;
   if (a->decoder && sinter_stream_push(a->decoder, t->id, &text, &len) == SINTER_ok)
      emit(a, text, len);
}

static void on_experts(void *user, sinter_request *r, uint32_t pos, const int32_t *ids)
{
   answer *a = user;

   (void)r;
   (void)pos;
   loads_count(&a->loads, ids);
}

static void answer_free(answer *a)
{
   sinter_stream_destroy(a->decoder);
   free(a->ids);
   free(a->logprobs);
   buffer_free(&a->text);
}

static sinter_sampling sampling_of(const options *o)
{
   sinter_sampling s = SINTER_SAMPLING_GREEDY;

   s.temperature = (float)cli_float(o->temp, 0);
   s.top_k = (int32_t)cli_int(o->top_k, 0);
   s.top_p = (float)cli_float(o->top_p, 1);
   s.min_p = (float)cli_float(o->min_p, 0);
   s.seed = (uint64_t)cli_int(o->seed, 0);
   return s;
}

/* Ids of a plain text, or of a chat with the messages given as JSON. */
static sinter_status prompt_ids(const session *s, const char *messages, const char *text,
                                size_t len, int32_t **out, size_t *out_count)
{
   sinter_chat_options chat = SINTER_INIT(sinter_chat_options);

   chat.messages = messages;
   for (size_t cap = 256;; cap = *out_count) {
      *out = realloc(*out, cap * sizeof **out);
      if (!*out)
         exit(6);
      sinter_status status = messages
                                ? sinter_chat_tokens(s->artifact, &chat, *out, cap, out_count)
                                : sinter_tokenize(s->artifact, text, len, 0, *out, cap, out_count);
      if (status != SINTER_ok || *out_count <= cap)
         return status;
   }
}

static int64_t max_tokens(const options *o)
{
   return cli_int(o->num_tokens, o->ids ? 128 : 512);
}

/* Ids need no tokenizer: a model without one answers in ids alone. */
static sinter_status open_decoder(const options *o, const session *s, answer *a)
{
   sinter_status status = sinter_stream_create(s->artifact, &a->decoder);

   if (status == SINTER_ok && a->continues)
      sinter_stream_continue(a->decoder);
   if (status != SINTER_unsupported || !o->ids)
      return status;
   if (!o->json)
      fprintf(stderr, "note: the model came without a tokenizer, --json shows the ids\n");
   return SINTER_ok;
}

static int generate(const options *o, session *s, const int32_t *ids, size_t count,
                    const cli_images *images, answer *a)
{
   sinter_request_options r = SINTER_INIT(sinter_request_options);
   sinter_request *request;
   const char *rest;
   size_t len;
   bool busy = true;

   r.prompt = ids;
   r.num_prompt = (uint32_t)count;
   int64_t n = max_tokens(o);
   r.max_tokens = (uint32_t)n;
   r.ignore_eos = o->ignore_eos;
   r.want_logprobs = o->json && !o->no_logprobs;
   r.sampling = sampling_of(o);
   r.on_token = on_token;
   r.on_experts = a->loads.tokens ? on_experts : NULL;
   r.user = a;
   r.images = images->features;
   r.num_images = images->count;
   if (n == 0) {
      a->finish = SINTER_FINISH_length;
      return 0;
   }
   sinter_status status = open_decoder(o, s, a);
   if (status == SINTER_ok)
      status = sinter_submit(s->engine, &r, &request);
   while (status == SINTER_ok && busy)
      status = sinter_step(s->engine, &busy);
   if (status != SINTER_ok)
      return cli_error(status);
   if (a->finish == SINTER_FINISH_error)
      fprintf(stderr, "%serror: %s\n", a->stream && a->count ? "\n" : "",
              sinter_request_error(request));
   sinter_request_destroy(request);
   if (a->finish == SINTER_FINISH_error)
      return 1;
   if (a->decoder && sinter_stream_finish(a->decoder, &rest, &len) == SINTER_ok)
      emit(a, rest, len);
   return 0;
}

/* What is to be known about an answer that ended. */
static void after(const options *o, const session *s, const answer *a, size_t prompt)
{
   uint32_t trained = s->info.trained_context;

   if (!o->quiet && prompt <= trained && prompt + a->count > trained)
      fprintf(stderr, "note: the answer went past the trained context of %u\n", trained);
}

static const char *finish_name(sinter_finish f)
{
   return f == SINTER_FINISH_stop ? "stop" : f == SINTER_FINISH_length ? "length" : "error";
}

/* How many tokens were sampled where. */
static void sampled_json(const session *s, buffer *out)
{
   static const char *const names[] = {
#define SINTER_SAMPLED_NAME(name, what) #name,
      SINTER_SAMPLED(SINTER_SAMPLED_NAME)
#undef SINTER_SAMPLED_NAME
   };
   sinter_stats st = SINTER_INIT(sinter_stats);
   const char *comma = "";

   sinter_engine_stats(s->engine, &st);
   buffer_printf(out, "\"sampled\":{");
   for (int i = 0; i < SINTER_SAMPLED_COUNT; i++) {
      if (!st.sampled[i])
         continue;
      buffer_printf(out, "%s\"%s\":%llu", comma, names[i], (unsigned long long)st.sampled[i]);
      comma = ",";
   }
   buffer_printf(out, "},");
}

static void print_json(const session *s, const answer *a, size_t prompt, bool logprobs,
                       double started)
{
   buffer out = {0};

   buffer_printf(&out, "{\"ids\":[");
   for (size_t i = 0; i < a->count; i++)
      buffer_printf(&out, "%s%d", i ? "," : "", a->ids[i]);
   buffer_printf(&out, "],\"text\":");
   buffer_json_string(&out, a->text.data ? a->text.data : "", a->text.len);
   buffer_printf(&out, ",\"logprobs\":[");
   for (size_t i = 0; logprobs && i < a->count; i++)
      buffer_printf(&out, isfinite(a->logprobs[i]) ? "%s%.9g" : "%snull", i ? "," : "",
                    (double)a->logprobs[i]);
   double decode_time = a->last - a->first;
   buffer_printf(&out, "],\"finish\":\"%s\",\"prompt_tokens\":%zu,", finish_name(a->finish),
                 prompt);
   sampled_json(s, &out);
   buffer_printf(&out, "\"timings\":{\"compile_s\":%.6f,\"cached\":%s,\"first_token_s\":%.6f,",
                 s->compile_seconds, s->cached ? "true" : "false",
                 a->count ? a->first - started : 0);
   buffer_printf(&out, "\"decode_tok_s\":%.3f}}\n",
                 a->count > 1 && decode_time > 0 ? (double)(a->count - 1) / decode_time : 0);
   fwrite(out.data, 1, out.len, stdout);
   buffer_free(&out);
}

/* The turn with images in front of its text, as parts. */
static void parts_json(uint32_t images, const char *text, size_t len, buffer *out)
{
   buffer_printf(out, "[");
   for (uint32_t i = 0; i < images; i++)
      buffer_printf(out, "{\"type\":\"image\"},");
   buffer_printf(out, "{\"type\":\"text\",\"text\":");
   buffer_json_string(out, text, len);
   buffer_printf(out, "}]");
}

/* Templates are for characters. 0, or the exit code. */
static int check_text(const char *at, const char *text, size_t len)
{
   if (!text || tree_is_utf8(text, len))
      return 0;
   return cli_fail(3, at, "convert it, e.g. with iconv", "the text is not UTF-8");
}

static int check_system(const options *o)
{
   return o->system ? check_text("--system", o->system, strlen(o->system)) : 0;
}

/* 0, or the exit code. */
static int messages_json(const options *o, uint32_t images, const char *text, size_t len,
                         buffer *out)
{
   int code = check_system(o);

   code = code ? code : check_text("prompt", text, len);
   if (code)
      return code;
   buffer_add(out, "[", 1);
   if (o->system) {
      buffer_printf(out, "{\"role\":\"system\",\"content\":");
      buffer_json_string(out, o->system, strlen(o->system));
      buffer_add(out, "},", 2);
   }
   buffer_printf(out, "{\"role\":\"user\",\"content\":");
   if (images)
      parts_json(images, text, len, out);
   else
      buffer_json_string(out, text, len);
   buffer_add(out, "}]", 2);
   return 0;
}

int cmd_run(const options *o)
{
   session s;
   answer a = {0};
   buffer text = {0}, messages = {0};
   int32_t *ids = NULL;
   size_t count = 0;
   cli_images images;

   if (o->ids && o->num_args == 2)
      return cli_usage_error("give a PROMPT or --ids, not both");
   if (o->ids && !cli_ids(o->ids, &ids, &count))
      return cli_usage_error("--ids takes whole numbers separated by commas");
   if (o->num_args == 2)
      buffer_add(&text, o->args[1], strlen(o->args[1]));
   else if (!o->ids && !buffer_read(&text, stdin))
      return cli_usage_error("the prompt could not be read from stdin");
   int code = cli_open(o, &s);
   if (!code)
      code = cli_images_read(o, &s, &images);
   if (code)
      return code;
   if (o->loads)
      loads_begin(&a.loads, s.artifact);
   if (o->loads && !a.loads.num_routes)
      return cli_fail(1, "--loads", "leave it out", "this model has no experts to count");
   double started = cli_seconds();
   bool chat = !o->raw && !o->ids && s.info.has_chat_template;
   if (!chat && !o->raw && !o->ids && !o->quiet)
      fprintf(stderr, "note: this model has no chat template: the prompt goes as it is\n");
   if (o->system && !chat)
      fprintf(stderr, "note: --system is not used: the prompt goes without a chat template\n");
   if (chat)
      code = messages_json(o, images.count, text.data, text.len, &messages);
   if (code)
      return code;
   sinter_status status =
      o->ids ? SINTER_ok
             : prompt_ids(&s, chat ? messages.data : NULL, text.data, text.len, &ids, &count);
   if (status != SINTER_ok)
      return cli_error(status);
   code = cli_images_encode(o, &s, &images);
   if (code)
      return code;
   cli_images_expand(&s, &images, !o->ids, &ids, &count);
   sinter_engine_options room = cli_room(o, &s, count, (uint64_t)max_tokens(o));
   code = cli_engine(o, &s, &room);
   if (code)
      return code;
   a.stream = !o->json;
   a.continues = !chat;
   code = generate(o, &s, ids, count, &images, &a);
   if (code == 0)
      after(o, &s, &a, count);
   if (code == 0 && o->json)
      print_json(&s, &a, count, !o->no_logprobs, started);
   else if (code == 0)
      putchar('\n');
   if (code == 0 && !o->json && !o->quiet && a.count > 1)
      fprintf(stderr, "-- %zu + %zu tokens, first after %.0f ms, then %.1f tokens/s\n", count,
              a.count, (a.first - started) * 1e3, (double)(a.count - 1) / (a.last - a.first));
   if (code == 0 && o->loads)
      code = loads_write(&a.loads, o->loads);
   answer_free(&a);
   loads_end(&a.loads);
   cli_images_free(&images);
   cli_close(&s);
   free(ids);
   buffer_free(&text);
   buffer_free(&messages);
   return code;
}

/* Answers one turn and appends it to history (a JSON array without its closing bracket). */
static int turn(const options *o, session *s, buffer *history, const char *line, size_t len)
{
   answer a = {.stream = true};
   int32_t *ids = NULL;
   size_t count = 0;
   int code = check_text("stdin", line, len);

   if (code)
      return code;
   buffer_printf(history, "%s{\"role\":\"user\",\"content\":", history->len > 1 ? "," : "");
   buffer_json_string(history, line, len);
   buffer_add(history, "}", 1);
   size_t end = history->len;
   buffer_add(history, "]", 1);
   sinter_status status = prompt_ids(s, history->data, NULL, 0, &ids, &count);
   history->len = end;
   if (status != SINTER_ok)
      return cli_error(status);
   code = generate(o, s, ids, count, &(cli_images){0}, &a);
   if (code == 0) {
      putchar('\n');
      after(o, s, &a, count);
      buffer_printf(history, ",{\"role\":\"assistant\",\"content\":");
      buffer_json_string(history, a.text.data ? a.text.data : "", a.text.len);
      buffer_add(history, "}", 1);
   }
   free(ids);
   answer_free(&a);
   return code;
}

int cmd_chat(const options *o)
{
   session s;
   buffer history = {0};
   char *line = NULL;
   size_t cap = 0;
   int code = check_system(o);

   code = code ? code : cli_open(o, &s);
   if (code)
      return code;
   if (!s.info.has_chat_template)
      return cli_fail(1, o->args[0], "sinter run MODEL PROMPT --raw",
                      "this model has no chat template");
   code = cli_engine(o, &s, &SINTER_INIT(sinter_engine_options));
   buffer_add(&history, "[", 1);
   if (o->system) {
      buffer_printf(&history, "{\"role\":\"system\",\"content\":");
      buffer_json_string(&history, o->system, strlen(o->system));
      buffer_add(&history, "}", 1);
   }
   while (code == 0) {
      if (isatty(0))
         fputs("> ", stderr);
      ssize_t len = getline(&line, &cap, stdin);
      if (len <= 0)
         break;
      while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
         len--;
      if (len)
         code = turn(o, &s, &history, line, (size_t)len);
   }
   free(line);
   buffer_free(&history);
   cli_close(&s);
   return code;
}
