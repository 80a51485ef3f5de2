/* bytes_bench.c - how many steps of 32 bytes a second the instructions of products of codes make,
 * without loads, scales or anything else. Not a test: run it on a quiet machine that has AVX2.
 * Best of many rounds, one core.
 *
 *    cc -O2 bench/bytes_bench.c -o bytes_bench && ./bytes_bench */
#include <stdio.h>
#include <time.h>

enum { ROUNDS = 30, TIMES = 1000000, STEPS = 8 /* of a loop, each with a sum of its own */ };

static double now(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ymm8: x, ymm9: codes, ymm10: ones, ymm14: on its way to the sum. */
#define SIGN "vpsignb %%ymm9, %%ymm8, %%ymm14\n\t"
#define BYTES(x) "vpmaddubsw %%" x ", %%ymm9, %%ymm14\n\t"
#define WORDS "vpmaddwd %%ymm8, %%ymm9, %%ymm14\n\t"
#define WIDEN "vpmaddwd %%ymm10, %%ymm14, %%ymm14\n\t"
#define HIGH "vpsraw $8, %%ymm14, %%ymm14\n\t"
#define ADD(kind, sum) "vpadd" kind " %%ymm14, %%ymm" #sum ", %%ymm" #sum "\n\t"

#define SMALL(sum) BYTES("ymm8") ADD("w", sum)
#define UNSIGNED(sum) BYTES("ymm8") WIDEN ADD("d", sum)
#define SIGNED(sum) SIGN BYTES("ymm14") WIDEN ADD("d", sum)
#define WIDE(sum) WORDS ADD("d", sum)
#define HALVES(sum) SIGN BYTES("ymm14") ADD("w", sum) HIGH ADD("w", sum)

#define EIGHT(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7)
#define CHANGED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm14"

#define SHOW(name, products, step)                                                                 \
   do {                                                                                            \
      double best = 1e9;                                                                           \
      for (int round = 0; round < ROUNDS; round++) {                                               \
         double begin = now();                                                                     \
         for (int i = 0; i < TIMES; i++)                                                           \
            __asm__ volatile(EIGHT(step) : : : CHANGED);                                           \
         double seconds = now() - begin;                                                           \
         best = seconds < best ? seconds : best;                                                   \
      }                                                                                            \
      double steps = STEPS * (double)TIMES / best * 1e-9;                                          \
      printf("%-40s %6.2f G steps/s %8.1f G products/s\n", name, steps, steps *(products));        \
   } while (0)

int main(void)
{
   SHOW("maddubs, paddw", 32, SMALL);
   SHOW("maddubs, maddwd, paddd", 32, UNSIGNED);
   SHOW("sign, maddubs, maddwd, paddd", 32, SIGNED);
   SHOW("maddwd, paddd", 16, WIDE);
   SHOW("sign, maddubs, paddw, psraw, paddw", 32, HALVES);
   return 0;
}
