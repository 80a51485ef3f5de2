/* tree.c - the tree, built by yajl's callbacks. */
#include "tree.h"

#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum { MAX_DEPTH = 32 };

typedef struct builder {
   tree *root, *stack[MAX_DEPTH];
   int depth;
   char *key;
} builder;

static char *copy(const void *s, size_t len)
{
   char *p = malloc(len + 1);

   if (p) {
      memcpy(p, s, len);
      p[len] = 0;
   }
   return p;
}

static tree *add(builder *b, const char *text, size_t len)
{
   tree *t = calloc(1, sizeof *t);

   if (!t)
      return NULL;
   t->text = text ? copy(text, len) : NULL;
   t->key = b->key;
   b->key = NULL;
   if (!b->depth) {
      b->root = t;
      return t;
   }
   tree *parent = b->stack[b->depth - 1];
   if (parent->last)
      parent->last->next = t;
   else
      parent->first = t;
   parent->last = t;
   return t;
}

static int on_null(void *user)
{
   return add(user, "null", 4) != NULL;
}

static int on_bool(void *user, int v)
{
   return add(user, v ? "yes" : "no", v ? 3 : 2) != NULL;
}

static int on_number(void *user, const char *s, size_t len)
{
   return add(user, s, len) != NULL;
}

static int on_string(void *user, const unsigned char *s, size_t len)
{
   return add(user, (const char *)s, len) != NULL;
}

static int on_open(void *user)
{
   builder *b = user;
   tree *t = b->depth < MAX_DEPTH ? add(b, NULL, 0) : NULL;

   if (t)
      b->stack[b->depth++] = t;
   return t != NULL;
}

static int on_key(void *user, const unsigned char *s, size_t len)
{
   builder *b = user;

   b->key = copy(s, len);
   return b->key != NULL;
}

static int on_close(void *user)
{
   ((builder *)user)->depth--;
   return 1;
}

tree *tree_parse(const char *text, size_t len)
{
   static const yajl_callbacks callbacks = {
      .yajl_null = on_null,
      .yajl_boolean = on_bool,
      .yajl_number = on_number,
      .yajl_string = on_string,
      .yajl_start_map = on_open,
      .yajl_map_key = on_key,
      .yajl_end_map = on_close,
      .yajl_start_array = on_open,
      .yajl_end_array = on_close,
   };
   builder b = {0};
   yajl_handle y = yajl_alloc(&callbacks, NULL, &b);
   int ok = yajl_parse(y, (const unsigned char *)text, len) == yajl_status_ok &&
            yajl_complete_parse(y) == yajl_status_ok;

   yajl_free(y);
   free(b.key);
   if (!ok) {
      tree_free(b.root);
      return NULL;
   }
   return b.root;
}

void tree_free(tree *t)
{
   while (t) {
      tree *next = t->next;
      tree_free(t->first);
      free(t->key);
      free(t->text);
      free(t);
      t = next;
   }
}

const tree *tree_get(const tree *t, const char *key)
{
   for (const tree *c = tree_first(t); c; c = c->next)
      if (c->key && strcmp(c->key, key) == 0)
         return c;
   return NULL;
}

const tree *tree_first(const tree *t)
{
   return t ? t->first : NULL;
}

size_t tree_count(const tree *t)
{
   size_t n = 0;

   if (t && t->text)
      return (size_t)strtoull(t->text, NULL, 10);
   for (const tree *c = tree_first(t); c; c = c->next)
      n++;
   return n;
}

const char *tree_string(const tree *t)
{
   return t && t->text ? t->text : "";
}
