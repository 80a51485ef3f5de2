/* conditions.c - conditional regions: kernels whose results only some steps look at.
 *
 *    h ─▶ q = matmul, rope ─┐                        index_topk scores entries once more chunks are closed than it keeps: in contexts
 *    h ─▶ w = matmul       ─┴─▶ index_topk ─▶ ids    of up to k * ratio positions nobody reads q and w, and nothing makes them
 *
 * The condition is a bound on the context, which the host knows before the step: extents of the
 * launches carry it (base/plan.h). */
#include "lower.h"

uint32_t cg_condition_of(const cg_lower *l, const ir_op *op)
{
   const plan_cache_group *g = &l->layout->cache_groups[cg_place(l, op->operands[2])->index];
   const int64_t k = ir_dim_const(op->results[0]->type.dim[1]);

   return (uint32_t)MIN(k * g->ratio / ATTN_CHUNK, INT32_MAX);
}

typedef struct walk {
   const cg_lower *l;
   const uint32_t *above; /* by kernel */
   const ir_group *group;
} walk;

static uint32_t kernel_of(const cg_lower *l, const ir_group *g)
{
   uint32_t i = 0;

   while (i < l->layout->num_kernels && l->layout->kernels[i] != g)
      i++;
   return i;
}

/* Chunks of context up to which nobody outside of the group looks at v; 0: somebody always does. */
static uint32_t unread_up_to(const walk *w, const ir_value *v)
{
   uint32_t least = UINT32_MAX;

   for (size_t i = 0; i < w->l->f->returns.count; i++)
      if (w->l->f->returns.data[i] == v)
         return 0;
   for (const ir_use *u = v->uses; u; u = u->next) {
      uint32_t n = 0;
      if (ir_is_alias(u->user))
         n = unread_up_to(w, u->user->results[0]);
      else if (u->user->group == w->group)
         continue;
      else if (u->user->code == IR_OP_index_topk && u->operand < 2)
         n = cg_condition_of(w->l, u->user);
      else if (u->user->group)
         n = w->above[kernel_of(w->l, u->user->group)];
      least = MIN(least, n);
   }
   return least;
}

static uint32_t condition_of_group(const walk *w)
{
   uint32_t least = UINT32_MAX;

   for (const ir_op *op = w->group->first; op && op->group == w->group; op = op->next) {
      if (!(ir_op_infos[op->code].props & IR_PURE))
         return 0;
      for (uint32_t i = 0; i < op->num_results; i++)
         least = MIN(least, unread_up_to(w, op->results[i]));
   }
   return least == UINT32_MAX ? 0 : least;
}

static bool has_choices(const ir_func *f)
{
   ir_op_foreach (f, op)
      if (op->code == IR_OP_index_topk)
         return true;
   return false;
}

uint32_t *cg_conditions(const cg_lower *l)
{
   const uint32_t n = l->layout->num_kernels;
   uint32_t *above = arena_array(l->a, uint32_t, n + 1);

   for (uint32_t i = has_choices(l->f) ? n : 0; i-- > 0;) {
      const walk w = {l, above, l->layout->kernels[i]};
      above[i] = condition_of_group(&w);
   }
   return above;
}

void cg_set_condition(plan_launch *to, uint32_t above)
{
   to->tiles.above = to->bytes.above = to->flops.above = above;
}
