/* cse.c - equal operations are computed once.
 *
 *    %a = f %x {attrs} : t
 *    %b = f %x {attrs} : t     ->   %a, read by all
 *
 * Only PURE ops, and metadata leaves, which do not change within a step. Two attentions over one
 * state are left: they are ordered by the state they read. Kills: leaving an attribute or the
 * result type out of the key. */
#include "pass.h"

static void key_attr(text_buf *key, const ir_attr *attr)
{
   ir_attr_kind kind = ir_attr_infos[attr->key].kind;

   text_append(key, (const char *)&attr->key, sizeof attr->key);
   if (kind == IR_KIND_STR)
      text_append(key, attr->s, strlen(attr->s) + 1);
   else if (kind == IR_KIND_FLOAT)
      text_append(key, (const char *)&attr->f, sizeof attr->f);
   else
      text_append(key, (const char *)&attr->i, sizeof attr->i);
}

static void key_type(text_buf *key, const ir_type *t)
{
   ir_print_type(key, t);
   text_append(key, ";", 1);
}

static void key_of(text_buf *key, const ir_op *op)
{
   key->len = 0;
   text_append(key, (const char *)&op->code, sizeof op->code);
   for (uint32_t i = 0; i < op->num_operands; i++)
      text_append(key, (const char *)&op->operands[i]->id, sizeof op->operands[i]->id);
   for (uint32_t i = 0; i < op->num_attrs; i++)
      key_attr(key, &op->attrs[i]);
   for (uint32_t i = 0; i < op->num_results; i++)
      key_type(key, &op->results[i]->type);
}

static bool may_share(const ir_op *op)
{
   return ir_op_infos[op->code].props & IR_PURE || op->code == IR_OP_meta;
}

static void replace(ir_func *f, ir_op *op, const ir_op *by)
{
   for (uint32_t i = 0; i < op->num_results; i++)
      ir_replace_uses(f, op->results[i], by->results[i]);
   ir_erase(f, op);
}

void pass_cse(pass_run *run)
{
   ir_func *f = pass_func(run);
   map seen = {.a = f->a};
   text_buf key = {.a = f->a};

   ir_op_foreach_safe (f, op) {
      ir_op *first;
      pass_site *s;

      if (!may_share(op))
         continue;
      key_of(&key, op);
      first = map_get_n(&seen, key.data, key.len);
      if (!first) {
         (void)map_set_n(&seen, arena_copy(f->a, key.data, key.len), key.len, op);
         continue;
      }
      if (!(s = pass_site_open(run, op)))
         continue;
      replace(f, op, first);
      pass_fired(s);
   }
}
