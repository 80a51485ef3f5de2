/* canonicalise.c - one view instead of chains of views.
 *
 *    %a = reshape %x : A
 *    %b = reshape %a : B     ->   %b = reshape %x : B
 *
 *    %a = reshape %x : type of %x   ->   %x
 *
 * A view moves nothing, so both are EXACT. Kills: skipping the outer view instead of the inner one.
 */
#include "pass.h"

enum { X, INNER };

static bool same_type(const ir_value *v)
{
   return ir_type_equal(&v->type, &v->def->operands[0]->type);
}

static void drop(pass_site *s)
{
   ir_value *x = s->match.cap[X];

   for (uint32_t i = 0; i < s->match.num_ops; i++)
      if (s->match.ops[i]->operands[0] == x && s->match.ops[i]->code == IR_OP_reshape) {
         ir_op *view = s->match.ops[i];

         ir_replace_uses(s->f, view->results[0], x);
         ir_erase(s->f, view);
         return;
      }
}

static void skip_inner(pass_site *s)
{
   ir_op *inner = s->match.cap[INNER]->def;
   ir_op *outer = s->match.ops[s->match.num_ops - 1];

   ir_set_operand(s->f, outer, 0, s->match.cap[X]);
   if (!ir_use_count(inner->results[0]))
      ir_erase(s->f, inner);
}

void pass_canonicalise(pass_run *run)
{
   const ir_pat *identity = PAT(reshape, ANY(X), .where = same_type);
   const ir_pat *chain = PAT(reshape, SUB(reshape, ANY(X), .as = INNER));
   const pass_rule rules[] = {{chain, NULL, skip_inner}};
   const pass_rule identities[] = {{identity, NULL, drop}};

   pass_apply(run, rules, countof(rules)); /* first: a chain may end in the type it began with */
   pass_apply(run, identities, countof(identities));
}
