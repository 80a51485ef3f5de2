/* tokenizer.h - text to ids and back, over a precompiled vocabulary (base/vocab.h).
 *
 *    text ─added tokens─▶ stretches ─normalise─▶ ─split─▶ words ─BPE or unigram─▶ ids (tokenizer.c)
 *    ids ─▶ pieces ─respell, byte runs, leading space─▶ text (detok.c)
 *
 * Valid text gives the ids of the `tokenizers` package. Bytes that are no UTF-8 become byte pieces
 * where the vocabulary has them, so that nothing is lost; else the unknown token. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "base/arena.h"
#include "base/vocab.h"

typedef struct text_tokenizer text_tokenizer;

/* Opens a blob, which must stay mapped. Regexes are compiled on first use. Thread: the result may
 * be shared. */
SINTER_CHECKED sinter_status text_tokenizer_create(const void *blob, size_t size,
                                                   text_tokenizer **out);
void text_tokenizer_destroy(text_tokenizer *t);
const vocab *text_tokenizer_vocab(const text_tokenizer *t);

/* Encodes len bytes.
 *
 *   tainted  NULL, or len bytes: where it is not 0, no special token is recognised (text of a
 *            user in a chat)
 *   flags    SINTER_TEXT_no_bos, SINTER_TEXT_plain
 *
 * The ids are in `a`; call it under arena_catch.
 * Errors USAGE for text over 1 GiB; EXHAUSTED when a regex of the model gives up. */
SINTER_CHECKED sinter_status text_encode(const text_tokenizer *t, arena *a, const char *text,
                                         size_t len, const uint8_t *tainted, unsigned flags,
                                         int32_t **out_ids, size_t *out_count);

/* The text of ids, without special tokens; valid UTF-8. Errors USAGE for an id outside the
 * vocabulary. */
SINTER_CHECKED sinter_status text_decode(const text_tokenizer *t, arena *a, const int32_t *ids,
                                         size_t count, char **out, size_t *out_len);

/* Decodes a growing list of ids. What all calls gave, joined, is text_decode of all ids; nothing is
 * given that a later id could change, so never half a character. */
typedef struct text_stream text_stream;

SINTER_CHECKED sinter_status text_stream_create(const text_tokenizer *t, text_stream **out);
void text_stream_destroy(text_stream *s);
/* Before the first id: those to come are the middle of a text, whose begin may lose a space. */
void text_stream_continue(text_stream *s);

/* Takes one id; *out (valid until the next call) is the text that became certain. */
SINTER_CHECKED sinter_status text_stream_push(text_stream *s, int32_t id, const char **out,
                                              size_t *out_len);
/* The rest, at the end. */
SINTER_CHECKED sinter_status text_stream_finish(text_stream *s, const char **out, size_t *out_len);

#endif
