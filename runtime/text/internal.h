/* internal.h - what the files of the tokenizer share. */
#ifndef TEXT_INTERNAL_H
#define TEXT_INTERNAL_H

#include "regex.h"
#include "tokenizer.h"

struct text_tokenizer {
   vocab v;
   text_regex regex[VOCAB_MAX_STEPS]; /* by step; compiled on first use */
   arena *a;                          /* of the trie below, when it is no part of the blob */
   const vocab_node *norm_node;       /* added tokens as the normaliser spells them */
   uint32_t num_norm_node;
};

/* A stretch of text on its way to ids. */
typedef struct text_piece {
   const uint8_t *p;
   uint32_t len;
   bool at_start; /* begins where the whole text begins */
} text_piece;

typedef VEC(text_piece) text_pieces;
typedef VEC(int32_t) text_ids;

typedef struct text_job {
   const text_tokenizer *t;
   arena *a;
   text_ids *out;
   text_pieces *pieces, *next; /* current pieces, and those a step makes; swapped */
   struct text_bpe *bpe;       /* reused between words */
   struct text_lattice *lattice;
   void **match_data; /* of PCRE2, shared by all searches of the job */
} text_job;

static inline const uint8_t *text_operand(const vocab *v, uint32_t offset)
{
   return v->strings + offset;
}

/* Runs the normalising steps over a stretch; results live in the job's arena. */
SINTER_CHECKED sinter_status text_normalize(const text_job *job, text_piece in, text_piece *out);

/* Runs the splitting steps over job->pieces. */
SINTER_CHECKED sinter_status text_split(text_job *job);

/* Append the ids of one word. */
void text_bpe_word(text_job *job, const uint8_t *p, uint32_t len);
void text_unigram_word(text_job *job, const uint8_t *p, uint32_t len);

/* Appends the bytes that every id gives inside of a text, none for control tokens; id i's begin at
 * offset[i], and offset has one more item for the end. */
void text_spell(const text_tokenizer *t, arena *a, text_buf *out, uint32_t *offset);
/* The same of one id; of a control token its name. */
SINTER_CHECKED sinter_status text_spell_one(const text_tokenizer *t, arena *a, int32_t id,
                                            text_buf *out, bool *out_special);

/* A token found in text before the model sees it. */
typedef struct text_match {
   uint32_t begin, end; /* with the white space it takes */
   uint32_t id;
} text_match;

/* What the search over one stretch knows. */
typedef struct text_search {
   const vocab *v;
   const vocab_node *nodes;
   uint32_t num_nodes;
   const uint8_t *p;
   uint32_t len, at, taken; /* search from `at`; text before `taken` belongs to the last match */
   const uint8_t *tainted;  /* of this stretch, or NULL */
   bool plain;              /* special tokens are text */
   bool is_raw; /* before normalising: tokens of normalised text wait, but for special ones under
                   taint, which have to be found where the taint is known */
   bool specials_done; /* special tokens were looked for already */
} text_search;

bool text_search_next(text_search *s, text_match *out);

#endif
