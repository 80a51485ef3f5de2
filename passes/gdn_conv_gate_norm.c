/* gdn_conv_gate_norm.c - what stands around a gated delta net, in the kernels of its two states.
 *
 *    %c, %y = conv_step %c0, %x, %w     kernel {
 *    %u = silu %y                         %c, %y, %u
 *    %q0 = slice %u, …                    %q0, %q1, %q          q and k leave normed,
 *    %q1 = reshape %q0              ->    %k0, %k1, %k
 *    %q = l2norm %q1                      %v0                   v as it is
 *    …                                  }
 *
 *    %g = decay %a, …                   kernel {
 *    %beta = sigmoid %b                   %g, %beta
 *    %s, %o = gdn %s0, …            ->    %s, %o
 *    %n = rmsnorm %o, %nw                 %n, %zs, %y }
 *    %zs = silu %z
 *    %y = mul %n, %zs
 *
 * Saves eight launches a layer, and writing and reading u, q and k before their norms, o and n.
 * Declines the first when something else reads what stays inside, or when slices do not take every
 * channel once (the state of one that nobody takes must go on, too); the second when a gate has a
 * second reader. A norm that does not fit is left out. Kills: a slice that is forgotten; a norm
 * over other rows than heads; z and o swapped. */
#include "pass.h"

enum { MAX_PARTS = 4 };

/* ---- the convolution ---- */

/* Whether slices take each of n channels once. */
static bool take_all(ir_op *const *slices, uint32_t count, int64_t n)
{
   int64_t at = 0;

   for (uint32_t found = 0; found < count; found++) {
      const ir_op *next = NULL;
      for (uint32_t i = 0; i < count; i++)
         if (ir_attr_i(slices[i], IR_ATTR_start, -1) == at)
            next = next ? NULL : slices[i];
      if (!next)
         return false;
      at += ir_attr_i(next, IR_ATTR_size, 0);
   }
   return at == n;
}

/* The slices of the channels of u, all its readers; 0 and a reason when there are others. */
static uint32_t find_slices(pass_site *s, const ir_value *u, ir_op **out)
{
   uint32_t n = 0;

   for (const ir_use *use = u->uses; use; use = use->next) {
      bool fits = use->user->code == IR_OP_slice && ir_attr_i(use->user, IR_ATTR_axis, 0) == 1;
      if (u->returned || !fits || n == MAX_PARTS) {
         (void)pass_decline(s, "the activation has a reader that is not one of %d slices",
                            MAX_PARTS);
         return 0;
      }
      out[n++] = use->user;
   }
   if (!n || !take_all(out, n, ir_type_row(&u->type))) {
      (void)pass_decline(s, "slices do not take every channel once");
      return 0;
   }
   return n;
}

/* Claims a slice, and the norm of its heads where nothing else reads it. */
static void own_part(pass_site *s, ir_op *slice)
{
   ir_op *view = ir_only_user(slice->results[0]);
   ir_op *norm = view && view->code == IR_OP_reshape && view->results[0]->type.rank == 3
                    ? ir_only_user(view->results[0])
                    : NULL;

   pass_own(s, slice);
   if (!norm || norm->code != IR_OP_l2norm)
      return;
   pass_own(s, view);
   pass_own(s, norm);
}

static void propose_conv(pass_run *run, ir_op *conv)
{
   ir_op *silu = ir_only_user(conv->results[1]), *slices[MAX_PARTS];
   pass_site *s = pass_site_open(run, conv);
   uint32_t n;

   if (!s)
      return;
   if (!silu || silu->code != IR_OP_silu) {
      (void)pass_decline(s, "the convolution's output has another reader than one silu");
      return;
   }
   if (!(n = find_slices(s, silu->results[0], slices)))
      return;
   pass_own(s, conv);
   pass_own(s, silu);
   for (uint32_t i = 0; i < n; i++)
      own_part(s, slices[i]);
   pass_propose(s);
}

/* ---- the delta net ---- */

/* The op that makes operand i for this reader only; declines when another one reads it. */
static ir_op *gate_of(pass_site *s, const ir_op *gdn, uint32_t i, ir_opcode code)
{
   ir_value *v = gdn->operands[i];

   if (v->def->code != code)
      (void)pass_decline(s, "%s is no %s", pass_label(s->f->a, v->def), ir_op_infos[code].name);
   else if (!ir_only_user(v))
      (void)pass_decline(s, "%s has a second reader", pass_label(s->f->a, v->def));
   else
      return v->def;
   return NULL;
}

static void own_gated_norm(pass_site *s, const ir_op *gdn)
{
   ir_op *norm = ir_only_user(gdn->results[1]);
   ir_op *mul = norm && norm->code == IR_OP_rmsnorm ? ir_only_user(norm->results[0]) : NULL;

   if (!mul || mul->code != IR_OP_mul || norm->operands[0] != gdn->results[1])
      return;
   ir_value *z = mul->operands[mul->operands[0] == norm->results[0]];
   if (z->def->code != IR_OP_silu || !ir_only_user(z) ||
       !ir_type_equal(&z->type, &mul->results[0]->type))
      return;
   pass_own(s, norm);
   pass_own(s, z->def);
   pass_own(s, mul);
}

static void propose_gdn(pass_run *run, ir_op *gdn)
{
   pass_site *s = pass_site_open(run, gdn);
   ir_op *decay = s ? gate_of(s, gdn, 4, IR_OP_decay) : NULL;
   ir_op *sigmoid = decay ? gate_of(s, gdn, 5, IR_OP_sigmoid) : NULL;

   if (!sigmoid)
      return;
   pass_own(s, decay);
   pass_own(s, sigmoid);
   pass_own(s, gdn);
   own_gated_norm(s, gdn);
   pass_propose(s);
}

void pass_gdn_conv_gate_norm(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      if (op->code == IR_OP_conv_step)
         propose_conv(run, op);
      if (op->code == IR_OP_gdn)
         propose_gdn(run, op);
   }
}
