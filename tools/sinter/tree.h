/* tree.h - a small JSON tree: the library's documents, and what clients of the server send.
 *
 * Strict: one value, UTF-8, no control characters in strings, at most TREE_MAX_DEPTH deep. */
#ifndef TREE_H
#define TREE_H

#include <stdbool.h>
#include <stddef.h>

enum { TREE_MAX_DEPTH = 128 };

typedef enum tree_kind {
   TREE_null,
   TREE_bool,
   TREE_number,
   TREE_string,
   TREE_object,
   TREE_array
} tree_kind;

typedef struct tree {
   tree_kind kind;
   /* In an object, else NULL. A name with a NUL in it, which no C string can be, is "\1": nothing
    * that is looked for. */
   char *key;
   const char *name; /* the key as it was written, NULs and all */
   size_t name_len;
   char
      *text; /* strings, numbers and literals ("null", "yes", "no") as text; NULL for containers */
   size_t len; /* of text, which may hold NULs */
   struct tree *first, *last, *next;
} tree;

/* NULL when text is not JSON. */
tree *tree_parse(const char *text, size_t len);
/* The same, NULL also when there are more than max_nodes values: a bound on memory. */
tree *tree_parse_limited(const char *text, size_t len, size_t max_nodes);
/* The same, with what is wrong and the byte at which it was seen, when NULL is returned. */
typedef struct tree_fault {
   const char *what;
   size_t at;
} tree_fault;
tree *tree_parse_telling(const char *text, size_t len, size_t max_nodes, tree_fault *out);
/* Without overlong characters, halves of surrogate pairs and what lies past U+10FFFF. */
bool tree_is_utf8(const char *text, size_t len);
/* Takes a root, or NULL. */
void tree_free(tree *root);

/* NULL-safe: member of an object; first child; number of children; text ("" when none; for
 * containers their count). */
const tree *tree_get(const tree *t, const char *key);
const tree *tree_first(const tree *t);
size_t tree_count(const tree *t);
const char *tree_string(const tree *t);

/* prediction.c: tables of what the kernels of an explain document should take. */
void cli_prediction(const tree *explain);

#endif
