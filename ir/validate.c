/* validate.c - everything that must hold of a function. Checks go on after a violation, so that one
 * run shows all. */
#include "internal.h"

#include <math.h>
#include <stdio.h>

typedef struct checker {
   const ir_func *f;
   text_buf *report;
   arena *a;
   uint32_t *numbers;
   ir_value **defined;         /* by value id: defined so far */
   uint32_t *operands;         /* by value id: operands that name it */
   map leaves;                 /* identity of a leaf → its value */
   bool failed, is_disordered; /* operands or use lists cannot be followed */
   bool unranged[SYM_COUNT];   /* reported already */
} checker;

static void fail(checker *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fail_op(checker *c, const ir_op *op, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void line(checker *c, const char *fmt, va_list args)
{
   char text[512];

   vsnprintf(text, sizeof text, fmt, args);
   text_printf(c->report, "%s\n", text);
   c->failed = true;
}

static void fail(checker *c, const char *fmt, ...)
{
   va_list args;

   va_start(args, fmt);
   text_printf(c->report, "@%s: ", c->f->name);
   line(c, fmt, args);
   va_end(args);
}

static const char *label(checker *c, const ir_value *v)
{
   if (v->name)
      return arena_printf(c->a, "%%%s", v->name);
   return arena_printf(c->a, "%%%u", v->id < c->f->num_values ? c->numbers[v->id] : v->id);
}

static void fail_op(checker *c, const ir_op *op, const char *fmt, ...)
{
   va_list args;

   va_start(args, fmt);
   text_printf(c->report, "@%s: %s%s%s: ", c->f->name,
               op->num_results ? label(c, op->results[0]) : "", op->num_results ? " = " : "",
               ir_op_infos[op->code].name);
   line(c, fmt, args);
   va_end(args);
}

/* ---- ops ---- */

static void check_arity(checker *c, const ir_op *op)
{
   const ir_op_info *info = &ir_op_infos[op->code];

   if (info->operands >= 0 && op->num_operands != (uint32_t)info->operands)
      fail_op(c, op, "has %u operands, must have %d", op->num_operands, info->operands);
   if (op->num_results != (uint32_t)info->results)
      fail_op(c, op, "has %u results, must have %d", op->num_results, info->results);
}

static void check_attr(checker *c, const ir_op *op, const ir_attr *attr)
{
   const char *name = ir_attr_infos[attr->key].name;

   switch (ir_attr_infos[attr->key].kind) {
   case IR_KIND_INT:
      if (attr->i > IR_MAX_EXTENT || attr->i < -IR_MAX_EXTENT)
         fail_op(c, op, "attribute %s is out of bounds", name);
      break;
   case IR_KIND_FLOAT:
      if (!isfinite(attr->f))
         fail_op(c, op, "attribute %s is not finite", name);
      break;
   case IR_KIND_STR:
      if (!attr->s)
         fail_op(c, op, "attribute %s has no text", name);
      break;
   case IR_KIND_DTYPE:
      if (attr->i <= DT_none || attr->i >= DT_COUNT)
         fail_op(c, op, "attribute %s names no type", name);
      break;
   case IR_KIND_META:
      if (attr->i < 0 || attr->i >= IR_META_COUNT)
         fail_op(c, op, "attribute %s names no metadata field", name);
      break;
   }
}

static void check_attrs(checker *c, const ir_op *op)
{
   const ir_op_info *info = &ir_op_infos[op->code];
   uint64_t present = 0;

   for (uint32_t i = 0; i < op->num_attrs; i++) {
      ir_attr_key key = op->attrs[i].key;
      if (!((info->required | info->optional) >> key & 1))
         fail_op(c, op, "takes no attribute %s", ir_attr_infos[key].name);
      if (i && key <= op->attrs[i - 1].key)
         fail_op(c, op, "attribute %s is out of order", ir_attr_infos[key].name);
      check_attr(c, op, &op->attrs[i]);
      present |= UINT64_C(1) << key;
   }
   for (int key = 0; key < IR_ATTR_COUNT; key++)
      if ((info->required & ~present) >> key & 1)
         fail_op(c, op, "lacks attribute %s", ir_attr_infos[key].name);
}

/* Least value of a dim over the symbols' ranges. */
static int64_t least(const ir_func *f, const ir_dim *d)
{
   int64_t syms[SYM_COUNT];

   for (int s = 0; s < SYM_COUNT; s++)
      syms[s] = d->coef[s] < 0 ? f->range[s].max : f->range[s].min;
   return ir_dim_eval(*d, syms);
}

static void check_dims(checker *c, const ir_op *op, const ir_value *v)
{
   for (uint32_t i = 0; i < v->type.rank; i++) {
      const ir_dim *d = &v->type.dim[i];
      if (!ir_dim_is_valid(*d)) {
         fail_op(c, op, "extent %u of %s has no affine form", i, label(c, v));
         continue;
      }
      for (int s = 0; s < SYM_COUNT; s++)
         if (d->coef[s] && !c->f->range[s].used && !c->unranged[s]) {
            c->unranged[s] = true;
            fail(c, "symbol %s is used and has no range", ir_sym_names[s]);
         }
      if (ir_dim_is_const(*d) && ir_dim_const(*d) < 1)
         fail_op(c, op, "extent %u of %s is below 1", i, label(c, v));
      else if (least(c->f, d) < 0)
         fail_op(c, op, "extent %u of %s can be negative", i, label(c, v));
   }
}

static const char *type_text(checker *c, const ir_type *t)
{
   text_buf text = {.a = c->a};

   ir_print_type(&text, t);
   return text.data;
}

static void check_types(checker *c, const ir_op *op)
{
   ir_type types[IR_MAX_RESULTS];
   const char *why = ir_infer(op, types);

   for (uint32_t i = 0; i < op->num_results; i++)
      check_dims(c, op, op->results[i]);
   if (why) {
      fail_op(c, op, "%s", why);
      return;
   }
   for (uint32_t i = 0; i < op->num_results; i++)
      if (!ir_type_equal(&types[i], &op->results[i]->type))
         fail_op(c, op, "%s has type %s, its operands give %s", label(c, op->results[i]),
                 type_text(c, &op->results[i]->type), type_text(c, &types[i]));
}

/* ---- values ---- */

/* Whether v is a value of this function that was defined before now. */
static bool is_defined(const checker *c, const ir_value *v)
{
   return v && v->id < c->f->num_values && c->defined[v->id] == v;
}

static void check_operands(checker *c, const ir_op *op)
{
   for (uint32_t i = 0; i < op->num_operands; i++) {
      if (!is_defined(c, op->operands[i]))
         c->is_disordered = true;
      if (!op->operands[i])
         fail_op(c, op, "operand %u is missing", i);
      else if (!is_defined(c, op->operands[i]))
         fail_op(c, op, "operand %u, %s, is not defined before it", i, label(c, op->operands[i]));
      else
         c->operands[op->operands[i]->id]++;
   }
}

static void define(checker *c, const ir_op *op)
{
   for (uint32_t i = 0; i < op->num_results; i++) {
      ir_value *v = op->results[i];
      if (v->def != op || v->result != i)
         fail_op(c, op, "result %u does not point back to its op", i);
      if (v->id >= c->f->num_values || c->defined[v->id])
         fail_op(c, op, "result %u has an id that is not its own", i);
      else
         c->defined[v->id] = v;
      if (v->name && !ir_name_is_legal(v->name, strlen(v->name)))
         fail_op(c, op, "%s is not a legal name", label(c, v));
      else if (v->name && ir_find(c->f, v->name) != v)
         fail_op(c, op, "%s is the name of another value", label(c, v));
   }
}

/* Two leaves of one identity must be one value. */
static void check_leaf(checker *c, const ir_op *op)
{
   const char *key = NULL;

   if (op->code == IR_OP_param || op->code == IR_OP_weight)
      key =
         arena_printf(c->a, "%s %s", ir_op_infos[op->code].name, ir_attr_s(op, IR_ATTR_name, ""));
   if (op->code == IR_OP_state && op->num_results)
      key = arena_printf(c->a, "state %lld %d", (long long)ir_attr_i(op, IR_ATTR_layer, 0),
                         (int)op->results[0]->type.state);
   if (!key || !op->num_results)
      return;
   const ir_value *other = map_set(&c->leaves, key, op->results[0]);
   if (other && (op->code != IR_OP_weight || !ir_type_equal(&other->type, &op->results[0]->type)))
      fail_op(c, op, "stands for the same as %s", label(c, other));
}

static void check_uses(checker *c, const ir_value *v)
{
   uint32_t n = 0;
   bool in_step = true;

   for (const ir_use *use = v->uses; use && in_step; use = use->next, n++)
      in_step = use->operand < use->user->num_operands && n <= c->operands[v->id] &&
                use->user->operands[use->operand] == v;
   if (in_step && n == c->operands[v->id])
      return;
   c->is_disordered = true;
   fail_op(c, v->def, "the use list of %s is out of step", label(c, v));
}

/* One successor, and every other reader before the op that makes it. */
static void check_state(checker *c, const ir_value *v)
{
   const ir_op *consumer = NULL;

   if (v->type.state == IR_STATE_none)
      return;
   for (const ir_use *use = v->uses; use; use = use->next) {
      if (!(ir_op_infos[use->user->code].props & IR_MUTATES))
         continue;
      if (consumer)
         fail_op(c, use->user, "%s has a second successor", label(c, v));
      if (!consumer || ir_precedes(use->user, consumer))
         consumer = use->user;
   }
   for (const ir_use *use = v->uses; use && consumer; use = use->next)
      if (!(ir_op_infos[use->user->code].props & IR_MUTATES) && ir_precedes(consumer, use->user))
         fail_op(c, use->user, "reads %s after it was consumed", label(c, v));
}

static void check_values(checker *c)
{
   uint32_t *returns = arena_array(c->a, uint32_t, c->f->num_values);

   for (size_t i = 0; i < c->f->returns.count; i++) {
      const ir_value *v = c->f->returns.data[i];
      if (!is_defined(c, v))
         fail(c, "return %zu is not a value of the function", i);
      else
         returns[v->id]++;
   }
   for (uint32_t id = 0; id < c->f->num_values; id++) {
      const ir_value *v = c->defined[id];
      if (!v)
         continue;
      if (v->returned != (returns[id] > 0))
         fail_op(c, v->def, "the returned flag of %s is out of step", label(c, v));
      check_uses(c, v);
      check_state(c, v);
   }
}

static void check_ranges(checker *c)
{
   for (int s = 0; s < SYM_COUNT; s++) {
      const ir_range *r = &c->f->range[s];
      if (r->used && (r->min < 0 || r->max < r->min || r->max > IR_MAX_COEF))
         fail(c, "the range of %s is empty or out of bounds", ir_sym_names[s]);
   }
}

/* ---- groups ---- */

typedef struct group_seen {
   uint32_t members;
   bool is_split;
} group_seen;

/* Nodes of the group graph: groups, and ungrouped ops by themselves. */
static uint32_t node_of(const checker *c, const ir_op *op)
{
   return op->group ? op->group->id : (uint32_t)c->f->groups.count + op->id;
}

/* Whether nodes remain when all that wait for nothing are taken away again and again. */
static bool has_cycle(checker *c)
{
   uint32_t num_nodes = (uint32_t)c->f->groups.count + c->f->num_ops, num_live = 0, num_ready = 0;
   uint32_t *waits = arena_array(c->a, uint32_t, num_nodes);
   ir_op **first = arena_array(c->a, ir_op *, num_nodes); /* members as a list */
   ir_op **rest = arena_array(c->a, ir_op *, c->f->num_ops);
   uint32_t *ready = arena_array(c->a, uint32_t, num_nodes);

   ir_op_foreach (c->f, op) {
      uint32_t node = node_of(c, op);
      num_live += first[node] == NULL;
      rest[op->id] = first[node];
      first[node] = op;
      for (uint32_t i = 0; i < op->num_operands; i++)
         waits[node] += node_of(c, op->operands[i]->def) != node;
   }
   for (uint32_t node = 0; node < num_nodes; node++)
      if (first[node] && !waits[node])
         ready[num_ready++] = node;
   for (uint32_t done = 0; done < num_ready; done++)
      for (ir_op *op = first[ready[done]]; op; op = rest[op->id])
         for (uint32_t i = 0; i < op->num_results; i++)
            for (ir_use *use = op->results[i]->uses; use; use = use->next) {
               uint32_t node = node_of(c, use->user);
               if (node == ready[done])
                  continue;
               waits[node]--;
               if (!waits[node])
                  ready[num_ready++] = node;
            }
   return num_ready != num_live;
}

static bool owns_group(const checker *c, const ir_group *g)
{
   return g->id < c->f->groups.count && c->f->groups.data[g->id] == g;
}

static bool check_members(checker *c, group_seen *seen)
{
   bool known = true;

   ir_op_foreach (c->f, op) {
      const ir_group *g = op->group;
      if (!g)
         continue;
      if (!owns_group(c, g)) {
         fail_op(c, op, "its kernel %s is not in the function's list", g->name);
         known = false;
         continue;
      }
      group_seen *s = &seen[g->id];
      if (s->members == 0 && g->first != op)
         fail_op(c, op, "is first in kernel %s, which points elsewhere", g->name);
      if (s->members && op->prev->group != g)
         s->is_split = true;
      s->members++;
   }
   return known;
}

static void check_groups(checker *c)
{
   group_seen *seen = arena_array(c->a, group_seen, c->f->groups.count);
   bool known = check_members(c, seen), split = false;
   map names = {.a = c->a};

   for (size_t i = 0; i < c->f->groups.count; i++) {
      ir_group *g = c->f->groups.data[i];
      if (g->id != i)
         fail(c, "kernel %s has an id that is not its place in the list", g->name);
      if (seen[i].is_split)
         fail(c, "the ops of kernel %s are not contiguous", g->name);
      if (seen[i].members != g->num_ops || g->num_ops == 0)
         fail(c, "kernel %s counts %u ops and has %u", g->name, g->num_ops, seen[i].members);
      if (!ir_name_is_legal(g->name, strlen(g->name)) || map_set(&names, g->name, g))
         fail(c, "kernel name %s is not legal or stands twice", g->name);
      split |= seen[i].is_split;
   }
   if (split && known && !c->is_disordered && has_cycle(c))
      fail(c, "the kernels depend on each other in a cycle");
}

static void check_ops(checker *c)
{
   const ir_op *prev = NULL;

   ir_op_foreach (c->f, op) {
      if (op->prev != prev || (prev && !ir_precedes(prev, op)) || op->id >= c->f->num_ops)
         fail_op(c, op, "its place in the list of ops is out of step");
      check_arity(c, op);
      check_operands(c, op);
      check_attrs(c, op);
      check_types(c, op);
      check_leaf(c, op);
      define(c, op);
      prev = op;
   }
}

bool ir_validate(const ir_func *f, text_buf *report)
{
   checker c = {.f = f, .report = report, .a = report->a, .leaves.a = report->a};

   c.numbers = ir_number_values(c.a, f);
   c.defined = arena_array(c.a, ir_value *, f->num_values);
   c.operands = arena_array(c.a, uint32_t, f->num_values);
   if (!ir_name_is_legal(f->name, strlen(f->name)))
      fail(&c, "the function's name is not legal");
   if (f->misuse)
      fail(&c, "%s", f->misuse);
   check_ranges(&c);
   check_ops(&c);
   check_values(&c);
   check_groups(&c);
   return !c.failed;
}
