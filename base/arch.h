/* arch.h - machines that compiles can be judged for without having them or their compiler. */
#ifndef BASE_ARCH_H
#define BASE_ARCH_H

#include "base.h"

/* Which 8-bit floats the matrix units take. */
typedef enum arch_fp8 { ARCH_FP8_NONE, ARCH_FP8_OCP, ARCH_FP8_FNUZ } arch_fp8;

/* A row of archs.def. */
typedef struct arch_info {
   const char *name, *machine;
   uint32_t shared_bytes; /* of one block */
   double bytes_per_ns;
   double f32_tflops, bf16_tflops; /* of plain multiply-adds, of matrix units (0: none) */
   double launch_ns;
   arch_fp8 fp8;
   bool matrix;            /* there are kernels for its matrix units */
   uint32_t warp;          /* threads that run in step */
   uint32_t units;         /* multiprocessors */
   uint32_t registers;     /* of a multiprocessor; 0: launch bounds are not said */
   uint32_t rows, columns; /* of a product's tile */
   uint32_t stages, ahead; /* copies under way: of a product, of an attention */
} arch_info;

/* Rows in order; NULL past the last. */
const arch_info *arch_at(uint32_t i);

/* The row of that name; NULL when there is none. */
const arch_info *arch_find(const char *name);

/* The target that makes kernels for it: "cuda" or "hip". */
const char *arch_vendor(const arch_info *a);

/* Shared memory that a block of it has without asking the driver for more. */
uint64_t arch_block_shared(const arch_info *a);

/* "none", "ocp" or "fnuz". */
const char *arch_fp8_name(arch_fp8 fp8);

/* Checks a name of archs.def or a level of isa.def. Errors USAGE, listing all of them. */
SINTER_CHECKED sinter_status arch_check(const char *name);

#endif
