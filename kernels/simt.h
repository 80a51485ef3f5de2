/* simt.h - the language of GPU kernels: C that is CUDA C++, HIP C++ and plain C at the same time.
 *
 *    SIMT_KERNEL(name)                  one block of SIMT_THREADS threads a tile
 *    {
 *       SIMT_BEGIN(a);                  a: the launch's arguments; blocks past its tiles return
 *       SIMT_SHARED(some_struct, s);    s->…: the block's memory; it holds anything at the start
 *       … simt_thread(), simt_tile(), simt_sync(), simt_shfl_xor() …
 *    }
 *    SIMT_WIDE_KERNEL(name, registers)  one that holds much: a thread may have so many. A compiler that is not told guesses how many
 *                                       blocks should fit, and keeps registers in memory for that
 *
 * A prelude gives the words a meaning: prelude_cuda.h, prelude_hip.h, prelude_host.h. Text is
 * assembled by codegen/simt_text.c, which puts constants of our tables (SYM_T, C_N, PAGE_TOKENS, …)
 * in front, so that no number is written twice.
 *
 * Rules, so that the three meanings agree:
 *    - a fused multiply-add is simt_fma and nothing else is: contraction is off everywhere;
 *    - all threads of a block reach a simt_sync, all lanes of a warp a shuffle, at the same place;
 *    - additions between threads have one order, which depends on the shape only. */
#ifndef SIMT_H
#define SIMT_H

typedef signed char simt_i8;
typedef unsigned char simt_u8;
typedef unsigned short simt_u16;
typedef int simt_i32;
typedef unsigned int simt_u32;
typedef long long simt_i64;
typedef unsigned long long simt_u64;

/* base/simt_abi.h as the kernels see it; the assembled text asserts size and offsets. */
typedef struct simt_args {
   const simt_i64 *step; /* sinter_step_block: symbols */
   simt_u64 num_ptrs;
   void *ptr[SIMT_MAX_PTRS];
   simt_i64 konst[SIMT_MAX_CONSTS];
   simt_i64 tiles; /* times ceil(step[sym] / div) of each factor */
   simt_u32 num_factors, unused;
   simt_u32 factor[3][2];
} simt_args;

/* ---- what every prelude defines ----
 * SIMT_FN        a function of ours, inlined
 * SIMT_TABLE     storage of a constant array
 * SIMT_UNROLL    before a loop of constant length over an array of a thread's own
 * SIMT_LOOP      before one that is to stay a loop: it is rarely entered
 * SIMT_WARP      lanes of a warp
 * simt_thread(), simt_tile(), simt_sync()
 * simt_sync_warp()         what a lane wrote to shared memory is there for its warp
 * simt_shfl_xor(v, mask)   float of the lane whose number differs by mask
 * simt_dot4(a, b, c)       c + the products of the signed bytes of two words
 * SIMT_HAS_MMA   1: simt_mma(c, a, b), simt_mma_f16, simt_mma_i8, on gfx950 simt_mma_f8, layouts in
 * fragments.cuh; simt_copy16, simt_copy4, simt_copy_end, simt_copy_wait simt_fma, simt_sqrt,
 * simt_rint, simt_bits, simt_float, simt_f16, simt_to_f16 */

enum { SIMT_WARPS = SIMT_THREADS / SIMT_WARP };

SIMT_FN simt_i64 simt_tiles(const simt_args *a)
{
   simt_i64 n = a->tiles;

   for (simt_u32 i = 0; i < a->num_factors; i++)
      n *= (a->step[a->factor[i][0]] + a->factor[i][1] - 1) / a->factor[i][1];
   return n;
}

SIMT_FN int simt_lane(void)
{
   return simt_thread() % SIMT_WARP;
}

SIMT_FN int simt_warp(void)
{
   return simt_thread() / SIMT_WARP;
}

SIMT_FN float simt_min(float a, float b)
{
   return a < b ? a : b;
}

/* b when either is NaN. */
SIMT_FN float simt_max(float a, float b)
{
   return a > b ? a : b;
}

SIMT_FN simt_i64 simt_least(simt_i64 a, simt_i64 b)
{
   return a < b ? a : b;
}

SIMT_FN simt_i64 simt_most(simt_i64 a, simt_i64 b)
{
   return a > b ? a : b;
}

/* Unsigned numbers in the order of floats; +0 and -0 are one. */
SIMT_FN simt_u32 simt_order(float v)
{
   const simt_u32 bits = simt_bits(v + 0.0f);

   return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* ---- sums: halves first, the same order in every lane ---- */

SIMT_FN float simt_warp_sum(float v)
{
   for (int m = SIMT_WARP / 2; m; m /= 2)
      v += simt_shfl_xor(v, m);
   return v;
}

SIMT_FN float simt_warp_max(float v)
{
   for (int m = SIMT_WARP / 2; m; m /= 2)
      v = simt_max(v, simt_shfl_xor(v, m));
   return v;
}

/* Over all threads of the block; each: float[SIMT_WARPS] of shared memory. */
SIMT_FN float simt_block_sum(float v, float *each)
{
   float sum = simt_warp_sum(v);

   if (simt_lane() == 0)
      each[simt_warp()] = sum;
   simt_sync();
   sum = each[0];
   for (int w = 1; w < SIMT_WARPS; w++)
      sum += each[w];
   simt_sync(); /* before it is written again */
   return sum;
}

/* ---- conversions ---- */

SIMT_FN float simt_bf16(simt_u16 v)
{
   return simt_float((simt_u32)v << 16);
}

SIMT_FN simt_u16 simt_to_bf16(float v)
{
   simt_u32 u = simt_bits(v);

   if ((u & 0x7fffffffu) > 0x7f800000u)
      return (simt_u16)(u >> 16 | 0x40);
   return (simt_u16)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* e4m3 without infinities; NaN codes are taken care of by who packs them. */
SIMT_FN float simt_e4m3(simt_u8 v)
{
   simt_u32 e = v >> 3 & 15, m = v & 7;
   float size = e ? simt_float((e + 120) << 23 | m << 20) : (float)m * 0.001953125f;

   return v & 128 ? -size : size;
}

/* All codes of e4m3, and f32 rounded to it: ties to even, no larger than 448. */
SIMT_FN float simt_f8(simt_u8 v)
{
   return (v & 127) == 127 ? simt_float(0x7fc00000u) : simt_e4m3(v);
}

SIMT_FN simt_u8 simt_to_f8(float v)
{
   const simt_u32 sign = simt_bits(v) >> 24 & 128;
   float size = simt_float(simt_bits(v) & 0x7fffffffu);
   simt_u32 u;

   if (v != v)
      return (simt_u8)(sign | 127);
   size = size < 448.0f ? size : 448.0f;
   u = simt_bits(size);
   if (size < 0.015625f) /* multiples of 2^-9; 8 of them are the smallest normal number */
      return (simt_u8)(sign | (simt_u32)simt_rint(size * 512.0f));
   return (simt_u8)(sign | ((u + 0x7ffff + (u >> 20 & 1)) >> 20) - 960);
}

/* ---- functions: the same formulas as codegen/vec_math.c, so the same bits ---- */

SIMT_FN float simt_power_of_two(float shifted)
{
   return simt_float((simt_bits(shifted) << 23) + 0x3f800000u);
}

SIMT_FN float simt_exp(float x)
{
   const float low = -86.9f, high = 88.72283f, magic = 12582912.0f;
   float y = x > low ? x : low;
   float shifted, n, r, p, e;

   y = y < high ? y : high;
   shifted = simt_fma(y, 1.4426950408889634f, magic);
   n = shifted - magic;
   r = simt_fma(n, -0.693145751953125f, y);
   r = simt_fma(n, -1.4286068203094172e-6f, r);
   p = simt_fma((float)(1.0 / 5040), r, (float)(1.0 / 720));
   p = simt_fma(p, r, (float)(1.0 / 120));
   p = simt_fma(p, r, (float)(1.0 / 24));
   p = simt_fma(p, r, (float)(1.0 / 6));
   p = simt_fma(p, r, 0.5f);
   p = simt_fma(p, r, 1.0f);
   p = simt_fma(p, r, 1.0f);
   e = p * simt_power_of_two(shifted - 1.0f) * 2.0f;
   if (x < low)
      e = 0;
   if (x > high)
      e = simt_float(0x7f800000u);
   return x == x ? e : x;
}

SIMT_FN float simt_sigmoid(float x)
{
   return 1.0f / (1.0f + simt_exp(-x));
}

SIMT_FN float simt_abs(float x)
{
   return simt_float(simt_bits(x) & 0x7fffffffu);
}

SIMT_FN float simt_sign_of(float size, float x)
{
   return simt_float(simt_bits(size) | (simt_bits(x) & 0x80000000u));
}

SIMT_FN float simt_tanh(float x)
{
   float a = simt_abs(x), z = x * x, p, big;

   p = simt_fma((float)(21844.0 / 6081075), z, (float)(-1382.0 / 155925));
   p = simt_fma(p, z, (float)(62.0 / 2835));
   p = simt_fma(p, z, (float)(-17.0 / 315));
   p = simt_fma(p, z, (float)(2.0 / 15));
   p = simt_fma(p, z, (float)(-1.0 / 3));
   if (a < 0.45f)
      return simt_fma(p * z, x, x);
   big = 1.0f - 2.0f / (simt_exp(a * 2.0f) + 1.0f);
   return simt_sign_of(big, x);
}

SIMT_FN float simt_erf(float x)
{
   float a = simt_abs(x), z = x * x, p, t;

   if (a < 0.8f) {
      p = simt_fma((float)(-1.0 / 685440), z, (float)(1.0 / 75600));
      p = simt_fma(p, z, (float)(-1.0 / 9360));
      p = simt_fma(p, z, (float)(1.0 / 1320));
      p = simt_fma(p, z, (float)(-1.0 / 216));
      p = simt_fma(p, z, (float)(1.0 / 42));
      p = simt_fma(p, z, -0.1f);
      p = simt_fma(p, z, (float)(1.0 / 3));
      return simt_fma(-(p * z), x, x) * 1.1283791670955126f;
   }
   t = 1.0f / simt_fma(a, 0.3275911f, 1.0f);
   p = simt_fma(1.061405429f, t, -1.453152027f);
   p = simt_fma(p, t, 1.421413741f);
   p = simt_fma(p, t, -0.284496736f);
   p = simt_fma(p, t, 0.254829592f);
   return simt_sign_of(1.0f - p * t * simt_exp(-z), x);
}

SIMT_FN float simt_silu(float x)
{
   return x * simt_sigmoid(x);
}

SIMT_FN float simt_gelu(float x)
{
   return x * 0.5f * (simt_erf(x * 0.7071067811865476f) + 1.0f);
}

SIMT_FN float simt_gelu_tanh(float x)
{
   const float twice = (float)(2 * 0.7978845608028654),
               cubed = (float)(2 * 0.7978845608028654 * 0.044715);

   return x * simt_sigmoid(x * simt_fma(x * x, cubed, twice));
}

SIMT_FN float simt_softcap(float x, float cap)
{
   return simt_tanh(x / cap) * cap;
}

SIMT_FN float simt_softplus(float x)
{
   float y = simt_exp(-simt_abs(x)), s = y / (y + 2.0f), z = s * s, p;

   p = simt_fma((float)(2.0 / 15), z, (float)(2.0 / 13));
   p = simt_fma(p, z, (float)(2.0 / 11));
   p = simt_fma(p, z, (float)(2.0 / 9));
   p = simt_fma(p, z, (float)(2.0 / 7));
   p = simt_fma(p, z, (float)(2.0 / 5));
   p = simt_fma(p, z, (float)(2.0 / 3));
   p = simt_fma(p, z, 2.0f);
   return simt_max(0.0f, x) + s * p;
}

SIMT_FN float simt_decay(float x, float a, float b)
{
   return -(simt_exp(a) * simt_softplus(x + b));
}

#endif
