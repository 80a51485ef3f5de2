/* attn.c - the neighbourhood of one attention, shared by the fusions around it.
 *
 *    matmul ─(add, scale)─ rmsnorm? ─ rope? ─▶ attention ◀── kv_write ◀─ rope? ─ rmsnorm? ─ matmul
 *                                                                   ◀─ matmul */
#include "pass.h"

/* Views, rotations, norms, biases and factors are passed over. */
static ir_op *matmul_behind(ir_value *v)
{
   return pass_matmul_behind(v, IR_SET(reshape) | IR_SET(rope) | IR_SET(rmsnorm) | IR_SET(scale));
}

static void find_rope(ir_value *v, ir_op **out_rope, ir_op **out_norm)
{
   if (v->def->code != IR_OP_rope)
      return;
   *out_rope = v->def;
   if (v->def->operands[0]->def->code == IR_OP_rmsnorm)
      *out_norm = v->def->operands[0]->def;
}

bool pass_attn_of(ir_op *kv_write, pass_attn *out)
{
   *out = (pass_attn){.write = kv_write};
   for (const ir_use *u = kv_write->results[0]->uses; u; u = u->next) {
      bool reads = u->user->code == IR_OP_attention && u->operand == 1;

      if (reads && (!out->attention || u->user->id < out->attention->id))
         out->attention = u->user;
   }
   if (!out->attention)
      return false;
   find_rope(out->attention->operands[0], &out->q_rope, &out->q_norm);
   find_rope(kv_write->operands[1], &out->k_rope, &out->k_norm);
   out->q_matmul = matmul_behind(out->attention->operands[0]);
   out->k_matmul = matmul_behind(kv_write->operands[1]);
   out->v_matmul = matmul_behind(kv_write->operands[2]);
   return true;
}

static bool fits_row(pass_site *s, const ir_op *op)
{
   int64_t n = pass_row_elements(&op->results[0]->type);

   if (n < 0)
      return pass_decline(s, "the length of a row is not known when compiling");
   if (n > s->target->row_limit)
      return pass_decline(s, "a row of %lld elements exceeds the target's %lld", (long long)n,
                          (long long)s->target->row_limit);
   return true;
}

static bool fits(pass_site *s, const pass_attn *p, bool norms)
{
   if (!p->q_rope || !p->k_rope)
      return pass_decline(s, "%s is not rotated", p->q_rope ? "k" : "q");
   if (norms && (!p->q_norm || !p->k_norm))
      return pass_decline(s, "%s has no norm before its rotation", p->q_norm ? "k" : "q");
   if (norms && (!ir_only_user(p->q_norm->results[0]) || !ir_only_user(p->k_norm->results[0])))
      return pass_decline(s, "a norm has a second reader");
   if (!ir_only_user(p->q_rope->results[0]) || !ir_only_user(p->k_rope->results[0]))
      return pass_decline(s, "a rotated value has a second reader");
   return fits_row(s, p->q_rope) && fits_row(s, p->k_rope);
}

/* A layer without rotation, or without norms where norms are wanted, is no match at all. */
static bool matches(const pass_attn *p, bool norms)
{
   return (p->q_rope || p->k_rope) && (!norms || p->q_norm || p->k_norm);
}

static void propose(pass_run *run, const pass_attn *p, bool norms, bool write)
{
   pass_site *s = pass_site_open(run, p->attention);

   if (!s || !fits(s, p, norms))
      return;
   if (norms) {
      pass_own(s, p->q_norm);
      pass_own(s, p->k_norm);
   }
   pass_own(s, p->q_rope);
   pass_own(s, p->k_rope);
   if (write)
      pass_own(s, p->write);
   pass_propose(s);
}

void pass_propose_attn(pass_run *run, bool norms, bool write)
{
   ir_op_foreach (pass_func(run), op) {
      pass_attn p;

      if (op->code != IR_OP_kv_write || !pass_attn_of(op, &p))
         continue;
      if (matches(&p, norms))
         propose(run, &p, norms, write);
      else
         (void)pass_note_near(run, p.attention, 1, norms ? 3 : 2, "neither q nor k has a %s",
                              p.q_rope || p.k_rope ? "norm before its rotation" : "rotation");
   }
}
