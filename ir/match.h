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

/* Why a position of a pattern failed: NEAR(name, text). */
#define IR_NEARS(NEAR)                                                                             \
   NEAR(op, "is another op")                                                                       \
   NEAR(uses, "has more than one use, or is returned")                                             \
   NEAR(dtype, "has another dtype")                                                                \
   NEAR(rank, "has another rank")                                                                  \
   NEAR(same, "is not the value that the pattern has met before")                                  \
   NEAR(where, "does not meet the pattern's condition")                                            \
   NEAR(result, "is another result of its op")                                                     \
   NEAR(operands, "is absent")
typedef enum ir_near_kind {
#define NEAR(name, text) IR_NEAR_##name,
   IR_NEARS(NEAR)
#undef NEAR
} ir_near_kind;

/* How far a pattern got: of all orders of operands, the one that named the most ops. */
typedef struct ir_near {
   uint32_t matched, total; /* ops of the pattern */
   ir_near_kind kind;       /* of the first position that failed */
   const ir_pat *pattern;   /* that position */
   const ir_value *value;   /* what stands there, NULL when absent */
   const ir_op *reader;     /* whose operand it is, NULL at the root */
   uint32_t operand;
} ir_near;

/* Explains why p does not match at op. False when it does, or when op is not of p's root kind. */
bool ir_match_near(const ir_pat *p, ir_op *op, ir_near *out);

#endif
