/* mla_expand.c - latent attention in its expanded form: keys and values of every head are made from
 * the latents, instead of folding the queries into them.
 *
 *    %t  = transpose %a
 *    %ql = head_matmul %q, %t
 *    %u  = mla_attention %ql, %p, %s      ->     %y = mla_expanded %q, %p, %s, %a, %b
 *    %y  = head_matmul %u, %b
 *
 * Matrices of keys that a checkpoint holds turned already are turned back for the packer.
 *
 * A position costs r * (a + v) multiply-adds once and a + n + v for each row, instead of 2 r + n
 * for each row: worth it for long prompts. The same in real numbers, with two roundings fewer and
 * sums in another order, so it is off unless asked for. Declines when somebody else reads what is
 * in between, and on a GPU when no row of base/attention.def can do it.
 * Kills: values by the matrices of keys; queries that are folded and expanded.
 *
 * Source: DeepSeek-V2 technical report, section 2.1 and appendix on matrix absorption. */
#include "pass.h"

enum { Q, P, S, QL, T, A, B, U };

/* The folded queries meet the matrices as they are stored. */
static bool is_turned(const pass_site *s)
{
   return s->match.cap[QL]->def->operands[1] == s->match.cap[A];
}

static bool fits(pass_site *s)
{
   ir_value **cap = s->match.cap;

   if (!ir_only_user(cap[U]) || !ir_only_user(cap[QL]))
      return pass_decline(s, "%s has another reader",
                          pass_label(s->f->a, cap[ir_only_user(cap[U]) ? QL : U]->def));
   if (!pass_weight_behind(cap[A]) || !pass_weight_behind(cap[B]))
      return pass_decline(s, "the matrices of the heads are no weights");
   ir_value *operands[] = {cap[Q], cap[P], cap[S], cap[A], cap[B]};
   const char *why = s->target->arch ? pass_refuses_expanded(s->run, operands) : NULL;
   return !why || pass_decline(s, "kernels for %s read latents, so queries are folded: %s",
                               s->target->arch->name, why);
}

static void build(pass_site *s)
{
   ir_value **cap = s->match.cap, *old = s->match.ops[s->match.num_ops - 1]->results[0];
   ir_builder b = {s->f, old->def};
   double scale = ir_attr_f(cap[U]->def, IR_ATTR_scale, 1);
   bool turned = is_turned(s);
   ir_value *keys = turned ? ir_transpose(&b, cap[A]) : cap[A];
   ir_value *operands[] = {cap[Q], cap[P], cap[S], keys, cap[B]};
   ir_op *op =
      ir_build(&b, IR_OP_mla_expanded, operands, countof(operands), AT(.scale = scale), NULL);
   ir_op *dead[] = {old->def, cap[U]->def, cap[QL]->def, turned ? NULL : cap[T]->def};
   const char *name = old->name;

   op->results[0]->type.dtype = old->type.dtype;
   ir_replace_uses(s->f, old, op->results[0]);
   for (size_t i = 0; i < countof(dead); i++)
      if (dead[i] && !ir_use_count(dead[i]->results[0]))
         ir_erase(s->f, dead[i]);
   if (name)
      ir_set_name(s->f, op->results[0], name);
}

void pass_mla_expand(pass_run *run)
{
   const ir_pat *folded = SUB(head_matmul, ANY(Q), SUB(transpose, ANY(A), .as = T), .as = QL);
   const ir_pat *stored = SUB(head_matmul, ANY(Q), ANY(A), .as = QL);
   const pass_rule rules[] = {
      {PAT(head_matmul, SUB(mla_attention, folded, ANY(P), ANY(S), .as = U), ANY(B)), fits, build},
      {PAT(head_matmul, SUB(mla_attention, stored, ANY(P), ANY(S), .as = U), ANY(B)), fits, build},
   };

   pass_apply(run, rules, countof(rules));
}
