/* shape_moe.c - type rules of routing and grouped matmuls. */
#include "shape.h"

static const char *check_score(const ir_op *op)
{
   static const char *const scores[] = {"none", "softmax", "sigmoid", "sqrt_softplus"};
   const char *score = ir_attr_s(op, IR_ATTR_score, "");

   for (size_t i = 0; i < countof(scores); i++)
      if (strcmp(score, scores[i]) == 0)
         return NULL;
   return "score must be \"none\", \"softmax\", \"sigmoid\" or \"sqrt_softplus\"";
}

static bool is_logits(const ir_type *t)
{
   return is_float(t) && t->rank == 2 && ir_type_row(t) >= 1;
}

static const char *check_groups(const ir_op *op, int64_t experts, int64_t k)
{
   int64_t groups = ir_attr_i(op, IR_ATTR_groups, 1);
   int64_t kept = ir_attr_i(op, IR_ATTR_kept, groups), top = ir_attr_i(op, IR_ATTR_group_top, 1);

   if (groups < 1 || experts % groups)
      return "groups must divide the number of experts";
   if (kept < 1 || kept > groups)
      return "kept must be one of the groups at least, and all of them at most";
   if (top < 1 || top > experts / groups)
      return "group_top must be one of a group's experts at least, and all of them at most";
   if (k < 1 || k > experts / groups * kept)
      return "k must be at least 1 and at most the experts that take part";
   return NULL;
}

const char *sh_route(const ir_op *op, ir_type *out)
{
   if (op->num_operands < 1 || op->num_operands > 2 || !is_logits(in(op, 0)))
      return "operand 0 must be floats [T,E], E a number";
   const ir_type *x = in(op, 0), *bias = op->num_operands > 1 ? in(op, 1) : NULL;
   int64_t k = ir_attr_i(op, IR_ATTR_k, 0);
   const char *why = check_score(op);

   if (!why)
      why = check_groups(op, ir_type_row(x), k);
   if (why)
      return why;
   if (bias && (!is_float(bias) || bias->rank != 1 || !same_dims(bias, 0, x, 1, 1)))
      return "operand 1 must be floats [E]";
   dtype weights = is_float(&op->results[1]->type) ? op->results[1]->type.dtype : DT_f32;
   out[0] = ir_type_make(DT_i32, 2, (ir_dim[]){x->dim[0], ir_dim_of(k)});
   out[1] = ir_type_make(weights, 2, out[0].dim);
   return NULL;
}

static bool is_ids(const ir_type *t)
{
   return kind(t) == DTYPE_INT && t->rank == 2 && ir_type_row(t) >= 1;
}

const char *sh_route_w(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *ids = in(op, 1);

   if (!is_logits(x))
      return "operand 0 must be floats [T,E], E a number";
   if (!is_ids(ids) || !ir_dim_equal(ids->dim[0], x->dim[0]))
      return "operand 1 must be integers [T,k], k a number";
   *out = *ids;
   out->dtype = declared(op, DT_f32);
   return check_score(op);
}

const char *sh_capture(const ir_op *op, ir_type *out)
{
   *out = *in(op, 0);
   if (out->dtype != DT_i32 || !is_ids(out))
      return "operand 0 must be i32[T,k], k a number";
   return ir_attr_i(op, IR_ATTR_layer, 0) < 0 ? "layer is negative" : NULL;
}

const char *sh_remap(const ir_op *op, ir_type *out)
{
   const ir_type *ids = in(op, 0), *table = in(op, 1), *rows = in(op, 2);

   if (!is_ids(ids))
      return "operand 0 must be integers [T,k], k a number";
   if (kind(table) != DTYPE_INT || table->rank != 2 || ir_type_row(table) < 1)
      return "operand 1 must be a table of integers [E,R]";
   if (kind(rows) != DTYPE_INT || rows->rank != 1 || !same_dims(rows, 0, ids, 0, 1))
      return "operand 2 must be integers [T]";
   *out = *ids;
   return NULL;
}

const char *sh_permute(const ir_op *op, ir_type *out)
{
   const ir_type *ids = in(op, 0);
   int64_t experts = ir_attr_i(op, IR_ATTR_experts, 0);

   if (!is_ids(ids))
      return "operand 0 must be integers [T,k], k a number";
   if (experts < 1 || experts >= INT32_MAX)
      return "experts is out of range";
   out[0] = ir_type_make(DT_i32, 1, (ir_dim[]){ir_dim_mul(ids->dim[0], ir_type_row(ids))});
   out[1] = ir_type_make(DT_i32, 1, (ir_dim[]){ir_dim_of(experts + 1)});
   return NULL;
}

/* How many slots share a row of x: 1, or the k of the permutation; 0 when rows do not fit. */
static int64_t slots_per_row(const ir_type *x, const ir_type *order)
{
   ir_dim rows = x->dim[0], slots = order->dim[0];
   int64_t of_rows = rows.add, of_slots = slots.add;

   for (int s = 0; s < SYM_COUNT && !of_rows; s++) {
      of_rows = rows.coef[s];
      of_slots = slots.coef[s];
   }
   if (!of_rows)
      return ir_dim_equal(rows, slots);
   int64_t k = of_slots / of_rows;
   return k >= 1 && ir_dim_equal(ir_dim_mul(rows, k), slots) ? k : 0;
}

/* Operand `at` and its neighbour are order and offsets, the last one the stack of weights. */
static const char *sh_experts(const ir_op *op, uint32_t at, ir_type *out)
{
   const ir_type *x = in(op, 0), *order = in(op, at), *offsets = in(op, at + 1);
   const ir_type *w = in(op, at + 2);

   if (kind(order) != DTYPE_INT || order->rank != 1)
      return "order must be integers [T*k]";
   if (!is_weight(w))
      return "the last operand must be a stack of matrices [E,N,K]";
   if (w->rank != 3 || !ir_dim_equal(w->dim[2], x->dim[1]))
      return "the last operand must be a stack of matrices [E,N,K] with the K of operand 0";
   if (kind(offsets) != DTYPE_INT || offsets->rank != 1 ||
       !ir_dim_equal(offsets->dim[0], ir_dim_add(w->dim[0], ir_dim_of(1))))
      return "offsets must be integers [E+1]";
   if (!slots_per_row(x, order))
      return "operand 0 must have a row for each slot or for each token";
   *out = ir_type_make(declared(op, DT_f32), 2, (ir_dim[]){order->dim[0], w->dim[1]});
   return NULL;
}

const char *sh_moe_matmul(const ir_op *op, ir_type *out)
{
   if (!is_float(in(op, 0)) || in(op, 0)->rank != 2)
      return "operand 0 must be floats [T,K]";
   return sh_experts(op, 1, out);
}

const char *sh_moe_qmatmul(const ir_op *op, ir_type *out)
{
   const ir_type *q = in(op, 0), *s = in(op, 1);

   if (kind(q) != DTYPE_INT || q->rank != 2)
      return "operand 0 must be integers [T,K]";
   if (!is_float(s) || s->rank != 2 || !ir_dim_equal(s->dim[0], q->dim[0]))
      return "operand 1 must be floats [T,K/group]";
   if (ir_type_row(q) < 0 || ir_type_row(s) < 1 || ir_type_row(q) % ir_type_row(s))
      return "the row of operand 1 must divide the row of operand 0";
   return sh_experts(op, 2, out);
}

const char *sh_combine(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *weights = in(op, 1);

   if (!is_float(x) || x->rank != 2)
      return "operand 0 must be floats [T*k,D]";
   if (!is_float(weights) || weights->rank != 2 || ir_type_row(weights) < 1 ||
       !ir_dim_equal(ir_dim_mul(weights->dim[0], ir_type_row(weights)), x->dim[0]))
      return "operand 1 must be floats [T,k], a weight for each row of operand 0";
   *out = *x;
   out->dim[0] = weights->dim[0];
   out->dtype = declared(op, x->dtype);
   return NULL;
}
