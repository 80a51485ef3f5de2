/* pointwise.c - row kernels from all pointwise and row operations that the fusions left.
 *
 *    %a = f %x : t[T,D]           kernel {
 *    %b = g %a : t[T,D]     ->      %a, %b, and whatever else works on the same rows
 *                                 }
 *
 * A walk over the edges between row operations in program order; each edge is a site, which joins
 * two kernels of row operations (add_rmsnorm's, too). Saves a launch and the read of the value on
 * the edge. Declines when rows differ, when the value is taken in another order (take_rows, slice),
 * when a row is too long, when a kernel would get too many pointers, or when something between the
 * two would have to run inside. Kills: joining kernels of different rows; ignoring the limit of
 * pointers. */
#include "pass.h"

typedef VEC(ir_op *) op_list;

static bool is_pick(const ir_op *op)
{
   return op->code == IR_OP_take_rows || op->code == IR_OP_slice;
}

static bool is_member(const ir_op *op)
{
   return pass_is_row_op(op) || is_pick(op);
}

/* Whether the op is alone, or in a kernel of row operations only. */
static bool is_open(const ir_op *op)
{
   if (!is_member(op))
      return false;
   if (op->group)
      for (const ir_op *m = op->group->first; m && m->group == op->group; m = m->next)
         if (!is_member(m))
            return false;
   return true;
}

static bool same_rows(const ir_op *a, const ir_op *b)
{
   const ir_type *x = &a->results[0]->type, *y = &b->results[0]->type;

   if (x->rank != y->rank)
      return false;
   for (uint32_t i = 0; i < x->rank; i++)
      if (!ir_dim_equal(x->dim[i], y->dim[i]))
         return false;
   return true;
}

static void add_members(arena *a, op_list *list, ir_op *op)
{
   if (!op->group) {
      *vec_push(a, list) = op;
      return;
   }
   for (ir_op *m = op->group->first; m && m->group == op->group; m = m->next)
      *vec_push(a, list) = m;
}

static bool holds(const op_list *list, const ir_op *op)
{
   for (size_t i = 0; i < list->count; i++)
      if (list->data[i] == op)
         return true;
   return false;
}

typedef struct pointer_count {
   const op_list *ops;
   bool outside;
} pointer_count;

static void look_outside(void *user, ir_op *reader)
{
   pointer_count *c = user;

   c->outside |= !reader || !holds(c->ops, reader);
}

static bool seen_before(const op_list *ops, size_t i, uint32_t k, const ir_value *v)
{
   for (size_t j = 0; j <= i; j++)
      for (uint32_t o = 0; o < (j < i ? ops->data[j]->num_operands : k); o++)
         if (pass_source(ops->data[j]->operands[o]) == v)
            return true;
   return false;
}

/* Values that one kernel of these ops reads and writes in memory. */
static uint32_t count_pointers(const op_list *ops)
{
   uint32_t n = 0;

   for (size_t i = 0; i < ops->count; i++) {
      const ir_op *op = ops->data[i];

      for (uint32_t k = 0; k < op->num_operands; k++) {
         const ir_value *v = pass_source(op->operands[k]);

         n += !holds(ops, v->def) && !seen_before(ops, i, k, v);
      }
      for (uint32_t r = 0; r < op->num_results; r++) {
         pointer_count c = {ops, false};

         pass_readers(op->results[r], look_outside, &c);
         n += c.outside;
      }
   }
   return n;
}

static bool fits(pass_site *s, ir_op *producer, ir_op *op)
{
   op_list ops = {0};
   int64_t row = pass_row_elements(&op->results[0]->type);

   if (is_pick(op))
      return pass_decline(s, "its rows are not those of its operand");
   if (!same_rows(producer, op))
      return pass_decline(s, "the rows of the two differ");
   if (row < 0 || row > s->target->row_limit)
      return pass_decline(s, "a row does not fit one kernel of the target");
   add_members(s->f->a, &ops, producer);
   add_members(s->f->a, &ops, op);
   if (count_pointers(&ops) > s->target->max_pointers)
      return pass_decline(s, "one kernel would need more than %u pointers",
                          s->target->max_pointers);
   return true;
}

static void join(pass_run *run, ir_op *op, uint32_t operand)
{
   ir_op *producer = op->operands[operand]->def;
   pass_site *s;

   if (!is_open(producer) || (op->group && op->group == producer->group))
      return;
   if (!(s = pass_site_open(run, op)) || !fits(s, producer, op))
      return;
   s->extends = true;
   pass_host(s, producer);
   pass_host(s, op);
   (void)pass_group_now(s);
}

/* Grouping moves ops, so the walk is over a list made before. */
void pass_pointwise(pass_run *run)
{
   ir_func *f = pass_func(run);
   op_list ops = {0};

   ir_op_foreach (f, op)
      if (is_open(op))
         *vec_push(f->a, &ops) = op;
   for (size_t i = 0; i < ops.count; i++)
      for (uint32_t k = 0; k < ops.data[i]->num_operands; k++)
         join(run, ops.data[i], k);
}
