/* state.c - which page holds a sequence's state before a step, after it, and for others. */
#include "state.h"

static void let_go(kv_pool *pool, int32_t *page)
{
   if (*page >= 0)
      kv_pool_release(pool, *page);
   *page = -1;
}

void kv_state_begin(kv_state *s, kv_pool *pool, int32_t page)
{
   *s = (kv_state){.from = page, .to = -1, .snap = -1, .last = -1};
   if (page >= 0)
      kv_pool_share(pool, page);
}

bool kv_state_extend(kv_state *s, kv_pool *pool)
{
   if (s->to < 0)
      s->to = kv_pool_take(pool, 0);
   return s->to >= 0;
}

void kv_state_want_snap(kv_state *s, kv_pool *pool, int64_t spare)
{
   if (s->snap < 0 && kv_pool_available(pool) > spare)
      s->snap = kv_pool_take(pool, 0);
}

void kv_state_commit(kv_state *s, kv_pool *pool)
{
   if (s->from != s->to)
      let_go(pool, &s->from);
   s->from = s->to;
}

bool kv_state_restore(kv_state *s, kv_pool *pool)
{
   int32_t page = kv_pool_take(pool, 0);

   if (page < 0)
      return false;
   kv_state_end(s, pool);
   s->from = s->to = page;
   return true;
}

void kv_state_tell(kv_state *s, kv_pool *pool, kv_prefix *prefix, int32_t block, uint32_t group,
                   bool replaces)
{
   int32_t before = s->last;

   if (!kv_prefix_attach(prefix, block, group, s->from))
      return;
   kv_pool_keep(pool, s->from);
   s->to = -1;
   if (replaces && before >= 0 && kv_pool_generation(pool, before) == s->generation)
      kv_pool_forget(pool, before);
   s->last = replaces ? s->from : -1;
   s->generation = kv_pool_generation(pool, s->from);
}

void kv_state_tell_snap(kv_state *s, kv_pool *pool, kv_prefix *prefix, int32_t block,
                        uint32_t group)
{
   if (s->snap >= 0 && kv_prefix_attach(prefix, block, group, s->snap))
      kv_pool_keep(pool, s->snap);
   let_go(pool, &s->snap);
}

void kv_state_end(kv_state *s, kv_pool *pool)
{
   if (s->to != s->from)
      let_go(pool, &s->to);
   s->to = -1;
   let_go(pool, &s->from);
   let_go(pool, &s->snap);
}
