/* emit_simt.c - a region as SIMT text: the same stages as emit_llvm.c, a block of threads a row.
 *
 *    const simt_u8 *b3 = …                         where the row's values lie
 *    { for (o = warp; o < heads; o += warps) {     heads go to warps; one head to the whole block
 *         sums of the norms that are computed inline here, by shuffles
 *         for (i = first; i < n; i += step)        elements go to threads
 *            { load, compute, store } }
 *      simt_sync(); }                              what a stage stores, later ones read
 *
 * Temporaries of a row are in the block's shared memory. */

#include "base/simt_abi.h"
#include "ir/formula.h"
#include "ir/match.h"
#include "kernels/cpu/quant.h"
#include "region.h"
#include "simt.h"

typedef struct memo {
   const char *at, *name; /* variable that holds the value at this index */
   bool has_factor;
} memo;

typedef struct emit {
   arena *a;
   text_buf *t;
   const cg_region *r;
   const cg_stage *run;
   memo *memo; /* by value */
   uint32_t names;
   bool by_warp; /* the current stage gives heads to warps */
} emit;

static uint32_t number(const emit *e, const cg_value *c)
{
   return (uint32_t)(c - e->r->values);
}

static const cg_value *value_of(const emit *e, const ir_value *v)
{
   return cg_region_value(e->r, v);
}

static memo *memo_of(emit *e, const ir_value *v)
{
   return &e->memo[number(e, value_of(e, v))];
}

static void forget(emit *e, bool factors)
{
   for (uint32_t i = 0; i < e->r->num_values; i++) {
      e->memo[i].at = NULL;
      if (factors)
         e->memo[i].has_factor = false;
   }
}

/* ---- types ---- */

static const char *type_of(dtype t)
{
   return cg_simt_type_of(t)->name;
}

static const char *load_of(dtype t)
{
   return cg_simt_type_of(t)->load;
}

static const char *store_of(dtype t)
{
   return cg_simt_type_of(t)->store;
}

/* ---- addresses ---- */

static const char *element(emit *e, const cg_value *c, const char *i)
{
   const char *head = c->outer > 1 ? arena_printf(e->a, "o * %lld + ", (long long)c->pitch) : "";

   return arena_printf(e->a, "((%s *)b%u)[%s%s]", type_of(c->dtype), number(e, c), head, i);
}

static void write_base(emit *e, const cg_value *c)
{
   text_buf *t = e->t;
   uint32_t n = number(e, c);

   if (c->home == CG_HOME_stack) {
      text_printf(t, "   simt_u8 *const b%u = (simt_u8 *)s->t%u + %llu;\n", n, c->ptr,
                  (unsigned long long)c->offset);
      return;
   }
   text_printf(t, "   simt_u8 *const b%u = (simt_u8 *)a->ptr[%u] + %llu", n, c->ptr,
               (unsigned long long)c->offset);
   if (!c->rowless) {
      text_printf(t, " + (");
      if (c->index_ptr >= 0)
         text_printf(t, "((const simt_i32 *)a->ptr[%d])[row]", c->index_ptr);
      else
         text_printf(t, "row");
      text_printf(t, " + %lld) * %llu", (long long)c->first_row, (unsigned long long)c->row_bytes);
   }
   text_printf(t, ";\n");
}

/* ---- elements ---- */

static bool has_types(const ir_op *op)
{
   for (uint32_t i = 0; i < op->num_operands; i++)
      if (!cg_simt_type_of(op->operands[i]->type.dtype))
         return false;
   return cg_simt_type_of(op->results[0]->type.dtype) != NULL;
}

bool cg_simt_takes(const ir_op *op)
{
   const uint64_t others = IR_SET(reshape) | IR_SET(slice) | IR_SET(take_rows) | IR_SET(cast) |
                           IR_SET(rmsnorm) | IR_SET(l2norm) | IR_SET(center) | IR_SET(rope) |
                           IR_SET(concat) | IR_SET(kv_write) | IR_SET(mla_write);

   if (op->code == IR_OP_quant)
      return cg_is_panel_quant(op) && has_types(op);
   return ((ir_op_infos[op->code].props & IR_POINTWISE) || (others >> op->code & 1)) &&
          has_types(op);
}

static const char *eval(emit *e, const ir_value *v, const char *i);

static const char *named(emit *e, const char *expression)
{
   const char *name = arena_printf(e->a, "v%u", e->names++);

   text_printf(e->t, "      const float %s = %s;\n", name, expression);
   return name;
}

static const char *rounded(emit *e, dtype t, const char *x)
{
   return *store_of(t) ? arena_printf(e->a, "%s(%s(%s))", load_of(t), store_of(t), x) : x;
}

static const char *clamped(emit *e, const ir_op *op, const char *x)
{
   const ir_attr *min = ir_attr_get(op, IR_ATTR_min), *max = ir_attr_get(op, IR_ATTR_max);

   if (min)
      x = named(e, arena_printf(e->a, "simt_max(%af, %s)", (float)min->f, x));
   if (max)
      x = named(e, arena_printf(e->a, "simt_min(%af, %s)", (float)max->f, x));
   return x;
}

static void *formula_number(void *user, double v)
{
   emit *e = user;

   return arena_printf(e->a, "%af", (float)v);
}

static void *formula_call(void *user, ir_formula_fn fn, void *a, void *b)
{
   emit *e = user;
   const char *text = NULL, *x = a, *y = b;

   switch (fn) {
#define FN(name, operands, vec, simt)                                                              \
   case IR_FORMULA_##name:                                                                         \
      text = FORMULA_TEXT_##operands(simt);                                                        \
      break;
#define FORMULA_TEXT_1(simt) arena_printf(e->a, simt, x)
#define FORMULA_TEXT_2(simt) arena_printf(e->a, simt, x, y)
#include "ir/formula.def"
#undef FN
   case IR_FORMULA_COUNT: break;
   }
   return (void *)named(e, text);
}

/* A row with FORMULA, or a cast: the rounding is the result's. */
static const char *from_formula(emit *e, const ir_op *op, const char *x)
{
   const ir_formula make = {e, formula_number, formula_call};

   if (!(ir_op_infos[op->code].props & IR_FORMULA))
      return x;
   return ir_formula_of(op, &make, (void *)x);
}

/* What op makes of its operands at element i, before rounding. */
static const char *compute(emit *e, const ir_op *op, const char *i)
{
   const char *x = eval(e, op->operands[0], i), *y = NULL, *z = NULL;
   uint32_t n = memo_of(e, op->results[0]) - e->memo;
   double attr;

   if (op->code == IR_OP_add || op->code == IR_OP_mul || op->code == IR_OP_rmsnorm ||
       op->code == IR_OP_decay)
      y = eval(e, op->operands[1], i);
   switch (op->code) {
   case IR_OP_add: return arena_printf(e->a, "%s + %s", x, y);
   case IR_OP_mul: return arena_printf(e->a, "%s * %s", x, y);
   case IR_OP_scale:
      return arena_printf(e->a, "%s * %af", x, (float)ir_attr_f(op, IR_ATTR_scale, 1));
   case IR_OP_shift:
      return arena_printf(e->a, "%s + %af", x, (float)ir_attr_f(op, IR_ATTR_offset, 0));
   case IR_OP_rmsnorm:
      attr = ir_attr_f(op, IR_ATTR_offset, 0);
      if (attr != 0)
         y = arena_printf(e->a, "(%s + %af)", y, (float)attr);
      return arena_printf(e->a, "%s * f%u * %s", x, n, y);
   case IR_OP_l2norm: return arena_printf(e->a, "%s * f%u", x, n);
   case IR_OP_center: return arena_printf(e->a, "%s - f%u", x, n);
   case IR_OP_decay:
      z = eval(e, op->operands[2], i);
      return arena_printf(e->a, "simt_decay(%s, %s, %s)", x, y, z);
   case IR_OP_softcap:
      return arena_printf(e->a, "simt_softcap(%s, %af)", x, (float)ir_attr_f(op, IR_ATTR_cap, 1));
   case IR_OP_silu:
   case IR_OP_gelu:
   case IR_OP_gelu_tanh:
   case IR_OP_sigmoid:
   case IR_OP_softplus: return arena_printf(e->a, "simt_%s(%s)", ir_op_infos[op->code].name, x);
   case IR_OP_clamp: return clamped(e, op, x);
   default: return from_formula(e, op, x);
   }
}

static const char *eval(emit *e, const ir_value *v, const char *i)
{
   const cg_value *c = value_of(e, v);
   memo *m = &e->memo[number(e, c)];
   const char *x;

   if (m->at && strcmp(m->at, i) == 0)
      return m->name;
   if (c->home != CG_HOME_inline)
      x = arena_printf(e->a, "%s(%s)", load_of(c->dtype), element(e, c, i));
   else
      x = rounded(e, c->dtype, compute(e, v->def, i));
   m->name = named(e, x);
   m->at = i;
   return m->name;
}

/* ---- loops ---- */

/* The loop over 0 .. n; with a block of a wide row, over that block. */
static void open_loop(emit *e, int64_t n)
{
   forget(e, false);
   if (e->r->blocks > 1)
      text_printf(
         e->t,
         "   for (simt_i64 i = block * %lld + simt_thread(); i < simt_least(%lld, (block + 1) * "
         "%lld); i += SIMT_THREADS) {\n",
         (long long)e->r->block, (long long)n, (long long)e->r->block);
   else if (e->by_warp)
      text_printf(e->t, "   for (simt_i64 i = simt_lane(); i < %lld; i += SIMT_WARP) {\n",
                  (long long)n);
   else
      text_printf(e->t, "   for (simt_i64 i = simt_thread(); i < %lld; i += SIMT_THREADS) {\n",
                  (long long)n);
}

static void close_loop(emit *e)
{
   text_printf(e->t, "   }\n");
   forget(e, false);
}

static void open_heads(emit *e, int64_t heads)
{
   e->by_warp = heads > 1;
   forget(e, true);
   if (e->by_warp)
      text_printf(e->t, "   for (simt_i64 o = simt_warp(); o < %lld; o += SIMT_WARPS) {\n",
                  (long long)heads);
   else
      text_printf(e->t, "   {\n");
}

/* Threads see what the stage has stored. */
static void close_heads(emit *e)
{
   text_printf(e->t, "   }\n   simt_sync();\n");
   forget(e, true);
}

/* ---- norms ---- */

/* The factors of the norms that op needs inline for the current head. */
static void prepare(emit *e, const ir_op *op)
{
   for (uint32_t k = cg_is_write(op); k < op->num_operands; k++) {
      const cg_value *c = value_of(e, op->operands[k]);
      if (c && c->home == CG_HOME_inline)
         prepare(e, c->v->def);
   }
   if (!cg_is_norm(op) || memo_of(e, op->results[0])->has_factor)
      return;
   uint32_t f = memo_of(e, op->results[0]) - e->memo;
   int64_t n = value_of(e, op->results[0])->last;
   double eps = ir_attr_f(op, IR_ATTR_eps, 0);
   text_printf(e->t, "   float q%u = 0;\n", f);
   open_loop(e, n);
   const char *x = eval(e, op->operands[0], "i");
   if (op->code == IR_OP_center)
      text_printf(e->t, "      q%u = q%u + %s;\n", f, f, x);
   else
      text_printf(e->t, "      q%u = simt_fma(%s, %s, q%u);\n", f, x, x, f);
   close_loop(e);
   text_printf(e->t,
               e->by_warp ? "   q%u = simt_warp_sum(q%u);\n"
                          : "   q%u = simt_block_sum(q%u, s->each);\n",
               f, f);
   if (op->code != IR_OP_l2norm)
      text_printf(e->t, "   q%u = q%u / %af;\n", f, f, (double)n);
   if (op->code == IR_OP_center)
      text_printf(e->t, "   const float f%u = q%u;\n", f, f);
   else
      text_printf(e->t, "   const float f%u = 1.0f / simt_sqrt(q%u + %af);\n", f, f, (float)eps);
   memo_of(e, op->results[0])->has_factor = true;
}

/* ---- stages ---- */

static void store(emit *e, const cg_value *c, const char *i, const char *v)
{
   text_printf(e->t, "      %s = %s(%s);\n", element(e, c, i), store_of(c->dtype), v);
}

/* All results are computed before any is stored, as one may lie where an operand was. */
static void store_run(emit *e)
{
   const char *names[8];

   for (uint32_t k = 0; k < e->run->num_ops; k++) {
      const ir_op *op = e->run->ops[k];
      const cg_value *c = value_of(e, op->results[0]);
      memo *m = memo_of(e, op->results[0]);
      const char *x;

      if (c->source >= 0) {
         const cg_value *from = &e->r->values[c->source];
         x = arena_printf(e->a, "%s(%s)", load_of(from->dtype), element(e, from, "i"));
      } else {
         x = compute(e, op, "i");
      }
      names[k] = named(e, rounded(e, c->dtype, x));
      m->at = "i";
      m->name = names[k];
   }
   for (uint32_t k = 0; k < e->run->num_ops; k++)
      store(e, value_of(e, e->run->ops[k]->results[0]), "i", names[k]);
}

static void emit_run(emit *e)
{
   const cg_value *c = value_of(e, e->run->ops[0]->results[0]);

   open_heads(e, c->outer);
   for (uint32_t k = 0; k < e->run->num_ops; k++)
      prepare(e, e->run->ops[k]);
   open_loop(e, c->last);
   store_run(e);
   close_loop(e);
   close_heads(e);
}

/* Pairs: y0 = a cos - b sin, y1 = b cos + a sin. */
static void emit_rope(emit *e, const ir_op *op)
{
   const cg_value *c = value_of(e, op->results[0]);
   int64_t n = ir_type_row(&op->operands[1]->type), half = n / 2;
   long long start = (long long)ir_attr_i(op, IR_ATTR_start, 0);
   bool pairs = strcmp(ir_attr_s(op, IR_ATTR_style, "half"), "pair") == 0;
   bool back = ir_attr_i(op, IR_ATTR_inverse, 0) != 0;
   const char *step = pairs ? "2 * i" : "i";
   const char *first = arena_printf(e->a, "%s + %lld", step, start);
   const char *second = arena_printf(e->a, "%s + %lld", step, start + (pairs ? 1 : half));
   const char *sine = arena_printf(e->a, "i + %lld", (long long)half);
   const char *rest = arena_printf(e->a, "i + %lld", start + (long long)n);

   open_heads(e, c->outer);
   prepare(e, op);
   open_loop(e, half);
   const char *x0 = eval(e, op->operands[0], first), *x1 = eval(e, op->operands[0], second);
   /* cos and sin have no heads: the operand's own index */
   const char *cs = eval(e, op->operands[1], "i"), *sn = eval(e, op->operands[1], sine);
   const char *minus = back ? "+" : "-", *plus = back ? "-" : "+";
   const char *y0 = named(e, arena_printf(e->a, "%s * %s %s %s * %s", x0, cs, minus, x1, sn));
   const char *y1 = named(e, arena_printf(e->a, "%s * %s %s %s * %s", x1, cs, plus, x0, sn));
   store(e, c, first, y0);
   store(e, c, second, y1);
   close_loop(e);
   if (start) {
      open_loop(e, start);
      store(e, c, "i", eval(e, op->operands[0], "i"));
      close_loop(e);
   }
   if (start + n < c->last) {
      open_loop(e, c->last - n - start);
      store(e, c, rest, eval(e, op->operands[0], rest));
      close_loop(e);
   }
   close_heads(e);
}

static void emit_concat(emit *e, const ir_op *op)
{
   const cg_value *c = value_of(e, op->results[0]);
   int64_t first = ir_type_row(&op->operands[0]->type);

   open_heads(e, c->outer);
   prepare(e, op);
   open_loop(e, first);
   store(e, c, "i", eval(e, op->operands[0], "i"));
   close_loop(e);
   open_loop(e, ir_type_row(&op->operands[1]->type));
   store(e, c, arena_printf(e->a, "i + %lld", (long long)first), eval(e, op->operands[1], "i"));
   close_loop(e);
   close_heads(e);
}

/* Stores operand `k` of a write at an index into where the row's head lies in its page. */
static void write_part(emit *e, const ir_op *op, uint32_t k, int64_t n, const char *index)
{
   dtype t = op->results[0]->type.dtype;

   open_loop(e, n);
   const char *v = eval(e, op->operands[k], "i");
   text_printf(e->t, "      ((%s *)at)[%s] = %s(%s);\n", type_of(t), index, store_of(t), v);
   close_loop(e);
}

static void open_slot(emit *e, const cg_value *state)
{
   text_printf(e->t, "   const simt_i64 slot = ((const simt_i32 *)a->ptr[%d])[row];\n",
               state->index_ptr);
   text_printf(e->t, "   if (slot >= 0) {\n");
}

/* k goes across the page, an element every PAGE_TOKENS; v behind it, a row a position. */
static void emit_kv(emit *e, const ir_op *op)
{
   const cg_value *state = value_of(e, op->results[0]), *k = value_of(e, op->operands[1]);
   int64_t d = k->last, page = 2 * d * PAGE_TOKENS;

   text_printf(e->t, "   {\n");
   open_slot(e, state);
   open_heads(e, k->outer);
   text_printf(e->t,
               "   %s *const at = (%s *)a->ptr[%u] + (slot / PAGE_TOKENS * %lld + %s) * %lld;\n",
               type_of(state->dtype), type_of(state->dtype), state->ptr, (long long)k->outer,
               e->by_warp ? "o" : "0", (long long)page);
   prepare(e, op);
   write_part(e, op, 1, d, "i * PAGE_TOKENS + slot % PAGE_TOKENS");
   write_part(e, op, 2, d,
              arena_printf(e->a, "%lld + slot %% PAGE_TOKENS * %lld + i",
                           (long long)(d * PAGE_TOKENS), (long long)d));
   close_heads(e);
   text_printf(e->t, "   }\n   }\n");
}

/* Rows of a latent state, and of entries, follow each other by slot: one part behind the other. */
static void emit_latent(emit *e, const ir_op *op)
{
   const cg_value *state = value_of(e, op->results[0]);
   int64_t at = 0;

   text_printf(e->t, "   {\n");
   open_slot(e, state);
   open_heads(e, 1);
   text_printf(e->t, "   %s *const at = (%s *)a->ptr[%u] + slot * %lld;\n", type_of(state->dtype),
               type_of(state->dtype), state->ptr, (long long)ir_type_row(&op->results[0]->type));
   prepare(e, op);
   for (uint32_t k = 1; k < op->num_operands; k++) {
      int64_t n = ir_type_row(&op->operands[k]->type);
      write_part(e, op, k, n, arena_printf(e->a, "i + %lld", (long long)at));
      at += n;
   }
   close_heads(e);
   text_printf(e->t, "   }\n   }\n");
}

/* Groups go to 32 threads each; those that are left over compute the last one again, so that all
 * threads meet. */
static void emit_quant(emit *e, const ir_op *op)
{
   const ir_value *x = op->operands[0];
   int64_t n = ir_type_row(&x->type), groups = n / QUANT_GROUP;

   open_heads(e, 1);
   prepare(e, op);
   text_printf(e->t,
               "   for (simt_i64 g = simt_thread() / %d; g < %lld; g += SIMT_THREADS / %d) {\n"
               "      const simt_i64 i = simt_least(g, %lld) * %d + simt_thread() %% %d;\n",
               QUANT_GROUP, (long long)base_align((uint64_t)groups, SIMT_THREADS / QUANT_GROUP),
               QUANT_GROUP, (long long)groups - 1, QUANT_GROUP, QUANT_GROUP);
   const char *v = eval(e, x, "i");
   text_printf(e->t, "      simt_quant(%s, g, %lld, b%u, b%u, g < %lld);\n", v, (long long)groups,
               number(e, value_of(e, op->results[0])), number(e, value_of(e, op->results[1])),
               (long long)groups);
   close_loop(e);
   close_heads(e);
}

static void emit_stage(emit *e, const cg_stage *stage)
{
   const ir_op *op = stage->ops[0];

   e->run = stage;
   switch (op->code) {
   case IR_OP_rope: emit_rope(e, op); break;
   case IR_OP_concat: emit_concat(e, op); break;
   case IR_OP_quant: emit_quant(e, op); break;
   case IR_OP_kv_write: emit_kv(e, op); break;
   case IR_OP_mla_write: emit_latent(e, op); break;
   default: emit_run(e); break;
   }
}

/* ---- the kernel ---- */

static void write_shared(emit *e, const char *symbol)
{
   const cg_region *r = e->r;

   text_printf(e->t, "typedef struct %s_shared {\n   float each[SIMT_WARPS];\n", symbol);
   for (uint32_t i = 0; i < r->num_temps; i++)
      text_printf(e->t, "   simt_u64 t%u[%llu];\n", i, (unsigned long long)(r->temp_bytes[i] / 8));
   text_printf(e->t, "} %s_shared;\n", symbol);
}

static void emit_region(arena *a, text_buf *out, const char *symbol, const void *what)
{
   const cg_region *r = what;
   emit e = {.a = a, .t = out, .r = r, .memo = arena_array(a, memo, r->num_values + 1)};
   cg_stage *stages;
   uint32_t num_stages = cg_region_stages(r, a, &stages);

   for (uint32_t i = 0; i < r->num_ops; i++)
      if (r->ops[i]->code == IR_OP_quant)
         cg_simt_include(out, "quant.cuh");
   write_shared(&e, symbol);
   text_printf(out, "SIMT_KERNEL(%s)\n{\n   SIMT_BEGIN(a);\n   SIMT_SHARED(%s_shared, s);\n",
               symbol, symbol);
   text_printf(out, "   const simt_i64 row = simt_tile() / %lld;\n", (long long)r->blocks);
   if (r->blocks > 1)
      text_printf(out, "   const simt_i64 block = simt_tile() %% %lld;\n", (long long)r->blocks);
   text_printf(out, "   (void)s;\n   (void)row;\n");
   for (uint32_t i = 0; i < r->num_values; i++)
      if (r->values[i].home == CG_HOME_memory || r->values[i].home == CG_HOME_stack)
         write_base(&e, &r->values[i]);
   for (uint32_t i = 0; i < num_stages; i++)
      emit_stage(&e, &stages[i]);
   text_printf(out, "}\n");
}

const cg_simt_kind cg_simt_region = {emit_region, NULL};
