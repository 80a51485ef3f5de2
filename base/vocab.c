/* vocab.c - opening and looking things up in a precompiled tokenizer. */
#include "vocab.h"

#include "hash.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the tokenizer blob is read in place and little-endian"
#endif

static const vocab_stage stages[] = {
#define STEP(name, stage, what) VOCAB_STAGE_##stage,
#include "vocab_steps.def"
#undef STEP
};

vocab_stage vocab_stage_of(vocab_step_kind kind)
{
   return stages[kind];
}

static uint32_t scale(uint64_t hash, uint32_t cap)
{
   return (uint32_t)(((hash >> 32) * cap) >> 32);
}

uint32_t vocab_piece_slot(const void *bytes, size_t len, uint32_t cap)
{
   return scale(hash64_bytes(bytes, len), cap);
}

uint32_t vocab_merge_slot(uint32_t left, uint32_t right, uint32_t cap)
{
   uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;

   return scale((h ^ h >> 29) * 0xbf58476d1ce4e5b9u, cap);
}

int32_t vocab_find(const vocab *v, const void *bytes, size_t len)
{
   if (len > v->header->longest || v->num_slot == 0)
      return -1;
   uint32_t at = vocab_piece_slot(bytes, len, v->num_slot);
   for (uint32_t probes = 0; probes < v->num_slot; probes++) {
      if (v->slot[at] == 0)
         return -1;
      uint32_t id = v->slot[at] - 1;
      size_t n;
      const uint8_t *piece = vocab_piece(v, id, &n);
      if (n == len && memcmp(piece, bytes, len) == 0)
         return (int32_t)id;
      at = at + 1 == v->num_slot ? 0 : at + 1;
   }
   return -1;
}

const vocab_merge *vocab_find_merge(const vocab *v, uint32_t left, uint32_t right)
{
   if (v->num_merge == 0)
      return NULL;
   uint32_t at = vocab_merge_slot(left, right, v->num_merge);
   for (uint32_t probes = 0; probes < v->num_merge; probes++) {
      const vocab_merge *m = &v->merge[at];
      if (m->made == VOCAB_NONE)
         return NULL;
      if (m->left == left && m->right == right)
         return m;
      at = at + 1 == v->num_merge ? 0 : at + 1;
   }
   return NULL;
}

const vocab_node *vocab_child(const vocab_node *nodes, const vocab_node *node, uint8_t byte)
{
   const vocab_node *child = nodes + node->first;
   size_t low = 0, high = node->count;

   while (low < high) {
      size_t mid = (low + high) / 2;
      if (child[mid].byte < byte)
         low = mid + 1;
      else
         high = mid;
   }
   return low < node->count && child[low].byte == byte ? &child[low] : NULL;
}

/* ---- checks ---- */

static sinter_status damaged(const char *array, uint64_t item)
{
   return base_fail(SINTER_bad_input, "tokenizer blob", "compile the model again",
                    "%s[%llu] is out of range", array, (unsigned long long)item);
}

static sinter_status check_pieces(const vocab *v)
{
   uint32_t n = v->header->num_pieces;

   if (n > VOCAB_MAX_PIECES || v->num_offset != n + 1 || v->num_attr != n)
      return damaged("offset", n);
   for (uint32_t i = 0; i < n; i++)
      if (v->offset[i] > v->offset[i + 1])
         return damaged("offset", i);
   if (v->offset[n] > v->num_text)
      return damaged("offset", n);
   for (uint32_t i = 0; i < v->num_slot; i++)
      if (v->slot[i] > n)
         return damaged("slot", i);
   for (uint32_t i = 0; i < v->num_merge; i++) {
      const vocab_merge *m = &v->merge[i];
      if (m->made != VOCAB_NONE && (m->made >= n || m->left >= n || m->right >= n))
         return damaged("merge", i);
   }
   bool implied = v->header->flags & VOCAB_implied_merges;
   if (v->num_order != (implied ? n : 0))
      return damaged("order", v->num_order);
   if (v->num_score != (v->header->model == VOCAB_unigram ? n : 0))
      return damaged("score", v->num_score);
   return SINTER_ok;
}

static sinter_status check_trie(const char *name, const vocab_node *nodes, uint32_t count,
                                uint64_t num_values)
{
   for (uint32_t i = 0; i < count; i++) {
      const vocab_node *node = &nodes[i];
      if (node->value > num_values)
         return damaged(name, i);
      if (node->count &&
          (node->first <= i || node->first > count || node->count > count - node->first))
         return damaged(name, i);
   }
   return SINTER_ok;
}

static sinter_status check_ids(const char *name, const int32_t *ids, uint32_t count, uint32_t n,
                               bool may_miss)
{
   for (uint32_t i = 0; i < count; i++)
      if ((ids[i] < 0 && !may_miss) || ids[i] < -1 || (ids[i] >= 0 && (uint32_t)ids[i] >= n))
         return damaged(name, i);
   return SINTER_ok;
}

static sinter_status check_steps(const vocab *v)
{
   if (v->num_step > VOCAB_MAX_STEPS)
      return damaged("step", v->num_step);
   for (uint32_t i = 0; i < v->num_step; i++) {
      const vocab_step *s = &v->step[i];
      if (s->kind >= VOCAB_STEP_COUNT || (s->flags & VOCAB_step_behavior) >= VOCAB_BEHAVIOR_COUNT)
         return damaged("step", i);
      if (s->a > v->num_strings || s->a_len > v->num_strings - s->a || s->b > v->num_strings ||
          s->b_len > v->num_strings - s->b)
         return damaged("step", i);
      if (i > 0 && stages[s->kind] < stages[v->step[i - 1].kind])
         return damaged("step", i);
   }
   return SINTER_ok;
}

static sinter_status check(const vocab *v)
{
   const vocab_header *h = v->header;
   uint32_t n = h->num_pieces;

   SINTER_TRY(check_pieces(v));
   SINTER_TRY(check_trie("prefix_node", v->prefix_node, v->num_prefix_node, n));
   SINTER_TRY(check_trie("raw_node", v->raw_node, v->num_raw_node, v->num_added));
   SINTER_TRY(check_trie("norm_node", v->norm_node, v->num_norm_node, v->num_added));
   SINTER_TRY(check_ids("prefix", v->prefix, v->num_prefix, n, false));
   SINTER_TRY(check_ids("suffix", v->suffix, v->num_suffix, n, false));
   SINTER_TRY(check_ids("byte_id", v->byte_id, v->num_byte_id, n, true));
   SINTER_TRY(check_ids("unk", &h->unk, 1, n, true));
   if (v->num_byte_id != 256)
      return damaged("byte_id", v->num_byte_id);
   if (v->num_joins != 0 && v->num_joins != 256)
      return damaged("joins", v->num_joins);
   for (uint32_t i = 0; i < v->num_added; i++)
      if (v->added[i].id >= n || v->added[i].content > v->num_strings ||
          v->added[i].len > v->num_strings - v->added[i].content)
         return damaged("added", i);
   if (h->model >= VOCAB_MODEL_COUNT || (h->model == VOCAB_unigram && v->num_prefix_node == 0) ||
       h->strip_char > 127)
      return damaged("header", h->model);
   return check_steps(v);
}

sinter_status vocab_open(const void *bytes, size_t size, vocab *out)
{
   const vocab_header *h = bytes;
   uint32_t i = 0;

   memset(out, 0, sizeof *out);
   if (size < sizeof *h || (uintptr_t)bytes % 8 != 0 || memcmp(h->magic, VOCAB_MAGIC, 8) != 0)
      return base_fail(SINTER_bad_input, "tokenizer blob", "compile the model again",
                       "this is not a precompiled tokenizer");
   if (h->version != VOCAB_VERSION)
      return base_fail(SINTER_unsupported, "tokenizer blob", "compile the model again",
                       "tokenizer version %u, this build reads %d", h->version, VOCAB_VERSION);
   out->header = h;
#define ARRAY(name, type, what)                                                                    \
   if (h->array[i].offset > size || h->array[i].offset % 8 != 0 ||                                 \
       h->array[i].count > UINT32_MAX ||                                                           \
       h->array[i].count > (size - h->array[i].offset) / sizeof(type))                             \
      return damaged(#name, h->array[i].count);                                                    \
   out->name = (const type *)((const uint8_t *)bytes + h->array[i].offset);                        \
   out->num_##name = (uint32_t)h->array[i].count;                                                  \
   i++;
#include "vocab_arrays.def"
#undef ARRAY
   return check(out);
}
