/* wanted_rows.c - the last layer works on rows that are wanted only.
 *
 *    %y = add %h, %d                 %hr = take_rows %h, %rows
 *    %l = take_rows %y, %rows   ->   %dr = take_rows %d, %rows
 *                                    %y  = add %hr, %dr
 *
 * From the logits up to the last attention no row looks at another. Of a prompt one row is wanted,
 * or none while more of it follows: the other rows' last projection and feed-forward layer need not
 * be computed. EXACT: a row's bits do not depend on its neighbours. Declines where the rows are not
 * cut but mixed, or somebody else reads them. Kills: a reader of all rows that gets some; a weight
 * whose rows are taken. */
#include "pass.h"

static bool has_rows(const ir_value *v, ir_dim rows)
{
   return v->type.rank == 2 && ir_dim_equal(v->type.dim[0], rows);
}

/* Whether each row of the result is made from the same row of the operands, and of what has no
 * rows. */
static bool is_by_rows(const ir_op *op)
{
   const ir_value *y = op->results[0];
   bool some = false;

   if (op->num_results != 1 || y->type.rank != 2 || ir_dim_is_const(y->type.dim[0]) ||
       (op->code != IR_OP_matmul && (!pass_is_row_op(op) || op->code == IR_OP_quant)))
      return false;
   for (uint32_t i = 0; i < op->num_operands; i++) {
      const ir_value *x = op->operands[i];
      bool rows = has_rows(x, y->type.dim[0]);

      some |= rows;
      if (!rows && !(x->type.rank && ir_dim_is_const(x->type.dim[0])))
         return false;
   }
   return some;
}

static bool is_take(const ir_op *op)
{
   return op->code == IR_OP_take_rows && !ir_attr_get(op, IR_ATTR_size);
}

/* A take of x, NULL: there is none. */
static ir_op *take_of(const ir_value *x)
{
   for (const ir_use *u = x->uses; u; u = u->next)
      if (is_take(u->user) && u->user->operands[0] == x)
         return u->user;
   return NULL;
}

static bool fits(pass_site *s, const ir_op *op, const ir_value *rows)
{
   const ir_value *x = op->results[0];

   if (!is_by_rows(op))
      return pass_decline(s, "%s does not compute row by row", pass_label(s->f->a, op));
   if (x->returned)
      return pass_decline(s, "all rows are returned");
   for (const ir_use *u = x->uses; u; u = u->next)
      if (!is_take(u->user) || u->user->operands[1] != rows)
         return pass_decline(s, "%s reads all rows", pass_label(s->f->a, u->user));
   return true;
}

/* The rows of what op reads, taken before it; each operand once. */
static void take_operands(ir_func *f, ir_op *op, ir_value *rows)
{
   ir_dim all = op->results[0]->type.dim[0];
   ir_builder b = {f, op};

   if (!ir_precedes(rows->def, op))
      ir_move_before(f, rows->def, op);
   for (uint32_t i = 0; i < op->num_operands; i++) {
      ir_value *x = op->operands[i];

      if (!has_rows(x, all))
         continue;
      ir_value *taken = ir_take_rows(&b, x, rows);
      for (uint32_t k = i; k < op->num_operands; k++)
         if (op->operands[k] == x)
            ir_set_operand(f, op, k, taken);
   }
}

static void build(pass_site *s, ir_op *op, ir_value *rows)
{
   ir_value *x = op->results[0];

   take_operands(s->f, op, rows);
   x->type.dim[0] = rows->type.dim[0];
   for (ir_op *take; (take = take_of(x)) != NULL;) {
      ir_replace_uses(s->f, take->results[0], x);
      ir_erase(s->f, take);
   }
   pass_fired(s);
}

/* From the end on: all readers of a value come before it. */
void pass_wanted_rows(pass_run *run)
{
   ir_func *f = pass_func(run);

   for (ir_op *op = f->last; op; op = op->prev) {
      const ir_op *take = op->num_results == 1 ? take_of(op->results[0]) : NULL;
      pass_site *s;

      if (!take || !(s = pass_site_open(run, op)) || !fits(s, op, take->operands[1]))
         continue;
      build(s, op, take->operands[1]);
   }
}
