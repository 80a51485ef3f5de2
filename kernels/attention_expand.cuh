/* attention_expand.cuh - latent attention of prompts on instructions of bytes: keys and values of a head are made of the latents
 * first. A template by inclusion.
 *
 *    part, block = chunk of 256 positions, head; one run (rows of one sequence) after the other:
 *       32 positions   keys [a x 32] | values [v x 32] = W C     bf16 instructions, f32 sums; then e4m3 in shared memory
 *       16 rows        S = K Q, weights, O = V P                 e4m3 instructions, 32 deep, f32 sums
 *       m, l, o[v] of the chunk, for each row, to memory
 *    merge, block = row, head: folds chunks in order
 *
 *    EXPAND_NAME, EXPAND_FORM        ATTENTION_expanded or ATTENTION_expanded_merge
 *    EXPAND_H, _A, _N, _V, _R        heads; elements of a key that are made and that a row holds, of a value, of a latent
 *    EXPAND_SCALE, EXPAND_SHARED     of scores; bytes of a block that base/attention.c counts on
 *    EXPAND_KEYS, EXPAND_VALUES      simt_format of the matrices; EXPAND_KEY_PANEL, EXPAND_VALUE_PANEL: bytes of 16 outputs
 *    EXPAND_LOAD_Q, EXPAND_STORE, EXPAND_LOAD_KV, EXPAND_KV_BYTES
 *    EXPAND_PARTS                    bf16 parts that hold an element of a latent
 *
 * Codes and bf16 parts are exact, so keys and values are f32 sums, of which each is rounded once (2^-4). Powers of two, of a query,
 * of a position's key and of its value, keep the largest at 2^7. Bits of a row depend on its own q and the positions that it sees:
 * columns never meet, and a position that is not seen weighs 0. One with a number that is not finite is NaN for those who see it,
 * nothing for others. */
#define EXPAND_FN(name) SIMT_PASTE(EXPAND_NAME, name)
#define EXPAND_ENTRY (EXPAND_V + 2) /* floats of a row and head: m, l, o */

#if EXPAND_FORM == ATTENTION_expanded

#define EXPAND_D (EXPAND_A + EXPAND_N)
#define EXPAND_SIDE 16
#define EXPAND_AT_ONCE 32
#define EXPAND_TILES (EXPAND_AT_ONCE / EXPAND_SIDE)
#define EXPAND_DEPTH 32
#define EXPAND_KEY_TILES (EXPAND_A / EXPAND_SIDE)
#define EXPAND_ALL_TILES ((EXPAND_A + EXPAND_V) / EXPAND_SIDE)
#define EXPAND_OWN_TILES ((EXPAND_ALL_TILES + SIMT_WARPS - 1) / SIMT_WARPS) /* of outputs, of a warp */
#define EXPAND_OWN_PAGES (ATTN_CHUNK / PAGE_TOKENS / SIMT_WARPS)
#define EXPAND_ROW ((EXPAND_R + EXPAND_N) * EXPAND_KV_BYTES)
#define EXPAND_EXPONENT 7
#define EXPAND_PAD 16
SIMT_ASSERT(SIMT_WARP == 64 && PAGE_TOKENS == EXPAND_SIDE);

typedef struct EXPAND_FN(_shared)
{
   simt_u8 k[ATTN_CHUNK][EXPAND_D + EXPAND_PAD];
   simt_u8 v[EXPAND_V][ATTN_CHUNK + EXPAND_PAD];
   simt_u8 q[EXPAND_SIDE][EXPAND_D + EXPAND_PAD];
   simt_u8 p[EXPAND_SIDE][ATTN_CHUNK + EXPAND_PAD];
   float key_one[ATTN_CHUNK], value_one[ATTN_CHUNK]; /* what a code of 1 stands for; NaN and 0: not finite; 0: not made */
   float most[2][SIMT_WARPS][EXPAND_AT_ONCE];        /* bits of the largest of a key, of a value */
   float top[SIMT_WARPS][EXPAND_SIDE], sum[SIMT_WARPS][EXPAND_SIDE];
   float factor[EXPAND_SIDE];
   simt_i32 last[EXPAND_SIDE];
}
EXPAND_FN(_shared);
SIMT_ASSERT(sizeof(EXPAND_FN(_shared)) == EXPAND_SHARED);

/* ---- keys and values ---- */

/* B: 16 elements of the latents of 16 positions, of which this lane has four of one; row NULL: zeros. */
SIMT_FN void EXPAND_FN(_latents)(const simt_u8 *row, int k, simt_u32 (*parts)[2])
{
   simt_u32 raw[EXPAND_KV_BYTES];

   SIMT_UNROLL
   for (int i = 0; i < EXPAND_KV_BYTES; i++)
      raw[i] = row ? ((const simt_u32 *)(row + (k + simt_mma_kb(simt_lane(), 0)) * EXPAND_KV_BYTES))[i] : 0;
   SIMT_UNROLL
   for (int i = 0; i < 2; i++) {
      float low = EXPAND_LOAD_KV(raw, 2 * i), high = EXPAND_LOAD_KV(raw, 2 * i + 1);
      SIMT_UNROLL
      for (int p = 0; p < EXPAND_PARTS; p++) {
         const simt_u32 lower = gemm_part(&low);
         parts[p][i] = lower | gemm_part(&high) << 16;
      }
   }
}

/* total += 16 outputs of a panel for the positions of `rows`. */
SIMT_FN void EXPAND_FN(_panel)(const simt_format f, const simt_u8 *panel, const simt_u8 *const *rows,
                               float (*total)[4])
{
   const int group = simt_group(f);

   for (int g = 0; g < EXPAND_R; g += group) {
      float sum[EXPAND_TILES][4], d[4], m;
      SIMT_UNROLL
      for (int e = 0; e < 4 * EXPAND_TILES; e++)
         sum[e / 4][e % 4] = 0;
      for (int k = g; k < g + group; k += EXPAND_SIDE) {
         simt_u32 w[MMA_A];
         gemm_mma_w(f, panel, k, EXPAND_R, 0, w);
         SIMT_UNROLL
         for (int t = 0; t < EXPAND_TILES; t++) {
            simt_u32 parts[EXPAND_PARTS][2];
            EXPAND_FN(_latents)(rows[t], k, parts);
            SIMT_UNROLL
            for (int p = EXPAND_PARTS - 1; p >= 0; p--)
               simt_mma(sum[t], w, parts[p]);
         }
      }
      SIMT_UNROLL
      for (int i = 0; i < 4; i++) {
         simt_group_scale(f, panel, g, simt_mma_c_row(simt_lane(), i), &d[i], &m);
         SIMT_UNROLL
         for (int t = 0; t < EXPAND_TILES; t++)
            total[t][i] = simt_fma(d[i], sum[t][i], total[t][i]);
      }
   }
}

/* The larger of two sizes, as bits, whose order is that of numbers; NaN is the largest. */
SIMT_FN simt_u32 EXPAND_FN(_larger)(simt_u32 most, float v)
{
   const simt_u32 bits = simt_bits(v) & 0x7fffffffu;

   return bits > most ? bits : most;
}

/* Over the lanes that share a position, then over warps (in shared memory). */
SIMT_FN void EXPAND_FN(_keep_largest)(simt_u32 most, float *to)
{
   for (int m = MMA_C_LANES; m < SIMT_WARP; m *= 2)
      most = EXPAND_FN(_larger)(most, simt_shfl_xor(simt_float(most), m));
   if (simt_lane() < MMA_C_LANES)
      to[simt_lane()] = simt_float(most);
}

SIMT_FN simt_u32 EXPAND_FN(_largest)(const float (*most)[EXPAND_AT_ONCE], int position)
{
   simt_u32 all = simt_bits(most[0][position]);

   for (int w = 1; w < SIMT_WARPS; w++)
      all = EXPAND_FN(_larger)(all, most[w][position]);
   return all;
}

/* Exponent of the largest number; 2^-112 and less are as small as nothing. */
SIMT_FN simt_u32 EXPAND_FN(_exponent)(simt_u32 most)
{
   return most >> 23 < 15 ? 15 : most >> 23;
}

SIMT_FN float EXPAND_FN(_up)(simt_u32 e)
{
   return simt_float((254 + EXPAND_EXPONENT - e) << 23);
}

SIMT_FN float EXPAND_FN(_one)(simt_u32 e)
{
   return simt_float((e - EXPAND_EXPONENT) << 23);
}

/* Codes of the warp's outputs of 16 positions, of which this lane has one; where one is not finite 0, as that times 0 is no 0. */
SIMT_FN void EXPAND_FN(_codes)(EXPAND_FN(_shared) * s, int slot, const simt_u8 *row, float (*total)[EXPAND_TILES][4],
                               int t, int finite, float key_up, float value_up)
{
   SIMT_UNROLL
   for (int o = 0; o < EXPAND_OWN_TILES; o++) {
      const int tile = simt_warp() + o * SIMT_WARPS, first = tile * EXPAND_SIDE + simt_mma_c_row(simt_lane(), 0);
      simt_u32 four = 0;

      SIMT_UNROLL
      for (int i = 0; finite && i < 4; i++)
         four |= (simt_u32)simt_to_f8(total[o][t][i] * (tile < EXPAND_KEY_TILES ? key_up : value_up)) << 8 * i;
      if (tile < EXPAND_KEY_TILES)
         *(simt_u32 *)&s->k[slot][first] = four;
      else if (tile < EXPAND_ALL_TILES)
         for (int i = 0; i < 4; i++)
            s->v[first + i - EXPAND_A][slot] = (simt_u8)(four >> 8 * i);
   }
   for (int c = simt_thread() / EXPAND_SIDE; c < EXPAND_N; c += SIMT_THREADS / EXPAND_SIDE)
      s->k[slot][EXPAND_A + c] = row && finite ? simt_to_f8(EXPAND_LOAD_KV(row, EXPAND_R + c) * key_up) : 0;
}

/* Keys and values of positions first … into places slot …; past the last one they are 0. */
SIMT_FN void EXPAND_FN(_positions)(const simt_args *a, EXPAND_FN(_shared) * s, const simt_i32 *table, simt_i64 h,
                                   simt_i64 first, int slot, simt_i64 last)
{
   const simt_u8 *keys = (const simt_u8 *)a->ptr[4] + h * EXPAND_KEY_TILES * EXPAND_KEY_PANEL;
   const simt_u8 *values = (const simt_u8 *)a->ptr[5] + h * (EXPAND_ALL_TILES - EXPAND_KEY_TILES) * EXPAND_VALUE_PANEL;
   float total[EXPAND_OWN_TILES][EXPAND_TILES][4];
   const simt_u8 *rows[EXPAND_TILES];

   SIMT_UNROLL
   for (int t = 0; t < EXPAND_TILES; t++) {
      const simt_i64 at = first + t * EXPAND_SIDE + simt_mma_n(simt_lane());
      rows[t] = 0;
      if (at <= last)
         rows[t] = attn_head(a->ptr[3], table, at, 0, 1, EXPAND_ROW * PAGE_TOKENS) + at % PAGE_TOKENS * EXPAND_ROW;
   }
   SIMT_UNROLL
   for (int o = 0; o < EXPAND_OWN_TILES; o++) {
      const int tile = simt_warp() + o * SIMT_WARPS;

      SIMT_UNROLL
      for (int e = 0; e < 4 * EXPAND_TILES; e++)
         total[o][e / 4][e % 4] = 0;
      if (tile < EXPAND_KEY_TILES)
         EXPAND_FN(_panel)(EXPAND_KEYS, keys + tile * EXPAND_KEY_PANEL, rows, total[o]);
      else if (tile < EXPAND_ALL_TILES)
         EXPAND_FN(_panel)(EXPAND_VALUES, values + (tile - EXPAND_KEY_TILES) * EXPAND_VALUE_PANEL, rows, total[o]);
   }
   SIMT_UNROLL
   for (int t = 0; t < EXPAND_TILES; t++) {
      simt_u32 key = 0, value = 0;

      for (int c = simt_thread() / EXPAND_SIDE; rows[t] && c < EXPAND_N; c += SIMT_THREADS / EXPAND_SIDE)
         key = EXPAND_FN(_larger)(key, EXPAND_LOAD_KV(rows[t], EXPAND_R + c));
      SIMT_UNROLL
      for (int e = 0; e < 4 * EXPAND_OWN_TILES; e++) {
         const int is_key = simt_warp() + e / 4 * SIMT_WARPS < EXPAND_KEY_TILES;
         key = is_key ? EXPAND_FN(_larger)(key, total[e / 4][t][e % 4]) : key;
         value = is_key ? value : EXPAND_FN(_larger)(value, total[e / 4][t][e % 4]);
      }
      EXPAND_FN(_keep_largest)(key, &s->most[0][simt_warp()][t * EXPAND_SIDE]);
      EXPAND_FN(_keep_largest)(value, &s->most[1][simt_warp()][t * EXPAND_SIDE]);
   }
   simt_sync(); /* the largest of each warp are there */
   SIMT_UNROLL
   for (int t = 0; t < EXPAND_TILES; t++) {
      const int own = t * EXPAND_SIDE + simt_mma_n(simt_lane());
      const simt_u32 key = EXPAND_FN(_largest)(s->most[0], own), value = EXPAND_FN(_largest)(s->most[1], own);
      const simt_u32 ke = EXPAND_FN(_exponent)(key), ve = EXPAND_FN(_exponent)(value);
      const int finite = ke < 255 && ve < 255;

      EXPAND_FN(_codes)(s, slot + own, rows[t], total, t, finite, EXPAND_FN(_up)(ke), EXPAND_FN(_up)(ve));
      if (simt_thread() < EXPAND_SIDE) {
         s->key_one[slot + own] = finite ? EXPAND_FN(_one)(ke) : simt_float(0x7fc00000u);
         s->value_one[slot + own] = finite ? EXPAND_FN(_one)(ve) : 0;
      }
   }
   simt_sync(); /* they have been read; keys and values are there */
}

/* All of a chunk up to the last position of the run; returns the largest value_one. */
SIMT_FN float EXPAND_FN(_chunk)(const simt_args *a, EXPAND_FN(_shared) * s, const simt_i32 *table, simt_i64 h,
                                simt_i64 base, simt_i64 last)
{
   float most = 0;

   simt_sync(); /* the run before has read its own */
   for (int i = simt_thread(); i < ATTN_CHUNK; i += SIMT_THREADS)
      s->key_one[i] = s->value_one[i] = 0;
   simt_sync();
   for (int slot = 0; slot < ATTN_CHUNK && base + slot <= last; slot += EXPAND_AT_ONCE)
      EXPAND_FN(_positions)(a, s, table, h, base + slot, slot, last);
   for (int i = simt_lane(); i < ATTN_CHUNK; i += SIMT_WARP)
      most = simt_max(most, s->value_one[i]);
   most = simt_warp_max(most);
   return most > 0 ? most : 1;
}

/* ---- rows ---- */

SIMT_FN float EXPAND_FN(_query)(const simt_args *a, simt_i64 head, int c)
{
   if (c < EXPAND_A)
      return EXPAND_LOAD_Q(a->ptr[1], head * EXPAND_A + c);
   return EXPAND_LOAD_Q(a->ptr[2], head * EXPAND_N + c - EXPAND_A);
}

/* Codes of the queries of `count` rows, a column each. */
SIMT_FN void EXPAND_FN(_queries)(const simt_args *a, EXPAND_FN(_shared) * s, simt_i64 h, simt_i64 row, int count)
{
   for (int n = simt_warp(); n < EXPAND_SIDE; n += SIMT_WARPS) {
      const int there = n < count;
      const simt_i64 head = there ? (row + n) * EXPAND_H + h : 0;
      float most = 0;

      for (int c = simt_lane(); there && c < EXPAND_D; c += SIMT_WARP)
         most = simt_max(most, simt_abs(EXPAND_FN(_query)(a, head, c)));
      most = simt_warp_max(most);
      const simt_u32 e = EXPAND_FN(_exponent)(simt_bits(most));
      for (int c = simt_lane(); c < EXPAND_D; c += SIMT_WARP)
         s->q[n][c] = there ? simt_to_f8(EXPAND_FN(_query)(a, head, c) * EXPAND_FN(_up)(e)) : 0;
      if (simt_lane() == 0) {
         s->last[n] = there ? ((const simt_i32 *)a->ptr[7])[row + n] : -1;
         s->factor[n] = e < 255 ? EXPAND_FN(_one)(e) * EXPAND_SCALE : simt_float(0x7fc00000u);
      }
   }
}

/* sum = A of `steps` depths times B; both lie along the depth. */
SIMT_FN void EXPAND_FN(_multiply)(const simt_u8 *a, int a_pitch, const simt_u8 *b, int b_pitch, int steps, float *sum)
{
   sum[0] = sum[1] = sum[2] = sum[3] = 0;
   a += simt_mma8_line(simt_lane()) * a_pitch;
   b += simt_mma8_line(simt_lane()) * b_pitch;
   for (int k = 0; k < steps; k++) {
      simt_u32 wa[2], wb[2];
      SIMT_UNROLL
      for (int i = 0; i < 2; i++) {
         wa[i] = *(const simt_u32 *)(a + k * EXPAND_DEPTH + simt_mma8_k(simt_lane(), i));
         wb[i] = *(const simt_u32 *)(b + k * EXPAND_DEPTH + simt_mma8_k(simt_lane(), i));
      }
      simt_mma_f8(sum, wa, wb);
   }
}

/* Scores of the chunk in the warp's own pages. high: the last position that any row sees. */
SIMT_FN void EXPAND_FN(_scores)(EXPAND_FN(_shared) * s, simt_i64 base, simt_i64 high, float (*score)[4])
{
   const int n = simt_mma_c_col(simt_lane(), 0);
   float top = -simt_float(0x7f800000u);

   SIMT_UNROLL
   for (int o = 0; o < EXPAND_OWN_PAGES; o++) {
      const int slot = (o * SIMT_WARPS + simt_warp()) * PAGE_TOKENS, there = base + slot <= high;

      if (there)
         EXPAND_FN(_multiply)(s->k[slot], EXPAND_D + EXPAND_PAD, s->q[0], EXPAND_D + EXPAND_PAD,
                              EXPAND_D / EXPAND_DEPTH, score[o]);
      SIMT_UNROLL
      for (int i = 0; i < 4; i++) {
         const int at = slot + simt_mma_c_row(simt_lane(), i);
         score[o][i] = there && base + at <= s->last[n] ? score[o][i] * s->factor[n] * s->key_one[at]
                                                        : -simt_float(0x7f800000u);
         top = simt_max(top, score[o][i]);
      }
   }
   top = simt_mma_column_max(top);
   if (simt_lane() < MMA_C_LANES)
      s->top[simt_warp()][n] = top;
}

SIMT_FN float EXPAND_FN(_top)(const EXPAND_FN(_shared) * s, int n)
{
   float top = s->top[0][n];

   for (int w = 1; w < SIMT_WARPS; w++)
      top = simt_max(top, s->top[w][n]);
   return top;
}

/* Scores to codes of weights, each times what its value's codes stand for (of most), and the sum of weights by warp. */
SIMT_FN void EXPAND_FN(_weights)(EXPAND_FN(_shared) * s, float (*score)[4], float most)
{
   const int n = simt_mma_c_col(simt_lane(), 0);
   const float top = EXPAND_FN(_top)(s, n), from = top == -simt_float(0x7f800000u) ? 0 : top;
   const float up = simt_float((127u + EXPAND_EXPONENT) << 23) / most;
   float sum = 0;

   SIMT_UNROLL
   for (int o = 0; o < EXPAND_OWN_PAGES; o++) {
      const int slot = (o * SIMT_WARPS + simt_warp()) * PAGE_TOKENS + simt_mma_c_row(simt_lane(), 0);
      simt_u32 four = 0;

      SIMT_UNROLL
      for (int i = 0; i < 4; i++) {
         const float v = simt_exp(score[o][i] - from);
         sum += v;
         four |= (simt_u32)simt_to_f8(v * (up * s->value_one[slot + i])) << 8 * i;
      }
      *(simt_u32 *)&s->p[n][slot] = four;
   }
   sum = simt_mma_column_sum(sum);
   if (simt_lane() < MMA_C_LANES)
      s->sum[simt_warp()][n] = sum;
}

/* m, l and o of rows row … of one run. */
SIMT_FN void EXPAND_FN(_rows)(const simt_args *a, EXPAND_FN(_shared) * s, simt_i64 chunk, simt_i64 h, simt_i64 row,
                              int count, float most)
{
   const simt_i64 base = chunk * ATTN_CHUNK, high = ((const simt_i32 *)a->ptr[7])[row + count - 1];
   const simt_i64 seen = simt_least(high + 1 - base, ATTN_CHUNK);
   float score[EXPAND_OWN_PAGES][4];

   simt_sync(); /* the rows before have been read */
   EXPAND_FN(_queries)(a, s, h, row, count);
   simt_sync(); /* queries are there */
   EXPAND_FN(_scores)(s, base, high, score);
   simt_sync(); /* the largest scores of each warp are there */
   EXPAND_FN(_weights)(s, score, most);
   simt_sync(); /* weights are there */
   float *to = (float *)a->ptr[0] + ((chunk * a->step[SYM_T] + row) * EXPAND_H + h) * EXPAND_ENTRY;
   if (simt_thread() < count) {
      float *own = to + simt_thread() * (simt_i64)(EXPAND_H * EXPAND_ENTRY), sum = s->sum[0][simt_thread()];
      for (int w = 1; w < SIMT_WARPS; w++)
         sum += s->sum[w][simt_thread()];
      own[0] = EXPAND_FN(_top)(s, simt_thread());
      own[1] = sum;
   }
   const int n = simt_mma_c_col(simt_lane(), 0);
   for (int tile = simt_warp(); tile < EXPAND_V / EXPAND_SIDE; tile += SIMT_WARPS) {
      float sum[4];
      EXPAND_FN(_multiply)(s->v[tile * EXPAND_SIDE], ATTN_CHUNK + EXPAND_PAD, s->p[0], ATTN_CHUNK + EXPAND_PAD,
                           (int)((seen + EXPAND_DEPTH - 1) / EXPAND_DEPTH), sum);
      for (int i = 0; n < count && i < 4; i++)
         to[n * (simt_i64)(EXPAND_H * EXPAND_ENTRY) + 2 + tile * EXPAND_SIDE + simt_mma_c_row(simt_lane(), i)] =
            sum[i] * (simt_float((127u - EXPAND_EXPONENT) << 23) * most);
   }
}

SIMT_WIDE_KERNEL(EXPAND_NAME, 512)
{
   SIMT_BEGIN(a);
   SIMT_SHARED(EXPAND_FN(_shared), s);
   const simt_i64 chunk = simt_tile() / EXPAND_H, h = simt_tile() % EXPAND_H;
   const simt_i32 *runs = (const simt_i32 *)a->ptr[6], *positions = (const simt_i32 *)a->ptr[7];

   for (simt_i64 q = 0; q < a->step[SYM_Q]; q++) {
      const simt_i64 first = runs[2 * q], count = runs[2 * q + 1], last = count > 0 ? positions[first + count - 1] : -1;
      const simt_i32 *table = (const simt_i32 *)a->ptr[9];

      if (last < chunk * ATTN_CHUNK)
         continue;
      table += ((const simt_i32 *)a->ptr[8])[first] * a->step[SYM_B];
      const float most = EXPAND_FN(_chunk)(a, s, table, h, chunk * ATTN_CHUNK, last);
      for (simt_i64 r = 0; r < count; r += EXPAND_SIDE) {
         const int many = (int)simt_least(EXPAND_SIDE, count - r);
         if (positions[first + r + many - 1] >= chunk * ATTN_CHUNK)
            EXPAND_FN(_rows)(a, s, chunk, h, first + r, many, most);
      }
   }
}

#undef EXPAND_D
#undef EXPAND_SIDE
#undef EXPAND_AT_ONCE
#undef EXPAND_TILES
#undef EXPAND_DEPTH
#undef EXPAND_KEY_TILES
#undef EXPAND_ALL_TILES
#undef EXPAND_OWN_TILES
#undef EXPAND_OWN_PAGES
#undef EXPAND_ROW
#undef EXPAND_EXPONENT
#undef EXPAND_PAD

#else

SIMT_KERNEL(EXPAND_NAME)
{
   enum { WIDE = (EXPAND_V + SIMT_THREADS - 1) / SIMT_THREADS };
   SIMT_BEGIN(a);
   const simt_i64 last = ((const simt_i32 *)a->ptr[2])[simt_tile() / EXPAND_H], rows = a->step[SYM_T];
   float o[WIDE], m = -simt_float(0x7f800000u), l = 0, old, add;

   SIMT_UNROLL
   for (int i = 0; i < WIDE; i++)
      o[i] = 0;
   for (simt_i64 c = 0; c <= last / ATTN_CHUNK; c++) {
      const float *from = (const float *)a->ptr[1] + (c * rows * EXPAND_H + simt_tile()) * EXPAND_ENTRY;
      attn_fold_column(&m, &l, from[0], from[1], &old, &add);
      SIMT_UNROLL
      for (int i = 0; i < WIDE; i++)
         if (simt_thread() + i * SIMT_THREADS < EXPAND_V)
            o[i] = simt_fma(o[i], old, from[2 + simt_thread() + i * SIMT_THREADS] * add);
   }
   SIMT_UNROLL
   for (int i = 0; i < WIDE; i++)
      if (simt_thread() + i * SIMT_THREADS < EXPAND_V)
         EXPAND_STORE(a->ptr[0], simt_tile() * EXPAND_V + simt_thread() + i * SIMT_THREADS, o[i] / l);
}

#endif
#undef EXPAND_FN
#undef EXPAND_ENTRY
#undef EXPAND_NAME
#undef EXPAND_FORM
#undef EXPAND_H
#undef EXPAND_A
#undef EXPAND_N
#undef EXPAND_V
#undef EXPAND_R
#undef EXPAND_SCALE
#undef EXPAND_SHARED
#undef EXPAND_KEYS
#undef EXPAND_VALUES
#undef EXPAND_KEY_PANEL
#undef EXPAND_VALUE_PANEL
#undef EXPAND_LOAD_Q
#undef EXPAND_STORE
#undef EXPAND_LOAD_KV
#undef EXPAND_KV_BYTES
#undef EXPAND_PARTS
