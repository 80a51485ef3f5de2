/* attention_latent.c - scores of latent pages: keys are rows, so a dot product runs along a row.
 *
 *    for `step` positions of a page at a time, all row-heads of the block:
 *       vectors of the row in order, one accumulator a pair;  lanes summed, halves first
 *       what is left of the row, one by one
 *
 * The order is fixed by the width alone: neither the block nor the step shows in the bits. */
#include "attention_impl.h"

/* Positions of one pass: as many sums as registers hold. */
static uint32_t positions_at_once(const attn *t)
{
   uint32_t n = 4, most = t->lanes == 16 ? 16 : 8;

   while (n > 1 && n * t->block > most)
      n /= 2;
   return n;
}

/* q k over columns i .. i + lanes of `step` rows from `at` on, added to sums (by row-head). */
static void add_columns(attn *t, vec_value at, vec_value i, uint32_t step, uint32_t lanes,
                        const vec_value *sums, vec_value *out)
{
   vec_fn *f = t->f;
   vec_value k[4], column = vec_at(f, t->q, attn_times(t, i, 4));

   for (uint32_t j = 0; j < step; j++) {
      vec_value row = vec_at_i(f, at, (int64_t)j * t->d * t->kv_bytes);
      k[j] = vec_load_f32(f, t->k->kv, lanes, vec_at(f, row, attn_times(t, i, t->kv_bytes)));
   }
   for (uint32_t r = 0; r < t->block; r++) {
      vec_value q = vec_load(f, VEC_f32, lanes, vec_at_i(f, column, (int64_t)r * t->d * 4), 4);
      for (uint32_t j = 0; j < step; j++)
         out[r * step + j] = vec_fma(f, q, k[j], sums[r * step + j]);
   }
}

/* Sums over columns from .. to, in steps of `lanes`. */
static void dot_columns(attn *t, vec_value at, int64_t from, int64_t to, uint32_t step,
                        uint32_t lanes, vec_value *sums)
{
   uint32_t n = step * t->block;
   vec_value next[VEC_MAX_VARS];

   if (from == to)
      return;
   vec_loop l = vec_loop_begin(t->f, vec_i(t->f, from), vec_i(t->f, to), lanes, n, sums);
   add_columns(t, at, l.i, step, lanes, l.var, next);
   vec_loop_end(t->f, &l, next);
   memcpy(sums, l.var, n * sizeof *sums);
}

/* Dot products of `step` positions of a page from number `first` on, to where their scores go. */
static void dots_of(attn *t, vec_value page, vec_value head, vec_value first, uint32_t step)
{
   vec_fn *f = t->f;
   int64_t whole = t->d / t->lanes * t->lanes;
   vec_value at = vec_at(f, head, attn_times(t, first, t->d * t->kv_bytes)), sums[VEC_MAX_VARS];

   for (uint32_t i = 0; i < step * t->block; i++)
      sums[i] = vec_float(f, t->lanes, 0);
   dot_columns(t, at, 0, whole, step, t->lanes, sums);
   for (uint32_t i = 0; i < step * t->block; i++)
      sums[i] = vec_fsum(f, sums[i]);
   dot_columns(t, at, whole, t->d, step, 1, sums);
   for (uint32_t r = 0; r < t->block; r++) {
      vec_value to = vec_at(f, attn_score_at(t, vec_i(f, r), page, 0), attn_times(t, first, 4));
      for (uint32_t j = 0; j < step; j++)
         vec_store(f, sums[r * step + j], vec_at_i(f, to, (int64_t)j * 4), 4);
   }
}

void attn_scores_latent(attn *t)
{
   vec_fn *f = t->f;
   uint32_t step = positions_at_once(t), parts = PAGE_TOKENS / t->lanes;
   vec_value dots[VEC_MAX_VARS];

   attn_clear_tops(t);
   vec_loop page = vec_loop_begin(f, t->page0, t->page1, 1, 0, NULL);
   vec_value head = attn_head_of_page(t, page.i);
   vec_loop p = vec_loop_begin(f, vec_i(f, 0), vec_i(f, PAGE_TOKENS), step, 0, NULL);
   dots_of(t, page.i, head, p.i, step);
   vec_loop_end(f, &p, NULL);
   for (uint32_t r = 0; r < t->block; r++)
      for (uint32_t j = 0; j < parts; j++)
         dots[r * parts + j] =
            vec_load(f, VEC_f32, t->lanes, attn_score_at(t, vec_i(f, r), page.i, j), 4);
   attn_keep_scores(t, page.i, dots);
   vec_loop_end(f, &page, NULL);
}
