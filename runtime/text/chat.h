/* chat.h - chat templates: a bounded subset of Jinja, rendered as Hugging Face renders them.
 *
 *    template ─lexer─▶ tokens ─parser─▶ tree ─eval + messages─▶ text, and for every byte whether
 *                                                               a user wrote it
 *
 * The whitespace rules are trim_blocks and lstrip_blocks. Bounds: steps (fuel), depth, size of
 * output and of every string, range lengths; everything lives in the arena. Declined, with the
 * line: include, import, extends, block, call, filter blocks and filters or tests that are not in
 * jinja_names.def. */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "base/arena.h"

typedef struct text_chat_options {
   const char *bos_token, *eos_token; /* "" when there is none */
   bool add_generation_prompt;
   const char *tools_json; /* JSON array, or NULL */
   const char *extra_json; /* JSON object of further variables, or NULL */
   int64_t now;            /* seconds since 1970 for strftime_now; 0: the clock */
} text_chat_options;

typedef struct text_rendered {
   const char *text;
   const uint8_t *tainted; /* len bytes: 1 where the text came from the messages */
   size_t len;
} text_rendered;

/* Renders a template over a JSON array of messages. Call it under arena_catch.
 *
 * Errors BAD_INPUT for a template or messages that are malformed, or when the template itself
 * raises an exception; UNSUPPORTED naming what the subset lacks; EXHAUSTED when a bound is hit. */
SINTER_CHECKED sinter_status text_chat_render(arena *a, const char *source, size_t len,
                                              const char *messages_json, size_t messages_len,
                                              const text_chat_options *options, text_rendered *out);

#endif
