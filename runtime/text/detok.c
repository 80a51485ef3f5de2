/* detok.c - ids to text, all at once or one by one.
 *
 *    piece ─respell─▶ bytes ─▶ [byte run | broken character] held back ─▶ leading space off ─▶ text
 *
 * Held back: the run of byte pieces until something else follows (a run that is no UTF-8 as a whole
 * becomes one U+FFFD a byte), and in byte-level vocabularies the beginning of a character (at most
 * 3 bytes). */
#include <stdlib.h>

#include "internal.h"
#include "utf8.h"

typedef struct decoder {
   const text_tokenizer *t;
   text_buf out;      /* certain, not yet given */
   text_buf run;      /* byte pieces, or the beginning of a character */
   text_buf spare[2]; /* respelling */
   uint32_t to_strip; /* leading characters still to drop */
   bool started;      /* a piece was seen */
} decoder;

static void init(decoder *d, const text_tokenizer *t, arena *a)
{
   *d = (decoder){.t = t, .out = {.a = a}, .run = {.a = a}, .spare = {{.a = a}, {.a = a}}};
   d->to_strip = t->v.header->strip_left;
}

static void emit(decoder *d, const char *p, size_t len)
{
   while (len > 0 && d->to_strip > 0) {
      if ((uint8_t)*p != d->t->v.header->strip_char) {
         d->to_strip = 0;
         break;
      }
      d->to_strip--;
      p++;
      len--;
   }
   text_append(&d->out, p, len);
}

/* Gives what is certain of the held bytes; broken sequences become U+FFFD, a beginning stays unless
 * at the end. */
static void emit_lossy(decoder *d, bool at_end)
{
   const uint8_t *p = (const uint8_t *)d->run.data;
   size_t n = d->run.len, done = 0;

   while (done < n) {
      size_t valid = text_utf8_valid(p + done, n - done);
      emit(d, (const char *)p + done, valid);
      done += valid;
      if (done == n || (!at_end && text_utf8_pending(p + done, n - done)))
         break;
      emit(d, "\xef\xbf\xbd", 3);
      done += text_utf8_broken(p + done, n - done);
   }
   if (n > 0)
      memmove(d->run.data, d->run.data + done, n - done);
   d->run.len = n - done;
}

static void emit_run(decoder *d)
{
   const uint8_t *p = (const uint8_t *)d->run.data;

   if (d->run.len == 0)
      return;
   if (text_utf8_valid(p, d->run.len) == d->run.len)
      emit(d, d->run.data, d->run.len);
   else
      for (size_t i = 0; i < d->run.len; i++)
         emit(d, "\xef\xbf\xbd", 3);
   d->run.len = 0;
}

static void respell_one(const vocab *v, const vocab_step *s, bool drop, const uint8_t *p,
                        size_t len, text_buf *out)
{
   const uint8_t *hit;
   const char *to = (const char *)text_operand(v, s->b);

   out->len = 0;
   while (s->a_len > 0 && len > 0 && (hit = memmem(p, len, text_operand(v, s->a), s->a_len))) {
      text_append(out, (const char *)p, (size_t)(hit - p));
      text_append(out, to, drop ? 0 : s->b_len);
      len -= (size_t)(hit - p) + s->a_len;
      p = hit + s->a_len;
   }
   text_append(out, (const char *)p, len);
}

static void emit_piece(decoder *d, const uint8_t *p, size_t len)
{
   const vocab *v = &d->t->v;
   bool drop = (v->header->flags & VOCAB_decode_first) && !d->started;
   int turn = 0;

   for (uint32_t i = 0; i < v->num_step; i++) {
      if (v->step[i].kind != VOCAB_STEP_respell)
         continue;
      respell_one(v, &v->step[i], drop, p, len, &d->spare[turn]);
      p = (const uint8_t *)d->spare[turn].data;
      len = d->spare[turn].len;
      turn = !turn;
   }
   if (d->started && (v->header->flags & VOCAB_decode_spaced))
      emit(d, " ", 1);
   emit(d, (const char *)p, len);
}

static uint8_t byte_of(const uint8_t *spelling)
{
   uint8_t value = 0; /* "<0xNN>", checked by the importer */

   for (int i = 3; i < 5; i++)
      value = (uint8_t)(value * 16 +
                        (spelling[i] <= '9' ? spelling[i] - '0' : (spelling[i] | 32) - 'a' + 10));
   return value;
}

static sinter_status check_id(const vocab *v, int32_t id)
{
   if (id >= 0 && (uint32_t)id < v->header->num_pieces)
      return SINTER_ok;
   return base_fail(SINTER_usage, "detokenize", "use ids below the vocabulary's size",
                    "there is no token %d: the vocabulary has %u", id, v->header->num_pieces);
}

/* Special, and in no text. */
static bool is_hidden(const vocab *v, uint32_t id)
{
   return (v->attr[id] & (VOCAB_special | VOCAB_shown)) == VOCAB_special;
}

static sinter_status push(decoder *d, int32_t id)
{
   const vocab *v = &d->t->v;
   size_t len;

   SINTER_TRY(check_id(v, id));
   if (is_hidden(v, (uint32_t)id))
      return SINTER_ok;
   const uint8_t *p = vocab_piece(v, (uint32_t)id, &len);
   if (v->header->flags & VOCAB_byte_level) {
      text_append(&d->run, (const char *)p, len);
      emit_lossy(d, false);
   } else if ((v->header->flags & VOCAB_decode_bytes) && (v->attr[id] & VOCAB_byte) && len == 6) {
      uint8_t byte = byte_of(p);
      text_append(&d->run, (const char *)&byte, 1);
   } else {
      emit_run(d);
      emit_piece(d, p, len);
   }
   d->started = true;
   return SINTER_ok;
}

static void end(decoder *d)
{
   if (d->t->v.header->flags & VOCAB_byte_level)
      emit_lossy(d, true);
   else
      emit_run(d);
}

sinter_status text_decode(const text_tokenizer *t, arena *a, const int32_t *ids, size_t count,
                          char **out, size_t *out_len)
{
   decoder d;

   init(&d, t, a);
   for (size_t i = 0; i < count; i++)
      SINTER_TRY(push(&d, ids[i]));
   end(&d);
   *out = d.out.data ? d.out.data : arena_strdup(a, "");
   *out_len = d.out.len;
   return SINTER_ok;
}

static void spell(decoder *d, uint32_t id, text_buf *out)
{
   const vocab *v = &d->t->v;
   size_t len;

   if (v->attr[id] & (VOCAB_special | VOCAB_unused))
      return;
   const uint8_t *p = vocab_piece(v, id, &len);
   if (v->header->flags & VOCAB_byte_level) {
      text_append(out, (const char *)p, len);
   } else if ((v->header->flags & VOCAB_decode_bytes) && (v->attr[id] & VOCAB_byte) && len == 6) {
      text_append(out, (const char[]){(char)byte_of(p)}, 1);
   } else {
      d->out.len = 0;
      emit_piece(d, p, len);
      text_append(out, d->out.data ? d->out.data : "", d->out.len);
   }
}

/* What is decoded next is not the begin of a text. */
static void pass_begin(decoder *d)
{
   d->to_strip = 0;
   d->started = true;
}

static void init_spelling(decoder *d, const text_tokenizer *t, arena *a)
{
   init(d, t, a);
   pass_begin(d);
}

sinter_status text_spell_one(const text_tokenizer *t, arena *a, int32_t id, text_buf *out,
                             bool *out_special)
{
   decoder d;
   size_t len;

   SINTER_TRY(check_id(&t->v, id));
   *out_special = is_hidden(&t->v, (uint32_t)id);
   if (t->v.attr[id] & VOCAB_special) {
      const uint8_t *p = vocab_piece(&t->v, (uint32_t)id, &len);
      text_append(out, (const char *)p, len);
      return SINTER_ok;
   }
   init_spelling(&d, t, a);
   spell(&d, (uint32_t)id, out);
   return SINTER_ok;
}

void text_spell(const text_tokenizer *t, arena *a, text_buf *out, uint32_t *offset)
{
   decoder d;

   init_spelling(&d, t, a);
   for (uint32_t id = 0; id < t->v.header->num_pieces; id++) {
      offset[id] = (uint32_t)out->len;
      spell(&d, id, out);
   }
   offset[t->v.header->num_pieces] = (uint32_t)out->len;
}

/* ---- one by one ---- */

struct text_stream {
   arena *a;
   decoder d;
   int32_t id;
   bool at_end;
};

sinter_status text_stream_create(const text_tokenizer *t, text_stream **out)
{
   text_stream *s = calloc(1, sizeof *s);

   *out = NULL;
   if (!s)
      return base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   sinter_status status = arena_create(&s->a);
   if (status != SINTER_ok) {
      free(s);
      return status;
   }
   init(&s->d, t, s->a);
   *out = s;
   return SINTER_ok;
}

void text_stream_destroy(text_stream *s)
{
   if (!s)
      return;
   arena_destroy(s->a);
   free(s);
}

void text_stream_continue(text_stream *s)
{
   pass_begin(&s->d);
}

static sinter_status advance(void *user)
{
   text_stream *s = user;

   if (!s->at_end)
      return push(&s->d, s->id);
   end(&s->d);
   return SINTER_ok;
}

static sinter_status give(text_stream *s, const char **out, size_t *out_len)
{
   s->d.out.len = 0;
   sinter_status status = arena_catch(advance, s);
   *out = s->d.out.data ? s->d.out.data : "";
   *out_len = s->d.out.len;
   return status;
}

sinter_status text_stream_push(text_stream *s, int32_t id, const char **out, size_t *out_len)
{
   s->id = id;
   return give(s, out, out_len);
}

sinter_status text_stream_finish(text_stream *s, const char **out, size_t *out_len)
{
   s->at_end = true;
   return give(s, out, out_len);
}
