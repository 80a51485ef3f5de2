/* grammar_build.h - the automaton of a grammar, and how it is put together.
 *
 * States are built from the end: every builder takes the state that follows and returns the one
 * that leads there. A rule is a state others call; it ends in GRAMMAR_RET. */
#ifndef TEXT_GRAMMAR_BUILD_H
#define TEXT_GRAMMAR_BUILD_H

#include "base/json.h"

enum {
   GRAMMAR_FAIL, /* the state that nothing follows */
   GRAMMAR_RET,  /* back to the caller; with none, the text is complete */
   GRAMMAR_MAX_STATES = 1 << 17,
   GRAMMAR_MAX_REGEX = 4096, /* bytes */
   GRAMMAR_UNBOUNDED = -1,   /* as the most of a repetition */
};

typedef enum grammar_kind {
   GRAMMAR_fail,
   GRAMMAR_ret,
   GRAMMAR_byte,  /* lo..hi, then a */
   GRAMMAR_split, /* a or b */
   GRAMMAR_jump,  /* a */
   GRAMMAR_call,  /* rule a, then b */
} grammar_kind;

typedef struct grammar_state {
   uint8_t kind, lo, hi;
   uint32_t a, b;
} grammar_state;

/* What lies between the tokens of JSON: nothing, a space, or a line break and some indentation. */
typedef enum grammar_shared {
   GRAMMAR_SPACE,
   GRAMMAR_CHAR,   /* one character of a JSON string, any spelling */
   GRAMMAR_STRING, /* any JSON string */
   GRAMMAR_NUMBER,
   GRAMMAR_INTEGER,
   GRAMMAR_ANY, /* any JSON value */
   GRAMMAR_SHARED_COUNT
} grammar_shared;

typedef struct grammar_builder {
   arena *a;
   VEC(grammar_state) states;
   bool full; /* too many states: what is built is wrong */
   uint32_t shared[GRAMMAR_SHARED_COUNT];
} grammar_builder;

void grammar_builder_init(grammar_builder *b, arena *a);

uint32_t grammar_byte(grammar_builder *b, uint8_t lo, uint8_t hi, uint32_t next);
uint32_t grammar_or(grammar_builder *b, uint32_t x, uint32_t y);
uint32_t grammar_call_rule(grammar_builder *b, uint32_t rule, uint32_t next);
uint32_t grammar_text(grammar_builder *b, const char *text, size_t len, uint32_t next);
/* A state to be filled in later, for loops and rules that call themselves. */
uint32_t grammar_open(grammar_builder *b);
void grammar_close(grammar_builder *b, uint32_t open, uint32_t to);
/* JSON that is made here must be read again, also by programs whose numbers are doubles: so many
 * digits in front of the point, and two in an exponent, stay below 10^299. */
enum { GRAMMAR_WHOLE_DIGITS = 200 };

/* None to `most` digits. */
uint32_t grammar_digits(grammar_builder *b, uint32_t most, uint32_t next);
/* rule, least to most times; most may be GRAMMAR_UNBOUNDED. */
uint32_t grammar_repeat_rule(grammar_builder *b, uint32_t rule, int64_t least, int64_t most,
                             uint32_t next);
/* The rule of a shared part, made on first use. */
uint32_t grammar_shared_rule(grammar_builder *b, grammar_shared what);
uint32_t grammar_space(grammar_builder *b, uint32_t next);

/* Code points, ascending and apart once normalised. */
typedef struct grammar_range {
   uint32_t lo, hi;
} grammar_range;

typedef VEC(grammar_range) grammar_set;

void grammar_set_add(grammar_builder *b, grammar_set *s, uint32_t lo, uint32_t hi);
void grammar_set_normalize(grammar_set *s);
void grammar_set_complement(grammar_builder *b, grammar_set *s);

/* One character of a normalised set, in UTF-8; as_json: as it is spelled inside a JSON string. */
uint32_t grammar_class(grammar_builder *b, const grammar_set *s, bool as_json, uint32_t next);
/* One code point inside a JSON string, in its one spelling. */
uint32_t grammar_json_char(grammar_builder *b, uint32_t c, uint32_t next);
/* A whole JSON string, in one spelling. */
uint32_t grammar_json_string(grammar_builder *b, const char *text, size_t len, uint32_t next);
/* The code point at *at of valid UTF-8. */
uint32_t grammar_decode(const char *text, size_t len, size_t *at);

typedef enum grammar_anchor {
   GRAMMAR_WHOLE,  /* the regex matches all of the text */
   GRAMMAR_SEARCH, /* it occurs in the text, unless ^ and $ say more */
} grammar_anchor;

SINTER_CHECKED sinter_status grammar_regex(grammar_builder *b, const char *text, size_t len,
                                           grammar_anchor anchor, bool as_json, uint32_t next,
                                           uint32_t *out);

/* Bounds of a number; the text of each is a decimal, NULL when there is none. */
typedef struct grammar_bounds {
   const json *least, *most;
   bool above, below; /* least, most are excluded */
   bool integer;
} grammar_bounds;

SINTER_CHECKED sinter_status grammar_number(grammar_builder *b, const grammar_bounds *n,
                                            uint32_t next, uint32_t *out);

/* A value of a JSON schema, as a rule. */
SINTER_CHECKED sinter_status grammar_schema(grammar_builder *b, const json *schema,
                                            uint32_t *out_rule);

#endif
