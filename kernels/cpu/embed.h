/* embed.h - rows of a packed weight as f32: y[m] = scale * w[ids[m]]; where ids[m] < 0, of
 * features.
 *
 * A tile is a row. refs: y f32[M][K], ids i32[M], w (, features f32[][K]). An id outside of 0 .. N
 * reads row 0; with features one below 0 reads row -1 - id of them. */
#ifndef KERNEL_EMBED_H
#define KERNEL_EMBED_H

#include "gemm.h"

/* Constants of a launch. */
enum embed_const { E_N, E_K, E_PANEL_BYTES, EMBED_CONSTS };

typedef struct embed_key {
   panel_layout w;
   float scale; /* 1: none; applied to the f32 value, one rounding */
   bool features;
} embed_key;

/* NULL when there is a kernel for the key at this K, else the reason in words. */
const char *embed_unsupported(const embed_key *key, uint64_t k);

/* As gemm_symbol, gemm_emit and gemm_launch. */
void embed_symbol(const embed_key *key, char out[GEMM_SYMBOL_MAX]);
void embed_emit(vec_module *m, const embed_key *key);
void embed_launch(const embed_key *key, gemm_rows rows, uint64_t n, uint64_t k, plan_launch *out);

#endif
