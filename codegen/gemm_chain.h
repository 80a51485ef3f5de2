/* gemm_chain.h - a matmul and what follows it in its kernel: between lower_gemm.c, which reads it,
 * and lower_combine.c, which brings experts' slots together. */
#ifndef CG_GEMM_CHAIN_H
#define CG_GEMM_CHAIN_H

#include "lower.h"

/* A launch under construction. */
typedef struct cg_chain {
   const cg_lower *l;
   const ir_group *g;
   const ir_op *start, *second; /* second: matmul behind mul_second */
   const ir_op *combine;        /* the end, when slots come together in it */
   const ir_op *quant;          /* the end, when the result is quantised */
   const ir_op *norm;           /* of x, in the same kernel */
   const ir_op *routed;         /* sum of experts that a step adds, in the same kernel */
   const ir_value *end;         /* what the chain has come to */
   gemm_key key;
   const ir_value *extra[GEMM_MAX_STEPS]; /* NULL: the result itself, which starts as the sum */
   uint32_t num_extra;
} cg_chain;

/* Steps up to the end of the chain, or to the sum of a routed one. */
SINTER_CHECKED sinter_status cg_chain_read(cg_chain *c, const ir_op *start);

/* Tiles, constants and the like of a chain's launch. */
SINTER_CHECKED sinter_status cg_chain_plan(const cg_chain *c, plan_launch *out);

/* The split of x in front of a product of parts. *split: whose parts are in scratch memory. */
void cg_chain_parts(cg_chain *c, const ir_value **split, cg_launches *out);

/* Appends a launch of the chain's kernel, without pointers. */
cg_launch *cg_chain_launch(const cg_chain *c, gemm_form form, const plan_launch *own,
                           cg_launches *out);

/* Pointers in the order of gemm.h; y: the result of the kernel. Inputs: those behind y. */
void cg_chain_refs(const cg_chain *c, const ir_value *y, cg_launch *to);
void cg_chain_inputs(const cg_chain *c, const ir_value *y, cg_launch *to);

/* Room in the arena for `bytes` of each row of the chain; *bytes becomes that of all of them. */
plan_ref cg_chain_room(const cg_chain *c, uint64_t *bytes, cg_launches *out);

/* The launch of a finished chain. */
SINTER_CHECKED sinter_status cg_chain_alone(cg_chain *c, const ir_value **split, cg_launches *out);

/* The launches of a chain that ends in a sum of slots, or adds one (lower_combine.c). */
SINTER_CHECKED sinter_status cg_lower_sums(cg_chain *c, const ir_value **split, cg_launches *out);

/* Whether tokens are picked from what the chain makes (lower_sample.c); the launches of one that
 * does: the product keeps the largest of each tile, and the one behind it finds the row's. */
bool cg_chain_makes_logits(const cg_chain *c);
void cg_chain_picks(cg_chain *c, const plan_launch *own, cg_launches *out);

/* The same for a group of head_argmax: the product leaves bounds. */
SINTER_CHECKED sinter_status cg_chain_bounds(cg_chain *c, cg_launches *out);

SINTER_CHECKED sinter_status cg_chain_refuse(const ir_op *op, const char *why);

#endif
