/* golden.h - golden files of passes: input, what runs, what must come out, in one text.
 *
 *    // RUN: qkv_merge,act_mul row_limit=64        passes in this order, then options
 *    // A sentence that says why the case exists.
 *    func @name(T in 1..8) { … }
 *    // CHECK: text                                a later line of the printed result that holds it;
 *                                                 without text: to be written by --update
 *    // CHECK-NEXT: text                           the very next line
 *    // CHECK-NOT: text                            no line up to the next CHECK
 *    // DECLINE: text                              a site declined with a reason that holds it
 *    // ROUNDING: EXACT                            the class that the driver computed
 *    // NOTE: text                                 a note of the report
 *    // SKIP-EXEC: reason                          the case is not executed, and that is wanted
 *    // -----                                      next case
 *
 * In patterns {{…}} is a POSIX extended regular expression; $name is the same value wherever it
 * stands. Every case is executed before and after (exec.h), as it is, with another eps, and with
 * odd widths where the function is valid with them. Options: exact; with=, without=, skip=
 * (separated by +); attention=; row_limit=, pointers=, parts=, steps=, quant=, prologue=, repeat=,
 * segment=; int8=0; arch=NAME (before other options); prop=op+PROPERTY, host=field. `all` runs
 * every pass; a FINISH pass in the list runs all of these and prints the layout behind the
 * function. */
#ifndef PASS_GOLDEN_H
#define PASS_GOLDEN_H

#include "exec.h"
#include "pass.h"

typedef struct pass_golden {
   uint32_t cases, failed, skipped, declines;
   uint32_t variants;      /* executed besides the cases as they are */
   uint32_t updated;       /* cases with new CHECK lines */
   pass_agreement experts; /* where a router's choice is returned */
} pass_golden;

/* Runs every case of a golden text. Appends one paragraph per failed case to report.
 * Errors  bad_input when the text has no cases or a directive is unknown. */
SINTER_CHECKED sinter_status pass_golden_run(arena *a, const char *text, size_t len,
                                             const char *where, text_buf *report, pass_golden *out);

/* The same, and appends the text with the CHECK lines of cases that no longer hold made anew. A
 * case whose execution fails is never updated, and stays failed.
 * Errors  as pass_golden_run. */
SINTER_CHECKED sinter_status pass_golden_update(arena *a, const char *text, size_t len,
                                                const char *where, text_buf *report,
                                                text_buf *out_text, pass_golden *out);

/* Sets one option of a RUN line. NULL, or what is wrong with it. */
const char *pass_golden_option(arena *a, const char *key, const char *value, pass_target *t,
                               pass_options *o);

#endif
