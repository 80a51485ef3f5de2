/* shape.h - what the files of type rules share. A rule is named in ops.def, demanded here, and
 * returns NULL or the reason why an op cannot be typed. */
#ifndef IR_SHAPE_H
#define IR_SHAPE_H

#include "internal.h"

typedef const char *ir_shape_rule(const ir_op *op, ir_type *out);

#define OP(name, operands, results, attributes, shape, properties, meaning)                        \
   ir_shape_rule sh_##shape;
#include "ops.def"
#undef OP

static inline const ir_type *in(const ir_op *op, uint32_t i)
{
   return &op->operands[i]->type;
}

static inline dtype_kind kind(const ir_type *t)
{
   return t->state == IR_STATE_none ? dtype_infos[t->dtype].kind : DTYPE_NONE;
}

static inline bool is_float(const ir_type *t)
{
   return kind(t) == DTYPE_FLOAT;
}

static inline bool is_plain(const ir_type *t)
{
   return kind(t) == DTYPE_FLOAT || kind(t) == DTYPE_INT;
}

/* The float type result 0 was declared in, else `otherwise`. */
static inline dtype declared(const ir_op *op, dtype otherwise)
{
   const ir_type *t = &op->results[0]->type;

   return is_float(t) ? t->dtype : otherwise;
}

/* Elements of weights: floats, or a block or scaled format. */
static inline bool is_weight(const ir_type *t)
{
   return kind(t) == DTYPE_FLOAT || kind(t) == DTYPE_BLOCK || kind(t) == DTYPE_SCALED;
}

static inline bool same_dims(const ir_type *a, uint32_t from_a, const ir_type *b, uint32_t from_b,
                             uint32_t n)
{
   for (uint32_t i = 0; i < n; i++)
      if (!ir_dim_equal(a->dim[from_a + i], b->dim[from_b + i]))
         return false;
   return true;
}

#endif
