/* vocab_trie.c - building the tries of base/vocab.h, breadth first, so that the children of a node
 * lie together and behind it. */
#include "vocab.h"

#include <stdlib.h>

/* Keys first … last share their first `depth` bytes and belong below node `self`. */
typedef struct range {
   size_t first, last, depth;
} range;

typedef VEC(range) ranges;
typedef VEC(vocab_node) nodes;

static int by_text(const void *a, const void *b)
{
   const vocab_key *x = a, *y = b;
   size_t n = MIN(x->len, y->len);
   int order = n ? memcmp(x->text, y->text, n) : 0;

   if (order != 0)
      return order;
   if (x->len != y->len)
      return x->len < y->len ? -1 : 1;
   return x->value < y->value ? -1 : x->value > y->value;
}

static void add_children(arena *a, const vocab_key *keys, nodes *out, range r, size_t self,
                         ranges *queue)
{
   for (; r.first < r.last && keys[r.first].len == r.depth; r.first++)
      out->data[self].value = keys[r.first].value;
   out->data[self].first = (uint32_t)out->count;
   for (size_t i = r.first, end; i < r.last; i = end) {
      uint8_t byte = keys[i].text[r.depth];
      for (end = i; end < r.last && keys[end].text[r.depth] == byte;)
         end++;
      *vec_push(a, out) = (vocab_node){.byte = byte};
      *vec_push(a, queue) = (range){i, end, r.depth + 1};
      out->data[self].count++;
   }
}

vocab_node *vocab_trie(arena *a, vocab_key *keys, size_t count, size_t *out_count)
{
   nodes out = {0};
   ranges queue = {0};

   if (count > 0)
      qsort(keys, count, sizeof *keys, by_text);
   *vec_push(a, &out) = (vocab_node){0};
   *vec_push(a, &queue) = (range){0, count, 0};
   for (size_t i = 0; i < queue.count; i++)
      add_children(a, keys, &out, queue.data[i], i, &queue);
   *out_count = out.count;
   return out.data;
}
