/* match.h - patterns over the graph, as constant data (at file scope).
 *
 *    enum { X, W, N, Q, S };
 *    static const ir_pat *const p =
 *       PAT(quant, SUB(rmsnorm, ANY(X), ANY(W), .as = N, .only_use = true), .as = Q, .as2 = S);
 *
 * matches a quant whose input is a norm that nothing else reads. PAT and SUB take one pattern per
 * operand, then options; operands without a pattern match anything. ANY(X) captures a value as X;
 * the same index twice must be the same value. Ops with the property COMMUTES are tried in both
 * orders. SUBS/PATS take a set of ops: IR_SET(silu) | IR_SET(gelu). */
#ifndef IR_MATCH_H
#define IR_MATCH_H

#include "ir.h"

enum { IR_MATCH_OPERANDS = 4, IR_MATCH_CAPTURES = 24, IR_MATCH_OPS = 32, IR_MATCH_NONE = -1 };

typedef struct ir_pat ir_pat;
struct ir_pat {
   int as; /* capture index of the value; first so that ANY(X) sets it */
   const ir_pat *in0, *in1, *in2, *in3; /* operands; NULL: anything */
   uint64_t ops;                        /* set of opcodes; 0: a wildcard */
   int as2;                             /* capture index of the op's results[1] */
   uint32_t result;                     /* which result of the op the value must be */
   bool only_use;                       /* the value has one use and is not returned */
   dtype dtype;                         /* DT_none: any */
   dtype_kind kind;                     /* DTYPE_NONE: any */
   uint32_t rank;                       /* 0: any */
   bool (*where)(const ir_value *v);    /* NULL: no further condition */
};

#define IR_SET(op) (UINT64_C(1) << IR_OP_##op)
#define PATS(set, ...)                                                                             \
   (&(const ir_pat){.as2 = IR_MATCH_NONE, .as = IR_MATCH_NONE, __VA_ARGS__, .ops = (set)})
#define PAT(op, ...) PATS(IR_SET(op), __VA_ARGS__)
#define SUB(op, ...) PATS(IR_SET(op), __VA_ARGS__)
#define SUBS(set, ...) PATS(set, __VA_ARGS__)
#define ANY(...) (&(const ir_pat){.as2 = IR_MATCH_NONE, .as = __VA_ARGS__, .ops = 0})

typedef struct ir_match {
   ir_value *cap[IR_MATCH_CAPTURES]; /* NULL where the pattern captured nothing */
   ir_op *ops[IR_MATCH_OPS];         /* ops that the pattern names, in program order, each once */
   uint32_t num_ops;
} ir_match;

/* Whether p matches with op as its root; fills *out only then. */
bool ir_match_op(const ir_pat *p, ir_op *op, ir_match *out);

#endif
