/* mla.c - the neighbourhood of one latent attention, shared by the fusions around it.
 *
 *    x ─ q_down ─ q_norm ─ q_up ─┬─ slice ─ head_matmul ─────────────▶ mla_attention ◀─ mla_write
 *    (or x ─ q_up)               └─ q_part ─ q_rope ────────────────────▲               ▲    ▲
 *    x ─ kv_down ─┬─ c_part ─ c_norm ───────────────────────────────────────────────────┘    │
 *                 └─ k_part ─ k_rope ────────────────────────────────────────────────────────┘ */
#include "pass.h"

static ir_op *def_in(const ir_value *v, uint64_t set)
{
   return set >> v->def->code & 1 ? v->def : NULL;
}

/* Views, parts and biases are passed over. */
static ir_op *matmul_behind(ir_value *v)
{
   return pass_matmul_behind(v, IR_SET(reshape) | IR_SET(slice));
}

/* What a matmul reads, before it is quantised. */
static ir_value *input_of(const ir_op *matmul)
{
   ir_value *x = matmul->operands[0];

   return x->def->code == IR_OP_quant ? x->def->operands[0] : x;
}

static void find_queries(pass_mla *m)
{
   m->q_rope = def_in(m->attention->operands[1], IR_SET(rope));
   m->q_part = m->q_rope ? def_in(m->q_rope->operands[0], IR_SET(slice)) : NULL;
   m->q_up = matmul_behind(m->q_rope ? m->q_rope->operands[0] : m->attention->operands[1]);
   if (!m->q_up)
      return;
   m->q_norm = pass_def(input_of(m->q_up), IR_OP_rmsnorm);
   m->q_down = m->q_norm ? matmul_behind(m->q_norm->operands[0]) : NULL;
   if (!m->q_down)
      m->q_norm = NULL; /* the block's own norm: there is no latent of q */
}

bool pass_mla_of(ir_op *write, pass_mla *out)
{
   *out = (pass_mla){.write = write};
   if (write->num_operands != 3)
      return false;
   for (const ir_use *u = write->results[0]->uses; u; u = u->next)
      if (u->user->code == IR_OP_mla_attention &&
          (!out->attention || u->user->id < out->attention->id))
         out->attention = u->user;
   if (!out->attention)
      return false;
   find_queries(out);
   out->c_norm = def_in(write->operands[1], IR_SET(rmsnorm));
   out->c_part = def_in(out->c_norm ? out->c_norm->operands[0] : write->operands[1], IR_SET(slice));
   out->k_rope = def_in(write->operands[2], IR_SET(rope));
   out->k_part = def_in(out->k_rope ? out->k_rope->operands[0] : write->operands[2], IR_SET(slice));
   out->kv_down = matmul_behind(out->k_rope ? out->k_rope->operands[0] : write->operands[2]);
   return true;
}
