/* cache.h - where every sequence's keys and values lie: pools, block tables, prefixes.
 *
 *    begin ─▶ extend ─▶ (step writes k and v) ─▶ commit ─▶ extend … ─▶ end
 *      │                                           └ full blocks become findable
 *      └ takes the pages of the longest known prefix
 *
 * The block tables are the arrays that the kernels read. Thread: the engine. Nothing is allocated
 * after kv_cache_create. */
#ifndef KV_CACHE_H
#define KV_CACHE_H

#include "state.h"

typedef struct kv_cache kv_cache;

typedef struct kv_cache_options {
   uint32_t num_groups;
   int64_t windows[KV_MAX_GROUPS];
   bool states[KV_MAX_GROUPS]; /* groups whose pages are whole states of a sequence */
   int64_t pages[KV_MAX_GROUPS];
   uint32_t max_sequences;
   int64_t max_blocks; /* of one sequence: width of the block tables */
   hash128 fingerprint;
   bool share; /* find prefixes */
   void *user;
   void (*copy_page)(void *user, uint32_t group, int32_t from, int32_t to);
   void (*freed_page)(void *user, uint32_t group, int32_t page);     /* may be NULL */
   int64_t (*grow_pages)(void *user, uint32_t group, int64_t pages); /* as kv_pool_hooks.grow */
   uint64_t (*rope_id)(void *user, int64_t num_prompt, int64_t position); /* NULL: always 0 */
   void (*changed)(void *user, const kv_change *change);                  /* may be NULL */
} kv_cache_options;

/* A sequence in a slot. tokens: at least as many as are stored. */
typedef struct kv_sequence {
   uint32_t slot;
   const int32_t *tokens;
   int64_t num_prompt; /* length of the first prompt */
   uint64_t salt;
   const struct rt_images *images; /* of the prompt; NULL: a text */
   int64_t stored;                 /* tokens whose k and v are in pages */
   int64_t first_block[KV_MAX_GROUPS], end_block[KV_MAX_GROUPS]; /* blocks with a page */
   kv_state state[KV_MAX_GROUPS];                                /* of state groups */
   int64_t snap; /* tokens at which the step keeps its states for others; 0: nowhere inside */
   int64_t
      branch; /* border of known blocks without a state: where others left this prefix; 0 none */
   int64_t known; /* blocks that are in the prefix table */
   int32_t tail;  /* the last of them, held */
   bool untold;   /* the prefix table was full: later blocks stay private */
} kv_sequence;

/* Errors OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status kv_cache_create(const kv_cache_options *options, kv_cache **out);
void kv_cache_destroy(kv_cache *c);

/* i32[max_sequences][max_blocks], -1 where there is no page. Fixed address. */
int32_t *kv_cache_table(const kv_cache *c, uint32_t group);

/* Puts s (slot, tokens, num_prompt, salt are set) into its slot with the longest known prefix of
 * its `count` tokens, at most `limit` of them; s->stored says how many. */
void kv_cache_begin(kv_cache *c, kv_sequence *s, int64_t count, int64_t limit);

/* Lets go of pages that position s->stored and later ones do not read, and takes pages for
 * positions up to `end`. False when a pool is exhausted: what was taken stays with the sequence. */
bool kv_cache_extend(kv_cache *c, kv_sequence *s, int64_t end);

/* How many of the next `rows` tokens one step should take, so that it ends where a state is worth
 * keeping. */
int64_t kv_cache_piece(const kv_cache *c, const kv_sequence *s, int64_t rows);

/* Tokens up to `stored` have been written. */
void kv_cache_commit(kv_cache *c, kv_sequence *s, int64_t stored);

/* Takes pages for positions up to `stored`, more than s has, and for the states there, that the
 * caller then fills; the sequence tells nobody of later blocks. False, and nothing changed, when a
 * pool has not enough. */
bool kv_cache_restore(kv_cache *c, kv_sequence *s, int64_t stored);

/* The sequence's row of a block table. */
const int32_t *kv_cache_row(const kv_cache *c, const kv_sequence *s, uint32_t group);

/* Empties the slot. Findable pages stay cached until their room is needed. */
void kv_cache_end(kv_cache *c, kv_sequence *s);

/* Tells `changed` of all that can be found now. */
void kv_cache_tell_all(kv_cache *c);

/* True when the pools could give pages for `tokens` tokens of s and `spare` pages more, now. */
bool kv_cache_fits(const kv_cache *c, const kv_sequence *s, int64_t tokens, int64_t step,
                   int64_t spare);

/* Pages that s holds, of all groups, states among them. */
uint32_t kv_cache_pages(const kv_cache *c, const kv_sequence *s);

/* Tokens of pages that sequences hold, and of all, in the pool with the most pages held. */
void kv_cache_usage(const kv_cache *c, uint64_t *out_used, uint64_t *out_total);

#endif
