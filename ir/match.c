/* match.c - patterns against the graph.
 *
 * Each op that commutes is a choice between two orders; the choices of one attempt are the bits of
 * a number, and all numbers are tried: complete, and small because patterns are. */
#include "match.h"

enum { MAX_CHOICES = 8 };

typedef struct matcher {
   ir_match m;
   uint32_t swaps, choices; /* bit i: the i-th commuting op is read backwards; how many were met */
} matcher;

static bool match_value(const ir_pat *p, ir_value *v, matcher *s);

static bool capture(int as, ir_value *v, ir_match *m)
{
   if (as == IR_MATCH_NONE)
      return true;
   if (as < 0 || as >= IR_MATCH_CAPTURES || (m->cap[as] && m->cap[as] != v))
      return false;
   m->cap[as] = v;
   return true;
}

static bool fits(const ir_pat *p, const ir_value *v)
{
   if (p->only_use && ir_use_count(v) != 1)
      return false;
   if (p->dtype != DT_none && v->type.dtype != p->dtype)
      return false;
   if (p->kind != DTYPE_NONE && dtype_infos[v->type.dtype].kind != p->kind)
      return false;
   if (p->rank && v->type.rank != p->rank)
      return false;
   return !p->where || p->where(v);
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

static bool match_op(const ir_pat *p, ir_op *op, matcher *s)
{
   const ir_pat *in[IR_MATCH_OPERANDS] = {p->in0, p->in1, p->in2, p->in3};
   bool swapped = false;

   if (!((p->ops >> op->code) & 1))
      return false;
   if (p->as2 != IR_MATCH_NONE && (op->num_results < 2 || !capture(p->as2, op->results[1], &s->m)))
      return false;
   if ((ir_op_infos[op->code].props & IR_COMMUTES) && s->choices < MAX_CHOICES)
      swapped = (s->swaps >> s->choices++) & 1;
   for (uint32_t i = 0; i < IR_MATCH_OPERANDS; i++) {
      uint32_t at = swapped && i < 2 ? 1 - i : i;
      if (in[i] && (at >= op->num_operands || !match_value(in[i], op->operands[at], s)))
         return false;
   }
   return add_op(&s->m, op);
}

static bool match_value(const ir_pat *p, ir_value *v, matcher *s)
{
   if (!fits(p, v) || !capture(p->as, v, &s->m))
      return false;
   return p->ops == 0 || (v->result == p->result && match_op(p, v->def, s));
}

bool ir_match_op(const ir_pat *p, ir_op *op, ir_match *out)
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
      most = MAX(most, s.choices);
   }
   return false;
}
