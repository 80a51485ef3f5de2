/* formula.h - the meaning of an op with property FORMULA, taken apart: kernels compute what
 * ops.def says.
 *
 *    sum    = term { (+ | -) term }        factor = number | x | attribute | - factor | ( sum )
 *    term   = factor { (* | /) factor }             | function ( sum [, sum] )
 *
 * x is the element of operand 0; attributes are the op's, and must be FLOAT; functions are those of
 * formula.def. */
#ifndef IR_FORMULA_H
#define IR_FORMULA_H

#include "ir.h"

typedef enum ir_formula_fn {
#define FN(name, operands, vec, simt) IR_FORMULA_##name,
#include "formula.def"
#undef FN
   IR_FORMULA_COUNT
} ir_formula_fn;

/* Makes a value of a number, and of one or two values (b is NULL for one). */
typedef struct ir_formula {
   void *user;
   void *(*number)(void *user, double v);
   void *(*call)(void *user, ir_formula_fn fn, void *a, void *b);
} ir_formula;

/* The value of op's formula for x, innermost first and from left to right; NULL when its meaning is
 * no formula. */
void *ir_formula_of(const ir_op *op, const ir_formula *make, void *x);
/* The same of any text. */
void *ir_formula_read(const char *text, const ir_op *op, const ir_formula *make, void *x);

#endif
