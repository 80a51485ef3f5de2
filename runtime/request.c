/* request.c - the life of one request's memory. */
#include "request.h"

#include "draft.h"

#include <stdio.h>
#include <stdlib.h>

static sinter_status check(const sinter_request_options *o, uint32_t vocab, int64_t max_positions)
{
   if (!o->prompt || !o->num_prompt)
      return base_fail(SINTER_usage, "prompt", "give at least one token", "the prompt is empty");
   for (uint32_t i = 0; i < o->num_prompt; i++) {
      if (o->prompt[i] < 0 || (uint32_t)o->prompt[i] >= vocab)
         return base_fail(SINTER_usage, "prompt", "use ids of the model's vocabulary",
                          "token %u of the prompt is %d, the vocabulary has %u", i, o->prompt[i],
                          vocab);
   }
   if (o->num_prompt > max_positions)
      return base_fail(SINTER_exhausted, "prompt", "use a larger KV pool or a shorter prompt",
                       "a prompt of %u tokens does not fit the KV pool of %lld", o->num_prompt,
                       (long long)max_positions);
   if (o->top_logprobs > RT_MAX_TOP)
      return base_fail(SINTER_usage, "top_logprobs", "ask for fewer",
                       "%u alternatives are more than the %d that are possible", o->top_logprobs,
                       RT_MAX_TOP);
   return rt_sampling_check(&o->sampling, vocab);
}

static void *copy_array(const void *data, size_t size)
{
   void *copy = malloc(MAX(size, 1));

   if (copy && size)
      memcpy(copy, data, size);
   return copy;
}

/* Takes copies of the caller's arrays; false when memory is out. */
static bool copy_options(sinter_request *r, const sinter_request_options *o)
{
   sinter_sampling *s = &r->options.sampling;

   r->tokens = calloc((size_t)r->max_tokens, sizeof *r->tokens);
   s->bias_ids = copy_array(o->sampling.bias_ids, s->num_bias * sizeof *s->bias_ids);
   s->bias = copy_array(o->sampling.bias, s->num_bias * sizeof *s->bias);
   r->options.prompt = r->tokens;
   if (!r->tokens || !s->bias_ids || !s->bias)
      return false;
   memcpy(r->tokens, o->prompt, o->num_prompt * sizeof *r->tokens);
   return true;
}

static sinter_status start_history(sinter_request *r, uint32_t vocab)
{
   r->has_history = rt_sampling_needs_history(&r->options.sampling);
   if (!r->has_history)
      return SINTER_ok;
   SINTER_TRY(rt_history_init(&r->history, (uint32_t)MIN(r->max_tokens, (int64_t)vocab)));
   for (int64_t i = 0; i < r->num_tokens; i++)
      rt_history_add(&r->history, r->tokens[i], false);
   return SINTER_ok;
}

sinter_status rt_request_create(const sinter_request_options *options, uint32_t vocab,
                                int64_t max_positions, sinter_request **out)
{
   *out = NULL;
   SINTER_TRY(check(options, vocab, max_positions));
   sinter_request *r = calloc(1, sizeof *r);
   if (!r)
      return base_fail(SINTER_out_of_memory, "request", "", "no memory for a request");
   r->options = *options;
   r->options.sampling.bias_ids = NULL;
   r->options.sampling.bias = NULL;
   r->options.images = NULL;
   r->num_tokens = options->num_prompt;
   r->draft_most = RT_DRAFT_FIRST;
   /* The last token of a request is never stored, so one more than the positions fits. */
   r->max_tokens = MIN(r->num_tokens + options->max_tokens, max_positions + 1);
   r->next_logits = options->on_logits ? options->logits_from : options->num_prompt;
   r->stats.prompt_tokens = options->num_prompt;
   if (!copy_options(r, options)) {
      rt_request_free(r);
      return base_fail(SINTER_out_of_memory, "request", "", "no memory for a request");
   }
   sinter_status status = start_history(r, vocab);
   if (status != SINTER_ok) {
      rt_request_free(r);
      return status;
   }
   *out = r;
   return SINTER_ok;
}

void rt_request_free(sinter_request *r)
{
   free(r->tokens);
   free((void *)(uintptr_t)r->options.sampling.bias_ids);
   free((void *)(uintptr_t)r->options.sampling.bias);
   rt_history_deinit(&r->history);
   grammar_run_destroy(r->grammar);
   rt_images_destroy(r->images);
   free(r);
}

void rt_request_append(sinter_request *r, int32_t id)
{
   r->tokens[r->num_tokens++] = id;
   r->stats.generated_tokens++;
   if (r->has_history)
      rt_history_add(&r->history, id, true);
}

uint32_t rt_request_generated(const sinter_request *r)
{
   return (uint32_t)(r->num_tokens - r->options.num_prompt);
}

int64_t rt_request_wants_from(const sinter_request *r)
{
   if (r->next_logits < r->options.num_prompt)
      return r->next_logits;
   return r->num_tokens < r->max_tokens ? r->num_tokens - 1 : INT64_MAX;
}

bool rt_request_asks(const sinter_request *r, int64_t at)
{
   return at == r->num_tokens - 1 && r->num_tokens < r->max_tokens && !r->is_cancelled;
}

void rt_request_fail(sinter_request *r, sinter_status status, uint32_t token)
{
   char where[48];

   r->stats.error = status;
   snprintf(where, sizeof where, "token %u of the answer", token);
   base_fail_frame(where);
   snprintf(r->error, sizeof r->error, "%s", sinter_error());
}

const char *sinter_request_error(const sinter_request *r)
{
   return r->error;
}
