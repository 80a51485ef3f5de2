// LINK: runtime base
/* kv_test.c - pages, prefixes and block tables against plain models of themselves. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "runtime/kv/cache.h"

static uint32_t dice(uint64_t *state, uint32_t n)
{
   *state = *state * 6364136223846793005u + 1442695040888963407u;
   return (uint32_t)(*state >> 33) % n;
}

/* ---- pool ---- */

enum { PAGES = 40 };

typedef struct pool_model {
   int32_t refs[PAGES];
   bool kept[PAGES];
   uint64_t released[PAGES]; /* when it was cached */
   uint32_t forgotten, freed;
   int32_t last_forgotten;
} pool_model;

static void model_forget(void *user, uint32_t group, int32_t page)
{
   pool_model *m = user;

   cr_assert(group == 3 && m->kept[page] && !m->refs[page]);
   m->kept[page] = false;
   m->last_forgotten = page;
   m->forgotten++;
}

static void model_freed(void *user, uint32_t group, int32_t page)
{
   pool_model *m = user;

   cr_assert(group == 3 && !m->kept[page]);
   m->freed++;
}

static int32_t oldest(const pool_model *m)
{
   int32_t best = -1;

   for (int32_t i = 0; i < PAGES; i++) {
      if (m->kept[i] && !m->refs[i] && (best < 0 || m->released[i] < m->released[best]))
         best = i;
   }
   return best;
}

static bool any_free(const pool_model *m)
{
   for (int i = 0; i < PAGES; i++) {
      if (!m->refs[i] && !m->kept[i])
         return true;
   }
   return false;
}

/* Kills: a page given out twice; a held page evicted; eviction that is not by age; a generation
 * that does not change with the content. */
Test(kv_pool, random_walk_against_a_model)
{
   pool_model m = {.last_forgotten = -1};
   kv_pool_hooks hooks = {&m, 3, model_forget, model_freed, NULL};
   uint32_t generations[PAGES] = {0};
   uint64_t state = 1;
   kv_pool *p;

   cr_assert(kv_pool_create(PAGES, &hooks, &p) == SINTER_ok);
   for (uint64_t step = 0; step < 20000; step++) {
      int32_t page = (int32_t)dice(&state, PAGES);
      uint32_t what = dice(&state, 5);
      if (what <= 1) {
         bool had_free = any_free(&m);
         int32_t expected = oldest(&m);
         uint32_t before = m.forgotten;
         int32_t got = kv_pool_take(p, page);
         cr_assert((got < 0) == (!had_free && expected < 0));
         cr_assert(m.forgotten - before == (uint32_t)(!had_free && expected >= 0));
         if (got < 0)
            continue;
         cr_assert(!m.refs[got] && !m.kept[got]);
         cr_assert(had_free || got == expected);
         cr_assert(kv_pool_generation(p, got) == ++generations[got]);
         m.refs[got] = 1;
      } else if (what == 2 && (m.refs[page] || m.kept[page])) {
         kv_pool_share(p, page);
         m.refs[page]++;
      } else if (what == 3 && m.refs[page]) {
         if (--m.refs[page] == 0)
            m.released[page] = step;
         kv_pool_release(p, page);
      } else if (what == 4 && m.refs[page] && dice(&state, 2)) {
         kv_pool_keep(p, page);
         m.kept[page] = true;
      }
      int64_t available = 0;
      for (int i = 0; i < PAGES; i++) {
         cr_assert(kv_pool_refs(p, i) == m.refs[i]);
         available += !m.refs[i];
      }
      cr_assert(kv_pool_available(p) == available);
   }
   cr_assert(m.forgotten > 100 && m.freed > 100);
   kv_pool_destroy(p);
}

static void ignore(void *user, uint32_t group, int32_t page)
{
   (void)user;
   (void)group;
   (void)page;
}

/* Kills: pages handed out in any order, which scatters a sequence over the pool. */
Test(kv_pool, runs_ascend_from_the_hint)
{
   kv_pool_hooks hooks = {NULL, 0, ignore, NULL, NULL};
   kv_pool *p;

   cr_assert(kv_pool_create(130, &hooks, &p) == SINTER_ok);
   cr_assert(kv_pool_take(p, 0) == 0);
   cr_assert(kv_pool_take(p, 1) == 1);
   cr_assert(kv_pool_take(p, 127) == 127);
   cr_assert(kv_pool_take(p, 128) == 128);
   cr_assert(kv_pool_take(p, 127) == 129);
   cr_assert(kv_pool_take(p, 130) == 2); /* behind the end: the lowest */
   kv_pool_release(p, 1);
   cr_assert(kv_pool_take(p, 0) == 1);
   kv_pool_destroy(p);
}

typedef struct growing {
   int64_t has, most, calls;
} growing;

/* Three pages at a time, until there is no more memory. */
static int64_t grow(void *user, uint32_t group, int64_t pages)
{
   growing *g = user;

   (void)group;
   g->calls++;
   g->has = MIN(MAX(g->has, (pages + 2) / 3 * 3), g->most);
   return g->has;
}

/* Kills: a page without memory that is given out, or before one that has some; pages that count
 * though they never get memory; a cached page that is not taken when memory is out. */
Test(kv_pool, grows_as_far_as_there_is_memory)
{
   growing g = {.most = 10};
   kv_pool_hooks hooks = {&g, 0, ignore, NULL, grow};
   kv_pool *p;

   cr_assert(kv_pool_create(100, &hooks, &p) == SINTER_ok);
   cr_assert(kv_pool_available(p) == 100 && g.calls == 0);
   for (int32_t i = 0; i < 5; i++)
      cr_assert(kv_pool_take(p, i) == i && g.has == i / 3 * 3 + 3);
   kv_pool_release(p, 1);
   cr_assert(kv_pool_take(p, 50) == 1 && g.calls == 2, "what has memory goes first");
   cr_assert(kv_pool_take(p, 50) == 5 && kv_pool_take(p, 50) == 6);
   for (int32_t i = 7; i < 10; i++)
      cr_assert(kv_pool_take(p, i) == i);
   kv_pool_keep(p, 3);
   kv_pool_release(p, 3);
   cr_assert(kv_pool_prepare(p, 0) && kv_pool_size(p) == 100 && kv_pool_available(p) == 91);
   cr_assert(kv_pool_take(p, 10) == 3, "memory is out: the cached one");
   cr_assert(kv_pool_size(p) == 10 && kv_pool_available(p) == 0 && kv_pool_free(p) == 0);
   int64_t calls = g.calls;
   cr_assert(kv_pool_take(p, 10) == -1 && kv_pool_take(p, 0) == -1 && g.calls == calls);
   kv_pool_release(p, 9);
   cr_assert(kv_pool_take(p, 0) == 9);
   kv_pool_destroy(p);
}

/* Kills: a promise of pages that get no memory; one that takes more than is asked. */
Test(kv_pool, prepares_what_is_taken_next)
{
   growing g = {.most = 7};
   kv_pool_hooks hooks = {&g, 0, ignore, NULL, grow};
   kv_pool *p;

   cr_assert(kv_pool_create(100, &hooks, &p) == SINTER_ok);
   cr_assert(kv_pool_prepare(p, 2) && g.has == 3 && kv_pool_prepare(p, 4) && g.has == 6);
   for (int32_t i = 0; i < 4; i++)
      cr_assert(kv_pool_take(p, 40) == i && g.has == 6);
   kv_pool_keep(p, 0);
   kv_pool_release(p, 0);
   cr_assert(!kv_pool_prepare(p, 5) && kv_pool_size(p) == 7);
   cr_assert(kv_pool_prepare(p, 4), "three free ones and the cached one");
   for (int32_t i = 4; i < 7; i++)
      cr_assert(kv_pool_take(p, i) == i);
   cr_assert(kv_pool_take(p, 0) == 0 && kv_pool_take(p, 0) == -1);
   kv_pool_destroy(p);
}

/* ---- prefix ---- */

static kv_block block(int32_t first, uint64_t rope, uint64_t salt)
{
   kv_block b = {.rope = rope, .salt = salt};

   for (int i = 0; i < PAGE_TOKENS; i++)
      b.tokens[i] = first + i;
   return b;
}

/* Kills: a key without salt, rotary table, parent or one of the tokens; a block that is freed while
 * it has a page or a holder; one that stays when it has none. */
Test(kv_prefix, blocks_are_told_apart_and_collected)
{
   kv_prefix_options o = {.num_groups = 1, .pages = {8}, .fingerprint = {5, 6}};
   kv_block a = block(1, 0, 0), b = block(2, 0, 0), other = a;
   kv_prefix *t;

   cr_assert(kv_prefix_create(&o, &t) == SINTER_ok);
   int32_t first = kv_prefix_add(t, KV_NO_BLOCK, &a);
   int32_t second = kv_prefix_add(t, first, &b);
   cr_assert(first >= 0 && second >= 0 && first != second && kv_prefix_count(t) == 2);
   cr_assert(kv_prefix_find(t, KV_NO_BLOCK, &a) == first);
   cr_assert(kv_prefix_find(t, first, &b) == second);
   cr_assert(kv_prefix_find(t, KV_NO_BLOCK, &b) == KV_NO_BLOCK);
   cr_assert(kv_prefix_find(t, second, &b) == KV_NO_BLOCK);
   other.rope = 1;
   cr_assert(kv_prefix_find(t, KV_NO_BLOCK, &other) == KV_NO_BLOCK);
   other = a;
   other.salt = 1;
   cr_assert(kv_prefix_find(t, KV_NO_BLOCK, &other) == KV_NO_BLOCK);
   for (int i = 0; i < PAGE_TOKENS; i++) {
      other = a;
      other.tokens[i]++;
      cr_assert(kv_prefix_find(t, KV_NO_BLOCK, &other) == KV_NO_BLOCK);
   }
   cr_assert(kv_prefix_attach(t, second, 0, 5));
   cr_assert(!kv_prefix_attach(t, second, 0, 6)); /* the first page stays */
   cr_assert(kv_prefix_page(t, second, 0) == 5 && kv_prefix_page(t, first, 0) == -1);
   kv_prefix_drop(t, first);
   kv_prefix_drop(t, second);
   cr_assert(kv_prefix_count(t) == 2); /* the page holds the second, that the first */
   kv_prefix_forget(t, 0, 5);
   cr_assert(kv_prefix_count(t) == 0 && kv_prefix_find(t, KV_NO_BLOCK, &a) == KV_NO_BLOCK);
   kv_prefix_destroy(t);
}

/* Kills: a block found under another parent that shares its bucket. */
Test(kv_prefix, equal_blocks_of_other_parents_are_others)
{
   enum { CHAIN = 400 };
   kv_prefix_options o = {.num_groups = 1, .pages = {CHAIN}};
   kv_block b = block(1, 0, 0);
   int32_t path[CHAIN], at = KV_NO_BLOCK;
   kv_prefix *t;

   cr_assert(kv_prefix_create(&o, &t) == SINTER_ok);
   for (int i = 0; i < CHAIN; i++)
      path[i] = at = kv_prefix_add(t, at, &b);
   cr_assert(kv_prefix_count(t) == CHAIN);
   for (int i = 0; i < CHAIN; i++)
      cr_assert(kv_prefix_find(t, i ? path[i - 1] : KV_NO_BLOCK, &b) == path[i]);
   cr_assert(kv_prefix_find(t, path[CHAIN - 1], &b) == KV_NO_BLOCK);
   kv_prefix_destroy(t);
}

/* Kills: a full table that overwrites. */
Test(kv_prefix, a_full_table_refuses)
{
   kv_prefix_options o = {.num_groups = 1, .pages = {1}};
   kv_prefix *t;
   int32_t added = 0;

   cr_assert(kv_prefix_create(&o, &t) == SINTER_ok);
   for (int32_t i = 0; i < 1000; i++) {
      kv_block b = block(i * 100, 0, 0);
      if (kv_prefix_add(t, KV_NO_BLOCK, &b) == KV_NO_BLOCK)
         break;
      added++;
   }
   cr_assert(added >= 2 && added < 1000 && kv_prefix_count(t) == (uint32_t)added);
   for (int32_t i = 0; i < added; i++) {
      kv_block b = block(i * 100, 0, 0);
      cr_assert(kv_prefix_find(t, KV_NO_BLOCK, &b) >= 0);
   }
   kv_prefix_destroy(t);
}

/* Kills: taking the longest hit of any group; asking a window group for more than its window. */
Test(kv_prefix, border_is_the_largest_all_groups_serve)
{
   enum { BLOCKS = 12 };
   kv_prefix_options o = {.num_groups = 2, .windows = {0, 40}, .pages = {64, 64}};
   uint64_t state = 7;

   for (int round = 0; round < 300; round++) {
      int32_t path[BLOCKS], at = KV_NO_BLOCK;
      bool has[2][BLOCKS];
      int64_t limit = 1 + dice(&state, BLOCKS * PAGE_TOKENS), best = 0;
      kv_prefix *t;

      cr_assert(kv_prefix_create(&o, &t) == SINTER_ok);
      for (int i = 0; i < BLOCKS; i++) {
         kv_block b = block(i, 0, 0);
         path[i] = at = kv_prefix_add(t, at, &b);
         for (uint32_t g = 0; g < 2; g++) {
            has[g][i] = dice(&state, 12) != 0;
            if (has[g][i])
               cr_assert(kv_prefix_attach(t, at, g, i));
         }
      }
      int64_t blocks = MIN((limit + PAGE_TOKENS - 1) / PAGE_TOKENS, BLOCKS);
      for (int64_t i = 0; i < blocks; i++) {
         int64_t stored = MIN((i + 1) * PAGE_TOKENS, limit);
         bool good = true;
         for (int64_t p = 0; p < stored; p++) {
            good = good && has[0][p / PAGE_TOKENS];
            good = good && (p <= stored - 40 || has[1][p / PAGE_TOKENS]);
         }
         if (good)
            best = stored;
      }
      cr_assert(kv_prefix_border(t, path, blocks, limit, true) == best);
      kv_prefix_destroy(t);
   }
}

/* ---- cache ---- */

static uint32_t copies;

static void copy_page(void *user, uint32_t group, int32_t from, int32_t to)
{
   (void)user;
   (void)group;
   cr_assert(from != to && from >= 0 && to >= 0);
   copies++;
}

static kv_cache *cache_of(int64_t pages)
{
   kv_cache_options o = {.num_groups = 2,
                         .windows = {0, 24},
                         .pages = {pages, pages},
                         .max_sequences = 4,
                         .max_blocks = pages,
                         .share = true,
                         .copy_page = copy_page};
   kv_cache *c;

   cr_assert(kv_cache_create(&o, &c) == SINTER_ok);
   return c;
}

static const int32_t tokens[512] = {1, 2, 3};

static int64_t begin(kv_cache *c, kv_sequence *s, uint32_t slot, int64_t count, int64_t limit)
{
   *s = (kv_sequence){.slot = slot, .tokens = tokens, .num_prompt = count};
   kv_cache_begin(c, s, count, limit);
   return s->stored;
}

/* Kills: two sequences that write to one page; a shared page that is released too early; a block
 * table with stale entries. */
Test(kv_cache, sharing_copies_the_page_that_is_written)
{
   kv_cache *c = cache_of(16);
   kv_sequence a, b;
   uint64_t used, total;

   cr_assert(begin(c, &a, 0, 64, 63) == 0);
   cr_assert(kv_cache_extend(c, &a, 64));
   kv_cache_commit(c, &a, 64);
   copies = 0;
   cr_assert(begin(c, &b, 1, 64, 63) == 63);
   cr_assert(copies == 2); /* one a group */
   const int32_t *full = kv_cache_table(c, 0), *window = kv_cache_table(c, 1);
   for (int i = 0; i < 3; i++)
      cr_assert(full[i] == full[16 + i] && full[i] >= 0);
   cr_assert(full[3] != full[16 + 3] && full[16 + 3] >= 0);
   cr_assert(window[16 + 0] == -1 && window[16 + 1] == -1); /* out of the window of position 63 */
   cr_assert(window[16 + 2] == window[2] && window[16 + 3] != window[3]);
   kv_cache_usage(c, &used, &total);
   cr_assert(used == 5 * PAGE_TOKENS && total == 16 * PAGE_TOKENS);
   kv_cache_end(c, &a);
   kv_cache_end(c, &b);
   kv_cache_usage(c, &used, &total);
   cr_assert(used == 0);
   for (int i = 0; i < 32; i++)
      cr_assert(full[i] == -1 && window[i] == -1);
   kv_cache_destroy(c);
}

/* Kills: copy-on-write that fails, or loses the whole hit, when there is no page for the copy. */
Test(kv_cache, no_room_for_the_copy_gives_up_one_block)
{
   kv_cache *c = cache_of(4);
   kv_sequence a, b;

   cr_assert(begin(c, &a, 0, 64, 63) == 0);
   cr_assert(kv_cache_extend(c, &a, 64));
   kv_cache_commit(c, &a, 64);
   cr_assert(!kv_cache_extend(c, &a, 65));
   cr_assert(begin(c, &b, 1, 64, 63) == 48);
   kv_cache_end(c, &b);
   kv_cache_end(c, &a);
   kv_cache_destroy(c);
}

/* Kills: eviction from the front of a prefix, which makes its rest useless. */
Test(kv_cache, the_end_of_a_prefix_goes_first)
{
   kv_cache *c = cache_of(8);
   kv_sequence a, b = {.slot = 1};
   int32_t other[64];

   for (int i = 0; i < 64; i++)
      other[i] = 77;
   cr_assert(begin(c, &a, 0, 96, 95) == 0);
   cr_assert(kv_cache_extend(c, &a, 96));
   kv_cache_commit(c, &a, 96);
   kv_cache_end(c, &a);
   b.tokens = other;
   kv_cache_begin(c, &b, 64, 63);
   cr_assert(kv_cache_extend(c, &b, 64)); /* 2 free pages, 2 of the cached ones */
   kv_cache_commit(c, &b, 64);
   kv_cache_end(c, &b);
   cr_assert(begin(c, &a, 0, 96, 95) == 64);
   kv_cache_end(c, &a);
   kv_cache_destroy(c);
}

/* Kills: an admission that takes more than there is. */
Test(kv_cache, fits_counts_what_can_be_taken_back)
{
   kv_cache *c = cache_of(8);
   kv_sequence a, b = {.slot = 1, .tokens = tokens};

   cr_assert(begin(c, &a, 0, 64, 0) == 0);
   cr_assert(kv_cache_extend(c, &a, 64));
   cr_assert(kv_cache_fits(c, &b, 64, 16, 0));
   cr_assert(!kv_cache_fits(c, &b, 65, 16, 0));
   cr_assert(!kv_cache_fits(c, &b, 64, 16, 1));
   kv_cache_commit(c, &a, 64);
   kv_cache_end(c, &a); /* cached, so it can be taken back */
   cr_assert(kv_cache_fits(c, &b, 128, 16, 0));
   kv_cache_destroy(c);
}
