/* lower_moe.c - routing, permutation and combination: the launches around grouped matmuls. */
#include "kernels/cpu/moe.h"
#include "lower.h"

static sinter_status refuse(const ir_op *op, const char *why)
{
   return base_fail(SINTER_unsupported, ir_op_infos[op->code].name, "report the model",
                    "no kernel for cpu: %s", why);
}

static cg_launch *add_launch(const cg_lower *l, const ir_group *g, const char *symbol,
                             void (*emit)(arena *, vec_module *, const void *), const void *what,
                             const cg_simt_kind *simt, cg_launches *out)
{
   cg_launch *to = vec_push(l->a, &out->list);

   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "moe", emit, what, simt}};
   to->launch.group = g->id;
   return to;
}

static sinter_status check_rows(const ir_op *op, gemm_rows rows)
{
   return rows.is_sym || rows.num >= 0 ? SINTER_ok
                                       : refuse(op, "rows must be a number or one symbol");
}

/* ---- route ---- */

static void emit_route(arena *a, vec_module *m, const void *what)
{
   (void)a;
   route_emit(m, what);
}

static route_key route_key_of(const ir_op *op)
{
   const ir_value *chosen = op->code == IR_OP_route ? op->results[0] : op->operands[1];
   route_key key = {
      .score = route_score_of(ir_attr_s(op, IR_ATTR_score, "")),
      .experts = (uint32_t)ir_type_row(&op->operands[0]->type),
      .k = (uint32_t)ir_type_row(&chosen->type),
      .groups = (uint32_t)ir_attr_i(op, IR_ATTR_groups, 1),
      .group_top = (uint32_t)ir_attr_i(op, IR_ATTR_group_top, 1),
      .bias = op->code == IR_OP_route && op->num_operands > 1,
      .norm = ir_attr_i(op, IR_ATTR_norm, 0) != 0,
      .given = op->code == IR_OP_route_weights,
      .scale = (float)ir_attr_f(op, IR_ATTR_scale, 1),
   };

   key.kept = (uint32_t)ir_attr_i(op, IR_ATTR_kept, key.groups);
   return key;
}

/* The permutation of the same group that one tile can make, too: few rows. */
static const ir_op *permute_behind(const cg_lower *l, const ir_group *g, const ir_op *op)
{
   const ir_op *next = op->code == IR_OP_route && l->decode && !l->simt ? op->next : NULL;
   bool joins = next && next->group == g && next->code == IR_OP_permute;

   return joins && next->operands[0] == op->results[0] ? next : NULL;
}

static sinter_status lower_route(const cg_lower *l, const ir_group *g, const ir_op *op,
                                 const ir_op *permute, cg_launches *out)
{
   route_key key = route_key_of(op);
   const char *why = route_unsupported(&key);
   gemm_rows rows = cg_rows_of(op->operands[0]->type.dim[0]);
   char symbol[MOE_SYMBOL_MAX];

   key.permute = permute != NULL;
   SINTER_TRY(check_rows(op, rows));
   for (uint32_t i = 0; i < op->num_operands; i++)
      if (op->operands[i]->type.dtype != DT_f32 && op->operands[i]->type.dtype != DT_i32)
         why = "logits and bias are f32, ids i32";
   if (op->results[op->num_results - 1]->type.dtype != DT_f32)
      why = "weights are f32";
   if (why)
      return refuse(op, why);
   route_symbol(&key, symbol);
   cg_launch *to =
      add_launch(l, g, symbol, emit_route, arena_copy(l->a, &key, sizeof key), &cg_simt_route, out);
   route_launch(&key, rows, &to->launch);
   to->launch.num_refs = 0;
   for (uint32_t i = 0; i < op->num_results; i++)
      cg_launch_value(l, to, op->results[i], true);
   for (uint32_t i = 0; i < op->num_operands; i++)
      cg_launch_value(l, to, op->operands[i], false);
   for (uint32_t i = 0; permute && i < permute->num_results; i++)
      cg_launch_value(l, to, permute->results[i], true);
   return SINTER_ok;
}

/* ---- slots ---- */

static void emit_slots(arena *a, vec_module *m, const void *what)
{
   (void)a;
   slots_emit(m, what);
}

cg_launch *cg_add_slots(const cg_lower *l, const ir_group *g, const slots_kernel *k,
                        cg_launches *out)
{
   return add_launch(l, g, k->symbol, emit_slots, k, &cg_simt_slots, out);
}

static sinter_status lower_permute(const cg_lower *l, const ir_group *g, const ir_op *op,
                                   cg_launches *out)
{
   gemm_rows slots = cg_rows_of(op->results[0]->type.dim[0]);

   SINTER_TRY(check_rows(op, slots));
   if (op->operands[0]->type.dtype != DT_i32)
      return refuse(op, "ids are i32");
   cg_launch *to = cg_add_slots(l, g, &slots_permute, out);
   permute_launch(slots, (uint64_t)ir_attr_i(op, IR_ATTR_experts, 0), &to->launch);
   to->launch.num_refs = 0;
   cg_launch_value(l, to, op->results[0], true);
   cg_launch_value(l, to, op->results[1], true);
   cg_launch_value(l, to, op->operands[0], false);
   return SINTER_ok;
}

static sinter_status lower_combine(const cg_lower *l, const ir_group *g, const ir_op *op,
                                   cg_launches *out)
{
   const ir_type *x = &op->operands[0]->type, *w = &op->operands[1]->type;
   gemm_rows rows = cg_rows_of(w->dim[0]);

   SINTER_TRY(check_rows(op, rows));
   if (x->dtype != DT_f32 || w->dtype != DT_f32 || op->results[0]->type.dtype != DT_f32 ||
       ir_type_row(x) < 0)
      return refuse(op, "rows and weights are f32, and a row's length a number");
   cg_launch *to = cg_add_slots(l, g, &slots_combine[0], out);
   combine_launch(rows, (uint64_t)ir_type_row(w), (uint64_t)ir_type_row(x), 0, &to->launch);
   to->launch.num_refs = 0;
   cg_launch_value(l, to, op->results[0], true);
   cg_launch_value(l, to, op->operands[0], false);
   cg_launch_value(l, to, op->operands[1], false);
   return SINTER_ok;
}

/* ---- ids of a table ---- */

static sinter_status lower_lookup(const cg_lower *l, const ir_group *g, const ir_op *op,
                                  cg_launches *out)
{
   const ir_type *table = &op->operands[0]->type;
   gemm_rows rows = cg_rows_of(op->operands[1]->type.dim[0]);

   SINTER_TRY(check_rows(op, rows));
   if (table->dtype != DT_i32 || op->operands[1]->type.dtype != DT_i32)
      return refuse(op, "table and rows are i32");
   cg_launch *to = cg_add_slots(l, g, &slots_lookup, out);
   lookup_launch(rows, (uint64_t)ir_type_row(table), &to->launch);
   to->launch.num_refs = 0;
   cg_launch_value(l, to, op->results[0], true);
   cg_launch_value(l, to, op->operands[0], false);
   cg_launch_value(l, to, op->operands[1], false);
   return SINTER_ok;
}

/* ---- replicas ---- */

static sinter_status lower_remap(const cg_lower *l, const ir_group *g, const ir_op *op,
                                 cg_launches *out)
{
   const ir_type *ids = &op->operands[0]->type, *table = &op->operands[1]->type;
   gemm_rows rows = cg_rows_of(ids->dim[0]);

   SINTER_TRY(check_rows(op, rows));
   for (uint32_t i = 0; i < op->num_operands; i++)
      if (op->operands[i]->type.dtype != DT_i32)
         return refuse(op, "ids, table and rows are i32");
   if (!ir_dim_is_const(table->dim[0]))
      return refuse(op, "the rows of its table are a number");
   cg_launch *to = cg_add_slots(l, g, &slots_remap, out);
   remap_launch(rows, (uint64_t)ir_type_row(ids), (uint64_t)ir_dim_const(table->dim[0]),
                (uint64_t)ir_type_row(table), &to->launch);
   to->launch.num_refs = 0;
   cg_launch_value(l, to, op->results[0], true);
   for (uint32_t i = 0; i < op->num_operands; i++)
      cg_launch_value(l, to, op->operands[i], false);
   return SINTER_ok;
}

sinter_status cg_lower_moe(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   for (const ir_op *op = g->first; op && op->group == g; op = op->next) {
      const ir_op *permute = permute_behind(l, g, op);

      switch (op->code) {
      case IR_OP_route:
      case IR_OP_route_weights: SINTER_TRY(lower_route(l, g, op, permute, out)); break;
      case IR_OP_permute: SINTER_TRY(lower_permute(l, g, op, out)); break;
      case IR_OP_combine: SINTER_TRY(lower_combine(l, g, op, out)); break;
      case IR_OP_lookup: SINTER_TRY(lower_lookup(l, g, op, out)); break;
      case IR_OP_remap: SINTER_TRY(lower_remap(l, g, op, out)); break;
      default: return refuse(op, "it cannot stand in a kernel with routing");
      }
      if (permute)
         op = permute;
   }
   return SINTER_ok;
}
