/* sampler.c - filters as one cut in the order (value, id), then one draw.
 *
 * top-k, top-p and min-p each keep a beginning of the sorted row, so together they keep the
 * shortest of the three. Few candidates are sorted; else a histogram over the distance to
 * the largest value finds the bin that holds the end, and only that bin is sorted. */
#include "sampler.h"

#include <math.h>
#include <stdlib.h>

#include "rows.h"

enum { MAX_SORTED = 256, MAX_GATHERED = 4096, BINS = 4096, BINS_PER_NAT = 64 };

struct rt_sampler {
   uint32_t vocab;
   float *values;  /* adjusted, then (x - max) / temperature */
   float *weights; /* exp(values) */
   rt_candidate *candidates;
   uint32_t counts[BINS];
   double masses[BINS];
};

/* What is kept: values above, and equal ones up to id. */
typedef struct cut {
   float value;
   int32_t id;
} cut;

/* ---- history ---- */

sinter_status rt_history_init(rt_history *h, uint32_t capacity)
{
   uint32_t slots = 16;

   while (slots < 2 * (uint64_t)capacity && slots < 1u << 31)
      slots *= 2;
   *h = (rt_history){.mask = slots - 1};
   h->ids = calloc((size_t)capacity + 1, sizeof *h->ids);
   h->generated = calloc((size_t)capacity + 1, sizeof *h->generated);
   h->slots = calloc(slots, sizeof *h->slots);
   if (h->ids && h->generated && h->slots)
      return SINTER_ok;
   rt_history_deinit(h);
   return base_fail(SINTER_out_of_memory, "request", "", "no memory for %u seen tokens", capacity);
}

void rt_history_deinit(rt_history *h)
{
   free(h->ids);
   free(h->generated);
   free(h->slots);
   *h = (rt_history){0};
}

void rt_history_add(rt_history *h, int32_t id, bool generated)
{
   uint32_t at = (uint32_t)id * 0x9e3779b1u;

   for (;; at++) {
      uint32_t *slot = &h->slots[at & h->mask];
      if (!*slot) {
         h->ids[h->count] = id;
         *slot = ++h->count;
      }
      if (h->ids[*slot - 1] == id) {
         h->generated[*slot - 1] += generated;
         return;
      }
   }
}

/* ---- options ---- */

bool rt_sampling_needs_history(const sinter_sampling *s)
{
   return s->repetition_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

static sinter_status refuse(const char *field, const char *range)
{
   return base_fail(SINTER_usage, field, range, "a sampling option is out of range");
}

sinter_status rt_sampling_check(const sinter_sampling *s, uint32_t vocab)
{
   if (!(s->temperature >= 0 && s->temperature <= 1e6f))
      return refuse("temperature", "use 0 to 1e6");
   if (s->top_k < 0)
      return refuse("top_k", "use 0 (off) or more");
   if (!(s->top_p > 0 && s->top_p <= 1))
      return refuse("top_p", "use more than 0, at most 1 (off)");
   if (!(s->min_p >= 0 && s->min_p <= 1))
      return refuse("min_p", "use 0 (off) to 1");
   if (!(s->repetition_penalty > 0 && s->repetition_penalty <= 1e6f))
      return refuse("repetition_penalty", "use more than 0; 1 is off");
   if (!(fabsf(s->presence_penalty) <= 1e6f))
      return refuse("presence_penalty", "use a number; 0 is off");
   if (!(fabsf(s->frequency_penalty) <= 1e6f))
      return refuse("frequency_penalty", "use a number; 0 is off");
   if (s->num_bias && (!s->bias_ids || !s->bias))
      return refuse("bias", "give ids and values");
   for (uint32_t i = 0; i < s->num_bias; i++) {
      if (s->bias_ids[i] < 0 || (uint32_t)s->bias_ids[i] >= vocab)
         return refuse("bias", "use ids of the vocabulary");
      if (!(s->bias[i] < INFINITY))
         return refuse("bias", "use finite values, or -inf to forbid a token");
   }
   return SINTER_ok;
}

/* ---- sampler ---- */

sinter_status rt_sampler_create(uint32_t vocab, rt_sampler **out)
{
   rt_sampler *s = calloc(1, sizeof *s);

   *out = NULL;
   if (s) {
      s->vocab = vocab;
      s->values = calloc(vocab, sizeof *s->values);
      s->weights = calloc(vocab, sizeof *s->weights);
      s->candidates = calloc(MAX(vocab, (uint32_t)MAX_GATHERED), sizeof *s->candidates);
   }
   if (!s || !s->values || !s->weights || !s->candidates) {
      rt_sampler_destroy(s);
      return base_fail(SINTER_out_of_memory, "sampler", "", "no memory for %u logits", vocab);
   }
   *out = s;
   return SINTER_ok;
}

void rt_sampler_destroy(rt_sampler *s)
{
   if (!s)
      return;
   free(s->values);
   free(s->weights);
   free(s->candidates);
   free(s);
}

static void penalise(float *x, const sinter_sampling *s, const rt_history *h)
{
   for (uint32_t i = 0; i < h->count; i++) {
      float *v = &x[h->ids[i]];

      *v = *v > 0 ? *v / s->repetition_penalty : *v * s->repetition_penalty;
      if (h->generated[i])
         *v -= s->presence_penalty + s->frequency_penalty * (float)h->generated[i];
   }
}

/* The row that is sampled from: the logits, or a changed copy. */
static const float *adjust(rt_sampler *s, const float *logits, const rt_ask *ask)
{
   const sinter_sampling *o = ask->sampling;

   if (!o->num_bias && !ask->history && !ask->allowed)
      return logits;
   memcpy(s->values, logits, s->vocab * sizeof *logits);
   for (uint32_t i = 0; i < o->num_bias; i++)
      s->values[o->bias_ids[i]] += o->bias[i];
   if (ask->history)
      penalise(s->values, o, ask->history);
   for (uint32_t i = 0; ask->allowed && i < s->vocab; i++) {
      if (!(ask->allowed[i / 32] >> i % 32 & 1))
         s->values[i] = -INFINITY;
   }
   return s->values;
}

double rt_philox(uint64_t key, uint64_t counter)
{
   uint32_t c[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0};
   uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};

   for (int round = 0; round < 10; round++) {
      uint64_t a = (uint64_t)c[0] * 0xd2511f53u, b = (uint64_t)c[2] * 0xcd9e8d57u;
      uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
                          (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
      memcpy(c, next, sizeof c);
      k[0] += 0x9e3779b9u;
      k[1] += 0xbb67ae85u;
   }
   return (double)(((uint64_t)c[0] << 32 | c[1]) >> 11) * 0x1p-53;
}

/* A draw among the n best, already sorted, of candidates that together weigh `total`. */
static int32_t draw_sorted(const rt_candidate *c, uint32_t n, double total,
                           const sinter_sampling *o, double u)
{
   double kept = 0, at = 0;
   uint32_t end = 0;

   /* At least the best one stays; one that reaches top_p is still in. */
   do {
      kept += exp(c[end++].value);
   } while (end < n && kept < o->top_p * total && c[end].value >= logf(o->min_p));
   for (uint32_t i = 0; i < end; i++) {
      at += exp(c[i].value);
      if (at > u * kept)
         return c[i].id;
   }
   return c[end - 1].id;
}

static uint32_t bin_of(float value)
{
   float distance = -value * BINS_PER_NAT;

   return distance < BINS - 1 ? (uint32_t)distance : BINS - 1;
}

static void fill_histogram(rt_sampler *s)
{
   memset(s->counts, 0, sizeof s->counts);
   memset(s->masses, 0, sizeof s->masses);
   for (uint32_t i = 0; i < s->vocab; i++) {
      uint32_t bin = bin_of(s->values[i]);
      s->counts[bin]++;
      s->masses[bin] += s->weights[i];
   }
}

/* Collects and sorts the values of a bin. */
static uint32_t sort_bin(rt_sampler *s, uint32_t bin)
{
   uint32_t n = 0;

   for (uint32_t i = 0; i < s->vocab; i++) {
      if (bin_of(s->values[i]) == bin)
         s->candidates[n++] = (rt_candidate){s->values[i], (int32_t)i};
   }
   rt_sort(s->candidates, n);
   return n;
}

/* The end of the k best; *mass gets their weight. */
static cut cut_top_k(rt_sampler *s, uint32_t k, double *mass)
{
   uint32_t bin = 0, before = 0;

   *mass = 0;
   while (before + s->counts[bin] < k) {
      before += s->counts[bin];
      *mass += s->masses[bin++];
   }
   sort_bin(s, bin);
   for (uint32_t i = 0; i < k - before; i++)
      *mass += s->weights[s->candidates[i].id];
   rt_candidate last = s->candidates[k - before - 1];
   return (cut){last.value, last.id};
}

/* The end of the best that together reach `mass`. */
static cut cut_top_p(rt_sampler *s, double mass)
{
   uint32_t bin = 0, i = 0;
   double at = 0;

   while (bin < BINS - 1 && at + s->masses[bin] < mass)
      at += s->masses[bin++];
   uint32_t n = sort_bin(s, bin);
   if (!n) /* rounding put the end into an empty bin: all is kept */
      return (cut){-INFINITY, INT32_MAX};
   while (i + 1 < n && (at += s->weights[s->candidates[i].id]) < mass)
      i++;
   return (cut){s->candidates[i].value, s->candidates[i].id};
}

static cut shorter(cut a, cut b)
{
   if (a.value != b.value)
      return a.value > b.value ? a : b;
   return a.id < b.id ? a : b;
}

static cut find_cut(rt_sampler *s, const sinter_sampling *o, double mass)
{
   cut end = {logf(o->min_p), INT32_MAX};
   bool limited = o->top_k && (uint32_t)o->top_k < s->vocab;

   if (!limited && o->top_p >= 1)
      return end;
   fill_histogram(s);
   if (limited)
      end = shorter(end, cut_top_k(s, (uint32_t)o->top_k, &mass));
   if (o->top_p < 1)
      end = shorter(end, cut_top_p(s, o->top_p * mass));
   return end;
}

/* Sorts the values that weigh at least a MAX_GATHERED-th of all, so that there is room for them.
 * Returns how many there are, 0 when they are not enough for top-p. */
static uint32_t gather(rt_sampler *s, const sinter_sampling *o, double mass)
{
   float floor = (float)(mass / MAX_GATHERED);
   uint32_t n = rt_row_at_least(s->weights, s->vocab, floor, s->candidates, MAX_GATHERED);
   double gathered = 0;

   n = MIN(n, (uint32_t)MAX_GATHERED);
   for (uint32_t i = 0; i < n; i++) {
      gathered += s->candidates[i].value;
      s->candidates[i].value = s->values[s->candidates[i].id];
   }
   if (gathered < o->top_p * mass)
      return 0;
   rt_sort(s->candidates, n);
   return n;
}

/* A draw among all that the cut keeps, in the order of ids. */
static int32_t draw_row(rt_sampler *s, const sinter_sampling *o, double u)
{
   double mass = rt_row_exp(s->values, s->vocab, 0, s->weights);
   uint32_t n = !o->top_k && o->top_p < 1 ? gather(s, o, mass) : 0;

   if (n)
      return draw_sorted(s->candidates, n, mass, o, u);
   cut end = find_cut(s, o, mass);
   double kept = 0, at = 0;
   int32_t last = 0;

   for (uint32_t i = 0; i < s->vocab; i++) {
      float v = s->values[i];
      if (!(v > end.value || (v == end.value && (int32_t)i <= end.id)))
         s->weights[i] = 0;
      kept += s->weights[i];
   }
   for (uint32_t i = 0; i < s->vocab; i++) {
      if (s->weights[i] == 0)
         continue;
      last = (int32_t)i;
      at += s->weights[i];
      if (at > u * kept)
         break;
   }
   return last;
}

static int32_t draw(rt_sampler *s, const float *row, float max, const rt_ask *ask)
{
   const sinter_sampling *o = ask->sampling;
   float inverse = 1.0f / MAX(o->temperature, 1e-6f);
   double u = rt_philox(o->seed, ask->index);

   if (o->top_k && o->top_k <= MAX_SORTED) {
      uint32_t n = rt_row_top(row, s->vocab, (uint32_t)o->top_k, s->candidates);
      double total = 0;
      for (uint32_t i = 0; i < n; i++) {
         s->candidates[i].value = (s->candidates[i].value - max) * inverse;
         total += exp(s->candidates[i].value);
      }
      return draw_sorted(s->candidates, n, total, o, u);
   }
   for (uint32_t i = 0; i < s->vocab; i++)
      s->values[i] = (row[i] - max) * inverse;
   return draw_row(s, o, u);
}

static void fill_logprobs(rt_sampler *s, const float *logits, float max, const rt_ask *ask,
                          rt_pick *out)
{
   rt_candidate top[RT_MAX_TOP];
   double lse = max + log(rt_row_exp(logits, s->vocab, max, NULL));

   out->logprob = (float)(logits[out->id] - lse);
   out->num_top = rt_row_top(logits, s->vocab, MIN(ask->num_top, (uint32_t)RT_MAX_TOP), top);
   for (uint32_t i = 0; i < out->num_top; i++) {
      out->top_ids[i] = top[i].id;
      out->top_logprobs[i] = (float)(top[i].value - lse);
   }
}

sinter_status rt_sample(rt_sampler *s, const float *logits, const rt_ask *ask, rt_pick *out)
{
   float raw_max, max;
   uint32_t best;
   const float *row = adjust(s, logits, ask);
   bool good = rt_row_max(logits, s->vocab, &raw_max, &best);

   max = raw_max;
   if (good && row != logits)
      good = rt_row_max(row, s->vocab, &max, &best);
   if (!good)
      return base_fail(SINTER_failed, "logits", "check the model file and the logit bias",
                       "a logit is not a number, or none is finite");
   out->id = (int32_t)best;
   out->logprob = 0;
   out->num_top = 0;
   if (ask->sampling->temperature > 0)
      out->id = draw(s, row, max, ask);
   if (ask->want_logprob || ask->num_top)
      fill_logprobs(s, logits, raw_max, ask, out);
   return SINTER_ok;
}
