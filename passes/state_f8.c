/* state_f8.c - what passes share that store states in one byte an element.
 *
 *    %s = state {k_scale=a, v_scale=b} : f32 kv_full[G,d]      %s = state {…} : f8e4m3 kv_full[G,d]
 *    %n = kv_write %s, %k, %v                             ->   %n = kv_write %s, %k / a, %v / b
 *    %y = attention %q, %n {scale=c}                           %y = b * attention %q, %n {scale=a*c}
 *
 * Scales move what is stored into the range of the type. One for all heads is a factor; one a kv
 * head is a vector over the elements of all heads, of keys and of queries. Both stand in front of
 * rotations, where other fusions look past a factor. */
#include "pass.h"

static bool fits(pass_site *s, const ir_type *t)
{
   if (t->dtype != DT_f32)
      return pass_decline(s, "it is stored in %s already", dtype_infos[t->dtype].name);
   return true;
}

/* What an element is multiplied with: a number, or a vector; neither: nothing. */
typedef struct factor {
   double one; /* NaN: none */
   const char *many;
} factor;

static factor factor_of(const ir_op *state, ir_attr_key one, ir_attr_key many)
{
   return (factor){ir_attr_f(state, one, IR_NO_F), ir_attr_s(state, many, NULL)};
}

static bool is_one(const factor *by)
{
   return by->one == by->one;
}

/* x[T,n,d] times the vector of that name over n*d. */
static ir_value *by_vector(ir_builder *b, ir_value *x, const char *name)
{
   const ir_dim n = ir_dim_of(ir_dim_const(x->type.dim[1]) * ir_dim_const(x->type.dim[2]));
   const ir_dim flat[] = {x->type.dim[0], n};
   ir_value *w = NULL;

   ir_op_foreach (b->f, op)
      if (op->code == IR_OP_weight && strcmp(ir_attr_s(op, IR_ATTR_name, ""), name) == 0)
         w = op->results[0];
   if (!w)
      w = ir_weight(&(ir_builder){b->f, b->f->first}, name, ir_type_make(DT_f32, 1, &n));
   return ir_reshape(b, ir_mul(b, ir_reshape(b, x, 2, flat), w), 3, x->type.dim);
}

/* Operand i times the factor, or by what undoes it (down): in front of its rotation where that has
 * no other reader. */
static void multiply(ir_func *f, ir_op *op, uint32_t i, const factor *by, bool down)
{
   ir_value *x = op->operands[i];
   ir_op *rope = x->def->code == IR_OP_rope && ir_only_user(x) ? x->def : NULL;
   ir_op *at = rope ? rope : op;
   ir_builder b = {f, at};

   if (rope)
      x = rope->operands[0];
   if (is_one(by))
      x = ir_scale(&b, x, down ? 1 / by->one : by->one);
   else if (by->many)
      x = by_vector(&b, x, arena_printf(f->a, "%s.%s", by->many, down ? "down" : "up"));
   ir_set_operand(f, at, rope ? 0 : i, x);
}

static void scale_write(ir_func *f, ir_op *op, const factor *k, const factor *v)
{
   const bool both = op->code == IR_OP_kv_write;

   for (uint32_t i = 1; i < op->num_operands; i++)
      multiply(f, op, i, both && i == 2 ? v : k, true);
}

/* Scores and results as if what was read were what was meant. */
static void scale_reader(ir_func *f, ir_op *op, const factor *k, const factor *v)
{
   ir_builder behind = {f, op->next};
   ir_value *y = op->results[0];
   const char *name = y->name;

   if (is_one(k))
      ir_attr_set(f, op,
                  (ir_attr){.key = IR_ATTR_scale, .f = ir_attr_f(op, IR_ATTR_scale, 1) * k->one});
   else
      multiply(f, op, 0, k, false);
   if (!is_one(v) && !v->many)
      return;
   ir_value *out = is_one(v) ? ir_scale(&behind, y, v->one)
                             : by_vector(&behind, y, arena_printf(f->a, "%s.up", v->many));
   ir_value *first = out;
   while (first->def->operands[0] != y)
      first = first->def->operands[0];
   ir_replace_uses(f, y, out);
   ir_set_operand(f, first->def, 0, y);
   if (name)
      ir_set_name(f, out, arena_printf(f->a, "%s.scaled", name));
}

/* Follows a state through its successors. */
static void scale_state(ir_func *f, ir_value *state, const factor *k, const factor *v)
{
   VEC(ir_op *) users = {0};

   for (const ir_use *u = state->uses; u; u = u->next)
      *vec_push(f->a, &users) = u->user;
   for (size_t i = 0; i < users.count; i++) {
      ir_op *op = users.data[i];

      if (op->code == IR_OP_kv_write || op->code == IR_OP_mla_write) {
         scale_write(f, op, k, v);
         scale_state(f, op->results[0], k, v);
      } else {
         scale_reader(f, op, k, v);
      }
   }
}

/* Rows that are keys and values have one scale. */
static void use_scales(ir_func *f, ir_op *state)
{
   const bool both = ir_state_infos[state->results[0]->type.state].rows == 2;
   const factor k = factor_of(state, IR_ATTR_k_scale, IR_ATTR_k_scales);
   const factor v = both ? factor_of(state, IR_ATTR_v_scale, IR_ATTR_v_scales) : k;

   if (is_one(&k) || k.many || is_one(&v) || v.many)
      scale_state(f, state->results[0], &k, &v);
}

void pass_states_to_f8(pass_run *run, uint64_t kinds)
{
   ir_op_foreach (pass_func(run), op) {
      pass_site *s;

      if (op->code != IR_OP_state || !(kinds >> op->results[0]->type.state & 1))
         continue;
      if (!(s = pass_site_open(run, op)) || !fits(s, &op->results[0]->type))
         continue;
      ir_retype(s->f, op->results[0], DT_f8e4m3);
      use_scales(s->f, op);
      pass_fired(s);
   }
}
