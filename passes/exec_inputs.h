/* exec_inputs.h - one step of random or adversarial inputs for the interpreter.
 *
 * Every number is made from the name of the tensor, the element's index and the seed, so that two
 * functions see the same inputs however their leaves are ordered. */
#ifndef PASS_EXEC_INPUTS_H
#define PASS_EXEC_INPUTS_H

#include "ir/eval.h"

/* What the rows of a step hold: PROBE(name, what). */
#define PASS_PROBES(PROBE)                                                                         \
   PROBE(normal, "ordinary numbers")                                                               \
   PROBE(tiny, "rows of zeros, rows of 1e-12, and ordinary ones in turns")                         \
   PROBE(powers, "maxima of rows and blocks at powers of two, one ulp above and below")            \
   PROBE(nan, "NaN in the last row, beside ordinary rows")                                         \
   PROBE(hidden, "every other row has slot -1")
typedef enum pass_probe {
#define PROBE(name, what) PASS_PROBE_##name,
   PASS_PROBES(PROBE)
#undef PROBE
      PASS_PROBE_COUNT
} pass_probe;
extern const char *const pass_probe_names[PASS_PROBE_COUNT];

enum {
   PASS_EXEC_HISTORY = 3, /* positions that each sequence has before the step */
   PASS_EXEC_SEQS = 2,
   PASS_EXEC_STATES = 256,
};

typedef struct pass_inputs {
   arena *a;
   ir_step step;
   ir_env env;
   pass_probe probe;
   uint64_t seed;
   int64_t rows, seqs;
   const char *tables[8]; /* weights that are embedding tables: their rows are a step's rows */
   uint32_t num_tables;
   uint32_t num_states;
   struct {
      int64_t layer;
      ir_state_kind kind;
      ir_kv *kv;
   } states[PASS_EXEC_STATES];
} pass_inputs;

/* Fills *in for f, a step of about `rows` rows as far as f's ranges allow. All states of f exist
 * then, in the order of the function. */
void pass_inputs_make(pass_inputs *in, arena *a, const ir_func *f, int64_t rows, pass_probe probe,
                      uint64_t seed);

#endif
