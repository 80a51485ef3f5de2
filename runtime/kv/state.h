/* state.h - the states of one sequence that have no pages of positions: of a convolution, of a
 * gated delta net. A page of such a cache group is one whole state.
 *
 *    from ──step──▶ to            from = to unless somebody may find `from`, which then stays as it is
 *            └────▶ snap          the state at a border of blocks inside of the step
 *
 * A snapshot is a page that a block of the prefix table has: a hit needs one at exactly its end.
 * Thread: the engine. */
#ifndef KV_STATE_H
#define KV_STATE_H

#include "prefix.h"

/* In the order of its life: begin, then extend and commit again and again, end. */
typedef struct kv_state {
   int32_t from; /* state after the stored tokens; -1: zeros, nothing is stored */
   int32_t to;   /* where the next step leaves its state; -1: no page yet */
   int32_t snap; /* where it leaves the state at the snapshot's border; -1: none */
   int32_t
      last; /* the newest snapshot of generated tokens; the next one takes its place; -1: none */
   uint32_t generation; /* of last */
} kv_state;

/* page: a snapshot to start from, -1 none. */
void kv_state_begin(kv_state *s, kv_pool *pool, int32_t page);

/* Takes the page for the next step; false when there is none. */
bool kv_state_extend(kv_state *s, kv_pool *pool);

/* Takes a page for a snapshot unless that would leave fewer than `spare` pages. */
void kv_state_want_snap(kv_state *s, kv_pool *pool, int64_t spare);

/* The step has been run: `to` is the state now. */
void kv_state_commit(kv_state *s, kv_pool *pool);

/* Takes a page of its own for a state that the caller then fills, in place of what it has; false,
 * and nothing changed, when there is none. */
bool kv_state_restore(kv_state *s, kv_pool *pool);

/* Gives the state itself, or the page of `snap`, to a block of the prefix table.
 *
 *   replaces   the sequence's snapshot before may go */
void kv_state_tell(kv_state *s, kv_pool *pool, kv_prefix *prefix, int32_t block, uint32_t group,
                   bool replaces);
void kv_state_tell_snap(kv_state *s, kv_pool *pool, kv_prefix *prefix, int32_t block,
                        uint32_t group);

void kv_state_end(kv_state *s, kv_pool *pool);

#endif
