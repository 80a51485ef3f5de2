/* group.c - kernels as groups of ops: may these become one, and making them one.
 *
 *    a b c d e      group {a, d}: what depends on the group moves behind it, the rest before it
 *    b c a d e      c and b do not depend on a; had c been fed by a and feeding d, there would be
 *                   a cycle
 *
 * Existing groups count as one node. Only the span between the first and the last member is looked
 * at: program order is topological, so no path leaves it and returns. */
#include "internal.h"

enum { MEMBER = 1, AFTER = 2 }; /* marks of ops in the span: in the new group, depends on it */

typedef struct span {
   ir_op *first, *last;
} span;

static void add_member(span *s, ir_op *op)
{
   op->mark = MEMBER;
   if (!s->first || ir_precedes(op, s->first))
      s->first = op;
   if (!s->last || ir_precedes(s->last, op))
      s->last = op;
}

/* Marks ops, and all of their groups, as members. */
static span mark_members(ir_op *const *ops, uint32_t n)
{
   span s = {0};

   for (uint32_t i = 0; i < n; i++) {
      if (ops[i]->mark == MEMBER)
         continue;
      if (!ops[i]->group) {
         add_member(&s, ops[i]);
         continue;
      }
      const ir_group *g = ops[i]->group;
      for (ir_op *op = g->first; op && op->group == g; op = op->next)
         add_member(&s, op);
   }
   return s;
}

static bool depends(const ir_op *op, uint32_t mark)
{
   for (uint32_t i = 0; i < op->num_operands; i++)
      if (op->operands[i]->def->mark == mark)
         return true;
   if (!(ir_op_infos[op->code].props & IR_MUTATES))
      return false;
   /* What reads the state must come before the op that consumes it. */
   for (const ir_use *use = op->operands[0]->uses; use; use = use->next)
      if (use->user != op && use->user->mark == mark)
         return true;
   return false;
}

/* Marks the other ops of the span that depend on members. False when a member depends on one of
 * them. */
static bool mark_dependents(span s)
{
   ir_op *end = s.last->next;

   for (ir_op *op = s.first, *next; op != end; op = next) {
      next = op->next;
      if (op->mark == MEMBER) {
         if (depends(op, AFTER))
            return false;
         continue;
      }
      bool after = depends(op, MEMBER) || depends(op, AFTER);
      if (op->group)
         for (; next != end && next->group == op->group; next = next->next)
            after = after || depends(next, MEMBER) || depends(next, AFTER);
      for (ir_op *node = op; after && node != next; node = node->next)
         node->mark = AFTER;
   }
   return true;
}

static void clear_marks(span s)
{
   for (ir_op *op = s.first, *end = s.last->next; op != end; op = op->next)
      op->mark = 0;
}

bool ir_can_group(const ir_func *f, ir_op *const *ops, uint32_t n)
{
   (void)f;
   if (n == 0)
      return false;
   span s = mark_members(ops, n);
   bool can = mark_dependents(s);
   clear_marks(s);
   return can;
}

ir_group *ir_group_create(ir_func *f, const char *name, const char *rule)
{
   ir_group *g = arena_new(f->a, ir_group);

   g->name = arena_strdup(f->a, name);
   g->rule = arena_strdup(f->a, rule);
   g->id = (uint32_t)f->groups.count;
   *vec_push(f->a, &f->groups) = g;
   map_set(&f->kernels, g->name, g);
   return g;
}

void ir_group_append(ir_group *g, ir_op *op)
{
   op->group = g;
   g->num_ops++;
   if (!g->first)
      g->first = op;
}

const char *ir_group_rule_of(arena *a, const char *name, size_t len)
{
   while (len > 0 && name[len - 1] >= '0' && name[len - 1] <= '9')
      len--;
   return len == 1 && name[0] == 'k' ? "" : arena_strndup(a, name, len);
}

static void remove_group(ir_func *f, ir_group *g)
{
   ir_group *last = f->groups.data[--f->groups.count];

   last->id = g->id;
   f->groups.data[g->id] = last;
   g->num_ops = 0;
}

void ir_group_drop(ir_func *f, ir_op *op)
{
   ir_group *g = op->group;

   op->group = NULL;
   if (--g->num_ops == 0)
      remove_group(f, g);
}

static const char *new_name(ir_func *f, const char *rule)
{
   const char *name;

   do {
      name = arena_printf(f->a, "%s%u", rule[0] ? rule : "k", f->num_kernels++);
      const ir_group *had = map_get(&f->kernels, name);
      if (!had || had->num_ops == 0)
         break;
   } while (true);
   return name;
}

/* Orders a marked span: what the members do not feed, the members, what they feed. Returns the end
 * of the members. */
static ir_op *reorder(ir_func *f, span s)
{
   ir_op *end = s.last->next, *after = NULL;

   for (ir_op *op = s.first, *next; op != end; op = next) {
      next = op->next;
      if (op->mark == AFTER && !after)
         after = op;
      if (op->mark != AFTER && after)
         ir_move_before(f, op, after);
   }
   ir_op *stop = after ? after : end;
   for (ir_op *op = s.first, *next; op != stop; op = next) {
      next = op->next;
      if (op->mark == 0)
         ir_move_before(f, op, s.first);
   }
   return stop;
}

ir_group *ir_group_make(ir_func *f, const char *rule, ir_op *const *ops, uint32_t n)
{
   if (n == 0)
      return NULL;
   span s = mark_members(ops, n);
   ir_op *before = s.first->prev, *end = s.last->next;
   if (!mark_dependents(s)) {
      clear_marks(s);
      return NULL;
   }
   ir_op *stop = reorder(f, s);
   ir_group *g = ir_group_create(f, new_name(f, rule), rule);
   for (ir_op *op = s.first; op != stop; op = op->next) {
      if (op->group)
         ir_group_drop(f, op);
      ir_group_append(g, op);
   }
   for (ir_op *op = before ? before->next : f->first; op != end; op = op->next) {
      op->mark = 0;
      /* Moving ops one by one loses which of a group is the first. */
      if (op->group && (!op->prev || op->prev->group != op->group))
         op->group->first = op;
   }
   return g;
}

ir_op *ir_group_first(const ir_func *f, const ir_group *g)
{
   (void)f;
   return g->first;
}
