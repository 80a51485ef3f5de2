/* values.h - reading values of a request body; what they are used for is in params.c and its
 * neighbours. */
#ifndef SERVE_VALUES_H
#define SERVE_VALUES_H

#include "host.h"

/* "'param' must be <want>"; false. */
bool value_bad(fault *f, const char *param, const char *want);
bool value_is_null(const tree *t);
/* whole: refuses fractions. */
bool value_number(const tree *t, bool whole, double *out);
/* Exact also where a double is not. */
bool value_int(const tree *t, int64_t *out);
bool value_flag(const tree *t, bool *out);
/* NULL, or a string's text; "" for other kinds. */
bool value_is(const tree *t, const char *text);

/* The value as JSON text again. */
void value_write(buffer *b, const tree *t);
/* A copy that the caller frees. */
char *value_copy(const char *text, size_t len);

/* Fields of a body that functions of their own read. */
typedef bool value_taker(ask *a, const tree *t, const host *h, fault *f);
#define OWN(name, on, what) value_taker take_##name;
#define NUM(name, kind, least, most, field, on, what)
#define FLAG(name, field, on, what)
#define SKIP(name, on)
#define NOT(name, neutral, on)
#include "params.def"
#undef NUM
#undef FLAG
#undef OWN
#undef SKIP
#undef NOT

/* The field that the prompt is made of. */
const char *prompt_param(const ask *a);
/* A prompt of the request, tokenized. */
bool prompt_add_text(ask *a, const char *text, size_t len, const host *h, fault *f);
bool prompt_add_ids(ask *a, const tree *list, const host *h, fault *f);
/* The chat of a->messages through the model's template, once all fields are read. */
bool prompt_add_chat(ask *a, const host *h, fault *f);
/* Ids of an array of numbers, all below the vocabulary's size; the caller frees *out. */
bool prompt_read_ids(const tree *t, const host *h, const char *param, int32_t **out, size_t *count,
                     fault *f);

/* Messages of a body, appended to a->messages. */
bool message_add(ask *a, const tree *m, fault *f);
/* Whether the model can see all that a message shows; false with a fault. */
bool message_fits(const tree *m, const host *h, fault *f);
/* Says which of the messages a fault is of. */
void message_name(const ask *a, size_t i, fault *f);
/* Opens and closes the list. */
void message_open(ask *a);
void message_close(ask *a);

/* How the model writes tool calls, when it was given tools; NULL with a fault when it cannot. */
bool tools_prepare(ask *a, const host *h, fault *f);
/* Compiles what the answer may be, once all fields are read. */
bool format_compile(ask *a, const host *h, fault *f);
/* Adds a constraint; two of them are a fault. */
bool format_set(ask *a, const char *param, buffer *description, fault *f);

#endif
