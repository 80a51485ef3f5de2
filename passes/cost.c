/* cost.c - what a fusion saves, in nanoseconds of a step of `cost_rows` rows:
 *
 *    launches saved * launch_ns + bytes saved / bytes_per_ns
 *
 *    bytes    a value read only inside the kernel is neither written nor read; one that others read
 *             is not read inside; an input of several members is read once; weights, states and
 *             views are read anyway
 *    breaks   a kernel with an op that cannot be recorded keeps all its ops out of the segment:
 *             two launches each */
#include "pass.h"

double pass_value_bytes(const pass_target *t, const ir_value *v)
{
   int64_t syms[SYM_COUNT];
   double n = dtype_infos[v->type.dtype].bytes;

   for (int i = 0; i < SYM_COUNT; i++)
      syms[i] = t->cost_rows;
   for (uint32_t i = 0; i < v->type.rank; i++)
      n *= (double)MAX(ir_dim_eval(v->type.dim[i], syms), 0);
   return n / dtype_infos[v->type.dtype].block;
}

static bool has(const pass_site *s, const ir_op *op)
{
   for (size_t i = 0; i < s->own.count; i++)
      if (s->own.data[i] == op)
         return true;
   for (size_t i = 0; i < s->host.count; i++)
      if (s->host.data[i] == op)
         return true;
   return false;
}

typedef struct reads {
   const pass_site *s;
   uint32_t inside, outside;
} reads;

static void count_read(void *user, ir_op *reader)
{
   reads *r = user;

   if (reader && has(r->s, reader))
      r->inside++;
   else
      r->outside++;
}

static double results_saved(const pass_site *s, const ir_op *op)
{
   double bytes = 0;

   for (uint32_t i = 0; i < op->num_results; i++) {
      reads r = {.s = s};

      if (op->results[i]->type.state != IR_STATE_none)
         continue;

      pass_readers(op->results[i], count_read, &r);
      bytes += pass_value_bytes(s->target, op->results[i]) * (r.inside + (r.outside ? 0 : 1));
   }
   return bytes;
}

/* Members after the first that read the same value from outside. */
static double shared_saved(const pass_site *s, ir_op *const *ops, size_t n, size_t i)
{
   double bytes = 0;

   for (uint32_t k = 0; k < ops[i]->num_operands; k++) {
      const ir_value *v = pass_source(ops[i]->operands[k]);
      bool again = false;

      if (has(s, v->def) || pass_weight_behind(v) || v->type.state != IR_STATE_none)
         continue;
      for (size_t j = 0; j < i && j < n && !again; j++)
         for (uint32_t o = 0; o < ops[j]->num_operands; o++)
            again |= pass_source(ops[j]->operands[o]) == v;
      if (again)
         bytes += pass_value_bytes(s->target, v);
   }
   return bytes;
}

static bool breaks(const pass_target *t, const ir_op *op)
{
   uint32_t props = pass_props(t, op);

   for (uint32_t i = 0; i < IR_PROP_COUNT; i++)
      if (props >> i & 1 && ir_prop_breaks[i])
         return true;
   return false;
}

static double break_cost(const pass_site *s, ir_op *const *ops, size_t n)
{
   size_t broken = 0;

   for (size_t i = 0; i < n; i++)
      broken += breaks(s->target, ops[i]);
   return broken && broken < n ? 2 * s->target->launch_ns * (double)(n - broken) : 0;
}

double pass_gain(const pass_site *s)
{
   size_t n = s->own.count + s->host.count;
   ir_op **ops = arena_array(s->f->a, ir_op *, n);
   double bytes = 0;
   double launches = (double)s->own.count - (s->host.count ? 0 : 1);

   memcpy(ops, s->own.data, s->own.count * sizeof *ops);
   if (s->host.count)
      memcpy(ops + s->own.count, s->host.data, s->host.count * sizeof *ops);
   for (size_t i = 0; i < n; i++)
      bytes += results_saved(s, ops[i]) + shared_saved(s, ops, n, i);
   return launches * s->target->launch_ns + bytes / s->target->bytes_per_ns - break_cost(s, ops, n);
}
