/* attention_mma.cuh - attention.cuh on matrix instructions; a template by inclusion with its forms, pointers and chunks.
 *
 *    S [16 positions x columns] = K [16 x depth elements] Q      a page of keys is the matrix A of the instruction
 *    O [16 elements x columns] += V [16 x depth positions] P     depth 16: a page of values; 32: two
 *
 *    the parameters of attention.cuh but ATTN_BLOCK, ATTN_LOAD_KV; and
 *    ATTN_COLS      row-heads of a block, a multiple of MMA_N: of the rows of an attention tile and the heads of one kv head
 *    ATTN_KV_CODES  1: keys and values are e4m3 codes
 *    ATTN_KIND      ATTENTION_PARTS_bf16, _f16, _f8: the type of the instruction, depth 32 for f8
 *
 * Keys and values go into the instruction as they are stored; f16 holds e4m3 codes, too. Queries and weights are split into parts, of
 * f16 two, of bf16 three, which leave out no more than 2^-22 of them; of f8 there is one, which is a rounding (2^-4). Powers
 * of two keep the parts normal numbers. The bits
 * of a row depend on its own q and its visible positions: columns never meet, a position that is not seen weighs 0, and which
 * warp and which step of a sum a position belongs to follows from its number. So all forms have the same bits, for any split of a prompt.
 * Slices, what one instruction takes, come by asynchronous copies, ATTN_AHEAD of them ahead of a warp. */
#ifndef ATTENTION_MMA_CUH
#define ATTENTION_MMA_CUH

enum {
   ATTN_SIDE = 16, /* rows of the instruction, and positions of a page */
   ATTN_AHEAD = 3,
   ATTN_STAGES = ATTN_AHEAD + 1,
   ATTN_PAGES = ATTN_CHUNK / PAGE_TOKENS,
   ATTN_OWN = ATTN_PAGES / SIMT_WARPS, /* pages of a chunk that a warp scores */
   ATTN_PAD = 16                       /* bytes behind a line: lanes read different banks */
};
SIMT_ASSERT(PAGE_TOKENS == ATTN_SIDE);

/* Rows and heads of a block, and which of its chunk's pages any row sees. */
typedef struct attn_block {
   simt_i64 row0, g, number; /* of the tile's first row; kv head; first row-head of the tile's */
   int count;
   simt_i64 low, high, all_from, all_to; /* positions that a row sees, and that all see */
   simt_i64 page0, page1;
} attn_block;

/* The next slice that a warp fetches: which of its pages or column tiles, which part of that. */
typedef struct attn_cursor {
   int own, slice;
   simt_i64 part;
} attn_cursor;

/* Over the 16 rows of a column of the instruction's C, whose own elements are folded already. */
SIMT_FN float simt_mma_column_max(float v)
{
   for (int m = MMA_C_LANES; m < SIMT_WARP; m *= 2)
      v = simt_max(v, simt_shfl_xor(v, m));
   return v;
}

SIMT_FN float simt_mma_column_sum(float v)
{
   for (int m = MMA_C_LANES; m < SIMT_WARP; m *= 2)
      v += simt_shfl_xor(v, m);
   return v;
}

/* Folds the chunk into m and l of a column, and says what becomes of its o: old o + add o_c. */
SIMT_FN void attn_fold_column(float *m, float *l, float mc, float lc, float *old, float *add)
{
   *old = 1;
   *add = 0;
   if (mc == -simt_float(0x7f800000u))
      return; /* its row sees nothing of the chunk */
   const float top = simt_max(*m, mc);
   *old = simt_exp(*m - top);
   *add = simt_exp(mc - top);
   *m = top;
   *l = simt_fma(*l, *old, lc * *add);
}

/* `lines` lines of `bytes` each, those past `there` as zeros. */
SIMT_FN void attn_lines(simt_u8 *to, int pitch, int lines, const simt_u8 *from, simt_i64 stride, int bytes,
                        int there)
{
   const int units = bytes / 16;

   for (int i = simt_lane(); i < lines * units; i += SIMT_WARP)
      simt_copy16(to + i / units * pitch + i % units * 16, from + i / units * stride + i % units * 16,
                  i / units < there);
}

#endif

#define ATTN_PER_KV (ATTN_H / ATTN_G)
#define ATTN_BLOCKS ((ATTN_ROWS * ATTN_PER_KV + ATTN_COLS - 1) / ATTN_COLS)
#define ATTN_ENTRY (ATTN_COLS * (ATTN_V + 2)) /* floats that a part leaves: m, l, o of each column */
#define ATTN_F8 (ATTN_KIND == ATTENTION_PARTS_f8)
#define ATTN_PARTS (ATTN_F8 ? 1 : ATTN_KIND == ATTENTION_PARTS_f16 ? 2 : 3)
#define ATTN_DEPTH (ATTN_F8 ? 32 : 16)
#define ATTN_EXPONENT (ATTN_F8 ? 7 : 14) /* of the largest query and weight, when they are split */
#define ATTN_UP simt_float((127u + ATTN_EXPONENT) << 23)
#define ATTN_DOWN simt_float((127u - ATTN_EXPONENT) << 23)
#define ATTN_NT (ATTN_COLS / MMA_N)
#define ATTN_SLICES (ATTN_D / ATTN_DEPTH) /* of a page of keys */
#define ATTN_CT ((ATTN_V / ATTN_SIDE + SIMT_WARPS - 1) / SIMT_WARPS) /* tiles of columns of a value, of a warp */
/* Lines whose number is the depth are 16 elements long, those along which it runs as long as the depth. */
#define ATTN_LINE (ATTN_SIDE * ATTN_KV_BYTES)
#define ATTN_PITCH (ATTN_LINE + ATTN_PAD)
#define ATTN_LONG (ATTN_DEPTH * ATTN_KV_BYTES)
#define ATTN_LONG_PITCH (ATTN_LONG + ATTN_PAD)
#define ATTN_Q_PITCH (ATTN_D + ATTN_PAD / (int)sizeof(ATTN_FN(_part_bits)))
#define ATTN_P_PITCH (ATTN_CHUNK + ATTN_PAD / (int)sizeof(ATTN_FN(_part_bits)))
#define ATTN_FN(name) SIMT_PASTE(ATTN_NAME, name)

#if ATTN_F8
typedef simt_u8 ATTN_FN(_part_bits);
#else
typedef simt_u16 ATTN_FN(_part_bits);
#endif

typedef struct ATTN_FN(_shared)
{
   simt_u8 slice[SIMT_WARPS][ATTN_STAGES][ATTN_DEPTH * ATTN_PITCH]; /* or ATTN_SIDE * ATTN_LONG_PITCH, which is not more */
   ATTN_FN(_part_bits) q[ATTN_PARTS][ATTN_COLS][ATTN_Q_PITCH];
   ATTN_FN(_part_bits) p[ATTN_PARTS][ATTN_COLS][ATTN_P_PITCH];
   float top[SIMT_WARPS][ATTN_COLS], sum[SIMT_WARPS][ATTN_COLS];
   float factor[ATTN_COLS], m[ATTN_COLS], l[ATTN_COLS], old[ATTN_COLS], add[ATTN_COLS];
   float bad[ATTN_COLS]; /* NaN when a value that it sees was taken out, else 0 */
   simt_i32 first[ATTN_COLS], last[ATTN_COLS];
}
ATTN_FN(_shared);

/* The block of number `number`, without its pages; count is below 1 where it has no row. */
SIMT_FN attn_block ATTN_FN(_block)(simt_i64 number, const void *tiles, const void *positions)
{
   const simt_i32 *tile = (const simt_i32 *)tiles + number / (ATTN_BLOCKS * ATTN_G) * 2;
   attn_block b;

   b.number = number % ATTN_BLOCKS * ATTN_COLS;
   b.g = number / ATTN_BLOCKS % ATTN_G;
   b.row0 = tile[0];
   b.count = (int)simt_least(ATTN_COLS, (simt_i64)tile[1] * ATTN_PER_KV - b.number);
   b.low = b.high = b.all_from = b.all_to = b.page0 = b.page1 = 0;
   for (int r = 0; b.count > 0 && r <= (b.number + b.count - 1) / ATTN_PER_KV; r++) {
      const simt_i64 last = ((const simt_i32 *)positions)[b.row0 + r];
      const simt_i64 first = ATTN_WINDOW && last + 1 > ATTN_WINDOW ? last + 1 - ATTN_WINDOW : 0;
      if (r < b.number / ATTN_PER_KV)
         continue;
      b.low = r == b.number / ATTN_PER_KV ? first : simt_least(b.low, first);
      b.all_to = r == b.number / ATTN_PER_KV ? last : simt_least(b.all_to, last);
      b.high = simt_most(b.high, last);
      b.all_from = simt_most(b.all_from, first);
   }
   return b;
}

SIMT_FN simt_i64 ATTN_FN(_row)(const attn_block *b, int column)
{
   return b->row0 + (b->number + column) / ATTN_PER_KV;
}

SIMT_FN simt_i64 ATTN_FN(_head)(const attn_block *b, int column)
{
   return b->g * ATTN_PER_KV + (b->number + column) % ATTN_PER_KV;
}

#if ATTN_FORM != ATTENTION_merge

SIMT_FN float ATTN_FN(_query)(const simt_args *a, simt_i64 head, int c)
{
   if (c < ATTN_Q)
      return ATTN_LOAD_Q(a->ptr[1], head * ATTN_Q + c);
   return ATTN_LOAD_Q(a->ptr[ATTN_LATENT ? 2 : 1], head * (ATTN_D - ATTN_Q) + c - ATTN_Q);
}

/* Takes the next part off v. */
SIMT_FN ATTN_FN(_part_bits) ATTN_FN(_part)(float *v)
{
#if ATTN_F8
   return simt_to_f8(*v);
#elif ATTN_KIND == ATTENTION_PARTS_f16
   const simt_u16 part = simt_to_f16(*v);

   *v = *v - simt_f16(part);
   return part;
#else
   const simt_u32 part = simt_bits(*v) & 0xffff0000u;

   *v = *v - simt_float(part);
   return (simt_u16)(part >> 16);
#endif
}

/* Queries in parts, and what each column sees; then no chunk so far. */
SIMT_FN void ATTN_FN(_queries)(const simt_args *a, const attn_block *b, ATTN_FN(_shared) * s, const void *positions,
                               const void *sinks)
{
   for (int n = simt_warp(); n < ATTN_COLS; n += SIMT_WARPS) {
      const int there = n < b->count;
      const simt_i64 head = there ? ATTN_FN(_row)(b, n) * ATTN_H + ATTN_FN(_head)(b, n) : 0;
      float most = 0;

      for (int c = simt_lane(); there && c < ATTN_D; c += SIMT_WARP)
         most = simt_max(most, simt_abs(ATTN_FN(_query)(a, head, c)));
      most = simt_warp_max(most);
      simt_u32 e = simt_bits(most) >> 23;
      e = e < 15 ? 15 : e; /* 2^-112 and less are as small as nothing */
      const float up = simt_float((254 + ATTN_EXPONENT - e) << 23);
      for (int c = simt_lane(); c < ATTN_D; c += SIMT_WARP) {
         float v = there ? ATTN_FN(_query)(a, head, c) * up : 0;
         SIMT_UNROLL
         for (int k = 0; k < ATTN_PARTS; k++)
            s->q[k][n][c] = ATTN_FN(_part)(&v);
      }
      if (simt_lane() == 0) {
         const simt_i32 last = there ? ((const simt_i32 *)positions)[ATTN_FN(_row)(b, n)] : -1;
         s->last[n] = last;
         s->first[n] = ATTN_WINDOW && last + 1 > ATTN_WINDOW ? (simt_i32)(last + 1 - ATTN_WINDOW) : 0;
         s->factor[n] = simt_float((e - ATTN_EXPONENT) << 23) * ATTN_SCALE;
         s->m[n] = -simt_float(0x7f800000u);
         s->l[n] = 0;
         s->bad[n] = 0;
#if ATTN_SINKS
         if (there) {
            s->m[n] = ((const float *)sinks)[ATTN_FN(_head)(b, n)];
            s->l[n] = 1;
         }
#endif
      }
   }
   simt_sync();
}

#if !ATTN_F8
/* Element e of line `line` of a slice, as bits of a part's type. */
SIMT_FN simt_u32 ATTN_FN(_element)(const simt_u8 *slice, int line, int e)
{
#if ATTN_KV_CODES
   return simt_to_f16(simt_f8(slice[line * ATTN_PITCH + e]));
#else
   return *(const simt_u16 *)(slice + line * ATTN_PITCH + 2 * e);
#endif
}
#endif

/* A whose depth goes over the lines of a slice (across), or along them. */
SIMT_FN void ATTN_FN(_a)(const simt_u8 *slice, int across, simt_u32 *out)
{
   SIMT_UNROLL
   for (int i = 0; i < MMA_A; i++) {
#if ATTN_F8
      const int row = simt_mma8_line(simt_lane()), k = simt_mma8_k(simt_lane(), i);
      out[i] = 0;
      if (!across)
         out[i] = *(const simt_u32 *)(slice + row * ATTN_LONG_PITCH + k);
      for (int b = 0; across && b < 4; b++)
         out[i] |= (simt_u32)slice[(k + b) * ATTN_PITCH + row] << 8 * b;
#else
      const int row = simt_mma_row(simt_lane(), i), k = simt_mma_ka(simt_lane(), i);
      out[i] = across ? ATTN_FN(_element)(slice, k, row) : ATTN_FN(_element)(slice, row, k);
      out[i] |= (across ? ATTN_FN(_element)(slice, k + 1, row) : ATTN_FN(_element)(slice, row, k + 1)) << 16;
#endif
   }
}

/* sum += A times the lines of each part from k0 on, the smallest part first. parts: [ATTN_PARTS][ATTN_COLS][pitch]. */
SIMT_FN void ATTN_FN(_multiply)(const simt_u32 *w, const ATTN_FN(_part_bits) * parts, int pitch, int k0,
                                float (*sum)[4])
{
   SIMT_UNROLL
   for (int t = 0; t < ATTN_NT; t++) {
      SIMT_UNROLL
      for (int k = ATTN_PARTS - 1; k >= 0; k--) {
         simt_u32 b[2];
#if ATTN_F8
         const simt_u8 *column = parts + (k * ATTN_COLS + t * MMA_N + simt_mma8_line(simt_lane())) * pitch + k0;
         b[0] = *(const simt_u32 *)(column + simt_mma8_k(simt_lane(), 0));
         b[1] = *(const simt_u32 *)(column + simt_mma8_k(simt_lane(), 1));
         simt_mma_f8(sum[t], w, b);
#else
         const simt_u16 *column = parts + (k * ATTN_COLS + t * MMA_N + simt_mma_n(simt_lane())) * pitch + k0;
         b[0] = *(const simt_u32 *)(column + simt_mma_kb(simt_lane(), 0));
         b[1] = *(const simt_u32 *)(column + simt_mma_kb(simt_lane(), 1));
#if ATTN_KIND == ATTENTION_PARTS_f16
         simt_mma_f16(sum[t], w, b);
#else
         simt_mma(sum[t], w, b);
#endif
#endif
      }
   }
}

/* The next slice of keys: its page's next elements; then of the warp's next page. */
SIMT_FN void ATTN_FN(_fetch_keys)(const attn_block *b, ATTN_FN(_shared) * s, const void *pages, const simt_i32 *table,
                                  simt_i64 chunk, attn_cursor *c)
{
   enum { HEAD_BYTES = (ATTN_LATENT ? 1 : 2) * ATTN_D * PAGE_TOKENS * ATTN_KV_BYTES };
   const simt_i64 page = chunk * ATTN_PAGES + c->own * SIMT_WARPS + simt_warp();

   if (c->own < ATTN_OWN && page >= b->page0 && page < b->page1) {
      const simt_u8 *head = attn_head(pages, table, page * PAGE_TOKENS, b->g, ATTN_G, HEAD_BYTES);
      simt_u8 *to = s->slice[simt_warp()][c->slice % ATTN_STAGES];
#if ATTN_LATENT
      attn_lines(to, ATTN_LONG_PITCH, ATTN_SIDE, head + c->part * ATTN_LONG, ATTN_D * ATTN_KV_BYTES, ATTN_LONG,
                 ATTN_SIDE);
#else
      attn_lines(to, ATTN_PITCH, ATTN_DEPTH, head + c->part * ATTN_DEPTH * ATTN_LINE, ATTN_LINE, ATTN_LINE,
                 ATTN_DEPTH);
#endif
   }
   simt_copy_end();
   c->slice++;
   if (++c->part == ATTN_SLICES) {
      c->part = 0;
      c->own++;
   }
}

/* The next slice of values: 16 columns of the next page or two; then of the warp's next columns. */
SIMT_FN void ATTN_FN(_fetch_values)(const attn_block *b, ATTN_FN(_shared) * s, const void *pages, const simt_i32 *table,
                                    simt_i64 first, int steps, attn_cursor *c)
{
   enum { HEAD_BYTES = (ATTN_LATENT ? 1 : 2) * ATTN_D * PAGE_TOKENS * ATTN_KV_BYTES };
   const int tile = simt_warp() + c->own * SIMT_WARPS;

   for (int half = 0; tile < ATTN_V / ATTN_SIDE && half < ATTN_DEPTH / ATTN_SIDE; half++) {
      const simt_i64 page = first + c->part * (ATTN_DEPTH / ATTN_SIDE) + half;
      const int there = page >= b->page0 && page < b->page1; /* others are not read: zeros */
      const simt_u8 *head =
         attn_head(pages, table, (there ? page : b->page0) * PAGE_TOKENS, b->g, ATTN_G, HEAD_BYTES);
      attn_lines(s->slice[simt_warp()][c->slice % ATTN_STAGES] + half * ATTN_SIDE * ATTN_PITCH, ATTN_PITCH, ATTN_SIDE,
                 head + (ATTN_LATENT ? 0 : ATTN_D * PAGE_TOKENS * ATTN_KV_BYTES) + tile * ATTN_LINE,
                 ATTN_D * ATTN_KV_BYTES, ATTN_LINE,
                 there ? (int)simt_least(ATTN_SIDE, b->high + 1 - page * PAGE_TOKENS) : 0);
   }
   simt_copy_end();
   c->slice++;
   if (++c->part == steps) {
      c->part = 0;
      c->own++;
   }
}

/* Dot products of a page become scores: scaled, capped, masked. */
SIMT_FN void ATTN_FN(_score)(const ATTN_FN(_shared) * s, simt_i64 page, int there, const float (*dots)[4],
                             float (*score)[4])
{
   SIMT_UNROLL
   for (int e = 0; e < ATTN_NT * 4; e++) {
      const int t = e / 4, i = e % 4, n = t * MMA_N + simt_mma_c_col(simt_lane(), i);
      const simt_i64 at = page * PAGE_TOKENS + simt_mma_c_row(simt_lane(), i);
      float v = dots[t][i] * s->factor[n];
#if ATTN_CAPPED
      v = simt_softcap(v, ATTN_CAP);
#endif
      score[t][i] = there && at >= s->first[n] && at <= s->last[n] ? v : -simt_float(0x7f800000u);
   }
}

/* Scores of the chunk, in the warp's own pages. */
SIMT_FN void ATTN_FN(_scores)(const attn_block *b, ATTN_FN(_shared) * s, const void *pages, const simt_i32 *table,
                              simt_i64 chunk, float (*score)[ATTN_NT][4])
{
   attn_cursor next = {0, 0, 0};
   int slice = 0;

   for (int i = 0; i < ATTN_AHEAD; i++)
      ATTN_FN(_fetch_keys)(b, s, pages, table, chunk, &next);
   SIMT_UNROLL
   for (int o = 0; o < ATTN_OWN; o++) {
      const simt_i64 page = chunk * ATTN_PAGES + o * SIMT_WARPS + simt_warp();
      const int there = page >= b->page0 && page < b->page1;
      float dots[ATTN_NT][4];

      SIMT_UNROLL
      for (int e = 0; e < ATTN_NT * 4; e++)
         dots[e / 4][e % 4] = 0;
      for (int k = 0; k < ATTN_SLICES; k++, slice++) {
         simt_u32 w[MMA_A];
         simt_copy_wait(ATTN_AHEAD - 1);
         simt_sync_warp(); /* the slice is there, and the one before it has been read */
         ATTN_FN(_fetch_keys)(b, s, pages, table, chunk, &next);
         if (!there)
            continue;
         ATTN_FN(_a)(s->slice[simt_warp()][slice % ATTN_STAGES], !ATTN_LATENT, w);
         ATTN_FN(_multiply)(w, &s->q[0][0][0], ATTN_Q_PITCH, k * ATTN_DEPTH, dots);
      }
      ATTN_FN(_score)(s, page, there, dots, score[o]);
   }
}

/* The largest score of each column of the chunk, of -inf 0: what exponents are taken from. */
SIMT_FN float ATTN_FN(_top)(const ATTN_FN(_shared) * s, int n)
{
   float top = s->top[0][n];

   for (int w = 1; w < SIMT_WARPS; w++)
      top = simt_max(top, s->top[w][n]);
   return top;
}

/* Scores to weights in parts, and their sum by warp. */
SIMT_FN void ATTN_FN(_weights)(ATTN_FN(_shared) * s, float (*score)[ATTN_NT][4])
{
   SIMT_UNROLL
   for (int e = 0; e < ATTN_NT * MMA_C_COLS; e++) {
      const int t = e / MMA_C_COLS, i0 = e % MMA_C_COLS, n = t * MMA_N + simt_mma_c_col(simt_lane(), i0);
      float most = -simt_float(0x7f800000u);
      SIMT_UNROLL
      for (int k = 0; k < ATTN_OWN * 4 / MMA_C_COLS; k++)
         most = simt_max(most, score[k * MMA_C_COLS / 4][t][k * MMA_C_COLS % 4 + i0]);
      most = simt_mma_column_max(most);
      if (simt_lane() < MMA_C_LANES)
         s->top[simt_warp()][n] = most;
   }
   simt_sync();
   SIMT_UNROLL
   for (int e = 0; e < ATTN_NT * MMA_C_COLS; e++) {
      const int t = e / MMA_C_COLS, i0 = e % MMA_C_COLS, n = t * MMA_N + simt_mma_c_col(simt_lane(), i0);
      const float top = ATTN_FN(_top)(s, n), from = top == -simt_float(0x7f800000u) ? 0 : top;
      float sum = 0;
      SIMT_UNROLL
      for (int k = 0; k < ATTN_OWN * 4 / MMA_C_COLS; k++) {
         const int o = k * MMA_C_COLS / 4, i = k * MMA_C_COLS % 4 + i0;
         const int at = (o * SIMT_WARPS + simt_warp()) * PAGE_TOKENS + simt_mma_c_row(simt_lane(), i);
         float v = simt_exp(score[o][t][i] - from);
         sum += v;
         v = v * ATTN_UP;
         SIMT_UNROLL
         for (int part = 0; part < ATTN_PARTS; part++)
            s->p[part][n][at] = ATTN_FN(_part)(&v);
      }
      sum = simt_mma_column_sum(sum);
      if (simt_lane() < MMA_C_LANES)
         s->sum[simt_warp()][n] = sum;
   }
   simt_sync();
}

SIMT_FN float ATTN_FN(_sum)(const ATTN_FN(_shared) * s, int n)
{
   float sum = s->sum[0][n];

   for (int w = 1; w < SIMT_WARPS; w++)
      sum += s->sum[w][n];
   return sum;
}

/* Takes numbers that are not finite out of values of positions which not all rows see: times a weight of 0 they would be NaN in the
 * others. Who sees one gets NaN. at: position of the first line. */
SIMT_FN void ATTN_FN(_take_out)(const attn_block *b, ATTN_FN(_shared) * s, simt_i64 at, simt_u32 *w)
{
   enum { BITS = ATTN_F8 ? 8 : 16, EACH = 32 / BITS };
   const simt_u32 infinite = ATTN_F8 ? 0x7f : ATTN_KIND == ATTENTION_PARTS_f16 ? 0x7c00 : 0x7f80;

   SIMT_UNROLL
   for (int i = 0; i < MMA_A; i++) {
      SIMT_LOOP
      for (int e = 0; e < EACH; e++) {
#if ATTN_F8
         const simt_i64 line = at + simt_mma8_k(simt_lane(), i) + e;
#else
         const simt_i64 line = at + simt_mma_ka(simt_lane(), i) + e;
#endif
         if ((w[i] >> e * BITS & infinite) != infinite || (line >= b->all_from && line <= b->all_to))
            continue;
         w[i] &= ~((0xffffffffu >> (32 - BITS)) << e * BITS);
         SIMT_LOOP
         for (int n = 0; n < ATTN_COLS; n++)
            if (line >= s->first[n] && line <= s->last[n])
               s->bad[n] = simt_float(0x7fc00000u);
      }
   }
}

/* What the warp's columns of values weigh in the chunk. */
SIMT_FN void ATTN_FN(_weigh)(const attn_block *b, ATTN_FN(_shared) * s, const void *pages, const simt_i32 *table,
                             simt_i64 chunk, float (*oc)[ATTN_NT][4])
{
   enum { EACH = ATTN_DEPTH / ATTN_SIDE }; /* pages of an instruction, counted from the chunk's first on */
   const simt_i64 first = b->page0 / EACH * EACH;
   const int steps = (int)((b->page1 - first + EACH - 1) / EACH);
   attn_cursor next = {0, 0, 0};
   int slice = 0;

   for (int i = 0; i < ATTN_AHEAD; i++)
      ATTN_FN(_fetch_values)(b, s, pages, table, first, steps, &next);
   SIMT_UNROLL
   for (int o = 0; o < ATTN_CT; o++) {
      SIMT_UNROLL
      for (int e = 0; e < ATTN_NT * 4; e++)
         oc[o][e / 4][e % 4] = 0;
      for (int k = 0; k < steps; k++, slice++) {
         simt_u32 w[MMA_A];
         simt_copy_wait(ATTN_AHEAD - 1);
         simt_sync_warp(); /* as for keys */
         ATTN_FN(_fetch_values)(b, s, pages, table, first, steps, &next);
         if (simt_warp() + o * SIMT_WARPS >= ATTN_V / ATTN_SIDE)
            continue;
         ATTN_FN(_a)(s->slice[simt_warp()][slice % ATTN_STAGES], 1, w);
         const simt_i64 at = first * PAGE_TOKENS + k * ATTN_DEPTH;
         if (at < b->all_from || at + ATTN_DEPTH - 1 > b->all_to)
            ATTN_FN(_take_out)(b, s, at, w);
         ATTN_FN(_multiply)(w, &s->p[0][0][0], ATTN_P_PITCH,
                            (int)(first - chunk * ATTN_PAGES) * PAGE_TOKENS + k * ATTN_DEPTH, oc[o]);
      }
      SIMT_UNROLL
      for (int e = 0; e < ATTN_NT * 4; e++)
         oc[o][e / 4][e % 4] = oc[o][e / 4][e % 4] * ATTN_DOWN;
   }
}

/* m, l and o of one chunk, the first two by column in shared memory. */
SIMT_FN void ATTN_FN(_chunk)(attn_block *b, ATTN_FN(_shared) * s, const void *pages, const simt_i32 *table,
                             simt_i64 chunk, float (*oc)[ATTN_NT][4])
{
   float score[ATTN_OWN][ATTN_NT][4];

   b->page0 = simt_most(chunk * ATTN_PAGES, b->low / PAGE_TOKENS);
   b->page1 = simt_least((chunk + 1) * ATTN_PAGES, b->high / PAGE_TOKENS + 1);
   ATTN_FN(_scores)(b, s, pages, table, chunk, score);
   ATTN_FN(_weights)(s, score);
   ATTN_FN(_weigh)(b, s, pages, table, chunk, oc);
}

/* Of element e of the warp's sums: its column, and where in a value it lies (ATTN_V or more: nowhere). */
SIMT_FN int ATTN_FN(_column)(int e)
{
   return e / 4 % ATTN_NT * MMA_N + simt_mma_c_col(simt_lane(), e % 4);
}

SIMT_FN int ATTN_FN(_value)(int e)
{
   return (simt_warp() + e / (4 * ATTN_NT) * SIMT_WARPS) * ATTN_SIDE + simt_mma_c_row(simt_lane(), e % 4);
}

#endif

SIMT_KERNEL(ATTN_NAME)
{
   enum {
      P = ATTN_FORM == ATTENTION_merge ? 2 + ATTN_SINKS : 3 + ATTN_LATENT + ATTN_SINKS, /* tiles */
      OUTS = ATTN_CT * ATTN_NT * 4,
      WIDE = (ATTN_V + SIMT_THREADS - 1) / SIMT_THREADS
   };
   SIMT_BEGIN(a);
#if ATTN_FORM == ATTENTION_merge
   /* a block is a column: its number is that of the parts, times their columns */
   const int n = (int)(simt_tile() % ATTN_COLS);
   const attn_block b = ATTN_FN(_block)(simt_tile() / ATTN_COLS, a->ptr[P], a->ptr[P + 1]);
   if (n >= b.count)
      return;
   const simt_i64 row = ATTN_FN(_row)(&b, n), head = ATTN_FN(_head)(&b, n);
   const simt_i64 last = ((const simt_i32 *)a->ptr[P + 1])[row];
   const simt_i64 first = ATTN_WINDOW && last + 1 > ATTN_WINDOW ? last + 1 - ATTN_WINDOW : 0;
   float o[WIDE], m = -simt_float(0x7f800000u), l = 0, old, add;

#if ATTN_SINKS
   m = ((const float *)a->ptr[P - 1])[head];
   l = 1;
#endif
   SIMT_UNROLL
   for (int i = 0; i < WIDE; i++)
      o[i] = 0;
   for (simt_i64 c = first / ATTN_CHUNK; c <= last / ATTN_CHUNK; c++) {
      const float *from =
         (const float *)a->ptr[1] + (simt_tile() / ATTN_COLS * a->step[SYM_C] + c) * ATTN_ENTRY;
      attn_fold_column(&m, &l, from[n], from[ATTN_COLS + n], &old, &add);
      SIMT_UNROLL
      for (int i = 0; i < WIDE; i++)
         if (simt_thread() + i * SIMT_THREADS < ATTN_V)
            o[i] = simt_fma(o[i], old,
                            from[2 * ATTN_COLS + n * ATTN_V + simt_thread() + i * SIMT_THREADS] * add);
   }
   SIMT_UNROLL
   for (int i = 0; i < WIDE; i++)
      if (simt_thread() + i * SIMT_THREADS < ATTN_V)
         ATTN_STORE(a->ptr[0], (row * ATTN_H + head) * ATTN_V + simt_thread() + i * SIMT_THREADS, o[i] / l);
#else
   SIMT_SHARED(ATTN_FN(_shared), s);
   const void *pages = a->ptr[2 + ATTN_LATENT], *positions = a->ptr[P + 1];
#if ATTN_FORM == ATTENTION_part
   const simt_i64 chunks = a->step[SYM_C], chunk = simt_tile() % chunks;
   attn_block b = ATTN_FN(_block)(simt_tile() / chunks, a->ptr[P], positions);
   if (b.count < 1 || chunk < b.low / ATTN_CHUNK || chunk > b.high / ATTN_CHUNK)
      return;
#else
   attn_block b = ATTN_FN(_block)(simt_tile(), a->ptr[P], positions);
   if (b.count < 1)
      return;
#endif
   const simt_i32 *table = (const simt_i32 *)a->ptr[P + 3] +
                           ((const simt_i32 *)a->ptr[P + 2])[b.row0] * a->step[SYM_B];
   float oc[ATTN_CT][ATTN_NT][4];
   ATTN_FN(_queries)(a, &b, s, positions, a->ptr[P - 1]);
#if ATTN_FORM == ATTENTION_part
   ATTN_FN(_chunk)(&b, s, pages, table, chunk, oc);
   simt_sync(); /* what was taken out is known */
   float *to = (float *)a->ptr[0] + simt_tile() * ATTN_ENTRY;
   if (simt_thread() < ATTN_COLS) {
      to[simt_thread()] = ATTN_FN(_top)(s, simt_thread());
      to[ATTN_COLS + simt_thread()] = ATTN_FN(_sum)(s, simt_thread()) + s->bad[simt_thread()];
   }
   SIMT_UNROLL
   for (int e = 0; e < OUTS; e++)
      if (ATTN_FN(_value)(e) < ATTN_V)
         to[2 * ATTN_COLS + ATTN_FN(_column)(e) * ATTN_V + ATTN_FN(_value)(e)] =
            oc[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4];
#else
   float o[ATTN_CT][ATTN_NT][4];
   SIMT_UNROLL
   for (int e = 0; e < OUTS; e++)
      o[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4] = 0;
   for (simt_i64 c = b.low / ATTN_CHUNK; c <= b.high / ATTN_CHUNK; c++) {
      ATTN_FN(_chunk)(&b, s, pages, table, c, oc);
      if (simt_thread() < ATTN_COLS) {
         const int n = simt_thread();
         attn_fold_column(&s->m[n], &s->l[n], ATTN_FN(_top)(s, n), ATTN_FN(_sum)(s, n), &s->old[n],
                          &s->add[n]);
      }
      simt_sync(); /* what is folded how is there, and the weights have been read */
      SIMT_UNROLL
      for (int e = 0; e < OUTS; e++) {
         const int n = ATTN_FN(_column)(e);
         float *own = &o[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4];
         *own = simt_fma(*own, s->old[n], oc[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4] * s->add[n]);
      }
   }
   SIMT_UNROLL
   for (int e = 0; e < OUTS; e++) {
      const int n = ATTN_FN(_column)(e), c = ATTN_FN(_value)(e);
      if (n < b.count && c < ATTN_V)
         ATTN_STORE(a->ptr[0], (ATTN_FN(_row)(&b, n) * ATTN_H + ATTN_FN(_head)(&b, n)) * ATTN_V + c,
                    o[e / 4 / ATTN_NT][e / 4 % ATTN_NT][e % 4] / (s->l[n] + s->bad[n]));
   }
#endif
#endif
}
#undef ATTN_PER_KV
#undef ATTN_BLOCKS
#undef ATTN_ENTRY
#undef ATTN_F8
#undef ATTN_PARTS
#undef ATTN_DEPTH
#undef ATTN_EXPONENT
#undef ATTN_UP
#undef ATTN_DOWN
#undef ATTN_NT
#undef ATTN_SLICES
#undef ATTN_CT
#undef ATTN_LINE
#undef ATTN_PITCH
#undef ATTN_LONG
#undef ATTN_LONG_PITCH
#undef ATTN_Q_PITCH
#undef ATTN_P_PITCH
#undef ATTN_FN
#undef ATTN_NAME
#undef ATTN_FORM
#undef ATTN_H
#undef ATTN_G
#undef ATTN_D
#undef ATTN_V
#undef ATTN_Q
#undef ATTN_COLS
#undef ATTN_WINDOW
#undef ATTN_SCALE
#undef ATTN_CAPPED
#undef ATTN_CAP
#undef ATTN_SINKS
#undef ATTN_LATENT
#undef ATTN_LOAD_Q
#undef ATTN_STORE
#undef ATTN_KV_BYTES
#undef ATTN_KV_CODES
#undef ATTN_KIND
