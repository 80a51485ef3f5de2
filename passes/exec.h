/* exec.h - runs a function before and after passes on the same random inputs and compares. */
#ifndef PASS_EXEC_H
#define PASS_EXEC_H

#include "pass.h"

/* Compares two functions with equal returns and leaves by running both on the interpreter, for a step of
 * one row and one of several. The rule follows the rounding class that was computed for the change:
 *
 *    EXACT         equal bits, in f64 and in declared types
 *    ROUND_FEWER   equal in f64; error of the declared run against f64 at most 1.05 times what it was
 *    others        error against the f64 run of `before` below 3 % of its standard deviation, codes at
 *                  most one step off
 *
 * Returned tensors and the contents of all states are compared. False, with lines in `why`, when they
 * differ. Errors: what the interpreter reports. */
SINTER_CHECKED sinter_status pass_exec_compare(arena *a, const ir_func *before,
                                               const ir_func *after, pass_rounding rounding,
                                               text_buf *why, bool *out_same);

#endif
