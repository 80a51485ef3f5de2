/* stage.c - the loops of a row kernel, for every emitter.
 *
 * Each value that has memory or a temporary is computed by a stage, in program order. Results of
 * one shape share a loop, a run, as long as none of them needs another one's elements elsewhere. */
#include "region.h"

bool cg_has_own_form(const ir_op *op)
{
   return op->code == IR_OP_rope || op->code == IR_OP_concat || cg_is_write(op) ||
          op->code == IR_OP_quant;
}

static bool in_run(const cg_stage *s, const ir_op *op)
{
   for (uint32_t k = 0; k < s->num_ops; k++)
      if (s->ops[k] == op)
         return true;
   return false;
}

/* op reads the run's results at other places than its own element: through a view, or in a norm's
 * sum. */
static bool reads_across(const cg_region *r, const cg_stage *s, const ir_op *op)
{
   for (uint32_t k = 0; k < op->num_operands; k++) {
      const cg_value *c = cg_region_value(r, op->operands[k]);
      const ir_op *def = op->operands[k]->def;
      bool is_view = def->code == IR_OP_reshape || def->code == IR_OP_slice;
      if (!c)
         continue;
      if (in_run(s, def) ? cg_is_norm(op) || op->code == IR_OP_reshape || op->code == IR_OP_slice
                         : is_view && def->group == op->group)
         return true;
      if (c->home == CG_HOME_inline && reads_across(r, s, def))
         return true;
   }
   return false;
}

static bool joins(const cg_region *r, const cg_stage *s, const ir_op *op)
{
   if (!s->num_ops)
      return true;
   if (cg_has_own_form(s->ops[0]))
      return false;
   const cg_value *a = cg_region_value(r, s->ops[0]->results[0]);
   const cg_value *b = cg_region_value(r, op->results[0]);
   return s->num_ops < countof(s->ops) && a->outer == b->outer && a->last == b->last &&
          !reads_across(r, s, op);
}

/* A value has a stage of its own when it is stored by this kernel. */
static bool is_stage(const cg_region *r, const ir_op *op)
{
   const cg_value *c = cg_region_value(r, op->results[0]);
   bool is_view =
      op->code == IR_OP_reshape || op->code == IR_OP_slice || op->code == IR_OP_take_rows;

   if (is_view)
      return c->source >= 0;
   return c->home != CG_HOME_inline;
}

uint32_t cg_region_stages(const cg_region *r, arena *a, cg_stage **out)
{
   cg_stage *stages = arena_array(a, cg_stage, r->num_ops + 1);
   uint32_t n = 0;

   for (uint32_t i = 0; i < r->num_ops; i++) {
      const ir_op *op = r->ops[i];
      bool own_form = cg_has_own_form(op);

      if (!own_form && !is_stage(r, op))
         continue;
      if (n == 0 || own_form || !joins(r, &stages[n - 1], op))
         n++;
      stages[n - 1].ops[stages[n - 1].num_ops++] = op;
   }
   *out = stages;
   return n;
}
