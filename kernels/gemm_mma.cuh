/* gemm_mma.cuh - the product of gemm.cuh on matrix instructions; the same parameters and hooks, and
 *
 *    GEMM_SLICES   k is cut into so many slices of whole tiles, whose sums are added in order
 *    GEMM_FORM     GEMM_whole: one block does that; GEMM_part: a block takes a slice and leaves its sums in memory; GEMM_merge: adds them,
 *                  and what follows. So both ways have the same bits
 *    GEMM_REGISTERS  of a thread (simt.h)
 *
 *    GEMM_INT8     x are codes with scales: a tile's product is that of gemm_mma_int8.cuh
 *
 *    w codes (bf16, exactly; f16: two, c0 + c1)   x = x0 + x1 + x2 (bf16, exactly: base/pack.h calls them parts)
 *    a block of k: sum = codes x0 + codes x1 + codes x2 in f32;   total += d sum + m (sum of x)
 *
 * A warp takes panels of 16 outputs and GEMM_TILE_ROWS rows of x; w is the 16 x 16 matrix of the instruction. Tiles of x come
 * by asynchronous copies, GEMM_STAGES - 1 of them ahead. Scales are applied to sums, so codes are never rounded and neither is x. An
 * output's bits depend on its own row and column only, for any M. Layouts: all of blocks or sub-blocks of 16 and
 * 32, e4m3, bf16, f16. Parts: f32[slice][weight][row][column]. */
#ifndef GEMM_MMA_CUH
#define GEMM_MMA_CUH

typedef struct gemm_mma_shared {
   /* rows are 4 floats apart from a multiple of 32: lanes of a fragment read different banks */
   float x[GEMM_STAGES][GEMM_TILE_ROWS][GEMM_TILE_K + 4];
} gemm_mma_shared;

enum { GEMM_COPIES = GEMM_TILE_ROWS * GEMM_TILE_K / 4 / SIMT_THREADS /* of 16 bytes, that a thread makes for a tile */ };
SIMT_ASSERT(GEMM_COPIES * 4 * SIMT_THREADS == GEMM_TILE_ROWS * GEMM_TILE_K);

/* Starts the copy of columns k0 … of the rows; what is not there becomes 0. Rows that are not aligned are rare: unrolled, their
 * addresses take 30 registers from the loop that matters. */
SIMT_FN void gemm_mma_fetch(const simt_args *a, float (*to)[GEMM_TILE_K + 4], const simt_u8 *x,
                            const gemm_rows *r, simt_i64 k0)
{
   const simt_i64 depth = a->konst[C_K];

   if (depth % 4 == 0 && a->konst[C_X_STRIDE] % 16 == 0 && a->konst[C_X_HEAD] % 16 == 0) {
      SIMT_UNROLL
      for (int c = 0; c < GEMM_COPIES; c++) {
         const int i = c * SIMT_THREADS + simt_thread();
         const int m = i / (GEMM_TILE_K / 4), k = i % (GEMM_TILE_K / 4) * 4;
         const int there = m < r->count && k0 + k < depth;
         const simt_i64 row = there ? gemm_row(r, m) / r->share : 0;
         simt_copy16(&to[m][k], x + row * a->konst[C_X_STRIDE] + 4 * (there ? k0 + k : 0), there);
      }
   } else {
      SIMT_LOOP
      for (int i = simt_thread(); i < GEMM_TILE_ROWS * GEMM_TILE_K; i += SIMT_THREADS) {
         const int m = i / GEMM_TILE_K, k = i % GEMM_TILE_K;
         const int there = m < r->count && k0 + k < depth;
         const simt_i64 row = there ? gemm_row(r, m) / r->share : 0;
         simt_copy4(&to[m][k], x + row * a->konst[C_X_STRIDE] + 4 * (there ? k0 + k : 0), there);
      }
   }
   simt_copy_end();
}

/* The three parts of B. */
SIMT_FN void gemm_mma_x(const float (*x)[GEMM_TILE_K + 4], int tile, int k0, simt_u32 (*parts)[2])
{
   SIMT_UNROLL
   for (int i = 0; i < 2; i++) {
      const float *at = &x[tile * MMA_N + simt_mma_n(simt_lane())][k0 + simt_mma_kb(simt_lane(), i)];
      float low = at[0], high = at[1];
      SIMT_UNROLL
      for (int p = 0; p < 3; p++) {
         const simt_u32 lower = gemm_part(&low);
         parts[p][i] = lower | gemm_part(&high) << 16;
      }
   }
}

/* sum gains w x of columns k … of the tile, small parts first. */
SIMT_FN void gemm_mma_products(const simt_u32 *w, const float (*x)[GEMM_TILE_K + 4], int k, float (*sum)[4])
{
   SIMT_UNROLL
   for (int t = 0; t < MMA_TILES; t++) {
      simt_u32 parts[3][2];
      gemm_mma_x(x, t, k, parts);
      SIMT_UNROLL
      for (int p = 2; p >= 0; p--)
         simt_mma(sum[t], w, parts[p]);
   }
}

/* A slice is done: its sum joins those before it. */
SIMT_FN void gemm_mma_next(float *before, float *total, int first)
{
   *before = first ? *total : *before + *total;
   *total = 0;
}

/* Columns k0 … of the tile: total[tile][4] gains the products of `group` columns at a time. */
SIMT_FN void gemm_mma_tile(const simt_format f, const simt_u8 *panel, const float (*x)[GEMM_TILE_K + 4],
                           simt_i64 k0, simt_i64 depth, float (*total)[4])
{
   const int group = simt_group(f);

   for (int g = 0; g < GEMM_TILE_K; g += group) {
      float sum[MMA_TILES][4], d[4], m[4];
      SIMT_UNROLL
      for (int t = 0; t < MMA_TILES; t++)
         SIMT_UNROLL
         for (int i = 0; i < 4; i++)
            sum[t][i] = 0;
      for (int k = g; k < g + group; k += MMA_K) {
         simt_u32 w[MMA_A];
         if (gemm_mma_is_halves(f)) {
            gemm_mma_w(f, panel, k0 + k, depth, 1, w);
            gemm_mma_products(w, x, k, sum);
         }
         gemm_mma_w(f, panel, k0 + k, depth, 0, w);
         gemm_mma_products(w, x, k, sum);
      }
      if (k0 + g >= depth)
         return;
      SIMT_UNROLL
      for (int i = 0; i < 4; i++)
         simt_group_scale(f, panel, k0 + g, simt_mma_c_row(simt_lane(), i), &d[i], &m[i]);
      SIMT_UNROLL
      for (int t = 0; t < MMA_TILES; t++)
         SIMT_UNROLL
         for (int i = 0; i < 4; i++) {
            total[t][i] = simt_fma(d[i], sum[t][i], total[t][i]);
            if (f.min) {
               float all = 0;
               for (int k = g; k < g + group; k++)
                  all += x[t * MMA_N + simt_mma_c_col(simt_lane(), i)][k];
               total[t][i] = simt_fma(m[i], all, total[t][i]);
            }
         }
   }
}

#endif

#if GEMM_FORM == GEMM_merge
SIMT_KERNEL(GEMM_NAME)
{
   SIMT_BEGIN(a);
   const simt_i64 columns = a->konst[C_N], blocks = (columns + SIMT_THREADS - 1) / SIMT_THREADS;
   const simt_i64 m = simt_tile() / blocks, n = simt_tile() % blocks * SIMT_THREADS + simt_thread();
   const simt_i64 all = gemm_num_rows(a) * columns;

#if !GEMM_QUANT /* whose groups are 32 threads that stay together */
   if (n >= columns)
      return;
#endif
   const int there = n < columns;
   const float *from = (const float *)a->ptr[GEMM_X] + (there ? m * columns + n : 0);
#ifdef GEMM_W2
   enum { WEIGHTS = 2 };
   float v2 = from[all];
   for (int i = 1; i < GEMM_SLICES; i++)
      v2 += from[(i * WEIGHTS + 1) * all];
#else
   enum { WEIGHTS = 1 };
#endif
   float v = from[0];
   for (int i = 1; i < GEMM_SLICES; i++)
      v += from[i * WEIGHTS * all];
   if (there) {
      const simt_i64 at = m * a->konst[C_Y_STRIDE] + n;
      (void)at;
      GEMM_STEPS
#if !GEMM_QUANT
      ((float *)a->ptr[0])[at] = v;
#endif
   }
#if GEMM_QUANT
   gemm_quant(a, there ? v : 0.0f, m, n, there);
#endif
}
#else
#if GEMM_INT8
#define GEMM_SHARED gemm_mma_int8_shared
#define GEMM_FETCH(to, k0) gemm_int8_fetch(a, &(to), x, x_scales, &r, k0)
#define GEMM_TILE(f, panel, stage, total) gemm_mma_int8_tile(f, panel, &s->in.x[stage], k0, total)
#else
#define GEMM_SHARED gemm_mma_shared
#define GEMM_FETCH(to, k0) gemm_mma_fetch(a, to, x, &r, k0)
#define GEMM_TILE(f, panel, stage, total) gemm_mma_tile(f, panel, s->in.x[stage], k0, depth, total)
#endif
typedef struct SIMT_PASTE(GEMM_NAME, _shared) {
   GEMM_SHARED in;
#if GEMM_QUANT
   float y[GEMM_TILE_ROWS][GEMM_TILE_COLUMNS];
#endif
} SIMT_PASTE(GEMM_NAME, _shared);

SIMT_WIDE_KERNEL(GEMM_NAME, GEMM_REGISTERS)
{
   SIMT_BEGIN(a);
   SIMT_SHARED(SIMT_PASTE(GEMM_NAME, _shared), s);
   const simt_i64 columns = a->konst[C_N];
   const simt_i64 column_tiles = (columns + GEMM_TILE_COLUMNS - 1) / GEMM_TILE_COLUMNS;
   const simt_i64 tile = GEMM_FORM == GEMM_part ? simt_tile() / GEMM_SLICES : simt_tile();
   const simt_i64 rest = tile / column_tiles, head = rest % a->konst[C_HEADS];
#if GEMM_GROUPED
   const gemm_rows r = gemm_slots(a, (const simt_i32 *)a->ptr[GEMM_ORDER],
                                  (const simt_i32 *)a->ptr[GEMM_ORDER + 1], rest);
   const simt_i64 matrix = r.expert < 0 ? 0 : r.expert;
   if (!r.count)
      return;
#else
   const simt_i64 m0 = rest / a->konst[C_HEADS] * GEMM_TILE_ROWS;
   const gemm_rows r = {0, m0, simt_least(GEMM_TILE_ROWS, gemm_num_rows(a) - m0), 1, 0};
   const simt_i64 matrix = head;
#endif
   const simt_i64 depth = r.expert < 0 ? 0 : a->konst[C_K];
   const simt_i64 slice = (depth + GEMM_SLICES * GEMM_TILE_K - 1) / (GEMM_SLICES * GEMM_TILE_K) * GEMM_TILE_K;
   const simt_i64 from = GEMM_FORM == GEMM_part ? simt_tile() % GEMM_SLICES * slice : 0;
   const simt_i64 to = GEMM_FORM == GEMM_part ? simt_least(from + slice, depth) : depth;
   const simt_i64 n0 = tile % column_tiles * GEMM_TILE_COLUMNS + simt_warp() * MMA_PANELS * PANEL_ROWS;
   const simt_u8 *x = (const simt_u8 *)a->ptr[GEMM_X] + head * a->konst[C_X_HEAD];
#if GEMM_INT8
   const simt_u8 *x_scales = (const simt_u8 *)a->ptr[GEMM_X + 1];
#endif
   const simt_u8 *w = (const simt_u8 *)a->ptr[GEMM_AT_W] + matrix * a->konst[C_W_HEAD] +
                      n0 / PANEL_ROWS * a->konst[C_PANEL_BYTES];
   float total[MMA_PANELS][MMA_TILES][4];
#ifdef GEMM_W2
   const simt_u8 *w2 = (const simt_u8 *)a->ptr[GEMM_AT_W + 1] + matrix * a->konst[C_W_HEAD2] +
                       n0 / PANEL_ROWS * a->konst[C_PANEL_BYTES2];
   float total2[MMA_PANELS][MMA_TILES][4];
#endif

   SIMT_UNROLL
   for (int i = 0; i < MMA_PANELS * MMA_TILES * 4; i++) {
      total[i / 4 / MMA_TILES][i / 4 % MMA_TILES][i % 4] = 0;
#ifdef GEMM_W2
      total2[i / 4 / MMA_TILES][i / 4 % MMA_TILES][i % 4] = 0;
#endif
   }
#if GEMM_SLICES > 1 && GEMM_FORM == GEMM_whole
   float before[MMA_PANELS][MMA_TILES][4]; /* the sum of slices that are done */
#ifdef GEMM_W2
   float before2[MMA_PANELS][MMA_TILES][4];
#endif
#endif
   /* Each tile is a group of copies, an empty one where there is no tile. */
   for (int i = 0; i < GEMM_STAGES - 1; i++)
      if (from + i * GEMM_TILE_K < to)
         GEMM_FETCH(s->in.x[i], from + i * GEMM_TILE_K);
      else
         simt_copy_end();
   for (simt_i64 k0 = from; k0 < to; k0 += GEMM_TILE_K) {
      const int number = (int)((k0 - from) / GEMM_TILE_K), stage = number % GEMM_STAGES;
      const simt_i64 next = k0 + (GEMM_STAGES - 1) * GEMM_TILE_K;
#if GEMM_SLICES > 1 && GEMM_FORM == GEMM_whole
      if (k0 && k0 % slice == 0) {
         SIMT_UNROLL
         for (int e = 0; e < MMA_PANELS * MMA_TILES * 4; e++) {
            const int p = e / 4 / MMA_TILES, t = e / 4 % MMA_TILES;
            gemm_mma_next(&before[p][t][e % 4], &total[p][t][e % 4], k0 == slice);
#ifdef GEMM_W2
            gemm_mma_next(&before2[p][t][e % 4], &total2[p][t][e % 4], k0 == slice);
#endif
         }
      }
#endif
      if (next < to)
         GEMM_FETCH(s->in.x[(number + GEMM_STAGES - 1) % GEMM_STAGES], next);
      else
         simt_copy_end();
      simt_copy_wait(GEMM_STAGES - 1);
      simt_sync(); /* what every thread has copied is there */
      SIMT_UNROLL
      for (int p = 0; p < MMA_PANELS; p++) {
         if (n0 + p * PANEL_ROWS >= columns)
            continue;
         GEMM_TILE(GEMM_W, w + p * a->konst[C_PANEL_BYTES], stage, total[p]);
#ifdef GEMM_W2
         GEMM_TILE(GEMM_W2, w2 + p * a->konst[C_PANEL_BYTES2], stage, total2[p]);
#endif
      }
      simt_sync(); /* it has been read, and may be written again */
   }
   SIMT_UNROLL
   for (int e = 0; e < MMA_PANELS * MMA_TILES * 4; e++) {
      const int p = e / 4 / MMA_TILES, t = e / 4 % MMA_TILES, i = e % 4;
      const int row = t * MMA_N + simt_mma_c_col(simt_lane(), i);
      const simt_i64 n = n0 + p * PANEL_ROWS + simt_mma_c_row(simt_lane(), i);
      float v = total[p][t][i];
      if (row >= r.count || n >= columns)
         continue;
#if GEMM_SLICES > 1 && GEMM_FORM == GEMM_whole
      v = depth > slice ? before[p][t][i] + v : v;
#endif
      const simt_i64 m = gemm_row(&r, row);
#if GEMM_FORM == GEMM_part
      const simt_i64 all = gemm_num_rows(a) * columns;
      float *part = (float *)a->ptr[0] + m * columns + n;
#ifdef GEMM_W2
      part[simt_tile() % GEMM_SLICES * 2 * all] = v;
      part[(simt_tile() % GEMM_SLICES * 2 + 1) * all] = total2[p][t][i];
#else
      part[simt_tile() % GEMM_SLICES * all] = v;
#endif
#else
      const simt_i64 at = m * a->konst[C_Y_STRIDE] + head * columns + n;
      (void)at;
#ifdef GEMM_W2
#if GEMM_SLICES > 1
      const float v2 = depth > slice ? before2[p][t][i] + total2[p][t][i] : total2[p][t][i];
#else
      const float v2 = total2[p][t][i];
#endif
#endif
      GEMM_STEPS
#if GEMM_QUANT
      s->y[row][n % GEMM_TILE_COLUMNS] = v;
#else
      ((float *)a->ptr[0])[at] = v;
#endif
#endif
   }
#if GEMM_QUANT
   gemm_quant_tile(a, s->y, &r, tile % column_tiles * GEMM_TILE_COLUMNS);
#endif
}
#undef GEMM_SHARED
#undef GEMM_FETCH
#undef GEMM_TILE
#endif
