/* gemm_kernel.h - a GEMM kernel under construction: its products (gemm.c) and the epilogue. */
#ifndef KERNEL_GEMM_KERNEL_H
#define KERNEL_GEMM_KERNEL_H

#include "gemm_impl.h"
#include "quant.h"

typedef struct gemm_kernel {
   vec_fn *f;
   const gemm_key *key;
   uint32_t most_log;                          /* of the rows of a dot product */
   char dots[2][MAX_LOG + 1][GEMM_SYMBOL_MAX]; /* [weight][log2 rows] */
   char half[2][GEMM_SYMBOL_MAX];              /* of the most rows, fetches half; "": none */
   char unpacked_dots[2][MAX_LOG + 1][GEMM_SYMBOL_MAX],
      unpack[2][GEMM_SYMBOL_MAX];                             /* "": as packed */
   char two[GEMM_SYMBOL_MAX];                                 /* "": one after the other */
   char amx_dots[2][GEMM_SYMBOL_MAX], parts[GEMM_SYMBOL_MAX]; /* "": no AMX */
   vec_value k[GEMM_CONSTS];
   vec_value y, x, s, w[2], operand[GEMM_MAX_STEPS];
   vec_value order, offsets;  /* grouped */
   vec_value weights, factor; /* combine: of all slots; f32[64], of the chunk's rows */
   vec_value row0, rows;      /* of the chunk; grouped: row0 is NULL, rows lie anywhere */
   vec_value called;          /* rows, and those behind them in the last call */
   vec_value in_blocks;       /* AMX: rows in whole blocks of 16 */
   vec_value from, to;        /* i64[64], row of x and row of y of each; the same unless grouped */
   vec_value has_expert;      /* i1: the chunk's rows are multiplied, else they are 0; NULL: yes */
   vec_value y_column;        /* of the head's first output */
   vec_value block[2];        /* f32[64][16] of the two weights */
   vec_value normed, norm_weight; /* of a norm: normed is NULL when it is not stored */
   vec_value scales, group;       /* quant: of y; f32[64][32], a group of each row of the chunk */
   vec_value parts_of, draws;     /* picks: of all rows */
   vec_value most, most_at;       /* picks: f32[64][lanes], i32[64][lanes], largest so far */
   vec_value raised;              /* bounds: scales for the top panels */
   uint32_t weight;               /* whose products the epilogue takes */
   vec_value unpacked;            /* UNPACKED_BYTES; NULL when nothing is unpacked */
   vec_value products, set; /* i32[2 cells][2][16][16]; the AMX tiles of the chunk: NULL without */
} gemm_kernel;

/* The chunk's products with one panel, through the steps, to y: columns 16 * panel on. With quant,
 * codes and scales of a group are written with its second panel. */
void gemm_write_panel(gemm_kernel *g, vec_value panel);

/* Columns that are unpacked at a time (at most 16 KiB). */
enum { UNPACKED_K = 256, UNPACKED_BYTES = UNPACKED_K * PANEL_ROWS * 4 };

/* Products of the chunk's rows with a panel of a weight, or of one row with one of each, in the
 * blocks. Behind gemm_fill_last_call, which says how many rows the last call has. */
void gemm_panel_dots(gemm_kernel *g, uint32_t weight, vec_value panel);
void gemm_two_dots(gemm_kernel *g, const vec_value *panel);
void gemm_fill_last_call(gemm_kernel *g);

/* Parts of gemm_emit, in the order of their calls. Arguments are taken from pointer `first` on;
 * what follows them is returned. */
void gemm_emit_dots(vec_module *m, gemm_kernel *g);
uint32_t gemm_load_arguments(gemm_kernel *g, uint32_t first);
void gemm_take_stack(gemm_kernel *g);
void gemm_grouped_tile(gemm_kernel *g);

/* Rows (grouped: slots) of the step. */
vec_value gemm_rows_of_step(gemm_kernel *g);

/* The chunk's rows are first, first + 1, … of x and y. */
void gemm_number_rows(gemm_kernel *g, vec_value first);

/* The panels of a tile of columns, for all rows of the chunk (gemm.c); of them, those of one weight
 * (with a second one that a step takes: of both). */
void gemm_tile_panels(gemm_kernel *g, vec_value column_tile);
void gemm_each_panel(gemm_kernel *g, vec_value column_tile);

/* The same for a chunk whose rows are normed first (gemm_norm.c). */
void gemm_norm_tile(gemm_kernel *g, vec_value column_tile);

/* The largest outputs of a row so far, f32 and i32 in lanes of their own. */
typedef struct gemm_best {
   vec_value most, at;
} gemm_best;

/* With picks (gemm_pick.c): before and behind all panels of a tile; what row i of the chunk has so
 * far; outputs v of it from `column` on, of which `left` exist (NULL: all); whether row `row` of y
 * is wanted, an i1. */
void gemm_pick_begin(gemm_kernel *g);
void gemm_pick_end(gemm_kernel *g, vec_value column_tile);
gemm_best gemm_pick_load(gemm_kernel *g, vec_value i);
void gemm_pick_store(gemm_kernel *g, vec_value i, const gemm_best *b);
void gemm_pick_outputs(gemm_kernel *g, vec_value column, vec_value left, vec_value v, gemm_best *b);
vec_value gemm_pick_is_wanted(gemm_kernel *g, vec_value row);

/* Logits whose NaN are infinity, and -inf from lane `left` on (NULL: none); numbers of the columns
 * from `first` on; the larger of both, lane by lane, of equals what was there, whose columns come
 * first; the largest of all lanes, with the lowest number among its equals. */
vec_value gemm_logits(vec_fn *f, vec_value v, vec_value left);
vec_value gemm_columns(vec_fn *f, vec_value first);
void gemm_keep_larger(vec_fn *f, vec_value v, vec_value at, gemm_best *b);
gemm_best gemm_over_lanes(vec_fn *f, gemm_best b);
/* Bytes of a row of n numbers of 4 bytes each: whole lines. */
vec_value gemm_part_bytes(vec_fn *f, vec_value n);
/* A launch of a tile a wanted row, each of which reads or writes so many bytes. */
void gemm_pick_rows(plan_launch *out, int64_t bytes);
/* The tile's id from the largest of its row: -1 when that is no finite number. */
void gemm_pick_id(vec_fn *f, vec_value ids, gemm_best b);

/* With bounds (gemm_bound.c): the panels of a tile, by their top or in full; the largest of a row's
 * outputs v of a panel, of which `left` exist (NULL: all). */
void gemm_bound_panels(gemm_kernel *g, vec_value column_tile);
void gemm_bound_keep(gemm_kernel *g, vec_value panel, vec_value row, const vec_value *v,
                     const vec_value *left);

/* Columns of one panel = 0, for every token. */
void gemm_clear_panel(gemm_kernel *g, vec_value panel, vec_value tokens);

#endif
