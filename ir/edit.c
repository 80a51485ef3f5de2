/* edit.c - attributes, names and uses: reading and changing what exists. */
#include "internal.h"

const ir_attr *ir_attr_get(const ir_op *op, ir_attr_key key)
{
   for (uint32_t i = 0; i < op->num_attrs; i++)
      if (op->attrs[i].key == key)
         return &op->attrs[i];
   return NULL;
}

double ir_attr_f(const ir_op *op, ir_attr_key key, double otherwise)
{
   const ir_attr *attr = ir_attr_get(op, key);

   return attr ? attr->f : otherwise;
}

int64_t ir_attr_i(const ir_op *op, ir_attr_key key, int64_t otherwise)
{
   const ir_attr *attr = ir_attr_get(op, key);

   return attr ? attr->i : otherwise;
}

const char *ir_attr_s(const ir_op *op, ir_attr_key key, const char *otherwise)
{
   const ir_attr *attr = ir_attr_get(op, key);

   return attr ? attr->s : otherwise;
}

void ir_attr_set(ir_func *f, ir_op *op, ir_attr attr)
{
   uint32_t at = 0;

   while (at < op->num_attrs && op->attrs[at].key < attr.key)
      at++;
   if (at == op->num_attrs || op->attrs[at].key != attr.key) {
      ir_attr *attrs = arena_array(f->a, ir_attr, op->num_attrs + 1);
      for (uint32_t i = 0; i < op->num_attrs; i++)
         attrs[i + (i >= at)] = op->attrs[i];
      op->attrs = attrs;
      op->num_attrs++;
   }
   op->attrs[at] = attr;
}

/* ---- names ---- */

bool ir_name_char(char c, bool first)
{
   if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_')
      return true;
   return !first && ((c >= '0' && c <= '9') || c == '.');
}

bool ir_name_is_legal(const char *s, size_t len)
{
   for (size_t i = 0; i < len; i++)
      if (!ir_name_char(s[i], i == 0))
         return false;
   return len > 0;
}

ir_value *ir_find(const ir_func *f, const char *name)
{
   ir_value *v = map_get(&f->names, name);

   /* A value that was erased or renamed leaves its old entry behind. */
   return v && v->def && v->name && strcmp(v->name, name) == 0 ? v : NULL;
}

void ir_set_name(ir_func *f, ir_value *v, const char *name)
{
   bool prefix = name[0] >= '0' && name[0] <= '9';
   char *legal = arena_printf(f->a, "%s%s", prefix || !name[0] ? "_" : "", name);

   for (char *c = legal; *c; c++)
      if (!ir_name_char(*c, c == legal))
         *c = '_';
   char *unique = legal;
   for (unsigned n = 2; ir_find(f, unique) && ir_find(f, unique) != v; n++)
      unique = arena_printf(f->a, "%s.%u", legal, n);
   v->name = unique;
   map_set(&f->names, unique, v);
}

/* ---- uses ---- */

static ir_use *take_use(ir_value *v, const ir_op *op, uint32_t i)
{
   for (ir_use **link = &v->uses; *link; link = &(*link)->next) {
      ir_use *use = *link;
      if (use->user == op && use->operand == i) {
         *link = use->next;
         return use;
      }
   }
   return NULL;
}

void ir_use_set(ir_func *f, ir_op *op, uint32_t i, ir_value *v)
{
   ir_use *use = op->operands[i] ? take_use(op->operands[i], op, i) : NULL;

   op->operands[i] = v;
   if (!v)
      return;
   if (!use)
      use = arena_new(f->a, ir_use);
   *use = (ir_use){.user = op, .operand = i, .next = v->uses};
   v->uses = use;
}

/* The first one is kept: what follows comes of it. */
static void misused(ir_func *f, const char *call, const ir_value *near)
{
   if (f->misuse)
      return;
   f->misuse = near && near->name
                  ? arena_printf(f->a, "%s was given no value (NULL), at %%%s", call, near->name)
                  : arena_printf(f->a, "%s was given no value (NULL)", call);
}

void ir_set_operand(ir_func *f, ir_op *op, uint32_t i, ir_value *v)
{
   if (v)
      ir_use_set(f, op, i, v);
   else
      misused(f, "ir_set_operand", op->num_results ? op->results[0] : NULL);
}

uint32_t ir_use_count(const ir_value *v)
{
   uint32_t n = v->returned;

   for (const ir_use *use = v->uses; use; use = use->next)
      n++;
   return n;
}

ir_op *ir_only_user(const ir_value *v)
{
   return v->uses && !v->uses->next && !v->returned ? v->uses->user : NULL;
}

void ir_replace_uses(ir_func *f, ir_value *from, ir_value *to)
{
   if (!from || !to) {
      misused(f, "ir_replace_uses", from ? from : to);
      return;
   }
   if (from == to)
      return;
   ir_use **end = &from->uses;
   for (; *end; end = &(*end)->next)
      (*end)->user->operands[(*end)->operand] = to;
   *end = to->uses;
   to->uses = from->uses;
   from->uses = NULL;
   if (!from->returned)
      return;
   for (size_t i = 0; i < f->returns.count; i++)
      if (f->returns.data[i] == from)
         f->returns.data[i] = to;
   from->returned = false;
   to->returned = true;
}

/* ---- types ---- */

/* Ops whose result has the dtype of operand 0 by necessity: they move elements, or hand on a state.
 */
static bool keeps_dtype(const ir_op *op)
{
   return op->code == IR_OP_reshape || op->code == IR_OP_slice || op->code == IR_OP_take_rows ||
          (ir_op_infos[op->code].props & IR_MUTATES);
}

void ir_retype(ir_func *f, ir_value *v, dtype to)
{
   VEC(ir_value *) todo = {0};

   *vec_push(f->a, &todo) = v;
   while (todo.count) {
      ir_value *next = todo.data[--todo.count];
      if (next->type.dtype == to)
         continue;
      next->type.dtype = to;
      for (const ir_use *use = next->uses; use; use = use->next)
         if (use->operand == 0 && keeps_dtype(use->user))
            *vec_push(f->a, &todo) = use->user->results[0];
   }
}
