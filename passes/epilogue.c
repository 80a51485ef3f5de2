/* epilogue.c - what follows a matmul element by element, in its kernel.
 *
 *    %y = matmul %x, %w           kernel {
 *    %z = add %y, %bias     ->      %y, %z, %h ...
 *    %h = add %z, %residual       }
 *
 * Each op is a site of its own, which joins the kernel that the op before it is in: add of a row
 * (bias) or of a matrix (residual), scale, softcap; a scale also joins an embedding. Saves a
 * launch, a write and a read per site. Declines when the value before it has a second reader, when
 * what is added is not f32, and when the kernel has as many steps as the target allows. Rival:
 * add_rmsnorm, which wants the residual add for the norm behind it. Kills: joining a value that
 * others read; joining the kernel of the other operand. */
#include "pass.h"

static bool is_step(const ir_op *op)
{
   return op->code == IR_OP_add || op->code == IR_OP_scale || op->code == IR_OP_softcap;
}

/* Whether v comes out of a matmul, or of steps behind one that nobody else reads (so that the walk
 * is short: the residual stream is a chain of adds, too). */
static bool follows_matmul(const ir_value *v)
{
   const ir_op *op = v->def;

   while (is_step(op) && ir_only_user(op->results[0])) {
      bool second = op->code == IR_OP_add && !pass_is_matmul(op->operands[0]->def) &&
                    !is_step(op->operands[0]->def);
      op = op->operands[second]->def;
   }
   return pass_is_matmul(op);
}

/* The operand whose kernel the op can join: an add may have it on either side. */
static ir_value *operand_to_join(const ir_op *op)
{
   if (op->code == IR_OP_scale && op->operands[0]->def->code == IR_OP_embed)
      return op->operands[0];

   uint32_t sides = op->code == IR_OP_add ? 2 : 1;
   ir_value *found = NULL;

   for (uint32_t i = 0; i < sides; i++) {
      ir_value *v = op->operands[i];

      /* A matrix only: a row that is added cannot carry the kernel. */
      if (!follows_matmul(v) || v->type.rank != op->results[0]->type.rank)
         continue;
      /* The one that nobody else reads; of two, the one that is computed later. */
      if (!found || (ir_only_user(v) && (!ir_only_user(found) || ir_precedes(found->def, v->def))))
         found = v;
   }
   return found;
}

/* Runs when the sites before it have been carried out. */
static bool has_kernel(pass_site *s)
{
   const ir_op *before = s->host.data[0];
   uint32_t carriers = pass_is_matmul(before) || before->code == IR_OP_embed;

   if (before->group) {
      carriers = 0;
      for (const ir_op *op = before->group->first; op && op->group == before->group; op = op->next)
         carriers += pass_is_matmul(op) || op->code == IR_OP_embed;
      if (before->group->num_ops - carriers >= s->target->max_steps * carriers)
         return pass_decline(s, "the kernel has its %u steps already", s->target->max_steps);
   }
   if (!carriers)
      return pass_decline(s, "%s is not in the matmul's kernel", pass_label(s->f->a, before));
   return true;
}

static bool fits(pass_site *s, const ir_op *op, const ir_value *before)
{
   if (!ir_only_user(before))
      return pass_decline(s, "%s has a second reader", pass_label(s->f->a, before->def));
   for (uint32_t i = 0; i < op->num_operands; i++)
      if (op->operands[i] != before && op->operands[i]->type.dtype != DT_f32)
         return pass_decline(s, "what is added is %s, not f32",
                             dtype_infos[op->operands[i]->type.dtype].name);
   return true;
}

void pass_epilogue(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      ir_value *v = is_step(op) ? operand_to_join(op) : NULL;
      pass_site *s;

      if (!v || !(s = pass_site_open(run, op)) || !fits(s, op, v))
         continue;
      pass_own(s, op);
      pass_host(s, v->def);
      s->extends = true;
      s->ready = has_kernel;
      pass_propose(s);
   }
}
