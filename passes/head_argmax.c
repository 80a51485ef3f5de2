/* head_argmax.c - the likeliest token without reading all of the head's weight.
 *
 *    %l = qmatmul %c, %s, %w    ->    kernel { %l }, and the top of %w is packed, too
 *    return %l
 *
 * Most steps need of their logits only which is the largest. The upper bits of the weight's codes
 * bound each logit from above, and few bounds reach the largest logit: only what may be larger is
 * read in full (kernels/cpu/gemm_bound.c). The token is the same. Logits that are wanted are made
 * from the weight itself. It costs the top's bytes in the artifact, and a launch, which pays for
 * large vocabularies. Declines weights whose codes are not bytes with a scale for 32, and targets
 * that share their weights with one that reads no tops. Kills: the top of another weight; logits
 * with an epilogue, whose order the bounds do not have. */
#include "pass.h"

#include "base/pack.h"

/* A matmul whose result is returned first, for the rows that are wanted. */
static bool makes_logits(const ir_func *f, const ir_op *op)
{
   return op->code == IR_OP_qmatmul && f->returns.count && f->returns.data[0] == op->results[0] &&
          op->results[0]->type.dim[0].coef[SYM_R] == 1;
}

static bool fits(pass_site *s, ir_op *op)
{
   const ir_value *w = pass_weight_of(op);

   if (!s->target->reads_tops)
      return pass_decline(s, "a target of the artifact has no kernels for the tops of weights");
   if (w->def->code != IR_OP_weight)
      return pass_decline(s, "the weight is part of another");
   if (!pack_top_of(w->type.dtype))
      return pass_decline(s, "weights of type %s have no top", dtype_infos[w->type.dtype].name);
   return true;
}

void pass_head_argmax(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      pass_site *s;

      if (!makes_logits(pass_func(run), op) || !(s = pass_site_open(run, op)) || !fits(s, op))
         continue;
      s->reads_top = true;
      s->again_ns = s->target->launch_ns;
      pass_own(s, op);
      pass_propose(s);
   }
}
