/* quantspec.c - what `fast` means: the one ROUND_MORE that is on by default.
 *
 *    %y = matmul %x, %w     ->    %q, %s = quant %x {group}
 *                                 %y = qmatmul %q, %s, %w           moe_matmul likewise
 *
 *    %k = state : f32       ->    %k = state : f16, and all its successors
 *
 * All matmuls of %x share one quant. Latent rows stay f32 where a router follows: they are key and
 * value of every head, and a choice of experts that flips costs more than the bytes. Declines float
 * weights (they never quantise activations), rows that groups do not fill, and targets without int8
 * kernels. On a GPU inputs stay exact, in parts, unless codes are asked for (--with quantspec); its
 * int8 kernels take whole numbers with f32 scales, too (W8A8). Kills: a quant for each reader; one
 * placed behind the first of its readers. */
#include "pass.h"

#include "base/pack.h"

/* Quant ops made so far, by id of the quantised value: every format takes the same groups. */
typedef struct quants {
   uint32_t count;
   ir_op **of;
} quants;

/* The group of inputs that the target's int8 kernel for such weights wants; 0: there is none. */
static uint32_t group_of(const pass_target *t, dtype w)
{
   const panel_info *p = &panel_infos[pack_layout_of(w)];
   bool whole = p->kind == PANEL_KIND_SCALED && p->code == PANEL_CODE_S;

   return t->arch && whole ? pack_quant_group(DT_q8_0) : pack_quant_group(w);
}

static bool fits(pass_site *s, const ir_op *op, uint32_t group)
{
   const ir_type *x = &op->operands[0]->type, *w = &pass_weight_of(op)->type;

   if (!s->target->has_int8)
      return pass_decline(s, "the target has no int8 kernels");
   if (s->target->arch && !s->forced)
      return pass_decline(s, "inputs of products are not rounded on a GPU: only --with quantspec");
   if (dtype_infos[w->dtype].kind != DTYPE_BLOCK && !group)
      return pass_decline(s, "%s weights take float inputs", dtype_infos[w->dtype].name);
   if (!group)
      return pass_decline(s, "there is no int8 kernel for %s weights", dtype_infos[w->dtype].name);
   /* its values are floats, and a model trained with it routes by what its experts gave: int8
    * inputs change the choice of a later layer */
   if (op->code == IR_OP_moe_matmul && w->dtype == DT_mxfp4)
      return pass_decline(s, "grouped %s weights take float inputs", dtype_infos[w->dtype].name);
   if (x->dtype != DT_f32)
      return pass_decline(s, "the input is not f32");
   if (ir_type_row(x) <= 0 || ir_type_row(x) % group)
      return pass_decline(s, "a row is not a multiple of %u elements", group);
   return true;
}

static ir_op *quant_of(ir_func *f, quants *done, ir_op *before, ir_value *x, uint32_t group)
{
   ir_builder b = {f, before};
   ir_op **slot = x->id < done->count ? &done->of[x->id] : NULL;

   if (slot && *slot)
      return *slot;
   ir_op *q = ir_quant(&b, x, group);
   if (x->name) {
      ir_set_name(f, q->results[0], arena_printf(f->a, "%s.q", x->name));
      ir_set_name(f, q->results[1], arena_printf(f->a, "%s.s", x->name));
   }
   if (slot)
      *slot = q;
   return q;
}

static void quantise(pass_site *s, quants *done, ir_op *op, uint32_t group)
{
   ir_func *f = s->f;
   ir_builder b = {f, op};
   ir_op *q = quant_of(f, done, op, op->operands[0], group);
   ir_value *in[] = {q->results[0], q->results[1], op->operands[1], NULL, NULL};
   const bool grouped = op->code == IR_OP_moe_matmul;
   const char *name = op->results[0]->name;

   for (uint32_t i = 2; i < op->num_operands; i++)
      in[i + 1] = op->operands[i];
   ir_value *y = ir_build(&b, grouped ? IR_OP_moe_qmatmul : IR_OP_qmatmul, in, op->num_operands + 1,
                          AT(.name = NULL), NULL)
                    ->results[0];
   ir_replace_uses(f, op->results[0], y);
   ir_erase(f, op);
   if (name)
      ir_set_name(f, y, name);
   pass_fired(s);
}

static bool has_router(const ir_func *f)
{
   ir_op_foreach (f, op)
      if (op->code == IR_OP_route || op->code == IR_OP_route_weights)
         return true;
   return false;
}

static void shorten_state(pass_run *run, ir_op *op)
{
   const ir_type *t = &op->results[0]->type;
   pass_site *s;

   /* what a recurrence keeps goes through all later tokens: it is not shortened */
   if (!ir_state_infos[t->state].paged || t->dtype != DT_f32 || !(s = pass_site_open(run, op)))
      return;
   if (ir_state_infos[t->state].rows == 1 && has_router(s->f)) {
      (void)pass_decline(s, "rounded latents would change which experts are chosen");
      return;
   }
   ir_retype(s->f, op->results[0], DT_f16);
   pass_fired(s);
}

void pass_quantspec(pass_run *run)
{
   ir_func *f = pass_func(run);
   quants done = {.count = f->num_values};

   done.of = arena_alloc_array(f->a, f->num_values + 1, sizeof *done.of);
   ir_op_foreach_safe (f, op) {
      if (op->code == IR_OP_state)
         shorten_state(run, op);
      if (op->code == IR_OP_matmul || op->code == IR_OP_moe_matmul) {
         uint32_t group = group_of(pass_run_target(run), pass_weight_of(op)->type.dtype);
         pass_site *s = pass_site_open(run, op);

         if (s && fits(s, op, group))
            quantise(s, &done, op, group);
      }
   }
}
