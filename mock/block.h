/* block.h - runs a grid of blocks: every thread a fiber, one block after the other.
 *
 * What a GPU leaves open is chosen so that mistakes show: shared memory is NaN at the start, and of
 * the threads that can go on it is always the first one (or the last one) that does, as far as it
 * gets, so that a missing barrier reads what is not there yet. */
#ifndef MOCK_BLOCK_H
#define MOCK_BLOCK_H

#include <stdint.h>

#include "kernels/simt_host.h"

typedef enum mock_order { MOCK_FIRST, MOCK_LAST, MOCK_ROUND, MOCK_ORDER_COUNT } mock_order;

/* Kernel and where its module keeps `simt_self`. */
typedef struct mock_kernel {
   void (*call)(const void *args);
   simt_fiber **self;
   const char *name;
} mock_kernel;

/* Runs blocks 0 .. grid of `threads` threads in warps of `warp`. NULL, or what went wrong: threads
 * that do not all come to a barrier, or lanes that meet at different places. */
const char *mock_run_grid(const mock_kernel *kernel, uint32_t grid, uint32_t threads, uint32_t warp,
                          mock_order order, const void *args);

/* From a handler of faults, on the stack of a kernel's thread: ends the grid with these words.
 * Comes back when the fault is not of the kernel that runs. */
void mock_block_fault(const char *what);

#endif
