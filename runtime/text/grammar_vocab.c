/* grammar_vocab.c - the tokens of a vocabulary, sorted by their bytes, as a trie in depth-first
 * order. */
#include <stdlib.h>

#include "grammar_automaton.h"
#include "internal.h"

typedef struct builder {
   const text_tokenizer *t;
   arena *a;
   grammar_vocab *v;
   VEC(grammar_node) nodes;
} builder;

static sinter_status no_memory(void)
{
   return base_fail(SINTER_out_of_memory, "grammar", "close other programs",
                    "no memory for the tokens of a grammar");
}

/* Spells every token. Control tokens have no bytes, and so are never allowed. */
static sinter_status spell(builder *b)
{
   text_buf all = {.a = b->a};
   grammar_vocab *v = b->v;

   text_spell(b->t, b->a, &all, v->offset);
   v->bytes = malloc(all.len + 1);
   if (!v->bytes)
      return no_memory();
   if (all.len)
      memcpy(v->bytes, all.data, all.len);
   return SINTER_ok;
}

static int by_bytes(const void *x, const void *y, void *user)
{
   const grammar_vocab *v = user;
   int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
   size_t la = v->offset[a + 1] - v->offset[a], lb = v->offset[b + 1] - v->offset[b];
   int order = memcmp(v->bytes + v->offset[a], v->bytes + v->offset[b], MIN(la, lb));

   if (order || la != lb)
      return order ? order : la < lb ? -1 : 1;
   return a < b ? -1 : 1;
}

static uint32_t common(const grammar_vocab *v, int32_t a, int32_t b)
{
   const uint8_t *pa = v->bytes + v->offset[a], *pb = v->bytes + v->offset[b];
   uint32_t n = MIN(v->offset[a + 1] - v->offset[a], v->offset[b + 1] - v->offset[b]), i = 0;

   while (i < n && pa[i] == pb[i])
      i++;
   return i;
}

/* Nodes of one token after another; `open` has the path to the last one. */
static void plant(builder *b)
{
   grammar_vocab *v = b->v;
   uint32_t open[GRAMMAR_MAX_TOKEN + 1] = {0}, depth = 0;

   *vec_push(b->a, &b->nodes) = (grammar_node){0};
   for (uint32_t i = 0; i < v->num_sorted; i++) {
      int32_t id = v->sorted[i];
      uint32_t len = v->offset[id + 1] - v->offset[id];
      uint32_t shared = i ? common(v, v->sorted[i - 1], id) : 0;
      for (; depth > shared; depth--)
         b->nodes.data[open[depth]].skip = (uint32_t)b->nodes.count;
      for (; depth < len; depth++) {
         open[depth + 1] = (uint32_t)b->nodes.count;
         *vec_push(b->a, &b->nodes) =
            (grammar_node){.byte = v->bytes[v->offset[id] + depth], .depth = (uint8_t)(depth + 1)};
      }
      grammar_node *n = &b->nodes.data[open[depth]];
      n->first = n->count ? n->first : i;
      n->count++;
   }
   for (; depth > 0; depth--)
      b->nodes.data[open[depth]].skip = (uint32_t)b->nodes.count;
   b->nodes.data[0].skip = (uint32_t)b->nodes.count;
}

static sinter_status make(void *user)
{
   builder *b = user;
   grammar_vocab *v = b->v;

   SINTER_TRY(spell(b));
   for (uint32_t id = 0; id < v->num_tokens; id++) {
      uint32_t len = v->offset[id + 1] - v->offset[id];
      if (len && len <= GRAMMAR_MAX_TOKEN)
         v->sorted[v->num_sorted++] = (int32_t)id;
   }
   qsort_r(v->sorted, v->num_sorted, sizeof *v->sorted, by_bytes, v);
   plant(b);
   v->num_nodes = (uint32_t)b->nodes.count;
   v->nodes = malloc(v->num_nodes * sizeof *v->nodes);
   if (!v->nodes)
      return no_memory();
   memcpy(v->nodes, b->nodes.data, v->num_nodes * sizeof *v->nodes);
   return SINTER_ok;
}

sinter_status grammar_vocab_create(const text_tokenizer *t, grammar_vocab **out)
{
   const vocab_header *h = t->v.header;
   builder b = {.t = t, .v = calloc(1, sizeof(grammar_vocab))};
   grammar_vocab *v = b.v;

   *out = NULL;
   if (h->flags & VOCAB_decode_spaced) {
      free(v);
      return base_fail(SINTER_unsupported, "grammar", "leave the grammar out",
                       "the tokens of this vocabulary are words without spaces");
   }
   if (!v)
      return no_memory();
   v->num_tokens = h->num_pieces;
   v->strips_space =
      (h->strip_left && h->strip_char == ' ') || (h->flags & VOCAB_decode_first) != 0;
   v->offset = calloc((size_t)h->num_pieces + 1, sizeof *v->offset);
   v->sorted = calloc((size_t)h->num_pieces + 1, sizeof *v->sorted);
   sinter_status status = v->offset && v->sorted ? arena_create(&b.a) : no_memory();
   if (status == SINTER_ok) {
      status = arena_catch(make, &b);
      arena_destroy(b.a);
   }
   if (status == SINTER_ok)
      *out = v;
   else
      grammar_vocab_destroy(v);
   return status;
}

void grammar_vocab_destroy(grammar_vocab *v)
{
   if (!v)
      return;
   free(v->nodes);
   free(v->sorted);
   free(v->offset);
   free(v->bytes);
   free(v);
}
