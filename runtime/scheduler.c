/* scheduler.c - decode first, prompts in pieces, pages before rows. */
#include "scheduler.h"

#include <stdlib.h>

enum { LEAST_ROWS = 4 };

/* Of the bound. The clock, what is no step, and what others on the machine take now and then need
 * the rest: with 0.9 the slowest hundredth of steps took 1.4 to 1.7 times the bound on a busy
 * machine, and its middle 0.8. */
static const double TIME_SHARE = 0.75;

sinter_status rt_scheduler_init(rt_scheduler *s, const rt_bounds *bounds, kv_cache *cache)
{
   uint32_t n = bounds->max_sequences;

   *s = (rt_scheduler){.bounds = *bounds, .cache = cache, .num_free = n};
   s->running = calloc(n, sizeof(sinter_request *));
   s->free_slots = calloc(n, sizeof *s->free_slots);
   s->items = calloc(n, sizeof *s->items);
   if (!s->running || !s->free_slots || !s->items) {
      rt_scheduler_deinit(s);
      return base_fail(SINTER_out_of_memory, "scheduler", "", "no memory for %u sequences", n);
   }
   for (uint32_t i = 0; i < n; i++)
      s->free_slots[i] = n - 1 - i; /* the lowest slot is given out first */
   return SINTER_ok;
}

void rt_scheduler_deinit(rt_scheduler *s)
{
   free(s->running);
   free(s->free_slots);
   free(s->items);
   *s = (rt_scheduler){0};
}

/* ---- queue and slots ---- */

/* The order of everything: by priority, then by arrival. */
static bool is_before(const sinter_request *a, const sinter_request *b)
{
   if (a->options.priority != b->options.priority)
      return a->options.priority < b->options.priority;
   return a->arrival < b->arrival;
}

static void add_waiting(rt_scheduler *s, sinter_request *r)
{
   sinter_request **at = &s->first_waiting;

   if (s->last_waiting && is_before(s->last_waiting, r))
      at = &s->last_waiting->next_waiting;
   while (*at && is_before(*at, r))
      at = &(*at)->next_waiting;
   r->next_waiting = *at;
   *at = r;
   if (!r->next_waiting)
      s->last_waiting = r;
   r->state = RT_WAITING;
}

void rt_scheduler_add(rt_scheduler *s, sinter_request *r)
{
   r->arrival = s->arrivals++;
   add_waiting(s, r);
}

static void unlink_waiting(rt_scheduler *s, sinter_request *r)
{
   sinter_request *before = NULL;

   for (sinter_request *i = s->first_waiting; i != r; i = i->next_waiting)
      before = i;
   *(before ? &before->next_waiting : &s->first_waiting) = r->next_waiting;
   if (s->last_waiting == r)
      s->last_waiting = before;
   r->next_waiting = NULL;
   s->blocked = NULL;
}

static void leave_slot(rt_scheduler *s, sinter_request *r)
{
   kv_cache_end(s->cache, &r->kv);
   s->free_slots[s->num_free++] = r->kv.slot;
}

static void unlink_running(rt_scheduler *s, sinter_request *r)
{
   uint32_t i = 0;

   while (s->running[i] != r)
      i++;
   s->num_running--;
   memmove(&s->running[i], &s->running[i + 1], (s->num_running - i) * sizeof(sinter_request *));
   leave_slot(s, r);
   s->blocked = NULL;
}

void rt_scheduler_remove(rt_scheduler *s, sinter_request *r)
{
   if (r->state == RT_WAITING)
      unlink_waiting(s, r);
   else if (r->state == RT_RUNNING)
      unlink_running(s, r);
   rt_swap_drop(&s->swap, r);
   r->state = RT_DONE;
}

/* Back into the queue, where its age puts it before all of its priority. */
static void preempt(rt_scheduler *s, sinter_request *r)
{
   rt_swap_out(&s->swap, &s->cost, s->cache, r);
   unlink_running(s, r);
   r->draft = 0;
   r->stats.preemptions++;
   add_waiting(s, r);
}

static void add_running(rt_scheduler *s, sinter_request *r)
{
   uint32_t i = s->num_running++;

   for (; i > 0 && is_before(r, s->running[i - 1]); i--)
      s->running[i] = s->running[i - 1];
   s->running[i] = r;
   r->state = RT_RUNNING;
}

/* ---- one step ---- */

static int64_t pending(const sinter_request *r)
{
   return r->num_tokens - r->kv.stored;
}

/* Bounds the pieces of prompts in a step that has tokens for others. They may take half as long as
 * these tokens do, whatever the bound: steps of a large model, or of a busy machine, would leave
 * them LEAST_ROWS, for which all weights are read. A prompt leaves half of the time while others
 * have prompts, too: a long one holds up no short one. */
static void bound_pieces(rt_scheduler *s)
{
   uint32_t prompts = s->first_waiting && s->num_free;
   double used = rt_step_cost_seconds(&s->cost, s->work);

   for (uint32_t i = 0; i < s->num_running; i++)
      prompts += pending(s->running[i]) > 1;
   s->until = MAX(TIME_SHARE * s->max_step, 1.5 * used);
   s->share_until = prompts < 2 ? s->until : used + (s->until - used) / 2;
}

/* Rows that a piece of the request's prompt may have in what is left of the step's time. The first
 * piece always gets some: tokens of others must not stop a prompt altogether. */
static int64_t rows_in_time(const rt_scheduler *s, const sinter_request *r, int64_t most)
{
   int64_t least = s->read_rows ? 0 : LEAST_ROWS;

   return rt_step_cost_rows(&s->cost, s->work, r->kv.stored, least, most, s->share_until);
}

/* Whether another prompt could have rows in this step. */
static bool has_time(const rt_scheduler *s)
{
   return s->share_until == 0 || !s->read_rows ||
          rt_step_cost_rows(&s->cost, s->work, 0, 0, LEAST_ROWS, s->until) > 0;
}

/* How many of the request's tokens the rest of the step can take. */
static int64_t piece(const rt_scheduler *s, const sinter_request *r)
{
   int64_t n = MIN(pending(r) + r->draft, (int64_t)s->rows_left);
   int64_t from = rt_request_wants_from(r);

   n = MIN(n, (int64_t)s->tiles_left * ATTN_ROWS);
   if (s->share_until > 0 && n > 0)
      n = rows_in_time(s, r, n);
   n = kv_cache_piece(s->cache, &r->kv, n);
   if (from < r->num_tokens)
      n = MIN(n, MAX(from - r->kv.stored, 0) + s->wanted_left);
   return n;
}

static void add_item(rt_scheduler *s, sinter_request *r, int64_t rows)
{
   int64_t end = r->kv.stored + rows;
   int64_t from = MAX(rt_request_wants_from(r), r->kv.stored);
   rt_item *item = &s->items[s->num_items++];

   *item = (rt_item){.request = r,
                     .first = r->kv.stored,
                     .rows = (uint32_t)rows,
                     .wanted = end > from ? (uint32_t)(end - from) : 0,
                     .drafted = end > r->num_tokens ? (uint32_t)(end - r->num_tokens) : 0};
   rt_work more = rt_step_cost_work(&s->cost, item->first, rows);
   s->work = (rt_work){s->work.rows + more.rows, s->work.seen + more.seen};
   if (pending(r) > 1) {
      s->read_rows += item->rows;
      s->share_until = s->share_until > 0 ? s->until : 0;
   }
   s->rows_left -= item->rows;
   s->wanted_left -= item->wanted;
   s->tiles_left -= (item->rows + ATTN_ROWS - 1) / ATTN_ROWS;
   r->step = s->steps;
}

/* The last of the requests behind r that has no rows in this step yet. */
static sinter_request *victim(const rt_scheduler *s, const sinter_request *r)
{
   for (uint32_t i = s->num_running; i-- > 0 && is_before(r, s->running[i]);) {
      if (s->running[i]->step != s->steps)
         return s->running[i];
   }
   return NULL;
}

/* Gives a running request its rows; false when there are no pages for them. */
static bool schedule(rt_scheduler *s, sinter_request *r)
{
   int64_t rows = piece(s, r);
   sinter_request *other;

   if (rows <= 0)
      return true;
   if (r->draft && !kv_cache_extend(s->cache, &r->kv, r->kv.stored + rows))
      rows = 1; /* nobody gives way for guesses */
   while (!kv_cache_extend(s->cache, &r->kv, r->kv.stored + rows)) {
      if (!(other = victim(s, r)))
         return false;
      preempt(s, other);
   }
   add_item(s, r, rows);
   return true;
}

/* Gives rows to running requests of one kind. Returns one without pages, NULL when there is none.
 */
static sinter_request *schedule_running(rt_scheduler *s, bool decode, uint32_t begin)
{
   sinter_request *stuck = NULL;

   /* Preempting takes away requests behind i only, so that none before is passed over. */
   for (uint32_t k = 0, n = s->num_running; k < n && s->num_running; k++) {
      sinter_request *r = s->running[(begin + k) % s->num_running];
      if (r->step != s->steps && (pending(r) == 1) == decode && !schedule(s, r))
         stuck = r;
   }
   return stuck;
}

/* Puts the first waiting request into a slot if its pages fit. */
static bool admit(rt_scheduler *s, sinter_request *r)
{
   int64_t limit = MIN(r->num_tokens - 1, rt_request_wants_from(r));

   r->kv.slot = s->free_slots[--s->num_free];
   r->kv.tokens = r->tokens;
   r->kv.num_prompt = r->options.num_prompt;
   r->kv.salt = r->options.salt;
   r->kv.images = r->images;
   kv_cache_begin(s->cache, &r->kv, r->num_tokens, limit);
   if (s->num_running &&
       !kv_cache_fits(s->cache, &r->kv, r->num_tokens + 1, s->bounds.max_rows, s->num_running)) {
      leave_slot(s, r);
      s->blocked = r;
      return false;
   }
   s->hit_tokens += (uint64_t)r->kv.stored;
   if (!r->stats.preemptions) /* afterwards it finds what it computed itself */
      r->stats.prefix_hit_tokens = (uint32_t)r->kv.stored;
   rt_swap_in(&s->swap, s->cache, r);
   unlink_waiting(s, r);
   add_running(s, r);
   return true;
}

uint32_t rt_scheduler_spare(const rt_scheduler *s)
{
   uint32_t n = s->num_running;

   if (!n || (s->first_waiting && s->num_free && s->first_waiting != s->blocked))
      return 0;
   for (uint32_t i = 0; i < n; i++) {
      if (pending(s->running[i]) > 1)
         return 0;
   }
   uint32_t each = MIN(MIN(s->bounds.max_rows, s->bounds.max_wanted) / n,
                       s->bounds.max_tiles / n * (uint32_t)ATTN_ROWS);
   return each ? each - 1 : 0;
}

/* Who waits with a higher priority than one that runs, and finds no slot or no pages, gets those of
 * the last in order: of one a step, until it fits. */
static void make_way(rt_scheduler *s)
{
   sinter_request *r = s->first_waiting;
   sinter_request *last = s->num_running ? s->running[s->num_running - 1] : NULL;

   if (r && last && r->options.priority < last->options.priority &&
       (!s->num_free || s->blocked == r))
      preempt(s, last);
}

sinter_request *rt_scheduler_plan(rt_scheduler *s)
{
   s->steps++;
   make_way(s);
   s->num_items = 0;
   s->rows_left = s->bounds.max_rows;
   s->wanted_left = s->bounds.max_wanted;
   s->tiles_left = s->bounds.max_tiles;
   s->work = (rt_work){0};
   s->read_rows = 0;
   s->share_until = 0;
   sinter_request *stuck = schedule_running(s, true, s->turn);
   uint32_t decoded = s->num_items;
   if (decoded && s->max_step > 0)
      bound_pieces(s);
   sinter_request *other = schedule_running(s, false, 0);

   s->turn = s->num_running > decoded && !s->rows_left ? s->turn + decoded : 0;
   stuck = stuck ? stuck : other;
   while (s->first_waiting && s->num_free && s->rows_left && s->tiles_left && has_time(s)) {
      sinter_request *r = s->first_waiting;
      if (r == s->blocked || !admit(s, r))
         break;
      (void)schedule(s, r); /* without pages it has none yet, and keeps its slot */
   }
   return s->num_items ? NULL : stuck;
}
