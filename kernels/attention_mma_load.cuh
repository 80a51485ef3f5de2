/* attention_mma_load.cuh - attention.cuh on matrix instructions, its first part: parameters, the block and what it reads.
 * Behind it come attention_mma_product.cuh and attention_mma.cuh, and attention_end.cuh, which forgets the parameters.
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
#ifndef ATTENTION_MMA_LOAD_CUH
#define ATTENTION_MMA_LOAD_CUH

enum {
   ATTN_SIDE = 16, /* rows of the instruction, and positions of a page */
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
      return ATTN_LOAD_Q(a->ptr[ATTN_IN], head * ATTN_Q + c);
   return ATTN_LOAD_Q(a->ptr[ATTN_IN + ATTN_LATENT], head * (ATTN_D - ATTN_Q) + c - ATTN_Q);
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

#endif
