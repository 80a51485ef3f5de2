/* graph.c - looking around in a function as passes need it: through views, at readers, at what
 * feeds an attention. */
#include "pass.h"

ir_value *pass_source(ir_value *v)
{
   while (ir_is_alias(v->def))
      v = v->def->operands[0];
   return v;
}

ir_op *pass_def(ir_value *v, ir_opcode code)
{
   ir_op *op = pass_source(v)->def;

   return op->code == code ? op : NULL;
}

void pass_readers(const ir_value *v, void (*visit)(void *user, ir_op *reader), void *user)
{
   if (v->returned)
      visit(user, NULL);
   for (const ir_use *u = v->uses; u; u = u->next) {
      if (ir_is_alias(u->user))
         pass_readers(u->user->results[0], visit, user);
      else
         visit(user, u->user);
   }
}

static void count_reader(void *user, ir_op *reader)
{
   struct {
      uint32_t count;
      ir_op *last;
   } *seen = user;

   seen->count++;
   seen->last = reader;
}

ir_op *pass_only_reader(const ir_value *v)
{
   struct {
      uint32_t count;
      ir_op *last;
   } seen = {0};

   pass_readers(v, count_reader, &seen);
   return seen.count == 1 ? seen.last : NULL;
}

static void check_inside(void *user, ir_op *reader)
{
   struct {
      const ir_group *group;
      bool inside;
   } *check = user;

   if (!reader || reader->group != check->group)
      check->inside = false;
}

bool pass_is_internal(const ir_value *v, const ir_group *g)
{
   struct {
      const ir_group *group;
      bool inside;
   } check = {g, true};

   pass_readers(v, check_inside, &check);
   return check.inside;
}

bool pass_is_matmul(const ir_op *op)
{
   return op->code == IR_OP_matmul || op->code == IR_OP_qmatmul;
}

ir_op *pass_matmul_behind(ir_value *v, uint64_t through)
{
   for (;;) {
      ir_op *op = v->def;

      if (pass_is_matmul(op))
         return op;
      if (through >> op->code & 1)
         v = op->operands[0];
      else if (op->code == IR_OP_add)
         v = op->operands[pass_is_leaf(op->operands[0]->def) ? 1 : 0];
      else
         return NULL;
   }
}

const char *pass_other_inputs(const ir_op *a, const ir_op *b)
{
   if (a == b)
      return "gate and up are one value";
   if (a->code != b->code)
      return "one of gate and up takes int8, the other float";
   for (uint32_t i = 0; i + 1 < a->num_operands; i++)
      if (a->operands[i] != b->operands[i])
         return "gate and up read different inputs";
   return NULL;
}

bool pass_is_inner(pass_site *s, int cap)
{
   const ir_value *v = s->match.cap[cap];

   if (ir_only_user(v))
      return true;
   return pass_decline(s, "%s has a second reader", pass_label(s->f->a, v->def));
}

bool pass_reads_top(const ir_group *g)
{
   return g && strcmp(g->rule, pass_infos[PASS_ID_head_argmax].name) == 0;
}

ir_value *pass_weight_of(const ir_op *matmul)
{
   return matmul->operands[matmul->num_operands - 1];
}

const ir_op *pass_weight_behind(const ir_value *v)
{
   const uint64_t views = IR_SET(reshape) | IR_SET(slice) | IR_SET(transpose);

   const ir_value *w = v;

   while (views >> w->def->code & 1)
      w = w->def->operands[0];
   return w->def->code == IR_OP_weight && (w == v || w->type.rank > 1) ? w->def : NULL;
}

bool pass_is_leaf(const ir_op *op)
{
   return op->num_operands == 0;
}

bool pass_is_row_op(const ir_op *op)
{
   const uint64_t others =
      IR_SET(cast) | IR_SET(rmsnorm) | IR_SET(l2norm) | IR_SET(center) | IR_SET(quant);

   return (ir_op_infos[op->code].props & IR_POINTWISE) || (others >> op->code & 1);
}

uint32_t pass_props(const pass_target *t, const ir_op *op)
{
   return ir_op_infos[op->code].props | t->extra_props[op->code];
}

const char *pass_label(arena *a, const ir_op *op)
{
   if (op->num_results && op->results[0]->name)
      return arena_printf(a, "%%%s", op->results[0]->name);
   return arena_printf(a, "op %u (%s)", op->id, ir_op_infos[op->code].name);
}

int64_t pass_row_elements(const ir_type *t)
{
   int64_t n = 1;

   for (uint32_t i = 1; i < t->rank; i++)
      if (!ir_dim_is_const(t->dim[i]) || !base_mul(n, ir_dim_const(t->dim[i]), &n))
         return -1;
   return n;
}
