/* hc.h - hyper-connections: streams spread and mixed, brought together and normed.
 *
 *    part     tile = (up to HC_ROWS rows, HC_BLOCK columns of every stream)
 *             expand   z_k = post_k y + sum_j comb[j,k] x_j                 j ascending
 *             mix      partial products of fn with the columns of z (or x), and their squares
 *    finish   tile = a row
 *             mix      partials added in the order of the blocks ─▶ pre, post, comb
 *             collapse y = sum_j pre_j x_j;   norm: y w / sqrt(mean(y^2) + eps)
 *
 * Sums of a row depend on n and D only: neither its neighbours nor what else a kernel does shows in
 * the bits, so that the forms that fuse are equal to those that do not. Meanings: ir/ref/hc.c. */
#ifndef KERNEL_HC_H
#define KERNEL_HC_H

#include "gemm.h"

enum { HC_SYMBOL_MAX = 160, HC_MAX_STREAMS = 8, HC_ROWS = 4, HC_BLOCK = 256 };

/* Constants of a launch. */
enum hc_const { HC_PER_SYM, HC_SYM, HC_FIXED, HC_CONSTS };

typedef struct hc_key {
   uint32_t streams, width; /* n, D */
   bool expand, mix;        /* part: either or both; finish: mix */
   bool finish, collapse, norm;
   double eps, offset; /* of the mix */
   uint32_t iters;
   double norm_eps, norm_offset;
} hc_key;

/* NULL when there is a kernel for the key, else the reason in words. */
const char *hc_unsupported(const hc_key *key);
void hc_symbol(const hc_key *key, char out[HC_SYMBOL_MAX]);
void hc_emit(vec_module *m, const hc_key *key);

/* Fills tiles, consts, bytes and flops. The caller fills refs in this order:
 *    part     expand: z, y, post, comb;  x;  mix: fn in f32 panels, scratch
 *    finish   mix: scratch, scale, base, pre, post, comb (pre is only an output without collapse);
 *             collapse: y, x, and without mix pre;  norm: w */
void hc_launch(const hc_key *key, gemm_rows rows, plan_launch *out);

/* Scratch bytes of the partials of max_rows rows. */
uint64_t hc_scratch(const hc_key *key, int64_t max_rows);

#endif
