/* emit_quant.c - quantisation in row kernels.
 *
 *    packed   groups of 32 in registers, as base/pack.h lays them out (kernels/cpu/quant.h)
 *    dense    any group, type of codes, kind and place of scales: one pass over a group for its
 *             largest, one for its codes */
#include "emit.h"

#include <math.h>

#include "kernels/cpu/quant.h"
#include "passes/pass.h"

static vec_value base_of(cg_emit *e, const ir_value *v)
{
   return e->base[cg_emit_value(e, v) - e->r->values];
}

/* ---- packed ---- */

static void emit_packed(cg_emit *e, const ir_op *op)
{
   vec_fn *f = e->f;
   const ir_value *x = op->operands[0];
   int64_t groups = ir_type_row(&x->type) / QUANT_GROUP;
   vec_value codes = base_of(e, op->results[0]), scales = base_of(e, op->results[1]);
   vec_value v[QUANT_GROUP];
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, groups), 1, 0, NULL);

   cg_emit_forget(e, false);
   vec_value first = vec_mul_i(f, l.i, QUANT_GROUP);
   for (uint32_t k = 0; k < QUANT_GROUP / e->lanes; k++)
      v[k] = cg_emit_eval(e, x, vec_add_i(f, first, k * e->lanes), e->lanes);
   quant_place to = quant_place_of(f, codes, scales, vec_i(f, groups), l.i);
   quant_emit_group(f, v, &to);
   vec_loop_end(f, &l, NULL);
}

/* ---- dense ---- */

typedef struct dense {
   cg_emit *e;
   const ir_op *op;
   const ir_value *x;
   dtype code;
   double max, floor;
   bool powers;                           /* scales are powers of two */
   vec_value codes, scales, step;         /* of the row; bytes between scales */
   vec_value first, divisor, is_positive; /* of the group */
} dense;

typedef vec_value dense_body(dense *d, vec_value i, uint32_t lanes, vec_value so_far);

/* Calls each for vectors, then single elements, of the group's n; values go from one to the
 * next. */
static vec_value over_group(dense *d, int64_t n, uint32_t lanes, int64_t from, vec_value start,
                            dense_body *each)
{
   vec_fn *f = d->e->f;
   vec_loop l = vec_loop_begin(f, vec_i(f, from), vec_i(f, n), lanes, 1, &start);

   cg_emit_forget(d->e, false);
   vec_value next = each(d, vec_add(f, d->first, l.i), lanes, l.var[0]);
   vec_loop_end(f, &l, &next);
   cg_emit_forget(d->e, false);
   return l.var[0];
}

static vec_value largest(dense *d, vec_value i, uint32_t lanes, vec_value so_far)
{
   return vec_size_max(d->e->f, so_far, vec_fabs(d->e->f, cg_emit_eval(d->e, d->x, i, lanes)));
}

static vec_value encode(dense *d, vec_value i, uint32_t lanes, vec_value so_far)
{
   vec_fn *f = d->e->f;
   vec_value x = cg_emit_eval(d->e, d->x, i, lanes);
   vec_value q = vec_fdiv(f, x, vec_splat(f, d->divisor, lanes));
   vec_value to = vec_at(f, d->codes, i);

   q = vec_fmax(f, vec_fmin(f, q, vec_float(f, lanes, d->max)), vec_float(f, lanes, -d->max));
   q = vec_select(f, d->is_positive, q, vec_float(f, lanes, 0));
   if (d->code == DT_i8)
      vec_store(f, vec_trunc(f, vec_ftoi(f, vec_round(f, q)), VEC_i8), to, 1);
   else
      vec_store_f32(f, d->code, q, to);
   return so_far;
}

/* The power of two not below s, at least 2^-126; 0 and NaN stay. */
static vec_value power_above(vec_fn *f, vec_value s)
{
   vec_value bits = vec_add_i(f, vec_bits(f, s, VEC_i32, 1), 0x7fffff);
   vec_value power = vec_bits(f, vec_and_i(f, bits, -0x800000), VEC_f32, 1);

   return vec_select(f, vec_fcmp(f, VEC_eq, s, s), power, s);
}

static vec_value find_scale(dense *d, int64_t n)
{
   vec_fn *f = d->e->f;
   uint32_t lanes = d->e->lanes;
   int64_t whole = n / lanes * lanes;
   vec_value most = vec_float(f, 1, 0);

   if (whole)
      most = vec_size_max_all(f, over_group(d, whole, lanes, 0, vec_float(f, lanes, 0), largest));
   if (whole < n)
      most = over_group(d, n, 1, whole, most, largest);
   if (d->op->num_operands > 1) /* that one, or the NaN of the group */
      return vec_select(f, vec_fcmp(f, VEC_eq, most, most),
                        cg_emit_eval(d->e, d->op->operands[1], vec_i(f, 0), 1), most);
   vec_value s = vec_fdiv(f, most, vec_float(f, 1, d->max));
   if (d->floor > 0)
      s = vec_fmax(f, vec_float(f, 1, d->floor), s); /* NaN stays */
   return d->powers ? power_above(f, s) : s;
}

/* Group `number`, of n elements. */
static void emit_group(dense *d, vec_value number, int64_t group, int64_t n)
{
   vec_fn *f = d->e->f;
   uint32_t lanes = d->e->lanes;
   int64_t whole = n / lanes * lanes;
   vec_value none = vec_i(f, 0);

   d->first = vec_mul_i(f, number, group);
   vec_value s = find_scale(d, n);
   vec_store(f, s, vec_at(f, d->scales, vec_mul(f, number, d->step)), 4);
   d->is_positive = vec_fcmp(f, VEC_gt, s, vec_float(f, 1, 0));
   d->divisor = vec_select(f, d->is_positive, s, vec_float(f, 1, 1));
   if (whole)
      (void)over_group(d, whole, lanes, 0, none, encode);
   if (whole < n)
      (void)over_group(d, n, 1, whole, none, encode);
}

/* Bytes from a group's scale to the next one's: in a row, or over all rows of the step. */
static vec_value scale_step(cg_emit *e, const ir_op *op)
{
   gemm_rows rows = cg_rows_of(op->operands[0]->type.dim[0]);

   if (!cg_is_by_column(op))
      return vec_i(e->f, 4);
   if (!rows.is_sym)
      return vec_i(e->f, 4 * rows.num);
   return vec_mul_i(e->f, vec_sym(e->f, rows.sym), 4 * MAX(rows.num, 1));
}

static void emit_dense(cg_emit *e, const ir_op *op)
{
   vec_fn *f = e->f;
   dense d = {.e = e,
              .op = op,
              .x = op->operands[0],
              .code = op->results[0]->type.dtype,
              .max = dtype_code_max(op->results[0]->type.dtype),
              .floor = (float)ir_attr_f(op, IR_ATTR_floor, 0),
              .powers = strcmp(ir_attr_s(op, IR_ATTR_scale_fn, "absmax"), "ue8m0") == 0,
              .codes = base_of(e, op->results[0]),
              .scales = base_of(e, op->results[1]),
              .step = scale_step(e, op)};
   int64_t row = ir_type_row(&d.x->type), group = ir_attr_i(op, IR_ATTR_group, row);
   int64_t whole = row / group, rest = row % group;
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, whole), 1, 0, NULL);

   emit_group(&d, l.i, group, group);
   vec_loop_end(f, &l, NULL);
   if (rest)
      emit_group(&d, vec_i(f, whole), group, rest);
}

void cg_emit_quant(cg_emit *e, const ir_op *op)
{
   e->o = vec_i(e->f, 0);
   cg_emit_forget(e, true);
   cg_emit_prepare(e, op);
   (pass_quant_is_packed(op) ? emit_packed : emit_dense)(e, op);
   cg_emit_forget(e, false);
}
