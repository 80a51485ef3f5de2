/* internal.h - what the files of ir/ share: op creation below the builders, names, operands that
 * are implied. */
#ifndef IR_INTERNAL_H
#define IR_INTERNAL_H

#include "ir.h"

enum { IR_MAX_RESULTS = 4 }; /* of one op; checked for every row of ops.def */

/* An op with fresh results of type none, in no list yet; operands are NULL until ir_use_set. */
ir_op *ir_op_create(ir_func *f, ir_opcode code, uint32_t num_operands, uint32_t num_results);

/* Puts op into the list before `before`, or at the end. */
void ir_op_attach(ir_func *f, ir_op *op, ir_op *before);

/* Sets an operand and keeps the use lists in step; v may be NULL. */
void ir_use_set(ir_func *f, ir_op *op, uint32_t i, ir_value *v);

/* Whether s can stand behind % or @: [A-Za-z_][A-Za-z0-9_.]*. */
bool ir_name_is_legal(const char *s, size_t len);
bool ir_name_char(char c, bool first);

/* The numbers nameless values are printed with, by value id. */
uint32_t *ir_number_values(arena *a, const ir_func *f);

/* A group named by its caller, without members. */
ir_group *ir_group_create(ir_func *f, const char *name, const char *rule);
/* Makes op a member; call in program order. */
void ir_group_append(ir_group *g, ir_op *op);

/* The rule in a kernel's name: the name without its number, "" for k. */
const char *ir_group_rule_of(arena *a, const char *name, size_t len);

/* Drops an op from the count of its group, and the group when it was the last. */
void ir_group_drop(ir_func *f, ir_op *op);

#endif
