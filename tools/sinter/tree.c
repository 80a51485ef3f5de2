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
   const char *fault; /* of ours, for which yajl only stops */
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

   if (!t || (text && !own)) {
      b->fault = b->nodes_left ? "there is no memory for it" : "it has too many values";
      return NULL;
   }
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
   else if (!b->fault)
      b->fault = "it is nested too deeply";
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

/* Where half a surrogate pair is, len when nowhere. It is no character: yajl would make a question
 * mark of it. */
static size_t lone_surrogate(const char *text, size_t len)
{
   const char *s = text;

   for (const char *end = s + len; s < end; s++) {
      if (*s != '\\')
         continue;
      long v = escape_at(s, end);
      if (v >= 0xdc00 && v <= 0xdfff)
         return (size_t)(s - text);
      if (v >= 0xd800 && v <= 0xdbff) {
         long low = escape_at(s + 6, end);
         if (low < 0xdc00 || low > 0xdfff)
            return (size_t)(s - text);
         s += 11;
      } else {
         s++; /* what is escaped may be a backslash */
      }
   }
   return len;
}

/* How many bytes are UTF-8, without overlong characters, halves of surrogate pairs and what lies
 * past U+10FFFF: yajl lets these through. */
static size_t utf8_until(const char *text, size_t len)
{
   utf8proc_int32_t ignored;
   size_t at = 0;

   while (at < len) {
      utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                            (utf8proc_ssize_t)(len - at), &ignored);
      if (n <= 0)
         break;
      at += (size_t)n;
   }
   return at;
}

bool tree_is_utf8(const char *text, size_t len)
{
   return utf8_until(text, len) == len;
}

static void free_blocks(block *b)
{
   for (block *next; b; b = next) {
      next = b->next;
      free(b);
   }
}

/* Parses text of good characters; NULL with what is wrong. */
static tree *build(builder *b, const char *text, size_t len, tree_fault *out)
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
   yajl_handle y = yajl_alloc(&callbacks, NULL, b);
   bool read = yajl_parse(y, (const unsigned char *)text, len) == yajl_status_ok;
   bool ok = read && yajl_complete_parse(y) == yajl_status_ok;

   if (!ok)
      *out = (tree_fault){b->fault ? b->fault
                          : read   ? "it ends too early"
                                   : "it is no JSON",
                          read ? len : yajl_get_bytes_consumed(y)};
   yajl_free(y);
   if (!ok)
      free_blocks(b->blocks);
   return ok ? b->root : NULL;
}

tree *tree_parse_telling(const char *text, size_t len, size_t max_nodes, tree_fault *out)
{
   builder b = {.nodes_left = max_nodes};
   size_t good = utf8_until(text, len), half = lone_surrogate(text, good);

   if (good < len)
      *out = (tree_fault){"it is no UTF-8", good};
   else if (half < len)
      *out = (tree_fault){"it has half of a surrogate pair", half};
   else
      return build(&b, text, len, out);
   return NULL;
}

tree *tree_parse_limited(const char *text, size_t len, size_t max_nodes)
{
   tree_fault ignored;

   return tree_parse_telling(text, len, max_nodes, &ignored);
}

tree *tree_parse(const char *text, size_t len)
{
   return tree_parse_limited(text, len, SIZE_MAX);
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
