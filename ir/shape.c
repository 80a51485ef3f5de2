/* shape.c - the type rules named in ops.def: result types from operands, attributes and, where the
 * op leaves a choice, from the type its creator wrote.
 *
 * A float result may be declared in any float type: a value's dtype is its rounding point. What
 * only moves elements keeps the dtype of its operand. */
#include "shape.h"

const char *sh_leaf(const ir_op *op, ir_type *out)
{
   *out = op->results[0]->type;
   return is_plain(out) ? NULL : "an input must be a tensor of a plain type";
}

/* Rows of block types hold whole blocks. */
static bool has_whole_blocks(const ir_type *t)
{
   return dtype_infos[t->dtype].block == 1 || dtype_infos[t->dtype].kind == DTYPE_SCALED ||
          (t->rank > 0 && ir_type_row(t) >= 0 && ir_type_row(t) % dtype_infos[t->dtype].block == 0);
}

const char *sh_weight(const ir_op *op, ir_type *out)
{
   *out = op->results[0]->type;
   if (kind(out) == DTYPE_NONE)
      return "a weight must be a tensor";
   for (uint32_t i = 0; i < out->rank; i++)
      if (!ir_dim_is_const(out->dim[i]))
         return "the extents of a weight must be numbers";
   return has_whole_blocks(out) ? NULL : "a row must be a multiple of the type's block";
}

/* Whether d is what a row of meta.def says: a symbol, a number, or N, any number. */
static bool fits_meta_dim(ir_dim d, const char *row)
{
   for (int s = 0; s < SYM_COUNT; s++)
      if (strcmp(row, ir_sym_names[s]) == 0)
         return ir_dim_equal(d, ir_dim_sym((sym)s));
   if (!ir_dim_is_const(d))
      return false;
   return row[0] == 'N' || ir_dim_const(d) == row[0] - '0';
}

const char *sh_meta(const ir_op *op, ir_type *out)
{
   int64_t field = ir_attr_i(op, IR_ATTR_field, -1);

   if (field < 0 || field >= IR_META_COUNT)
      return "no such metadata field";
   const ir_meta_info *info = &ir_meta_infos[field];
   *out = op->results[0]->type;
   if (out->state != IR_STATE_none || out->dtype != info->dtype || out->rank != info->rank)
      return "dtype or rank differs from the field's row in meta.def";
   for (uint32_t i = 0; i < out->rank; i++)
      if (!fits_meta_dim(out->dim[i], info->dims[i]))
         return "an extent differs from the field's row in meta.def";
   return ir_attr_i(op, IR_ATTR_index, 0) < 0 ? "index is negative" : NULL;
}

enum { MAX_STATE_EXTENT = (1 << 20) - 1 }; /* products of three stay far from overflow */

const char *sh_state(const ir_op *op, ir_type *out)
{
   int64_t window = ir_attr_i(op, IR_ATTR_window, 0);

   *out = op->results[0]->type;
   if (out->state == IR_STATE_none || dtype_infos[out->dtype].kind != DTYPE_FLOAT)
      return "the type must be a state kind stored in floats";
   if (out->rank != (out->state == IR_STATE_recurrent ? 3 : 2))
      return "a state must have the extents [G,d], a recurrent one [H,dk,dv]";
   for (uint32_t i = 0; i < out->rank; i++)
      if (!ir_dim_is_const(out->dim[i]) || ir_dim_const(out->dim[i]) > MAX_STATE_EXTENT)
         return "the extents of a state must be numbers below 2^20";
   if (ir_state_infos[out->state].rows == 1 && ir_dim_const(out->dim[0]) != 1)
      return "a state of rows that are key and value has one head";
   if (ir_state_infos[out->state].window ? window <= 0 : window != 0)
      return "only window states have a window, and theirs is at least 1";
   int64_t ratio = ir_attr_i(op, IR_ATTR_ratio, 0);
   if (ir_state_infos[out->state].entries ? ratio < 1 || ratio > MAX_STATE_EXTENT : ratio != 0)
      return "only states of entries have a ratio, and theirs is at least 1";
   return ir_attr_i(op, IR_ATTR_layer, 0) < 0 ? "layer is negative" : NULL;
}

const char *sh_embed(const ir_op *op, ir_type *out)
{
   if (op->num_operands < 2 || op->num_operands > 3)
      return "embed takes ids, a table and perhaps features";
   const ir_type *ids = in(op, 0), *w = in(op, 1);

   if (kind(ids) != DTYPE_INT || ids->rank != 1)
      return "operand 0 must be integers [T]";
   if (kind(w) == DTYPE_NONE || kind(w) == DTYPE_INT || w->rank != 2)
      return "operand 1 must be a table [V,D]";
   if (op->num_operands > 2 &&
       (!is_float(in(op, 2)) || in(op, 2)->rank != 2 || !same_dims(in(op, 2), 1, w, 1, 1)))
      return "operand 2 must be floats [I,D] with the D of the table";
   *out = ir_type_make(declared(op, DT_f32), 2, (ir_dim[]){ids->dim[0], w->dim[1]});
   return NULL;
}

const char *sh_take(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *idx = in(op, 1);

   if (!is_plain(x) || x->rank == 0)
      return "operand 0 must be a tensor with rows";
   if (kind(idx) != DTYPE_INT || idx->rank != 1)
      return "operand 1 must be integers [R]";
   int64_t size = ir_attr_i(op, IR_ATTR_size, 1);
   if (size < 1 || (size > 1 && (x->rank != 2 || ir_type_row(x) < 1 || size > MAX_STATE_EXTENT)))
      return "size must be at least 1, and rows side by side those of a matrix";
   *out = *x;
   out->dim[0] = idx->dim[0];
   if (size > 1)
      out->dim[1] = ir_dim_of(size * ir_type_row(x));
   return NULL;
}

/* A product of extents as its unique factors: a number times primitive affine forms (or rounded
 * ones, taken whole). */
typedef struct factors {
   int64_t number;
   uint32_t count;
   ir_dim form[IR_MAX_RANK];
} factors;

static bool factor(const ir_type *t, factors *out)
{
   *out = (factors){.number = 1};
   for (uint32_t i = 0; i < t->rank; i++) {
      ir_dim d = t->dim[i];
      int64_t content = ir_dim_is_const(d) ? ir_dim_const(d) : 1;
      if (!ir_dim_is_valid(d))
         return false;
      if (!ir_dim_is_const(d) && d.div == 1) {
         content = d.add < 0 ? -d.add : d.add;
         for (int s = 0; s < SYM_COUNT; s++)
            for (int64_t b = d.coef[s] < 0 ? -d.coef[s] : d.coef[s]; b;) {
               int64_t r = content % b;
               content = b;
               b = r;
            }
         for (int s = 0; s < SYM_COUNT; s++)
            d.coef[s] /= content;
         d.add /= content;
      }
      if (!base_mul(out->number, content, &out->number))
         return false;
      if (!ir_dim_is_const(d))
         out->form[out->count++] = d;
   }
   return true;
}

static bool same_count(const ir_type *a, const ir_type *b)
{
   factors fa, fb;

   if (!factor(a, &fa) || !factor(b, &fb) || fa.number != fb.number || fa.count != fb.count)
      return false;
   for (uint32_t i = 0; i < fa.count; i++) {
      uint32_t j = i;
      while (j < fb.count && !ir_dim_equal(fa.form[i], fb.form[j]))
         j++;
      if (j == fb.count)
         return false;
      fb.form[j] = fb.form[i];
   }
   return true;
}

const char *sh_reshape(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0);

   *out = op->results[0]->type;
   if (kind(x) == DTYPE_NONE || out->state != IR_STATE_none || out->dtype != x->dtype)
      return "operand and result must be tensors of one dtype";
   if (!same_count(x, out))
      return "operand and result differ in their number of elements";
   return has_whole_blocks(out) ? NULL : "a row must be a multiple of the type's block";
}

const char *sh_slice(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0);
   int64_t axis = ir_attr_i(op, IR_ATTR_axis, -1);
   int64_t start = ir_attr_i(op, IR_ATTR_start, -1), size = ir_attr_i(op, IR_ATTR_size, -1);

   if (kind(x) == DTYPE_NONE)
      return "operand 0 must be a tensor";
   if (axis < 0 || axis >= x->rank || !ir_dim_is_const(x->dim[axis]))
      return "axis must name an extent that is a number";
   int64_t extent = ir_dim_const(x->dim[axis]);
   if (start < 0 || size < 1 || start > extent || size > extent - start)
      return "start and size leave the extent of the axis";
   *out = *x;
   out->dim[axis] = ir_dim_of(size);
   int64_t block = axis + 1 == x->rank ? dtype_infos[x->dtype].block : 1;
   return start % block || size % block ? "start and size must be multiples of the type's block"
                                        : NULL;
}

const char *sh_cast(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *to = &op->results[0]->type;

   if (!is_plain(x) || !is_plain(to))
      return "operand and result must be tensors of plain types";
   *out = *x;
   out->dtype = to->dtype;
   return NULL;
}

/* Shaped like operand 0; the others may lack its leading dims. */
const char *sh_like0(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0);

   if (!is_float(x))
      return "operand 0 must be a tensor of floats";
   for (uint32_t i = 1; i < op->num_operands; i++) {
      const ir_type *y = in(op, i);
      if (!is_float(y))
         return "operand 1 must be a tensor of floats";
      if (y->rank > x->rank || !same_dims(y, 0, x, x->rank - y->rank, y->rank))
         return "the extents of operand 1 must be the last ones of operand 0";
   }
   *out = *x;
   out->dtype = declared(op, x->dtype);
   return NULL;
}

const char *sh_norm(const ir_op *op, ir_type *out)
{
   if (in(op, 0)->rank == 0 || in(op, 1)->rank != 1)
      return "operand 1 must be [D], the last extent of operand 0";
   return sh_like0(op, out);
}

const char *sh_quant(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0);
   const char *fn = ir_attr_s(op, IR_ATTR_scale_fn, "absmax");
   const char *layout = ir_attr_s(op, IR_ATTR_layout, "row");
   int64_t group = ir_attr_i(op, IR_ATTR_group, 0), row = ir_type_row(x);

   if (op->num_operands > 2)
      return "quant takes x and perhaps a scale";
   if (!is_float(x) || row < 1)
      return "operand 0 must be floats, its last extent a number";
   if (group < 1 || group > row)
      return "group must be 1 .. the last extent of operand 0";
   if (op->num_operands == 2 && (!is_float(in(op, 1)) || in(op, 1)->rank != 1 ||
                                 ir_type_row(in(op, 1)) != 1 || group != row))
      return "operand 1 must be one float, and the group then a row";
   if (strcmp(fn, "absmax") != 0 && strcmp(fn, "ue8m0") != 0)
      return "scale_fn must be \"absmax\" or \"ue8m0\"";
   bool by_column = strcmp(layout, "col") == 0;
   if ((!by_column && strcmp(layout, "row") != 0) || (by_column && x->rank != 2))
      return "layout must be \"row\", or \"col\" of a matrix";
   if (!(ir_attr_f(op, IR_ATTR_floor, 0) >= 0))
      return "floor must not be negative";
   out[0] = out[1] = *x;
   out[0].dtype =
      dtype_code_max(op->results[0]->type.dtype) > 0 ? op->results[0]->type.dtype : DT_i8;
   out[1].dtype = DT_f32;
   out[1].dim[x->rank - 1] = ir_dim_of((row + group - 1) / group);
   if (by_column) {
      out[1].dim[0] = out[1].dim[1];
      out[1].dim[1] = x->dim[0];
   }
   return NULL;
}

const char *sh_rope(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *cs = in(op, 1);
   const char *style = ir_attr_s(op, IR_ATTR_style, "");

   if (!is_float(x) || x->rank != 3 || ir_type_row(x) < 0)
      return "operand 0 must be floats [T,H,d]";
   if (!is_float(cs) || cs->rank != 2 || !ir_dim_equal(cs->dim[0], x->dim[0]))
      return "operand 1 must be floats [T,n]";
   int64_t start = ir_attr_i(op, IR_ATTR_start, 0);
   if (ir_type_row(cs) < 0 || ir_type_row(cs) % 2 || start < 0 ||
       start > ir_type_row(x) - ir_type_row(cs))
      return "n must be even, and start + n at most d";
   if (strcmp(style, "half") != 0 && strcmp(style, "pair") != 0)
      return "style must be \"half\" or \"pair\"";
   *out = *x;
   out->dtype = declared(op, x->dtype);
   return NULL;
}

static bool is_matrix(const ir_type *w)
{
   return is_weight(w) && w->rank == 2;
}

const char *sh_matmul(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *w = in(op, 1);

   if (!is_float(x) || x->rank == 0)
      return "operand 0 must be floats [T,K]";
   if (!is_matrix(w) || !ir_dim_equal(w->dim[1], x->dim[x->rank - 1]))
      return "operand 1 must be a matrix [N,K] with the K of operand 0";
   *out = *x;
   out->dim[x->rank - 1] = w->dim[0];
   out->dtype = declared(op, x->dtype);
   return NULL;
}

const char *sh_qmatmul(const ir_op *op, ir_type *out)
{
   const ir_type *q = in(op, 0), *s = in(op, 1), *w = in(op, 2);

   if (kind(q) != DTYPE_INT || q->rank == 0)
      return "operand 0 must be integers [T,K]";
   if (!is_float(s) || s->rank != q->rank || !same_dims(q, 0, s, 0, q->rank - 1))
      return "operand 1 must be floats [T,K/group]";
   if (ir_type_row(q) < 0 || ir_type_row(s) < 1 || ir_type_row(q) % ir_type_row(s))
      return "the row of operand 1 must divide the row of operand 0";
   if (!is_matrix(w) || !ir_dim_equal(w->dim[1], q->dim[q->rank - 1]))
      return "operand 2 must be a matrix [N,K] with the K of operand 0";
   *out = *q;
   out->dim[q->rank - 1] = w->dim[0];
   out->dtype = declared(op, DT_f32);
   return NULL;
}

const char *sh_concat(const ir_op *op, ir_type *out)
{
   const ir_type *x = in(op, 0), *y = in(op, 1);

   if (!is_float(x) || x->rank == 0 || ir_type_row(x) < 1)
      return "operand 0 must be floats, its last extent a number";
   if (!is_float(y) || y->rank != x->rank || !same_dims(x, 0, y, 0, x->rank - 1) ||
       ir_type_row(y) < 1)
      return "operand 1 must be floats that differ from operand 0 in the last extent only";
   *out = *x;
   out->dim[x->rank - 1] = ir_dim_of(ir_type_row(x) + ir_type_row(y));
   out->dtype = declared(op, x->dtype);
   return NULL;
}

/* Whether t is a state of keys and values. */
static bool keeps_kv(const ir_type *t)
{
   return t->state != IR_STATE_none && ir_state_infos[t->state].rows == 2 && t->rank == 2;
}

const char *sh_state0(const ir_op *op, ir_type *out)
{
   const ir_type *state = in(op, 0), *k = in(op, 1), *v = in(op, 2);

   if (!keeps_kv(state))
      return "operand 0 must be a state [G,d]";
   if (!is_float(k) || k->rank != 3 || !same_dims(k, 1, state, 0, 2))
      return "operand 1 must be floats [T,G,d] with the G, d of the state";
   if (!is_float(v) || v->rank != 3 || !same_dims(v, 0, k, 0, 3))
      return "operand 2 must be floats shaped like operand 1";
   *out = *state;
   return NULL;
}

const char *sh_attn(const ir_op *op, ir_type *out)
{
   if (op->num_operands < 2 || op->num_operands > 3)
      return "attention takes q, a state and perhaps sinks";
   const ir_type *q = in(op, 0), *state = in(op, 1);
   const ir_type *sinks = op->num_operands > 2 ? in(op, 2) : NULL;

   if (!is_float(q) || q->rank != 3 || !ir_dim_is_const(q->dim[1]))
      return "operand 0 must be floats [T,H,d], H a number";
   if (!keeps_kv(state) || !ir_dim_equal(state->dim[1], q->dim[2]))
      return "operand 1 must be a state [G,d] with the d of operand 0";
   int64_t heads = ir_dim_const(state->dim[0]);
   if (!ir_dim_is_const(state->dim[0]) || heads < 1 || ir_dim_const(q->dim[1]) % heads)
      return "H must be a multiple of G";
   if (ir_attr_i(op, IR_ATTR_whole, 0) && ir_state_infos[state->state].window)
      return "all positions of a sequence are not in a state with a window";
   if (sinks && (!is_float(sinks) || sinks->rank != 1 || !same_dims(sinks, 0, q, 1, 1)))
      return "operand 2 must be floats [H]";
   *out = *q;
   out->dtype = declared(op, q->dtype);
   return NULL;
}

#define OP(name, operands, results, ...)                                                           \
   _Static_assert((results) <= IR_MAX_RESULTS, "raise IR_MAX_RESULTS for " #name);
#include "ops.def"
#undef OP

static ir_shape_rule *const rules[IR_OP_COUNT] = {
#define OP(name, operands, results, attributes, shape, properties, meaning)                        \
   [IR_OP_##name] = sh_##shape,
#include "ops.def"
#undef OP
};

const char *ir_infer(const ir_op *op, ir_type *out_results)
{
   const ir_op_info *info = &ir_op_infos[op->code];

   if (info->operands >= 0 && op->num_operands != (uint32_t)info->operands)
      return "wrong number of operands";
   if (op->num_results != (uint32_t)info->results)
      return "wrong number of results";
   for (uint32_t i = 0; i < op->num_operands; i++)
      if (!op->operands[i] || op->operands[i]->type.dtype == DT_none)
         return "an operand has no type";
   return rules[op->code](op, out_results);
}
