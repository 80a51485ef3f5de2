/* engine_toy.h - a device whose "model" is a hash of the tokens that it finds through the step
 * arrays.
 *
 *    layer 0, full group      h0(p) = fold over i <= p of (token i, rotation of i)
 *    layer 1, window group    h1(p) = fold over the last WINDOW of the h0 stored at their writing
 *    logits(p)[v]             = noise(h1(p), v)
 *
 * A wrong page, slot, position, rotation, row or a lost write changes every later token. The oracle
 * computes the same from the plain list of tokens. */
#ifndef TESTS_ENGINE_TOY_H
#define TESTS_ENGINE_TOY_H

#include <math.h>
#include <stdlib.h>

#include "base/plan.h"
#include "runtime/engine.h"
#include "runtime/meta.h"
#include "runtime/sampler.h"

enum {
   TOY_VOCAB = 96,
   TOY_WINDOW = 20,
   TOY_ROWS = 24,
   TOY_WANTED = 8,
   TOY_SEQUENCES = 6,
   TOY_TILES = 8, /* fewer than the rows could need, so that they bound a step, too */
   TOY_EOS = 7,
   TOY_CONTEXT = 40, /* prompts beyond it are rotated by a table of their own */
};

typedef struct toy_entry {
   int32_t token, position;
   uint64_t hash;
} toy_entry;

struct rt_device {
   rt_limits limits;
   rt_step *step;
   toy_entry *group[2];
   uint64_t *hashes; /* h0 of the step's rows */
   float *logits;
   uint32_t faults; /* reads of what was never written there */
};

static rt_device *toy_last; /* the device of the newest engine, for its fault count */
static uint64_t toy_max_rows_seen, toy_runs;

static uint64_t toy_mix(uint64_t h, uint64_t v)
{
   h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
   h *= 0xff51afd7ed558ccdu;
   return h ^ (h >> 32);
}

static void toy_logits(uint64_t h, float *out)
{
   for (uint64_t v = 0; v < TOY_VOCAB; v++)
      out[v] = (float)(toy_mix(h, v) % 16384) / 1024.0f;
}

static uint64_t toy_row_hash(int32_t token, const float *rope, uint32_t width)
{
   uint64_t h = (uint64_t)token;

   for (uint32_t i = 0; i < width; i++) {
      uint32_t bits;
      memcpy(&bits, &rope[i], sizeof bits);
      h = toy_mix(h, bits);
   }
   return h;
}

static rope_spec toy_ropes[1] = {{.kind = ROPE_dynamic,
                                  .width = 4,
                                  .base = 100,
                                  .factor = 2,
                                  .max_context = TOY_CONTEXT,
                                  .attention_factor = 1}};
static plan_cache_group toy_groups[2] = {
   {.kind = 0, .heads = 1, .width = 2, .dtype = DT_f32, .num_layers = 1},
   {.kind = 1, .heads = 1, .width = 2, .window = TOY_WINDOW, .dtype = DT_f32, .num_layers = 1}};
static plan toy_plan = {
   .model = {.vocab = TOY_VOCAB, .trained_context = 512, .num_eos = 1, .eos = {TOY_EOS}},
   .target = "toy",
   .sym_max =
      {[SYM_T] = TOY_ROWS, [SYM_R] = TOY_WANTED, [SYM_S] = TOY_SEQUENCES, [SYM_A] = TOY_TILES},
   .num_cache_groups = 2,
   .cache_groups = toy_groups,
   .num_ropes = 1,
   .ropes = toy_ropes,
};

/* ---- device ---- */

static sinter_status toy_open(const rt_artifact *a, const rt_limits *limits, rt_step *step,
                              rt_device **out)
{
   rt_device *d = calloc(1, sizeof *d);

   (void)a;
   d->limits = *limits;
   d->step = step;
   for (int g = 0; g < 2; g++) {
      size_t n = (size_t)limits->pages[g] * PAGE_TOKENS;
      d->group[g] = malloc(n * sizeof(toy_entry));
      memset(d->group[g], 0xff, n * sizeof(toy_entry));
   }
   d->hashes = calloc((size_t)limits->max_rows, sizeof *d->hashes);
   d->logits = calloc((size_t)limits->max_wanted * TOY_VOCAB, sizeof *d->logits);
   toy_last = d;
   toy_max_rows_seen = toy_runs = 0;
   *out = d;
   return SINTER_ok;
}

static void toy_close(rt_device *d)
{
   free(d->group[0]);
   free(d->group[1]);
   free(d->hashes);
   free(d->logits);
   free(d);
}

static toy_entry *toy_at(rt_device *d, int g, int32_t seq, int64_t position)
{
   const int32_t *table = d->step->meta[RT_META_block_table][g];
   int32_t page = table[seq * d->step->block.sym[SYM_B] + position / PAGE_TOKENS];

   if (page < 0 || page >= d->limits.pages[g]) {
      d->faults++;
      return NULL;
   }
   toy_entry *e = &d->group[g][(int64_t)page * PAGE_TOKENS + position % PAGE_TOKENS];
   d->faults += e->position != position;
   return e;
}

static uint64_t toy_fold(rt_device *d, int g, int32_t seq, int64_t first, int64_t last)
{
   uint64_t h = 1;

   for (int64_t p = first; p <= last; p++) {
      const toy_entry *e = toy_at(d, g, seq, p);
      h = toy_mix(h, e ? e->hash : 0);
   }
   return h;
}

static void toy_write(rt_device *d, int g, int64_t t, uint64_t hash)
{
   const int32_t *slots = d->step->meta[RT_META_slots][g];
   const int32_t *ids = d->step->meta[RT_META_token_ids][0],
                 *positions = d->step->meta[RT_META_positions][0];

   if (slots[t] < 0 || slots[t] >= d->limits.pages[g] * PAGE_TOKENS)
      d->faults++;
   else
      d->group[g][slots[t]] = (toy_entry){ids[t], positions[t], hash};
}

/* Every row is in exactly one tile, a tile has rows of one sequence. */
static void toy_check_tiles(rt_device *d)
{
   const int32_t(*tiles)[2] = d->step->meta[RT_META_tiles][0];
   const int32_t *seq_of = d->step->meta[RT_META_seq_of][0];
   int64_t t = 0;

   for (int64_t a = 0; a < d->step->block.sym[SYM_A]; a++) {
      d->faults += tiles[a][0] != t || tiles[a][1] < 1 || tiles[a][1] > ATTN_ROWS;
      for (int32_t i = 1; i < tiles[a][1]; i++)
         d->faults += seq_of[t + i] != seq_of[t];
      t += tiles[a][1];
   }
   d->faults += t != d->step->block.sym[SYM_T] || d->step->block.sym[SYM_A] > TOY_TILES;
}

static sinter_status toy_run(rt_device *d, const float **out_logits)
{
   const int64_t *syms = d->step->block.sym;
   const int32_t *ids = d->step->meta[RT_META_token_ids][0],
                 *positions = d->step->meta[RT_META_positions][0];
   const int32_t *seq_of = d->step->meta[RT_META_seq_of][0], *rows = d->step->meta[RT_META_rows][0];
   const float *rope = d->step->meta[RT_META_rope][0];
   uint32_t width = toy_ropes[0].width;
   int64_t context = 0;

   toy_runs++;
   toy_max_rows_seen = MAX(toy_max_rows_seen, (uint64_t)syms[SYM_T]);
   d->faults +=
      syms[SYM_T] < 1 || syms[SYM_T] > d->limits.max_rows || syms[SYM_R] > d->limits.max_wanted;
   toy_check_tiles(d);
   for (int64_t t = 0; t < syms[SYM_T]; t++)
      toy_write(d, 0, t, toy_row_hash(ids[t], rope + t * width, width));
   for (int64_t t = 0; t < syms[SYM_T]; t++) {
      d->hashes[t] = toy_fold(d, 0, seq_of[t], 0, positions[t]);
      context = MAX(context, positions[t] + 1);
      bool is_first = t == 0 || seq_of[t - 1] != seq_of[t];
      d->faults += is_first && d->step->stored[seq_of[t]] != positions[t];
   }
   for (int64_t t = 0; t < syms[SYM_T]; t++)
      toy_write(d, 1, t, d->hashes[t]);
   d->faults += syms[SYM_C] != (context + ATTN_CHUNK - 1) / ATTN_CHUNK;
   for (int64_t r = 0; r < syms[SYM_R]; r++) {
      int32_t t = rows[r];
      d->faults += r && t <= rows[r - 1];
      toy_logits(toy_fold(d, 1, seq_of[t], MAX(0, positions[t] - TOY_WINDOW + 1), positions[t]),
                 d->logits + r * TOY_VOCAB);
   }
   *out_logits = d->logits;
   return SINTER_ok;
}

static void toy_copy_page(rt_device *d, uint32_t g, int32_t from, int32_t to)
{
   memcpy(d->group[g] + (int64_t)to * PAGE_TOKENS, d->group[g] + (int64_t)from * PAGE_TOKENS,
          PAGE_TOKENS * sizeof(toy_entry));
}

/* A page has as many bytes as the plan says: an entry is as large as two rows of two floats. */
_Static_assert(sizeof(toy_entry) == 16, "toy_groups");

static void toy_read_page(rt_device *d, uint32_t g, int32_t page, uint8_t *to)
{
   memcpy(to, d->group[g] + (int64_t)page * PAGE_TOKENS, PAGE_TOKENS * sizeof(toy_entry));
}

static void toy_write_page(rt_device *d, uint32_t g, int32_t page, uint8_t *from)
{
   memcpy(d->group[g] + (int64_t)page * PAGE_TOKENS, from, PAGE_TOKENS * sizeof(toy_entry));
}

static void toy_poison_page(rt_device *d, uint32_t g, int32_t page)
{
   memset(d->group[g] + (int64_t)page * PAGE_TOKENS, 0xff, PAGE_TOKENS * sizeof(toy_entry));
}

static void toy_stats(const rt_device *d, sinter_stats *out)
{
   (void)d;
   out->launches = toy_runs;
}

static const rt_device_ops toy_device = {.name = "toy",
                                         .open = toy_open,
                                         .close = toy_close,
                                         .run = toy_run,
                                         .copy_page = toy_copy_page,
                                         .read_page = toy_read_page,
                                         .write_page = toy_write_page,
                                         .poison_page = toy_poison_page,
                                         .stats = toy_stats};

/* ---- oracle ---- */

static void toy_oracle_rope(int64_t num_prompt, int64_t position, float *out)
{
   double freq[ROPE_MAX_WIDTH / 2], scale;
   uint32_t n = toy_ropes[0].width / 2;

   rope_inv_freq(&toy_ropes[0], (double)(position < num_prompt ? num_prompt : position + 1), freq,
                 &scale);
   for (uint32_t i = 0; i < n; i++) {
      out[i] = (float)(cos((double)position * freq[i]) * scale);
      out[n + i] = (float)(sin((double)position * freq[i]) * scale);
   }
}

/* The logits after tokens[0..count). */
static void toy_oracle(const int32_t *tokens, int64_t num_prompt, int64_t count, float *out)
{
   uint64_t *h0 = calloc((size_t)count, sizeof *h0), *e = calloc((size_t)count, sizeof *e), h1 = 1;

   for (int64_t i = 0; i < count; i++) {
      float rope[8];
      toy_oracle_rope(num_prompt, i, rope);
      e[i] = toy_row_hash(tokens[i], rope, toy_ropes[0].width);
   }
   for (int64_t p = MAX(0, count - TOY_WINDOW); p < count; p++) {
      h0[p] = 1;
      for (int64_t i = 0; i <= p; i++)
         h0[p] = toy_mix(h0[p], e[i]);
      h1 = toy_mix(h1, h0[p]);
   }
   toy_logits(h1, out);
   free(h0);
   free(e);
}

/* The tokens and log-probabilities a request must produce; returns how many. */
__attribute__((unused)) static int64_t toy_oracle_generate(const sinter_request_options *o,
                                                           int32_t *out, float *out_logprobs)
{
   int64_t n = o->num_prompt, end = n + o->max_tokens;
   int32_t *tokens = calloc((size_t)end, sizeof *tokens);
   float logits[TOY_VOCAB];
   rt_history history = {0};
   bool penalties = rt_sampling_needs_history(&o->sampling);
   rt_sampler *sampler;

   if (rt_sampler_create(TOY_VOCAB, &sampler) != SINTER_ok ||
       rt_history_init(&history, TOY_VOCAB) != SINTER_ok)
      abort();
   memcpy(tokens, o->prompt, (size_t)n * sizeof *tokens);
   for (int64_t i = 0; i < n; i++)
      rt_history_add(&history, tokens[i], false);
   static const int32_t eos = TOY_EOS;
   while (n < end) {
      bool goes_on = !o->ignore_eos && n - o->num_prompt < o->min_tokens;
      rt_ask ask = {.sampling = &o->sampling,
                    .history = penalties ? &history : NULL,
                    .index = (uint32_t)(n - o->num_prompt),
                    .want_logprob = true,
                    .withheld = &eos,
                    .num_withheld = goes_on};
      rt_pick pick;
      toy_oracle(tokens, o->num_prompt, n, logits);
      if (rt_sample(sampler, logits, &ask, &pick) != SINTER_ok)
         abort();
      out_logprobs[n - o->num_prompt] = pick.logprob;
      out[n - o->num_prompt] = tokens[n] = pick.id;
      rt_history_add(&history, pick.id, true);
      n++;
      if (pick.id == TOY_EOS && !o->ignore_eos)
         break;
   }
   rt_history_deinit(&history);
   rt_sampler_destroy(sampler);
   free(tokens);
   return n - o->num_prompt;
}

static const rt_device_ops *toy_ops = &toy_device;

static sinter_engine *toy_engine(sinter_engine_options options)
{
   rt_engine_setup setup = {.plan = &toy_plan, .ops = toy_ops, .fingerprint = {1, 2}};
   sinter_engine *e;

   options.size = sizeof options;
   if (rt_engine_create(&setup, &options, &e) != SINTER_ok)
      return NULL;
   return e;
}

#endif
