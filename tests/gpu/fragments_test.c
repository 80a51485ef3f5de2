// LINK: base
/* Fragment layouts of kernels/fragments.cuh against the formulas of the PTX ISA and of AMD's
 * instruction set documents, element by element as they write them; and that the lanes of a warp
 * hold each element once. Kills: rows and columns exchanged; halves of k exchanged; the pair of a
 * word in another order. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define SIMT_FN static inline
#define SIMT_EMULATES_MMA 0
#define SIMT_WARP 32
#include "kernels/fragments.cuh"

enum { NVIDIA_C_COLS = MMA_C_COLS, NVIDIA_C_LANES = MMA_C_LANES, NVIDIA_A8 = MMA8_A };

/* The same file for the other width, under other names. */
#undef FRAGMENTS_CUH
#undef SIMT_WARP
#define SIMT_WARP 64
#define simt_mma_row amd_row
#define simt_mma_ka amd_ka
#define simt_mma_kb amd_kb
#define simt_mma_n amd_n
#define simt_mma_c_row amd_c_row
#define simt_mma_c_col amd_c_col
#define simt_mma8_ka amd8_ka
#define simt_mma8_kb amd8_kb
#define MMA8_A AMD_A8
#define MMA_N AMD_N
#define MMA_A AMD_A
#define MMA_C_COLS AMD_C_COLS
#define MMA_C_LANES AMD_C_LANES
#include "kernels/fragments.cuh"
#undef simt_mma_row
#undef simt_mma_ka
#undef simt_mma_kb
#undef simt_mma_n
#undef simt_mma_c_row
#undef simt_mma_c_col
#undef simt_mma8_ka
#undef simt_mma8_kb
#undef MMA8_A
#undef MMA_N
#undef MMA_A
#undef MMA_C_COLS
#undef MMA_C_LANES

/* Four words: rows by groups of lanes and their halves, k by lane within the group and half. */
Test(fragments, a)
{
   int seen[16][16] = {{0}};

   for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 2 * MMA_A; i++) {
         int group = lane >> 2, thread = lane % 4;
         int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8;
         int col = i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
         cr_assert(eq(int, simt_mma_row(lane, i / 2), row));
         cr_assert(eq(int, simt_mma_ka(lane, i / 2) + i % 2, col));
         seen[row][col]++;
      }
   for (int i = 0; i < 256; i++)
      cr_assert(eq(int, seen[i / 16][i % 16], 1));
}

/* Two words: k as A has it, columns by groups of lanes. */
Test(fragments, b)
{
   int seen[16][8] = {{0}};

   cr_assert(eq(int, MMA_N, 8));
   for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 4; i++) {
         int row = i < 2 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8;
         cr_assert(eq(int, simt_mma_kb(lane, i / 2) + i % 2, row));
         cr_assert(eq(int, simt_mma_n(lane), lane >> 2));
         seen[row][lane >> 2]++;
      }
   for (int i = 0; i < 128; i++)
      cr_assert(eq(int, seen[i / 8][i % 8], 1));
}

/* Four floats: rows by groups and halves, columns by lane within the group. */
Test(fragments, c)
{
   int seen[16][8] = {{0}};

   for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 4; i++) {
         int row = i < 2 ? lane >> 2 : (lane >> 2) + 8, col = lane % 4 * 2 + (i & 1);
         cr_assert(eq(int, simt_mma_c_row(lane, i), row));
         cr_assert(eq(int, simt_mma_c_col(lane, i), col));
         seen[row][col]++;
      }
   for (int i = 0; i < 128; i++)
      cr_assert(eq(int, seen[i / 8][i % 8], 1));
}

/* AMD's 16 x 16 x 16: a lane holds four neighbours in k of one row of A, and of one column of B; of
 * D four neighbours among the rows of one column. */
Test(fragments, amd)
{
   int a[16][16] = {{0}}, b[16][16] = {{0}}, c[16][16] = {{0}};

   cr_assert(eq(int, AMD_N, 16));
   for (int lane = 0; lane < 64; lane++)
      for (int i = 0; i < 4; i++) {
         int k = 4 * (lane >> 4) + i, line = lane & 15;
         cr_assert(eq(int, amd_row(lane, i / 2), line));
         cr_assert(eq(int, amd_ka(lane, i / 2) + i % 2, k));
         cr_assert(eq(int, amd_kb(lane, i / 2) + i % 2, k));
         cr_assert(eq(int, amd_n(lane), line));
         cr_assert(eq(int, amd_c_row(lane, i), k));
         cr_assert(eq(int, amd_c_col(lane, i), line));
         a[line][k]++;
         b[k][line]++;
         c[k][line]++;
      }
   for (int i = 0; i < 256; i++)
      cr_assert(a[i / 16][i % 16] == 1 && b[i / 16][i % 16] == 1 && c[i / 16][i % 16] == 1);
}

/* Elements of C that are C_COLS apart, and lanes that differ by multiples of C_LANES, have one
 * column; all rows together. Kills: a maximum over a part of a column, or over two. */
Test(fragments, columns)
{
   for (int lane = 0; lane < 64; lane++)
      for (int i = 0; i < 4; i++) {
         if (lane < 32)
            cr_assert(simt_mma_c_col(lane, i) ==
                      simt_mma_c_col(lane % NVIDIA_C_LANES, i % NVIDIA_C_COLS));
         cr_assert(amd_c_col(lane, i) == amd_c_col(lane % AMD_C_LANES, i % AMD_C_COLS));
      }
   cr_assert(NVIDIA_C_COLS * NVIDIA_C_LANES == MMA_N && AMD_C_COLS * AMD_C_LANES == AMD_N);
}

/* 16 x 16 x 32 of bytes (CDNA 3 and 4: "V_MFMA_F32_16X16X32_FP8_FP8"): a lane holds eight
 * neighbours in k of a line. */
Test(fragments, bytes)
{
   int seen[16][32] = {{0}};

   for (int lane = 0; lane < 64; lane++)
      for (int i = 0; i < 8; i++) {
         int k = 8 * (lane >> 4) + i;
         cr_assert(eq(int, simt_mma8_k(lane, i / 4) + i % 4, k));
         cr_assert(eq(int, simt_mma8_line(lane), lane & 15));
         seen[lane & 15][k]++;
      }
   for (int i = 0; i < 512; i++)
      cr_assert(seen[i / 32][i % 32] == 1);
}

/* m16n8k32 of s8 ("Matrix Fragments for mma.m16n8k32", A and B of .s8 or .u8). Kills: halves of k
 * exchanged; rows of a word; the halves' words of B in the order of A's. */
Test(fragments, nvidia_i8)
{
   int a[16][32] = {{0}}, b[32][8] = {{0}};

   cr_assert(eq(int, NVIDIA_A8, 4));
   for (int lane = 0; lane < 32; lane++) {
      int group = lane >> 2, thread = lane % 4;
      for (int i = 0; i < 16; i++) {
         int row = (i >= 0 && i < 4) || (i >= 8 && i < 12) ? group : group + 8;
         int col = i < 8 ? thread * 4 + (i & 3) : thread * 4 + (i & 3) + 16;
         cr_assert(eq(int, simt_mma_row(lane, i / 4), row));
         cr_assert(eq(int, simt_mma8_ka(lane, i / 4) + i % 4, col));
         a[row][col]++;
      }
      for (int i = 0; i < 8; i++) {
         int row = i < 4 ? thread * 4 + (i & 3) : thread * 4 + (i & 3) + 16;
         cr_assert(eq(int, simt_mma8_kb(lane, i / 4) + i % 4, row));
         b[row][simt_mma_n(lane)]++;
      }
   }
   for (int i = 0; i < 512; i++)
      cr_assert(a[i / 32][i % 32] == 1 && (i >= 256 || b[i / 8][i % 8] == 1));
}

/* V_MFMA_I32_16X16X32_I8 (CDNA 3 and 4): eight neighbours in k of a line, as e4m3 has them. Two of
 * V_MFMA_I32_16X16X16I8 (CDNA 2: four neighbours, k = 4 (lane / 16) + i), given a word each, take
 * equal places of A and of B, and each of the 32 once. Kills: words of A and B in another order. */
Test(fragments, amd_i8)
{
   int seen[16][32] = {{0}};

   cr_assert(eq(int, AMD_A8, 2));
   for (int lane = 0; lane < 64; lane++)
      for (int i = 0; i < 8; i++) {
         cr_assert(eq(int, amd8_ka(lane, i / 4) + i % 4, 8 * (lane >> 4) + i));
         cr_assert(eq(int, amd8_kb(lane, i / 4), amd8_ka(lane, i / 4)));
         seen[lane & 15][amd8_ka(lane, i / 4) + i % 4]++;
      }
   for (int i = 0; i < 512; i++)
      cr_assert(seen[i / 32][i % 32] == 1);
}
