/* cost.c - what a kernel takes, and what a fusion saves, in nanoseconds:
 *
 *    kernel   launch_ns + the larger of bytes / bytes_per_ns and the work of its ops
 *    saved    launches * launch_ns + bytes / bytes_per_ns: of the kernels before, less the one after;
 *             what is saved stays in caches, so it does not hide behind the work;
 *             less what every tile computes again
 *
 *    bytes    what is read from outside, each value once: of weights what the step needs, of a
 *             state the context that is looked at; and what others read is written
 *    work     multiplications and additions, or elements of a row, at the target's rate for them
 *    breaks   a kernel with an op that cannot be recorded keeps all its ops out of the segment:
 *             two launches each
 *
 * Sums of launches and bytes are exact, so that equal gains compare equal. How well the first line
 * predicts is measured: bench/kernel_costs.py. */
#include "pass.h"

#include "base/pack.h"

/* A set of ops that are, or would be, one kernel; and the step that it is judged for. */
typedef struct kernel {
   const pass_target *t;
   const pass_layout *layout; /* or NULL */
   ir_op *const *ops;
   size_t n;
   int64_t syms[SYM_COUNT];
   bool reads_top;
} kernel;

static kernel kernel_of(const pass_target *t, ir_op *const *ops, size_t n, int64_t rows)
{
   kernel k = {.t = t, .ops = ops, .n = n};

   for (int i = 0; i < SYM_COUNT; i++)
      k.syms[i] = rows;
   return k;
}

static bool has(const kernel *k, const ir_op *op)
{
   for (size_t i = 0; i < k->n; i++)
      if (k->ops[i] == op)
         return true;
   return false;
}

static double elements(const kernel *k, const ir_type *t)
{
   double n = 1;

   for (uint32_t i = 0; i < t->rank; i++)
      n *= (double)MAX(ir_dim_eval(t->dim[i], k->syms), 0);
   return n;
}

static double bytes_as(const kernel *k, const ir_type *t, dtype stored)
{
   const dtype_info *d = &dtype_infos[stored];

   return elements(k, t) * d->bytes / d->block;
}

/* ---- bytes ---- */

/* Positions that a row looks at, on average, when the step is a prompt. */
static double context(const kernel *k)
{
   int64_t rows = (k->syms[SYM_T] + 1) / 2;

   return (double)MAX(rows, PAGE_TOKENS);
}

/* The share of the experts' weights that a step needs: each slot one expert, none twice. */
static double experts_needed(const kernel *k, const ir_op *op, const ir_type *w)
{
   double slots = elements(k, &op->operands[op->num_operands == 5 ? 2 : 1]->type);
   double experts = (double)MAX(ir_dim_eval(w->dim[0], k->syms), 1);

   return MIN(slots / experts, 1);
}

static bool is_grouped(const ir_op *op)
{
   return op->code == IR_OP_moe_matmul || op->code == IR_OP_moe_qmatmul;
}

/* Of an element, in the top of a weight of that type. */
static double top_bytes(dtype stored)
{
   const panel_info *p = &panel_infos[pack_top_of(stored)];

   return (double)p->block_bytes / (PANEL_ROWS * p->block);
}

/* What op reads of a weight. */
static double weight_bytes(const kernel *k, const ir_op *op, const ir_value *v, const ir_op *w)
{
   dtype stored = w->results[0]->type.dtype;

   if (op->code == IR_OP_embed)
      return bytes_as(k, &op->results[0]->type, stored);
   if (k->reads_top)
      return elements(k, &v->type) * top_bytes(stored);
   return bytes_as(k, &v->type, stored) * (is_grouped(op) ? experts_needed(k, op, &v->type) : 1);
}

/* What op reads of a state, and writes to it: rows of positions, or the whole. */
static double state_bytes(const kernel *k, const ir_op *op, const ir_type *state)
{
   double row = bytes_as(k, state, state->dtype) * MAX(ir_state_infos[state->state].rows, 1u);

   if (!ir_state_infos[state->state].rows)
      return 2 * row;
   return row *
          (ir_op_infos[op->code].props & IR_MUTATES ? (double)k->syms[SYM_T] : 2 * context(k));
}

static double operand_bytes(const kernel *k, const ir_op *op, uint32_t i)
{
   const ir_value *v = op->operands[i];
   const ir_op *weight = pass_weight_behind(v);

   if (v->type.state != IR_STATE_none)
      return state_bytes(k, op, &v->type);
   if (weight)
      return weight_bytes(k, op, v, weight);
   if (op->code == IR_OP_slice || op->code == IR_OP_take_rows)
      return i ? 0 : bytes_as(k, &op->results[0]->type, v->type.dtype);
   return bytes_as(k, &v->type, v->type.dtype);
}

/* Whether an op before number i, or an operand of it before j, reads the same value from
 * outside. */
static bool is_read_before(const kernel *k, size_t i, uint32_t j)
{
   const ir_value *v = pass_source(k->ops[i]->operands[j]);

   for (size_t m = 0; m <= i; m++)
      for (uint32_t o = 0; o < (m < i ? k->ops[m]->num_operands : j); o++)
         if (pass_source(k->ops[m]->operands[o]) == v)
            return true;
   return false;
}

typedef struct readers {
   const kernel *k;
   bool outside;
} readers;

static void look_outside(void *user, ir_op *reader)
{
   readers *r = user;

   r->outside |= !reader || !has(r->k, reader);
}

static double written_bytes(const kernel *k, const ir_op *op)
{
   double bytes = 0;

   for (uint32_t i = 0; i < op->num_results; i++) {
      readers r = {k, false};

      if (op->results[i]->type.state != IR_STATE_none)
         continue;
      pass_readers(op->results[i], look_outside, &r);
      if (r.outside)
         bytes += bytes_as(k, &op->results[i]->type, op->results[i]->type.dtype);
   }
   return bytes;
}

static double kernel_bytes(const kernel *k)
{
   double bytes = 0;

   for (size_t i = 0; i < k->n; i++) {
      if (ir_is_alias(k->ops[i]))
         continue;
      for (uint32_t j = 0; j < k->ops[i]->num_operands; j++)
         if (!has(k, pass_source(k->ops[i]->operands[j])->def) && !is_read_before(k, i, j))
            bytes += operand_bytes(k, k->ops[i], j);
      bytes += written_bytes(k, k->ops[i]);
   }
   return bytes;
}

/* ---- work ---- */

/* Multiply-adds of a product of rows with matrices of `weight`: one for each row. */
static double products(const kernel *k, const ir_op *op, double rows)
{
   const ir_type *w = &op->operands[op->num_operands - 1]->type;
   double matrices = w->rank == 3 ? (double)MAX(ir_dim_eval(w->dim[0], k->syms), 1) : 1;

   return rows * elements(k, w) / matrices;
}

static double rows_of(const kernel *k, const ir_op *op)
{
   const ir_type *y = &op->results[0]->type;

   return elements(k, y) / (double)MAX(ir_type_row(y), 1);
}

static double attention_work(const kernel *k, const ir_op *op)
{
   const ir_type *q = &op->operands[0]->type;
   double n = elements(k, q) + elements(k, &op->results[0]->type);

   if (op->code == IR_OP_mla_attention || op->code == IR_OP_mla_expanded)
      n += elements(k, &op->operands[1]->type);
   return n * context(k);
}

/* The leaf behind successors of a state; NULL when the function was given the state otherwise. */
static const ir_op *state_leaf(const ir_value *v)
{
   while (v->def->code != IR_OP_state && v->def->num_operands && v->type.state != IR_STATE_none)
      v = v->def->operands[0];
   return v->def->code == IR_OP_state ? v->def : NULL;
}

/* Entries that a row sees: one of each closed chunk. */
static double entries_seen(const kernel *k, const ir_value *state)
{
   const ir_op *leaf = state_leaf(state);

   return context(k) / (double)(leaf ? MAX(ir_attr_i(leaf, IR_ATTR_ratio, 1), 1) : 1);
}

/* Scores and sums over the positions of the window, and over entries: all, or those that are
 * chosen. */
static double sparse_work(const kernel *k, const ir_op *op)
{
   const ir_op *leaf = state_leaf(op->operands[1]);
   const int64_t window = leaf ? ir_attr_i(leaf, IR_ATTR_window, 0) : 0;
   double seen = window ? MIN(context(k), (double)window) : context(k);

   if (op->num_operands > 3) {
      double entries = entries_seen(k, op->operands[3]);
      seen +=
         op->num_operands > 4 ? MIN(entries, (double)ir_type_row(&op->operands[4]->type)) : entries;
   }
   return 2 * elements(k, &op->operands[0]->type) * seen;
}

/* Keys and values of every position seen, by the matrices of all heads. */
static double expansion_work(const kernel *k, const ir_op *op)
{
   double matrices = elements(k, &op->operands[3]->type) + elements(k, &op->operands[4]->type);

   return matrices * (double)MAX(k->syms[SYM_T], PAGE_TOKENS);
}

/* Multiply-adds of products, of attention and of streams; 0 for other ops. */
static double multiplications(const kernel *k, const ir_op *op)
{
   switch (op->code) {
   case IR_OP_matmul:
   case IR_OP_head_matmul:
   case IR_OP_moe_matmul:
   case IR_OP_qmatmul:
   case IR_OP_moe_qmatmul: return products(k, op, rows_of(k, op));
   case IR_OP_attention:
   case IR_OP_mla_attention: return attention_work(k, op);
   case IR_OP_mla_expanded: return attention_work(k, op) + expansion_work(k, op);
   case IR_OP_gdn: return (double)k->syms[SYM_T] * elements(k, &op->results[0]->type) * 3;
   case IR_OP_conv_step:
      return elements(k, &op->results[1]->type) * (double)ir_type_row(&op->operands[2]->type);
   case IR_OP_sparse_attention: return sparse_work(k, op);
   case IR_OP_index_topk:
      return elements(k, &op->operands[0]->type) * entries_seen(k, op->operands[2]);
   case IR_OP_compress: /* each position's part of its chunk's entry, or of two */
      return elements(k, &op->results[0]->type) * (double)(1 + ir_attr_i(op, IR_ATTR_overlap, 0));
   case IR_OP_hc_mix: return (double)k->syms[SYM_T] * elements(k, &op->operands[1]->type);
   case IR_OP_hc_collapse: return elements(k, &op->operands[0]->type);
   case IR_OP_hc_expand: /* of n streams a row of n each, and the new row */
      return elements(k, &op->results[0]->type) * (double)(1 + ir_type_row(&op->operands[2]->type));
   default: return 0;
   }
}

/* One multiply-add with the weight of op: matrix units take codes and bf16, f16 in two parts. */
static double product_ns(const kernel *k, const ir_op *op)
{
   const ir_op *w = pass_weight_behind(op->operands[op->num_operands - 1]);
   dtype stored = w ? w->results[0]->type.dtype : DT_f32;

   if (k->t->code_ns == 0 || stored == DT_f32)
      return k->t->float_ns;
   return stored == DT_f16 ? 2 * k->t->code_ns : k->t->code_ns;
}

/* One multiply-add of an attention: plain, or on matrix instructions for each part, of columns that
 * no row fills, too. */
static double attention_ns(const kernel *k, const ir_op *op)
{
   const pass_layout *l = k->layout;
   const pass_attention *at = l && l->attention_of ? &l->attentions[l->attention_of[op->id]] : NULL;
   const uint32_t parts = at ? attention_parts(at->backend, &at->query) : 0;

   if (!parts)
      return k->t->float_ns * k->t->attention_factor;
   const uint32_t columns = attention_columns(at->backend, &at->query);
   const uint32_t all = op->code == IR_OP_mla_expanded ? columns : ATTN_ROWS;
   const uint32_t rows = (uint32_t)MIN(k->syms[SYM_T], all);
   const uint32_t used = rows * (at->query.heads / at->query.groups);
   return k->t->matrix_ns * parts * ((used + columns - 1) / columns * columns) / used;
}

/* Nanoseconds of the arithmetic of one op; 0 where the target does not say how fast it is. */
static double work(const kernel *k, const ir_op *op)
{
   const pass_target *t = k->t;
   double floats = t->float_ns, elems = t->element_ns;

   switch (op->code) {
   case IR_OP_matmul:
   case IR_OP_head_matmul:
   case IR_OP_moe_matmul: return multiplications(k, op) * product_ns(k, op);
   case IR_OP_qmatmul:
   case IR_OP_moe_qmatmul: return multiplications(k, op) * t->int8_ns;
   case IR_OP_attention:
   case IR_OP_mla_attention: return multiplications(k, op) * attention_ns(k, op);
   case IR_OP_sparse_attention:
   case IR_OP_index_topk:
   case IR_OP_compress:
   case IR_OP_gdn:
   case IR_OP_conv_step: return multiplications(k, op) * floats * t->attention_factor;
   case IR_OP_hc_mix:
   case IR_OP_hc_collapse:
   case IR_OP_hc_expand: return multiplications(k, op) * floats;
   case IR_OP_mla_expanded:
      return attention_work(k, op) * attention_ns(k, op) +
             expansion_work(k, op) * product_ns(k, op);
   case IR_OP_route: return elements(k, &op->operands[0]->type) * elems * t->select_factor;
   case IR_OP_embed: return elements(k, &op->results[0]->type) * elems * t->gather_factor;
   case IR_OP_combine: return elements(k, &op->operands[0]->type) * elems;
   default:
      if (ir_op_infos[op->code].props & IR_EXPS)
         return elements(k, &op->results[0]->type) * elems * t->exp_factor;
      return pass_is_leaf(op) || ir_is_alias(op) || op->results[0]->type.state != IR_STATE_none
                ? 0
                : elements(k, &op->results[0]->type) * elems;
   }
}

/* ---- kernels ---- */

static pass_cost kernel_cost(const kernel *k)
{
   pass_cost c = {.bytes = kernel_bytes(k)};
   double light;

   for (size_t i = 0; i < k->n; i++) {
      c.multiplications += multiplications(k, k->ops[i]);
      c.work_ns += work(k, k->ops[i]);
   }
   c.memory_ns = c.bytes / k->t->bytes_per_ns;
   c.ns = k->t->launch_ns + MAX(c.memory_ns, c.work_ns);
   light = k->t->peak_ns != 0 ? c.multiplications * k->t->peak_ns : c.work_ns;
   c.light_ns = MAX(c.memory_ns, light);
   return c;
}

pass_cost pass_kernel_cost(arena *a, const pass_target *t, const pass_layout *layout,
                           const ir_group *g, int64_t rows)
{
   ir_op **ops = arena_array(a, ir_op *, g->num_ops);
   size_t n = 0;

   for (ir_op *op = g->first; op && op->group == g; op = op->next)
      ops[n++] = op;
   kernel k = kernel_of(t, ops, n, rows);
   k.layout = layout;
   k.reads_top = pass_reads_top(g);
   k.syms[SYM_R] = k.syms[SYM_S] = k.syms[SYM_Q] = 1; /* one sequence, whose last row is wanted */
   return kernel_cost(&k);
}

/* ---- fusions ---- */

static bool breaks(const pass_target *t, const ir_op *op)
{
   uint32_t props = pass_props(t, op);

   for (uint32_t i = 0; i < IR_PROP_COUNT; i++)
      if (props >> i & 1 && ir_prop_breaks[i])
         return true;
   return false;
}

static double break_cost(const kernel *k)
{
   size_t broken = 0;

   for (size_t i = 0; i < k->n; i++)
      broken += breaks(k->t, k->ops[i]);
   return broken && broken < k->n ? 2 * k->t->launch_ns * (double)(k->n - broken) : 0;
}

double pass_gain(const pass_site *s)
{
   size_t own = s->own.count, n = own + s->host.count;
   ir_op **ops = arena_array(s->f->a, ir_op *, n);
   double bytes = 0, launches = s->host.count ? 0 : -1;

   memcpy(ops, s->own.data, own * sizeof *ops);
   if (s->host.count)
      memcpy(ops + own, s->host.data, s->host.count * sizeof *ops);
   for (size_t i = 0; i < own; i++) {
      kernel alone = kernel_of(s->target, ops + i, 1, s->target->cost_rows);

      bytes += kernel_bytes(&alone);
      launches += !ir_is_alias(ops[i]);
   }
   kernel host = kernel_of(s->target, ops + own, s->host.count, s->target->cost_rows);
   kernel all = kernel_of(s->target, ops, n, s->target->cost_rows);
   all.reads_top = s->reads_top;
   bytes += kernel_bytes(&host) - kernel_bytes(&all);
   return launches * s->target->launch_ns + bytes / s->target->bytes_per_ns - break_cost(&all) -
          s->again_ns;
}
