/* lex.h - the tokens of the IR text, with their place; for parse.c. */
#ifndef IR_LEX_H
#define IR_LEX_H

#include "internal.h"

typedef enum token_kind {
   TOKEN_end,
   TOKEN_name,   /* func, f32, silu, … */
   TOKEN_value,  /* %x: text is x */
   TOKEN_func,   /* @main: text is main */
   TOKEN_number, /* sign apart */
   TOKEN_string, /* with its quotes */
   TOKEN_dots,   /* .. */
   TOKEN_punct,  /* one character */
} token_kind;

typedef struct token {
   token_kind kind;
   const char *text;
   size_t len;
   uint32_t line, column;
} token;

typedef struct lexer {
   arena *a;
   const char *at, *end, *where, *line_start;
   uint32_t line;
   token now; /* the current token */
} lexer;

void lex_init(lexer *l, arena *a, const char *text, size_t len, const char *where);

/* Moves to the next token; fails on a character that starts none. */
SINTER_CHECKED sinter_status lex_next(lexer *l);

/* A failure at a token: file, line, column. */
SINTER_CHECKED sinter_status lex_fail(const lexer *l, const token *at, const char *fmt, ...)
   PRINTF_LIKE(3, 4);

bool lex_is(const lexer *l, char punct);
bool lex_is_name(const lexer *l, const char *name);
bool lex_token_is(const token *t, const char *name);

/* Takes a character when it is next. */
SINTER_CHECKED sinter_status lex_take(lexer *l, char punct, bool *out_taken);
SINTER_CHECKED sinter_status lex_expect(lexer *l, char punct);

/* An optional sign and a whole number of at most `limit`. */
SINTER_CHECKED sinter_status lex_int(lexer *l, int64_t limit, int64_t *out);
SINTER_CHECKED sinter_status lex_float(lexer *l, double *out);
/* A quoted string without NUL, unescaped, in the arena. */
SINTER_CHECKED sinter_status lex_string(lexer *l, const char **out);

#endif
