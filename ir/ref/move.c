/* move.c - leaves, and elements that change place but not value. */
#include "ref.h"

sinter_status ref_param(ref_call *c)
{
   const char *name = ir_attr_s(c->op, IR_ATTR_name, "");
   ref_value *out = c->out[0];
   ir_tensor given = {0};

   SINTER_TRY(c->env->param(c->env->user, name, out->type, &given));
   if (given.rank != out->t.rank)
      return ref_fail(c, SINTER_usage, "the input has rank %u, not %u", given.rank, out->t.rank);
   for (uint32_t i = 0; i < given.rank; i++)
      if (given.dim[i] != out->t.dim[i])
         return ref_fail(c, SINTER_usage, "extent %u of the input is %lld, not %lld", i,
                         (long long)given.dim[i], (long long)out->t.dim[i]);
   out->t.data = given.data;
   return SINTER_ok;
}

sinter_status ref_weight(ref_call *c)
{
   ref_value *out = c->out[0];
   ir_tensor given = {0};

   out->weight = ir_attr_s(c->op, IR_ATTR_name, "");
   if (c->by_rows)
      return SINTER_ok;
   SINTER_TRY(c->env->weight(c->env->user, out->weight, out->type, &given));
   out->t.data = given.data;
   return SINTER_ok;
}

/* Fields of 32-bit integers. */
static const int32_t *meta_field(const ir_step *step, ir_meta_field field)
{
   switch (field) {
   case IR_META_token_ids: return step->token_ids;
   case IR_META_next_ids: return step->next_ids;
   case IR_META_positions: return step->positions;
   case IR_META_seq_of: return step->seq_of;
   case IR_META_rows: return step->rows;
   case IR_META_ends: return step->ends;
   case IR_META_corners: return step->corners;
   default: return NULL;
   }
}

/* Fields of f32, rope tables apart. */
static const float *meta_floats(const ir_step *step, ir_meta_field field)
{
   switch (field) {
   case IR_META_patches: return step->patches;
   case IR_META_corner_weights: return step->corner_weights;
   case IR_META_features: return step->features;
   default: return NULL;
   }
}

sinter_status ref_meta(ref_call *c)
{
   ir_meta_field field = (ir_meta_field)ir_attr_i(c->op, IR_ATTR_field, 0);
   int64_t index = ir_attr_i(c->op, IR_ATTR_index, 0);
   ref_value *out = c->out[0];

   if (field == IR_META_rope) {
      if (index >= c->step->num_rope)
         return ref_fail(c, SINTER_usage, "the step has no rope table %lld", (long long)index);
      const ir_tensor *table = &c->step->rope[index];
      if (table->rank != 2 || table->dim[0] != out->t.dim[0] || table->dim[1] != out->t.dim[1])
         return ref_fail(c, SINTER_usage, "rope table %lld has other extents", (long long)index);
      memcpy(out->t.data, table->data, (size_t)out->size * sizeof(double));
      return SINTER_ok;
   }
   const int32_t *ids = meta_field(c->step, field);
   const float *floats = meta_floats(c->step, field);
   if (!ids && !floats && out->size)
      return ref_fail(c, SINTER_unsupported, "the interpreter's step has no field %s",
                      ir_meta_infos[field].name);
   for (int64_t i = 0; i < out->size; i++)
      out->t.data[i] = ids ? ids[i] : (double)floats[i];
   return SINTER_ok;
}

/* An index operand's element, checked. */
static sinter_status index_at(const ref_call *c, const ref_value *ids, int64_t i, int64_t limit,
                              int64_t *out)
{
   *out = (int64_t)ids->t.data[i];
   if (*out < 0 || *out >= limit)
      return ref_fail(c, SINTER_usage, "index %lld of row %lld is not below %lld", (long long)*out,
                      (long long)i, (long long)limit);
   return SINTER_ok;
}

/* Row `row` of the features, as row t of the result. */
static sinter_status feature_row(const ref_call *c, int64_t t, int64_t row)
{
   const ir_tensor *features = &c->in[2]->t;

   if (row >= features->dim[0])
      return ref_fail(c, SINTER_usage, "row %lld wants feature %lld of %lld", (long long)t,
                      (long long)row, (long long)features->dim[0]);
   memcpy(c->out[0]->t.data + t * features->dim[1], features->data + row * features->dim[1],
          (size_t)features->dim[1] * sizeof(double));
   return SINTER_ok;
}

sinter_status ref_embed(ref_call *c)
{
   const int64_t width = c->in[1]->t.dim[1];

   for (int64_t t = 0; t < c->in[0]->size; t++) {
      int64_t id = (int64_t)c->in[0]->t.data[t];
      if (id < 0 && c->op->num_operands > 2) {
         SINTER_TRY(feature_row(c, t, -1 - id));
         continue;
      }
      SINTER_TRY(index_at(c, c->in[0], t, c->in[1]->t.dim[0], &id));
      SINTER_TRY(ref_rows(c, 1, id, 1, c->out[0]->t.data + t * width));
   }
   return SINTER_ok;
}

sinter_status ref_take_rows(ref_call *c)
{
   const ref_value *x = c->in[0];
   const int64_t rows = x->t.dim[0], width = rows ? x->size / rows : 0;
   const int64_t size = ir_attr_i(c->op, IR_ATTR_size, 1);

   for (int64_t r = 0; r < c->in[1]->size; r++) {
      int64_t row;
      SINTER_TRY(index_at(c, c->in[1], r, rows - size + 1, &row));
      memcpy(c->out[0]->t.data + r * size * width, x->t.data + row * width,
             (size_t)(size * width) * sizeof(double));
   }
   return SINTER_ok;
}

sinter_status ref_reshape(ref_call *c)
{
   memcpy(c->out[0]->t.data, c->in[0]->t.data, (size_t)c->in[0]->size * sizeof(double));
   return SINTER_ok;
}

/* x is [outer, extent, inner] around the axis. */
sinter_status ref_slice(ref_call *c)
{
   const int64_t axis = ir_attr_i(c->op, IR_ATTR_axis, 0);
   const int64_t start = ir_attr_i(c->op, IR_ATTR_start, 0);
   const int64_t size = ir_attr_i(c->op, IR_ATTR_size, 0);
   const ir_tensor *x = &c->in[0]->t;
   int64_t inner = 1;

   for (uint32_t i = (uint32_t)axis + 1; i < x->rank; i++)
      inner *= x->dim[i];
   const int64_t from = x->dim[axis] * inner, to = size * inner;
   for (int64_t o = 0; o * to < c->out[0]->size; o++)
      memcpy(c->out[0]->t.data + o * to, x->data + o * from + start * inner,
             (size_t)to * sizeof(double));
   return SINTER_ok;
}

/* The rounding is that of the result's type; to integers it is the meaning itself, in both modes.
 */
sinter_status ref_cast(ref_call *c)
{
   const dtype to = c->out[0]->type->dtype;
   const bool is_int = dtype_infos[to].kind == DTYPE_INT;

   for (int64_t i = 0; i < c->in[0]->size; i++) {
      double v = c->in[0]->t.data[i];
      c->out[0]->t.data[i] = is_int ? dtype_round(to, v) : v;
   }
   return SINTER_ok;
}

/* x is [outer, rows, cols]. */
sinter_status ref_transpose(ref_call *c)
{
   const ir_tensor *x = &c->in[0]->t;
   const int64_t rows = x->dim[x->rank - 2], cols = x->dim[x->rank - 1], one = rows * cols;

   for (int64_t i = 0; i < c->in[0]->size; i++) {
      const int64_t row = i % one / cols, col = i % cols;
      c->out[0]->t.data[i / one * one + col * rows + row] = x->data[i];
   }
   return SINTER_ok;
}

sinter_status ref_concat(ref_call *c)
{
   const int64_t a = ref_row(c->in[0]), b = ref_row(c->in[1]);
   double *out = c->out[0]->t.data;

   for (int64_t row = 0; row * (a + b) < c->out[0]->size; row++, out += a + b) {
      memcpy(out, c->in[0]->t.data + row * a, (size_t)a * sizeof *out);
      memcpy(out + a, c->in[1]->t.data + row * b, (size_t)b * sizeof *out);
   }
   return SINTER_ok;
}

sinter_status ref_lookup(ref_call *c)
{
   const ir_tensor *table = &c->in[0]->t;
   const int64_t k = table->dim[1];

   for (int64_t t = 0; t < c->in[1]->size; t++) {
      int64_t id;
      SINTER_TRY(index_at(c, c->in[1], t, table->dim[0], &id));
      memcpy(c->out[0]->t.data + t * k, table->data + id * k, (size_t)k * sizeof(double));
   }
   return SINTER_ok;
}
