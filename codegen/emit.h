/* emit.h - what the files that emit row kernels share: the kernel under construction. */
#ifndef CG_EMIT_H
#define CG_EMIT_H

#include "region.h"

/* What is known of a value at the place where code is being added. */
typedef struct cg_memo {
   vec_value i, value; /* of the element at i, in a vector of `lanes` */
   uint32_t lanes;
   vec_value factor; /* norms: what the current head is multiplied by, a scalar */
} cg_memo;

typedef struct cg_emit {
   vec_fn *f;
   const cg_region *r;
   uint32_t lanes;
   vec_value row, block, ptr[KARGS_MAX_PTRS];
   vec_value *base;     /* address of the row, by value */
   cg_memo *memo;       /* by value */
   vec_value o;         /* current head */
   const cg_stage *run; /* what the current loop stores */
   vec_value at;        /* kv_write: where the current head of this row goes; mla_write: its part */
   uint32_t part;       /* mla_write: operand */
} cg_emit;

static inline const cg_value *cg_emit_value(const cg_emit *e, const ir_value *v)
{
   return cg_region_value(e->r, v);
}

/* Address of element i of the current head. */
vec_value cg_emit_element(cg_emit *e, const cg_value *c, vec_value i);

/* `lanes` elements of v from i on, as f32. */
vec_value cg_emit_eval(cg_emit *e, const ir_value *v, vec_value i, uint32_t lanes);

/* Computes the factors of the norms that op needs inline for the current head. */
void cg_emit_prepare(cg_emit *e, const ir_op *op);

/* Forgets values and factors: what follows may not be dominated by them. */
void cg_emit_forget(cg_emit *e, bool factors);

/* Calls each for vectors, then single elements, of 0 .. n, or of the tile's block of them. */
typedef void cg_emit_body(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes);
void cg_emit_elements(cg_emit *e, int64_t n, const ir_op *op, cg_emit_body *each);

/* Stages of their own form, each for one op: all heads of the row. */
void cg_emit_rope(cg_emit *e, const ir_op *op);
void cg_emit_concat(cg_emit *e, const ir_op *op);
void cg_emit_kv(cg_emit *e, const ir_op *op);
void cg_emit_latent(cg_emit *e, const ir_op *op);
void cg_emit_quant(cg_emit *e, const ir_op *op);

#endif
