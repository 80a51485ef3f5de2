/* rmsnorm_quant.c - quantise in the norm's kernel instead of behind it.
 *
 *    %n = rmsnorm %x, %w                     kernel {
 *    %q, %s = quant %n {group}        ->       %n, %q, %s
 *                                            }
 *
 *    residual     %h = add %x, %r before the norm comes along (another site: the add may be worth
 *                 more elsewhere)
 *    two readers  all quants of %n come along; when others read %n, too, it is written once
 *    gated        %m = mul %n, silu|sigmoid(%z), and a view, between norm and quant
 *
 * Saves a launch, a read of the normed rows and, where nothing else reads them, their write. A
 * quant behind a view joins only when its groups are parts of the norm's rows: then a row has all
 * it needs. Declines rows that one kernel of the target cannot hold. Kills: a group over two rows
 * of the norm; rows beyond the limit; taking the add when it is the norm's weight that is added. */
#include "pass.h"

enum { MAX_QUANTS = 4 };

typedef struct parts {
   ir_op *add, *norm, *act, *gate; /* NULL where there is none, but for the norm */
   ir_op *quants[MAX_QUANTS];
   uint32_t num_quants;
} parts;

/* The quants among the readers of v, views looked through. */
static void find_quant(void *user, ir_op *reader)
{
   parts *p = user;

   if (!reader || reader->code != IR_OP_quant || p->num_quants == MAX_QUANTS)
      return;
   for (uint32_t i = 0; i < p->num_quants; i++)
      if (p->quants[i] == reader)
         return;
   p->quants[p->num_quants++] = reader;
}

static void find_gate(parts *p)
{
   const uint64_t gates = IR_SET(silu) | IR_SET(sigmoid);
   ir_value *n = p->norm->results[0];
   ir_op *mul = ir_only_user(n);

   if (!mul || mul->code != IR_OP_mul)
      return;
   ir_value *z = mul->operands[mul->operands[0] == n];
   p->gate = mul;
   if (gates >> z->def->code & 1 && ir_only_user(z) && ir_type_equal(&z->type, &n->type))
      p->act = z->def;
}

static bool find_parts(ir_op *norm, parts *p)
{
   ir_op *add = norm->operands[0]->def;

   *p = (parts){.norm = norm};
   pass_readers(norm->results[0], find_quant, p);
   if (!p->num_quants) {
      find_gate(p);
      if (p->gate)
         pass_readers(p->gate->results[0], find_quant, p);
   }
   if (add->code == IR_OP_add && ir_type_equal(&add->operands[1]->type, &add->results[0]->type))
      p->add = add;
   return p->num_quants > 0;
}

static bool fits(pass_site *s, const parts *p)
{
   const ir_type *n = &p->norm->results[0]->type;
   int64_t row = pass_row_elements(n), norm_row = ir_type_row(n);

   if (row < 0)
      return pass_decline(s, "the length of a row is not known when compiling");
   if (row > s->target->row_limit)
      return pass_decline(s, "a row of %lld elements exceeds the target's %lld", (long long)row,
                          (long long)s->target->row_limit);
   for (uint32_t i = 0; i < p->num_quants; i++) {
      if (!pass_has_codes(s, p->quants[i]))
         return false;
      int64_t group = ir_attr_i(p->quants[i], IR_ATTR_group, 0);

      if (ir_type_row(&p->quants[i]->operands[0]->type) != norm_row && norm_row % group)
         return pass_decline(s, "groups of %lld are no parts of the norm's rows of %lld",
                             (long long)group, (long long)norm_row);
   }
   return true;
}

static void propose(pass_run *run, const parts *p, bool residual)
{
   pass_site *s = pass_site_open(run, p->norm);

   if (!s || !fits(s, p))
      return;
   if (residual)
      pass_own(s, p->add);
   pass_own(s, p->norm);
   if (p->act)
      pass_own(s, p->act);
   if (p->gate)
      pass_own(s, p->gate);
   for (uint32_t i = 0; i < p->num_quants; i++) {
      pass_own_views(s, p->quants[i]->operands[0]);
      pass_own(s, p->quants[i]);
   }
   pass_propose(s);
}

void pass_rmsnorm_quant(pass_run *run)
{
   ir_op_foreach (pass_func(run), op) {
      parts p;

      if (op->code != IR_OP_rmsnorm || !find_parts(op, &p))
         continue;
      if (p.add)
         propose(run, &p, true);
      propose(run, &p, false);
   }
}
