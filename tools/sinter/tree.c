/* tree.c - the tree, built by yajl's callbacks in a few blocks, which are freed together. Large
 * ones come and go without a trace: single nodes, kept by malloc's lists of small pieces, hold the
 * memory of a large tree long after it. */
#include "tree.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <yajl/yajl_parse.h>

enum { FIRST_BLOCK = 4 << 10, LARGEST_BLOCK = 1 << 20 };

typedef struct block {
   struct block *next;
   size_t used, size;
   _Alignas(8) char data[]; /* of the first: the root, then whatever comes */
} block;

typedef struct builder {
   tree *root, *stack[TREE_MAX_DEPTH];
   int depth;
   size_t nodes_left;
   block *blocks, *current;
   char *key;
   const char *name;
   size_t name_len;
} builder;

static bool add_block(builder *b, size_t least)
{
   size_t size = b->current ? 2 * b->current->size : FIRST_BLOCK;

   size = size < LARGEST_BLOCK ? size : LARGEST_BLOCK;
   size = size < least ? least : size;
   block *fresh = malloc(sizeof *fresh + size);
   if (!fresh)
      return false;
   *fresh = (block){.size = size};
   *(b->current ? &b->current->next : &b->blocks) = fresh;
   b->current = fresh;
   return true;
}

static void *take(builder *b, size_t bytes)
{
   size_t whole = (bytes + 7) & ~(size_t)7;
   block *at = b->current;

   if ((!at || at->size - at->used < whole) && !add_block(b, whole))
      return NULL;
   at = b->current;
   at->used += whole;
   return at->data + at->used - whole;
}

static char *copy(builder *b, const void *s, size_t len)
{
   char *p = take(b, len + 1);

   if (p) {
      memcpy(p, s, len);
      p[len] = 0;
   }
   return p;
}

static tree *add(builder *b, tree_kind kind, const char *text, size_t len)
{
   tree *t = b->nodes_left ? take(b, sizeof *t) : NULL;
   char *own = t && text ? copy(b, text, len) : NULL;

   if (!t || (text && !own))
      return NULL;
   b->nodes_left--;
   *t = (tree){.kind = kind,
               .text = own,
               .len = len,
               .key = b->key,
               .name = b->name,
               .name_len = b->name_len};
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
   return add(user, TREE_null, "null", 4) != NULL;
}

static int on_bool(void *user, int v)
{
   return add(user, TREE_bool, v ? "yes" : "no", v ? 3 : 2) != NULL;
}

static int on_number(void *user, const char *s, size_t len)
{
   return add(user, TREE_number, s, len) != NULL;
}

static int on_string(void *user, const unsigned char *s, size_t len)
{
   return add(user, TREE_string, (const char *)s, len) != NULL;
}

static int open_container(builder *b, tree_kind kind)
{
   tree *t = b->depth < TREE_MAX_DEPTH ? add(b, kind, NULL, 0) : NULL;

   if (t)
      b->stack[b->depth++] = t;
   return t != NULL;
}

static int on_object(void *user)
{
   return open_container(user, TREE_object);
}

static int on_array(void *user)
{
   return open_container(user, TREE_array);
}

static int on_key(void *user, const unsigned char *s, size_t len)
{
   builder *b = user;

   bool is_odd = memchr(s, 0, len) != NULL;
   b->key = take(b, len + 3);
   if (!b->key)
      return 0;
   memcpy(b->key, "\1", 2);
   memcpy(b->key + (is_odd ? 2 : 0), s, len);
   b->key[len + (is_odd ? 2 : 0)] = 0;
   b->name = b->key + (is_odd ? 2 : 0);
   b->name_len = len;
   return 1;
}

static int on_close(void *user)
{
   ((builder *)user)->depth--;
   return 1;
}

/* Value of \uXXXX at s, -1 when that is something else. */
static long escape_at(const char *s, const char *end)
{
   char hex[5] = {0}, *stop;

   if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
      return -1;
   memcpy(hex, s + 2, 4);
   long v = strtol(hex, &stop, 16);
   return *stop ? -1 : v;
}

/* Half a surrogate pair is no character: yajl would make a question mark of it. */
static bool has_lone_surrogate(const char *s, size_t len)
{
   for (const char *end = s + len; s < end; s++) {
      if (*s != '\\')
         continue;
      long v = escape_at(s, end);
      if (v >= 0xdc00 && v <= 0xdfff)
         return true;
      if (v >= 0xd800 && v <= 0xdbff) {
         long low = escape_at(s + 6, end);
         if (low < 0xdc00 || low > 0xdfff)
            return true;
         s += 11;
      } else {
         s++; /* what is escaped may be a backslash */
      }
   }
   return false;
}

/* Without overlong characters, halves of surrogate pairs and what lies past U+10FFFF: yajl lets
 * these through. */
static bool is_utf8(const char *text, size_t len)
{
   utf8proc_int32_t ignored;
   utf8proc_ssize_t n = 1;

   for (size_t at = 0; at < len && n > 0; at += n > 0 ? (size_t)n : 0)
      n = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(len - at),
                           &ignored);
   return n > 0;
}

static void free_blocks(block *b)
{
   for (block *next; b; b = next) {
      next = b->next;
      free(b);
   }
}

tree *tree_parse(const char *text, size_t len)
{
   return tree_parse_limited(text, len, SIZE_MAX);
}

tree *tree_parse_limited(const char *text, size_t len, size_t max_nodes)
{
   static const yajl_callbacks callbacks = {
      .yajl_null = on_null,
      .yajl_boolean = on_bool,
      .yajl_number = on_number,
      .yajl_string = on_string,
      .yajl_start_map = on_object,
      .yajl_map_key = on_key,
      .yajl_end_map = on_close,
      .yajl_start_array = on_array,
      .yajl_end_array = on_close,
   };
   builder b = {.nodes_left = max_nodes};
   if (!is_utf8(text, len) || has_lone_surrogate(text, len))
      return NULL;
   yajl_handle y = yajl_alloc(&callbacks, NULL, &b);
   int ok = yajl_parse(y, (const unsigned char *)text, len) == yajl_status_ok &&
            yajl_complete_parse(y) == yajl_status_ok;

   yajl_free(y);
   if (!ok)
      free_blocks(b.blocks);
   return ok ? b.root : NULL;
}

void tree_free(tree *root)
{
   if (root) /* it begins the first block */
      free_blocks((block *)(void *)((char *)root - offsetof(block, data)));
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
