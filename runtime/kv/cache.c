/* cache.c - block tables over the pools of all cache groups. */
#include "cache.h"

#include <stdlib.h>

#include "runtime/images.h"

struct kv_cache {
   kv_cache_options o;
   kv_pool *pools[KV_MAX_GROUPS];
   int32_t *tables[KV_MAX_GROUPS];
   kv_prefix *prefix;
   int32_t *path;   /* blocks of the prompt being looked up */
   bool has_states; /* there are state groups */
};

enum {
   STATE_STRIDE = 256
}; /* generated tokens between states that the next one does not replace */

static void forget(void *user, uint32_t group, int32_t page)
{
   kv_cache *c = user;

   kv_prefix_forget(c->prefix, group, page);
}

static void freed(void *user, uint32_t group, int32_t page)
{
   kv_cache *c = user;

   if (c->o.freed_page)
      c->o.freed_page(c->o.user, group, page);
}

static int64_t grow(void *user, uint32_t group, int64_t pages)
{
   kv_cache *c = user;

   return c->o.grow_pages(c->o.user, group, pages);
}

static sinter_status create_pools(kv_cache *c)
{
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      kv_pool_hooks hooks = {c, g, forget, freed, c->o.grow_pages ? grow : NULL};
      size_t entries = (size_t)c->o.max_sequences * (size_t)c->o.max_blocks;

      SINTER_TRY(kv_pool_create(c->o.pages[g], &hooks, &c->pools[g]));
      c->tables[g] = malloc(entries * sizeof *c->tables[g]);
      if (!c->tables[g])
         return base_fail(SINTER_out_of_memory, "KV pool", "use a smaller KV pool",
                          "no memory for the block tables");
      memset(c->tables[g], 0xff, entries * sizeof *c->tables[g]);
   }
   return SINTER_ok;
}

static sinter_status build(kv_cache *c)
{
   kv_prefix_options prefix = {.num_groups = c->o.num_groups,
                               .fingerprint = c->o.fingerprint,
                               .user = c->o.user,
                               .changed = c->o.changed};

   memcpy(prefix.windows, c->o.windows, sizeof prefix.windows);
   memcpy(prefix.pages, c->o.pages, sizeof prefix.pages);
   memcpy(prefix.states, c->o.states, sizeof prefix.states);
   for (uint32_t g = 0; g < c->o.num_groups; g++)
      c->has_states |= c->o.states[g];
   SINTER_TRY(kv_prefix_create(&prefix, &c->prefix));
   c->path = calloc((size_t)c->o.max_blocks + 1, sizeof *c->path);
   if (!c->path)
      return base_fail(SINTER_out_of_memory, "KV pool", "use a smaller KV pool",
                       "no memory for the block tables");
   return create_pools(c);
}

sinter_status kv_cache_create(const kv_cache_options *options, kv_cache **out)
{
   kv_cache *c = calloc(1, sizeof *c);

   *out = NULL;
   if (!c)
      return base_fail(SINTER_out_of_memory, "KV pool", "", "no memory for the cache");
   c->o = *options;
   sinter_status status = build(c);
   if (status != SINTER_ok) {
      kv_cache_destroy(c);
      return status;
   }
   *out = c;
   return SINTER_ok;
}

void kv_cache_destroy(kv_cache *c)
{
   if (!c)
      return;
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      kv_pool_destroy(c->pools[g]);
      free(c->tables[g]);
   }
   kv_prefix_destroy(c->prefix);
   free(c->path);
   free(c);
}

int32_t *kv_cache_table(const kv_cache *c, uint32_t group)
{
   return c->tables[group];
}

static int32_t *row_of(const kv_cache *c, const kv_sequence *s, uint32_t group)
{
   return c->tables[group] + (size_t)s->slot * (size_t)c->o.max_blocks;
}

/* ---- pages of a sequence ---- */

static void release(kv_cache *c, kv_sequence *s, uint32_t g, int64_t block)
{
   int32_t *entry = &row_of(c, s, g)[block];
   int32_t page = *entry;

   *entry = -1;
   kv_pool_release(c->pools[g], page);
}

/* Lets go of the last block of every group. Only without state groups: their hits are whole
 * blocks. */
static void release_last(kv_cache *c, kv_sequence *s)
{
   for (uint32_t g = 0; g < c->o.num_groups; g++)
      release(c, s, g, --s->end_block[g]);
}

static bool take(kv_cache *c, kv_sequence *s, uint32_t g)
{
   int32_t *row = row_of(c, s, g);
   int64_t block = s->end_block[g];
   int32_t hint = block > s->first_block[g] ? row[block - 1] + 1 : 0;
   int32_t page = kv_pool_take(c->pools[g], hint);

   if (page < 0)
      return false;
   row[block] = page;
   s->end_block[g]++;
   return true;
}

static void drop_unread(kv_cache *c, kv_sequence *s, uint32_t g)
{
   int64_t first = MIN(kv_first_page(c->o.windows[g], s->stored), s->end_block[g]);

   while (s->first_block[g] < first)
      release(c, s, g, s->first_block[g]++);
}

/* Where a step up to `end` keeps its states, besides at its end: at its last border of blocks, so
 * that the same prompt and longer ones find it. */
static int64_t choose_snap(const kv_cache *c, const kv_sequence *s, int64_t end)
{
   int64_t border = (end - 1) / PAGE_TOKENS * PAGE_TOKENS;

   if (!c->has_states || s->untold || border <= s->stored)
      return 0;
   return end % PAGE_TOKENS || end == s->num_prompt ? border : 0;
}

bool kv_cache_extend(kv_cache *c, kv_sequence *s, int64_t end)
{
   int64_t blocks = (end + PAGE_TOKENS - 1) / PAGE_TOKENS;

   s->snap = choose_snap(c, s, end);
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      if (c->o.states[g]) {
         if (!kv_state_extend(&s->state[g], c->pools[g]))
            return false;
         if (s->snap)
            kv_state_want_snap(&s->state[g], c->pools[g], c->o.max_sequences);
         continue;
      }
      drop_unread(c, s, g);
      while (s->end_block[g] < blocks) {
         if (!take(c, s, g))
            return false;
      }
   }
   return true;
}

int64_t kv_cache_piece(const kv_cache *c, const kv_sequence *s, int64_t rows)
{
   return c->has_states && s->branch > s->stored ? MIN(rows, s->branch - s->stored) : rows;
}

const int32_t *kv_cache_row(const kv_cache *c, const kv_sequence *s, uint32_t group)
{
   return row_of(c, s, group);
}

bool kv_cache_restore(kv_cache *c, kv_sequence *s, int64_t stored)
{
   int64_t blocks = (stored + PAGE_TOKENS - 1) / PAGE_TOKENS;

   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      int64_t first = kv_first_page(c->o.windows[g], stored);
      int64_t need = c->o.states[g] ? 1 : blocks - MAX(s->end_block[g], first);
      if (!kv_pool_prepare(c->pools[g], need))
         return false;
   }
   s->stored = stored;
   s->untold = true;
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      if (c->o.states[g]) {
         (void)kv_state_restore(&s->state[g], c->pools[g]); /* there is one, as was just seen */
         continue;
      }
      drop_unread(c, s, g);
      if (s->first_block[g] == s->end_block[g])
         s->first_block[g] = s->end_block[g] = kv_first_page(c->o.windows[g], stored);
      while (s->end_block[g] < blocks && take(c, s, g))
         continue;
   }
   return true;
}

/* ---- prefixes ---- */

static kv_block block_of(const kv_cache *c, const kv_sequence *s, int64_t index)
{
   const hash128 media = rt_images_media(s->images, index);
   kv_block b = {.salt = s->salt ^ media.lo};

   memcpy(b.tokens, s->tokens + index * PAGE_TOKENS, sizeof b.tokens);
   for (int64_t i = 0; c->o.rope_id && i < PAGE_TOKENS; i++) {
      uint64_t id = c->o.rope_id(c->o.user, s->num_prompt, index * PAGE_TOKENS + i);
      b.rope = b.rope * 0x9e3779b97f4a7c15u + id;
   }
   b.rope ^= media.hi;
   return b;
}

/* Follows known blocks; returns how many there are. */
static int64_t look_up(kv_cache *c, const kv_sequence *s, int64_t most)
{
   int32_t at = KV_NO_BLOCK;

   for (int64_t i = 0; i < most; i++) {
      kv_block b = block_of(c, s, i);
      at = kv_prefix_find(c->prefix, at, &b);
      if (at == KV_NO_BLOCK)
         return i;
      c->path[i] = at;
   }
   return most;
}

/* Takes a share in the pages that serve the first `stored` tokens. */
static void share_path(kv_cache *c, kv_sequence *s, int64_t stored)
{
   int64_t blocks = (stored + PAGE_TOKENS - 1) / PAGE_TOKENS;

   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      int32_t *row = row_of(c, s, g);

      if (c->o.states[g]) {
         int32_t page = blocks ? kv_prefix_page(c->prefix, c->path[blocks - 1], g) : -1;
         kv_state_begin(&s->state[g], c->pools[g], page);
         continue;
      }
      s->first_block[g] = MIN(kv_first_page(c->o.windows[g], stored), blocks);
      s->end_block[g] = blocks;
      for (int64_t i = s->first_block[g]; i < blocks; i++) {
         row[i] = kv_prefix_page(c->prefix, c->path[i], g);
         kv_pool_share(c->pools[g], row[i]);
      }
   }
   s->stored = stored;
   s->known = stored / PAGE_TOKENS;
   s->tail = s->known ? c->path[s->known - 1] : KV_NO_BLOCK;
   kv_prefix_hold(c->prefix, s->tail);
}

/* Replaces the shared last page, which the sequence will write to, by a copy. False when a pool has
 * no page for it. */
static bool copy_last(kv_cache *c, kv_sequence *s)
{
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      int32_t *entry = &row_of(c, s, g)[s->end_block[g] - 1];
      int32_t shared = *entry;
      int32_t copy = kv_pool_take(c->pools[g], shared + 1);

      if (copy < 0)
         return false;
      c->o.copy_page(c->o.user, g, shared, copy);
      *entry = copy;
      kv_pool_release(c->pools[g], shared);
   }
   return true;
}

void kv_cache_begin(kv_cache *c, kv_sequence *s, int64_t count, int64_t limit)
{
   memset(s->first_block, 0, sizeof s->first_block);
   memset(s->end_block, 0, sizeof s->end_block);
   s->stored = s->known = s->snap = s->branch = 0;
   s->tail = KV_NO_BLOCK;
   s->untold = !c->o.share;
   for (uint32_t g = 0; g < c->o.num_groups; g++)
      kv_state_begin(&s->state[g], c->pools[g], -1);
   if (!c->o.share || limit <= 0)
      return;
   /* A last block that is known as a whole is of use even when only a part of it may be taken. */
   int64_t blocks = MIN((limit + PAGE_TOKENS - 1) / PAGE_TOKENS, count / PAGE_TOKENS);
   int64_t found = look_up(c, s, blocks);
   share_path(c, s, kv_prefix_border(c->prefix, c->path, found, limit, true));
   if (c->has_states)
      s->branch =
         kv_prefix_border(c->prefix, c->path, found, limit, false) / PAGE_TOKENS * PAGE_TOKENS;
   if (s->stored % PAGE_TOKENS && !copy_last(c, s)) {
      release_last(c, s);
      s->stored -= s->stored % PAGE_TOKENS;
   }
}

/* The states at the end of the known blocks, if there are any. */
static void tell_states(kv_cache *c, kv_sequence *s, int64_t stored)
{
   int64_t border = s->known * PAGE_TOKENS;
   bool replaces = border > s->num_prompt && border % STATE_STRIDE;

   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      if (!c->o.states[g])
         continue;
      if (border == stored)
         kv_state_tell(&s->state[g], c->pools[g], c->prefix, s->tail, g, replaces);
      else if (border == s->snap)
         kv_state_tell_snap(&s->state[g], c->pools[g], c->prefix, s->tail, g);
   }
}

/* Makes the next block findable. */
static void tell(kv_cache *c, kv_sequence *s)
{
   kv_block b = block_of(c, s, s->known);
   int32_t block = kv_prefix_add(c->prefix, s->tail, &b);

   if (block == KV_NO_BLOCK) {
      s->untold = true;
      return;
   }
   kv_prefix_drop(c->prefix, s->tail);
   s->tail = block;
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      if (c->o.states[g])
         continue;
      int32_t page = row_of(c, s, g)[s->known];
      assert(page >= 0); /* a block is told before it can leave a window */
      if (kv_prefix_attach(c->prefix, block, g, page))
         kv_pool_keep(c->pools[g], page);
   }
   s->known++;
}

void kv_cache_commit(kv_cache *c, kv_sequence *s, int64_t stored)
{
   s->stored = stored;
   for (uint32_t g = 0; g < c->o.num_groups; g++)
      if (c->o.states[g])
         kv_state_commit(&s->state[g], c->pools[g]);
   while (!s->untold && (s->known + 1) * PAGE_TOKENS <= stored) {
      tell(c, s);
      if (!s->untold)
         tell_states(c, s, stored);
   }
}

void kv_cache_end(kv_cache *c, kv_sequence *s)
{
   /* The last page first: what is evicted first is then the end of a prefix, not its beginning. */
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      if (c->o.states[g])
         kv_state_end(&s->state[g], c->pools[g]);
      while (s->end_block[g] > s->first_block[g])
         release(c, s, g, --s->end_block[g]);
      s->first_block[g] = s->end_block[g] = 0;
   }
   kv_prefix_drop(c->prefix, s->tail);
   s->tail = KV_NO_BLOCK;
   s->stored = s->known = 0;
}

void kv_cache_tell_all(kv_cache *c)
{
   kv_prefix_tell_all(c->prefix);
}

/* ---- room ---- */

bool kv_cache_fits(const kv_cache *c, const kv_sequence *s, int64_t tokens, int64_t step,
                   int64_t spare)
{
   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      int64_t need = (tokens + PAGE_TOKENS - 1) / PAGE_TOKENS - s->end_block[g];

      if (c->o.states[g])
         need = s->state[g].to < 0;

      /* A window group holds no more than its window and one step at a time. */
      if (c->o.windows[g])
         need = MIN(need, (c->o.windows[g] + step) / PAGE_TOKENS + 2);
      if (kv_pool_available(c->pools[g]) < need + spare)
         return false;
   }
   return true;
}

uint32_t kv_cache_pages(const kv_cache *c, const kv_sequence *s)
{
   int64_t n = 0;

   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      const kv_state *t = &s->state[g];
      n += c->o.states[g] ? (t->from >= 0) + (t->to >= 0 && t->to != t->from) + (t->snap >= 0)
                          : s->end_block[g] - s->first_block[g];
   }
   return (uint32_t)n;
}

void kv_cache_usage(const kv_cache *c, uint64_t *out_used, uint64_t *out_total)
{
   int64_t used = 0, total = 0;

   for (uint32_t g = 0; g < c->o.num_groups; g++) {
      int64_t size = kv_pool_size(c->pools[g]), held = size - kv_pool_available(c->pools[g]);
      if (c->o.states[g])
         continue;
      if (held >= used) {
         used = held;
         total = size;
      }
   }
   *out_used = (uint64_t)used * PAGE_TOKENS;
   *out_total = (uint64_t)total * PAGE_TOKENS;
}
