/* moe.c - mixtures of experts, for every family that has them.
 *
 *    router ─▶ capture ─▶ (remap) ─▶ permute ─▶ gate, up ─▶ act ─▶ down ─▶ combine
 *
 * Experts of one layer are three rank-3 values, however a checkpoint stores them. */
#include "expert_map.h"

ir_op *model_route(model_build *m, uint32_t l, ir_value *x, const model_experts *how)
{
   ir_value *w = model_matrix(m, l, "ffn_gate_inp.weight", how->experts, m->config->width);
   ir_value *bias = how->select_bias ? model_vector(m, l, "exp_probs_b.bias", how->experts) : NULL;
   ir_attrs attrs = how->route;

   attrs.k = how->used;
   ir_value *logits = ir_matmul(&m->b, x, w);
   if (how->router_bias)
      logits = ir_add(&m->b, logits, model_vector(m, l, "ffn_gate_inp.bias", how->experts));
   return ir_route(&m->b, logits, bias, attrs);
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

void model_turn_stack(model_build *m, uint32_t l, const char *name)
{
   model_tensor *t = map_get(&m->m->by_name, arena_printf(m->m->a, "blk.%u.%s", l, name));

   if (!t || t->rank != 3 || t->layout.kind != MODEL_ROWS_plain)
      return;
   uint64_t cols = t->dim[1];
   t->dim[1] = t->dim[2];
   t->dim[2] = cols;
   t->layout.kind = MODEL_ROWS_transposed;
   t->layout.stored = t->dim[1];
}

/* Columns first, first + step, … of a table of biases, widened, as the tensor `name`. */
static void add_columns_of(model *m, const model_tensor *from, const char *name, uint64_t first,
                           uint64_t step, uint64_t cols)
{
   model_tensor *t = arena_copy(m->a, from, sizeof *from);
   const uint64_t rows = from->dim[0], all = from->dim[1];
   float *values = arena_array(m->a, float, rows *cols);
   double *row = arena_array(m->a, double, all);

   for (uint64_t r = 0; r < rows; r++) {
      dtype_load(from->dtype, model_tensor_row(from, r, NULL), all, row);
      for (uint64_t i = 0; i < cols; i++)
         values[r * cols + i] = (float)row[first + i * step];
   }
   t->name = name;
   t->dtype = DT_f32;
   t->dim[1] = cols;
   t->data = (const uint8_t *)values;
   t->parts = NULL;
   (void)map_set(&m->by_name, name, t);
}

static void split_biases(model_build *m, uint32_t l, bool alternate)
{
   model *of = m->m;
   model_tensor *t = map_get(&of->by_name, arena_printf(of->a, "blk.%u.ffn_gate_up_exps.bias", l));

   if (!t || t->rank != 2 || t->dim[1] % 2 || dtype_infos[t->dtype].kind != DTYPE_FLOAT)
      return;
   uint64_t n = t->dim[1] / 2, step = alternate ? 2 : 1;
   t->read = true;
   add_columns_of(of, t, arena_printf(of->a, "blk.%u.ffn_gate_exps.bias", l), 0, step, n);
   add_columns_of(of, t, arena_printf(of->a, "blk.%u.ffn_up_exps.bias", l), alternate ? 1 : n, step,
                  n);
}

/* gate and up in one stack become two tensors that share its bytes. */
static void split_gate_up(model_build *m, uint32_t l, bool alternate)
{
   model *of = m->m;
   const char *both = arena_printf(of->a, "blk.%u.ffn_gate_up_exps.weight", l);
   model_tensor *t = map_get(&of->by_name, both);

   if (!t || t->rank != 3 || t->dim[1] % 2 || t->read)
      return;
   uint64_t n = t->dim[1] / 2, step = alternate ? 2 : 1;
   t->read = true;
   add_rows_of(of, t, arena_printf(of->a, "blk.%u.ffn_gate_exps.weight", l), 0, step, n);
   add_rows_of(of, t, arena_printf(of->a, "blk.%u.ffn_up_exps.weight", l), alternate ? 1 : n, step,
               n);
}

/* y of every slot, plus the bias of the slot's expert when experts have them. */
static ir_value *add_bias(model_build *m, uint32_t l, const char *name, ir_value *y, ir_value *ids,
                          const model_experts *how)
{
   if (!how->biases)
      return y;
   ir_value *slots = ir_reshape(&m->b, ids, 1, &y->type.dim[0]);
   uint64_t n = (uint64_t)ir_type_row(&y->type);
   return ir_add(&m->b, y, ir_embed(&m->b, slots, model_matrix(m, l, name, how->experts, n)));
}

/* A matrix for each place of the layer's experts. */
static ir_value *stack(model_build *m, uint32_t l, const char *name, uint64_t n, uint64_t rows,
                       uint64_t cols)
{
   return model_stack(m, l, expert_stack(m, l, name), n, rows, cols);
}

ir_value *model_experts_of(model_build *m, uint32_t l, ir_value *x, ir_value *ids,
                           ir_value *weights, const model_experts *how)
{
   uint64_t e = how->experts, f = how->ffn, d = m->config->width;

   split_gate_up(m, l, how->alternate);
   if (how->biases)
      split_biases(m, l, how->alternate);
   m->routes[l] = ir_capture(&m->b, ids, l);
   e = expert_places(m, l, e);
   ir_op *p = ir_permute(&m->b, expert_places_of(m, l, ids), (int64_t)e);
   ir_value *gate = ir_moe_matmul(&m->b, x, p, stack(m, l, "ffn_gate_exps.weight", e, f, d));
   ir_value *up = ir_moe_matmul(&m->b, x, p, stack(m, l, "ffn_up_exps.weight", e, f, d));
   gate = add_bias(m, l, "ffn_gate_exps.bias", gate, ids, how);
   up = add_bias(m, l, "ffn_up_exps.bias", up, ids, how);
   ir_value *y = how->act ? how->act(m, gate, up) : ir_mul(&m->b, ir_silu(&m->b, gate), up);
   ir_value *down = stack(m, l, "ffn_down_exps.weight", e, d, f);
   y = add_bias(m, l, "ffn_down_exps.bias", ir_moe_matmul(&m->b, y, p, down), ids, how);
   return ir_combine(&m->b, y, weights);
}

ir_value *model_moe(model_build *m, uint32_t l, ir_value *x, const model_experts *how)
{
   ir_op *route = model_route(m, l, x, how);

   return model_experts_of(m, l, x, route->results[0], route->results[1], how);
}
