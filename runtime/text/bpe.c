/* bpe.c - byte pair encoding of one word.
 *
 *    symbols: a linked list over the word      queue: allowed merges, best first
 *    pop ─▶ still true? ─▶ join the two symbols ─▶ push the merges with the new neighbours
 *
 * The merges of the word as it comes are sorted once, those that are pushed are a heap unless they
 * come in order, and the better of both fronts is next: a heap of everything misses the caches in a
 * word of a megabyte.
 * Every merge removes a symbol and pushes at most two entries: O(n log n) whatever the word. Listed
 * merges come from a table by (left, right). Implied merges (SentencePiece vocabularies in GGUF)
 * are allowed when the joined text is a piece; ties go to the longer left part, as if the list had
 * been derived and sorted. */
#include "internal.h"
#include "utf8.h"

enum { LONG_WORD = 256 }; /* symbols from which on sorting pays */

typedef struct symbol {
   int32_t prev, next; /* -1 at the ends; len 0: joined into the one before */
   int32_t id;         /* -1: no piece */
   uint32_t begin, len;
} symbol;

typedef struct candidate {
   uint64_t key;      /* rank, then shape of the pair: low first */
   uint32_t made, at; /* the piece that results; the left symbol */
} candidate;

struct text_bpe {
   VEC(symbol) symbols;
   VEC(candidate) first; /* sorted; those of a short word are in the queue */
   size_t taken;         /* of first */
   candidate *spare;     /* as large, to sort with */
   size_t spare_cap;
   VEC(candidate) queue;
};

typedef struct text_bpe bpe;

static bool is_before(const candidate *a, const candidate *b)
{
   if (a->key != b->key)
      return a->key < b->key;
   return a->made != b->made ? a->made < b->made : a->at < b->at;
}

static void sift_down(bpe *b, size_t i)
{
   candidate c = b->queue.data[i];
   size_t n = b->queue.count, child;

   while ((child = 2 * i + 1) < n) {
      if (child + 1 < n && is_before(&b->queue.data[child + 1], &b->queue.data[child]))
         child++;
      if (!is_before(&b->queue.data[child], &c))
         break;
      b->queue.data[i] = b->queue.data[child];
      i = child;
   }
   b->queue.data[i] = c;
}

static void sift_up(bpe *b, size_t i)
{
   candidate c = b->queue.data[i];

   while (i > 0 && is_before(&c, &b->queue.data[(i - 1) / 2])) {
      b->queue.data[i] = b->queue.data[(i - 1) / 2];
      i = (i - 1) / 2;
   }
   b->queue.data[i] = c;
}

/* The best of the queue, which is not empty. */
static candidate take(bpe *b)
{
   candidate c = b->queue.data[0];

   b->queue.data[0] = b->queue.data[--b->queue.count];
   if (b->queue.count > 0)
      sift_down(b, 0);
   return c;
}

static bool next_candidate(bpe *b, candidate *out)
{
   const candidate *c = b->taken < b->first.count ? &b->first.data[b->taken] : NULL;

   if (!c && !b->queue.count)
      return false;
   bool is_first = c && (!b->queue.count || is_before(c, &b->queue.data[0]));
   b->taken += is_first;
   *out = is_first ? *c : take(b);
   return true;
}

/* ---- sorting ---- */

static uint32_t digit(const candidate *c, int byte)
{
   uint64_t word = byte < 4 ? c->made : c->key;

   return (uint32_t)(word >> (byte < 4 ? byte : byte - 4) * 8) & 255;
}

/* Sorts b->first by one byte, and keeps the order of what has the same. */
static void sort_by(bpe *b, int byte)
{
   size_t at[257] = {0}, n = b->first.count;
   candidate *from = b->first.data, *to = b->spare;

   for (size_t i = 0; i < n; i++)
      at[digit(&from[i], byte) + 1]++;
   if (at[digit(&from[0], byte) + 1] == n)
      return; /* all have the same */
   for (int i = 0; i < 256; i++)
      at[i + 1] += at[i];
   for (size_t i = 0; i < n; i++)
      to[at[digit(&from[i], byte)]++] = from[i];
   b->first.data = to;
   b->spare = from;
}

/* The entries are in the order of `at`: sorting by made, then by key, is all there is to do. */
static void sort_first(text_job *job)
{
   bpe *b = job->bpe;

   if (b->spare_cap < b->first.cap) {
      b->spare = arena_array(job->a, candidate, b->first.cap);
      b->spare_cap = b->first.cap;
   }
   for (int byte = 0; byte < 12; byte++)
      sort_by(b, byte);
}

/* ---- which merges there are ---- */

static uint32_t num_chars(const uint8_t *p, uint32_t len)
{
   uint32_t n = 0;

   for (uint32_t i = 0; i < len; i++)
      n += (p[i] & 0xc0) != 0x80;
   return MIN(n, 0xffffu);
}

static bool can_imply(const vocab *v, int32_t id)
{
   return id != v->header->unk && !(v->attr[id] & VOCAB_byte);
}

static bool find_candidate(const vocab *v, const uint8_t *word, const symbol *left,
                           const symbol *right, candidate *out)
{
   if (left->id < 0 || right->id < 0)
      return false;
   if (!(v->header->flags & VOCAB_implied_merges)) {
      const vocab_merge *m = vocab_find_merge(v, (uint32_t)left->id, (uint32_t)right->id);
      if (!m)
         return false;
      out->key = (uint64_t)m->rank << 32;
      out->made = m->made;
      return true;
   }
   if (!can_imply(v, left->id) || !can_imply(v, right->id))
      return false;
   int32_t id = vocab_find(v, word + left->begin, (size_t)left->len + right->len);
   if (id < 0)
      return false;
   uint32_t shape = (0xffff - num_chars(word + left->begin, left->len)) << 16 |
                    (0xffff - num_chars(word + right->begin, right->len));
   out->key = (uint64_t)v->order[id] << 32 | shape;
   out->made = (uint32_t)id;
   return true;
}

static bool consider(const bpe *b, const vocab *v, const uint8_t *word, int32_t left,
                     candidate *out)
{
   if (left < 0 || b->symbols.data[left].next < 0)
      return false;
   const symbol *l = &b->symbols.data[left];
   out->at = (uint32_t)left;
   return find_candidate(v, word, l, &b->symbols.data[l->next], out);
}

/* ---- symbols ---- */

static void add_symbol(text_job *job, int32_t id, uint32_t begin, uint32_t len)
{
   bpe *b = job->bpe;
   int32_t n = (int32_t)b->symbols.count;

   *vec_push(job->a, &b->symbols) = (symbol){n - 1, n + 1, id, begin, len};
}

/* The unknown symbol that is still growing, when the vocabulary fuses them. */
typedef struct unknown {
   uint32_t begin, len;
} unknown;

static void end_unknown(text_job *job, unknown *u)
{
   if (u->len > 0)
      add_symbol(job, job->t->v.header->unk, u->begin, u->len);
   u->len = 0;
}

static bool add_bytes(text_job *job, const uint8_t *word, uint32_t begin, uint32_t len)
{
   const vocab *v = &job->t->v;

   if (!(v->header->flags & VOCAB_byte_fallback))
      return false;
   for (uint32_t i = 0; i < len; i++)
      if (v->byte_id[word[begin + i]] < 0)
         return false;
   for (uint32_t i = 0; i < len; i++)
      add_symbol(job, v->byte_id[word[begin + i]], begin + i, 1);
   return true;
}

static void add_unknown(text_job *job, uint32_t begin, uint32_t len, unknown *u)
{
   const vocab_header *h = job->t->v.header;

   if (h->unk < 0)
      return; /* the reference drops such characters */
   if (!(h->flags & VOCAB_fuse_unk))
      end_unknown(job, u);
   if (u->len == 0)
      u->begin = begin;
   u->len += len;
}

static void cut(text_job *job, const uint8_t *word, uint32_t len)
{
   const vocab *v = &job->t->v;
   bool bytes = v->header->flags & VOCAB_byte_level;
   unknown u = {0};

   job->bpe->symbols.count = 0;
   for (uint32_t i = 0, n = 1; i < len; i += n) {
      uint32_t cp;
      if (!bytes)
         n = text_utf8_next(word + i, len - i, &cp);
      int32_t id = bytes ? v->byte_id[word[i]] : vocab_find(v, word + i, n);
      if (id >= 0) {
         end_unknown(job, &u);
         add_symbol(job, id, i, n);
      } else if (!add_bytes(job, word, i, n)) {
         add_unknown(job, i, n, &u);
      }
   }
   end_unknown(job, &u);
   if (job->bpe->symbols.count > 0)
      job->bpe->symbols.data[job->bpe->symbols.count - 1].next = -1;
}

/* ---- merging ---- */

/* A long run of one character makes its merges in order: they need no heap. */
static void push(text_job *job, const uint8_t *word, int32_t left)
{
   bpe *b = job->bpe;
   candidate c;

   if (!consider(b, &job->t->v, word, left, &c))
      return;
   if (b->first.count && !is_before(&c, &b->first.data[b->first.count - 1])) {
      *vec_push(job->a, &b->first) = c;
      return;
   }
   *vec_push(job->a, &b->queue) = c;
   sift_up(b, b->queue.count - 1);
}

static void join(bpe *b, const candidate *c)
{
   symbol *left = &b->symbols.data[c->at], *right = &b->symbols.data[left->next];

   left->id = (int32_t)c->made;
   left->len += right->len;
   left->next = right->next;
   right->len = 0;
   if (left->next >= 0)
      b->symbols.data[left->next].prev = (int32_t)c->at;
}

/* All merges of the word as it is. */
static void find_first(text_job *job, const uint8_t *word)
{
   bpe *b = job->bpe;
   candidate c;

   b->queue.count = b->first.count = b->taken = 0;
   bool is_long = b->symbols.count > LONG_WORD;
   for (size_t i = 0; i + 1 < b->symbols.count; i++) {
      if (!consider(b, &job->t->v, word, (int32_t)i, &c))
         continue;
      if (is_long)
         *vec_push(job->a, &b->first) = c;
      else
         *vec_push(job->a, &b->queue) = c;
   }
   for (size_t i = b->queue.count / 2; i-- > 0;)
      sift_down(b, i);
   if (b->first.count > 1)
      sort_first(job);
}

static void merge_all(text_job *job, const uint8_t *word)
{
   bpe *b = job->bpe;
   candidate c, now;

   find_first(job, word);
   while (next_candidate(b, &c)) {
      /* A neighbour may have changed since: the entry stands if the pair still makes the same
       * piece. */
      if (b->symbols.data[c.at].len == 0 || !consider(b, &job->t->v, word, (int32_t)c.at, &now) ||
          now.made != c.made)
         continue;
      join(b, &c);
      push(job, word, b->symbols.data[c.at].prev);
      push(job, word, (int32_t)c.at);
   }
}

static void encode_part(text_job *job, const uint8_t *p, uint32_t len)
{
   cut(job, p, len);
   if (job->bpe->symbols.count > 1)
      merge_all(job, p);
   for (int32_t i = job->bpe->symbols.count > 0 ? 0 : -1; i >= 0;
        i = job->bpe->symbols.data[i].next)
      if (job->bpe->symbols.data[i].id >= 0)
         *vec_push(job->a, job->out) = job->bpe->symbols.data[i].id;
}

void text_bpe_word(text_job *job, const uint8_t *p, uint32_t len)
{
   const vocab *v = &job->t->v;
   int32_t whole;
   uint32_t begin = 0;

   if (!job->bpe)
      job->bpe = arena_new(job->a, bpe);
   if ((v->header->flags & VOCAB_ignore_merges) && (whole = vocab_find(v, p, len)) >= 0) {
      *vec_push(job->a, job->out) = whole;
      return;
   }
   for (uint32_t i = 1; v->num_joins && i + 2 < len; i++)
      if (p[i] == 0xe2 && p[i + 1] == 0x96 && p[i + 2] == 0x81 && !v->joins[p[i - 1]]) {
         encode_part(job, p + begin, i - begin);
         begin = i;
      }
   encode_part(job, p + begin, len - begin);
}
