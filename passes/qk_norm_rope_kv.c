/* qk_norm_rope_kv.c - norm, rotation and cache write in one row kernel.
 *
 *    %qn = rmsnorm %q, %wq;  %qr = rope %qn, %cs           kernel {
 *    %kn = rmsnorm %k, %wk;  %kr = rope %kn, %cs    ->       %qn, %qr, %kn, %kr, %s1
 *    %s1 = kv_write %s0, %kr, %v                           }
 *
 *    %n = rmsnorm %r, %w;  %t = rope %n, %cs               kernel {
 *    %s1 = mla_write %s0, %t                         ->      %n, %t, %s1, (%l, %f, %u) }
 *    %l = l2norm %q;  %f = scale %l;  %u = rope %f, %cs
 *
 * The second form is that of rows that are key and value, and of entries of chunks, which have no
 * query: a row goes from the norm into its page. Saves four launches, and normed and rotated k has
 * no memory of its own. Declines as qk_norm_rope does. Rivals: qk_norm_rope, rope_kv. Kills:
 * leaving the write out while its k has become a value of the kernel; the query of another
 * layer. */
#include "pass.h"

/* op's operand 0 comes from an op of that code, which nothing else reads. */
static ir_op *only_behind(const ir_op *op, uint32_t operand, ir_opcode code)
{
   ir_op *def = op ? op->operands[operand]->def : NULL;

   return def && def->code == code && ir_only_user(def->results[0]) == op ? def : NULL;
}

/* The attention whose window the written state is. */
static ir_op *attention_of(const ir_op *write)
{
   for (const ir_use *u = write->results[0]->uses; u; u = u->next)
      if (u->user->code == IR_OP_sparse_attention && u->operand == 1)
         return u->user;
   return NULL;
}

static bool fits_row(const pass_site *s, const ir_op *op)
{
   int64_t n = pass_row_elements(&op->results[0]->type);

   return n >= 0 && n <= s->target->row_limit;
}

/* The query's rotation, factor and norm: all or none of them. */
static void own_query(pass_site *s, const ir_op *write)
{
   ir_op *rope = only_behind(attention_of(write), 0, IR_OP_rope);
   ir_op *scale = only_behind(rope, 0, IR_OP_scale), *norm = only_behind(scale, 0, IR_OP_l2norm);

   if (!norm || !fits_row(s, rope))
      return;
   pass_own(s, norm);
   pass_own(s, scale);
   pass_own(s, rope);
}

static void propose_row(pass_run *run, ir_op *write)
{
   ir_op *rope = write->operands[1]->def;
   pass_site *s = rope->code == IR_OP_rope ? pass_site_open(run, write) : NULL;

   if (!s)
      return;
   ir_op *norm = only_behind(rope, 0, IR_OP_rmsnorm);
   if (ir_only_user(rope->results[0]) != write) {
      (void)pass_decline(s, "a rotated value has a second reader");
   } else if (!norm) {
      (void)pass_decline(s, "the row has no norm of its own before its rotation");
   } else if (!fits_row(s, rope)) {
      (void)pass_decline(s, "a row exceeds the target's %lld", (long long)s->target->row_limit);
   } else {
      pass_own(s, norm);
      pass_own(s, rope);
      pass_own(s, write);
      own_query(s, write);
      pass_propose(s);
   }
}

void pass_qk_norm_rope_kv(pass_run *run)
{
   pass_propose_attn(run, true, true);
   ir_op_foreach (pass_func(run), op)
      if (op->code == IR_OP_mla_write && op->num_operands == 2)
         propose_row(run, op);
}
