/* vocab_build.c - from a collected tokenizer to the blob: hash tables, tries, layout. */
#include "vocab_build.h"

void build_init(vocab_build *b, arena *a)
{
   *b = (vocab_build){.a = a, .unk = -1, .strings = {.a = a}};
}

void build_set_piece(vocab_build *b, uint32_t id, const char *text, size_t len, uint8_t attr,
                     double score)
{
   while (b->pieces.count <= id)
      *vec_push(b->a, &b->pieces) = (build_piece){.text = "", .attr = VOCAB_unused};
   b->pieces.data[id] = (build_piece){text, len, attr, true, true, score};
}

void build_step(vocab_build *b, vocab_step_kind kind, uint32_t flags, const char *a, size_t a_len,
                const char *second, size_t b_len)
{
   uint32_t at = (uint32_t)b->strings.len;

   text_append(&b->strings, a, a_len);
   text_append(&b->strings, second, b_len);
   *vec_push(b->a, &b->steps) =
      (vocab_step){kind, flags, at, (uint32_t)a_len, at + (uint32_t)a_len, (uint32_t)b_len};
}

/* ---- spellings ---- */

static bool is_printable_byte(int byte)
{
   return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* Byte of each of the alphabet's characters U+0000 … U+0143, -1 outside. */
static void alphabet(int16_t table[0x144])
{
   int next = 0x100;

   memset(table, 0xff, 0x144 * sizeof *table);
   for (int byte = 0; byte < 256; byte++)
      table[is_printable_byte(byte) ? byte : next++] = (int16_t)byte;
}

bool byte_level_decode(const char *text, size_t len, uint8_t *out, size_t *out_len)
{
   static _Thread_local int16_t table[0x144];
   const uint8_t *p = (const uint8_t *)text;

   if (table['!'] == 0)
      alphabet(table);
   *out_len = 0;
   for (size_t i = 0; i < len;) {
      uint32_t cp = p[i++];
      if (cp >= 0x80) {
         if (cp < 0xc2 || cp > 0xc5 || i == len || (p[i] & 0xc0) != 0x80)
            return false;
         cp = (cp & 0x1f) << 6 | (p[i++] & 0x3f);
      }
      if (cp >= 0x144 || table[cp] < 0)
         return false;
      out[(*out_len)++] = (uint8_t)table[cp];
   }
   return true;
}

int byte_piece(const char *text, size_t len)
{
   int value = 0;

   if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
      return -1;
   for (int i = 3; i < 5; i++) {
      char c = text[i];
      int digit = c >= '0' && c <= '9'                 ? c - '0'
                  : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                       : -1;
      if (digit < 0)
         return -1;
      value = value * 16 + digit;
   }
   return value;
}

/* ---- the blob ---- */

/* Everything that is written, under the names of vocab_arrays.def. */
typedef struct tables {
   vocab_header header;
#define ARRAY(name, type, what)                                                                    \
   type *name;                                                                                     \
   size_t num_##name;
#include "base/vocab_arrays.def"
#undef ARRAY
} tables;

/* Fills text and offset. *out_reachable[i]: plain text can spell piece i. */
static void spell(vocab_build *b, tables *t, bool **out_reachable)
{
   size_t n = b->pieces.count, total = 0;
   bool *reachable = arena_array(b->a, bool, n + 1);

   for (size_t i = 0; i < n; i++)
      total += b->pieces.data[i].len;
   t->text = arena_alloc(b->a, total + 1);
   t->offset = arena_array(b->a, uint32_t, n + 1);
   t->num_offset = n + 1;
   t->attr = arena_alloc(b->a, n + 1);
   t->num_attr = n;
   for (size_t i = 0; i < n; i++) {
      const build_piece *p = &b->pieces.data[i];
      size_t len = p->len;
      bool spelled = !(b->flags & VOCAB_byte_level) ||
                     byte_level_decode(p->text, p->len, t->text + t->num_text, &len);
      if (!spelled || !(b->flags & VOCAB_byte_level)) {
         memcpy(t->text + t->num_text, p->text, p->len);
         len = p->len;
      }
      reachable[i] =
         spelled && len > 0 && p->in_model && !(p->attr & (VOCAB_special | VOCAB_unused));
      t->attr[i] = p->attr;
      t->num_text += len;
      t->offset[i + 1] = (uint32_t)t->num_text;
   }
   *out_reachable = reachable;
}

static bool is_piece(const tables *t, uint32_t a, uint32_t b)
{
   uint32_t len = t->offset[a + 1] - t->offset[a];

   return len == t->offset[b + 1] - t->offset[b] &&
          memcmp(t->text + t->offset[a], t->text + t->offset[b], len) == 0;
}

/* Load at most 2/3. Of equal spellings the last wins, as in a dictionary that is filled in id
 * order. */
static void hash_pieces(vocab_build *b, tables *t, const bool *reachable)
{
   uint32_t n = (uint32_t)b->pieces.count, cap = n + n / 2 + 8;

   t->slot = arena_array(b->a, uint32_t, cap);
   t->num_slot = cap;
   for (uint32_t i = 0; i < n; i++) {
      uint32_t len = t->offset[i + 1] - t->offset[i];
      if (!reachable[i] || (t->attr[i] & VOCAB_byte))
         continue;
      uint32_t at = vocab_piece_slot(t->text + t->offset[i], len, cap);
      while (t->slot[at] != 0 && !is_piece(t, t->slot[at] - 1, i))
         at = at + 1 == cap ? 0 : at + 1;
      t->slot[at] = i + 1;
      t->header.longest = MAX(t->header.longest, len);
   }
}

static void hash_merges(vocab_build *b, tables *t)
{
   uint32_t n = (uint32_t)b->merges.count, cap = n + n / 4 + 8;

   if (n == 0)
      return;
   t->merge = arena_array(b->a, vocab_merge, cap);
   t->num_merge = cap;
   for (uint32_t i = 0; i < cap; i++)
      t->merge[i].made = VOCAB_NONE;
   for (uint32_t i = 0; i < n; i++) {
      const vocab_merge *m = &b->merges.data[i];
      if (b->pieces.data[m->made].attr & VOCAB_special)
         continue;
      uint32_t at = vocab_merge_slot(m->left, m->right, cap);
      while (t->merge[at].made != VOCAB_NONE &&
             (t->merge[at].left != m->left || t->merge[at].right != m->right))
         at = at + 1 == cap ? 0 : at + 1;
      t->merge[at] = *m;
   }
}

static void find_bytes(vocab_build *b, tables *t, const bool *reachable)
{
   t->byte_id = arena_array(b->a, int32_t, 256);
   t->num_byte_id = 256;
   memset(t->byte_id, 0xff, 256 * sizeof *t->byte_id);
   for (uint32_t i = 0; i < b->pieces.count; i++) {
      const build_piece *p = &b->pieces.data[i];
      uint32_t len = t->offset[i + 1] - t->offset[i];
      int byte = b->flags & VOCAB_byte_level
                    ? (len == 1 && reachable[i] ? t->text[t->offset[i]] : -1)
                 : p->attr & VOCAB_byte ? byte_piece(p->text, p->len)
                                        : -1;
      if (byte >= 0)
         t->byte_id[byte] = (int32_t)i;
   }
}

static void add_tries(vocab_build *b, tables *t, const bool *reachable)
{
   VEC(vocab_key) raw = {0}, norm = {0}, all = {0};

   t->added = arena_array(b->a, vocab_added, b->added.count + 1);
   t->num_added = b->added.count;
   for (size_t i = 0; i < b->added.count; i++) {
      const build_added *x = &b->added.data[i];
      vocab_key k = {(const uint8_t *)x->content, x->len, (uint32_t)i + 1};
      t->added[i] = (vocab_added){x->id, x->flags, (uint32_t)b->strings.len, (uint32_t)x->len};
      text_append(&b->strings, x->content, x->len);
      if (!(x->flags & VOCAB_normalized) || (x->flags & VOCAB_added_special))
         *vec_push(b->a, &raw) = k;
      if (x->flags & VOCAB_normalized)
         *vec_push(b->a, &norm) = k;
   }
   for (uint32_t i = 0; i < b->pieces.count && b->model == VOCAB_unigram; i++)
      if (reachable[i])
         *vec_push(b->a, &all) =
            (vocab_key){t->text + t->offset[i], t->offset[i + 1] - t->offset[i], i + 1};
   t->raw_node = vocab_trie(b->a, raw.data, raw.count, &t->num_raw_node);
   t->norm_node = vocab_trie(b->a, norm.data, norm.count, &t->num_norm_node);
   if (b->model == VOCAB_unigram)
      t->prefix_node = vocab_trie(b->a, all.data, all.count, &t->num_prefix_node);
}

/* Characters that are no piece leave no token, and those around them are neighbours. */
static bool drops_unknown(const vocab_build *b, const tables *t)
{
   if (b->unk >= 0)
      return false;
   for (int i = 0; i < 256 && (b->flags & VOCAB_byte_fallback); i++)
      if (t->byte_id[i] < 0)
         return true;
   return !(b->flags & VOCAB_byte_fallback);
}

/* SentencePiece text has no splits, but no merge crosses a mark that no piece joins to what stands
 * before it: there the model may cut, and words stay short. */
static void find_joins(vocab_build *b, tables *t)
{
   static const uint8_t mark[] = {0xe2, 0x96, 0x81};
   bool has_mark = false;

   if (b->model != VOCAB_bpe || (b->flags & VOCAB_byte_level) || drops_unknown(b, t))
      return;
   t->joins = arena_alloc(b->a, 256);
   for (size_t i = 0; i < b->pieces.count; i++) {
      const uint8_t *p = t->text + t->offset[i], *end = t->text + t->offset[i + 1], *hit;
      has_mark =
         has_mark || (end - p == 3 && memcmp(p, mark, 3) == 0 && !(t->attr[i] & VOCAB_special));
      for (const uint8_t *at = p; (hit = memmem(at, (size_t)(end - at), mark, 3)); at = hit + 1)
         if (hit > p)
            t->joins[hit[-1]] = 1;
   }
   t->num_joins = has_mark ? 256 : 0;
}

static void add_plain_arrays(vocab_build *b, tables *t)
{
   size_t n = b->pieces.count;

   t->step = arena_array(b->a, vocab_step, b->steps.count + 1);
   for (vocab_stage stage = VOCAB_STAGE_normalize; stage <= VOCAB_STAGE_decode; stage++)
      for (size_t i = 0; i < b->steps.count; i++)
         if (vocab_stage_of(b->steps.data[i].kind) == stage)
            t->step[t->num_step++] = b->steps.data[i];
   t->strings = (uint8_t *)b->strings.data;
   t->num_strings = b->strings.len;
   t->prefix = b->prefix.data;
   t->num_prefix = b->prefix.count;
   t->suffix = b->suffix.data;
   t->num_suffix = b->suffix.count;
   t->order = b->order;
   t->num_order = b->flags & VOCAB_implied_merges ? n : 0;
   if (b->model != VOCAB_unigram)
      return;
   t->score = arena_array(b->a, double, n + 1);
   t->num_score = n;
   for (size_t i = 0; i < n; i++)
      t->score[i] = b->pieces.data[i].score;
}

static uint64_t place(tables *t)
{
   uint64_t at = base_align(sizeof(vocab_header), 8);
   uint32_t i = 0;

#define ARRAY(name, type, what)                                                                    \
   t->header.array[i++] = (vocab_extent){at, t->num_##name};                                       \
   at = base_align(at + t->num_##name * sizeof(type), 8);
#include "base/vocab_arrays.def"
#undef ARRAY
   return at;
}

void build_finish(vocab_build *b, const uint8_t **out, size_t *out_size)
{
   tables t = {0};
   bool *reachable;
   uint32_t i = 0;

   memcpy(t.header.magic, VOCAB_MAGIC, sizeof t.header.magic);
   t.header.version = VOCAB_VERSION;
   t.header.model = b->model;
   t.header.flags = b->flags;
   t.header.num_pieces = (uint32_t)b->pieces.count;
   t.header.unk = b->unk;
   t.header.strip_left = b->strip_left;
   t.header.strip_char = b->strip_char;
   t.header.unk_score = b->unk_score;
   spell(b, &t, &reachable);
   hash_pieces(b, &t, reachable);
   hash_merges(b, &t);
   find_bytes(b, &t, reachable);
   add_tries(b, &t, reachable);
   find_joins(b, &t);
   add_plain_arrays(b, &t);

   uint64_t size = place(&t);
   uint8_t *bytes = arena_alloc(b->a, size);
   memcpy(bytes, &t.header, sizeof t.header);
#define ARRAY(name, type, what)                                                                    \
   if (t.num_##name)                                                                               \
      memcpy(bytes + t.header.array[i].offset, t.name, t.num_##name * sizeof(type));               \
   i++;
#include "base/vocab_arrays.def"
#undef ARRAY
   *out = bytes;
   *out_size = size;
}
