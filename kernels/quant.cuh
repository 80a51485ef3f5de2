/* quant.cuh - groups of 32 values as codes, a scale and sums, as base/pack.h lays them out: the bits of kernels/cpu/quant.c.
 *
 *    s = max|v| / 127    q = rne(v / s)    a lane a value; 32 neighbouring threads, which all get here, a group */
#ifndef QUANT_CUH
#define QUANT_CUH

enum { SIMT_QUANT_GROUP = 32 };

/* a when it is NaN: a group with one has no scale. */
SIMT_FN float simt_quant_most(float a, float b)
{
   return a > b || a != a ? a : b;
}

/* Group `number` of a row of `groups`; codes, scales: of the row, which are written if the group is there. */
SIMT_FN void simt_quant(float v, simt_i64 number, simt_i64 groups, simt_u8 *codes, simt_u8 *scales, int there)
{
   const int lane = simt_thread() % SIMT_QUANT_GROUP;
   float most = simt_abs(v), half;

   for (int m = SIMT_QUANT_GROUP / 2; m; m /= 2)
      most = simt_quant_most(most, simt_shfl_xor(most, m));
   const float s = most / 127.0f;
   float q = simt_rint(v / (s == 0 ? 1.0f : s)); /* one that is denormal can be far off */
   q = q < 127.0f ? q : 127.0f;
   q = q > -127.0f ? q : -127.0f;
   half = q; /* sums of codes are exact in any order */
   for (int m = SIMT_QUANT_GROUP / 4; m; m /= 2)
      half += simt_shfl_xor(half, m);
   const float all = half + simt_shfl_xor(half, SIMT_QUANT_GROUP / 2);
   if (!there)
      return;
   ((simt_i8 *)codes)[number * SIMT_QUANT_GROUP + lane] = (simt_i8)q;
   if (lane % 16 == 0)
      ((short *)(scales + groups * 8))[number * 2 + lane / 16] = (short)half;
   if (lane == 0) {
      ((float *)scales)[number] = s;
      ((float *)scales)[groups + number] = s * all;
      ((int *)(scales + groups * 12))[number] = (int)(-128 * all);
   }
}

#endif
