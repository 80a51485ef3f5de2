/* match.c - patterns against the graph.
 *
 * Each op that commutes is a choice between two orders; the choices of one attempt are the bits of
 * a number, and all numbers are tried: complete, and small because patterns are. */
#include "match.h"

enum { MAX_CHOICES = 8 };

typedef struct matcher {
   ir_match m;
   uint32_t swaps, choices; /* bit i: the i-th commuting op is read backwards; how many were met */
   /* Kept for ir_match_near: ops named so far, where the walk is, and the first failure. */
   uint32_t named, operand;
   const ir_op *reader;
   ir_near fail;
   bool failed;
} matcher;

static bool match_value(const ir_pat *p, ir_value *v, matcher *s);

static bool fail(matcher *s, ir_near_kind kind, const ir_pat *p, const ir_value *v)
{
   if (s->failed)
      return false;
   s->failed = true;
   s->fail = (ir_near){s->named, 0, kind, p, v, s->reader, s->operand};
   return false;
}

static bool capture(int as, ir_value *v, ir_match *m)
{
   if (as == IR_MATCH_NONE)
      return true;
   if (as < 0 || as >= IR_MATCH_CAPTURES || (m->cap[as] && m->cap[as] != v))
      return false;
   m->cap[as] = v;
   return true;
}

static bool fits(const ir_pat *p, const ir_value *v, matcher *s)
{
   if (p->only_use && ir_use_count(v) != 1)
      return fail(s, IR_NEAR_uses, p, v);
   if (p->dtype != DT_none && v->type.dtype != p->dtype)
      return fail(s, IR_NEAR_dtype, p, v);
   if (p->kind != DTYPE_NONE && dtype_infos[v->type.dtype].kind != p->kind)
      return fail(s, IR_NEAR_dtype, p, v);
   if (p->rank && v->type.rank != p->rank)
      return fail(s, IR_NEAR_rank, p, v);
   return !p->where || p->where(v) || fail(s, IR_NEAR_where, p, v);
}

/* Keeps ops in program order, each once. */
static bool add_op(ir_match *m, ir_op *op)
{
   uint32_t at = m->num_ops;

   while (at > 0 && ir_precedes(op, m->ops[at - 1]))
      at--;
   if (at > 0 && m->ops[at - 1] == op)
      return true;
   if (m->num_ops == IR_MATCH_OPS)
      return false;
   memmove(&m->ops[at + 1], &m->ops[at], (m->num_ops - at) * sizeof m->ops[0]);
   m->ops[at] = op;
   m->num_ops++;
   return true;
}

static bool match_operands(const ir_pat *p, ir_op *op, matcher *s)
{
   const ir_pat *in[IR_MATCH_OPERANDS] = {p->in0, p->in1, p->in2, p->in3};
   bool swapped = false;

   if ((ir_op_infos[op->code].props & IR_COMMUTES) && s->choices < MAX_CHOICES)
      swapped = (s->swaps >> s->choices++) & 1;
   for (uint32_t i = 0; i < IR_MATCH_OPERANDS; i++) {
      uint32_t at = swapped && i < 2 ? 1 - i : i;

      if (!in[i])
         continue;
      s->reader = op;
      s->operand = at;
      if (at >= op->num_operands || !op->operands[at]) /* one that was built of no value */
         return fail(s, IR_NEAR_operands, in[i], NULL);
      if (!match_value(in[i], op->operands[at], s))
         return false;
   }
   return true;
}

static bool match_op(const ir_pat *p, ir_op *op, matcher *s)
{
   if (!((p->ops >> op->code) & 1))
      return fail(s, IR_NEAR_op, p, op->results[p->result]);
   s->named++;
   if (p->as2 != IR_MATCH_NONE && (op->num_results < 2 || !capture(p->as2, op->results[1], &s->m)))
      return fail(s, IR_NEAR_same, p, op->results[0]);
   return match_operands(p, op, s) && add_op(&s->m, op);
}

static bool match_value(const ir_pat *p, ir_value *v, matcher *s)
{
   /* The op first: what stands here says more than how it is used. */
   if (p->ops && !((p->ops >> v->def->code) & 1))
      return fail(s, IR_NEAR_op, p, v);
   if (!fits(p, v, s))
      return false;
   if (!capture(p->as, v, &s->m))
      return fail(s, IR_NEAR_same, p, v);
   if (!p->ops)
      return true;
   return v->result == p->result ? match_op(p, v->def, s) : fail(s, IR_NEAR_result, p, v);
}

/* Tries all orders. near, when not NULL, keeps the failure that got furthest. */
static bool match_all(const ir_pat *p, ir_op *op, ir_match *out, ir_near *near)
{
   uint32_t most = 0;

   if (p->result >= op->num_results)
      return false;
   for (uint32_t swaps = 0; swaps >> most == 0; swaps++) {
      matcher s = {.swaps = swaps};
      if (match_value(p, op->results[p->result], &s)) {
         *out = s.m;
         return true;
      }
      if (near && s.fail.matched > near->matched)
         *near = s.fail;
      most = MAX(most, s.choices);
   }
   return false;
}

bool ir_match_op(const ir_pat *p, ir_op *op, ir_match *out)
{
   return match_all(p, op, out, NULL);
}

static uint32_t count_ops(const ir_pat *p)
{
   if (!p || !p->ops)
      return 0;
   return 1 + count_ops(p->in0) + count_ops(p->in1) + count_ops(p->in2) + count_ops(p->in3);
}

bool ir_match_near(const ir_pat *p, ir_op *op, ir_near *out)
{
   ir_match m;

   *out = (ir_near){0};
   if (!((p->ops >> op->code) & 1) || match_all(p, op, &m, out))
      return false;
   out->total = count_ops(p);
   return out->pattern != NULL;
}
