/* lower_combine.c - where experts' slots come together.
 *
 *    many rows    kernel { down, combine }           one launch: a tile has some columns of all slots
 *                 kernel { …, matmul, add, … }       one launch: and then of the other matrix (gemm_pair.c)
 *    few rows     slots = down       dense = matmul  one phase, each matrix read from front to back
 *                 y = combine slots + dense + …      a row a tile, by who is done last
 *
 * The bits are the same: a token's experts ascending, then what is added, in order. With few rows a
 * tile of all slots would hop from matrix to matrix for a panel each; measured, that costs more
 * than the launches. */
#include "gemm_chain.h"

#include "kernels/cpu/gemm_impl.h"

static void emit_pair(arena *a, vec_module *m, const void *what)
{
   (void)a;
   gemm_pair_emit(m, what);
}

/* A chain that adds a sum of experts: both in one kernel. */
static sinter_status launch_pair(cg_chain *c, const cg_chain *routed, const ir_value **split,
                                 cg_launches *out)
{
   const cg_lower *l = c->l;
   plan_launch first = {0}, second = {0};
   char symbol[GEMM_PAIR_SYMBOL_MAX];

   SINTER_TRY(cg_chain_plan(c, &second));
   cg_chain_parts(c, split, out);
   SINTER_TRY(cg_chain_plan(routed, &first));
   SINTER_TRY(cg_chain_plan(c, &second));
   gemm_pair *pair = arena_new(l->a, gemm_pair);
   *pair = (gemm_pair){routed->key, c->key};
   const char *why = gemm_pair_unsupported(pair);
   if (why)
      return cg_chain_refuse(c->start, why);
   gemm_pair_symbol(pair, symbol);
   cg_launch *to = vec_push(l->a, &out->list);
   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "gemm", emit_pair, pair, NULL}};
   gemm_pair_launch(&first, &second, &to->launch);
   to->launch.num_refs = 0;
   to->launch.group = c->g->id;
   cg_chain_refs(routed, c->end, to);
   cg_chain_refs(c, c->end, to);
   return SINTER_ok;
}

/* ---- few rows ---- */

/* The step that adds the sum of experts; num_steps when there is none. */
static uint32_t sum_step(const cg_chain *c, uint32_t *out_extra)
{
   uint32_t i = 0;

   for (*out_extra = 0; i < c->key.num_steps; i++) {
      if (!gemm_step_infos[c->key.steps[i].kind].has_operand)
         continue;
      if (!c->extra[*out_extra])
         return i;
      ++*out_extra;
   }
   return i;
}

/* Whether all that follows the sum are rows that are added, as many as there is a kernel for. */
static bool adds_only(const cg_chain *c)
{
   uint32_t extra, at = sum_step(c, &extra);

   for (uint32_t i = at; i < c->key.num_steps; i++)
      if (c->key.steps[i].kind != GEMM_STEP_add_mat)
         return false;
   return at < c->key.num_steps && c->key.num_steps - at <= COMBINE_ADDENDS;
}

/* The chain's products, up to its steps, into room in the arena. */
static sinter_status launch_apart(cg_chain *c, const ir_value **split, cg_launches *out,
                                  plan_ref *room, uint64_t *bytes)
{
   plan_launch own = {0};

   SINTER_TRY(cg_chain_plan(c, &own));
   cg_chain_parts(c, split, out);
   SINTER_TRY(cg_chain_plan(c, &own));
   *bytes = (uint64_t)own.consts[C_N] * sizeof(float);
   *room = cg_chain_room(c, bytes, out);
   cg_launch *to = cg_chain_launch(c, GEMM_whole, &own, out);
   cg_launch_ref(to, *room, *bytes, true);
   cg_chain_inputs(c, NULL, to);
   return SINTER_ok;
}

/* c: what is added to the sum; NULL: nothing. */
static sinter_status launch_few(const cg_chain *routed, const cg_chain *c, const ir_value **split,
                                cg_launches *out)
{
   const cg_lower *l = routed->l;
   const ir_op *combine = routed->combine;
   const ir_type *weights = &combine->operands[1]->type;
   const ir_value *y = c ? c->end : combine->results[0];
   cg_chain slots = *routed, dense;
   plan_ref at[2];
   uint64_t bytes[2];
   uint32_t extra = 0, addends = c ? c->key.num_steps - sum_step(c, &extra) : 0;

   slots.key.combine = false;
   slots.combine = NULL;
   SINTER_TRY(launch_apart(&slots, split, out, &at[0], &bytes[0]));
   if (c) {
      dense = *c;
      dense.key.num_steps -= addends;
      dense.num_extra = extra;
      SINTER_TRY(launch_apart(&dense, split, out, &at[1], &bytes[1]));
   }
   cg_launch *to = cg_add_slots(l, routed->g, &slots_combine[addends], out);
   combine_launch(cg_rows_of(weights->dim[0]), (uint64_t)ir_type_row(weights),
                  (uint64_t)ir_type_row(&y->type), addends, &to->launch);
   to->launch.num_refs = 0;
   cg_launch_value(l, to, y, true);
   cg_launch_ref(to, at[0], bytes[0], false);
   cg_launch_value(l, to, combine->operands[1], false);
   if (c)
      cg_launch_ref(to, at[1], bytes[1], false);
   for (uint32_t i = extra + 1; c && i < c->num_extra; i++)
      cg_launch_value(l, to, c->extra[i], false);
   return SINTER_ok;
}

sinter_status cg_lower_sums(cg_chain *c, const ir_value **split, cg_launches *out)
{
   bool few = c->l->decode && !c->l->simt;
   cg_chain routed = {.l = c->l, .g = c->g};

   if (!c->routed)
      return few ? launch_few(c, NULL, split, out) : cg_chain_alone(c, split, out);
   SINTER_TRY(cg_chain_read(&routed, c->routed->operands[0]->def));
   if (routed.combine != c->routed)
      return cg_chain_refuse(c->start, "the sum that is added is not that of experts");
   return few && adds_only(c) ? launch_few(&routed, c, split, out)
                              : launch_pair(c, &routed, split, out);
}
