/* vocab_build.h - collecting a tokenizer, and writing the blob of base/vocab.h from it. */
#ifndef MODEL_VOCAB_BUILD_H
#define MODEL_VOCAB_BUILD_H

#include "base/arena.h"
#include "base/vocab.h"

typedef struct build_piece {
   const char
      *text; /* as the checkpoint spells it; the writer turns byte-level spellings into bytes */
   size_t len;
   uint8_t attr;  /* vocab_attr */
   bool is_set;   /* there is a piece of this id */
   bool in_model; /* the model may make it; else only a search for added tokens finds it */
   double score;
} build_piece;

typedef struct build_added {
   const char *content; /* what is looked for in text */
   size_t len;
   uint32_t id, flags;
} build_added;

typedef struct vocab_build {
   arena *a;
   vocab_model model;
   uint32_t flags;
   int32_t unk;
   uint32_t strip_left, strip_char;
   double unk_score;
   VEC(build_piece) pieces; /* by id */
   VEC(vocab_merge) merges; /* by rank, later duplicates win; `made` is VOCAB_NONE until known */
   VEC(build_added) added;
   VEC(vocab_step) steps;
   VEC(int32_t) prefix, suffix;
   text_buf strings;
   uint32_t *order; /* implied merges only, one per piece */
} vocab_build;

void build_init(vocab_build *b, arena *a);

/* Sets piece id (below VOCAB_MAX_PIECES); gaps before it become unused pieces. */
void build_set_piece(vocab_build *b, uint32_t id, const char *text, size_t len, uint8_t attr,
                     double score);

void build_step(vocab_build *b, vocab_step_kind kind, uint32_t flags, const char *a, size_t a_len,
                const char *second, size_t b_len);

/* Writes the blob into the arena. Steps are put into stage order. Pieces that only a special token
 * may make (attr VOCAB_special) and merges that make one are left out of every table, so that plain
 * text cannot reach them. */
void build_finish(vocab_build *b, const uint8_t **out, size_t *out_size);

/* The byte-level alphabet: GPT-2's one character per byte. byte_level_decode gives the bytes a
 * spelling stands for and true, or false when a character is outside the alphabet; out holds at
 * least len bytes. */
bool byte_level_decode(const char *text, size_t len, uint8_t *out, size_t *out_len);

/* The byte of a "<0xNN>" spelling, -1 for any other. */
int byte_piece(const char *text, size_t len);

/* A pattern of Oniguruma, as tokenizer.json holds them, in PCRE2's syntax with the same meaning;
 * *out in the arena. Errors UNSUPPORTED for constructs that PCRE2 lacks, BAD_INPUT when the result
 * does not compile. */
SINTER_CHECKED sinter_status regex_translate(arena *a, const char *pattern, size_t len,
                                             const char **out, size_t *out_len);

#endif
