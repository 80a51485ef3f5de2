/* tokenizer.c - encoding: from text to stretches, words and ids.
 *
 *    text ─▶ added tokens in the raw text ─▶ normalise the rest ─▶ added tokens in that
 *         ─▶ split ─▶ model */
#include <stdlib.h>

#include "internal.h"

enum { MAX_TEXT = 1 << 30 };

/* Tokens that are looked for in normalised text are looked for as the normaliser spells them. */
static sinter_status normalize_added(void *user)
{
   text_tokenizer *t = user;
   void *match_data = NULL;
   text_job job = {.t = t, .a = t->a, .match_data = &match_data};
   VEC(vocab_key) keys = {0};
   size_t count;

   for (uint32_t i = 0; i < t->v.num_added; i++) {
      const vocab_added *x = &t->v.added[i];
      text_piece out;
      if (!(x->flags & VOCAB_normalized))
         continue;
      SINTER_TRY(
         text_normalize(&job, (text_piece){text_operand(&t->v, x->content), x->len, true}, &out));
      if (out.len > 0)
         *vec_push(t->a, &keys) = (vocab_key){out.p, out.len, i + 1};
   }
   t->norm_node = vocab_trie(t->a, keys.data, keys.count, &count);
   t->num_norm_node = (uint32_t)count;
   return SINTER_ok;
}

static sinter_status init(text_tokenizer *t, const void *blob, size_t size)
{
   SINTER_TRY(vocab_open(blob, size, &t->v));
   t->norm_node = t->v.norm_node;
   t->num_norm_node = t->v.num_norm_node;
   bool normalizes =
      t->v.num_step > 0 && vocab_stage_of(t->v.step[0].kind) == VOCAB_STAGE_normalize;
   if (!normalizes || t->num_norm_node <= 1)
      return SINTER_ok;
   SINTER_TRY(arena_create(&t->a));
   return arena_catch(normalize_added, t);
}

sinter_status text_tokenizer_create(const void *blob, size_t size, text_tokenizer **out)
{
   text_tokenizer *t = calloc(1, sizeof *t);

   *out = NULL;
   if (!t)
      return base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   sinter_status status = init(t, blob, size);
   if (status == SINTER_ok)
      *out = t;
   else
      text_tokenizer_destroy(t);
   return status;
}

void text_tokenizer_destroy(text_tokenizer *t)
{
   if (!t)
      return;
   for (size_t i = 0; i < countof(t->regex); i++)
      text_regex_deinit(&t->regex[i]);
   arena_destroy(t->a);
   free(t);
}

const vocab *text_tokenizer_vocab(const text_tokenizer *t)
{
   return &t->v;
}

/* What the two searches for added tokens share. */
typedef struct encoder {
   text_job job;
   text_pieces buffers[2];
   const uint8_t *tainted; /* of the whole text */
   bool plain;
   void *match_data;
} encoder;

static sinter_status words(encoder *e, text_piece stretch)
{
   text_job *job = &e->job;

   if (stretch.len == 0)
      return SINTER_ok;
   job->pieces->count = 0;
   *vec_push(job->a, job->pieces) = stretch;
   SINTER_TRY(text_split(job));
   for (size_t i = 0; i < job->pieces->count; i++) {
      const text_piece *p = &job->pieces->data[i];
      if (job->t->v.header->model == VOCAB_bpe)
         text_bpe_word(job, p->p, p->len);
      else
         text_unigram_word(job, p->p, p->len);
   }
   return SINTER_ok;
}

/* Nothing where a token begins in white space that the one before it took, too. */
static text_piece between(text_piece in, uint32_t begin, uint32_t end)
{
   return (text_piece){in.p + begin, MAX(begin, end) - begin, in.at_start && begin == 0};
}

/* A stretch of raw text without raw added tokens: normalise, then look for those that are matched
 * normalised. */
static sinter_status stretch(encoder *e, text_piece raw)
{
   const vocab *v = &e->job.t->v;
   text_piece in;
   text_match m;
   uint32_t done = 0;

   if (raw.len == 0)
      return SINTER_ok;
   SINTER_TRY(text_normalize(&e->job, raw, &in));
   text_search s = {.v = v,
                    .nodes = e->job.t->norm_node,
                    .num_nodes = e->job.t->num_norm_node,
                    .p = in.p,
                    .len = in.len,
                    .plain = e->plain,
                    .specials_done = e->tainted != NULL};
   while (text_search_next(&s, &m)) {
      SINTER_TRY(words(e, between(in, done, m.begin)));
      *vec_push(e->job.a, e->job.out) = (int32_t)m.id;
      done = m.end;
   }
   return words(e, between(in, done, in.len));
}

static sinter_status encode(encoder *e, text_piece in)
{
   const vocab *v = &e->job.t->v;
   text_match m;
   uint32_t done = 0;
   text_search s = {.v = v,
                    .nodes = v->raw_node,
                    .num_nodes = v->num_raw_node,
                    .p = in.p,
                    .len = in.len,
                    .tainted = e->tainted,
                    .is_raw = true,
                    .plain = e->plain};

   while (text_search_next(&s, &m)) {
      SINTER_TRY(stretch(e, between(in, done, m.begin)));
      *vec_push(e->job.a, e->job.out) = (int32_t)m.id;
      done = m.end;
   }
   return stretch(e, between(in, done, in.len));
}

sinter_status text_encode(const text_tokenizer *t, arena *a, const char *text, size_t len,
                          const uint8_t *tainted, unsigned flags, int32_t **out_ids,
                          size_t *out_count)
{
   const vocab *v = &t->v;
   text_ids ids = {0};
   encoder e = {
      .job = {.t = t, .a = a, .out = &ids}, .tainted = tainted, .plain = flags & SINTER_TEXT_plain};

   if (len > MAX_TEXT)
      return base_fail(SINTER_usage, "tokenizer", "split the text", "the text has %zu bytes", len);
   e.job.pieces = &e.buffers[0];
   e.job.next = &e.buffers[1];
   e.job.match_data = &e.match_data;
   if (!(flags & SINTER_TEXT_no_bos))
      for (uint32_t i = 0; i < v->num_prefix; i++)
         *vec_push(a, &ids) = v->prefix[i];
   SINTER_TRY(encode(&e, (text_piece){(const uint8_t *)text, (uint32_t)len, true}));
   if (!(flags & SINTER_TEXT_no_bos))
      for (uint32_t i = 0; i < v->num_suffix; i++)
         *vec_push(a, &ids) = v->suffix[i];
   *out_ids = ids.data;
   *out_count = ids.count;
   return SINTER_ok;
}
