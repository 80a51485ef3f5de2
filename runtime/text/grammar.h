/* grammar.h - what a generated text may be: JSON of a schema, a regular expression, literals, and
 * compositions.
 *
 *    description (JSON) ─compile─▶ automaton over bytes with calls ─run─▶ for every place, the tokens that may follow
 *
 * Nothing is left out in silence: a schema keyword, format or regex feature that could not be held
 * to is an error, so every text that a grammar lets through is valid. A schema's properties come in
 * the order of the schema. */
#ifndef TEXT_GRAMMAR_H
#define TEXT_GRAMMAR_H

#include "base/base.h"

typedef struct text_tokenizer text_tokenizer;

typedef struct grammar grammar;

/* Compiles a description, one of
 *
 *    {"literal": "text"}   {"regex": "[a-z]+"}   {"json_schema": {…}}
 *    {"without": "text"}   any bytes that the text does not occur in, at most 64 of it
 *    {"seq": [d, …]}   {"any": [d, …]}   {"repeat": d, "min": 0, "max": 3, "between": ", "}
 *
 * Thread  The result is immutable and may be shared.
 * Errors  BAD_INPUT when it is malformed or nothing can match; UNSUPPORTED naming what the subset
 * lacks;
 *         EXHAUSTED when it needs too many states; OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status grammar_compile(const char *text, size_t len, grammar **out);
void grammar_free(grammar *g);

/* The tokens of a vocabulary by their bytes, as a trie. */
typedef struct grammar_vocab grammar_vocab;

/* Errors UNSUPPORTED for vocabularies whose tokens have no bytes of their own; OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status grammar_vocab_create(const text_tokenizer *t, grammar_vocab **out);
void grammar_vocab_destroy(grammar_vocab *v);

/* One text on its way. After creation nothing is allocated. */
typedef struct grammar_run grammar_run;

typedef struct grammar_ends {
   const int32_t *ids; /* tokens that end the text where it is complete */
   uint32_t count;
} grammar_ends;

/* g and v must live as long as the run. v may be NULL: then there is no mask.
 *
 *   num_tokens   bits of the mask */
SINTER_CHECKED sinter_status grammar_run_create(const grammar *g, const grammar_vocab *v,
                                                uint32_t num_tokens, grammar_ends ends,
                                                grammar_run **out);
/* The same of a public grammar. */
SINTER_CHECKED sinter_status grammar_start(const sinter_grammar *g, uint32_t num_tokens,
                                           grammar_ends ends, grammar_run **out);
void grammar_run_destroy(grammar_run *r);

/* The tokens that may come next: bit id % 32 of word id / 32. NULL when the text needs more states
 * than there is room for. Valid until the next call. */
const uint32_t *grammar_run_mask(grammar_run *r);

/* Whether a token may come next, as the mask says, found without one. False, too, when that needs
 * more states than there is room for: then only the mask can tell. */
bool grammar_run_allows(grammar_run *r, int32_t id);

/* Takes a token, or bytes. False when the text cannot go on like that. */
bool grammar_run_take(grammar_run *r, int32_t id);
bool grammar_run_bytes(grammar_run *r, const char *text, size_t len);
/* Whether a byte may come next, for tests. */
bool grammar_run_may(grammar_run *r, uint8_t byte);

/* The text so far is a whole match; and nothing can follow. */
bool grammar_run_is_complete(const grammar_run *r);
bool grammar_run_is_over(grammar_run *r);

#endif
