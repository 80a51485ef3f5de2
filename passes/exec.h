/* exec.h - runs a function before and after passes on the same inputs and compares.
 *
 * Inputs are ordinary numbers and the adversarial rows of exec_inputs.h. The rule follows the
 * rounding class that was computed for the change:
 *
 *    EXACT         equal bits, in f64 and in declared types
 *    ROUND_FEWER   equal in f64; rms error of the declared run against f64 at most 1.05 times what
 *                  it was, and at most one ulp more at the 99.9th percentile
 *    REORDER       equal in f64 up to 1e-9 of the size; the errors as for ROUND_FEWER
 *    ROUND_MORE    error against the f64 run of `before` below 3 % of its size
 *    RANGE_CHANGE  the same, but for rows smaller than 1e-6, where a scale's floor decides
 *    all           one-byte codes: at most one step off (floats: unless below 2^-6 of the largest),
 *                  at most 5 % of them; index sets agree with f64 at least as often as before; no NaN
 *                  where there was none, none lost while no rounding is added
 *
 * docs/writing-a-pass.md, section 4, says when each applies. */
#ifndef PASS_EXEC_H
#define PASS_EXEC_H

#include "exec_inputs.h"
#include "pass.h"

enum { PASS_PROBES_ALL = (1u << PASS_PROBE_COUNT) - 1 };

/* Compares two functions with equal returns and states under these probes (bits). False, with lines
 * in `why`, when they differ. Errors: what the interpreter reports. */
SINTER_CHECKED sinter_status pass_exec_probe(arena *a, const ir_func *before, const ir_func *after,
                                             pass_rounding rounding, uint32_t probes, text_buf *why,
                                             bool *out_same);

/* Under all of them. */
SINTER_CHECKED sinter_status pass_exec_compare(arena *a, const ir_func *before,
                                               const ir_func *after, pass_rounding rounding,
                                               text_buf *why, bool *out_same);

/* The first value out of contract. */
typedef struct pass_spot {
   bool found;
   const char *value;          /* "%name", "op 7 (add)", or "state 0 k" */
   int64_t index[IR_MAX_RANK]; /* of the element */
   uint32_t rank;
   double got, want;
   const char *what; /* the rule that it breaks */
   pass_probe probe;
   int64_t rows;
} pass_spot;

/* Walks the values of `after` in program order and finds the first one that breaks the rule, under
 * the probe that shows it. Values correspond by id: `after` was made from a clone of `before`. */
SINTER_CHECKED sinter_status pass_exec_first(arena *a, const ir_func *before, const ir_func *after,
                                             pass_rounding rounding, pass_spot *out);

/* ---- the rule itself (exec_rule.c) ---- */

/* One value in four runs: before and after, in f64 and declared. */
typedef struct pass_four {
   const ir_tensor *before_f64, *before, *after_f64, *after;
   dtype type;
} pass_four;

/* What is wrong with a value; what NULL: nothing. */
typedef struct pass_finding {
   const char *what;
   double got, want;
   int64_t element;
} pass_finding;

/* "GOT<between>WANT" with as many digits as tell them apart; where the usual ones do not, it says
 * what that means. */
const char *pass_numbers(arena *a, double got, const char *between, double want);

/* Rows that choose, and how many of them choose as in f64. */
typedef struct pass_agreement {
   int64_t rows, before, after;
} pass_agreement;

/* Adds the rows of a value of indices; returns where the last row stands that chose as f64 does
 * before and no longer does. */
int64_t pass_agreement_add(pass_agreement *sum, const pass_four *v);

/* Adds the experts that are chosen in several draws of ordinary numbers, by every returned result
 * of a route. Errors: what the interpreter reports. */
SINTER_CHECKED sinter_status pass_exec_agreement(arena *a, const ir_func *before,
                                                 const ir_func *after, pass_agreement *sum);

/* Judges one value of one run. */
pass_finding pass_rule_check(const pass_four *v, pass_rounding rounding);

/* Errors of one result over several runs. */
typedef struct pass_errors {
   double *was, *is, *unit; /* per element: distances to f64, and one ulp there */
   int64_t count, cap;
} pass_errors;

void pass_errors_add(arena *a, pass_errors *e, const pass_four *v);
/* Judges what was collected by the rule for ROUND_FEWER. */
pass_finding pass_errors_check(const pass_errors *e);

int64_t pass_tensor_count(const ir_tensor *t);

#endif
