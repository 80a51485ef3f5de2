// LINK: runtime base
/* kv_state_test.c - states in the cache against what they should hold: a page of a state group is
 * given the hash of the tokens it stands for, and every reader looks. */
#include <criterion/criterion.h>

#include "runtime/kv/cache.h"

enum { STATES = 24, PAGES = 120, SLOTS = 4, LONGEST = 400, WALKS = 4000 };

typedef struct world {
   uint64_t state[STATES]; /* hash of the tokens up to the page's state; 0: nothing or freed */
   uint64_t kv[PAGES];     /* hash of the tokens up to the end of the page's block */
   uint64_t dice;
   kv_cache *cache;
} world;

typedef struct walker {
   bool runs;
   kv_sequence s;
   int32_t tokens[LONGEST];
   int64_t num, prompt;
} walker;

static uint32_t dice(world *w, uint32_t n)
{
   w->dice = w->dice * 6364136223846793005u + 1442695040888963407u;
   return (uint32_t)(w->dice >> 33) % n;
}

static uint64_t hash_of(const int32_t *tokens, int64_t n)
{
   uint64_t h = 88172645463325252u;

   for (int64_t i = 0; i < n; i++)
      h = (h ^ (uint64_t)(tokens[i] + 1)) * 0x9e3779b97f4a7c15u;
   return h;
}

static void freed(void *user, uint32_t group, int32_t page)
{
   world *w = user;

   if (group == 1)
      w->state[page] = 0;
   else
      w->kv[page] = 0;
}

static void no_copy(void *user, uint32_t group, int32_t from, int32_t to)
{
   (void)user;
   (void)group;
   (void)from;
   (void)to;
   cr_assert(false, "hits of states are whole blocks: nothing is copied");
}

static void open_world(world *w, int64_t states)
{
   kv_cache_options o = {.num_groups = 2,
                         .states = {false, true},
                         .pages = {PAGES, states},
                         .max_sequences = SLOTS,
                         .max_blocks = LONGEST / PAGE_TOKENS,
                         .share = true,
                         .user = w,
                         .copy_page = no_copy,
                         .freed_page = freed};

   *w = (world){.dice = 3};
   cr_assert(kv_cache_create(&o, &w->cache) == SINTER_ok);
}

/* Prompts are cut from few texts, so that prefixes are shared and left at any place. */
static void begin(world *w, walker *k, uint32_t slot)
{
   uint32_t text = dice(w, 3), leaves = dice(w, LONGEST);

   *k = (walker){.runs = true, .prompt = 1 + dice(w, LONGEST - 40)};
   k->num = k->prompt;
   for (int32_t i = 0; i < LONGEST; i++)
      k->tokens[i] = (int32_t)text * 1000 + i + (i >= (int32_t)leaves ? (int32_t)dice(w, 9) : 0);
   k->s = (kv_sequence){.slot = slot, .tokens = k->tokens, .num_prompt = k->prompt};
   kv_cache_begin(w->cache, &k->s, k->num, k->num - 1);
}

static void check_before(const world *w, const walker *k)
{
   const kv_state *s = &k->s.state[1];
   const int32_t *table = kv_cache_table(w->cache, 0) + k->s.slot * (LONGEST / PAGE_TOKENS);

   cr_assert((s->from < 0) == (k->s.stored == 0));
   if (s->from >= 0)
      cr_assert(w->state[s->from] == hash_of(k->tokens, k->s.stored), "a state of other tokens");
   for (int64_t b = 0; b < k->s.stored / PAGE_TOKENS; b++)
      cr_assert(w->kv[table[b]] == hash_of(k->tokens, (b + 1) * PAGE_TOKENS));
}

/* Runs the tokens up to `end`: writes what the kernels would. */
static void run(world *w, walker *k, int64_t end)
{
   const kv_state *s = &k->s.state[1];
   const int32_t *table = kv_cache_table(w->cache, 0) + k->s.slot * (LONGEST / PAGE_TOKENS);

   cr_assert(s->to >= 0);
   if (s->snap >= 0 && k->s.snap) {
      cr_assert(k->s.snap > k->s.stored && k->s.snap < end && s->snap != s->to &&
                s->snap != s->from && k->s.snap % PAGE_TOKENS == 0);
      w->state[s->snap] = hash_of(k->tokens, k->s.snap);
   }
   w->state[s->to] = hash_of(k->tokens, end);
   for (int64_t b = k->s.stored / PAGE_TOKENS; b < end / PAGE_TOKENS; b++)
      w->kv[table[b]] = hash_of(k->tokens, (b + 1) * PAGE_TOKENS);
   kv_cache_commit(w->cache, &k->s, end);
}

/* Gives its pages away, and has those that nobody knows put back, as runtime/swap.c does; true when
 * they were. */
static bool give_way(world *w, walker *k)
{
   const int32_t *table = kv_cache_table(w->cache, 0) + k->s.slot * (LONGEST / PAGE_TOKENS);
   int64_t stored = k->s.stored;

   kv_cache_end(w->cache, &k->s);
   kv_cache_begin(w->cache, &k->s, k->num, k->num - 1);
   int64_t known = k->s.stored;
   if (stored <= known || !kv_cache_restore(w->cache, &k->s, stored))
      return false;
   cr_assert(k->s.stored == stored && k->s.state[1].from >= 0);
   w->state[k->s.state[1].from] = hash_of(k->tokens, stored);
   for (int64_t b = known / PAGE_TOKENS; b < stored / PAGE_TOKENS; b++)
      w->kv[table[b]] = hash_of(k->tokens, (b + 1) * PAGE_TOKENS);
   return true;
}

static void advance(world *w, walker *k)
{
   int64_t rows = k->s.stored < k->prompt ? 1 + dice(w, 90) : 1;
   int64_t end;

   if (k->s.stored >= k->prompt)
      k->num = k->s.stored + 1; /* a generated token, already in the text */
   rows = kv_cache_piece(w->cache, &k->s, MIN(rows, k->num - k->s.stored));
   cr_assert(rows > 0);
   end = k->s.stored + rows;
   if (end > LONGEST || !kv_cache_extend(w->cache, &k->s, end)) {
      kv_cache_end(w->cache, &k->s);
      k->runs = false;
      return;
   }
   check_before(w, k);
   run(w, k, end);
   if (k->s.stored < LONGEST - 1 && k->s.stored >= k->prompt && dice(w, 30) == 0) {
      kv_cache_end(w->cache, &k->s);
      k->runs = false;
   }
}

/* Kills: a hit at a border without a state, or with one of another place; a snapshot that is
 * written again; a page that two sequences write; a state that outlives its page; a state put back
 * into a page that others find, or into none. */
static int64_t walk(int64_t states, int64_t *put_back)
{
   static walker all[SLOTS];
   static world w;
   int64_t hits = 0;

   open_world(&w, states);
   memset(all, 0, sizeof all);
   for (int i = 0; i < WALKS; i++) {
      uint32_t slot = dice(&w, SLOTS);
      walker *k = &all[slot];
      if (!k->runs) {
         begin(&w, k, slot);
         hits += k->s.stored > 0;
         cr_assert(k->s.stored % PAGE_TOKENS == 0 && k->s.stored < k->num);
         check_before(&w, k);
      }
      if (k->s.stored && dice(&w, 25) == 0)
         *put_back += give_way(&w, k);
      advance(&w, k);
      for (uint32_t a = 0; a < SLOTS; a++)
         for (uint32_t b = 0; b < a; b++)
            cr_assert(!all[a].runs || !all[b].runs || all[a].s.state[1].to < 0 ||
                      all[a].s.state[1].to != all[b].s.state[1].to);
   }
   for (uint32_t i = 0; i < SLOTS; i++)
      if (all[i].runs)
         kv_cache_end(w.cache, &all[i].s);
   kv_cache_destroy(w.cache);
   return hits;
}

Test(kv_state, random_walk_with_room)
{
   int64_t put_back = 0;

   cr_assert(walk(STATES, &put_back) > 50 && put_back > 20);
}

/* Pages for little more than one sequence: snapshots are not taken, nothing is lost. */
Test(kv_state, random_walk_without_room)
{
   int64_t put_back = 0;

   (void)walk(5, &put_back);
}

/* One sequence over `tokens`, `rows` at a time; ends at once. */
static int64_t hit_of(world *w, const int32_t *tokens, int64_t n, int64_t rows)
{
   static walker k;

   k = (walker){.num = n, .prompt = n};
   memcpy(k.tokens, tokens, (size_t)n * sizeof *tokens);
   k.s = (kv_sequence){.tokens = k.tokens, .num_prompt = n};
   kv_cache_begin(w->cache, &k.s, n, n - 1);
   int64_t hit = k.s.stored;
   while (k.s.stored < n) {
      int64_t end = k.s.stored + kv_cache_piece(w->cache, &k.s, MIN(rows, n - k.s.stored));
      cr_assert(kv_cache_extend(w->cache, &k.s, end));
      check_before(w, &k);
      run(w, &k, end);
   }
   kv_cache_end(w->cache, &k.s);
   return hit;
}

/* The same prompt is found up to its last border, whether or not that is its end; a longer one from
 * its end on; and where two prompts part, the third one finds a state that the second one left
 * there. Kills: snapshots at the end only; none where prompts part. */
Test(kv_state, where_hits_are)
{
   static world w;
   int32_t tokens[LONGEST];

   open_world(&w, STATES);
   for (int32_t i = 0; i < LONGEST; i++)
      tokens[i] = i;
   cr_assert(hit_of(&w, tokens, 70, 512) == 0);
   cr_assert(hit_of(&w, tokens, 70, 512) == 64);
   cr_assert(hit_of(&w, tokens, 96, 512) == 64);
   cr_assert(hit_of(&w, tokens, 96, 512) == 80);
   cr_assert(hit_of(&w, tokens, 120, 512) == 96);
   for (int32_t i = 40; i < LONGEST; i++)
      tokens[i] = 1000 + i;
   cr_assert(hit_of(&w, tokens, 100, 512) == 0);
   for (int32_t i = 40; i < LONGEST; i++)
      tokens[i] = 2000 + i;
   cr_assert(hit_of(&w, tokens, 100, 512) == 32);
   kv_cache_destroy(w.cache);
}

/* Generated tokens leave one state behind, not one a block. Kills: a pool full of one answer. */
Test(kv_state, an_answer_keeps_one_state)
{
   static world w;
   static walker k;

   open_world(&w, STATES);
   k = (walker){.num = 20, .prompt = 20};
   for (int32_t i = 0; i < LONGEST; i++)
      k.tokens[i] = i;
   k.s = (kv_sequence){.tokens = k.tokens, .num_prompt = 20};
   kv_cache_begin(w.cache, &k.s, 20, 19);
   for (int64_t end = 20; end < 200; end++) {
      cr_assert(kv_cache_extend(w.cache, &k.s, end));
      run(&w, &k, end);
   }
   kv_cache_end(w.cache, &k.s);
   int found = 0;
   for (int i = 0; i < STATES; i++)
      found += w.state[i] != 0;
   cr_assert(found <= 4, "%d states are kept",
             found); /* the prompt's, the answer's last, its end */
   cr_assert(hit_of(&w, k.tokens, 199, 512) == 192);
   kv_cache_destroy(w.cache);
}
