/* rows.c - rows of a checkpoint's tensors in the form of their type. Most lie in the file so; those
 * whose codes and scales are two tensors, or whose matrices are stored the other way round, are put
 * together row by row. */
#include "model.h"

#include <math.h>

#include "base/quant.h"

uint64_t model_tensor_rows(const model_tensor *t)
{
   uint64_t n = 1;

   for (uint32_t i = 0; i + 1 < t->rank; i++)
      n *= t->dim[i];
   return n;
}

uint64_t model_tensor_row_bytes(const model_tensor *t)
{
   uint64_t bytes;

   return dtype_size(t->dtype, t->rank ? t->dim[t->rank - 1] : 1, &bytes) ? bytes : 0;
}

/* One stored row: matrix e of the stack, row `at` of the `stored` rows of it. */
typedef struct place {
   const model_tensor *t;
   uint64_t e, at, stored, cols;
} place;

/* The stored matrix, when each of them takes `bytes`. */
static const uint8_t *matrix_of(const place *p, uint64_t bytes)
{
   return p->t->parts ? p->t->parts[p->e] : p->t->data + p->e * bytes;
}

static const uint8_t *scales_of(const place *p, uint64_t bytes)
{
   const model_layout *l = &p->t->layout;

   return l->scale_parts ? l->scale_parts[p->e] : l->scales + p->e * bytes;
}

static float scale_at(dtype t, const uint8_t *scales, uint64_t i)
{
   double v;

   if (t == DT_u8) /* e8m0 */
      return scales[i] == 255 ? NAN : ldexpf(1, scales[i] - 127);
   dtype_load(t, scales + i * dtype_infos[t].bytes, 1, &v);
   return (float)v;
}

static uint64_t ceil_div(uint64_t n, uint64_t by)
{
   return n / by + (n % by != 0);
}

/* An f32 scale in front of every 128 codes. */
static void f8_row(const place *p, uint8_t *dst)
{
   const model_layout *l = &p->t->layout;
   const uint64_t down = ceil_div(p->stored, l->block_rows);
   const uint64_t across = ceil_div(p->cols, l->block_cols);
   const uint8_t *scales = scales_of(p, down * across * dtype_infos[l->scale_type].bytes);
   const uint8_t *codes = matrix_of(p, p->stored * p->cols) + p->at * p->cols;
   const uint64_t first = p->at / l->block_rows * across;

   for (uint64_t k = 0; k < p->cols; k += MODEL_F8_BLOCK) {
      const uint64_t n = MIN(p->cols - k, (uint64_t)MODEL_F8_BLOCK);
      const float scale = scale_at(l->scale_type, scales, first + k / l->block_cols);
      memcpy(dst, &scale, sizeof scale);
      memcpy(dst + sizeof scale, codes + k, n);
      dst += sizeof scale + n;
   }
}

/* From even element low, odd one high, to the order of GGUF: j low, j + 16 high. */
static void mxfp4_row(const place *p, uint8_t *dst)
{
   const uint64_t groups = p->cols / 32;
   const uint8_t *scales = scales_of(p, p->stored * groups) + p->at * groups;
   const uint8_t *pairs = matrix_of(p, p->stored * groups * 16) + p->at * groups * 16;

   for (uint64_t g = 0; g < groups; g++, dst += 17, pairs += 16) {
      dst[0] = scales[g];
      for (uint32_t j = 0; j < 16; j++) {
         const uint32_t low = pairs[j / 2] >> 4 * (j % 2) & 15;
         const uint32_t high = pairs[8 + j / 2] >> 4 * (j % 2) & 15;
         dst[1 + j] = (uint8_t)(low | high << 4);
      }
   }
}

/* Twice an element is a whole number; an f32 scale in front of every 16. */
static void nvfp4_row(const place *p, uint8_t *dst)
{
   const model_layout *l = &p->t->layout;
   const uint64_t groups = p->cols / 16;
   const uint8_t *scales = scales_of(p, p->stored * groups) + p->at * groups;
   const uint8_t *pairs = matrix_of(p, p->stored * groups * 8) + p->at * groups * 8;
   const float divisor = l->divisors[l->scale_parts ? p->e : 0];

   for (uint64_t g = 0; g < groups; g++, dst += 20, pairs += 8) {
      const float scale = scale_at(DT_f8e4m3, scales, g) / divisor * 0.5f;
      memcpy(dst, &scale, sizeof scale);
      for (uint32_t j = 0; j < 16; j++)
         dst[4 + j] = (uint8_t)quant_e2m1_values[pairs[j / 2] >> 4 * (j % 2) & 15];
   }
}

/* A column of a matrix stored [cols][stored]. */
static void transposed_row(const place *p, uint8_t *dst)
{
   const uint64_t bytes = dtype_infos[p->t->dtype].bytes;
   const uint8_t *src = matrix_of(p, p->stored * p->cols * bytes) + p->at * bytes;

   for (uint64_t k = 0; k < p->cols; k++)
      memcpy(dst + k * bytes, src + k * p->stored * bytes, bytes);
}

static uint64_t stored_row(const model_layout *l, uint64_t i)
{
   return l->runs ? l->runs[i / l->run] + i % l->run : l->first + i * (l->step ? l->step : 1);
}

const void *model_tensor_row(const model_tensor *t, uint64_t r, void *scratch)
{
   const model_layout *l = &t->layout;
   const uint64_t rows = t->rank > 1 ? t->dim[t->rank - 2] : 1;
   const uint64_t bytes = model_tensor_row_bytes(t);
   const place p = {.t = t,
                    .e = l->matrices ? l->matrices[r / rows] : r / rows,
                    .at = stored_row(l, r % rows),
                    .stored = l->stored ? l->stored : rows,
                    .cols = t->rank ? t->dim[t->rank - 1] : 1};

   switch (l->kind) {
   case MODEL_ROWS_f8: f8_row(&p, scratch); break;
   case MODEL_ROWS_mxfp4: mxfp4_row(&p, scratch); break;
   case MODEL_ROWS_nvfp4: nvfp4_row(&p, scratch); break;
   case MODEL_ROWS_transposed: transposed_row(&p, scratch); break;
   case MODEL_ROWS_plain: return matrix_of(&p, p.stored * bytes) + p.at * bytes;
   }
   return scratch;
}
