// LINK: base
/* Block formats against bytes and values recorded from the formats' own reader. */
#include "recorded.h"

#include "base/quant.h"

#include <math.h>
#include <stdlib.h>

static size_t from_hex(const json *j, uint8_t *out)
{
   for (size_t i = 0; i < j->len / 2; i++) {
      char pair[3] = {j->string[2 * i], j->string[2 * i + 1], 0};
      out[i] = (uint8_t)strtoul(pair, NULL, 16);
   }
   return j->len / 2;
}

/* Kills: a swapped nibble order, a wrong 6-bit scale split, a lost sign of scale or minimum,
 * another iq4 table. */
Test(quant, recorded_blocks)
{
   arena *a;
   cr_assert_eq(arena_create(&a), SINTER_ok);
   json *all = recorded(a, "quant_blocks.json");

   cr_assert_eq(all->len, 13);
   for (size_t i = 0; i < all->len; i++) {
      const json *c = all->items[i];
      dtype t = dtype_from_gguf((uint32_t)json_get(c, "type_id")->integer);
      uint8_t block[256];
      float y[256];

      cr_assert_neq(t, DT_none, "%s", all->keys[i]);
      cr_assert_eq(from_hex(json_get(c, "hex"), block), dtype_infos[t].bytes, "%s", all->keys[i]);
      quant_to_f32(t, block, dtype_infos[t].block, y);
      const json *first = json_get(c, "dequant_first8"), *last = json_get(c, "dequant_last4");
      for (size_t k = 0; k < first->len; k++)
         cr_expect_eq(y[k], (float)first->items[k]->number, "%s[%zu]", all->keys[i], k);
      for (size_t k = 0; k < last->len; k++)
         cr_expect_eq(y[dtype_infos[t].block - last->len + k], (float)last->items[k]->number,
                      "%s end %zu", all->keys[i], k);
   }
   arena_destroy(a);
}

/* Kills: planes that hold for quant_to_f32's own use only: the formula of quant.h, evaluated here
 * in f64, must give the f32 value after one rounding, and codes, scales and minima must stay within
 * their stated ranges. */
Test(quant, planes_give_the_values)
{
   uint32_t seed = 1;

   for (int t = 1; t < DT_COUNT; t++) {
      if (dtype_infos[t].kind != DTYPE_BLOCK)
         continue;
      for (int round = 0; round < 50; round++) {
         uint8_t block[256];
         float y[256];
         quant_planes p;

         for (uint32_t i = 0; i < dtype_infos[t].bytes; i++)
            block[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
         quant_planes_of((dtype)t, block, &p);
         if (!isfinite(p.d) || !isfinite(p.dmin))
            continue;
         quant_to_f32((dtype)t, block, dtype_infos[t].block, y);
         for (uint32_t i = 0; i < dtype_infos[t].block; i++) {
            uint32_t s = i / p.sub_block;
            double v = (double)p.d * p.scale[s] * p.code[i] - (double)p.dmin * p.min[s];
            cr_assert_eq(y[i], (float)v, "%s[%u]", dtype_infos[t].name, i);
            cr_assert(p.code[i] >= -128 && p.code[i] <= 255);
         }
      }
   }
}

/* Kills: plain types taken as raw f32, or only the first part of a long row converted. */
Test(quant, plain_types_are_widened)
{
   uint16_t half[1000];
   float y[1000];

   for (int i = 0; i < 1000; i++)
      half[i] = bf16_from_f32((float)(i - 500));
   quant_to_f32(DT_bf16, half, 1000, y);
   for (int i = 0; i < 1000; i++)
      cr_assert_eq(y[i], bf16_to_f32(half[i]));
   cr_assert_eq(y[0], -500.0f);
   cr_assert_eq(y[999], bf16_to_f32(bf16_from_f32(499.0f)));
}
