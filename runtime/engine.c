/* engine.c - requests in, steps, tokens out.
 *
 *    step = drop cancelled ─ plan rows (scheduler) ─ fill arrays (meta) ─ run (device)
 *           ─ make full pages findable (kv) ─ logits and picks (sampler) ─ callbacks
 *
 * Nothing is allocated from rt_engine_create to sinter_engine_destroy but in sinter_submit. */
#include "engine.h"

#include <stdlib.h>

#include "artifact.h"
#include "base/clock.h"
#include "base/debug.h"
#include "draft.h"
#include "limits.h"
#include "meta.h"
#include "picks.h"
#include "vision.h"

struct sinter_engine {
   const plan *plan;
   const rt_device_ops *ops;
   rt_device *device;
   rt_limits limits;
   rt_meta meta;
   kv_cache *cache;
   rt_scheduler scheduler;
   rt_sampler *sampler;
   rt_picks picks;
   sinter_request *requests; /* all that the caller has not destroyed */
   uint32_t num_cancelled;   /* that the next step has to end */
   int32_t *routes;          /* expert ids of one position */
   uint32_t draft;           /* tokens to guess ahead, 0: off */
   sinter_on_kv *on_kv;
   void *kv_user;
   sinter_stats stats;
};

/* ---- life ---- */

static void copy_page(void *user, uint32_t group, int32_t from, int32_t to)
{
   sinter_engine *e = user;

   e->ops->copy_page(e->device, group, from, to);
}

static int64_t grow_pages(void *user, uint32_t group, int64_t pages)
{
   sinter_engine *e = user;

   return e->ops->grow(e->device, group, pages);
}

static void poison_page(void *user, uint32_t group, int32_t page)
{
   sinter_engine *e = user;

   if (e->device)
      e->ops->poison_page(e->device, group, page);
}

static void kv_changed(void *user, const kv_change *c)
{
   sinter_engine *e = user;
   const plan_cache_group *g = &e->plan->cache_groups[c->group];
   sinter_kv_event event = {
      .removed = c->removed,
      .has_parent = c->has_parent,
      .hash = c->key.lo,
      .parent = c->parent.lo,
      .tokens = c->block->tokens,
      .num_tokens = PAGE_TOKENS,
      .group = c->group,
      .window = (uint32_t)g->window,
      .is_state = !plan_state_paged[g->kind],
   };

   e->on_kv(e->kv_user, &event);
}

static uint64_t rope_id(void *user, int64_t num_prompt, int64_t position)
{
   sinter_engine *e = user;

   return rt_meta_rope_id(&e->meta, num_prompt, position);
}

static sinter_status create_cache(sinter_engine *e, const rt_engine_setup *setup, bool share)
{
   kv_cache_options o = {
      .num_groups = e->plan->num_cache_groups,
      .max_sequences = (uint32_t)e->limits.max_sequences,
      .max_blocks = e->limits.max_positions / PAGE_TOKENS,
      .fingerprint = setup->fingerprint,
      .share = share && !e->ops->contiguous && e->ops->copy_page,
      .user = e,
      .copy_page = copy_page,
   };

   if (e->on_kv)
      o.changed = kv_changed;
   if (e->ops->grow)
      o.grow_pages = grow_pages;
   if (e->ops->poison_page && debug_is_on(DEBUG_poison))
      o.freed_page = poison_page;
   for (uint32_t i = 0; i < e->plan->num_ropes; i++) {
      if (rope_depends_on_length(&e->plan->ropes[i]))
         o.rope_id = rope_id;
   }
   for (uint32_t g = 0; g < o.num_groups; g++) {
      o.windows[g] = e->plan->cache_groups[g].window;
      o.states[g] = !plan_state_paged[e->plan->cache_groups[g].kind];
      o.pages[g] = e->limits.pages[g];
   }
   return kv_cache_create(&o, &e->cache);
}

static sinter_status make_routes(sinter_engine *e)
{
   size_t n = 1;

   for (uint32_t i = 0; i < e->plan->num_routes; i++)
      n += e->plan->routes[i].k;
   e->routes = calloc(n, sizeof *e->routes);
   return e->routes ? SINTER_ok
                    : base_fail(SINTER_out_of_memory, "engine", "", "no memory for expert ids");
}

static sinter_status make_picks(sinter_engine *e)
{
   e->picks = (rt_picks){.model = &e->plan->model,
                         .sampler = e->sampler,
                         .draws = e->meta.step.meta[RT_META_picks][0],
                         .ids = e->ops->picks ? e->ops->picks(e->device) : NULL,
                         .rows = calloc((size_t)MAX(e->limits.max_wanted, 1), sizeof(rt_host_row)),
                         .counts = e->stats.sampled};
   e->meta.step.pick = (rt_host_pick){rt_pick_ahead, &e->picks};
   return e->picks.rows ? SINTER_ok
                        : base_fail(SINTER_out_of_memory, "engine", "", "no memory for picks");
}

/* A state cannot go back to before a guess that was wrong. */
static sinter_status check_draft(const sinter_engine *e)
{
   for (uint32_t g = 0; g < e->plan->num_cache_groups && e->draft; g++) {
      if (!plan_state_paged[e->plan->cache_groups[g].kind])
         return base_fail(SINTER_unsupported, "draft_tokens", "leave it 0 for this model",
                          "tokens cannot be guessed ahead: the model has recurrent states");
   }
   return SINTER_ok;
}

static sinter_status build(sinter_engine *e, const rt_engine_setup *setup,
                           const sinter_engine_options *o)
{
   SINTER_TRY(check_draft(e));
   SINTER_TRY(rt_limits_decide(e->plan, o, &e->limits));
   SINTER_TRY(rt_meta_init(&e->meta, e->plan, &e->limits));
   SINTER_TRY(
      create_cache(e, setup, !o->no_prefix_cache && e->plan->model.head != PLAN_HEAD_draft));
   rt_meta_set_tables(&e->meta, e->cache);
   rt_bounds bounds = {
      .max_sequences = (uint32_t)e->limits.max_sequences,
      .max_rows = (uint32_t)e->limits.max_rows,
      .max_wanted = (uint32_t)e->limits.max_wanted,
      .max_tiles = (uint32_t)e->plan->sym_max[SYM_A],
   };
   SINTER_TRY(rt_scheduler_init(&e->scheduler, &bounds, e->cache));
   e->scheduler.max_step = o->max_step_ms * 1e-3;
   rt_step_cost_init(&e->scheduler.cost, e->plan);
   SINTER_TRY(rt_sampler_create(e->plan->model.vocab, &e->sampler));
   SINTER_TRY(make_routes(e));
   SINTER_TRY(e->ops->open(setup->artifact, &e->limits, &e->meta.step, &e->device));
   SINTER_TRY(rt_swap_init(&e->scheduler.swap, e->plan, e->ops, &e->limits, o->host_kv_tokens));
   e->scheduler.swap.device = e->device;
   return make_picks(e);
}

sinter_status rt_engine_create(const rt_engine_setup *setup, const sinter_engine_options *options,
                               sinter_engine **out)
{
   sinter_engine *e = calloc(1, sizeof *e);

   *out = NULL;
   if (!e)
      return base_fail(SINTER_out_of_memory, "engine", "", "no memory for the engine");
   e->plan = setup->plan;
   e->ops = setup->ops;
   e->draft = options->draft_tokens;
   e->on_kv = options->on_kv;
   e->kv_user = options->kv_user;
   sinter_status status = build(e, setup, options);
   if (status != SINTER_ok) {
      sinter_engine_destroy(e);
      return status;
   }
   *out = e;
   return SINTER_ok;
}

void rt_take_options(void *out, size_t size, const void *options)
{
   size_t known;

   memset(out, 0, size);
   memcpy(&known, options, sizeof known);
   memcpy(out, options, MIN(known, size));
}

sinter_status sinter_engine_create(sinter_artifact *a, const sinter_engine_options *options,
                                   sinter_engine **out)
{
   sinter_engine_options o;
   const rt_artifact *artifact = rt_artifact_of(a);
   rt_engine_setup setup = {.artifact = artifact};
   uint32_t target;

   *out = NULL;
   rt_take_options(&o, sizeof o, options);
   SINTER_TRY(debug_check());
   SINTER_TRY(rt_device_find(o.device, &setup.ops));
   SINTER_TRY(rt_artifact_target(artifact, setup.ops->name, false, &target));
   setup.plan = rt_artifact_plan(artifact, target);
   rt_bytes bytes = rt_artifact_section(artifact, ARTIFACT_plan, target);
   setup.fingerprint = hash_bytes(bytes.data, bytes.size, (hash128){0});
   return rt_engine_create(&setup, &o, out);
}

void sinter_engine_destroy(sinter_engine *e)
{
   if (!e)
      return;
   for (sinter_request *r = e->requests; r; r = r->next) {
      r->engine = NULL;
      if (r->state != RT_DONE)
         r->finish = SINTER_FINISH_cancelled;
      r->state = RT_DONE;
   }
   if (e->device)
      e->ops->close(e->device);
   e->device = NULL;
   free(e->routes);
   rt_sampler_destroy(e->sampler);
   free(e->picks.rows);
   rt_swap_deinit(&e->scheduler.swap);
   rt_scheduler_deinit(&e->scheduler);
   kv_cache_destroy(e->cache);
   rt_meta_deinit(&e->meta);
   free(e);
}

/* ---- requests ---- */

static sinter_status start_grammar(const sinter_engine *e, sinter_request *r)
{
   const plan_model *m = &e->plan->model;
   grammar_ends ends = {m->eos, r->options.ignore_eos ? 0 : m->num_eos};

   return r->options.grammar ? grammar_start(r->options.grammar, m->vocab, ends, &r->grammar)
                             : SINTER_ok;
}

sinter_status sinter_submit(sinter_engine *e, const sinter_request_options *options,
                            sinter_request **out)
{
   sinter_request_options o;

   *out = NULL;
   rt_take_options(&o, sizeof o, options);
   if (e->plan->model.head == PLAN_HEAD_hidden && o.max_tokens)
      return base_fail(SINTER_usage, "max_tokens", "set it to 0 and take what on_logits gets",
                       "nothing can be generated: the artifact was compiled without a head");
   SINTER_TRY(rt_request_create(&o, e->plan->model.vocab, e->limits.max_positions, out));
   sinter_request *r = *out;
   sinter_status status = start_grammar(e, r);
   if (status == SINTER_ok)
      status = rt_images_create(e->plan, &o, &r->images);
   if (status != SINTER_ok) {
      rt_request_free(r);
      *out = NULL;
      return status;
   }
   r->engine = e;
   r->submitted = clock_now();
   r->next = e->requests;
   if (r->next)
      r->next->prev = r;
   e->requests = r;
   rt_scheduler_add(&e->scheduler, r);
   return SINTER_ok;
}

void sinter_cancel(sinter_request *r)
{
   if (r->state == RT_DONE || r->is_cancelled)
      return;
   r->is_cancelled = true;
   r->engine->num_cancelled++;
}

sinter_finish sinter_request_finish(const sinter_request *r)
{
   return r->finish;
}

void *sinter_request_user(const sinter_request *r)
{
   return r->options.user;
}

void sinter_request_get_stats(const sinter_request *r, sinter_request_stats *out)
{
   sinter_request_stats s = r->stats;

   s.size = MIN(out->size, sizeof s);
   if (r->state != RT_DONE)
      s.seconds = clock_now() - r->submitted;
   if (r->state == RT_RUNNING)
      s.kv_pages = kv_cache_pages(r->engine->cache, &r->kv);
   memcpy(out, &s, s.size);
}

/* Takes the request out of the engine; true when it was not done before. */
static bool leave(sinter_engine *e, sinter_request *r, sinter_finish finish)
{
   if (r->state == RT_DONE)
      return false;
   if (r->is_cancelled)
      e->num_cancelled--;
   rt_scheduler_remove(&e->scheduler, r);
   r->finish = finish;
   r->stats.seconds = clock_now() - r->submitted;
   return true;
}

void sinter_request_destroy(sinter_request *r)
{
   sinter_engine *e;

   if (!r)
      return;
   e = r->engine;
   if (e) {
      (void)leave(e, r, SINTER_FINISH_cancelled);
      *(r->prev ? &r->prev->next : &e->requests) = r->next;
      if (r->next)
         r->next->prev = r->prev;
   }
   rt_request_free(r);
}

/* ---- step ---- */

/* Ends a request without a token. */
static void end(sinter_engine *e, sinter_request *r, sinter_finish finish)
{
   sinter_token token = {.id = -1, .index = rt_request_generated(r), .finish = finish};

   if (leave(e, r, finish) && r->options.on_token)
      r->options.on_token(r->options.user, r, &token);
}

static void end_cancelled(sinter_engine *e)
{
   /* A callback may submit, which only adds in front. */
   for (sinter_request *r = e->requests; r && e->num_cancelled; r = r->next) {
      if (r->is_cancelled)
         end(e, r, SINTER_FINISH_cancelled);
   }
}

/* Picks the next token of a request from its row and tells the caller. */
static void generate(sinter_engine *e, sinter_request *r, rt_wanted w)
{
   const uint32_t index = rt_request_generated(r);
   rt_pick pick;
   sinter_status status = rt_pick_row(&e->picks, r, w, &pick);

   if (status != SINTER_ok) {
      rt_request_fail(r, status, index);
      end(e, r, SINTER_FINISH_error);
      return;
   }
   if (!index)
      r->stats.first_token_seconds = clock_now() - r->submitted;
   rt_request_append(r, pick.id);
   sinter_token token = {
      .id = pick.id,
      .logprob = pick.logprob,
      .index = index,
      .finish = rt_pick_finish(&e->plan->model, r, pick.id),
      .num_top = pick.num_top,
      .top_ids = pick.top_ids,
      .top_logprobs = pick.top_logprobs,
   };
   if (token.finish == SINTER_FINISH_error)
      rt_request_fail(r, SINTER_exhausted, index);
   if (token.finish != SINTER_FINISH_none)
      (void)leave(e, r, token.finish);
   if (r->options.on_token)
      r->options.on_token(r->options.user, r, &token);
}

/* Hands out the expert ids of one item's rows, the first of which is row `row` of the step. */
static void show_experts(sinter_engine *e, const rt_item *item, int64_t row)
{
   sinter_request *r = item->request;

   for (int64_t i = 0; i < item->rows && r->options.on_experts; i++) {
      int32_t *to = e->routes;
      for (uint32_t l = 0; l < e->plan->num_routes; l++) {
         uint32_t k = e->plan->routes[l].k;
         memcpy(to, e->ops->routes(e->device, l) + (row + i) * k, k * sizeof *to);
         to += k;
      }
      r->options.on_experts(r->options.user, r, (uint32_t)(item->first + i), e->routes);
   }
}

/* After a pick: adapts the next guess to how the last one went. */
static void learn_draft(sinter_engine *e, const rt_item *item, uint32_t accepted)
{
   sinter_request *r = item->request;

   r->draft_most = rt_draft_next(item->drafted, accepted, e->draft);
   e->stats.drafted_tokens += item->drafted;
   e->stats.accepted_tokens += accepted;
}

/* Picks tokens as long as the rows are of tokens that were picked: the first row always is, and one
 * of a guess when the pick before it was the guess. Returns how many guesses were right. */
static uint32_t generate_rows(sinter_engine *e, const rt_item *item, rt_wanted w)
{
   sinter_request *r = item->request;
   uint32_t right = 0;

   for (int64_t at = r->num_tokens - 1;; at++, w = rt_wanted_next(w, 1)) {
      int32_t guess = right < item->drafted ? r->tokens[at + 1] : -1;

      generate(e, r, w);
      if (r->state == RT_DONE || r->is_cancelled || guess < 0 || r->tokens[at + 1] != guess)
         return right;
      right++;
      kv_cache_commit(e->cache, &r->kv, at + 2);
   }
}

/* Hands out the logits of one item's rows. */
static void deliver(sinter_engine *e, const rt_item *item, rt_wanted w)
{
   sinter_request *r = item->request;
   int64_t end_position = item->first + item->rows;

   kv_cache_commit(e->cache, &r->kv, end_position - item->drafted);
   for (int64_t at = end_position - item->wanted; at < end_position;
        at++, w = rt_wanted_next(w, 1)) {
      if (at == r->next_logits && at < r->options.num_prompt) {
         r->next_logits++;
         r->options.on_logits(r->options.user, r, (uint32_t)at, w.logits);
      }
      if (rt_request_asks(r, at)) {
         uint32_t right = generate_rows(e, item, w);
         if (item->drafted)
            learn_draft(e, item, right);
         return;
      }
   }
   if (r->kv.stored == r->num_tokens && r->num_tokens == r->max_tokens)
      end(e, r, SINTER_FINISH_length);
}

/* Splits the time of a step between prompt and generated tokens by their rows. */
static void count(sinter_engine *e, double seconds)
{
   const rt_scheduler *s = &e->scheduler;
   double prompt = 0, all = 0;

   for (uint32_t i = 0; i < s->num_items; i++) {
      const rt_item *item = &s->items[i];
      all += item->rows;
      if (item->first < item->request->options.num_prompt)
         prompt += item->rows;
   }
   e->stats.steps++;
   e->stats.tokens += (uint64_t)all;
   e->stats.prefill_seconds += seconds * prompt / all;
   e->stats.decode_seconds += seconds * (all - prompt) / all;
}

static sinter_status run_items(sinter_engine *e)
{
   rt_scheduler *s = &e->scheduler;
   double begin = clock_now();
   rt_wanted w = {.width = plan_row(&e->plan->model)};
   int64_t row = 0;

   for (uint32_t i = 0; i < s->num_items; i++) {
      sinter_request *r = s->items[i].request;
      if (r->stats.queue_seconds == 0)
         r->stats.queue_seconds = begin - r->submitted;
   }
   rt_meta_fill(&e->meta, s->items, s->num_items);
   rt_picks_fill(&e->picks, s->items, s->num_items);
   SINTER_TRY(e->ops->run(e->device, &w.logits));
   count(e, clock_now() - begin);
   for (uint32_t i = 0; i < s->num_items; i++) {
      show_experts(e, &s->items[i], row);
      row += s->items[i].rows;
      uint32_t n = s->items[i].wanted; /* a callback may take the request away */
      deliver(e, &s->items[i], w);
      w = rt_wanted_next(w, n);
   }
   if (s->read_rows) /* with all that stands between the tokens of others */
      rt_step_cost_learn(&s->cost, s->work, clock_now() - begin);
   return SINTER_ok;
}

/* Guesses behind the tokens of requests that generate. Who sees every row, or has logits to come,
 * gets none. */
static void guess(sinter_engine *e)
{
   rt_scheduler *s = &e->scheduler;
   uint32_t spare = e->draft ? MIN(rt_scheduler_spare(s), e->draft) : 0;

   for (uint32_t i = 0; i < s->num_running && e->draft; i++) {
      sinter_request *r = s->running[i];
      int64_t room = r->max_tokens - r->num_tokens - 1;
      uint32_t most = (uint32_t)MIN(MIN(spare, r->draft_most), MAX(room, 0));

      if (r->options.on_experts || r->next_logits < r->options.num_prompt)
         most = 0;
      r->draft = most ? rt_draft(r->tokens, r->num_tokens, most) : 0;
   }
}

sinter_status sinter_step(sinter_engine *e, bool *out_busy)
{
   rt_scheduler *s = &e->scheduler;
   sinter_status status = SINTER_ok;

   end_cancelled(e);
   guess(e);
   sinter_request *stuck = rt_scheduler_plan(s);
   if (s->num_items)
      status = run_items(e);
   else if (stuck)
      end(e, stuck, SINTER_FINISH_length);
   *out_busy = s->num_running || s->first_waiting;
   return status;
}

void sinter_engine_kv_blocks(sinter_engine *e)
{
   kv_cache_tell_all(e->cache);
}

static_assert(SINTER_PREEMPT_COUNT <= countof(((sinter_stats *)0)->preempted) &&
                 SINTER_SAMPLED_COUNT <= countof(((sinter_stats *)0)->sampled),
              "rows of a table have a place in the statistics");

bool sinter_post(sinter_engine *e, void (*fn)(void *user), void *user)
{
   return e->ops->post && e->ops->post(e->device, fn, user);
}

void sinter_engine_stats(const sinter_engine *e, sinter_stats *out)
{
   sinter_stats s = e->stats;

   s.size = MIN(out->size, sizeof s);
   s.device = e->ops->name;
   s.prefix_hit_tokens = e->scheduler.hit_tokens;
   s.swapped_out_tokens = e->scheduler.swap.swapped_out_tokens;
   s.swapped_in_tokens = e->scheduler.swap.swapped_in_tokens;
   memcpy(s.preempted, e->scheduler.swap.preempted, sizeof e->scheduler.swap.preempted);
   s.running = e->scheduler.num_running;
   for (const sinter_request *r = e->scheduler.first_waiting; r; r = r->next_waiting)
      s.waiting++;
   kv_cache_usage(e->cache, &s.kv_tokens_used, &s.kv_tokens_total);
   e->ops->stats(e->device, &s);
   memcpy(out, &s, s.size);
}

uint32_t sinter_engine_launches(const sinter_engine *e, const sinter_launch_time **out)
{
   *out = NULL;
   return e->ops->launches ? e->ops->launches(e->device, out) : 0;
}

sinter_status sinter_engine_time_steps(sinter_engine *e, uint32_t steps)
{
   if (!e->ops->time_steps)
      return base_fail(SINTER_unsupported, e->ops->name, "measure on cpu",
                       "this device has no launches to time");
   return e->ops->time_steps(e->device, steps);
}
