// LINK: base
/* Fragment layouts of kernels/fragments.cuh against the formulas of the PTX ISA, element by element as the document
 * writes them; and that the lanes of a warp hold each element once. Kills: rows and columns exchanged; halves of k
 * exchanged; the pair of a word in another order. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define SIMT_FN static inline
#define SIMT_EMULATES_MMA 0
#include "kernels/fragments.cuh"

/* Four words: rows by groups of lanes and their halves, k by lane within the group and half. */
Test(fragments, a)
{
   int seen[16][16] = {{0}};

   for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 8; i++) {
         int group = lane >> 2, thread = lane % 4;
         int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8;
         int col = i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8;
         int word = i / 2;
         cr_assert(eq(int, simt_mma_row(lane, word), row));
         cr_assert(eq(int, simt_mma_k(lane, word / 2 * 2) + i % 2, col));
         seen[row][col]++;
      }
   for (int i = 0; i < 256; i++)
      cr_assert(eq(int, seen[i / 16][i % 16], 1));
}

/* Two words: k as A has it, columns by groups of lanes. */
Test(fragments, b)
{
   int seen[16][8] = {{0}};

   for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 4; i++) {
         int row = i < 2 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8;
         cr_assert(eq(int, simt_mma_k(lane, i), row));
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
