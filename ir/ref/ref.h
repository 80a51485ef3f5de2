/* ref.h - the meaning of every op, in plain C over doubles. ops.def demands one ref_<op> per row.
 */
#ifndef IR_REF_H
#define IR_REF_H

#include "ir/eval.h"

/* A value while it lives. Weights that are only read by rows have no data. */
typedef struct ref_value {
   const ir_type *type;
   ir_tensor t;
   int64_t size;       /* elements of t */
   ir_kv *kv;          /* states */
   int64_t window;     /* states: 0 all positions */
   int64_t ratio;      /* states of entries: positions of a chunk; else 0 */
   const char *weight; /* weights: name in the checkpoint */
} ref_value;

enum { REF_SCRATCH = 4 };

typedef struct ref_call {
   arena *a; /* scratch */
   const ir_op *op;
   const ref_value **in;
   ref_value **out; /* extents set, data allocated unless the op is a leaf or makes a state */
   const ir_step *step;
   const ir_env *env;
   ir_eval_mode mode;
   struct {
      double *data;
      int64_t size;
   } scratch[REF_SCRATCH];
   bool by_rows; /* weight: nobody needs the data as a whole */
} ref_call;

typedef sinter_status ref_meaning(ref_call *c);

#define OP(name, ...) ref_meaning ref_##name;
#include "ir/ops.def"
#undef OP

/* A failure that names the op. */
SINTER_CHECKED sinter_status ref_fail(const ref_call *c, sinter_status status, const char *fmt, ...)
   PRINTF_LIKE(3, 4);

/* Extents of a type at the step's symbols. */
SINTER_CHECKED sinter_status ref_extents(const ref_call *c, const ir_type *type, ref_value *out);

/* Rows first .. first+count of a matrix operand, from the checkpoint or from its data. */
SINTER_CHECKED sinter_status ref_rows(const ref_call *c, uint32_t operand, int64_t first,
                                      int64_t count, double *out);

/* n doubles that live until the op ends; slots are 0 .. REF_SCRATCH - 1. Contents are arbitrary. */
double *ref_scratch(ref_call *c, uint32_t slot, int64_t n);

/* Sequence and position of row t, which has to lie within the state. */
SINTER_CHECKED sinter_status ref_place(const ref_call *c, const ir_kv *kv, int64_t t, int64_t *seq,
                                       int64_t *position);

/* Sum of products of n elements, in four sums. */
double ref_dot(const double *x, const double *y, int64_t n);

/* log(1 + exp(x)), x itself above 20. */
double ref_softplus_of(double x);

/* y[rows,n] = x[rows,K] by rows first .. first + n of the matrix, or stack of matrices, in operand
 * `w`. Uses scratch 0 and 1. */
SINTER_CHECKED sinter_status ref_multiply(ref_call *c, const double *x, int64_t rows, uint32_t w,
                                          int64_t first, int64_t n, double *y);

/* v as it is stored in that type: rounded only in IR_EVAL_declared. */
double ref_round(const ref_call *c, dtype t, double v);

static inline int64_t ref_row(const ref_value *v)
{
   return v->t.rank ? v->t.dim[v->t.rank - 1] : 1;
}

#endif
