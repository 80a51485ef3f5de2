/* mla_dual_rmsnorm.c - the norms of both latents in one row kernel.
 *
 *    %qn = rmsnorm %qa, %wq                     kernel {
 *    %c  = slice %kva {start=0}           ->      %qn, %c, %cn
 *    %cn = rmsnorm %c, %wc                      }
 *
 * Saves a launch, and the latent is read where it lies, in the wider row of its projection: no copy
 * of it is made. Declines when q has no latent of its own, when the latent of k and v has no norm,
 * when the part that is normed has a second reader, and rows that the target cannot hold. Kills:
 * taking the block's own norm for that of q; the norm of another layer. */
#include "pass.h"

static bool fits_row(pass_site *s, const ir_op *norm)
{
   int64_t n = pass_row_elements(&norm->results[0]->type);

   if (n < 0 || n > s->target->row_limit)
      return pass_decline(s, "a row of %lld elements exceeds the target's %lld", (long long)n,
                          (long long)s->target->row_limit);
   return true;
}

static bool fits(pass_site *s, const pass_mla *m)
{
   if (!m->q_norm)
      return pass_decline(s, "q has no latent of its own: there is one norm");
   if (!m->c_norm)
      return pass_decline(s, "the latent of k and v has no norm");
   if (m->c_part && pass_only_reader(m->c_part->results[0]) != m->c_norm)
      return pass_decline(s, "the part that is normed has a second reader");
   return fits_row(s, m->q_norm) && fits_row(s, m->c_norm);
}

void pass_mla_dual_rmsnorm(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      pass_mla m;
      pass_site *s;

      if (op->code != IR_OP_mla_write || !pass_mla_of(op, &m) || (!m.q_norm && !m.c_norm))
         continue;
      if (!(s = pass_site_open(run, m.attention)) || !fits(s, &m))
         continue;
      pass_own(s, m.q_norm);
      if (m.c_part)
         pass_own(s, m.c_part);
      pass_own(s, m.c_norm);
      pass_propose(s);
   }
}
