/* rmsnorm_router.c - the norm in front of a router in the router's kernel.
 *
 *    %n = rmsnorm %x, %w                      kernel { %n
 *    %l = matmul %n, %gate            ->               %l }
 *    %ids, %p = route %l                      %ids, %p = route %l
 *
 * Saves a launch, and a read of %n; also its write where only the router reads it. Every tile of
 * the matmul norms its rows again, which pays where a launch costs more than that: on a CPU, where
 * the norm of a few rows runs at the barrier before, it does not, and the site fires when it is
 * forced. A bias between matmul and route follows as an epilogue. Declines quantised routers,
 * logits of values that are not normed, and rows that a tile does not hold. Kills: the norm of
 * another value; a row beyond the limit; forgetting the other readers of the normed rows. */
#include "pass.h"

/* The matmul behind the logits, and a bias on the way. */
static ir_op *router_of(const ir_op *route)
{
   ir_op *op = route->operands[0]->def;

   if (op->code == IR_OP_add && op->operands[1]->type.rank < op->operands[0]->type.rank)
      op = op->operands[0]->def;
   return op->code == IR_OP_matmul ? op : NULL;
}

static bool fits(pass_site *s, const ir_op *norm, const ir_op *matmul)
{
   const ir_type *x = &norm->operands[0]->type;
   int64_t row = ir_type_row(x);

   if (x->rank != 2 || row < 0)
      return pass_decline(s, "what is normed is no matrix with rows of a known length");
   if (x->dtype != DT_f32 && !s->target->arch)
      return pass_decline(s, "a CPU's matmul norms f32 rows, not %s", dtype_infos[x->dtype].name);
   if (!s->target->prologue_row)
      return pass_decline(s, "the matmuls of %s norm no rows", s->target->name);
   if (row > s->target->prologue_row)
      return pass_decline(s, "a row of %lld elements exceeds the %lld that a matmul's tile norms",
                          (long long)row, (long long)s->target->prologue_row);
   if (dtype_infos[pass_weight_of(matmul)->type.dtype].kind != DTYPE_FLOAT)
      return pass_decline(s, "the router's weights are %s, not floats",
                          dtype_infos[pass_weight_of(matmul)->type.dtype].name);
   if (s->target->splits_bf16 && pass_weight_of(matmul)->type.dtype == DT_bf16)
      return pass_decline(s, "the tiles of %s take bf16 weights with rows that are split before",
                          s->target->name);
   return true;
}

void pass_rmsnorm_router(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_op *matmul = op->code == IR_OP_route ? router_of(op) : NULL;
      ir_op *norm = matmul ? matmul->operands[0]->def : NULL;
      pass_site *s;

      if (!norm)
         continue;
      if (norm->code != IR_OP_rmsnorm) {
         (void)pass_note_near(run, op, 2, 3, "the router reads %s, which is no norm",
                              pass_label(pass_func(run)->a, norm));
         continue;
      }
      if (!(s = pass_site_open(run, op)) || !fits(s, norm, matmul))
         continue;
      pass_own(s, norm);
      pass_own(s, matmul);
      s->again_ns = s->target->repeat_ns;
      pass_propose(s);
   }
}
