// LINK: base
/* Panels: packing is lossless for every layout, whatever the number of rows. */
#include "base/pack.h"
#include "base/quant.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static uint64_t state = 88172645463325252u;

static uint32_t rnd(void)
{
   state ^= state << 13;
   state ^= state >> 7;
   state ^= state << 17;
   return (uint32_t)(state >> 16);
}

typedef struct matrix {
   uint8_t *bytes;
   uint64_t stride;
} matrix;

static const void *row_of(void *user, uint64_t r)
{
   matrix *m = user;

   return m->bytes + r * m->stride;
}

/* Offsets of the f16 fields of a block, so that random blocks hold no NaN. */
static void finite_halves(dtype t, uint8_t *block)
{
   static const struct {
      dtype t;
      int at[2];
   } fields[] = {
      {DT_q4_0, {0, 0}}, {DT_q4_1, {0, 2}},     {DT_q5_0, {0, 0}},     {DT_q5_1, {0, 2}},
      {DT_q8_0, {0, 0}}, {DT_q2_k, {80, 82}},   {DT_q3_k, {108, 108}}, {DT_q4_k, {0, 2}},
      {DT_q5_k, {0, 2}}, {DT_q6_k, {208, 208}}, {DT_iq4_nl, {0, 0}},   {DT_iq4_xs, {0, 0}},
   };

   for (size_t i = 0; i < countof(fields); i++)
      for (int j = 0; j < 2 && fields[i].t == t; j++) {
         uint16_t h = (uint16_t)(rnd() & 0xbbff); /* exponent without its top bit */
         memcpy(block + fields[i].at[j], &h, 2);
      }
   if (t == DT_mxfp4)
      block[0] = (uint8_t)(rnd() % 255); /* 255 is NaN */
}

/* An f32 scale, and codes without NaN. */
static void finite_scaled(dtype t, uint8_t *row, uint64_t cols)
{
   for (uint64_t k = 0; k < cols; k += dtype_infos[t].block) {
      uint64_t n = MIN(cols - k, (uint64_t)dtype_infos[t].block);
      float scale = (float)(rnd() & 0xffff) / 65536;
      memcpy(row, &scale, sizeof scale);
      for (uint64_t i = 0; i < n; i++)
         row[4 + i] &= row[4 + i] % 128 == 127 ? 0xfe : 0xff;
      row += 4 + n;
   }
}

static matrix random_matrix(dtype t, uint64_t rows, uint64_t cols)
{
   const dtype_info *d = &dtype_infos[t];
   matrix m = {0};

   cr_assert(dtype_size(t, cols, &m.stride));
   m.bytes = malloc(rows * m.stride);
   for (uint64_t i = 0; i < rows * m.stride; i++)
      m.bytes[i] = (uint8_t)rnd();
   for (uint64_t r = 0; r < rows && d->kind == DTYPE_SCALED; r++)
      finite_scaled(t, m.bytes + r * m.stride, cols);
   for (uint64_t i = 0; i < rows * m.stride && d->kind != DTYPE_SCALED; i += d->bytes) {
      finite_halves(t, m.bytes + i);
      if (d->kind == DTYPE_FLOAT) /* no NaN: clear an exponent bit */
         m.bytes[i + d->bytes - 1] &= 0xbf;
   }
   return m;
}

static uint8_t *pack_all(panel_layout l, dtype t, uint64_t rows, uint64_t cols, matrix *m,
                         uint64_t *size)
{
   cr_assert(pack_size(l, rows, cols, size));
   uint8_t *out = malloc(*size);
   memset(out, 0xee, *size);
   pack_panels(l, t, rows, cols, 0, (rows + PANEL_ROWS - 1) / PANEL_ROWS, row_of, m, out);
   return out;
}

/* Kills: any wrong plane, nibble, scale or min position, of any layout and row. */
static void check_lossless(dtype t, uint64_t rows, uint64_t cols)
{
   panel_layout l = pack_layout_of(t);
   matrix m = random_matrix(t, rows, cols);
   float *want = malloc(cols * sizeof *want), *got = malloc(cols * sizeof *got);
   uint64_t size;
   uint8_t *packed = pack_all(l, t, rows, cols, &m, &size);

   for (uint64_t r = 0; r < rows; r++) {
      quant_to_f32(t, row_of(&m, r), cols, want);
      pack_unpack_row(l, packed, rows, cols, r, got);
      cr_assert(memcmp(want, got, cols * sizeof *want) == 0, "%s row %d of %d", dtype_infos[t].name,
                (int)r, (int)rows);
   }
   free(packed);
   free(m.bytes);
   free(want);
   free(got);
}

Test(pack, lossless)
{
   static const uint64_t row_counts[] = {1, 15, 16, 17, 33};

   for (int t = 0; t < DT_COUNT; t++)
      for (size_t i = 0; i < countof(row_counts) && pack_layout_of((dtype)t); i++)
         check_lossless((dtype)t, row_counts[i], 2 * MAX(dtype_infos[t].block, 5));
   for (uint64_t cols = 1; cols < 400; cols += 57) /* short last blocks */
      check_lossless(DT_f8_128, 19, cols);
}

/* Kills: bits left out of a top that are not the lowest, a value above the weight's own, a negative
 * factor that stays. */
Test(pack, top)
{
   enum { ROWS = 33, COLS = 96 };
   matrix m = random_matrix(DT_q8_0, ROWS, COLS);
   panel_layout top = pack_top_of(DT_q8_0);
   uint64_t size;
   uint8_t *packed = pack_all(top, DT_q8_0, ROWS, COLS, &m, &size);
   float own[COLS], got[COLS];

   cr_assert(top == PANEL_q8_0_top && pack_layout_of(DT_q8_0) == PANEL_q8_0);
   cr_assert(pack_top_of(DT_q4_0) == PANEL_none && pack_top_of(DT_none) == PANEL_none);
   for (uint64_t r = 0; r < ROWS; r++) {
      quant_to_f32(DT_q8_0, row_of(&m, r), COLS, own);
      pack_unpack_row(top, packed, ROWS, COLS, r, got);
      for (uint64_t k = 0; k < COLS; k++) {
         const uint8_t *block = m.bytes + r * m.stride + k / 32 * 34;
         uint16_t h;
         memcpy(&h, block, sizeof h);
         int code = (int8_t)block[2 + k % 32], kept = ((code + 128) & ~3) - 128;
         float d = f16_to_f32(h);
         cr_assert(d < 0 ? isnan(got[k]) : got[k] == d * (float)kept && got[k] <= own[k],
                   "row %d element %d: %g", (int)r, (int)k, (double)got[k]);
      }
   }
   free(packed);
   free(m.bytes);
}

/* Kills: a NaN code that comes out as a number, or spoils another row or block. */
Test(pack, f8_nan)
{
   matrix m = random_matrix(DT_f8_128, 16, 300);
   float y[300];
   uint64_t size;

   m.bytes[3 * m.stride + 132 + 4 + 7] = 0xff; /* row 3, element 135 */
   uint8_t *packed = pack_all(PANEL_f8_128, DT_f8_128, 16, 300, &m, &size);
   for (uint64_t r = 0; r < 16; r++) {
      pack_unpack_row(PANEL_f8_128, packed, 16, 300, r, y);
      for (int k = 0; k < 300; k++)
         cr_assert_eq(y[k] != y[k], r == 3 && k / 128 == 1, "row %d element %d", (int)r, k);
   }
   free(packed);
   free(m.bytes);
}

/* Kills: a weight type of the table without a layout. */
Test(pack, every_weight_type_has_a_layout)
{
   for (int t = 0; t < DT_COUNT; t++)
      if (dtype_infos[t].kind == DTYPE_BLOCK) {
         cr_assert(pack_layout_of((dtype)t), "%s", dtype_infos[t].name);
         cr_assert(pack_quant_group((dtype)t) == 32);
      }
   cr_assert(pack_layout_of(DT_f32) == PANEL_f32 && pack_layout_of(DT_bf16) == PANEL_bf16);
   cr_assert(pack_layout_of(DT_none) == PANEL_none && pack_quant_group(DT_f16) == 0);
}

/* Kills: panels that depend on which thread packed them, or on what the memory held before. */
Test(pack, panels_are_independent)
{
   for (int t = 0; t < DT_COUNT; t++) {
      panel_layout l = pack_layout_of((dtype)t);
      uint64_t rows = 50, cols = 2 * MAX(dtype_infos[t].block, 3), size, panel;
      if (!l)
         continue;
      matrix m = random_matrix((dtype)t, rows, cols);
      uint8_t *all = pack_all(l, (dtype)t, rows, cols, &m, &size), *one = calloc(1, size);
      cr_assert(pack_panel_size(l, cols, &panel) && size == 4 * panel);
      for (uint64_t i = 4; i-- > 0;)
         pack_panels(l, (dtype)t, rows, cols, i, 1, row_of, &m, one + i * panel);
      cr_assert(memcmp(all, one, size) == 0, "%s", dtype_infos[t].name);
      free(all);
      free(one);
      free(m.bytes);
   }
}

/* Kills: accepting columns that do not fill blocks; overflow of the size. */
Test(pack, sizes)
{
   uint64_t size;

   cr_assert(pack_size(PANEL_q4_1, 17, 64, &size) && size == 2 * 2 * 320);
   cr_assert(pack_size(PANEL_q4_k, 16, 256, &size) && size == 2368);
   cr_assert(pack_size(PANEL_q6_k, 16, 256, &size) && size == 3360);
   cr_assert(pack_size(PANEL_f16, 1, 7, &size) && size == 7 * 32);
   cr_assert(!pack_size(PANEL_q4_1, 16, 33, &size));
   cr_assert(!pack_size(PANEL_q4_k, 16, 128, &size));
   cr_assert(!pack_size(PANEL_f32, UINT64_MAX / 8, UINT64_MAX / 8, &size));
   cr_assert(!pack_size(PANEL_none, 16, 32, &size));
}

/* Kills: rows layout that pads or reorders. */
Test(pack, rows_layout_copies)
{
   matrix m = random_matrix(DT_f16, 19, 6);
   uint8_t out[19 * 12];

   pack_panels(PANEL_rows, DT_f16, 19, 6, 0, 2, row_of, &m, out);
   cr_assert(memcmp(out, m.bytes, sizeof out) == 0);
   free(m.bytes);
}
