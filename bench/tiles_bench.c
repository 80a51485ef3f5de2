/* tiles_bench.c - what AMX instructions cost, and what f32 instructions cost beside them. Not a
 * test: run it on a quiet machine that has AMX. Least of many rounds, in ns.
 *
 *    cc -O2 -march=x86-64-v4 bench/tiles_bench.c -o tiles_bench && ./tiles_bench */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, ROUNDS = 15, TIMES = 200000 };

static uint8_t x[1 << 14] __attribute__((aligned(64))), w[1 << 10] __attribute__((aligned(64)));
static uint8_t sums[1 << 10] __attribute__((aligned(64))), shapes[64] __attribute__((aligned(64)));

static double now(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Tile 0: 16 x 16 sums; 1: 16 rows of 32 bytes of x; 2: 32 k of weights. */
static void set_shapes(void)
{
   static const uint8_t rows[] = {16, 16, 8}, bytes[] = {64, 32, 64};

   shapes[0] = 1;
   for (int i = 0; i < 3; i++) {
      shapes[16 + 2 * i] = bytes[i];
      shapes[48 + i] = rows[i];
   }
   __asm__ volatile("ldtilecfg %0" : : "m"(shapes));
}

#define CONFIG __asm__ volatile("tilerelease\n\tldtilecfg %0" : : "m"(shapes));
#define LOAD_X __asm__ volatile("tileloadd (%0,%1), %%tmm1" : : "r"(x), "r"(576L));
#define LOAD_W __asm__ volatile("tileloadd (%0,%1), %%tmm2" : : "r"(w), "r"(64L));
#define PRODUCT __asm__ volatile("tdpbssd %tmm2, %tmm1, %tmm0");
#define STORE __asm__ volatile("tilestored %%tmm0, (%0,%1)" : : "r"(sums), "r"(64L) : "memory");
#define CELL                                                                                       \
   __asm__ volatile("tilezero %tmm0");                                                             \
   LOAD_X LOAD_W PRODUCT STORE
/* 60 instructions in ten chains, on registers that no intrinsic of this file uses. */
#define TEN(name)                                                                                  \
   ".irp n,17,18,19,20,21,22,23,24,25,26\n\t" name " %%zmm16, %%zmm16, %%zmm\\n\n\t.endr"
#define SIXTY(name)                                                                                \
   for (int i = 0; i < 6; i++)                                                                     \
      __asm__ volatile(TEN(name) : : : "xmm16");
#define FMAS SIXTY("vfmadd231ps")
#define ADDS SIXTY("vpaddd")

#define MEASURE(what, body)                                                                        \
   do {                                                                                            \
      double least = 1e18;                                                                         \
      for (int r = 0; r < ROUNDS; r++) {                                                           \
         double start = now();                                                                     \
         for (int t = 0; t < TIMES; t++) {                                                         \
            body                                                                                   \
         }                                                                                         \
         double took = (now() - start) / TIMES;                                                    \
         least = took < least ? took : least;                                                      \
      }                                                                                            \
      printf("%-44s %7.2f\n", what, least);                                                        \
   } while (0)

int main(void)
{
   if (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) != 0) {
      fprintf(stderr, "error: no AMX here, or the kernel does not allow it\n");
      return 1;
   }
   MEASURE("60 fused multiply-adds of 64 bytes", FMAS);
   MEASURE("60 integer additions of 64 bytes", ADDS);
   set_shapes();
   MEASURE("shapes given up and set", CONFIG);
   MEASURE("a product of 16 x 16 x 32", PRODUCT);
   MEASURE("a cell: loads, product, store", CELL);
   MEASURE("60 fused multiply-adds beside a product", PRODUCT FMAS);
   MEASURE("60 fused multiply-adds beside a load", LOAD_X FMAS);
   MEASURE("60 integer additions beside a product", PRODUCT ADDS);
   MEASURE("60 fused multiply-adds beside a cell", CELL FMAS);
   __asm__ volatile("tilerelease");
   return 0;
}
