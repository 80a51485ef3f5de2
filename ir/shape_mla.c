/* shape_mla.c - type rules of latent attention: a matrix per head, latent states. */
#include "shape.h"

const char *sh_transpose(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0);

   if (kind(x) == DTYPE_NONE || x->rank < 2)
      return "operand 0 must be a tensor with two dims at least";
   *out = *x;
   out->dim[x->rank - 1] = x->dim[x->rank - 2];
   out->dim[x->rank - 2] = x->dim[x->rank - 1];
   if (kind(x) == DTYPE_BLOCK || kind(x) == DTYPE_SCALED)
      out->dtype = DT_f32;
   return NULL;
}

const char *sh_head_matmul(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *w = in(op, 1);

   if (!is_float(x) || x->rank != 3)
      return "operand 0 must be floats [T,H,K]";
   if (!is_weight(w) || w->rank != 3 || !ir_dim_equal(w->dim[0], x->dim[1]) ||
       !ir_dim_equal(w->dim[2], x->dim[2]))
      return "operand 1 must be matrices [H,N,K] with the H, K of operand 0";
   *out = *x;
   out->dim[2] = w->dim[1];
   out->dtype = declared(op, x->dtype);
   return NULL;
}

/* Whether t is a state of that kind. */
static bool is_latent(const ir_type *t)
{
   return t->state == IR_STATE_mla && t->rank == 2;
}

/* Whether t keeps one row that all heads share. */
static bool keeps_rows(const ir_type *t)
{
   return t->state != IR_STATE_none && ir_state_infos[t->state].rows == 1 && t->rank == 2;
}

const char *sh_mla_state0(const ir_op *op, ir_type *out)
{
   if (op->num_operands < 2 || op->num_operands > IR_MAX_PARTS + 1)
      return "a state and from 1 to 8 parts of a row are taken";
   const ir_type *state = in(op, 0), *c = in(op, 1);
   int64_t width = 0;

   if (!keeps_rows(state))
      return "operand 0 must be a state [1,d] of one row a position";
   for (uint32_t i = 1; i < op->num_operands; i++) {
      const ir_type *part = in(op, i);
      if (!is_float(part) || part->rank != 3 || !same_dims(part, 1, state, 0, 1) ||
          !same_dims(part, 0, c, 0, 1) || ir_type_row(part) < 1)
         return "the parts must be floats [T,1,r]";
      width += ir_type_row(part);
   }
   if (width != ir_type_row(state))
      return "the parts must be as wide as the state";
   *out = *state;
   return NULL;
}

const char *sh_mla_attn(const ir_op *op, ir_type *out)
{
   const ir_type *q = in(op, 0), *p = in(op, 1), *state = in(op, 2);

   if (!is_float(q) || q->rank != 3 || !ir_dim_is_const(q->dim[1]) || ir_type_row(q) < 1)
      return "operand 0 must be floats [T,H,r], H and r numbers";
   if (!is_float(p) || p->rank != 3 || !same_dims(p, 0, q, 0, 2) || ir_type_row(p) < 1)
      return "operand 1 must be floats [T,H,n]";
   if (!is_latent(state) || ir_type_row(q) + ir_type_row(p) != ir_type_row(state))
      return "operand 2 must be an mla state [1,r+n]";
   *out = *q;
   out->dtype = declared(op, q->dtype);
   return NULL;
}

const char *sh_mla_expanded(const ir_op *op, ir_type *out)
{
   const ir_type *q = in(op, 0), *p = in(op, 1), *state = in(op, 2), *k = in(op, 3), *v = in(op, 4);

   if (!is_float(q) || q->rank != 3 || !ir_dim_is_const(q->dim[1]) || ir_type_row(q) < 1)
      return "operand 0 must be floats [T,H,a], H and a numbers";
   if (!is_float(p) || p->rank != 3 || !same_dims(p, 0, q, 0, 2) || ir_type_row(p) < 1)
      return "operand 1 must be floats [T,H,n]";
   if (!is_weight(k) || k->rank != 3 || !same_dims(k, 0, q, 1, 2) || ir_type_row(k) < 1)
      return "operand 3 must be matrices [H,a,r]";
   if (!is_weight(v) || v->rank != 3 || !ir_dim_equal(v->dim[0], q->dim[1]) ||
       !ir_dim_is_const(v->dim[1]) || ir_type_row(v) != ir_type_row(k))
      return "operand 4 must be matrices [H,v,r] with the H, r of operand 3";
   if (!is_latent(state) || ir_type_row(k) + ir_type_row(p) != ir_type_row(state))
      return "operand 2 must be an mla state [1,r+n]";
   *out = *q;
   out->dim[2] = v->dim[1];
   out->dtype = declared(op, q->dtype);
   return NULL;
}
