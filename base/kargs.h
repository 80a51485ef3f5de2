/* kargs.h - the one interface between the runtime and a CPU kernel. Stable layout: kernels are
 * machine code in artifacts and read these structs by offset. Changing them means raising
 * KARGS_ABI.
 *
 *    void kernel(const sinter_kargs *k, unsigned tile)
 *
 * A kernel has no external symbols, takes no lock, allocates nothing and may run on any thread. */
#ifndef BASE_KARGS_H
#define BASE_KARGS_H

#include <stdint.h>

enum {
   KARGS_ABI = 1,
   KARGS_MAX_PTRS = 24,
   KARGS_MAX_CONSTS = 24,
   PAGE_TOKENS = 16, /* positions in a KV page */
   ATTN_CHUNK = 256, /* positions in one attention partial: fixed, so that splits never move */
   ATTN_ROWS = 4,    /* most rows in an attention tile */
   GEMM_ROWS = 64,   /* rows of one GEMM tile */
   PANEL_ROWS = 16,  /* weight rows in a panel */
};

typedef enum sym {
#define SYM(name, what) SYM_##name,
#include "syms.def"
#undef SYM
   SYM_COUNT
} sym;

/* What changes from step to step. One per engine; every sinter_kargs points to it. */
typedef struct sinter_step_block {
   int64_t sym[8]; /* by enum sym */
   int64_t holds
      [4]; /* conditions of a GPU's launches, 1 or 0, as factors of their tiles (runtime/gpu_program.h) */
} sinter_step_block;

/* Built once per launch when a plan is loaded; pointers do not move afterwards. */
typedef struct sinter_kargs {
   const sinter_step_block *step;
   uint64_t num_ptrs;
   void *ptr[KARGS_MAX_PTRS]; /* buffers, weights, states, meta arrays, in the kernel's own order */
   int64_t konst[KARGS_MAX_CONSTS]; /* extents and strides of this launch (N, K, panel counts, …) */
} sinter_kargs;

typedef void sinter_kernel(const sinter_kargs *k, unsigned tile);

#endif
