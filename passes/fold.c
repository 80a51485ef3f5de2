/* fold.c - operations that change nothing.
 *
 *    scale %x {scale=1}            ->   %x
 *    cast %x : type of %x          ->   %x
 *    slice %x, all of its axis     ->   %x
 *
 * Declines factors other than 1: joining two factors would move a rounding. Kills: folding
 * scale=-1; comparing only the ranks of a slice. */
#include "pass.h"

enum { X };

static bool changes_nothing(const ir_value *v)
{
   const ir_op *op = v->def;

   if (op->code == IR_OP_scale)
      return ir_attr_f(op, IR_ATTR_scale, 0) == 1;
   return ir_type_equal(&v->type, &op->operands[0]->type);
}

static bool is_neutral(pass_site *s)
{
   ir_op *op = s->match.ops[s->match.num_ops - 1];

   if (changes_nothing(op->results[0]))
      return true;
   return pass_decline(s, "it changes its operand");
}

static void drop(pass_site *s)
{
   ir_op *op = s->match.ops[s->match.num_ops - 1];

   ir_replace_uses(s->f, op->results[0], op->operands[0]);
   ir_erase(s->f, op);
}

void pass_fold(pass_run *run)
{
   const ir_pat *unary = PATS(IR_SET(scale) | IR_SET(cast) | IR_SET(slice), ANY(X));
   const pass_rule rules[] = {{unary, is_neutral, drop}};

   pass_apply(run, rules, countof(rules));
}
