/* gemm_rows.cuh - which rows a block of a product takes: neighbours, or the slots of one expert. */
#ifndef GEMM_ROWS_CUH
#define GEMM_ROWS_CUH

enum { GEMM_TILE_K = 32, GEMM_ROWS_EACH = GEMM_TILE_ROWS * GEMM_TILE_COLUMNS / SIMT_THREADS /* of a thread, without fragments */ };

SIMT_FN simt_i64 gemm_num_rows(const simt_args *a)
{
   return a->konst[C_ROWS] + a->konst[C_ROWS_PER_SYM] * a->step[a->konst[C_SYM]];
}

/* The rows of a block: row i of it is row order[i] of y (i itself without order), and comes from row
 * order[i] / share of x. Matrix `expert` multiplies them; -1: none does, the product is 0. */
typedef struct gemm_rows {
   const simt_i32 *order;
   simt_i64 first, count, share, expert;
} gemm_rows;

SIMT_FN simt_i64 gemm_row(const gemm_rows *r, int i)
{
   return r->order ? r->order[r->first + i] : r->first + i;
}

/* Tile number `tile` of the slots, which lie by expert: every expert begins a new tile, and what is left
 * has no expert. count 0: there is no such tile. */
SIMT_FN gemm_rows gemm_slots(const simt_args *a, const simt_i32 *order, const simt_i32 *offsets,
                             simt_i64 tile)
{
   gemm_rows r = {order, 0, 0, a->konst[C_SLOTS_PER_ROW], -1};
   const simt_i64 slots = gemm_num_rows(a), experts = a->konst[C_EXPERTS];

   for (simt_i64 e = 0; e <= experts; e++) {
      const simt_i64 from = offsets[e], to = e < experts ? offsets[e + 1] : slots;
      const simt_i64 tiles = (to - from + GEMM_TILE_ROWS - 1) / GEMM_TILE_ROWS;
      if (tile < tiles) {
         r.first = from + tile * GEMM_TILE_ROWS;
         r.count = simt_least(GEMM_TILE_ROWS, to - r.first);
         r.expert = e < experts ? e : -1;
         return r;
      }
      tile -= tiles;
   }
   return r;
}

#endif
