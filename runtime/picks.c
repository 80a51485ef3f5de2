/* picks.c - rows that are picked from, as draws. */
#include "picks.h"

#include "request.h"

/* Whether its next token may not be an end token. */
static bool must_go_on(const sinter_request *r)
{
   return !r->grammar && !r->options.ignore_eos && rt_request_generated(r) < r->options.min_tokens;
}

/* SINTER_SAMPLED_device, or what of the request's options is the host's. */
static sinter_sampled picked_of(const sinter_request *r)
{
   const sinter_request_options *o = &r->options;

   if (r->grammar)
      return SINTER_SAMPLED_grammar;
   if (r->has_history)
      return SINTER_SAMPLED_penalties;
   if (o->sampling.num_bias || must_go_on(r))
      return SINTER_SAMPLED_bias;
   return o->want_logprobs || o->top_logprobs ? SINTER_SAMPLED_logprobs : SINTER_SAMPLED_device;
}

/* Of the row at a position; its logits may be shown, too. */
static draw draw_of(const sinter_request *r, int64_t at, bool by_device)
{
   const int64_t ahead = at - (r->num_tokens - 1); /* of tokens that are guessed */
   const bool shown = r->options.on_logits && at >= r->next_logits && at < r->options.num_prompt;

   if (!by_device || shown || ahead < 0)
      return (draw){.how = DRAW_host};
   return rt_draw_of(&r->options.sampling, rt_request_generated(r) + (uint32_t)ahead);
}

void rt_picks_fill(const rt_picks *p, const rt_item *items, uint32_t num_items)
{
   uint32_t row = 0;

   for (uint32_t i = 0; p->ids && i < num_items; i++) {
      const rt_item *item = &items[i];
      const bool by_device = picked_of(item->request) == SINTER_SAMPLED_device;

      for (uint32_t k = item->wanted; k > 0; k--, row++) {
         const sinter_request *r = item->request;
         const int64_t at = item->first + item->rows - k;

         p->draws[row] = draw_of(r, at, by_device);
         p->rows[row] = (rt_host_row){.request = rt_request_asks(r, at) ? r : NULL};
      }
   }
}

static sinter_sampled picked_by(const rt_picks *p, const sinter_request *r, uint32_t row)
{
   const sinter_sampled why = picked_of(r);

   if (!p->ids)
      return SINTER_SAMPLED_no_sampler;
   return why == SINTER_SAMPLED_device && p->draws[row].how == DRAW_host ? SINTER_SAMPLED_logits
                                                                         : why;
}

static sinter_status no_room(void)
{
   return base_fail(SINTER_exhausted, "grammar", "demand a simpler format",
                    "the demanded format needs more states than there is room for");
}

static bool may_come(void *run, int32_t id)
{
   return grammar_run_allows(run, id);
}

/* A pick of all tokens is nearly always one that may come: only where it is not is the vocabulary
 * walked for those that may. */
static sinter_status pick_by_grammar(rt_sampler *s, const sinter_request *r, const float *logits,
                                     rt_ask *ask, rt_pick *out)
{
   const rt_may may = {may_come, r->grammar};

   if (rt_sample_tries(s, logits, ask, &may, out) == SINTER_ok && out->id >= 0)
      return SINTER_ok;
   ask->tried = true;
   if (!(ask->allowed = grammar_run_mask(r->grammar)))
      return no_room();
   return rt_sample(s, logits, ask, out);
}

static sinter_status pick(const plan_model *m, rt_sampler *s, const sinter_request *r,
                          const float *logits, rt_pick *out)
{
   rt_ask ask = {
      .sampling = &r->options.sampling,
      .history = r->has_history ? &r->history : NULL,
      .index = rt_request_generated(r),
      .want_logprob = r->options.want_logprobs,
      .num_top = r->options.top_logprobs,
   };

   if (r->grammar)
      return pick_by_grammar(s, r, logits, &ask, out);
   if (must_go_on(r)) {
      ask.withheld = m->eos;
      ask.num_withheld = m->num_eos;
   }
   return rt_sample(s, logits, &ask, out);
}

/* A row without a token is left to rt_pick_row, on the thread that hears of the error. */
void rt_pick_ahead(void *picks, rt_sampler *s, const float *logits, uint32_t row)
{
   const rt_picks *p = picks;
   rt_host_row *h = &p->rows[row];

   if (h->request)
      h->is_picked = pick(p->model, s, h->request, logits, &h->pick) == SINTER_ok;
}

sinter_status rt_pick_row(const rt_picks *p, const sinter_request *r, rt_wanted w, rt_pick *out)
{
   const sinter_sampled by = picked_by(p, r, w.number);

   p->counts[by]++;
   if (by != SINTER_SAMPLED_device) {
      const rt_host_row *h = &p->rows[w.number];

      if (!p->ids || !h->is_picked)
         return pick(p->model, p->sampler, r, w.logits, out);
      *out = h->pick;
      return SINTER_ok;
   }
   *out = (rt_pick){.id = p->ids[w.number]};
   return out->id >= 0 ? SINTER_ok : rt_no_number();
}

static sinter_finish finish_of(const plan_model *m, const sinter_request *r, int32_t id)
{
   for (uint32_t i = 0; i < m->num_eos && !r->options.ignore_eos; i++) {
      if (id == m->eos[i])
         return SINTER_FINISH_stop;
   }
   return r->num_tokens >= r->max_tokens ? SINTER_FINISH_length : SINTER_FINISH_none;
}

sinter_finish rt_pick_finish(const plan_model *m, sinter_request *r, int32_t id)
{
   sinter_finish finish = finish_of(m, r, id);

   if (!r->grammar || finish == SINTER_FINISH_stop)
      return finish;
   if (!grammar_run_take(r->grammar, id)) { /* it may come, so only room is missing */
      (void)no_room();
      return SINTER_FINISH_error;
   }
   return grammar_run_is_over(r->grammar) ? SINTER_FINISH_stop : finish;
}
