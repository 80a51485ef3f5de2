/* hc_impl.h - what the files of the hyper-connection kernels share. */
#ifndef KERNEL_HC_IMPL_H
#define KERNEL_HC_IMPL_H

#include "hc.h"

typedef struct hc {
   vec_fn *f;
   const hc_key *k;
   uint32_t lanes;
   vec_value z, y, post, comb, pre, x, fn, scratch, scale, base, w;
   vec_value row, rows; /* of the tile: first, how many */
   vec_value from, to;  /* columns of the tile */
   vec_value block;     /* their number */
} hc;

static inline uint32_t hc_parts(const hc_key *k)
{
   return (2 + k->streams) * k->streams;
}

static inline int64_t hc_blocks(const hc_key *k)
{
   return ((int64_t)k->width + HC_BLOCK - 1) / HC_BLOCK;
}

/* Floats of a block's partials of one row: products, and the sum of squares behind them. */
static inline int64_t hc_partials(const hc_key *k)
{
   return (int64_t)base_align(hc_parts(k) + 1, 16);
}

/* Element i of an array of f32. */
static inline vec_value hc_at(const hc *h, vec_value array, vec_value i)
{
   return vec_at(h->f, array, vec_mul_i(h->f, i, 4));
}

static inline vec_value hc_get(const hc *h, vec_value array, int64_t i)
{
   return vec_load(h->f, VEC_f32, 1, vec_at_i(h->f, array, 4 * i), 4);
}

static inline void hc_put(const hc *h, vec_value array, int64_t i, vec_value v)
{
   vec_store(h->f, v, vec_at_i(h->f, array, 4 * i), 4);
}

/* n floats of a row, `each` floats a row, in an array with a row for each row. */
static inline vec_value hc_row(const hc *h, vec_value array, vec_value row, int64_t each)
{
   return vec_at(h->f, array, vec_mul_i(h->f, row, 4 * each));
}

/* Calls body for the columns h->from .. h->to: whole vectors from a multiple of the lanes on, then
 * single ones. from is such a multiple. */
typedef void hc_body(hc *h, void *user, vec_value i, uint32_t lanes);

static inline void hc_columns(hc *h, void *user, hc_body *body)
{
   vec_fn *f = h->f;
   vec_value whole = vec_and_i(f, h->to, -(int64_t)h->lanes);
   vec_loop l = vec_loop_begin(f, h->from, whole, h->lanes, 0, NULL);

   body(h, user, l.i, h->lanes);
   vec_loop_end(f, &l, NULL);
   if (h->k->width % h->lanes == 0)
      return;
   vec_loop r = vec_loop_begin(f, vec_imax(f, h->from, whole), h->to, 1, 0, NULL);
   body(h, user, r.i, 1);
   vec_loop_end(f, &r, NULL);
}

void hc_emit_part(hc *h);   /* hc_part.c */
void hc_emit_finish(hc *h); /* hc.c */

#endif
