/* mla_rope_kv.c - rotation of q and k and the write of the latent row in one row kernel.
 *
 *    %qp = slice %q {start=a};    %qr = rope %qp, %cs         kernel {
 *    %kp = slice %kva {start=r};  %kr = rope %kp, %cs   ->      %qp, %qr, %kp, %kr, (%c, %cn,) %s1
 *    %s1 = mla_write %s0, %cn, %kr                            }
 *
 * Saves two launches and the copies of both parts: q is rotated where it lies, in rows of all
 * heads' plain and rotated elements, and c and k go straight into their row of the page. Where q
 * has no latent, the norm of c joins too; with one, mla_dual_rmsnorm takes it. Rotation stays in
 * f32, whatever the state is stored in, and a slot of -1 keeps the write out, not the rotation.
 * Declines when q or k is not rotated, when both are rotated in different styles or by different
 * tables, when a part or a rotated value has a second reader, and rows that the target cannot hold.
 * Kills: the write of another layer; rotating the plain part; skipping padded rows of q. */
#include "pass.h"

static bool only_reader(const ir_op *op, const ir_op *reader)
{
   return pass_only_reader(op->results[0]) == reader;
}

static bool same_rotation(const ir_op *a, const ir_op *b)
{
   return a->operands[1] == b->operands[1] &&
          strcmp(ir_attr_s(a, IR_ATTR_style, ""), ir_attr_s(b, IR_ATTR_style, "")) == 0;
}

static bool fits(pass_site *s, const pass_mla *m)
{
   int64_t n = pass_row_elements(&m->attention->operands[1]->type);

   if (!m->q_rope || !m->k_rope)
      return pass_decline(s, "%s is not rotated", m->q_rope ? "k" : "q");
   if (!same_rotation(m->q_rope, m->k_rope))
      return pass_decline(s, "q and k are rotated differently");
   if (!only_reader(m->q_rope, m->attention) || !only_reader(m->k_rope, m->write))
      return pass_decline(s, "a rotated value has a second reader");
   if ((m->q_part && !only_reader(m->q_part, m->q_rope)) ||
       (m->k_part && !only_reader(m->k_part, m->k_rope)))
      return pass_decline(s, "a part that is rotated has a second reader");
   if (n < 0 || n > s->target->row_limit)
      return pass_decline(s, "a row of %lld elements exceeds the target's %lld", (long long)n,
                          (long long)s->target->row_limit);
   return true;
}

/* The norm of c, where no other fusion wants it. */
static void claim_norm(pass_site *s, const pass_mla *m)
{
   if (m->q_norm || !m->c_norm || !only_reader(m->c_norm, m->write))
      return;
   if (m->c_part && !only_reader(m->c_part, m->c_norm))
      return;
   if (m->c_part)
      pass_own(s, m->c_part);
   pass_own(s, m->c_norm);
}

static void claim(pass_site *s, const pass_mla *m)
{
   ir_op *const ops[] = {m->q_part, m->q_rope, m->k_part, m->k_rope};

   for (size_t i = 0; i < countof(ops); i++)
      if (ops[i])
         pass_own(s, ops[i]);
   claim_norm(s, m);
   pass_own(s, m->write);
}

void pass_mla_rope_kv(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      pass_mla m;
      pass_site *s;

      if (op->code != IR_OP_mla_write || !pass_mla_of(op, &m) || (!m.q_rope && !m.k_rope))
         continue;
      if (!(s = pass_site_open(run, m.attention)) || !fits(s, &m))
         continue;
      claim(s, &m);
      pass_propose(s);
   }
}
