/* json.h - strict JSON: a tree reader on yajl, and a writer into a text_buf.
 *
 * The reader refuses trailing text, duplicate keys, invalid UTF-8, numbers that overflow and
 * nesting over 64 levels, and reports the byte offset. Trees live in the arena; strings are
 * NUL-terminated and may hold NUL inside (use len). */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "arena.h"

typedef enum json_kind {
   JSON_null,
   JSON_bool,
   JSON_int,
   JSON_float,
   JSON_string,
   JSON_array,
   JSON_object
} json_kind;

typedef struct json {
   json_kind kind;
   bool boolean;
   int64_t integer;     /* JSON_int */
   double number;       /* JSON_int and JSON_float */
   const char *string;  /* JSON_string */
   size_t len;          /* bytes of string, items of array or object */
   struct json **items; /* array and object values */
   const char **keys;   /* object keys, in source order */
   const size_t *key_lens;
   size_t offset; /* byte offset in the source */
} json;

/* where: what to name in errors, e.g. a file name. */
SINTER_CHECKED sinter_status json_parse(arena *a, const char *text, size_t len, const char *where,
                                        json **out);

/* Member of an object, NULL when absent or when j is no object. Linear for small objects, hashed
 * above. */
const json *json_get(const json *j, const char *key);

/* Writer helpers: a quoted, escaped string; a shortest round-trip double. */
void json_write_string(text_buf *t, const char *s, size_t len);
void json_write_double(text_buf *t, double v);

/* A tree as text, without blanks. */
void json_write(text_buf *t, const json *j);
/* The same in the arena; "nothing" for NULL. */
const char *json_text_of(arena *a, const json *j);

#endif
