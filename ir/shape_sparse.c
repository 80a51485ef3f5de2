/* shape_sparse.c - type rules of compressed attention and of hyper-connections. */
#include "shape.h"

/* ---- compressed attention ---- */

/* Whether t is a state of rows that all heads share: of that kind, or of entries. */
static bool is_rows(const ir_type *t, ir_state_kind kind)
{
   return t->state == kind && t->rank == 2;
}

static bool is_entries(const ir_type *t)
{
   return t->state != IR_STATE_none && ir_state_infos[t->state].entries && t->rank == 2;
}

const char *sh_compress(const ir_op *op, ir_type *out)
{
   const ir_type *state = in(op, 0), *ape = in(op, 1);
   int64_t overlap = ir_attr_i(op, IR_ATTR_overlap, 0), start = ir_attr_i(op, IR_ATTR_start, 0);

   if (!is_rows(state, IR_STATE_compressor))
      return "operand 0 must be a compressor state";
   if (!is_float(ape) || ape->rank != 2 || ir_type_row(ape) < 1 || !ir_dim_is_const(ape->dim[0]))
      return "operand 1 must be floats [ratio,c*d], both numbers";
   if (overlap < 0 || overlap > 1 || ir_type_row(ape) % (1 + overlap))
      return "overlap must be 0, or 1 for rows of two halves";
   if (start < 0 || start > ir_type_row(state) - 2 * ir_type_row(ape))
      return "values and gates leave the rows of the state";
   *out = ir_type_make(
      declared(op, DT_f32), 3,
      (ir_dim[]){ir_dim_sym(SYM_T), ir_dim_of(1), ir_dim_of(ir_type_row(ape) / (1 + overlap))});
   return NULL;
}

static bool is_queries(const ir_type *q)
{
   return is_float(q) && q->rank == 3 && ir_dim_is_const(q->dim[1]) && ir_type_row(q) > 0;
}

const char *sh_index_topk(const ir_op *op, ir_type *out)
{
   const ir_type *q = in(op, 0), *w = in(op, 1), *state = in(op, 2);
   int64_t k = ir_attr_i(op, IR_ATTR_k, 0);

   if (!is_queries(q))
      return "operand 0 must be floats [T,H,d], H and d numbers";
   if (!is_float(w) || w->rank != 2 || !same_dims(w, 0, q, 0, 2))
      return "operand 1 must be floats [T,H]";
   if (!is_entries(state) || ir_type_row(state) != ir_type_row(q))
      return "operand 2 must be a state of entries [1,d] with the d of operand 0";
   if (k < 1 || k > INT32_MAX)
      return "k is out of range";
   *out = ir_type_make(DT_i32, 2, (ir_dim[]){q->dim[0], ir_dim_of(k)});
   return NULL;
}

const char *sh_sparse_attn(const ir_op *op, ir_type *out)
{
   if (op->num_operands < 3 || op->num_operands > 5)
      return "sparse_attention takes q, a window, sinks, and perhaps entries and ids";
   const ir_type *q = in(op, 0), *window = in(op, 1), *sinks = in(op, 2);
   const ir_type *entries = op->num_operands > 3 ? in(op, 3) : NULL;
   const ir_type *ids = op->num_operands > 4 ? in(op, 4) : NULL;

   if (!is_queries(q))
      return "operand 0 must be floats [T,H,d], H and d numbers";
   if (!is_rows(window, IR_STATE_window) || ir_type_row(window) != ir_type_row(q))
      return "operand 1 must be a window state [1,d] with the d of operand 0";
   if (!is_float(sinks) || sinks->rank != 1 || !same_dims(sinks, 0, q, 1, 1))
      return "operand 2 must be floats [H]";
   if (entries && (!is_entries(entries) || ir_type_row(entries) != ir_type_row(q)))
      return "operand 3 must be a state of entries [1,d] with the d of operand 0";
   if (ids && (kind(ids) != DTYPE_INT || ids->rank != 2 || !same_dims(ids, 0, q, 0, 1) ||
               ir_type_row(ids) < 1))
      return "operand 4 must be integers [T,k], k a number";
   *out = *q;
   out->dtype = declared(op, q->dtype);
   return NULL;
}

const char *sh_lookup(const ir_op *op, ir_type *out)
{
   const ir_type *table = in(op, 0), *ids = in(op, 1);

   if (kind(table) != DTYPE_INT || table->rank != 2 || ir_type_row(table) < 1)
      return "operand 0 must be a table of integers [V,k]";
   if (kind(ids) != DTYPE_INT || ids->rank != 1)
      return "operand 1 must be integers [T]";
   *out = *table;
   out->dim[0] = ids->dim[0];
   return NULL;
}

/* ---- hyper-connections ---- */

/* Streams [T,n,D]; n and D numbers. */
static bool is_streams(const ir_type *x)
{
   return is_float(x) && x->rank == 3 && ir_dim_is_const(x->dim[1]) &&
          ir_dim_const(x->dim[1]) > 0 && ir_type_row(x) > 0;
}

static bool has_dims(const ir_type *t, uint32_t rank, const ir_dim *dims)
{
   if (!is_float(t) || t->rank != rank)
      return false;
   for (uint32_t i = 0; i < rank; i++)
      if (!ir_dim_equal(t->dim[i], dims[i]))
         return false;
   return true;
}

const char *sh_hc_mix(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0);

   if (!is_streams(x))
      return "operand 0 must be floats [T,n,D], n and D numbers";
   int64_t n = ir_dim_const(x->dim[1]);
   ir_dim parts = ir_dim_of((2 + n) * n), streams = ir_dim_of(n), three = ir_dim_of(3);
   if (!has_dims(in(op, 1), 2, (ir_dim[]){parts, ir_dim_of(n * ir_type_row(x))}))
      return "operand 1 must be floats [(2+n)*n,n*D]";
   if (!has_dims(in(op, 2), 1, &three))
      return "operand 2 must be floats [3]";
   if (!has_dims(in(op, 3), 1, &parts))
      return "operand 3 must be floats [(2+n)*n]";
   if (ir_attr_i(op, IR_ATTR_iters, 0) < 1)
      return "columns are normalised once at least";
   out[0] = out[1] = ir_type_make(DT_f32, 2, (ir_dim[]){x->dim[0], streams});
   out[2] = ir_type_make(DT_f32, 3, (ir_dim[]){x->dim[0], streams, streams});
   return NULL;
}

const char *sh_hc_collapse(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0);

   if (!is_streams(x))
      return "operand 0 must be floats [T,n,D], n and D numbers";
   if (!has_dims(in(op, 1), 2, x->dim))
      return "operand 1 must be floats [T,n]";
   *out = ir_type_make(declared(op, x->dtype), 2, (ir_dim[]){x->dim[0], ir_dim_of(ir_type_row(x))});
   return NULL;
}

const char *sh_hc_expand(const ir_op *op, ir_type *out)
{
   const ir_type *y = in(op, 0), *x = in(op, 1);

   if (!is_streams(x))
      return "operand 1 must be floats [T,n,D], n and D numbers";
   if (!has_dims(y, 2, (ir_dim[]){x->dim[0], x->dim[2]}))
      return "operand 0 must be floats [T,D]";
   if (!has_dims(in(op, 2), 2, x->dim))
      return "operand 2 must be floats [T,n]";
   if (!has_dims(in(op, 3), 3, (ir_dim[]){x->dim[0], x->dim[1], x->dim[1]}))
      return "operand 3 must be floats [T,n,n]";
   *out = *x;
   out->dtype = declared(op, x->dtype);
   return NULL;
}
