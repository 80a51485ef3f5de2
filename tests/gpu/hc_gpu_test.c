// LINK: codegen passes models ir runtime base sinter_mock
/* Hyper-connections as SIMT text: the program that holds the CPU's kernels to the f64 meaning, on
 * the mock's threads, with warps of 64. Levels of a CPU make no difference here: the first one
 * stands for all. */
#include "simt_run.h"

#define ISA_LEVEL_COUNT 1
#define isa_best() ((isa_level)0)
#include "tests/conform/hc_test.c"

static __attribute__((constructor)) void stand_in(void)
{
   harness_stand_in = &warps[1];
}
