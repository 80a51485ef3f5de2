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
/* beyond twice as many as are kept: of few, most may be such that may not be picked */
enum { MORE = 32 };

struct rt_sampler {
   uint32_t vocab;
   float *values;     /* adjusted logits */
   uint32_t *weights; /* of the row */
   uint64_t *sums;    /* of its blocks' */
   rt_candidate *candidates;
   uint32_t counts[BINS];
   uint64_t masses[BINS];
};

/* The last that is kept. */
typedef rt_candidate cut;

/* A row that is drawn from. */
typedef struct drawing {
   draw o;
   const float *row;
   float max;
} drawing;

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
      s->sums = calloc(vocab / RT_ROW_BLOCK + 1, sizeof *s->sums);
      s->candidates = calloc(MAX(vocab, (uint32_t)MAX_GATHERED), sizeof *s->candidates);
   }
   if (!s || !s->values || !s->weights || !s->sums || !s->candidates) {
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
   free(s->sums);
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

   if (!o->num_bias && !ask->history && !ask->allowed && !ask->num_withheld)
      return logits;
   if (ask->allowed) /* -inf stays what it is */
      rt_row_allow(logits, ask->allowed, s->vocab, s->values);
   else
      memcpy(s->values, logits, s->vocab * sizeof *logits);
   for (uint32_t i = 0; i < o->num_bias; i++)
      s->values[o->bias_ids[i]] += o->bias[i];
   if (ask->history)
      penalise(s->values, o, ask->history);
   for (uint32_t i = 0; i < ask->num_withheld; i++)
      s->values[ask->withheld[i]] = -INFINITY;
   return s->values;
}

uint64_t rt_philox(uint64_t key, uint64_t counter)
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
   return (uint64_t)c[0] << 32 | c[1];
}

draw rt_draw_of(const sinter_sampling *s, uint32_t index)
{
   if (!(s->temperature > 0))
      return (draw){.how = DRAW_best};
   return (draw){.how = DRAW_random,
                 .k = (uint32_t)s->top_k,
                 .inverse = 1.0f / MAX(s->temperature, 1e-6f),
                 .least = logf(s->min_p),
                 .p = s->top_p < 1 ? MAX((uint64_t)((double)s->top_p * 0x1p64), 1) : 0,
                 .random = rt_philox(s->seed, index)};
}

/* mass * fraction, rounded down; fraction in units of 2^-64. */
static uint64_t share(uint64_t mass, uint64_t fraction)
{
   return (uint64_t)((__extension__(unsigned __int128) mass) * fraction >> 64);
}

static float scaled(const drawing *d, float x)
{
   return (x - d->max) * d->o.inverse;
}

/* A draw among the n best, already sorted, of candidates that together weigh `total`. */
static int32_t draw_sorted(const drawing *d, rt_candidate *c, uint32_t n, uint64_t total)
{
   uint64_t most = d->o.p ? share(total, d->o.p) : UINT64_MAX, kept = 0, at = 0;
   uint32_t end = 0, i = 0;

   /* At least the best one stays; one that reaches top_p is still in. */
   do {
      kept += rt_weigh(c[end++].value, d->max, d->o.inverse);
   } while (end < n && kept < most && scaled(d, c[end].value) >= d->o.least);
   for (i = 0; i < end; i++) /* a float holds any id */
      c[i] = (rt_candidate){-(float)c[i].id, c[i].id};
   rt_sort(c, end);
   uint64_t until = share(kept, d->o.random);
   for (i = 0; i + 1 < end; i++)
      if ((at += rt_weigh(d->row[c[i].id], d->max, d->o.inverse)) > until)
         break;
   return c[i].id;
}

static uint32_t bin_of(const drawing *d, float value)
{
   float distance = -scaled(d, value) * BINS_PER_NAT;

   return distance < BINS - 1 ? (uint32_t)distance : BINS - 1;
}

static void fill_histogram(rt_sampler *s, const drawing *d)
{
   memset(s->counts, 0, sizeof s->counts);
   memset(s->masses, 0, sizeof s->masses);
   for (uint32_t i = 0; i < s->vocab; i++) {
      uint32_t bin = bin_of(d, d->row[i]);
      s->counts[bin]++;
      s->masses[bin] += s->weights[i];
   }
}

/* Collects and sorts the values of a bin. */
static uint32_t sort_bin(rt_sampler *s, const drawing *d, uint32_t bin)
{
   uint32_t n = 0;

   for (uint32_t i = 0; i < s->vocab; i++) {
      if (bin_of(d, d->row[i]) == bin)
         s->candidates[n++] = (rt_candidate){d->row[i], (int32_t)i};
   }
   rt_sort(s->candidates, n);
   return n;
}

/* The end of the k best; *mass gets their weight. */
static cut cut_top_k(rt_sampler *s, const drawing *d, uint64_t *mass)
{
   uint32_t bin = 0, before = 0;

   *mass = 0;
   while (before + s->counts[bin] < d->o.k) {
      before += s->counts[bin];
      *mass += s->masses[bin++];
   }
   sort_bin(s, d, bin);
   for (uint32_t i = 0; i < d->o.k - before; i++)
      *mass += s->weights[s->candidates[i].id];
   return s->candidates[d->o.k - before - 1];
}

/* The end of the best that together reach `mass`. */
static cut cut_top_p(rt_sampler *s, const drawing *d, uint64_t mass)
{
   uint32_t bin = 0, i = 0;
   uint64_t at = 0;

   while (bin < BINS - 1 && at + s->masses[bin] < mass)
      at += s->masses[bin++];
   uint32_t n = sort_bin(s, d, bin);
   for (; i + 1 < n; i++) {
      at += s->weights[s->candidates[i].id];
      if (at >= mass)
         break;
   }
   return s->candidates[i];
}

static bool is_before(rt_candidate a, rt_candidate b)
{
   return a.value > b.value || (a.value == b.value && a.id < b.id);
}

static cut find_cut(rt_sampler *s, const drawing *d, uint64_t mass)
{
   cut end = {-INFINITY, INT32_MAX};
   bool limited = d->o.k && d->o.k < s->vocab;

   if (limited || d->o.p)
      fill_histogram(s, d);
   if (limited)
      end = cut_top_k(s, d, &mass);
   if (d->o.p) {
      cut other = cut_top_p(s, d, share(mass, d->o.p));
      end = is_before(other, end) ? other : end;
   }
   return end;
}

/* Sorts the values that weigh more than a MAX_GATHERED-th of all, so that there is room for them.
 * Returns how many there are, 0 when they are not enough for top-p. */
static uint32_t gather(rt_sampler *s, const drawing *d, uint64_t mass)
{
   uint32_t floor = (uint32_t)(mass / MAX_GATHERED) + 1;
   uint32_t n = rt_row_heavy(d->row, s->weights, s->vocab, floor, s->candidates, MAX_GATHERED);
   uint64_t gathered = 0;

   for (uint32_t i = 0; i < n; i++)
      gathered += s->weights[s->candidates[i].id];
   if (!n || gathered < share(mass, d->o.p))
      return 0;
   rt_sort(s->candidates, n);
   return n;
}

/* A draw among all that the filters keep. */
static int32_t draw_row(rt_sampler *s, const drawing *d)
{
   uint64_t mass = rt_row_weigh(d->row, s->vocab, d->max, d->o.inverse, s->weights);
   uint32_t n = !d->o.k && d->o.p ? gather(s, d, mass) : 0;

   if (n)
      return draw_sorted(d, s->candidates, n, mass);
   cut end = find_cut(s, d, mass);
   uint64_t kept = 0, at = 0;
   int32_t last = 0;

   for (uint32_t i = 0; i < s->vocab; i++) {
      rt_candidate c = {d->row[i], (int32_t)i};
      if (is_before(end, c) || !(scaled(d, c.value) >= d->o.least))
         s->weights[i] = 0;
      kept += s->weights[i];
   }
   uint64_t until = share(kept, d->o.random);
   for (uint32_t i = 0; i < s->vocab && at <= until; i++) {
      last = s->weights[i] ? (int32_t)i : last;
      at += s->weights[i];
   }
   return last;
}

/* The token where the weights first exceed `until`: the block is found by the sums, and only its
 * weights are made again. */
static int32_t token_at(const rt_sampler *s, const drawing *d, uint64_t until)
{
   uint64_t at = 0;
   uint32_t i = 0;

   for (uint32_t b = 0; at + s->sums[b] <= until; b++, i += RT_ROW_BLOCK)
      at += s->sums[b];
   while ((at += rt_weigh(d->row[i], d->max, d->o.inverse)) <= until)
      i++;
   return (int32_t)i;
}

static uint64_t weigh_blocks(rt_sampler *s, const drawing *d)
{
   return rt_row_weigh_blocks(d->row, s->vocab, d->max, d->o.inverse, s->sums);
}

static bool is_unfiltered(const draw *how)
{
   return !how->k && !how->p && how->least == -INFINITY;
}

/* top-k, and so few that they are sorted. */
static bool has_few(const draw *how)
{
   return how->k && how->k <= MAX_SORTED;
}

/* A draw among the n best, which are the candidates. */
static int32_t draw_best_of(rt_sampler *s, const drawing *d, uint32_t n)
{
   uint64_t total = 0;

   for (uint32_t i = 0; i < n; i++)
      total += rt_weigh(s->candidates[i].value, d->max, d->o.inverse);
   return draw_sorted(d, s->candidates, n, total);
}

static int32_t draw_token(rt_sampler *s, const float *row, float max, const draw *how)
{
   const drawing d = {*how, row, max};

   if (is_unfiltered(how))
      return token_at(s, &d, share(weigh_blocks(s, &d), d.o.random));
   if (has_few(how))
      return draw_best_of(s, &d, rt_row_top(row, s->vocab, d.o.k, s->candidates));
   return draw_row(s, &d);
}

int32_t rt_sample_draw(rt_sampler *s, const float *logits, const draw *how)
{
   float max;
   uint32_t best;

   if (!rt_row_max(logits, s->vocab, &max, &best))
      return -1;
   return how->how == DRAW_random ? draw_token(s, logits, max, how) : (int32_t)best;
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

sinter_status rt_no_number(void)
{
   return base_fail(SINTER_failed, "logits",
                    "check the weights for NaN and infinity, or compile with --numerics exact",
                    "the logits are not finite, so that no token can be chosen");
}

/* The logits were finite, and what was made of them is not. */
static sinter_status none_left(const rt_sampler *s, const rt_ask *ask)
{
   bool any = !ask->allowed;

   for (uint32_t i = 0; i < s->vocab && !any; i++)
      any = ask->allowed[i / 32] >> i % 32 & 1;
   if (!any)
      return base_fail(SINTER_failed, "grammar", "demand another format",
                       "no token of the model continues the demanded format");
   return base_fail(SINTER_failed, "logits", "use smaller ones",
                    "the logit bias and penalties leave no logit that is finite");
}

/* A row, adjusted, and its largest values. */
typedef struct ready {
   const float *row;
   float raw_max, max;
   uint32_t best;
} ready;

static sinter_status make_ready(rt_sampler *s, const float *logits, const rt_ask *ask, ready *out)
{
   out->row = adjust(s, logits, ask);
   if (!rt_row_max(logits, s->vocab, &out->raw_max, &out->best))
      return rt_no_number();
   out->max = out->raw_max;
   if (out->row != logits && !rt_row_max(out->row, s->vocab, &out->max, &out->best))
      return none_left(s, ask);
   return SINTER_ok;
}

static void fill_pick(rt_sampler *s, const float *logits, const ready *of, const rt_ask *ask,
                      int32_t id, rt_pick *out)
{
   out->id = id;
   out->logprob = 0;
   out->num_top = 0;
   if (id >= 0 && (ask->want_logprob || ask->num_top))
      fill_logprobs(s, logits, of->raw_max, ask, out);
}

static uint64_t random_of(const rt_ask *ask, uint32_t attempt)
{
   return rt_philox(ask->sampling->seed, (uint64_t)attempt << 32 | ask->index);
}

sinter_status rt_sample(rt_sampler *s, const float *logits, const rt_ask *ask, rt_pick *out)
{
   draw how = rt_draw_of(ask->sampling, ask->index);
   ready of;

   SINTER_TRY(make_ready(s, logits, ask, &of));
   if (ask->tried && is_unfiltered(&how))
      how.random = random_of(ask, RT_ATTEMPTS);
   const bool draws = how.how == DRAW_random;
   fill_pick(s, logits, &of, ask, draws ? draw_token(s, of.row, of.max, &how) : (int32_t)of.best,
             out);
   return SINTER_ok;
}

/* The first draw that may be picked; below 0: none. */
static int32_t draw_tries(rt_sampler *s, const ready *of, const draw *how, const rt_ask *ask,
                          const rt_may *may)
{
   const drawing d = {*how, of->row, of->max};
   const uint64_t mass = weigh_blocks(s, &d);

   for (uint32_t i = 0; i < RT_ATTEMPTS; i++) {
      const int32_t id = token_at(s, &d, share(mass, random_of(ask, i)));

      if (may->fn(may->user, id))
         return id;
   }
   return -1;
}

/* A draw among the k best of those that may be picked, if they are among the first of all; below
 * 0: they are not. */
static int32_t draw_few(rt_sampler *s, const ready *of, const draw *how, const rt_may *may)
{
   uint32_t n = rt_row_top(of->row, s->vocab, 2 * how->k + MORE, s->candidates), kept = 0;

   for (uint32_t i = 0; i < n && kept < how->k; i++)
      if (may->fn(may->user, s->candidates[i].id))
         s->candidates[kept++] = s->candidates[i];
   if (kept < how->k)
      return -1;
   return draw_best_of(s, &(drawing){*how, of->row, s->candidates[0].value}, kept);
}

sinter_status rt_sample_tries(rt_sampler *s, const float *logits, const rt_ask *ask,
                              const rt_may *may, rt_pick *out)
{
   const draw how = rt_draw_of(ask->sampling, ask->index);
   ready of;

   out->id = -1;
   if (how.how == DRAW_random && !is_unfiltered(&how) && !has_few(&how))
      return SINTER_ok;
   SINTER_TRY(make_ready(s, logits, ask, &of));
   int32_t id = (int32_t)of.best;
   if (how.how == DRAW_random)
      id = has_few(&how) ? draw_few(s, &of, &how, may) : draw_tries(s, &of, &how, ask, may);
   else if (!may->fn(may->user, id))
      id = -1;
   fill_pick(s, logits, &of, ask, id, out);
   return SINTER_ok;
}
