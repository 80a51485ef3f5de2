/* emit_llvm.c - a region as machine code, through the vector builder.
 *
 * Each value that has memory or a temporary is a stage, in program order:
 *
 *    for each head o:   sums of the norms that are computed inline here
 *                       for i in vectors of the head: store(eval(i))
 *                       the ragged end one by one
 *
 * eval loads what has a home and computes the rest. Every order of additions is fixed by the row's
 * length alone. */
#include "emit.h"
#include "ir/formula.h"
#include "kernels/cpu/norm.h"

static uint32_t number(const cg_emit *e, const cg_value *c)
{
   return (uint32_t)(c - e->r->values);
}

static cg_memo *memo_of(cg_emit *e, const ir_value *v)
{
   return &e->memo[number(e, cg_emit_value(e, v))];
}

/* ---- addresses ---- */

static vec_value base_of(cg_emit *e, const cg_value *c, const vec_value *temps)
{
   vec_fn *f = e->f;

   if (c->home == CG_HOME_stack)
      return vec_at_i(f, temps[c->ptr], (int64_t)c->offset);
   vec_value at = vec_at_i(f, e->ptr[c->ptr], (int64_t)c->offset);
   if (c->rowless)
      return at;
   vec_value row = e->row;
   if (c->index_ptr >= 0) {
      vec_value index = vec_at(f, e->ptr[c->index_ptr], vec_mul_i(f, row, 4));
      row = vec_sext(f, vec_load(f, VEC_i32, 1, index, 4), VEC_i64);
   }
   if (c->first_row)
      row = vec_add_i(f, row, c->first_row);
   return vec_at(f, at, vec_mul_i(f, row, (int64_t)c->row_bytes));
}

static void find_bases(cg_emit *e)
{
   const cg_region *r = e->r;
   vec_value temps[64];

   assert(r->num_temps <= countof(temps));
   for (uint32_t i = 0; i < r->num_temps; i++)
      temps[i] = vec_stack(e->f, r->temp_bytes[i], 64);
   for (uint32_t i = 0; i < r->num_values; i++) {
      const cg_value *c = &r->values[i];
      if (c->home == CG_HOME_memory || c->home == CG_HOME_stack)
         e->base[i] = base_of(e, c, temps);
   }
}

vec_value cg_emit_element(cg_emit *e, const cg_value *c, vec_value i)
{
   vec_fn *f = e->f;

   if (c->outer > 1)
      i = vec_add(f, i, vec_mul_i(f, e->o, c->pitch));
   return vec_at(f, e->base[number(e, c)], vec_mul_i(f, i, dtype_infos[c->dtype].bytes));
}

/* ---- elements ---- */

static vec_value normed(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   vec_fn *f = e->f;
   double offset = ir_attr_f(op, IR_ATTR_offset, 0);
   vec_value factor = memo_of(e, op->results[0])->factor;
   vec_value x = cg_emit_eval(e, op->operands[0], i, lanes);
   vec_value w = cg_emit_eval(e, op->operands[1], i, lanes);

   if (offset != 0)
      w = vec_fadd(f, w, vec_float(f, lanes, offset));
   return vec_fmul(f, vec_fmul(f, x, vec_splat(f, factor, lanes)), w);
}

static vec_value l2normed(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   vec_value factor = memo_of(e, op->results[0])->factor;

   return vec_fmul(e->f, cg_emit_eval(e, op->operands[0], i, lanes),
                   vec_splat(e->f, factor, lanes));
}

/* The factor of a center is the mean. */
static vec_value centered(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   vec_value mean = memo_of(e, op->results[0])->factor;

   return vec_fsub(e->f, cg_emit_eval(e, op->operands[0], i, lanes), vec_splat(e->f, mean, lanes));
}

static vec_value decayed(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   vec_value x = cg_emit_eval(e, op->operands[0], i, lanes);
   vec_value a = cg_emit_eval(e, op->operands[1], i, lanes);

   return vec_decay(e->f, x, a, cg_emit_eval(e, op->operands[2], i, lanes));
}

/* vec_fmax(bound, x) and vec_fmin(bound, x) are x when x is NaN. */
static vec_value clamped(vec_fn *f, const ir_op *op, vec_value x)
{
   const ir_attr *min = ir_attr_get(op, IR_ATTR_min), *max = ir_attr_get(op, IR_ATTR_max);

   if (min)
      x = vec_fmax(f, vec_float(f, vec_width(x), min->f), x);
   return max ? vec_fmin(f, vec_float(f, vec_width(x), max->f), x) : x;
}

/* Numbers have the lanes of x. */
typedef struct formula_code {
   vec_fn *f;
   uint32_t lanes;
} formula_code;

static void *formula_number(void *user, double v)
{
   formula_code *c = user;

   return vec_float(c->f, c->lanes, v);
}

static void *formula_call(void *user, ir_formula_fn fn, void *a, void *b)
{
   vec_fn *f = ((formula_code *)user)->f;
   vec_value x = a, y = b;

   switch (fn) {
#define FORMULA_CODE_1(vec) vec(f, x)
#define FORMULA_CODE_2(vec) vec(f, x, y)
#define FN(name, operands, vec, simt)                                                              \
   case IR_FORMULA_##name:                                                                         \
      return FORMULA_CODE_##operands(vec);
#include "ir/formula.def"
#undef FN
   case IR_FORMULA_COUNT: break;
   }
   return NULL;
}

/* A row with FORMULA, or a cast: the rounding is the result's. */
static vec_value from_formula(vec_fn *f, const ir_op *op, vec_value x)
{
   formula_code c = {f, vec_width(x)};
   const ir_formula make = {&c, formula_number, formula_call};

   return ir_op_infos[op->code].props & IR_FORMULA ? ir_formula_of(op, &make, x) : x;
}

/* What op makes of its operands at element i, before rounding. */
static vec_value compute(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   vec_fn *f = e->f;

   if (op->code == IR_OP_rmsnorm)
      return normed(e, op, i, lanes);
   if (op->code == IR_OP_l2norm)
      return l2normed(e, op, i, lanes);
   if (op->code == IR_OP_center)
      return centered(e, op, i, lanes);
   if (op->code == IR_OP_decay)
      return decayed(e, op, i, lanes);
   vec_value x = cg_emit_eval(e, op->operands[0], i, lanes);
   switch (op->code) {
   case IR_OP_add: return vec_fadd(f, x, cg_emit_eval(e, op->operands[1], i, lanes));
   case IR_OP_mul: return vec_fmul(f, x, cg_emit_eval(e, op->operands[1], i, lanes));
   case IR_OP_scale: return vec_fmul(f, x, vec_float(f, lanes, ir_attr_f(op, IR_ATTR_scale, 1)));
   case IR_OP_silu: return vec_silu(f, x);
   case IR_OP_gelu: return vec_gelu(f, x);
   case IR_OP_gelu_tanh: return vec_gelu_tanh(f, x);
   case IR_OP_sigmoid: return vec_sigmoid(f, x);
   case IR_OP_softcap: return vec_softcap(f, x, ir_attr_f(op, IR_ATTR_cap, 1));
   case IR_OP_softplus: return vec_softplus(f, x);
   case IR_OP_shift: return vec_fadd(f, x, vec_float(f, lanes, ir_attr_f(op, IR_ATTR_offset, 0)));
   case IR_OP_clamp: return clamped(f, op, x);
   default: return from_formula(f, op, x);
   }
}

vec_value cg_emit_eval(cg_emit *e, const ir_value *v, vec_value i, uint32_t lanes)
{
   const cg_value *c = cg_emit_value(e, v);
   cg_memo *m = &e->memo[number(e, c)];

   if (m->i == i && m->lanes == lanes)
      return m->value;
   if (c->home != CG_HOME_inline)
      m->value = vec_load_f32(e->f, c->dtype, lanes, cg_emit_element(e, c, i));
   else
      m->value = vec_round_to(e->f, c->dtype, compute(e, v->def, i, lanes));
   m->i = i;
   m->lanes = lanes;
   return m->value;
}

void cg_emit_forget(cg_emit *e, bool factors)
{
   for (uint32_t i = 0; i < e->r->num_values; i++) {
      e->memo[i].i = NULL;
      if (factors)
         e->memo[i].factor = NULL;
   }
}

/* ---- loops ---- */

static void loop_over(cg_emit *e, vec_value from, vec_value to, uint32_t lanes, const ir_op *op,
                      cg_emit_body *each)
{
   vec_loop l = vec_loop_begin(e->f, from, to, lanes, 0, NULL);

   cg_emit_forget(e, false);
   each(e, op, l.i, lanes);
   vec_loop_end(e->f, &l, NULL);
   cg_emit_forget(e, false);
}

void cg_emit_elements(cg_emit *e, int64_t n, const ir_op *op, cg_emit_body *each)
{
   vec_fn *f = e->f;
   int64_t whole = n / e->lanes * e->lanes;
   vec_value from = vec_i(f, 0), to = vec_i(f, whole), end = vec_i(f, n);

   if (e->r->blocks > 1) {
      from = vec_mul_i(f, e->block, e->r->block);
      end = vec_imin(f, vec_add_i(f, from, e->r->block), end);
      to = vec_imin(f, end, to);
   }
   if (whole)
      loop_over(e, from, to, e->lanes, op, each);
   if (whole < n)
      loop_over(e, vec_imax(f, from, to), end, 1, op, each);
}

/* ---- norms ---- */

typedef struct row {
   cg_emit *e;
   const ir_value *v;
} row;

/* Blocks come and go between two loads: nothing is remembered. */
static vec_value load_row(void *user, vec_value i, uint32_t lanes)
{
   const row *r = user;

   cg_emit_forget(r->e, false);
   return cg_emit_eval(r->e, r->v, i, lanes);
}

void cg_emit_prepare(cg_emit *e, const ir_op *op)
{
   vec_fn *f = e->f;

   for (uint32_t k = cg_is_write(op); k < op->num_operands; k++) {
      const cg_value *c = cg_emit_value(e, op->operands[k]);
      if (c && c->home == CG_HOME_inline)
         cg_emit_prepare(e, c->v->def);
   }
   if (!cg_is_norm(op) || memo_of(e, op->results[0])->factor)
      return;
   int64_t n = cg_emit_value(e, op->results[0])->last;
   row r = {e, op->operands[0]};
   vec_value sum = op->code == IR_OP_center ? norm_sum(f, n, load_row, &r)
                                            : norm_sum_squares(f, n, load_row, &r);
   cg_emit_forget(e, false);
   memo_of(e, op->results[0])->factor =
      op->code == IR_OP_center
         ? vec_fdiv(f, sum, vec_float(f, 1, (double)n))
         : norm_factor(f, sum, op->code == IR_OP_rmsnorm ? n : 1, ir_attr_f(op, IR_ATTR_eps, 0));
}

/* ---- stages ---- */

/* A run: results of one shape that share a loop. All of them are computed before any is stored, as
 * a result may lie where an operand was. */
static void store_run(cg_emit *e, const ir_op *first, vec_value i, uint32_t lanes)
{
   (void)first;
   for (uint32_t k = 0; k < e->run->num_ops; k++) {
      const ir_op *op = e->run->ops[k];
      const cg_value *c = cg_emit_value(e, op->results[0]);
      vec_value v = c->source >= 0 ? vec_load_f32(e->f, c->dtype, lanes,
                                                  cg_emit_element(e, &e->r->values[c->source], i))
                                   : compute(e, op, i, lanes);
      *memo_of(e, op->results[0]) = (cg_memo){.i = i,
                                              .value = vec_round_to(e->f, c->dtype, v),
                                              .lanes = lanes,
                                              .factor = memo_of(e, op->results[0])->factor};
   }
   for (uint32_t k = 0; k < e->run->num_ops; k++) {
      const ir_value *v = e->run->ops[k]->results[0];
      const cg_value *c = cg_emit_value(e, v);
      vec_store_f32(e->f, c->dtype, memo_of(e, v)->value, cg_emit_element(e, c, i));
   }
}

static void store_head(cg_emit *e)
{
   cg_emit_forget(e, true);
   for (uint32_t k = 0; k < e->run->num_ops; k++)
      cg_emit_prepare(e, e->run->ops[k]);
   cg_emit_elements(e, cg_emit_value(e, e->run->ops[0]->results[0])->last, e->run->ops[0],
                    store_run);
}

static void store_heads(cg_emit *e, const cg_stage *stage)
{
   const cg_value *c = cg_emit_value(e, stage->ops[0]->results[0]);

   e->run = stage;
   e->o = vec_i(e->f, 0);
   if (c->outer == 1) {
      store_head(e);
   } else {
      vec_loop l = vec_loop_begin(e->f, e->o, vec_i(e->f, c->outer), 1, 0, NULL);
      e->o = l.i;
      store_head(e);
      vec_loop_end(e->f, &l, NULL);
   }
}

static void emit_stage(cg_emit *e, const cg_stage *stage)
{
   const ir_op *op = stage->ops[0];

   switch (op->code) {
   case IR_OP_rope: cg_emit_rope(e, op); break;
   case IR_OP_concat: cg_emit_concat(e, op); break;
   case IR_OP_kv_write: cg_emit_kv(e, op); break;
   case IR_OP_mla_write: cg_emit_latent(e, op); break;
   case IR_OP_quant: cg_emit_quant(e, op); break;
   default: store_heads(e, stage);
   }
}

void cg_region_emit(const cg_region *r, arena *a, vec_module *m)
{
   vec_fn *f = vec_kernel(m, r->symbol);
   cg_emit e = {.f = f, .r = r, .lanes = vec_lanes(f)};
   cg_stage *stages;
   uint32_t num_stages;

   e.base = arena_array(a, vec_value, r->num_values);
   e.memo = arena_array(a, cg_memo, r->num_values);
   e.row = vec_tile(f);
   if (r->blocks > 1) {
      e.block = vec_rem(f, e.row, vec_i(f, r->blocks));
      e.row = vec_div(f, e.row, vec_i(f, r->blocks));
   }
   for (uint32_t i = 0; i < r->num_refs; i++)
      e.ptr[i] = vec_karg_ptr(f, i);
   find_bases(&e);
   num_stages = cg_region_stages(r, a, &stages);
   for (uint32_t i = 0; i < num_stages; i++)
      emit_stage(&e, &stages[i]);
   vec_end(f);
}
