/* shape_state.c - the type rules of ops over states that have no pages of positions. */
#include "shape.h"

const char *sh_decay(const ir_op *op, ir_type *out)
{
   if (in(op, 0)->rank != 2 || in(op, 1)->rank != 1 || in(op, 2)->rank != 1)
      return "the operands must be [T,H], [H] and [H]";
   return sh_like0(op, out);
}

/* Result 1, in the float type it was declared in, else that of `like`. */
static void declare_output(const ir_op *op, const ir_type *like, ir_type *out)
{
   const ir_type *t = &op->results[1]->type;

   *out = *like;
   if (is_float(t))
      out->dtype = t->dtype;
}

const char *sh_conv(const ir_op *op, ir_type *out)
{
   const ir_type *state = in(op, 0), *x = in(op, 1), *w = in(op, 2);

   if (state->state != IR_STATE_conv || state->dtype != DT_f32)
      return "operand 0 must be an f32 conv state [W-1,C]";
   if (!is_float(x) || x->rank != 2 || !ir_dim_equal(x->dim[1], state->dim[1]))
      return "operand 1 must be floats [T,C] with the C of the state";
   if (!is_float(w) || w->rank != 2 || !ir_dim_equal(w->dim[0], x->dim[1]) ||
       ir_type_row(w) != ir_dim_const(state->dim[0]) + 1)
      return "operand 2 must be floats [C,W] with the C and W of the state";
   out[0] = *state;
   declare_output(op, x, &out[1]);
   return NULL;
}

const char *sh_gdn(const ir_op *op, ir_type *out)
{
   const ir_type *state = in(op, 0), *q = in(op, 1), *k = in(op, 2), *v = in(op, 3);

   if (state->state != IR_STATE_recurrent || state->dtype != DT_f32)
      return "operand 0 must be an f32 recurrent state [H,dk,dv]";
   if (!is_float(q) || q->rank != 3 || !ir_dim_is_const(q->dim[1]) || ir_dim_const(q->dim[1]) < 1 ||
       !ir_dim_equal(q->dim[2], state->dim[1]))
      return "operand 1 must be floats [T,G,dk] with the dk of the state";
   if (!is_float(k) || k->rank != 3 || !same_dims(k, 0, q, 0, 3))
      return "operand 2 must be floats shaped like operand 1";
   if (!is_float(v) || v->rank != 3 || !same_dims(v, 0, q, 0, 1) ||
       !ir_dim_equal(v->dim[1], state->dim[0]) || !ir_dim_equal(v->dim[2], state->dim[2]))
      return "operand 3 must be floats [T,H,dv] with the H and dv of the state";
   for (uint32_t i = 4; i < 6; i++)
      if (!is_float(in(op, i)) || in(op, i)->rank != 2 || !same_dims(in(op, i), 0, v, 0, 2))
         return "operands 4 and 5 must be floats [T,H]";
   if (ir_dim_const(v->dim[1]) % ir_dim_const(q->dim[1]))
      return "H must be a multiple of G";
   out[0] = *state;
   declare_output(op, v, &out[1]);
   return NULL;
}
