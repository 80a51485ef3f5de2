/* limits.c - a plain read loop and chains of the integer instructions that kernels use, on every
 * thread at once; of several rounds the fastest counts, as other programs can only take away. */
#include "limits.h"

#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli.h"

enum { MAX_THREADS = 256, ROUNDS = 5 };

/* Weights of a small model stay in a large third level between steps, those of others come from
 * memory: as many bytes are read as a step reads, in bounds. */
enum { LEAST_BYTES = 64 << 20, MOST_BYTES = 192 << 20 };

typedef struct worker {
   pthread_t thread;
   int cpu;
   const uint8_t *data;
   size_t bytes;
   pthread_barrier_t *start;
   double read_seconds, small_seconds, byte_seconds; /* the fastest */
   uint64_t keep;                                    /* so that the loops are not removed */
} worker;

__attribute__((target("avx2"))) static uint64_t read_loop(const uint8_t *p, size_t bytes)
{
   __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;

   for (size_t i = 0; i + 128 <= bytes; i += 128) {
      _mm_prefetch((const char *)p + i + 2048, _MM_HINT_T0);
      _mm_prefetch((const char *)p + i + 2112, _MM_HINT_T0);
      a = _mm256_xor_si256(a, _mm256_load_si256((const void *)(p + i)));
      b = _mm256_xor_si256(b, _mm256_load_si256((const void *)(p + i + 32)));
      c = _mm256_xor_si256(c, _mm256_load_si256((const void *)(p + i + 64)));
      d = _mm256_xor_si256(d, _mm256_load_si256((const void *)(p + i + 96)));
   }
   a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
   return (uint64_t)_mm256_extract_epi64(a, 0);
}

/* As instructions: a compiler may be older than the intrinsics. Eight independent chains each. */
#define EIGHT(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7)
#define SUMS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7"

#define VEX_STEP(sum) "%{vex%} vpdpbusd %%ymm8, %%ymm8, %%ymm" #sum "\n\t"
#define ZMM_STEP(sum) "vpdpbusd %%zmm8, %%zmm8, %%zmm" #sum "\n\t"

__attribute__((target("avx2"))) static void vnni_loop(long rounds)
{
   for (long r = 0; r < rounds; r++)
      __asm__ volatile(EIGHT(VEX_STEP) : : : SUMS);
}

__attribute__((target("avx512f"))) static void vnni512_loop(long rounds)
{
   for (long r = 0; r < rounds; r++)
      __asm__ volatile(EIGHT(ZMM_STEP) : : : SUMS);
}

/* Without VNNI: ymm8 codes and activations, ymm9 ones, ymm10 on its way to a sum. Small codes are
 * summed in 16 bits, and those of 4 bits widened once in eight steps, here one sum a round; bytes
 * would overflow, and have to be unsigned (kernels/cpu/gemm_int8.c). */
#define SMALL_STEP(sum)                                                                            \
   "vpmaddubsw %%ymm8, %%ymm8, %%ymm10\n\tvpaddw %%ymm10, %%ymm" #sum ", %%ymm" #sum "\n\t"
#define WIDEN(from, sum)                                                                           \
   "vpmaddwd %%ymm9, %%" from ", %%ymm10\n\tvpaddd %%ymm10, %%ymm" #sum ", %%ymm" #sum "\n\t"
#define BYTE_STEP(sum)                                                                             \
   "vpsignb %%ymm8, %%ymm8, %%ymm10\n\tvpmaddubsw %%ymm10, %%ymm8, %%ymm10\n\t" WIDEN("ymm10", sum)

__attribute__((target("avx2"))) static void small_loop(long rounds)
{
   for (long r = 0; r < rounds; r++)
      __asm__ volatile(EIGHT(SMALL_STEP) WIDEN("ymm0", 11) : : : SUMS, "xmm10", "xmm11");
}

__attribute__((target("avx2"))) static void byte_loop(long rounds)
{
   for (long r = 0; r < rounds; r++)
      __asm__ volatile(EIGHT(BYTE_STEP) : : : SUMS, "xmm10");
}

/* Products of small codes and of bytes, by the best instructions that the machine has. Tile
 * registers are no row: their 32768 operations take 16 cycles, but scales that change every 32 k
 * leave half a tile empty and take the vector units for longer (bench/RESULTS.md, Tiles). */
static const struct chain {
   void (*small)(long rounds), (*bytes)(long rounds);
   int ops; /* of a round */
} chains[] = {{vnni512_loop, vnni512_loop, 8 * 128},
              {vnni_loop, vnni_loop, 8 * 64},
              {small_loop, byte_loop, 8 * 64}};

static const struct chain *best_chain(void)
{
   if (__builtin_cpu_supports("avx512vnni"))
      return &chains[0];
   return __builtin_cpu_supports("avxvnni") ? &chains[1] : &chains[2];
}

enum { CHAIN_ROUNDS = 400000 };

static double time_chain(const worker *w, void (*loop)(long rounds))
{
   pthread_barrier_wait(w->start);
   double t0 = cli_seconds();
   loop(CHAIN_ROUNDS);
   return cli_seconds() - t0;
}

static void *work(void *user)
{
   worker *w = user;
   cpu_set_t set;

   CPU_ZERO(&set);
   CPU_SET(w->cpu, &set);
   pthread_setaffinity_np(pthread_self(), sizeof set, &set);
   w->read_seconds = w->small_seconds = w->byte_seconds = 1e9;
   for (int r = 0; r < ROUNDS; r++) {
      pthread_barrier_wait(w->start);
      double t0 = cli_seconds();
      w->keep += read_loop(w->data, w->bytes);
      w->read_seconds = fmin(cli_seconds() - t0, w->read_seconds);
   }
   for (int r = 0; r < ROUNDS; r++) {
      w->small_seconds = fmin(time_chain(w, best_chain()->small), w->small_seconds);
      w->byte_seconds = fmin(time_chain(w, best_chain()->bytes), w->byte_seconds);
   }
   return NULL;
}

static unsigned allowed_cpus(int *cpus)
{
   cpu_set_t set;
   unsigned n = 0;

   sched_getaffinity(0, sizeof set, &set);
   for (int c = 0; c < CPU_SETSIZE && n < MAX_THREADS; c++)
      if (CPU_ISSET(c, &set))
         cpus[n++] = c;
   return n;
}

/* Whether the device computes on this processor, with instructions that are measured here. */
static bool is_measured(const char *device)
{
   const char *target = sinter_device_target(device);

   return __builtin_cpu_supports("avx2") && target &&
          (strcmp(target, "cpu") == 0 || strcmp(target, "ref") == 0);
}

void limits_measure(const char *device, unsigned threads, uint64_t bytes, limits *out)
{
   int cpus[MAX_THREADS];
   worker workers[MAX_THREADS];
   pthread_barrier_t start;
   unsigned available = allowed_cpus(cpus),
            n = threads && threads < available ? threads : available;
   size_t size = bytes < LEAST_BYTES ? LEAST_BYTES : bytes > MOST_BYTES ? MOST_BYTES : bytes;

   *out = (limits){.threads = n};
   if (!is_measured(device))
      return;
   uint8_t *data =
      mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
   if (data == MAP_FAILED)
      return;
   memset(data, 1, size);
   pthread_barrier_init(&start, NULL, n);
   size_t share = size / n / 128 * 128;
   for (unsigned i = 0; i < n; i++) {
      workers[i] =
         (worker){.cpu = cpus[i], .data = data + i * share, .bytes = share, .start = &start};
      pthread_create(&workers[i].thread, NULL, work, &workers[i]);
   }
   double slowest = 0;
   for (unsigned i = 0; i < n; i++) {
      pthread_join(workers[i].thread, NULL);
      slowest = workers[i].read_seconds > slowest ? workers[i].read_seconds : slowest;
      out->ops_s += (double)CHAIN_ROUNDS * best_chain()->ops / workers[i].small_seconds;
      out->byte_ops_s += (double)CHAIN_ROUNDS * best_chain()->ops / workers[i].byte_seconds;
   }
   out->bytes_s = (double)share * n / slowest;
   pthread_barrier_destroy(&start);
   munmap(data, size + 4096);
}
