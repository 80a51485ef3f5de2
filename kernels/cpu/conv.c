/* conv.c - causal depthwise convolution over the rows of a run.
 *
 *    tile = (run, block of channels);  for each vector of channels, the last W-1 inputs in registers:
 *
 *       h = state;  for each row:  y = w[0] h[0] + … + w[W-1] x;  h = h[1], …, x;   state = h
 *
 * Weights come in panels: line j of a panel holds w[c, j] of 16 channels. Heads that are normed are
 * gone over once more while they are warm. */
#include "state_impl.h"

#include <stdio.h>

typedef struct conv {
   vec_fn *f;
   const conv_key *k;
   const conv_part *part;
   uint32_t lanes; /* of the part: 1 where its blocks straddle panels */
   state_run run;
   vec_value state, x, w, y;
   vec_value block; /* first channel of the tile within the part */
} conv;

void conv_symbol(const conv_key *k, char out[STATE_SYMBOL_MAX])
{
   int n = snprintf(out, STATE_SYMBOL_MAX, "conv_%s_c%u_w%u%s", dtype_infos[k->w].name, k->channels,
                    k->width, k->silu ? "_silu" : "");

   for (uint32_t i = 0; i < k->num_parts; i++) {
      const conv_part *p = &k->parts[i];
      n += snprintf(out + n, (size_t)(STATE_SYMBOL_MAX - n), "_%u_%u_%u", p->first, p->channels,
                    p->block);
      if (p->norm)
         n += snprintf(out + n, (size_t)(STATE_SYMBOL_MAX - n), "_l2%a", p->eps);
   }
}

static int64_t num_blocks(const conv_part *p)
{
   return ((int64_t)p->channels + p->block - 1) / p->block;
}

void conv_launch(const conv_key *k, plan_launch *out)
{
   int64_t blocks = 0;

   for (uint32_t i = 0; i < k->num_parts; i++)
      blocks += num_blocks(&k->parts[i]);
   out->tiles = (plan_extent){.k = blocks, .num_factors = 1, .factor = {{SYM_Q, 1}}};
   out->bytes = (plan_extent){
      .k = (int64_t)8 * k->channels * k->width, .num_factors = 1, .factor = {{SYM_Q, 1}}};
   out->flops = (plan_extent){
      .k = (int64_t)2 * k->channels * k->width, .num_factors = 1, .factor = {{SYM_T, 1}}};
}

/* Bytes of a state. */
static int64_t state_bytes(const conv *c)
{
   return (int64_t)(c->k->width - 1) * c->k->channels * 4;
}

static vec_value channel_of(conv *c, vec_value i)
{
   return vec_add_i(c->f, vec_add(c->f, c->block, i), c->part->first);
}

/* Element (j, channel) of a state. */
static vec_value in_state(conv *c, uint32_t j, vec_value channel)
{
   return vec_add_i(c->f, channel, (int64_t)j * c->k->channels);
}

static vec_value weight(conv *c, uint32_t j, vec_value channel, uint32_t lanes)
{
   vec_fn *f = c->f;
   vec_value line = vec_mul_i(f, vec_lshr_i(f, channel, __builtin_ctz(PANEL_ROWS)), c->k->width);
   vec_value at = vec_add(f, vec_mul_i(f, vec_add_i(f, line, j), PANEL_ROWS),
                          vec_and_i(f, channel, PANEL_ROWS - 1));

   return vec_load_f32(f, c->k->w, lanes,
                       vec_at(f, c->w, vec_mul_i(f, at, dtype_infos[c->k->w].bytes)));
}

static void save(conv *c, vec_value page, const vec_value *h, vec_value channel)
{
   vec_value at = state_page(c->f, c->state, page, state_bytes(c));

   for (uint32_t j = 0; j + 1 < c->k->width; j++)
      state_store(c->f, h[j], at, in_state(c, j, channel));
}

/* y of row t from h and x; h moves on. */
static void row(conv *c, const vec_value *w, vec_value *h, vec_value t, vec_value i, uint32_t lanes)
{
   vec_fn *f = c->f;
   uint32_t last = c->k->width - 1;
   vec_value r = vec_add(f, c->run.first, t), channel = channel_of(c, i);
   vec_value x = state_load(f, lanes, c->x, vec_add(f, vec_mul_i(f, r, c->k->channels), channel));
   vec_value y = vec_fmul(f, w[0], h[0]);

   for (uint32_t j = 1; j < last; j++)
      y = vec_fma(f, w[j], h[j], y);
   y = vec_fma(f, w[last], x, y);
   if (c->k->silu)
      y = vec_silu(f, y);
   vec_value at = vec_add(f, vec_mul_i(f, r, c->part->channels), vec_add(f, c->block, i));
   state_store(f, y, c->y, at);
   memmove(h, h + 1, (last - 1) * sizeof(vec_value));
   h[last - 1] = x;
}

/* All rows of `lanes` channels from i on. */
static void channels(void *user, vec_value i, uint32_t lanes)
{
   conv *c = user;
   vec_fn *f = c->f;
   uint32_t last = c->k->width - 1;
   vec_value w[CONV_MAX_WIDTH], h[CONV_MAX_WIDTH], channel = channel_of(c, i);
   vec_value from = state_page(f, c->state, c->run.from, state_bytes(c));

   for (uint32_t j = 0; j <= last; j++)
      w[j] = weight(c, j, channel, lanes);
   for (uint32_t j = 0; j < last; j++)
      h[j] = state_or_zero(f, &c->run, state_load(f, lanes, from, in_state(c, j, channel)));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), c->run.rows, 1, last, h);
   memcpy(h, l.var, last * sizeof(vec_value));
   row(c, w, h, l.i, i, lanes);
   vec_if here = vec_if_begin(f, vec_icmp(f, VEC_eq, vec_add_i(f, l.i, 1), c->run.snap_rows));
   save(c, c->run.snap, h, channel);
   vec_if_end(f, &here);
   vec_loop_end(f, &l, h);
   vec_if kept = vec_if_begin(f, vec_icmp(f, VEC_ge, c->run.to, vec_i(f, 0)));
   save(c, c->run.to, l.var, channel);
   vec_if_end(f, &kept);
}

typedef struct scaling {
   vec_fn *f;
   vec_value at, factor;
} scaling;

static void scale(void *user, vec_value i, uint32_t lanes)
{
   scaling *s = user;
   vec_value v = state_load(s->f, lanes, s->at, i);

   state_store(s->f, vec_fmul(s->f, v, vec_splat(s->f, s->factor, lanes)), s->at, i);
}

static void norm_rows(conv *c)
{
   vec_fn *f = c->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), c->run.rows, 1, 0, NULL);
   vec_value r = vec_mul_i(f, vec_add(f, c->run.first, l.i), c->part->channels);
   scaling s = {.f = f, .at = vec_at(f, c->y, vec_mul_i(f, vec_add(f, r, c->block), 4))};

   s.factor = state_root(f, state_squares(f, s.at, c->part->block, vec_lanes(f)), c->part->eps);
   state_columns(f, c->part->block, vec_lanes(f), &s, scale);
   vec_loop_end(f, &l, NULL);
}

/* Blocks of n channels from block number `from` on, as far as the tile's is one of them. */
static void blocks(conv *c, vec_value tile, int64_t from, int64_t to, int64_t n)
{
   vec_fn *f = c->f;
   vec_value inside = vec_and(f, vec_icmp(f, VEC_ge, tile, vec_i(f, from)),
                              vec_icmp(f, VEC_lt, tile, vec_i(f, to)));

   if (from == to)
      return;
   vec_if mine = vec_if_begin(f, inside);
   state_columns(f, n, c->lanes, c, channels);
   if (c->part->norm)
      norm_rows(c);
   vec_if_end(f, &mine);
}

/* The tiles of part p, numbers `first` on: whole blocks, then a shorter one. */
static void part(conv *c, uint32_t p, vec_value tile, int64_t first)
{
   const conv_part *part = c->part = &c->k->parts[p];
   int64_t whole = part->channels / part->block, rest = part->channels % part->block;
   uint32_t lanes = vec_lanes(c->f);

   c->lanes = part->first % lanes || part->block % lanes ? 1 : lanes;
   c->y = vec_karg_ptr(c->f, p);
   c->block = vec_mul_i(c->f, vec_add_i(c->f, tile, -first), part->block);
   blocks(c, tile, first, first + whole, part->block);
   if (rest)
      blocks(c, tile, first + whole, first + whole + 1, rest);
}

void conv_emit(vec_module *m, const conv_key *key)
{
   char symbol[STATE_SYMBOL_MAX];
   int64_t total = 0, first = 0;
   uint32_t n = key->num_parts;

   for (uint32_t i = 0; i < n; i++)
      total += num_blocks(&key->parts[i]);
   conv_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   conv c = {.f = f, .k = key};
   vec_value r = vec_div(f, vec_tile(f), vec_i(f, total));
   vec_value tile = vec_rem(f, vec_tile(f), vec_i(f, total));
   c.state = vec_karg_ptr(f, n);
   c.x = vec_karg_ptr(f, n + 1);
   c.w = vec_karg_ptr(f, n + 2);
   c.run = state_run_of(f, n + 3, r);
   for (uint32_t i = 0; i < n; i++) {
      part(&c, i, tile, first);
      first += num_blocks(&key->parts[i]);
   }
   vec_end(f);
}
