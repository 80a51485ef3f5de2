/* unigram.c - the most probable cut of a word into pieces (Viterbi), one pass over the text.
 *
 * Ties keep the candidate found first; a character that begins no piece costs the unknown score;
 * runs of unknown characters are one token, or their bytes where the vocabulary has them. */
#include "internal.h"
#include "utf8.h"

typedef struct node {
   double score;
   int32_t from, id; /* from -1: not reached; id -1: unknown */
} node;

struct text_lattice {
   node *nodes;
   size_t cap;
};

static void relax(node *nodes, uint32_t from, uint32_t to, double score, int32_t id)
{
   double candidate = nodes[from].score + score;

   if (nodes[to].from < 0 || candidate > nodes[to].score)
      nodes[to] = (node){candidate, (int32_t)from, id};
}

static void search(const vocab *v, const uint8_t *p, uint32_t len, node *nodes)
{
   for (uint32_t i = 0; i <= len; i++)
      nodes[i] = (node){0, -1, -1};
   for (uint32_t i = 0, n; i < len; i += n) {
      uint32_t cp;
      bool single = false;
      const vocab_node *at = v->prefix_node;
      n = text_utf8_next(p + i, len - i, &cp);
      for (uint32_t k = i; k < len && (at = vocab_child(v->prefix_node, at, p[k])); k++) {
         if (at->value == 0)
            continue;
         relax(nodes, i, k + 1, v->score[at->value - 1], (int32_t)at->value - 1);
         single = single || k + 1 == i + n;
      }
      if (!single)
         relax(nodes, i, i + n, v->header->unk_score, -1);
   }
}

static void put_unknown(text_job *job, const uint8_t *p, uint32_t len)
{
   const vocab *v = &job->t->v;
   bool bytes = v->header->flags & VOCAB_byte_fallback;

   for (uint32_t i = 0; i < len && bytes; i++)
      bytes = v->byte_id[p[i]] >= 0;
   for (uint32_t i = 0; i < len && bytes; i++)
      *vec_push(job->a, job->out) = v->byte_id[p[i]];
   if (!bytes && v->header->unk >= 0)
      *vec_push(job->a, job->out) = v->header->unk;
}

void text_unigram_word(text_job *job, const uint8_t *p, uint32_t len)
{
   struct text_lattice *l = job->lattice;

   if (!l)
      l = job->lattice = arena_new(job->a, struct text_lattice);
   if (l->cap < (size_t)len + 1) {
      l->cap = ((size_t)len + 1) * 2;
      l->nodes = arena_array(job->a, node, l->cap);
   }
   search(&job->t->v, p, len, l->nodes);
   /* Turn the best path round, so that it is read from the start: `from` becomes the next end. */
   int32_t next = -1;
   for (int32_t i = (int32_t)len; i >= 0;) {
      int32_t from = l->nodes[i].from;
      l->nodes[i].from = next;
      next = i;
      i = from;
   }
   for (int32_t i = 0, end; (end = l->nodes[i].from) >= 0; i = end) {
      int32_t begin = i;
      if (l->nodes[end].id >= 0) {
         *vec_push(job->a, job->out) = l->nodes[end].id;
         continue;
      }
      while (l->nodes[end].from >= 0 && l->nodes[l->nodes[end].from].id < 0)
         end = l->nodes[end].from;
      put_unknown(job, p + begin, (uint32_t)(end - begin));
   }
}
