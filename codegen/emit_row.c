/* emit_row.c - stages of row kernels with a form of their own: rotation, writes of states. */
#include "emit.h"

/* ---- rope ---- */

/* a, b: 2n consecutive elements -> evens, odds. Single elements are already apart. */
static void deinterleave(vec_fn *f, vec_value *a, vec_value *b)
{
   uint32_t n = vec_width(*a);
   int even[32], odd[32];

   if (n == 1)
      return;
   for (uint32_t i = 0; i < n; i++) {
      even[i] = (int)(2 * i);
      odd[i] = (int)(2 * i + 1);
   }
   vec_value evens = vec_shuffle(f, *a, *b, n, even);
   *b = vec_shuffle(f, *a, *b, n, odd);
   *a = evens;
}

static void interleave(vec_fn *f, vec_value *a, vec_value *b)
{
   uint32_t n = vec_width(*a);
   int low[32], high[32];

   if (n == 1)
      return;
   for (uint32_t i = 0; i < n; i++) {
      low[i] = (int)(i / 2 + i % 2 * n);
      high[i] = (int)(n / 2 + i / 2 + i % 2 * n);
   }
   vec_value lows = vec_shuffle(f, *a, *b, n, low);
   *b = vec_shuffle(f, *a, *b, n, high);
   *a = lows;
}

/* Pairs i .. i + lanes: y0 = a cos - b sin, y1 = b cos + a sin. */
static void rotate(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   vec_fn *f = e->f;
   const ir_value *x = op->operands[0], *cs = op->operands[1];
   const cg_value *out = cg_emit_value(e, op->results[0]);
   int64_t half = ir_type_row(&cs->type) / 2;
   bool pairs = strcmp(ir_attr_s(op, IR_ATTR_style, "half"), "pair") == 0;
   int64_t start = ir_attr_i(op, IR_ATTR_start, 0);
   vec_value first = pairs ? vec_mul_i(f, i, 2) : i;
   if (start)
      first = vec_add_i(f, first, start);
   vec_value second = vec_add_i(f, first, pairs ? lanes : half);
   vec_value a = cg_emit_eval(e, x, first, lanes), b = cg_emit_eval(e, x, second, lanes);
   vec_value c = cg_emit_eval(e, cs, i, lanes);
   vec_value s = cg_emit_eval(e, cs, vec_add_i(f, i, half), lanes);

   if (ir_attr_i(op, IR_ATTR_inverse, 0))
      s = vec_fneg(f, s);
   if (pairs)
      deinterleave(f, &a, &b);
   vec_value y0 = vec_fsub(f, vec_fmul(f, a, c), vec_fmul(f, b, s));
   vec_value y1 = vec_fadd(f, vec_fmul(f, b, c), vec_fmul(f, a, s));
   if (pairs)
      interleave(f, &y0, &y1);
   vec_store_f32(f, out->dtype, y0, cg_emit_element(e, out, first));
   vec_store_f32(f, out->dtype, y1, cg_emit_element(e, out, second));
}

static void copy_front(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   const cg_value *out = cg_emit_value(e, op->results[0]);

   vec_store_f32(e->f, out->dtype, cg_emit_eval(e, op->operands[0], i, lanes),
                 cg_emit_element(e, out, i));
}

static void copy_rest(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   int64_t behind = ir_attr_i(op, IR_ATTR_start, 0) + ir_type_row(&op->operands[1]->type);
   vec_value at = vec_add_i(e->f, i, behind);
   const cg_value *out = cg_emit_value(e, op->results[0]);
   vec_value v = cg_emit_eval(e, op->operands[0], at, lanes);

   vec_store_f32(e->f, out->dtype, v, cg_emit_element(e, out, at));
}

void cg_emit_rope(cg_emit *e, const ir_op *op)
{
   const cg_value *c = cg_emit_value(e, op->results[0]);
   int64_t n = ir_type_row(&op->operands[1]->type), start = ir_attr_i(op, IR_ATTR_start, 0);
   vec_loop l = vec_loop_begin(e->f, vec_i(e->f, 0), vec_i(e->f, c->outer), 1, 0, NULL);

   e->o = l.i;
   cg_emit_forget(e, true);
   cg_emit_prepare(e, op);
   if (start)
      cg_emit_elements(e, start, op, copy_front);
   cg_emit_elements(e, n / 2, op, rotate);
   if (start + n < c->last)
      cg_emit_elements(e, c->last - n - start, op, copy_rest);
   vec_loop_end(e->f, &l, NULL);
}

/* ---- concat ---- */

static void store_part(cg_emit *e, const ir_op *op, uint32_t operand, vec_value i, uint32_t lanes)
{
   const cg_value *out = cg_emit_value(e, op->results[0]);
   int64_t first = operand ? ir_type_row(&op->operands[0]->type) : 0;
   vec_value v = cg_emit_eval(e, op->operands[operand], i, lanes);

   vec_store_f32(e->f, out->dtype, v, cg_emit_element(e, out, vec_add_i(e->f, i, first)));
}

static void store_left(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   store_part(e, op, 0, i, lanes);
}

static void store_right(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   store_part(e, op, 1, i, lanes);
}

void cg_emit_concat(cg_emit *e, const ir_op *op)
{
   int64_t heads = cg_emit_value(e, op->results[0])->outer;
   vec_loop l = vec_loop_begin(e->f, vec_i(e->f, 0), vec_i(e->f, heads), 1, 0, NULL);

   e->o = l.i;
   cg_emit_forget(e, true);
   cg_emit_prepare(e, op);
   cg_emit_elements(e, ir_type_row(&op->operands[0]->type), op, store_left);
   cg_emit_elements(e, ir_type_row(&op->operands[1]->type), op, store_right);
   vec_loop_end(e->f, &l, NULL);
   cg_emit_forget(e, true);
}

/* ---- kv_write ---- */

/* k goes across the page, an element every PAGE_TOKENS. */
static void write_k(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   dtype t = op->results[0]->type.dtype;
   uint32_t step = PAGE_TOKENS * dtype_infos[t].bytes;
   vec_value v = cg_emit_eval(e, op->operands[1], i, lanes);
   vec_value at = vec_at(e->f, e->at, vec_mul_i(e->f, i, step));

   for (uint32_t k = 0; k < lanes; k++) {
      vec_value one = lanes > 1 ? vec_extract(e->f, v, k) : v;
      vec_store_f32(e->f, t, one, vec_at_i(e->f, at, (int64_t)k * step));
   }
}

static void write_v(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   dtype t = op->results[0]->type.dtype;
   vec_value at = vec_at(e->f, e->at, vec_mul_i(e->f, i, dtype_infos[t].bytes));

   vec_store_f32(e->f, t, cg_emit_eval(e, op->operands[2], i, lanes), at);
}

static void write_head(cg_emit *e, const ir_op *op, vec_value slot)
{
   vec_fn *f = e->f;
   const cg_value *state = cg_emit_value(e, op->results[0]);
   const cg_value *k = cg_emit_value(e, op->operands[1]);
   int64_t bytes = dtype_infos[state->dtype].bytes, d = k->last, half = d * PAGE_TOKENS * bytes;
   vec_value page = vec_lshr_i(f, slot, __builtin_ctz(PAGE_TOKENS));
   vec_value in_page = vec_and_i(f, slot, PAGE_TOKENS - 1);
   vec_value head = vec_at(f, e->ptr[state->ptr], vec_mul_i(f, page, 2 * k->outer * half));

   head = vec_at(f, head, vec_mul_i(f, e->o, 2 * half));
   cg_emit_forget(e, true);
   cg_emit_prepare(e, op);
   e->at = vec_at(f, head, vec_mul_i(f, in_page, bytes));
   cg_emit_elements(e, d, op, write_k);
   e->at = vec_at(f, vec_at_i(f, head, half), vec_mul_i(f, in_page, d * bytes));
   cg_emit_elements(e, d, op, write_v);
}

/* Where the row goes; -1 nowhere. */
static vec_value slot_of(cg_emit *e, const cg_value *state)
{
   vec_value at = vec_at(e->f, e->ptr[state->index_ptr], vec_mul_i(e->f, e->row, 4));

   return vec_sext(e->f, vec_load(e->f, VEC_i32, 1, at, 4), VEC_i64);
}

void cg_emit_kv(cg_emit *e, const ir_op *op)
{
   vec_fn *f = e->f;
   const cg_value *state = cg_emit_value(e, op->results[0]);
   int64_t heads = cg_emit_value(e, op->operands[1])->outer;
   vec_value slot = slot_of(e, state);
   vec_if known = vec_if_begin(f, vec_icmp(f, VEC_ge, slot, vec_i(f, 0)));
   vec_loop l = vec_loop_begin(f, vec_i(f, 0), vec_i(f, heads), 1, 0, NULL);

   e->o = l.i;
   write_head(e, op, slot);
   vec_loop_end(f, &l, NULL);
   vec_if_end(f, &known);
}

/* ---- mla_write ---- */

static void write_part(cg_emit *e, const ir_op *op, vec_value i, uint32_t lanes)
{
   dtype t = op->results[0]->type.dtype;
   vec_value at = vec_at(e->f, e->at, vec_mul_i(e->f, i, dtype_infos[t].bytes));

   vec_store_f32(e->f, t, cg_emit_eval(e, op->operands[e->part], i, lanes), at);
}

/* Rows of a latent state, and of entries, follow each other by slot: one part behind the other. */
void cg_emit_latent(cg_emit *e, const ir_op *op)
{
   vec_fn *f = e->f;
   const cg_value *state = cg_emit_value(e, op->results[0]);
   int64_t bytes = dtype_infos[state->dtype].bytes;
   vec_value slot = slot_of(e, state);
   vec_if known = vec_if_begin(f, vec_icmp(f, VEC_ge, slot, vec_i(f, 0)));

   e->o = vec_i(f, 0);
   cg_emit_forget(e, true);
   cg_emit_prepare(e, op);
   e->at =
      vec_at(f, e->ptr[state->ptr], vec_mul_i(f, slot, ir_type_row(&op->results[0]->type) * bytes));
   for (e->part = 1; e->part < op->num_operands; e->part++) {
      int64_t n = ir_type_row(&op->operands[e->part]->type);
      cg_emit_elements(e, n, op, write_part);
      e->at = vec_at_i(f, e->at, n * bytes);
   }
   vec_if_end(f, &known);
   cg_emit_forget(e, true);
}
