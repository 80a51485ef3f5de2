/* quant.c - what the bytes of quantised blocks mean.
 *
 * Every format is read into the same planes (codes, sub-block scales and minima, two floats) by one
 * function per format; quant_to_f32 is the formula over the planes. All products of it are exact in
 * f32, so only the final subtraction rounds, which makes the result equal to the definition of each
 * format. */
#include "quant.h"

#include <math.h>

typedef void planes_of(const uint8_t *b, quant_planes *p);

static float half_at(const uint8_t *b)
{
   return f16_to_f32((uint16_t)(b[0] | b[1] << 8));
}

static void one_scale(quant_planes *p, float d, int16_t min, float dmin)
{
   p->sub_block = 32;
   p->scale[0] = 1;
   p->min[0] = min;
   p->d = d;
   p->dmin = dmin;
}

/* 16 bytes: element j in the low nibble of byte j, element j + 16 in the high one. */
static void nibbles(const uint8_t *q, int16_t *code)
{
   for (int j = 0; j < 16; j++) {
      code[j] = q[j] & 15;
      code[j + 16] = q[j] >> 4;
   }
}

/* Adds bit j of the 32 bits at qh as the fifth bit of element j. */
static void fifth_bits(const uint8_t *qh, int16_t *code)
{
   for (int j = 0; j < 32; j++)
      code[j] = (int16_t)(code[j] | (qh[j / 8] >> (j % 8) & 1) << 4);
}

static void planes_q4_0(const uint8_t *b, quant_planes *p)
{
   one_scale(p, half_at(b), 8, half_at(b));
   nibbles(b + 2, p->code);
}

static void planes_q4_1(const uint8_t *b, quant_planes *p)
{
   one_scale(p, half_at(b), 1, -half_at(b + 2));
   nibbles(b + 4, p->code);
}

static void planes_q5_0(const uint8_t *b, quant_planes *p)
{
   one_scale(p, half_at(b), 16, half_at(b));
   nibbles(b + 6, p->code);
   fifth_bits(b + 2, p->code);
}

static void planes_q5_1(const uint8_t *b, quant_planes *p)
{
   one_scale(p, half_at(b), 1, -half_at(b + 2));
   nibbles(b + 8, p->code);
   fifth_bits(b + 4, p->code);
}

static void planes_q8_0(const uint8_t *b, quant_planes *p)
{
   one_scale(p, half_at(b), 0, 0);
   for (int j = 0; j < 32; j++)
      p->code[j] = (int8_t)b[2 + j];
}

/* scales[16] (4-bit scale, 4-bit min), qs[64], d, dmin. Two bits an element: 128 elements share 32
 * bytes. */
static void planes_q2_k(const uint8_t *b, quant_planes *p)
{
   p->sub_block = 16;
   p->d = half_at(b + 80);
   p->dmin = half_at(b + 82);
   for (int s = 0; s < 16; s++) {
      p->scale[s] = b[s] & 15;
      p->min[s] = b[s] >> 4;
   }
   for (int i = 0; i < 256; i++)
      p->code[i] = b[16 + 32 * (i / 128) + i % 32] >> 2 * (i / 32 % 4) & 3;
}

/* hmask[32], qs[64], scales[12] (16 of 6 bits, offset 32), d. A clear mask bit subtracts 4. */
static void planes_q3_k(const uint8_t *b, quant_planes *p)
{
   const uint8_t *scales = b + 96;

   p->sub_block = 16;
   p->d = half_at(b + 108);
   p->dmin = 0;
   for (int s = 0; s < 16; s++) {
      int low = scales[s % 8] >> 4 * (s / 8) & 15;
      int high = scales[8 + s % 4] >> 2 * (s / 4) & 3;
      p->scale[s] = (int16_t)((low | high << 4) - 32);
      p->min[s] = 0;
   }
   for (int i = 0; i < 256; i++) {
      int q = b[32 + 32 * (i / 128) + i % 32] >> 2 * (i / 32 % 4) & 3;
      int bit = b[i % 32] >> i / 32 & 1;
      p->code[i] = (int16_t)(q - (bit ? 0 : 4));
   }
}

/* 12 bytes: eight 6-bit scales and eight 6-bit minima of q4_k and q5_k. */
static void scales_6bit(const uint8_t *q, quant_planes *p)
{
   p->sub_block = 32;
   for (int j = 0; j < 4; j++) {
      p->scale[j] = q[j] & 63;
      p->min[j] = q[j + 4] & 63;
      p->scale[j + 4] = (int16_t)((q[j + 8] & 15) | (q[j] >> 6) << 4);
      p->min[j + 4] = (int16_t)(q[j + 8] >> 4 | (q[j + 4] >> 6) << 4);
   }
}

/* 64 elements share 32 bytes: the first 32 in the low nibbles. */
static void nibbles_by_64(const uint8_t *q, int16_t *code)
{
   for (int i = 0; i < 256; i++)
      code[i] = q[32 * (i / 64) + i % 32] >> 4 * (i / 32 % 2) & 15;
}

static void planes_q4_k(const uint8_t *b, quant_planes *p)
{
   p->d = half_at(b);
   p->dmin = half_at(b + 2);
   scales_6bit(b + 4, p);
   nibbles_by_64(b + 16, p->code);
}

/* As q4_k, with qh[32] before the nibbles: bit s of byte l belongs to element 32 s + l. */
static void planes_q5_k(const uint8_t *b, quant_planes *p)
{
   p->d = half_at(b);
   p->dmin = half_at(b + 2);
   scales_6bit(b + 4, p);
   nibbles_by_64(b + 48, p->code);
   for (int i = 0; i < 256; i++)
      p->code[i] = (int16_t)(p->code[i] | (b[16 + i % 32] >> i / 32 & 1) << 4);
}

/* ql[128], qh[64], scales[16] signed, d. Four groups of 32 in each half of 128. */
static void planes_q6_k(const uint8_t *b, quant_planes *p)
{
   p->sub_block = 16;
   p->d = half_at(b + 208);
   p->dmin = 0;
   for (int s = 0; s < 16; s++) {
      p->scale[s] = (int8_t)b[192 + s];
      p->min[s] = 0;
   }
   for (int i = 0; i < 256; i++) {
      int half = i / 128, quarter = i / 32 % 4, l = i % 32;
      int low = b[64 * half + 32 * (quarter % 2) + l] >> 4 * (quarter / 2) & 15;
      int high = b[128 + 32 * half + l] >> 2 * quarter & 3;
      p->code[i] = (int16_t)((low | high << 4) - 32);
   }
}

const int8_t quant_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

static void planes_iq4_nl(const uint8_t *b, quant_planes *p)
{
   one_scale(p, half_at(b), 0, 0);
   nibbles(b + 2, p->code);
   for (int j = 0; j < 32; j++)
      p->code[j] = quant_iq4_values[p->code[j]];
}

/* d, scales_h u16 (2 bits each), scales_l[4] (4 bits each), qs[128]. */
static void planes_iq4_xs(const uint8_t *b, quant_planes *p)
{
   int high = b[2] | b[3] << 8;

   p->sub_block = 32;
   p->d = half_at(b);
   p->dmin = 0;
   for (int s = 0; s < 8; s++) {
      int low = b[4 + s / 2] >> 4 * (s % 2) & 15;
      p->scale[s] = (int16_t)((low | (high >> 2 * s & 3) << 4) - 32);
      p->min[s] = 0;
      nibbles(b + 8 + 16 * s, p->code + 32 * s);
   }
   for (int i = 0; i < 256; i++)
      p->code[i] = quant_iq4_values[p->code[i]];
}

const int8_t quant_e2m1_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* e8m0 byte: d = 2^(e - 127), 255 is NaN; half of it, since the codes' values are doubled. */
static void planes_mxfp4(const uint8_t *b, quant_planes *p)
{
   one_scale(p, b[0] == 255 ? NAN : ldexpf(1, b[0] - 128), 0, 0);
   nibbles(b + 1, p->code);
   for (int j = 0; j < 32; j++)
      p->code[j] = quant_e2m1_values[p->code[j]];
}

/* A BLOCK row of dtypes.def without its planes_<name> does not compile. */
#define PLANES_NONE(name)
#define PLANES_FLOAT(name)
#define PLANES_INT(name)
#define PLANES_BOOL(name)
#define PLANES_SCALED(name)
#define PLANES_BLOCK(name) [DT_##name] = planes_##name,
static planes_of *const readers[DT_COUNT] = {
#define DTYPE(name, kind, block, bytes, gguf, rel) PLANES_##kind(name)
#include "dtypes.def"
#undef DTYPE
};

void quant_planes_of(dtype t, const void *block, quant_planes *out)
{
   assert(readers[t] && "only block formats have planes");
   readers[t](block, out);
}

void quant_planes_to_f32(const quant_planes *p, uint32_t n, float *dst)
{
   for (uint32_t i = 0; i < n; i++) {
      uint32_t s = i / p->sub_block;
      float scaled = p->d * (float)p->scale[s] * (float)p->code[i];
      float min = p->dmin * (float)p->min[s];
      dst[i] = scaled - min;
   }
}

static void plain_to_f32(dtype t, const void *src, uint64_t n, float *dst)
{
   double part[256];

   for (uint64_t i = 0; i < n; i += countof(part)) {
      uint64_t m = MIN(n - i, countof(part));
      dtype_load(t, (const uint8_t *)src + i * dtype_infos[t].bytes, m, part);
      for (uint64_t j = 0; j < m; j++)
         dst[i + j] = (float)part[j];
   }
}

static void scaled_to_f32(dtype t, const uint8_t *src, uint64_t n, float *dst)
{
   const dtype_info *info = &dtype_infos[t];
   const dtype codes = t == DT_f8_128 ? DT_f8e4m3 : DT_i8;

   for (uint64_t i = 0; i < n; i += info->block, src += info->bytes) {
      uint64_t m = MIN(n - i, (uint64_t)info->block);
      float scale;
      memcpy(&scale, src, sizeof scale);
      plain_to_f32(codes, src + sizeof scale, m, dst + i);
      for (uint64_t j = 0; j < m; j++)
         dst[i + j] *= scale;
   }
}

void quant_to_f32(dtype t, const void *src, uint64_t n, float *dst)
{
   const dtype_info *info = &dtype_infos[t];
   const uint8_t *block = src;
   quant_planes planes;

   if (t == DT_f32) {
      memcpy(dst, src, n * sizeof *dst);
      return;
   }
   if (info->kind == DTYPE_SCALED) {
      scaled_to_f32(t, src, n, dst);
      return;
   }
   if (info->kind != DTYPE_BLOCK) {
      plain_to_f32(t, src, n, dst);
      return;
   }
   for (uint64_t i = 0; i < n; i += info->block, block += info->bytes) {
      quant_planes_of(t, block, &planes);
      quant_planes_to_f32(&planes, info->block, dst + i);
   }
}
