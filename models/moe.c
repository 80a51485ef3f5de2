/* moe.c - mixtures of experts, for every family that has them.
 *
 *    router ─▶ capture ─▶ permute ─▶ gate, up ─▶ act ─▶ down ─▶ combine
 *
 * Experts of one layer are three rank-3 values, however a checkpoint stores them. */
#include "family.h"

ir_op *model_route(model_build *m, uint32_t l, ir_value *x, const model_experts *how)
{
   ir_value *w = model_matrix(m, l, "ffn_gate_inp.weight", how->experts, m->config->width);
   ir_value *bias = how->select_bias ? model_vector(m, l, "exp_probs_b.bias", how->experts) : NULL;
   ir_attrs attrs = how->route;

   attrs.k = how->used;
   return ir_route(&m->b, ir_matmul(&m->b, x, w), bias, attrs);
}

/* ---- stacks ---- */

/* Every step-th row from `first` on of each matrix of `from`, `rows` in all, as the tensor `name`.
 */
static void add_rows_of(model *m, const model_tensor *from, const char *name, uint64_t first,
                        uint64_t step, uint64_t rows)
{
   model_tensor *t = arena_copy(m->a, from, sizeof *from);

   t->name = name;
   t->layout.stored = from->dim[1];
   t->layout.first = first;
   t->layout.step = step;
   t->dim[1] = rows;
   (void)map_set(&m->by_name, name, t);
}

/* gate and up in one stack become two tensors that share its bytes. */
static void split_gate_up(model_build *m, uint32_t l)
{
   model *of = m->m;
   const char *both = arena_printf(of->a, "blk.%u.ffn_gate_up_exps.weight", l);
   model_tensor *t = map_get(&of->by_name, both);

   if (!t || t->rank != 3 || t->dim[1] % 2 || t->read)
      return;
   t->read = true;
   add_rows_of(of, t, arena_printf(of->a, "blk.%u.ffn_gate_exps.weight", l), 0, 1, t->dim[1] / 2);
   add_rows_of(of, t, arena_printf(of->a, "blk.%u.ffn_up_exps.weight", l), t->dim[1] / 2, 1,
               t->dim[1] / 2);
}

ir_value *model_experts_of(model_build *m, uint32_t l, ir_value *x, ir_value *ids,
                           ir_value *weights, const model_experts *how)
{
   uint64_t e = how->experts, f = how->ffn, d = m->config->width;

   split_gate_up(m, l);
   m->routes[l] = ir_capture(&m->b, ids, l);
   ir_op *p = ir_permute(&m->b, ids, (int64_t)e);
   ir_value *gate = ir_moe_matmul(&m->b, x, p, model_stack(m, l, "ffn_gate_exps.weight", e, f, d));
   ir_value *up = ir_moe_matmul(&m->b, x, p, model_stack(m, l, "ffn_up_exps.weight", e, f, d));
   ir_value *y = how->act ? how->act(m, gate, up) : ir_mul(&m->b, ir_silu(&m->b, gate), up);
   ir_value *down = model_stack(m, l, "ffn_down_exps.weight", e, d, f);
   return ir_combine(&m->b, ir_moe_matmul(&m->b, y, p, down), weights);
}

ir_value *model_moe(model_build *m, uint32_t l, ir_value *x, const model_experts *how)
{
   ir_op *route = model_route(m, l, x, how);

   return model_experts_of(m, l, x, route->results[0], route->results[1], how);
}
