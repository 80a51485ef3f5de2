/* lower_hc.c - hyper-connections: alone, or with what pass mhc_post_pre puts together.
 *
 *    kernel { hc_expand }                                   part
 *    kernel { hc_mix }                                      part, finish
 *    kernel { hc_collapse }                                 finish
 *    kernel { (hc_expand,) hc_mix, hc_collapse(, rmsnorm) } part, finish */
#include "kernels/cpu/hc.h"
#include "lower.h"

typedef struct hc_ops {
   const ir_op *expand, *mix, *collapse, *norm;
} hc_ops;

static sinter_status refuse(const ir_op *op, const char *why)
{
   return base_fail(SINTER_unsupported, ir_op_infos[op->code].name,
                    "compile with --without mhc_post_pre, or report the model",
                    "no kernel for cpu: %s", why);
}

/* Whether the ops of the group hang together as the kernels take them. */
static bool is_chain(const hc_ops *p)
{
   const ir_value *streams = p->expand ? p->expand->results[0] : NULL;

   if (p->mix && streams && p->mix->operands[0] != streams)
      return false;
   if (p->collapse && p->mix &&
       (p->collapse->operands[0] != p->mix->operands[0] ||
        p->collapse->operands[1] != p->mix->results[0]))
      return false;
   if (p->collapse && p->expand && !p->mix)
      return false;
   return !p->norm || (p->collapse && p->norm->operands[0] == p->collapse->results[0]);
}

static sinter_status find_ops(const ir_group *g, hc_ops *out)
{
   uint32_t found = 0;

   *out = (hc_ops){0};
   for (const ir_op *op = g->first; op && op->group == g; op = op->next) {
      const ir_op **to = op->code == IR_OP_hc_expand     ? &out->expand
                         : op->code == IR_OP_hc_mix      ? &out->mix
                         : op->code == IR_OP_hc_collapse ? &out->collapse
                         : op->code == IR_OP_rmsnorm     ? &out->norm
                                                         : NULL;
      if (!to || *to)
         return refuse(op, "it cannot stand in a kernel of hyper-connections");
      *to = op;
      found++;
      for (uint32_t i = 0; i < op->num_operands; i++)
         if (op->operands[i]->type.dtype != DT_f32)
            return refuse(op, "its operands must be f32");
      if (op->results[0]->type.dtype != DT_f32)
         return refuse(op, "its result must be f32");
   }
   return found == g->num_ops && is_chain(out) ? SINTER_ok
                                               : refuse(g->first, "its parts do not fit together");
}

/* x[T,n,D] of the group. */
static const ir_value *streams_of(const hc_ops *p)
{
   return p->expand ? p->expand->operands[1]
          : p->mix  ? p->mix->operands[0]
                    : p->collapse->operands[0];
}

static bool is_stored(const cg_lower *l, const ir_value *v)
{
   return cg_place(l, v)->kind != PASS_PLACE_kernel;
}

static hc_key key_of(const hc_ops *p)
{
   const ir_type *x = &streams_of(p)->type;
   hc_key key = {.streams = (uint32_t)ir_dim_const(x->dim[1]), .width = (uint32_t)ir_type_row(x)};

   if (p->mix) {
      key.eps = ir_attr_f(p->mix, IR_ATTR_eps, 0);
      key.offset = ir_attr_f(p->mix, IR_ATTR_offset, 0);
      key.iters = (uint32_t)ir_attr_i(p->mix, IR_ATTR_iters, 1);
   }
   if (p->norm) {
      key.norm_eps = ir_attr_f(p->norm, IR_ATTR_eps, 0);
      key.norm_offset = ir_attr_f(p->norm, IR_ATTR_offset, 0);
   }
   key.mix = p->mix != NULL;
   return key;
}

static void emit(arena *a, vec_module *m, const void *what)
{
   (void)a;
   hc_emit(m, what);
}

static cg_launch *add_launch(const cg_lower *l, const ir_group *g, const hc_key *key,
                             gemm_rows rows, cg_launches *out)
{
   char symbol[HC_SYMBOL_MAX];
   cg_launch *to = vec_push(l->a, &out->list);

   hc_symbol(key, symbol);
   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "hc", emit,
                                arena_copy(l->a, key, sizeof *key), &cg_simt_hc}};
   hc_launch(key, rows, &to->launch);
   to->launch.group = g->id;
   return to;
}

static void add_part(const cg_lower *l, const ir_group *g, const hc_ops *p, hc_key key,
                     gemm_rows rows, cg_launches *out)
{
   key.expand = p->expand != NULL;
   cg_launch *to = add_launch(l, g, &key, rows, out);
   if (p->expand) {
      cg_launch_value(l, to, p->expand->results[0], true);
      cg_launch_value(l, to, p->expand->operands[0], false);
      cg_launch_value(l, to, p->expand->operands[2], false);
      cg_launch_value(l, to, p->expand->operands[3], false);
   }
   cg_launch_value(l, to, streams_of(p), false);
   if (!p->mix)
      return;
   cg_launch_value(l, to, p->mix->operands[1], false);
   cg_launch_ref(to, (plan_ref){.kind = PLAN_REF_scratch}, 0, true);
   out->scratch = MAX(out->scratch, hc_scratch(&key, l->max_rows));
}

static void add_finish(const cg_lower *l, const ir_group *g, const hc_ops *p, hc_key key,
                       gemm_rows rows, cg_launches *out)
{
   key.finish = true;
   key.collapse = p->collapse != NULL;
   key.norm = p->norm != NULL;
   cg_launch *to = add_launch(l, g, &key, rows, out);
   if (p->mix) {
      cg_launch_ref(to, (plan_ref){.kind = PLAN_REF_scratch}, 0, false);
      cg_launch_value(l, to, p->mix->operands[2], false);
      cg_launch_value(l, to, p->mix->operands[3], false);
      for (uint32_t i = p->collapse ? 1 : 0; i < 3; i++)
         cg_launch_value(l, to, p->mix->results[i], true);
   }
   if (!p->collapse)
      return;
   cg_launch_value(l, to, p->norm ? p->norm->results[0] : p->collapse->results[0], true);
   cg_launch_value(l, to, p->collapse->operands[0], false);
   if (!p->mix)
      cg_launch_value(l, to, p->collapse->operands[1], false);
   if (p->norm)
      cg_launch_value(l, to, p->norm->operands[1], false);
}

sinter_status cg_lower_hc(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   hc_ops p;

   SINTER_TRY(find_ops(g, &p));
   hc_key key = key_of(&p);
   const char *why = hc_unsupported(&key);
   gemm_rows rows = cg_rows_of(streams_of(&p)->type.dim[0]);
   const pass_place *fn = p.mix ? cg_place(l, p.mix->operands[1]) : NULL;

   if (rows.is_sym ? rows.num != 1 : rows.num < 0)
      why = "rows must be a number or one symbol";
   if (fn && (fn->kind != PASS_PLACE_weight || l->layout->weights[fn->index].layout != PANEL_f32))
      why = "what mixes the streams must be an f32 tensor of the checkpoint";
   if ((p.mix && p.collapse && is_stored(l, p.mix->results[0])) ||
       (p.norm && is_stored(l, p.collapse->results[0])))
      why = "what stays inside its kernel has a second reader";
   if (why)
      return refuse(g->first, why);
   if (p.expand || p.mix)
      add_part(l, g, &p, key, rows, out);
   if (p.mix || p.collapse)
      add_finish(l, g, &p, key, rows, out);
   return SINTER_ok;
}
