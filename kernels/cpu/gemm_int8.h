/* gemm_int8.h - int8 dot products under construction: what a cell's sums (gemm_int8.c) and the f32
 * arithmetic of blocks (gemm_blocks.c) share. */
#ifndef KERNEL_GEMM_INT8_H
#define KERNEL_GEMM_INT8_H

#include "gemm_impl.h"

enum { TILE_ROWS = 16, DOT_REGS = TILE_ROWS };

typedef struct regs {
   vec_value v[DOT_REGS];
} regs;

/* f32 sums: in memory, so that they take no registers from a loop; NULL: in registers. */
typedef struct place {
   vec_value memory;
   regs r;
} place;

typedef struct dot {
   panel_reader r;
   vec_fn *f;
   const panel_info *p;
   uint32_t rows, lanes, halves, spans, bits;
   uint32_t offset;  /* products are of codes that have this added to their values */
   bool vnni, bytes; /* bytes: the signed path */
   bool amx;
   uint32_t fetched; /* bytes of each cell, from where DOT_ahead says on */
   bool keeps;       /* f32 sums are variables of the loops: there are registers for them */
   vec_value x[TILE_ROWS], s[TILE_ROWS];
   place out;  /* accumulators */
   place sums; /* of a super-block */
} dot;

static inline uint32_t dot_regs(const dot *d)
{
   return d->rows * d->halves;
}

/* Address of register i of an array of [rows][16] 32-bit elements. */
static inline vec_value dot_slot(dot *d, vec_value base, uint32_t i)
{
   return vec_at_i(d->f, base, i * d->lanes * 4);
}

/* Of the function under construction: how codes lie, how large they are, and so many rows
 * (DOT_amx: 16). p must outlive it. */
dot dot_begin(vec_fn *f, const panel_info *p, uint32_t bits, dot_family family, uint32_t rows);

/* The 32 bits of row r at byte `at` of its scales, in every lane; the sums of both 16s of the cell
 * whose scale is at byte `at`, as i16[lanes][2]. */
vec_value dot_word(dot *d, vec_elem e, uint32_t r, vec_value at);
vec_value dot_sum16s(dot *d, uint32_t r, vec_value at);

/* i16[lanes][2] of the sub-blocks of 16 of a cell: scales, or minima. */
vec_value dot_pairs16(dot *d, vec_value cell, uint32_t h, bool min);

/* The scale of a span as i16[lanes][2], both equal; ones for block 32. */
void dot_span_scales(dot *d, vec_value cell, uint32_t span, vec_value *out);

/* Tiles: the products of a cell at column k, to the place of column `to`. */
void dot_make_products(dot *d, vec_value cell, vec_value k, vec_value to);

/* Tiles: those of the cell behind the one at column k; behind the last, at `end`, its own again. */
void dot_next_products(dot *d, vec_value cell, vec_value k, vec_value end);

/* A cell's sums times the scales of its spans as f32: of register i, or made of products where they
 * are used, which keeps the registers of 16 rows free. */
typedef struct dot_sums {
   regs sum;
   vec_value products, scale[2]; /* amx: i32[spans][16][16]; i32, f32 of a single one */
   vec_value cell, k;            /* amx: where it is */
} dot_sums;

/* The cell at `at`, column k. */
dot_sums dot_read(dot *d, vec_value at, vec_value k);
vec_value dot_sum(dot *d, const dot_sums *c, uint32_t i);

#endif
