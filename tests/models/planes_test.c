// LINK: models ir base
/* Rows that are put together from codes and scales, or from matrices stored the other way round. */
#include "base/quant.h"
#include "models/model.h"

#include <criterion/criterion.h>
#include <math.h>

/* Bytes and values recorded from the format's own reader. Kills: the order of nibbles, the scale's
 * exponent, codes of another group. */
Test(planes, mxfp4_pairs)
{
   static const uint8_t blocks[2][16] = {
      {0},
      {0x5d, 0x24, 0xe1, 0x51, 0x05, 0x5b, 0xf4, 0x0a, 0xf8, 0x3a, 0x0a, 0xf6, 0x4a, 0xf0, 0x40,
       0x5c},
   };
   static const uint8_t scales[2] = {127, 125};
   static const float want[32] = {-0.75f, 0.75f, 0.5f,    0.25f,  0.125f, -1.0f, 0.125f, 0.75f,
                                  0.75f,  0,     -0.375f, 0.75f,  0.5f,   -1.5f, -0.25f, 0,
                                  0,      -1.5f, -0.25f,  0.375f, -0.25f, 0,     1,      -1.5f,
                                  -0.25f, 0.5f,  0,       -1.5f,  0,      0.5f,  -0.5f,  0.75f};
   model_tensor t = {.dtype = DT_mxfp4, .rank = 3, .dim = {2, 1, 32}, .data = blocks[0]};
   uint8_t scratch[17];
   float y[32];

   t.layout = (model_layout){.kind = MODEL_ROWS_mxfp4, .scales = scales};
   cr_assert_eq(model_tensor_row_bytes(&t), 17);
   cr_assert_eq(model_tensor_rows(&t), 2);
   quant_to_f32(DT_mxfp4, model_tensor_row(&t, 1, scratch), 32, y);
   for (int i = 0; i < 32; i++)
      cr_expect_eq(y[i], want[i], "%d: %g", i, y[i]);
}

enum { E = 2, N = 5, K = 300, BLOCK_ROWS = 2 };

static float f8_scale(dtype t, int block, uint8_t *at)
{
   double v = t == DT_u8 ? ldexp(1, block - 5) : 0.5 + 0.125 * block;

   if (t == DT_u8)
      *at = (uint8_t)(block - 5 + 127);
   else
      dtype_store(t, at, &v, 1);
   return (float)v;
}

/* E matrices of N x K in blocks of 2 x 256; `step` of their rows. Kills: scales of the neighbour's
 * block, edge blocks counted short, a stack's second matrix with the first one's scales. */
static void check_f8(dtype scale_type, bool in_parts, uint64_t first, uint64_t step)
{
   static uint8_t codes[E * N * K], scales[E * 3 * 2 * 4], scratch[K + 12];
   const uint8_t *parts[E], *scale_parts[E];
   const uint32_t bytes = dtype_infos[scale_type].bytes;
   float scale[E * 3 * 2], y[K];
   double code;

   for (int i = 0; i < E * N * K; i++)
      codes[i] = (uint8_t)(i * 37 % 126 | (i & 128));
   for (int i = 0; i < E * 3 * 2; i++)
      scale[i] = f8_scale(scale_type, i, scales + (uint32_t)i * bytes);
   for (int e = 0; e < E; e++) {
      parts[e] = codes + e * N * K;
      scale_parts[e] = scales + (uint32_t)e * 6 * bytes;
   }
   uint64_t rows = (N - first + step - 1) / step;
   model_tensor t = {.dtype = DT_f8_128, .rank = 3, .dim = {E, rows, K}, .data = codes};
   t.layout = (model_layout){.kind = MODEL_ROWS_f8,
                             .stored = N,
                             .first = first,
                             .step = step,
                             .scale_type = scale_type,
                             .block_rows = BLOCK_ROWS,
                             .block_cols = 256,
                             .scales = scales};
   if (in_parts) {
      t.data = t.layout.scales = NULL;
      t.parts = parts;
      t.layout.scale_parts = scale_parts;
   }
   for (uint64_t r = 0; r < E * rows; r++) {
      uint64_t e = r / rows, i = first + r % rows * step;
      quant_to_f32(DT_f8_128, model_tensor_row(&t, r, scratch), K, y);
      for (uint64_t k = 0; k < K; k++) {
         dtype_load(DT_f8e4m3, &codes[(e * N + i) * K + k], 1, &code);
         float want = (float)code * scale[(e * 3 + i / BLOCK_ROWS) * 2 + k / 256];
         cr_assert_eq(y[k], want, "row %d element %d: %g, not %g", (int)r, (int)k, y[k], want);
      }
   }
}

Test(planes, f8_blocks)
{
   static const dtype types[] = {DT_f32, DT_bf16, DT_f16, DT_u8};

   for (size_t i = 0; i < countof(types); i++)
      check_f8(types[i], i % 2, i / 2, 1 + i % 3);
}

/* Kills: rows and columns swapped, a stack that walks through the wrong matrix. */
Test(planes, transposed)
{
   static uint16_t stored[2][3][4]; /* K = 3, N = 4 */
   uint16_t row[3];
   model_tensor t = {.dtype = DT_bf16, .rank = 3, .dim = {2, 2, 3}, .data = (uint8_t *)stored};

   t.layout = (model_layout){.kind = MODEL_ROWS_transposed, .stored = 4, .first = 1, .step = 2};
   for (int i = 0; i < 24; i++)
      (&stored[0][0][0])[i] = (uint16_t)i;
   for (uint64_t r = 0; r < 4; r++) {
      const uint16_t *got = model_tensor_row(&t, r, row);
      for (int k = 0; k < 3; k++)
         cr_expect_eq(got[k], stored[r / 2][k][1 + 2 * (r % 2)]);
   }
}
