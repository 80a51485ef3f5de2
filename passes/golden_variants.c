/* golden_variants.c - the same golden case with another eps, and with widths that are no multiple
 * of anything: a pass must neither look for a literal nor take a width for granted. */
#include "golden_parts.h"

const char *const pass_variant_names[PASS_VARIANT_COUNT] = {"another eps", "odd widths"};

enum { MIN_WIDTH = 8 };

/* Neither 1e-5 nor 1e-6, and large enough to be seen in a result; different ones stay different. */
static bool vary_eps(ir_func *f)
{
   bool any = false;

   ir_op_foreach (f, op)
      if (ir_attr_f(op, IR_ATTR_eps, 0) > 0) {
         ir_attr_set(f, op, (ir_attr){IR_ATTR_eps, {.f = 1237 * ir_attr_f(op, IR_ATTR_eps, 0)}});
         any = true;
      }
   return any;
}

static void widen(ir_type *t)
{
   for (uint32_t i = 0; i < t->rank; i++)
      if (ir_dim_is_const(t->dim[i]) && ir_dim_const(t->dim[i]) >= MIN_WIDTH)
         t->dim[i] = ir_dim_of(ir_dim_const(t->dim[i]) | 1);
}

/* Leaves get odd widths; everything else follows, and keeps its dtype. */
static bool vary_width(ir_func *f)
{
   ir_op_foreach (f, op) {
      ir_type types[8];

      if (op->code == IR_OP_reshape || op->code == IR_OP_slice || op->num_results > countof(types))
         return false;
      if (!op->num_operands) {
         widen(&op->results[0]->type);
         continue;
      }
      if (ir_infer(op, types))
         return false;
      for (uint32_t i = 0; i < op->num_results; i++) {
         types[i].dtype = op->results[i]->type.dtype;
         op->results[i]->type = types[i];
      }
   }
   return true;
}

ir_func *pass_golden_variant(arena *a, const ir_func *f, pass_variant v)
{
   ir_func *g = ir_func_clone(a, f);
   text_buf why = {.a = a};

   if (!(v == PASS_VARIANT_eps ? vary_eps(g) : vary_width(g)) || !ir_validate(g, &why))
      return NULL;
   return g;
}
