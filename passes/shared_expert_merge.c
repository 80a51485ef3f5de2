/* shared_expert_merge.c - the shared expert's last matmul in the kernel that sums the routed ones.
 *
 *    kernel { %d = moe_matmul …                        kernel { %d, %r
 *             %r = combine %d, %w }             ->              %s, %y }
 *    %s = matmul %a, %wd
 *    %y = add %r, %s
 *
 * or with `combine %s, %g` of one slot in between, the gate of a shared expert. A tile has all that
 * its columns need: the experts' slots are summed in %y, and what the shared expert gives is added
 * there; with few rows both products stand beside each other, and who is done last sums
 * (lower_combine.c). Saves a launch and a barrier, and a write and a read of T * D values. Gate and
 * up of the shared expert do not wait for the router: they run beside it, and stay where they are.
 * A residual behind %y follows as an epilogue. Declines when either result has a second reader, and
 * when the experts do not sum in their kernel. Kills: the sum of another layer; a factor of many
 * slots. */
#include "pass.h"

typedef struct parts {
   ir_op *sum, *matmul, *gate, *add; /* gate NULL: the shared expert counts as it is */
} parts;

static bool is_routed(const ir_op *op)
{
   const ir_op *down = op->code == IR_OP_combine ? op->operands[0]->def : op;

   return down->code == IR_OP_moe_matmul || down->code == IR_OP_moe_qmatmul;
}

static bool find_parts(ir_op *add, parts *p)
{
   for (uint32_t i = 0; i < 2; i++) {
      ir_op *sum = add->operands[i]->def, *other = add->operands[1 - i]->def;
      bool gated = other->code == IR_OP_combine && !is_routed(other);
      ir_op *matmul = gated ? other->operands[0]->def : other;

      if (sum->code != IR_OP_combine || !is_routed(sum) || !pass_is_matmul(matmul))
         continue;
      *p = (parts){sum, matmul, gated ? other : NULL, add};
      return true;
   }
   return false;
}

static bool has_one_reader(pass_site *s, const ir_op *op)
{
   return ir_only_user(op->results[0]) ||
          pass_decline(s, "%s has a second reader", pass_label(s->f->a, op));
}

static bool fits(pass_site *s, const parts *p)
{
   if (!s->target->has_combine)
      return pass_decline(s, "the target's experts do not sum in their kernel");
   if (p->gate && ir_type_row(&p->gate->operands[1]->type) != 1)
      return pass_decline(s, "the shared experts have several slots a token");
   if (p->gate && !has_one_reader(s, p->gate))
      return false;
   return has_one_reader(s, p->sum) && has_one_reader(s, p->matmul);
}

/* Runs when moe_grouped has been carried out. */
static bool sums_in_kernel(pass_site *s)
{
   const ir_op *sum = s->host.data[0];

   return (sum->group && sum->group == sum->operands[0]->def->group) ||
          pass_decline(s, "the experts do not sum in their kernel");
}

void pass_shared_expert_merge(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      parts p;
      pass_site *s;

      if (op->code != IR_OP_add || !find_parts(op, &p) || !(s = pass_site_open(run, op)) ||
          !fits(s, &p))
         continue;
      pass_host(s, p.sum);
      pass_own(s, p.matmul);
      if (p.gate)
         pass_own(s, p.gate);
      pass_own(s, op);
      s->ready = sums_in_kernel;
      pass_propose(s);
   }
}
