/* eval.c - runs a function op by op on the meanings in ref/. Buffers return to a pool after their
 * last use. */
#include "ref/ref.h"

#include <stdio.h>

enum { MAX_ELEMENTS_LOG2 = 40 };

typedef struct buffer {
   struct buffer *next;
   int64_t size;
   double *data;
} buffer;

typedef struct evaluator {
   arena *a;
   ref_call call;
   ref_value *values; /* by value id */
   uint32_t *left;    /* uses to come, by value id */
   buffer **buffers;  /* pool buffer of a value, by value id */
   buffer *pool;
} evaluator;

static ref_meaning *const meanings[IR_OP_COUNT] = {
#define OP(name, ...) [IR_OP_##name] = ref_##name,
#include "ops.def"
#undef OP
};

sinter_status ref_fail(const ref_call *c, sinter_status status, const char *fmt, ...)
{
   char what[256], where[256];
   const char *name = c->op->num_results ? c->op->results[0]->name : NULL;
   va_list args;

   va_start(args, fmt);
   vsnprintf(what, sizeof what, fmt, args);
   va_end(args);
   snprintf(where, sizeof where, "%%%.200s = %s", name ? name : "?", ir_op_infos[c->op->code].name);
   return base_fail(status, where, "correct the step or the function that is interpreted", "%s",
                    what);
}

sinter_status ref_extents(const ref_call *c, const ir_type *type, ref_value *out)
{
   out->type = type;
   out->t.rank = type->rank;
   out->size = 1;
   for (uint32_t i = 0; i < type->rank; i++) {
      out->t.dim[i] = ir_dim_eval(type->dim[i], c->step->sym);
      if (out->t.dim[i] < 0 || !base_mul(out->size, out->t.dim[i], &out->size) ||
          out->size >> MAX_ELEMENTS_LOG2)
         return ref_fail(c, SINTER_unsupported, "the tensor is too large to interpret");
   }
   return SINTER_ok;
}

sinter_status ref_rows(const ref_call *c, uint32_t operand, int64_t first, int64_t count,
                       double *out)
{
   const ref_value *w = c->in[operand];
   const int64_t row = ref_row(w);

   if (!w->t.data)
      return c->env->weight_rows(c->env->user, w->weight, w->type, first, count, out);
   memcpy(out, w->t.data + first * row, (size_t)(count * row) * sizeof(double));
   return SINTER_ok;
}

double *ref_scratch(ref_call *c, uint32_t slot, int64_t n)
{
   if (c->scratch[slot].size < n) {
      c->scratch[slot].size = MAX(n, 2 * c->scratch[slot].size);
      c->scratch[slot].data = arena_array(c->a, double, (size_t)c->scratch[slot].size);
   }
   return c->scratch[slot].data;
}

double ref_round(const ref_call *c, dtype t, double v)
{
   return c->mode == IR_EVAL_declared ? dtype_round(t, v) : v;
}

/* ---- buffers ---- */

static void take_buffer(evaluator *e, uint32_t id, ref_value *v)
{
   buffer **best = NULL;

   for (buffer **link = &e->pool; *link; link = &(*link)->next)
      if ((*link)->size >= v->size && (!best || (*link)->size < (*best)->size))
         best = link;
   buffer *b = best && (*best)->size <= 2 * v->size + 64 ? *best : NULL;
   if (b) {
      *best = b->next;
   } else {
      b = arena_new(e->a, buffer);
      b->size = v->size;
      b->data = arena_array(e->a, double, (size_t)MAX(v->size, 1));
   }
   e->buffers[id] = b;
   v->t.data = b->data;
}

static void release(evaluator *e, const ir_value *v)
{
   buffer *b = e->buffers[v->id];

   if (e->left[v->id] || v->returned || !b)
      return;
   e->buffers[v->id] = NULL;
   b->next = e->pool;
   e->pool = b;
}

/* ---- ops ---- */

static bool is_leaf(const ir_op *op)
{
   return op->code == IR_OP_param || op->code == IR_OP_weight || op->code == IR_OP_state;
}

/* Whether every reader takes the weight by rows, so that it is never widened whole. */
static bool is_read_by_rows(const ir_value *v)
{
   for (const ir_use *use = v->uses; use; use = use->next) {
      const ir_opcode code = use->user->code;
      const bool by_rows = code == IR_OP_matmul || code == IR_OP_qmatmul || code == IR_OP_embed ||
                           code == IR_OP_moe_matmul || code == IR_OP_moe_qmatmul;
      const uint32_t matrix = code == IR_OP_embed ? 1 : use->user->num_operands - 1;
      if (!by_rows || use->operand != matrix)
         return false;
   }
   return !v->returned;
}

static void round_results(const ref_call *c)
{
   for (uint32_t i = 0; i < c->op->num_results; i++) {
      const ref_value *v = c->out[i];
      const dtype t = v->type->dtype;
      if (v->kv || dtype_infos[t].kind != DTYPE_FLOAT || t == DT_f64)
         continue;
      for (int64_t n = 0; n < v->size; n++)
         v->t.data[n] = t == DT_f32 ? (double)(float)v->t.data[n] : dtype_round(t, v->t.data[n]);
   }
}

static sinter_status run_op(evaluator *e, const ir_op *op)
{
   ref_call *c = &e->call;

   c->op = op;
   c->by_rows = op->code == IR_OP_weight && is_read_by_rows(op->results[0]);
   for (uint32_t i = 0; i < op->num_operands; i++)
      c->in[i] = &e->values[op->operands[i]->id];
   for (uint32_t i = 0; i < op->num_results; i++) {
      ir_value *v = op->results[i];
      c->out[i] = &e->values[v->id];
      SINTER_TRY(ref_extents(c, &v->type, c->out[i]));
      if (!is_leaf(op) && v->type.state == IR_STATE_none)
         take_buffer(e, v->id, c->out[i]);
   }
   SINTER_TRY(meanings[op->code](c));
   if (c->mode == IR_EVAL_declared && !is_leaf(op))
      round_results(c);
   return SINTER_ok;
}

static void count_uses(evaluator *e, const ir_func *f, uint32_t *out_most)
{
   ir_op_foreach (f, op) {
      *out_most = MAX(*out_most, MAX(op->num_operands, op->num_results));
      for (uint32_t i = 0; i < op->num_operands; i++)
         e->left[op->operands[i]->id]++;
   }
}

static sinter_status check_step(arena *a, const ir_func *f, const ir_step *step)
{
   text_buf report = {.a = a};

   if (!ir_validate(f, &report))
      return base_fail(SINTER_bad_input, f->name, "correct the function", "%.200s", report.data);
   for (int s = 0; s < SYM_COUNT; s++)
      if (f->range[s].used && (step->sym[s] < f->range[s].min || step->sym[s] > f->range[s].max))
         return base_fail(SINTER_usage, f->name, "keep the step within the function's ranges",
                          "%s is %lld, not in %lld..%lld", ir_sym_names[s], (long long)step->sym[s],
                          (long long)f->range[s].min, (long long)f->range[s].max);
   return SINTER_ok;
}

sinter_status ir_eval_run(arena *a, const ir_func *f, ir_eval_mode mode, const ir_step *step,
                          const ir_env *env, ir_tensor *results,
                          void (*trace)(void *user, const ir_value *v, const ir_tensor *t),
                          void *trace_user)
{
   evaluator e = {.a = a, .call = {.a = a, .step = step, .env = env, .mode = mode}};
   uint32_t most = 1;

   SINTER_TRY(check_step(a, f, step));
   e.values = arena_array(a, ref_value, f->num_values);
   e.left = arena_array(a, uint32_t, f->num_values);
   e.buffers = arena_array(a, buffer *, f->num_values);
   count_uses(&e, f, &most);
   e.call.in = arena_array(a, const ref_value *, most);
   e.call.out = arena_array(a, ref_value *, most);
   ir_op_foreach (f, op) {
      SINTER_TRY(run_op(&e, op));
      for (uint32_t i = 0; i < op->num_results; i++)
         if (trace)
            trace(trace_user, op->results[i], &e.values[op->results[i]->id].t);
      for (uint32_t i = 0; i < op->num_operands; i++) {
         e.left[op->operands[i]->id]--;
         release(&e, op->operands[i]);
      }
      for (uint32_t i = 0; i < op->num_results; i++)
         release(&e, op->results[i]);
   }
   for (size_t i = 0; i < f->returns.count; i++)
      results[i] = e.values[f->returns.data[i]->id].t;
   return SINTER_ok;
}
