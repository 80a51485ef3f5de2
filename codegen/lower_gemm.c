/* lower_gemm.c - matmuls and what follows them in their kernel; embedding rows.
 *
 *    kernel { g, u = matmul x; a = silu g; y = mul a, u }   ->   one launch, steps silu, mul_second; with
 *                                                                bounds at_most, silu, mul_bounded
 *    kernel { q, k, v = matmul x }                          ->   three launches of one phase
 *    bf16 weights on tile registers                         ->   a launch that splits x before them
 *
 * Every matmul whose result is not the second factor of a product starts a launch; its chain of
 * single readers inside the group becomes the steps. */
#include "gemm_chain.h"

#include "kernels/cpu/embed.h"
#include "kernels/cpu/gemm_impl.h"

static bool is_matmul(const ir_op *op)
{
   return op->code == IR_OP_matmul || op->code == IR_OP_qmatmul || op->code == IR_OP_moe_matmul ||
          op->code == IR_OP_moe_qmatmul;
}

static bool is_grouped(const ir_op *op)
{
   return op->code == IR_OP_moe_matmul || op->code == IR_OP_moe_qmatmul;
}

/* Operands that activations are: x, or codes and scales. Then come order and offsets, if any. */
static uint32_t num_inputs(const ir_op *op)
{
   return op->code == IR_OP_qmatmul || op->code == IR_OP_moe_qmatmul ? 2 : 1;
}

sinter_status cg_chain_refuse(const ir_op *op, const char *why)
{
   return base_fail(SINTER_unsupported, ir_op_infos[op->code].name,
                    "compile with --without epilogue,act_mul, or report the model",
                    "no matmul kernel for cpu: %s", why);
}

static const ir_value *weight_of(const ir_op *op)
{
   return op->operands[op->num_operands - 1];
}

/* The reader of v inside the group, NULL when v has memory. */
static const ir_op *inner_reader(const cg_chain *c, const ir_value *v)
{
   if (cg_place(c->l, v)->kind != PASS_PLACE_kernel)
      return NULL;
   for (const ir_use *u = v->uses; u; u = u->next)
      if (u->user->group == c->g)
         return u->user;
   return NULL;
}

/* The matmul's result behind bounds of one size in the group. */
static const ir_value *unbounded(const ir_group *g, const ir_value *v, double *out_size)
{
   const ir_op *op = v->def;

   *out_size = 0;
   if (op->code != IR_OP_clamp || op->group != g)
      return v;
   *out_size = ir_attr_f(op, IR_ATTR_max, 0);
   return ir_attr_f(op, IR_ATTR_min, 0) == -*out_size ? op->operands[0] : v;
}

/* v is a matmul's result that only a product inside the group reads, as its other factor. */
static bool is_second(const cg_chain *c, const ir_value *v)
{
   return is_matmul(v->def) && v->def->group == c->g &&
          v->def->operands[0] == c->start->operands[0] && v->def->code == c->start->code;
}

static const char *add_binary(cg_chain *c, const ir_op *op)
{
   uint32_t side = op->operands[0] == c->end ? 1 : 0;
   const ir_value *other = op->operands[side];
   bool is_add = op->code == IR_OP_add;
   gemm_step *s = &c->key.steps[c->key.num_steps++];
   double size;
   const ir_value *factor = unbounded(c->g, other, &size);

   if (op->operands[0] == op->operands[1])
      return "a product of a value with itself";
   if (!is_add && is_second(c, factor)) {
      *s = (gemm_step){factor == other ? GEMM_STEP_mul_second : GEMM_STEP_mul_bounded, (float)size};
      c->second = factor->def;
      c->key.w2 = cg_panels_of(c->l, weight_of(factor->def));
      return NULL;
   }
   bool is_sum = is_add && !c->routed && !c->key.grouped && other->def->code == IR_OP_combine;
   if (other->def->group == c->g && !is_sum)
      return "an operand is computed in the same kernel";
   if (other->type.dtype != DT_f32)
      return "operands of what follows a matmul are f32";
   bool is_row = other->type.rank < c->end->type.rank;
   if (is_row)
      s->kind = is_add ? GEMM_STEP_add_row : GEMM_STEP_mul_row;
   else
      s->kind = is_add ? GEMM_STEP_add_mat : GEMM_STEP_mul_mat;
   if (other->def->group == c->g)
      c->routed = other->def;
   c->extra[c->num_extra++] = c->routed == other->def ? NULL : other;
   return NULL;
}

static const char *add_step(cg_chain *c, const ir_op *op)
{
   if (c->combine || c->quant)
      return "nothing follows a combination or a quant in its kernel";
   if (c->key.num_steps == GEMM_MAX_STEPS)
      return "too many operations follow a matmul";
   gemm_step *s = &c->key.steps[c->key.num_steps];
   switch (op->code) {
   case IR_OP_add:
   case IR_OP_mul: return add_binary(c, op);
   case IR_OP_scale:
      *s = (gemm_step){GEMM_STEP_scale, (float)ir_attr_f(op, IR_ATTR_scale, 1)};
      break;
   case IR_OP_softcap:
      *s = (gemm_step){GEMM_STEP_softcap, (float)ir_attr_f(op, IR_ATTR_cap, 1)};
      break;
   case IR_OP_clamp:
      if (ir_attr_get(op, IR_ATTR_min))
         return "a lower bound cannot follow a matmul in its kernel";
      *s = (gemm_step){GEMM_STEP_at_most, (float)ir_attr_f(op, IR_ATTR_max, 0)};
      break;
   case IR_OP_silu: s->kind = GEMM_STEP_silu; break;
   case IR_OP_gelu: s->kind = GEMM_STEP_gelu; break;
   case IR_OP_gelu_tanh: s->kind = GEMM_STEP_gelu_tanh; break;
   default: return "this operation cannot follow a matmul in its kernel";
   }
   c->key.num_steps++;
   return NULL;
}

/* The sum over a token's slots is the last thing that a kernel does. */
static const char *add_combine(cg_chain *c, const ir_op *op)
{
   if (op->operands[0] != c->end)
      return "only experts' results are combined in their kernel";
   if (op->operands[1]->def->group == c->g || op->operands[1]->type.dtype != DT_f32 ||
       op->results[0]->type.dtype != DT_f32)
      return "weights are f32 and come from outside";
   if (!c->key.grouped) { /* one slot a token: a factor for each row */
      if (ir_type_row(&op->operands[1]->type) != 1 || c->key.num_steps == GEMM_MAX_STEPS)
         return "only experts' results are combined in their kernel";
      c->key.steps[c->key.num_steps++].kind = GEMM_STEP_mul_col;
      c->extra[c->num_extra++] = op->operands[1];
      return NULL;
   }
   c->key.combine = true;
   c->combine = op;
   return NULL;
}

/* A tile's columns are whole groups. */
static const char *add_quant(cg_chain *c, const ir_op *op)
{
   if (c->combine || c->quant || op->operands[0] != c->end)
      return "what is quantised is the result itself";
   if (!cg_is_panel_quant(op))
      return "only groups of 32 are quantised in a matmul's kernel";
   c->key.quant = true;
   c->quant = op;
   return NULL;
}

gemm_rows cg_rows_of(ir_dim d)
{
   for (uint32_t s = 0; s < SYM_COUNT; s++)
      if (d.coef[s] > 0 && ir_dim_equal(d, ir_dim_mul(ir_dim_sym((sym)s), d.coef[s])))
         return (gemm_rows){.is_sym = true, .sym = (sym)s, .num = d.coef[s]};
   return (gemm_rows){.num = ir_dim_is_const(d) ? ir_dim_const(d) : -1};
}

static void emit_gemm(arena *a, vec_module *m, const void *what)
{
   (void)a;
   gemm_emit(m, what);
}

static void emit_split(arena *a, vec_module *m, const void *what)
{
   (void)a;
   (void)what;
   gemm_split_emit(m);
}

static const plan_ref parts = {.kind = PLAN_REF_scratch};

/* x as the exact sum of three bf16, in scratch memory: one launch for all that read it next. */
static void launch_split(const cg_chain *c, const ir_value *x, gemm_rows rows, uint64_t k,
                         cg_launches *out)
{
   const cg_lower *l = c->l;
   uint64_t most = (uint64_t)(rows.is_sym ? l->f->range[rows.sym].max : rows.num);
   cg_launch *to = vec_push(l->a, &out->list);

   *to = (cg_launch){.kernel = {GEMM_SPLIT_SYMBOL, "gemm", emit_split, NULL, NULL}};
   gemm_split_launch(rows, k, &to->launch);
   to->launch.num_refs = 0;
   to->launch.group = c->g->id;
   cg_launch_ref(to, parts, 0, true);
   cg_launch_value(l, to, x, false);
   out->scratch = MAX(out->scratch, most * gemm_parts_stride(k));
}

sinter_status cg_chain_plan(const cg_chain *c, plan_launch *out)
{
   const ir_type *w = &weight_of(c->start)->type;
   uint64_t n = (uint64_t)ir_dim_const(w->dim[w->rank - 2]), k = (uint64_t)ir_type_row(w);
   gemm_rows rows = cg_rows_of(c->start->results[0]->type.dim[0]);
   gemm_key asked = c->key;
   /* there a weight that is read with floats can be with codes, if it is one of whole numbers */
   asked.int8 = c->key.int8 && !(c->l->simt && cg_simt_has_int8(&c->key));
   const char *why = gemm_unsupported(&asked, k);

   if (!why && !rows.is_sym && rows.num < 0)
      why = "rows must be a number or one symbol";
   if (why)
      return cg_chain_refuse(c->start, why);
   if (!c->key.grouped) {
      gemm_launch(&c->key, rows, n, k, out);
      return SINTER_ok;
   }
   gemm_rows from = cg_rows_of(c->start->operands[0]->type.dim[0]);
   gemm_stack stack = {(uint64_t)ir_dim_const(w->dim[0]),
                       from.num > 0 ? (uint64_t)(rows.num / from.num) : 1, 1,
                       c->l->decode && !c->l->simt};
   if (c->combine)
      stack.slots_per_token = (uint64_t)ir_type_row(&c->combine->operands[1]->type);
   gemm_launch_experts(&c->key, rows, n, k, &stack, out);
   return SINTER_ok;
}

void cg_chain_refs(const cg_chain *c, const ir_value *y, cg_launch *to)
{
   cg_launch_value(c->l, to, y, true);
   cg_chain_inputs(c, y, to);
}

void cg_chain_inputs(const cg_chain *c, const ir_value *y, cg_launch *to)
{
   const cg_lower *l = c->l;
   uint32_t inputs = num_inputs(c->start);

   if (c->quant)
      cg_launch_value(l, to, c->quant->results[1], true);
   if (c->key.parts)
      cg_launch_ref(to, parts, 0, false);
   if (c->key.norm.stored)
      cg_launch_value(l, to, c->norm->results[0], true);
   for (uint32_t i = 0; c->norm && i < 2; i++)
      cg_launch_value(l, to, c->norm->operands[i], false);
   for (uint32_t i = c->key.parts; !c->norm && i < inputs; i++)
      cg_launch_value(l, to, c->start->operands[i], false);
   cg_launch_value(l, to, weight_of(c->start), false);
   if (c->second)
      cg_launch_value(l, to, weight_of(c->second), false);
   for (uint32_t i = 0; c->key.grouped && i < 2; i++)
      cg_launch_value(l, to, c->start->operands[inputs + i], false);
   if (c->combine)
      cg_launch_value(l, to, c->combine->operands[1], false);
   for (uint32_t i = 0; i < c->num_extra; i++)
      cg_launch_value(l, to, c->extra[i] ? c->extra[i] : y, false);
}

void cg_chain_parts(cg_chain *c, const ir_value **split, cg_launches *out)
{
   const ir_value *x = c->start->operands[0];

   c->key.parts = gemm_wants_parts(&c->key, c->l->isa);
   if (!c->key.parts || *split == x)
      return;
   *split = x;
   launch_split(c, x, cg_rows_of(c->start->results[0]->type.dim[0]),
                (uint64_t)ir_type_row(&weight_of(c->start)->type), out);
}

cg_launch *cg_chain_launch(const cg_chain *c, gemm_form form, const plan_launch *own,
                           cg_launches *out)
{
   gemm_key *key = arena_copy(c->l->a, &c->key, sizeof c->key);
   char symbol[GEMM_SYMBOL_MAX];
   cg_launch *to = vec_push(c->l->a, &out->list);

   key->form = form;
   gemm_symbol(key, symbol);
   *to = (cg_launch){
      .kernel = {arena_strdup(c->l->a, symbol), "gemm", emit_gemm, key, cg_simt_gemm_of(key)},
      .launch = *own};
   to->launch.num_refs = 0;
   to->launch.group = c->g->id;
   return to;
}

plan_ref cg_chain_room(const cg_chain *c, uint64_t *bytes, cg_launches *out)
{
   const cg_lower *l = c->l;
   gemm_rows rows = cg_rows_of(c->start->results[0]->type.dim[0]);
   int64_t most =
      rows.is_sym ? MIN(l->f->range[rows.sym].max, l->max_rows) * MAX(rows.num, 1) : rows.num;
   plan_ref room = {.kind = PLAN_REF_arena, .offset = l->parts_at + out->parts};

   *bytes *= (uint64_t)most;
   out->parts += (*bytes + 63) / 64 * 64;
   out->most_parts = MAX(out->most_parts, out->parts);
   return room;
}

/* Few rows: a block a slice, whose sums wait in the arena for the launch that adds them. */
static void launch_slices(const cg_chain *c, const plan_launch *own, cg_launches *out)
{
   const cg_lower *l = c->l;
   uint64_t bytes =
      (uint64_t)own->consts[C_N] * sizeof(float) * c->key.slices * (c->second ? 2 : 1);
   plan_ref sums = cg_chain_room(c, &bytes, out);

   cg_launch *part = cg_chain_launch(c, GEMM_part, own, out);
   cg_launch_ref(part, sums, bytes, true);
   for (uint32_t i = 0; i < num_inputs(c->start); i++)
      cg_launch_value(l, part, c->start->operands[i], false);
   cg_launch_value(l, part, weight_of(c->start), false);
   if (c->second)
      cg_launch_value(l, part, weight_of(c->second), false);
   cg_launch *merge = cg_chain_launch(c, GEMM_merge, own, out);
   merge->launch.bytes = (plan_extent){.k = (int64_t)bytes};
   merge->launch.flops = (plan_extent){.k = (int64_t)(bytes / sizeof(float))};
   cg_launch_value(l, merge, c->end, true);
   if (c->quant)
      cg_launch_value(l, merge, c->quant->results[1], true);
   cg_launch_ref(merge, sums, bytes, false);
   for (uint32_t i = 0; i < c->num_extra; i++)
      cg_launch_value(l, merge, c->extra[i] ? c->extra[i] : c->end, false);
}

sinter_status cg_chain_alone(cg_chain *c, const ir_value **split, cg_launches *out)
{
   const cg_lower *l = c->l;
   plan_launch own = {0};

   SINTER_TRY(cg_chain_plan(c, &own)); /* what cannot be has no split in front of it */
   cg_chain_parts(c, split, out);
   SINTER_TRY(cg_chain_plan(c, &own));
   if (l->matrix && own.bytes.k > 0)
      c->key.slices = cg_simt_slices(&c->key, l->arch, (uint64_t)own.consts[C_N],
                                     (uint64_t)own.consts[C_K], (uint64_t)own.bytes.k);
   if (c->key.slices > 1 && l->decode) {
      launch_slices(c, &own, out);
      return SINTER_ok;
   }
   if (cg_chain_makes_logits(c) && cg_place(l, weight_of(c->start))->index2) /* it has a top */
      return cg_chain_bounds(c, out);
   if (cg_chain_makes_logits(c)) {
      cg_chain_picks(c, &own, out);
      return SINTER_ok;
   }
   cg_launch *to = cg_chain_launch(c, GEMM_whole, &own, out);
   cg_chain_refs(c, c->end, to);
   return SINTER_ok;
}

/* The norm of the group whose result the matmul reads. */
static const char *add_norm(cg_chain *c)
{
   const ir_op *op = c->start->operands[0]->def;

   if (op->group != c->g)
      return NULL;
   if (op->code != IR_OP_rmsnorm || op->operands[0]->type.dtype != DT_f32 ||
       op->operands[1]->type.dtype != DT_f32 || op->operands[0]->type.rank != 2)
      return "only a norm of f32 rows stands in front of a matmul in its kernel";
   c->norm = op;
   c->key.norm = (gemm_norm){.k = (uint32_t)ir_type_row(&op->operands[0]->type),
                             .stored = cg_place(c->l, op->results[0])->kind != PASS_PLACE_kernel,
                             .eps = ir_attr_f(op, IR_ATTR_eps, 0),
                             .offset = ir_attr_f(op, IR_ATTR_offset, 0)};
   return NULL;
}

static sinter_status check_types(const ir_op *op)
{
   const ir_type *x = &op->operands[0]->type, *w = &weight_of(op)->type;
   dtype want = num_inputs(op) == 2 ? DT_i8 : DT_f32;

   if (x->rank != 2 || x->dtype != want || op->results[0]->type.dtype != DT_f32)
      return cg_chain_refuse(op, "activations must be f32 matrices, or int8 codes for qmatmul");
   if (w->rank != (is_grouped(op) ? 3u : 2u))
      return cg_chain_refuse(op, "the weight must be a matrix, or a stack of them for experts");
   for (uint32_t i = 0; i < w->rank; i++)
      if (!ir_dim_is_const(w->dim[i]))
         return cg_chain_refuse(op, "the extents of the weight must be numbers");
   return SINTER_ok;
}

sinter_status cg_chain_read(cg_chain *c, const ir_op *start)
{
   c->start = start;
   c->end = start->results[0];
   SINTER_TRY(check_types(start));
   c->key.int8 = num_inputs(start) == 2;
   c->key.grouped = is_grouped(start);
   c->key.w = cg_panels_of(c->l, weight_of(start));
   if (c->key.w == PANEL_none || c->key.w == PANEL_rows)
      return cg_chain_refuse(start, "the weight is not packed in panels");
   const char *why = add_norm(c);
   while (!why && !c->combine) {
      const ir_op *op = inner_reader(c, c->end);

      if (!op)
         break;
      why = op->code == IR_OP_combine ? add_combine(c, op)
            : op->code == IR_OP_quant ? add_quant(c, op)
                                      : add_step(c, op);
      c->end = op->results[0];
   }
   return why ? cg_chain_refuse(start, why) : SINTER_ok;
}

/* *sums: sums of experts that wait for the matmul that adds them. */
static sinter_status lower_chain(const cg_lower *l, const ir_group *g, const ir_op *start,
                                 const ir_value **split, int *sums, cg_launches *out)
{
   cg_chain c = {.l = l, .g = g};

   SINTER_TRY(cg_chain_read(&c, start));
   *sums -= c.routed != NULL;
   if (cg_place(l, c.end)->kind != PASS_PLACE_kernel)
      return c.routed || c.combine ? cg_lower_sums(&c, split, out) : cg_chain_alone(&c, split, out);
   if (!c.combine)
      return cg_chain_refuse(start, "its result is used nowhere");
   ++*sums;
   return SINTER_ok;
}

/* The matmul is the other factor of a product whose chain begins elsewhere: of two plain factors
 * the later one. */
static bool is_absorbed(const cg_lower *l, const ir_group *g, const ir_op *op)
{
   const cg_chain c = {.l = l, .g = g, .start = op};
   const ir_op *reader = inner_reader(&c, op->results[0]);
   const ir_value *v = op->results[0];

   if (reader && reader->code == IR_OP_clamp && ir_attr_get(reader, IR_ATTR_min)) {
      v = reader->results[0];
      reader = inner_reader(&c, v);
   }
   if (!reader || reader->code != IR_OP_mul)
      return false;
   const ir_value *other = reader->operands[reader->operands[0] == v ? 1 : 0];
   if (other->def->group != g)
      return false;
   return !is_matmul(other->def) || ir_precedes(other->def, op);
}

sinter_status cg_lower_gemm(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   const ir_value *split = NULL;
   int sums = 0;

   for (const ir_op *op = g->first; op && op->group == g; op = op->next)
      if (is_matmul(op) && !is_absorbed(l, g, op))
         SINTER_TRY(lower_chain(l, g, op, &split, &sums, out));
   return sums ? cg_chain_refuse(g->first, "a sum of experts is added to no matmul of its kernel")
               : SINTER_ok;
}

/* ---- head_matmul ---- */

/* Where x lies: in memory, or the part of its rows that a slice in the group takes. */
static const char *find_heads(const cg_lower *l, const ir_group *g, const ir_op *op,
                              gemm_heads *heads, const ir_value **out_x, uint64_t *out_offset)
{
   const ir_value *x = op->operands[0];
   const ir_op *slice = x->def;

   heads->count = (uint64_t)ir_dim_const(x->type.dim[1]);
   *out_offset = 0;
   if (slice->group == g) {
      if (slice->code != IR_OP_slice || ir_attr_i(slice, IR_ATTR_axis, 0) != 2 ||
          cg_place(l, x)->kind != PASS_PLACE_kernel)
         return "its rows are computed in the same kernel";
      *out_offset = 4 * (uint64_t)ir_attr_i(slice, IR_ATTR_start, 0);
      x = slice->operands[0];
   }
   *out_x = x;
   heads->x_head = 4 * (uint64_t)ir_type_row(&x->type);
   heads->x_stride = heads->x_head * heads->count;
   return x->type.dtype == DT_f32 && op->results[0]->type.dtype == DT_f32 ? NULL
                                                                          : "activations are f32";
}

sinter_status cg_lower_head_gemm(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   const ir_op *op = g->first->code == IR_OP_slice ? g->first->next : g->first;
   const ir_value *w = weight_of(op), *x;
   gemm_key key = {.w = cg_panels_of(l, w)};
   gemm_heads heads;
   uint64_t offset, k = (uint64_t)ir_type_row(&w->type);
   gemm_rows rows = cg_rows_of(op->results[0]->type.dim[0]);

   if (op->code != IR_OP_head_matmul || g->num_ops > 2)
      return cg_chain_refuse(
         op, "a product of heads takes at most the slice before it into its kernel");
   const char *why = gemm_unsupported(&key, k);
   why = why ? why : find_heads(l, g, op, &heads, &x, &offset);
   if (why)
      return cg_chain_refuse(op, why);
   if (!rows.is_sym && rows.num < 0)
      return cg_chain_refuse(op, "rows must be a number or one symbol");
   char symbol[GEMM_SYMBOL_MAX];
   gemm_symbol(&key, symbol);
   cg_launch *to = vec_push(l->a, &out->list);
   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "gemm", emit_gemm,
                                arena_copy(l->a, &key, sizeof key), &cg_simt_gemm}};
   gemm_launch_heads(&key, rows, &heads, (uint64_t)ir_dim_const(w->type.dim[1]), k, &to->launch);
   to->launch.num_refs = 0;
   to->launch.group = g->id;
   plan_ref from = cg_ref_of(l, x);
   from.offset += offset;
   cg_launch_value(l, to, op->results[0], true);
   cg_launch_ref(to, from, cg_place(l, x)->size - offset, false);
   cg_launch_value(l, to, w, false);
   return SINTER_ok;
}

/* ---- embed ---- */

static void emit_embed(arena *a, vec_module *m, const void *what)
{
   (void)a;
   embed_emit(m, what);
}

sinter_status cg_lower_embed(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   const ir_op *op = g->first, *last = op;
   embed_key key = {.scale = 1, .features = op->num_operands > 2};
   char symbol[GEMM_SYMBOL_MAX];

   if (op->code != IR_OP_embed || g->num_ops > 2)
      return cg_chain_refuse(op, "an embedding takes at most a factor into its kernel");
   if (g->num_ops == 2) {
      last = op->next;
      if (last->code != IR_OP_scale || cg_place(l, op->results[0])->kind != PASS_PLACE_kernel)
         return cg_chain_refuse(last, "an embedding takes at most a factor into its kernel");
      key.scale = (float)ir_attr_f(last, IR_ATTR_scale, 1);
   }
   const ir_type *w = &op->operands[1]->type;
   uint64_t n = (uint64_t)ir_dim_const(w->dim[0]), k = (uint64_t)ir_dim_const(w->dim[1]);
   key.w = cg_panels_of(l, op->operands[1]);
   const char *why = embed_unsupported(&key, k);
   if (why)
      return cg_chain_refuse(op, why);
   embed_symbol(&key, symbol);
   cg_launch *to = vec_push(l->a, &out->list);
   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "embed", emit_embed,
                                arena_copy(l->a, &key, sizeof key), &cg_simt_embed}};
   embed_launch(&key, cg_rows_of(op->operands[0]->type.dim[0]), n, k, &to->launch);
   to->launch.num_refs = 0;
   to->launch.group = g->id;
   cg_launch_value(l, to, last->results[0], true);
   for (uint32_t i = 0; i < op->num_operands; i++)
      cg_launch_value(l, to, op->operands[i], false);
   return SINTER_ok;
}
