/* simt_abi.h - the one interface between a GPU device and its kernels. kernels/simt.h spells it
 * again for compilers that have no headers; the text of every module asserts that the two agree.
 *
 *    kernel(simt_args) on a grid of `tiles` blocks or more, SIMT_THREADS threads each
 *
 * A block past the tiles that the step block asks for returns at once, so that one recorded grid
 * serves every step up to its size. */
#ifndef BASE_SIMT_ABI_H
#define BASE_SIMT_ABI_H

#include "kargs.h"

enum {
   SIMT_ABI = 1,
   SIMT_THREADS = 128,          /* of every block */
   SIMT_MAX_SHARED = 48 << 10,  /* bytes of a block that every device has without asking */
   SIMT_MOST_SHARED = 160 << 10 /* that any has: arch_block_shared */
};

/* Passed by value; all addresses are the device's. */
typedef struct simt_args {
   sinter_kargs k;
   int64_t tiles; /* plan_extent of the launch */
   uint32_t num_factors, unused;
   uint32_t factor[3][2]; /* word of the step block, div */
} simt_args;

/* The code section of a GPU's target: a row for each kernel of the plan, then objects of its
 * driver. Kernels of one object have equal rows; size 0: there is no such kernel. */
typedef struct simt_code_row {
   uint64_t offset, size; /* from the section's begin */
} simt_code_row;

#endif
