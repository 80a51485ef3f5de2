/* qk_row_norm.c - the norms of whole rows of q and k in one kernel.
 *
 *    %qn = rmsnorm %q, %wq                        kernel {
 *    %kn = rmsnorm %k, %wk                  ->      %qn, %kn
 *    attention rope(reshape %qn), … %kn           }
 *
 * OLMo 2 norms q and k before they are divided into heads: two kernels that read nothing of each
 * other, of which the target starts one now. Declines when only one of q and k has such a norm, and
 * rows that the target cannot hold. Rival: none; the rotation behind it is that of rope_kv. Kills:
 * taking the norm of q for both; a norm over heads, which qk_norm_rope takes. */
#include "pass.h"

/* The norm before a row is divided into heads, NULL when there is none. */
static ir_op *row_norm(const ir_value *heads)
{
   const ir_op *op = heads->def;

   if (op->code == IR_OP_rope)
      op = op->operands[0]->def;
   if (op->code != IR_OP_reshape)
      return NULL;
   return op->operands[0]->def->code == IR_OP_rmsnorm ? op->operands[0]->def : NULL;
}

static bool fits_row(pass_site *s, const ir_op *norm)
{
   int64_t n = pass_row_elements(&norm->results[0]->type);

   if (n >= 0 && n <= s->target->row_limit)
      return true;
   return pass_decline(s, "a row of %lld elements exceeds the target's %lld", (long long)n,
                       (long long)s->target->row_limit);
}

void pass_qk_row_norm(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      pass_attn a;
      pass_site *s;

      if (op->code != IR_OP_kv_write || !pass_attn_of(op, &a))
         continue;
      ir_op *q = row_norm(a.attention->operands[0]), *k = row_norm(op->operands[1]);
      if ((!q && !k) || !(s = pass_site_open(run, a.attention)))
         continue;
      if (!q || !k) {
         (void)pass_decline(s, "%s has no norm of its whole row", q ? "k" : "q");
         continue;
      }
      if (!fits_row(s, q) || !fits_row(s, k))
         continue;
      pass_own(s, q);
      pass_own(s, k);
      pass_propose(s);
   }
}
