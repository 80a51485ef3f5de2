/* tree.h - a small JSON tree for showing the library's documents as tables. */
#ifndef TREE_H
#define TREE_H

#include <stddef.h>

typedef struct tree {
   char *key;  /* in an object, else NULL */
   char *text; /* strings, numbers and literals as text; NULL for containers */
   struct tree *first, *last, *next;
} tree;

/* NULL when text is not JSON. */
tree *tree_parse(const char *text, size_t len);
void tree_free(tree *t);

/* NULL-safe: member of an object; first child; number of children; text ("" when none; for
 * containers their count). */
const tree *tree_get(const tree *t, const char *key);
const tree *tree_first(const tree *t);
size_t tree_count(const tree *t);
const char *tree_string(const tree *t);

#endif
