/* api.c - the public text functions, on an artifact's tokenizer and template. */
#include <stdlib.h>

#include "chat.h"
#include "grammar.h"
#include "internal.h"
#include "runtime/artifact.h"

static sinter_status make_tokenizer(const rt_artifact *a, void **out)
{
   rt_bytes blob = rt_artifact_section(a, ARTIFACT_vocab, 0);
   text_tokenizer *t = NULL;

   if (!blob.data)
      return base_fail(SINTER_unsupported, rt_artifact_path(a),
                       "take a checkpoint with its tokenizer (tokenizer.json), or pass ids where a "
                       "command takes them",
                       "the model came without a tokenizer");
   SINTER_TRY_IN(rt_artifact_path(a), text_tokenizer_create(blob.data, blob.size, &t));
   *out = t;
   return SINTER_ok;
}

static void destroy_tokenizer(void *object)
{
   text_tokenizer_destroy(object);
}

static sinter_status tokenizer_of(const rt_artifact *a, const text_tokenizer **out)
{
   static const rt_attachment kind = {make_tokenizer, destroy_tokenizer};
   void *object = NULL;

   SINTER_TRY(rt_artifact_attach(a, RT_SLOT_text, &kind, &object));
   *out = object;
   return SINTER_ok;
}

/* One call, with an arena of its own. Fills the caller's array as far as it goes. */
typedef struct call {
   arena *a;
   const rt_artifact *artifact;
   const text_tokenizer *t;
   const char *text;
   size_t len;
   unsigned flags;
   sinter_chat_options chat;
   const int32_t *ids;
   size_t count;
   void *out;
   size_t cap;
   size_t *out_count;
   bool *out_special;
} call;

static sinter_status run(call *c, const sinter_artifact *a, sinter_status (*body)(void *))
{
   *c->out_count = 0;
   c->artifact = rt_artifact_of(a);
   SINTER_TRY(tokenizer_of(c->artifact, &c->t));
   SINTER_TRY(arena_create(&c->a));
   sinter_status status = arena_catch(body, c);
   arena_destroy(c->a);
   return status;
}

static void give_ids(const call *c, const int32_t *ids, size_t n)
{
   if (n > 0 && c->cap > 0)
      memcpy(c->out, ids, MIN(n, c->cap) * sizeof *ids);
   *c->out_count = n;
}

static sinter_status tokenize(void *user)
{
   call *c = user;
   int32_t *ids;
   size_t n;

   SINTER_TRY(text_encode(c->t, c->a, c->text, c->len, NULL, c->flags, &ids, &n));
   give_ids(c, ids, n);
   return SINTER_ok;
}

sinter_status sinter_tokenize(const sinter_artifact *a, const char *text, size_t len,
                              unsigned flags, int32_t *ids, size_t cap, size_t *out_count)
{
   call c = {
      .text = text, .len = len, .flags = flags, .out = ids, .cap = cap, .out_count = out_count};

   return run(&c, a, tokenize);
}

static sinter_status detokenize(void *user)
{
   call *c = user;
   char *text;
   size_t n;

   SINTER_TRY(text_decode(c->t, c->a, c->ids, c->count, &text, &n));
   if (n > 0 && c->cap > 0)
      memcpy(c->out, text, MIN(n, c->cap));
   *c->out_count = n;
   return SINTER_ok;
}

sinter_status sinter_detokenize(const sinter_artifact *a, const int32_t *ids, size_t count,
                                char *text, size_t cap, size_t *out_len)
{
   call c = {.ids = ids, .count = count, .out = text, .cap = cap, .out_count = out_len};

   return run(&c, a, detokenize);
}

static sinter_status spell(void *user)
{
   call *c = user;
   text_buf bytes = {.a = c->a};

   SINTER_TRY(text_spell_one(c->t, c->a, c->ids[0], &bytes, c->out_special));
   if (bytes.len > 0 && c->cap > 0)
      memcpy(c->out, bytes.data, MIN(bytes.len, c->cap));
   *c->out_count = bytes.len;
   return SINTER_ok;
}

sinter_status sinter_token_bytes(const sinter_artifact *a, int32_t id, char *bytes, size_t cap,
                                 size_t *out_len, bool *out_special)
{
   call c = {.ids = &id,
             .count = 1,
             .out = bytes,
             .cap = cap,
             .out_count = out_len,
             .out_special = out_special};

   return run(&c, a, spell);
}

/* ---- streaming ---- */

/* The public name of a text_stream. */
struct sinter_stream {
   text_stream *s;
};

sinter_status sinter_stream_create(const sinter_artifact *a, sinter_stream **out)
{
   const text_tokenizer *t;

   *out = NULL;
   SINTER_TRY(tokenizer_of(rt_artifact_of(a), &t));
   sinter_stream *s = calloc(1, sizeof *s);
   if (!s)
      return base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   sinter_status status = text_stream_create(t, &s->s);
   if (status == SINTER_ok)
      *out = s;
   else
      free(s);
   return status;
}

void sinter_stream_continue(sinter_stream *s)
{
   text_stream_continue(s->s);
}

sinter_status sinter_stream_push(sinter_stream *s, int32_t id, const char **out_text,
                                 size_t *out_len)
{
   return text_stream_push(s->s, id, out_text, out_len);
}

sinter_status sinter_stream_finish(sinter_stream *s, const char **out_text, size_t *out_len)
{
   return text_stream_finish(s->s, out_text, out_len);
}

void sinter_stream_destroy(sinter_stream *s)
{
   if (!s)
      return;
   text_stream_destroy(s->s);
   free(s);
}

/* ---- chat ---- */

/* The spelling of a special token for the template, "" when there is none. */
static const char *spelling(const call *c, int32_t id)
{
   const vocab *v = text_tokenizer_vocab(c->t);
   size_t len;

   if (id < 0 || (uint32_t)id >= v->header->num_pieces)
      return "";
   const uint8_t *p = vocab_piece(v, (uint32_t)id, &len);
   return arena_strndup(c->a, (const char *)p, len);
}

static sinter_status render(call *c, text_rendered *out)
{
   rt_bytes source = rt_artifact_section(c->artifact, ARTIFACT_template, 0);
   const plan_model *m = &rt_artifact_plan(c->artifact, 0)->model;

   if (!source.data)
      return base_fail(SINTER_unsupported, rt_artifact_path(c->artifact), "use --raw",
                       "the model came without a chat template");
   text_chat_options options = {.bos_token = spelling(c, m->bos),
                                .eos_token = spelling(c, m->num_eos ? m->eos[0] : -1),
                                .add_generation_prompt = true,
                                .tools_json = c->chat.tools,
                                .extra_json = c->chat.extra};
   SINTER_TRY_IN("the chat template",
                 text_chat_render(c->a, (const char *)source.data, source.size, c->chat.messages,
                                  strlen(c->chat.messages), &options, out));
   return SINTER_ok;
}

static sinter_status chat(void *user)
{
   call *c = user;
   text_rendered r;
   int32_t *ids;
   size_t n;

   SINTER_TRY(render(c, &r));
   /* The template writes BOS itself, as templates are written to be used. */
   SINTER_TRY(text_encode(c->t, c->a, r.text, r.len, r.tainted, SINTER_TEXT_no_bos, &ids, &n));
   give_ids(c, ids, n);
   return SINTER_ok;
}

static sinter_status chat_text(void *user)
{
   call *c = user;
   text_rendered r;

   SINTER_TRY(render(c, &r));
   if (r.len > 0 && c->cap > 0)
      memcpy(c->out, r.text, MIN(r.len, c->cap));
   *c->out_count = r.len;
   return SINTER_ok;
}

static call chat_call(const sinter_chat_options *options, void *out, size_t cap, size_t *out_count)
{
   call c = {.out = out, .cap = cap, .out_count = out_count};

   memcpy(&c.chat, options, MIN(options->size, sizeof c.chat));
   return c;
}

sinter_status sinter_chat_tokens(const sinter_artifact *a, const sinter_chat_options *options,
                                 int32_t *ids, size_t cap, size_t *out_count)
{
   call c = chat_call(options, ids, cap, out_count);

   return run(&c, a, chat);
}

sinter_status sinter_chat_text(const sinter_artifact *a, const sinter_chat_options *options,
                               char *text, size_t cap, size_t *out_len)
{
   call c = chat_call(options, text, cap, out_len);

   return run(&c, a, chat_text);
}

/* ---- grammars ---- */

/* The public name of a grammar, with the vocabulary it is for. */
struct sinter_grammar {
   grammar *g;
   const grammar_vocab *v;
};

static sinter_status make_vocab(const rt_artifact *a, void **out)
{
   const text_tokenizer *t;
   grammar_vocab *v = NULL;

   SINTER_TRY(tokenizer_of(a, &t));
   SINTER_TRY(grammar_vocab_create(t, &v));
   *out = v;
   return SINTER_ok;
}

static void destroy_vocab(void *object)
{
   grammar_vocab_destroy(object);
}

sinter_status sinter_grammar_create(const sinter_artifact *a, const char *json, size_t len,
                                    sinter_grammar **out)
{
   static const rt_attachment kind = {make_vocab, destroy_vocab};
   void *v = NULL;
   grammar *g;

   *out = NULL;
   SINTER_TRY(grammar_compile(json, len, &g));
   sinter_status status = rt_artifact_attach(rt_artifact_of(a), RT_SLOT_grammar, &kind, &v);
   *out = status == SINTER_ok ? malloc(sizeof **out) : NULL;
   if (*out) {
      **out = (sinter_grammar){g, v};
      return SINTER_ok;
   }
   grammar_free(g);
   return status != SINTER_ok
             ? status
             : base_fail(SINTER_out_of_memory, "grammar", "", "no memory for a grammar");
}

void sinter_grammar_destroy(sinter_grammar *g)
{
   if (!g)
      return;
   grammar_free(g->g);
   free(g);
}

sinter_status grammar_start(const sinter_grammar *g, uint32_t num_tokens, grammar_ends ends,
                            grammar_run **out)
{
   return grammar_run_create(g->g, g->v, num_tokens, ends, out);
}
