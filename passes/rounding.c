/* rounding.c - what a pass did to the rounding, computed from the types before and after it.
 *
 *    EXACT          no type changed, no rounding op appeared
 *    ROUND_FEWER    a value became wider
 *    REORDER        a sum of products appeared that was not there
 *    ROUND_MORE     a value became narrower, or a quant or a narrowing cast appeared
 *    RANGE_CHANGE   a value changed to a type of the same width or another kind
 *
 * The worst class wins. passes/exec.h says what each allows. */
#include "run.h"

static const char *const names[] = {
   [PASS_EXACT] = "EXACT",
   [PASS_ROUND_FEWER] = "ROUND_FEWER",
   [PASS_REORDER] = "REORDER",
   [PASS_ROUND_MORE] = "ROUND_MORE",
   [PASS_RANGE_CHANGE] = "RANGE_CHANGE",
};

const char *pass_rounding_name(pass_rounding r)
{
   return names[r];
}

pass_types pass_types_of(arena *a, const ir_func *f)
{
   pass_types t = {arena_array(a, dtype, f->num_values + 1), f->num_values};

   ir_op_foreach (f, op)
      for (uint32_t i = 0; i < op->num_results; i++)
         t.dtype[op->results[i]->id] = op->results[i]->type.dtype;
   return t;
}

static pass_rounding compare(dtype before, dtype after)
{
   const dtype_info *b = &dtype_infos[before], *a = &dtype_infos[after];

   if (before == after || before == DT_none)
      return PASS_EXACT;
   if (b->kind == DTYPE_FLOAT && a->kind == DTYPE_FLOAT) /* f16 and bf16 differ in range, too */
      return a->rel < b->rel && a->bytes > b->bytes ? PASS_ROUND_FEWER
             : a->bytes < b->bytes                  ? PASS_ROUND_MORE
                                                    : PASS_RANGE_CHANGE;
   return PASS_RANGE_CHANGE;
}

/* A new op rounds when its result is narrower than what it reads; one that reads codes takes part
 * in a quantisation, though the quant itself may have been there for another reader. */
static pass_rounding created(const ir_op *op)
{
   if (op->code == IR_OP_quant)
      return PASS_ROUND_MORE;
   for (uint32_t i = 0; i < op->num_operands; i++) {
      const dtype_info *t = &dtype_infos[op->operands[i]->type.dtype];

      if (t->kind == DTYPE_INT && t->bytes == 1)
         return PASS_ROUND_MORE;
   }
   if (op->code == IR_OP_cast)
      return compare(op->operands[0]->type.dtype, op->results[0]->type.dtype) == PASS_ROUND_MORE
                ? PASS_ROUND_MORE
                : PASS_EXACT;
   return ir_op_infos[op->code].props & IR_SUMS ? PASS_REORDER : PASS_EXACT;
}

static pass_rounding of_value(const ir_value *v, const pass_types *before)
{
   bool old = v->id < before->count && before->dtype[v->id] != DT_none;

   return old ? compare(before->dtype[v->id], v->type.dtype) : created(v->def);
}

pass_rounding pass_rounding_since(const ir_func *f, const pass_types *before)
{
   pass_rounding worst = PASS_EXACT;

   ir_op_foreach (f, op)
      for (uint32_t i = 0; i < op->num_results; i++)
         worst = MAX(worst, of_value(op->results[i], before));
   return worst;
}

bool pass_narrows(const ir_func *f, const pass_types *before)
{
   ir_op_foreach (f, op)
      for (uint32_t i = 0; i < op->num_results; i++)
         if (of_value(op->results[i], before) == PASS_ROUND_MORE)
            return true;
   return false;
}
