/* fragments.cuh - which elements of a matrix instruction a lane holds: bf16, 16 deep, a 16 x 16 matrix A of weights.
 *
 *    warps of 32   m16n8k16 of NVIDIA, as the PTX ISA draws it ("Matrix fragments for mma.m16n8k16 with floating point type")
 *    warps of 64   v_mfma_f32_16x16x16 of AMD (CDNA 2 and later), as its ISA documents draw it
 *
 *    A 16 x 16   MMA_A words of two neighbours in k: word i at row simt_mma_row(lane, i), k from simt_mma_ka(lane, i)
 *    B 16 x N    2 words of two neighbours in k: word i at column simt_mma_n(lane), k from simt_mma_kb(lane, i)
 *    C 16 x N    4 floats: element i at simt_mma_c_row(lane, i), simt_mma_c_col(lane, i)
 *
 * Loaders, stores and the emulation go by these; tests/gpu/fragments_test.c holds them against the documents. */
#ifndef FRAGMENTS_CUH
#define FRAGMENTS_CUH

#if SIMT_WARP == 32

enum { MMA_N = 8, MMA_A = 4 };

SIMT_FN int simt_mma_row(int lane, int i)
{
   return lane / 4 + i % 2 * 8;
}

SIMT_FN int simt_mma_ka(int lane, int i)
{
   return lane % 4 * 2 + i / 2 * 8;
}

SIMT_FN int simt_mma_kb(int lane, int i)
{
   return lane % 4 * 2 + i * 8;
}

SIMT_FN int simt_mma_n(int lane)
{
   return lane / 4;
}

SIMT_FN int simt_mma_c_row(int lane, int i)
{
   return lane / 4 + i / 2 * 8;
}

SIMT_FN int simt_mma_c_col(int lane, int i)
{
   return lane % 4 * 2 + i % 2;
}

#else

enum { MMA_N = 16, MMA_A = 2 };

SIMT_FN int simt_mma_row(int lane, int i)
{
   return lane % 16 + 0 * i;
}

SIMT_FN int simt_mma_ka(int lane, int i)
{
   return lane / 16 * 4 + i * 2;
}

SIMT_FN int simt_mma_kb(int lane, int i)
{
   return lane / 16 * 4 + i * 2;
}

SIMT_FN int simt_mma_n(int lane)
{
   return lane % 16;
}

SIMT_FN int simt_mma_c_row(int lane, int i)
{
   return lane / 16 * 4 + i;
}

SIMT_FN int simt_mma_c_col(int lane, int i)
{
   return lane % 16 + 0 * i;
}

#endif

#if SIMT_EMULATES_MMA

/* One lane's part of an emulated instruction. */
typedef struct simt_mma_lane {
   float *c;
   const simt_u32 *a, *b;
} simt_mma_lane;

/* Products of bf16 are exact in double, and so is nearly every sum of 16: rounded once, as if the unit kept all bits. Real
 * units keep fewer, and do not say how many. */
static void simt_do_mma(void **lanes, int count)
{
   static double a[16][16], b[16][MMA_N];

   for (int l = 0; l < count; l++) {
      const simt_mma_lane *own = (const simt_mma_lane *)lanes[l];
      for (int e = 0; e < 2 * MMA_A; e++)
         a[simt_mma_row(l, e / 2)][simt_mma_ka(l, e / 2) + e % 2] =
            simt_bf16((simt_u16)(own->a[e / 2] >> 16 * (e % 2)));
      for (int e = 0; e < 4; e++)
         b[simt_mma_kb(l, e / 2) + e % 2][simt_mma_n(l)] =
            simt_bf16((simt_u16)(own->b[e / 2] >> 16 * (e % 2)));
   }
   for (int l = 0; l < count; l++) {
      const simt_mma_lane *own = (const simt_mma_lane *)lanes[l];
      for (int i = 0; i < 4; i++) {
         double sum = own->c[i];
         for (int k = 0; k < 16; k++)
            sum += a[simt_mma_c_row(l, i)][k] * b[k][simt_mma_c_col(l, i)];
         own->c[i] = (float)sum;
      }
   }
}

SIMT_FN void simt_mma_at(float *c, const simt_u32 *a, const simt_u32 *b, int place)
{
   simt_mma_lane own = {c, a, b};

   simt_self->meet->warp(simt_self, &own, simt_do_mma, place);
}

#define simt_mma(c, a, b) simt_mma_at(c, a, b, __COUNTER__)

#endif
#endif
