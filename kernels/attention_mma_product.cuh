/* attention_mma_product.cuh - attention on matrix instructions, its second part: from slices of keys to weights, and from those and
 * slices of values to the sums of a chunk. */
#if ATTN_FORM != ATTENTION_merge

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

#endif
