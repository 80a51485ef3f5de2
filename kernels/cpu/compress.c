/* compress.c - the entry of a chunk: values pooled by a softmax over its positions, channel by
 * channel.
 *
 *    pass 1   most = max over slots of gate + place
 *    pass 2   e = exp(gate + place - most);  sum += e;  total += e value     slots in order
 *
 * Slots: with overlap those of the chunk before (first halves) if there is one, then the chunk's
 * own. */
#include "sparse_impl.h"

#include <math.h>
#include <stdio.h>

enum { VECTORS = 4 }; /* at a time */

typedef struct pool {
   vec_fn *f;
   const compress_key *k;
   sparse_rows rows;
   vec_value ape, first; /* first: position of the chunk */
   vec_value column;     /* of the vectors that are worked on */
   uint32_t lanes, vectors;
   vec_value most[VECTORS];
} pool;

void compress_symbol(const compress_key *k, char out[SPARSE_SYMBOL_MAX])
{
   snprintf(out, SPARSE_SYMBOL_MAX, "compress_%s_w%u_s%u_d%u_m%u%s", dtype_infos[k->kv].name,
            k->width, k->start, k->d, k->ratio, k->overlap ? "_overlap" : "");
}

static int64_t blocks_of(const compress_key *k)
{
   return ((int64_t)k->d + SPARSE_CHANNELS - 1) / SPARSE_CHANNELS;
}

void compress_launch(const compress_key *k, plan_launch *out)
{
   int64_t each = (int64_t)2 * (1 + k->overlap) * k->d;

   out->tiles = (plan_extent){.k = blocks_of(k), .num_factors = 1, .factor = {{SYM_T, 1}}};
   out->bytes = (plan_extent){.k = 4 * each, .num_factors = 1, .factor = {{SYM_T, 1}}};
   out->flops = (plan_extent){.k = 8 * each, .num_factors = 1, .factor = {{SYM_T, 1}}};
}

/* Element `column` of values or gates of place j of a chunk, as f32. */
static vec_value load(pool *p, vec_value row, int64_t first, uint32_t v)
{
   vec_value i = vec_add_i(p->f, p->column, first + (int64_t)v * p->lanes);

   return vec_load_f32(p->f, p->k->kv, p->lanes,
                       vec_at(p->f, row, vec_mul_i(p->f, i, dtype_infos[p->k->kv].bytes)));
}

static vec_value gate_of(pool *p, vec_value row, vec_value j, int64_t half, uint32_t v)
{
   const int64_t wide = (int64_t)p->k->d * (1 + p->k->overlap);
   vec_value place = vec_add_i(p->f, vec_mul_i(p->f, j, wide), half + (int64_t)v * p->lanes);
   vec_value at = vec_at(p->f, p->ape, vec_mul_i(p->f, vec_add(p->f, place, p->column), 4));

   return vec_fadd(p->f, load(p, row, p->k->start + wide + half, v),
                   vec_load(p->f, VEC_f32, p->lanes, at, 4));
}

static vec_value row_at(pool *p, vec_value position)
{
   return vec_at(p->f, p->rows.pages, sparse_offset(&p->rows, position));
}

/* The positions of one chunk; vars: most[v], or sum[v] and total[v]. */
static void each_slot(pool *p, vec_value from, int64_t half, bool pooling, vec_value *vars)
{
   vec_fn *f = p->f;
   const uint32_t n = p->vectors * (pooling ? 2 : 1);
   vec_value next[2 * VECTORS];
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, p->k->ratio), 1, n, vars);
   vec_value row = row_at(p, vec_add(f, from, l.i));

   for (uint32_t v = 0; v < p->vectors; v++) {
      vec_value gate = gate_of(p, row, l.i, half, v);
      if (!pooling) {
         next[v] = vec_fmax(f, gate, l.var[v]);
         continue;
      }
      vec_value e = vec_exp(f, vec_fsub(f, gate, p->most[v]));
      next[v] = vec_fadd(f, l.var[v], e);
      next[p->vectors + v] =
         vec_fma(f, e, load(p, row, p->k->start + half, v), l.var[p->vectors + v]);
   }
   vec_loop_end(f, &l, next);
   memcpy(vars, l.var, n * sizeof *vars);
}

/* The chunk before, if any. Values leave the branch through the stack. */
static void each_slot_before(pool *p, bool pooling, vec_value *vars)
{
   vec_fn *f = p->f;
   const uint32_t n = p->vectors * (pooling ? 2 : 1);
   const int64_t bytes = 4 * (int64_t)p->lanes;
   vec_value kept = vec_stack(f, (uint64_t)(bytes * n), 64);

   for (uint32_t v = 0; v < n; v++)
      vec_store(f, vars[v], vec_at_i(f, kept, v * bytes), 4);
   vec_if there = vec_if_begin(f, vec_icmp(f, VEC_gt, p->first, vec_i(f, 0)));
   each_slot(p, vec_add_i(f, p->first, -(int64_t)p->k->ratio), 0, pooling, vars);
   for (uint32_t v = 0; v < n; v++)
      vec_store(f, vars[v], vec_at_i(f, kept, v * bytes), 4);
   vec_if_end(f, &there);
   for (uint32_t v = 0; v < n; v++)
      vars[v] = vec_load(f, VEC_f32, p->lanes, vec_at_i(f, kept, v * bytes), 4);
}

static void over_slots(pool *p, bool pooling, vec_value *vars)
{
   if (p->k->overlap)
      each_slot_before(p, pooling, vars);
   each_slot(p, p->first, p->k->overlap ? p->k->d : 0, pooling, vars);
}

/* `vectors` vectors of channels from p->column on. */
static void pool_channels(pool *p, vec_value y, uint32_t vectors, uint32_t lanes)
{
   vec_fn *f = p->f;
   vec_value vars[2 * VECTORS];

   p->vectors = vectors;
   p->lanes = lanes;
   for (uint32_t v = 0; v < vectors; v++)
      p->most[v] = vec_float(f, lanes, -INFINITY);
   over_slots(p, false, p->most);
   for (uint32_t v = 0; v < 2 * vectors; v++)
      vars[v] = vec_float(f, lanes, 0);
   over_slots(p, true, vars);
   for (uint32_t v = 0; v < vectors; v++) {
      vec_value i = vec_add_i(f, p->column, (int64_t)v * lanes);
      vec_store(f, vec_fdiv(f, vars[vectors + v], vars[v]), vec_at(f, y, vec_mul_i(f, i, 4)), 4);
   }
}

/* Channels from .. to in steps of `vectors` whole vectors. */
static void run(pool *p, vec_value y, vec_value from, vec_value to, uint32_t vectors,
                uint32_t lanes)
{
   vec_loop l = vec_loop_begin(p->f, from, to, (int64_t)vectors * lanes, 0, NULL);

   p->column = l.i;
   pool_channels(p, y, vectors, lanes);
   vec_loop_end(p->f, &l, NULL);
}

static void clear(vec_fn *f, vec_value y, vec_value from, vec_value to)
{
   vec_loop l = vec_loop_begin(f, from, to, 1, 0, NULL);

   vec_store(f, vec_float(f, 1, 0), vec_at(f, y, vec_mul_i(f, l.i, 4)), 4);
   vec_loop_end(f, &l, NULL);
}

void compress_emit(vec_module *m, const compress_key *key)
{
   char symbol[SPARSE_SYMBOL_MAX];

   compress_symbol(key, symbol);
   vec_fn *f = vec_kernel(m, symbol);
   const uint32_t lanes = vec_lanes(f);
   const int64_t group = (int64_t)VECTORS * lanes, d = key->d;
   vec_value blocks = vec_i(f, blocks_of(key)), row = vec_div(f, vec_tile(f), blocks);
   vec_value from = vec_mul_i(f, vec_rem(f, vec_tile(f), blocks), SPARSE_CHANNELS);
   vec_value to = vec_imin(f, vec_add_i(f, from, SPARSE_CHANNELS), vec_i(f, d));
   vec_value y = vec_at(f, vec_karg_ptr(f, 0), vec_mul_i(f, row, 4 * d));
   vec_value position = sparse_index(f, vec_karg_ptr(f, 3), row);
   vec_value closed = sparse_closed(f, position, key->ratio);
   pool p = {.f = f, .k = key, .ape = vec_karg_ptr(f, 2)};
   p.rows = (sparse_rows){f, vec_karg_ptr(f, 1),
                          sparse_table(f, vec_karg_ptr(f, 5), vec_karg_ptr(f, 4), row), 0,
                          (int64_t)key->width * dtype_infos[key->kv].bytes};
   p.first = vec_mul_i(f, vec_add_i(f, closed, -1), key->ratio);
   vec_value end = vec_mul_i(f, closed, key->ratio);
   vec_if closes = vec_if_begin(f, vec_icmp(f, VEC_eq, end, vec_add_i(f, position, 1)));
   /* all but a last, short block are whole groups of vectors */
   vec_value whole = vec_imin(f, to, vec_i(f, d / group * group));
   run(&p, y, from, whole, VECTORS, lanes);
   if (d % group) {
      vec_value vectors = vec_imin(f, to, vec_i(f, d / lanes * lanes));
      run(&p, y, vec_imax(f, from, whole), vectors, 1, lanes);
   }
   if (d % lanes)
      run(&p, y, vec_imax(f, from, vec_i(f, d / lanes * lanes)), to, 1, 1);
   vec_if_else(f, &closes);
   clear(f, y, from, to);
   vec_if_end(f, &closes);
   vec_end(f);
}
