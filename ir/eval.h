/* eval.h - runs a function on its reference meanings.
 *
 * Values are arrays of double. In IR_EVAL_f64 float results are not rounded (the oracle); in
 * IR_EVAL_declared each result is rounded to its declared dtype. Integer codes are computed as
 * defined in both. States are contiguous: k and v of every position of every sequence. */
#ifndef IR_EVAL_H
#define IR_EVAL_H

#include "ir.h"

typedef enum ir_eval_mode { IR_EVAL_f64, IR_EVAL_declared } ir_eval_mode;

typedef struct ir_tensor {
   uint32_t rank;
   int64_t dim[IR_MAX_RANK];
   double *data;
} ir_tensor;

/* k, v of one layer: data[(pos * G + g) * d + i] per sequence. v is NULL for kinds of one row. */
typedef struct ir_kv {
   int64_t heads, width, capacity; /* capacity in positions per sequence */
   uint32_t num_seqs;
   double **k, **v; /* one array per sequence */
} ir_kv;

/* What a step looks like to the interpreter; rows of meta.def as the ops need them. */
typedef struct ir_step {
   int64_t sym[SYM_COUNT];
   const int32_t *token_ids, *next_ids, *positions, *seq_of, *rows, *ends, *corners;
   const float *patches, *corner_weights, *features;
   const bool *writes; /* per row, NULL all true: false is slot -1 */
   uint32_t num_rope;
   const ir_tensor *rope; /* per table, [T, N] */
} ir_step;

typedef struct ir_eval ir_eval;

/* Where leaves come from. Returned tensors are only read; weights are dequantised rows [N,K]. */
typedef struct ir_env {
   void *user;
   SINTER_CHECKED sinter_status (*weight)(void *user, const char *name, const ir_type *type,
                                          ir_tensor *out);
   /* One row of a weight (embed, and matmul by blocks of rows), as double[row length]. */
   SINTER_CHECKED sinter_status (*weight_rows)(void *user, const char *name, const ir_type *type,
                                               int64_t first, int64_t count, double *out);
   SINTER_CHECKED sinter_status (*param)(void *user, const char *name, const ir_type *type,
                                         ir_tensor *out);
   ir_kv *(*state)(void *user, int64_t layer, const ir_type *type);
} ir_env;

/* Runs f for one step; results[i] is the value of return i (states: data NULL). Memory comes from
 * a; states are updated in place. trace, when not NULL, sees every value as it is computed. */
SINTER_CHECKED sinter_status ir_eval_run(arena *a, const ir_func *f, ir_eval_mode mode,
                                         const ir_step *step, const ir_env *env, ir_tensor *results,
                                         void (*trace)(void *user, const ir_value *v,
                                                       const ir_tensor *t),
                                         void *trace_user);

#endif
