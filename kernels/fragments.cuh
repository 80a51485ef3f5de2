/* fragments.cuh - which elements of a matrix instruction a lane holds: bf16 or f16, 16 deep, a 16 x 16 matrix A.
 *
 *    warps of 32   m16n8k16 of NVIDIA, as the PTX ISA draws it ("Matrix fragments for mma.m16n8k16 with floating point type")
 *    warps of 64   v_mfma_f32_16x16x16 of AMD (CDNA 2 and later), as its ISA documents draw it
 *
 *    A 16 x 16   MMA_A words of two neighbours in k: word i at row simt_mma_row(lane, i), k from simt_mma_ka(lane, i)
 *    B 16 x N    2 words of two neighbours in k: word i at column simt_mma_n(lane), k from simt_mma_kb(lane, i)
 *    C 16 x N    4 floats: element i at simt_mma_c_row(lane, i), simt_mma_c_col(lane, i): MMA_C_COLS columns in turns, which
 *                lanes share whose numbers differ by multiples of MMA_C_LANES
 *
 *    i8   A 16 x 32, B 32 x N, sums in i32: words of four neighbours in k, MMA8_A and 2, at rows and columns as above, k from
 *         simt_mma8_ka(lane, i) and simt_mma8_kb(lane, i); C as above
 *
 * Loaders, stores and the emulation go by these; tests/gpu/fragments_test.c holds them against the documents. */
#ifndef FRAGMENTS_CUH
#define FRAGMENTS_CUH

#if SIMT_WARP == 32

enum { MMA_N = 8, MMA_A = 4, MMA8_A = 4, MMA_C_COLS = 2, MMA_C_LANES = 4 };

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

/* m16n8k32 of bytes ("Matrix Fragments for mma.m16n8k32"): rows of A and columns of B as above. */
SIMT_FN int simt_mma8_ka(int lane, int i)
{
   return lane % 4 * 4 + i / 2 * 16;
}

SIMT_FN int simt_mma8_kb(int lane, int i)
{
   return lane % 4 * 4 + i * 16;
}

#else

enum { MMA_N = 16, MMA_A = 2, MMA8_A = 2, MMA_C_COLS = 1, MMA_C_LANES = 16 };

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

/* v_mfma_f32_16x16x32_fp8_fp8 of AMD: A 16 x 32 and B 32 x 16 of bytes, C as above. A lane holds 8 neighbours in k of one line (a row of
 * A, a column of B): word i from k = simt_mma8_k(lane, i) on. */
SIMT_FN int simt_mma8_line(int lane)
{
   return lane % 16;
}

SIMT_FN int simt_mma8_k(int lane, int i)
{
   return lane / 16 * 8 + i * 4;
}

/* v_mfma_i32_16x16x32_i8 alike. gfx90a has v_mfma_i32_16x16x16i8, whose lanes hold four neighbours: two of them, a word each, add up the
 * same products. */
SIMT_FN int simt_mma8_ka(int lane, int i)
{
   return simt_mma8_k(lane, i);
}

SIMT_FN int simt_mma8_kb(int lane, int i)
{
   return simt_mma8_k(lane, i);
}

#endif

#if SIMT_EMULATES_MMA

/* One lane's part of an emulated instruction. */
typedef struct simt_mma_lane {
   float *c;
   const simt_u32 *a, *b;
   int f16; /* else bf16 */
} simt_mma_lane;

SIMT_FN double simt_mma_half(const simt_mma_lane *own, const simt_u32 *words, int e)
{
   const simt_u16 bits = (simt_u16)(words[e / 2] >> 16 * (e % 2));

   return own->f16 ? simt_f16(bits) : simt_bf16(bits);
}

/* Products of halves are exact in double, and so is nearly every sum of 16: rounded once, as if the unit kept all bits. Real
 * units keep fewer, and do not say how many. */
static void simt_do_mma(void **lanes, int count)
{
   static double a[16][16], b[16][MMA_N];

   for (int l = 0; l < count; l++) {
      const simt_mma_lane *own = (const simt_mma_lane *)lanes[l];
      for (int e = 0; e < 2 * MMA_A; e++)
         a[simt_mma_row(l, e / 2)][simt_mma_ka(l, e / 2) + e % 2] = simt_mma_half(own, own->a, e);
      for (int e = 0; e < 4; e++)
         b[simt_mma_kb(l, e / 2) + e % 2][simt_mma_n(l)] = simt_mma_half(own, own->b, e);
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

SIMT_FN void simt_mma_at(float *c, const simt_u32 *a, const simt_u32 *b, int f16, int place)
{
   simt_mma_lane own = {c, a, b, f16};

   simt_self->meet->warp(simt_self, &own, simt_do_mma, place);
}

typedef struct simt_mma8_lane {
   simt_i32 *c;
   const simt_u32 *a, *b;
} simt_mma8_lane;

static void simt_do_mma_i8(void **lanes, int count)
{
   static simt_i8 a[16][32], b[MMA_N][32];

   for (int l = 0; l < count; l++) {
      const simt_mma8_lane *own = (const simt_mma8_lane *)lanes[l];
      for (int e = 0; e < 4 * MMA8_A; e++)
         a[simt_mma_row(l, e / 4)][simt_mma8_ka(l, e / 4) + e % 4] = (simt_i8)(own->a[e / 4] >> 8 * (e % 4));
      for (int e = 0; e < 8; e++)
         b[simt_mma_n(l)][simt_mma8_kb(l, e / 4) + e % 4] = (simt_i8)(own->b[e / 4] >> 8 * (e % 4));
   }
   for (int l = 0; l < count; l++) {
      const simt_mma8_lane *own = (const simt_mma8_lane *)lanes[l];
      for (int i = 0; i < 4; i++)
         for (int k = 0; k < 32; k++)
            own->c[i] += a[simt_mma_c_row(l, i)][k] * b[simt_mma_c_col(l, i)][k];
   }
}

SIMT_FN void simt_mma_i8_at(simt_i32 *c, const simt_u32 *a, const simt_u32 *b, int place)
{
   simt_mma8_lane own = {c, a, b};

   simt_self->meet->warp(simt_self, &own, simt_do_mma_i8, place);
}

#define simt_mma_i8(c, a, b) simt_mma_i8_at(c, a, b, __COUNTER__)

#if SIMT_WARP == 64
/* Bytes are e4m3. */
static void simt_do_mma8(void **lanes, int count)
{
   static double a[16][32], b[16][32];

   for (int l = 0; l < count; l++) {
      const simt_mma_lane *own = (const simt_mma_lane *)lanes[l];
      for (int e = 0; e < 8; e++) {
         const int k = simt_mma8_k(l, e / 4) + e % 4;
         a[simt_mma8_line(l)][k] = simt_f8((simt_u8)(own->a[e / 4] >> 8 * (e % 4)));
         b[simt_mma8_line(l)][k] = simt_f8((simt_u8)(own->b[e / 4] >> 8 * (e % 4)));
      }
   }
   for (int l = 0; l < count; l++) {
      const simt_mma_lane *own = (const simt_mma_lane *)lanes[l];
      for (int i = 0; i < 4; i++) {
         double sum = own->c[i];
         for (int k = 0; k < 32; k++)
            sum += a[simt_mma_c_row(l, i)][k] * b[simt_mma_c_col(l, i)][k];
         own->c[i] = (float)sum;
      }
   }
}

SIMT_FN void simt_mma_f8_at(float *c, const simt_u32 *a, const simt_u32 *b, int place)
{
   simt_mma_lane own = {c, a, b, 0};

   simt_self->meet->warp(simt_self, &own, simt_do_mma8, place);
}

#define simt_mma_f8(c, a, b) simt_mma_f8_at(c, a, b, __COUNTER__)
#endif

#define simt_mma(c, a, b) simt_mma_at(c, a, b, 0, __COUNTER__)
#define simt_mma_f16(c, a, b) simt_mma_at(c, a, b, 1, __COUNTER__)

#endif
#endif
