/* gemm_bench.c - speed of the GEMM kernels by themselves: GEMV against the memory's read bandwidth,
 * GEMM in operations a second. Not a test: run it on a quiet machine.
 *
 *    gemm_bench [dtype [K [N [float]]]]      default q4_1 1536 4096, int8 activations where there are any
 *
 * Build, with a configured build folder B:
 *    cc -O2 -I. -Iinclude -I/usr/lib/llvm-22/include bench/gemm_bench.c B/libcodegen.a B/libbase.a \
 *       -L/usr/lib/llvm-22/lib -lLLVM-22 -lxxhash -lsodium -lyajl -lm -lpthread -o gemm_bench */
#include "base/isa.h"
#include "base/pack.h"
#include "kernels/cpu/gemm.h"

#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* FILL: every byte; ordinary numbers as f16 and as f32, where denormal ones would cost hundreds of
 * cycles. */
enum { MAX_M = 512, WEIGHT_BYTES = 96 << 20, FILL = 0x3c };

static uint64_t num_cols = 1536, num_rows = 4096;
static int num_sets;

static double now(void)
{
   struct timespec t;

   clock_gettime(CLOCK_MONOTONIC, &t);
   return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct work {
   sinter_kernel *kernel;
   sinter_kargs args;
   sinter_step_block step;
   uint8_t *panels; /* num_sets weights */
   uint64_t size;
   int64_t tiles;
   int part, parts, sets;
} work;

/* This thread's share of the tiles of every weight. */
static void *share(void *user)
{
   work w = *(work *)user;
   int64_t from = w.tiles * w.part / w.parts, to = w.tiles * (w.part + 1) / w.parts;

   w.args.step = &w.step;
   for (int s = 0; s < w.sets; s++) {
      w.args.ptr[w.args.num_ptrs - 1] = w.panels + (uint64_t)s * w.size;
      for (int64_t t = from; t < to; t++)
         w.kernel(&w.args, (unsigned)t);
   }
   return NULL;
}

static volatile uint64_t sink;

static void *read_all(void *user)
{
   work *w = user;
   const uint64_t *p = (const uint64_t *)w->panels;
   uint64_t n = w->size * (uint64_t)num_sets / 8, from = n * w->part / w->parts,
            to = n * (w->part + 1) / w->parts;
   uint64_t a = 0, b = 0, c = 0, d = 0;

   for (uint64_t i = from; i + 4 <= to; i += 4) {
      a += p[i];
      b += p[i + 1];
      c += p[i + 2];
      d += p[i + 3];
   }
   sink = a + b + c + d;
   return NULL;
}

/* Best seconds of `times` runs of body on `parts` threads. */
static double best(void *(*body)(void *), const work *w, int parts, int times)
{
   double least = 1e9;

   for (int i = 0; i < times; i++) {
      work each[8];
      pthread_t thread[8];
      double start = now();
      for (int p = 0; p < parts; p++) {
         each[p] = *w;
         each[p].part = p;
         each[p].parts = parts;
         if (p)
            pthread_create(&thread[p], NULL, body, &each[p]);
      }
      body(&each[0]);
      for (int p = 1; p < parts; p++)
         pthread_join(thread[p], NULL);
      double s = now() - start;
      least = s < least ? s : least;
   }
   return least;
}

static sinter_kernel *compile(const gemm_key *key)
{
   vec_module *m;
   LLVMOrcLLJITRef jit;
   LLVMOrcExecutorAddress at;
   uint8_t *bytes;
   size_t size;
   char symbol[GEMM_SYMBOL_MAX];

   LLVMInitializeX86TargetInfo();
   LLVMInitializeX86Target();
   LLVMInitializeX86TargetMC();
   LLVMInitializeX86AsmPrinter();
   gemm_symbol(key, symbol);
   double start = now();
   if (vec_module_create(&isa_infos[isa_best()], &m) != SINTER_ok)
      exit(1);
   gemm_emit(m, key);
   if (vec_module_object(m, &bytes, &size) != SINTER_ok || LLVMOrcCreateLLJIT(&jit, NULL))
      exit(1);
   printf("%s: %zu bytes, %.1f ms\n", symbol, size, (now() - start) * 1e3);
   const char *dump = getenv("GEMM_BENCH_DUMP");
   FILE *f = dump ? fopen(dump, "wb") : NULL;
   if (f) {
      fwrite(bytes, 1, size, f);
      fclose(f);
   }
   LLVMMemoryBufferRef copy =
      LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)bytes, size, symbol);
   if (LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), copy) ||
       LLVMOrcLLJITLookup(jit, &at, symbol))
      exit(1);
   return (sinter_kernel *)(uintptr_t)at;
}

static void measure(work *w, plan_launch *l, int m, int parts)
{
   w->step.sym[SYM_T] = m;
   w->tiles = plan_extent_eval(&l->tiles, w->step.sym);
   w->sets = m == 1 ? num_sets : 2;
   double s = best(share, w, parts, m == 1 ? 12 : m < 64 ? 30 : 8) / w->sets;
   double ops = 2.0 * (double)num_rows * (double)num_cols * m;
   printf("  M %3d, %d threads: %6.1f GOP/s", m, parts, ops / s * 1e-9);
   if (m == 1)
      printf(", %5.1f GB/s", (double)w->size / s * 1e-9);
   printf("\n");
}

int main(int argc, char **argv)
{
   static const int ms[] = {1, 2, 4, 16, 64, 512};
   const char *name = argc > 1 ? argv[1] : "q4_1";
   dtype t = dtype_from_name(name, strlen(name));

   gemm_key key = {.w = pack_layout_of(t), .int8 = pack_quant_group(t) && argc <= 4};
   plan_launch l = {0};
   work w = {.parts = 1};

   if (argc > 2)
      num_cols = strtoull(argv[2], NULL, 10);
   if (argc > 3)
      num_rows = strtoull(argv[3], NULL, 10);
   if (gemm_unsupported(&key, num_cols) || !pack_size(key.w, num_rows, num_cols, &w.size))
      return 2;
   num_sets = (int)(WEIGHT_BYTES / w.size) + 1;
   w.kernel = compile(&key);
   gemm_launch(&key, (gemm_rows){.is_sym = true, .sym = SYM_T}, num_rows, num_cols, &l);
   memcpy(w.args.konst, l.consts, sizeof w.args.konst);
   w.args.num_ptrs = l.num_refs;
   uint64_t all = base_align((uint64_t)num_sets * w.size, 64);
   w.panels = aligned_alloc(64, all);
   memset(w.panels, FILL, all);
   for (uint32_t i = 0; i < w.args.num_ptrs; i++) {
      uint64_t bytes = 4 * MAX_M * MAX(num_rows, num_cols);
      w.args.ptr[i] = aligned_alloc(64, bytes);
      memset(w.args.ptr[i], FILL, bytes);
   }
   for (int parts = 1; parts <= 2; parts++) {
      double s = best(read_all, &w, parts, 10);
      printf("read, %d threads: %.1f GB/s\n", parts, (double)w.size * num_sets / s * 1e-9);
      for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
         measure(&w, &l, ms[i], parts);
   }
   return 0;
}
