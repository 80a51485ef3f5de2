/* region.c - what a row kernel computes where: homes, pointers, the key. Emission is emit_llvm.c.
 */
#include "region.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/pack.h"
#include "passes/pass.h"

enum {
   MAX_TEMP = 24 << 10,   /* bytes of one stack temporary */
   MAX_STACK = 56 << 10,  /* of all of them; vec_stack allows 64 KiB */
   MAX_SHARED = 40 << 10, /* the same in a block's memory (base/simt_abi.h), which holds sums too */
   WIDE_ROW = 8192,       /* elements from which a pointwise row is cut into blocks */
   BLOCK = 4096,
};

typedef struct build {
   const cg_lower *l;
   cg_region *r;
   const ir_group *group;
   VEC(const ir_op *) ops;
   VEC(cg_value) values;
   VEC(plan_ref) refs;
   VEC(uint64_t) ref_bytes;
   VEC(bool) written;
   VEC(uint64_t) temps;
   uint64_t stack;
} build;

static uint64_t max_stack(const build *b)
{
   return b->l->simt ? MAX_SHARED : MAX_STACK;
}

static sinter_status refuse(const ir_op *op, const char *why)
{
   const char *rule = op->group ? op->group->rule : "";
   char remedy[96] = "report the model";

   if (*rule)
      snprintf(remedy, sizeof remedy, "compile with --without %.40s", rule);
   return base_fail(SINTER_unsupported, ir_op_infos[op->code].name, remedy, "%s", why);
}

const cg_value *cg_region_value(const cg_region *r, const ir_value *v)
{
   for (uint32_t i = 0; i < r->num_values; i++)
      if (r->values[i].v == v)
         return &r->values[i];
   return NULL;
}

static cg_value *find(build *b, const ir_value *v)
{
   for (size_t i = 0; i < b->values.count; i++)
      if (b->values.data[i].v == v)
         return &b->values.data[i];
   return NULL;
}

/* The pointer number of a reference; the same memory is one pointer. */
static uint32_t pointer(build *b, plan_ref ref, uint64_t row_bytes, bool written)
{
   for (size_t i = 0; i < b->refs.count; i++) {
      if (memcmp(&b->refs.data[i], &ref, sizeof ref) == 0 && b->ref_bytes.data[i] == row_bytes) {
         b->written.data[i] |= written;
         return (uint32_t)i;
      }
   }
   *vec_push(b->l->a, &b->refs) = ref;
   *vec_push(b->l->a, &b->ref_bytes) = row_bytes;
   *vec_push(b->l->a, &b->written) = written;
   return (uint32_t)b->refs.count - 1;
}

/* Heads and elements of a row; false when they are not known now. */
static bool shape(cg_value *c, const ir_type *t)
{
   uint32_t first = c->rowless ? 0 : 1;

   c->dtype = t->dtype;
   c->outer = c->last = 1;
   for (uint32_t i = first; i < t->rank; i++) {
      if (!ir_dim_is_const(t->dim[i]))
         return false;
      if (i + 1 == t->rank)
         c->last = ir_dim_const(t->dim[i]);
      else
         c->outer *= ir_dim_const(t->dim[i]);
   }
   c->pitch = c->last;
   return dtype_infos[t->dtype].kind == DTYPE_FLOAT || dtype_infos[t->dtype].kind == DTYPE_INT;
}

static uint64_t elem_bytes(const cg_value *c)
{
   return dtype_infos[c->dtype].bytes;
}

/* The part of x that op (slice, reshape) takes. NULL, or why it cannot be an address. */
static const char *view(const ir_op *op, const cg_value *x, cg_value *out)
{
   const ir_value *v = op->results[0];
   cg_value c = *x;

   c.v = v;
   c.source = -1;
   if (!shape(&c, &v->type))
      return "a row's length must be a number";
   if (op->code == IR_OP_reshape) {
      if (x->pitch != x->last)
         return "a reshape of a slice moves data";
      if (x->home == CG_HOME_memory && !x->rowless && x->index_ptr < 0 && !x->offset)
         c.row_bytes = (uint64_t)(c.outer * c.last) * elem_bytes(&c);
      else if (c.outer * c.last != x->outer * x->last)
         return "a reshape mixes rows";
   } else {
      int64_t axis = ir_attr_i(op, IR_ATTR_axis, 0), start = ir_attr_i(op, IR_ATTR_start, 0);
      uint32_t rank = v->type.rank;
      c.pitch = x->pitch;
      if (axis == 0 && !x->rowless) {
         if (x->home != CG_HOME_memory)
            return "rows are sliced from memory only";
         c.first_row += start;
      } else if (axis == (int64_t)rank - 1) {
         c.offset += (uint64_t)start * elem_bytes(&c);
      } else if (rank <= 3 && axis == (int64_t)rank - 2) {
         c.offset += (uint64_t)(start * x->pitch) * elem_bytes(&c);
      } else {
         return "slices of outer dimensions are not supported";
      }
   }
   *out = c;
   return NULL;
}

/* A value from outside the group. */
static sinter_status outside(build *b, const ir_op *user, const ir_value *v, bool rowless)
{
   const pass_place *p = &b->l->layout->places[v->id];
   cg_value c = {.v = v, .home = CG_HOME_memory, .index_ptr = -1, .source = -1, .rowless = rowless};

   if (find(b, v))
      return SINTER_ok;
   if (p->kind == PASS_PLACE_alias && v->def->code == IR_OP_slice) {
      SINTER_TRY(outside(b, user, v->def->operands[0], rowless));
      const char *why = view(v->def, find(b, v->def->operands[0]), &c);
      if (why)
         return refuse(v->def, why);
      *vec_push(b->l->a, &b->values) = c;
      return SINTER_ok;
   }
   if (!shape(&c, &v->type))
      return refuse(user, "an operand is neither of plain type nor of known row length");
   c.row_bytes = rowless ? 0 : (uint64_t)(c.outer * c.last) * elem_bytes(&c);
   c.ptr = pointer(b, cg_ref_of(b->l, v), c.row_bytes, false);
   *vec_push(b->l->a, &b->values) = c;
   return SINTER_ok;
}

static bool in_group(const build *b, const ir_op *op)
{
   return op->group == b->group;
}

/* Something in the group reads v in a way that needs it stored. */
static bool wants_storing(const build *b, const ir_value *v, uint64_t bytes)
{
   for (const ir_use *u = v->uses; u; u = u->next) {
      if (!in_group(b, u->user))
         continue;
      if (u->user->code == IR_OP_reshape || u->user->code == IR_OP_slice)
         return true;
      bool twice =
         cg_is_norm(u->user) || (u->user->code == IR_OP_quant && !pass_quant_is_packed(u->user));
      if (twice && u->operand == 0 && bytes <= MAX_TEMP && b->stack + bytes <= max_stack(b))
         return true; /* else it is computed twice */
   }
   return false;
}

static bool is_stored_outside(const build *b, const ir_value *v)
{
   return b->l->layout->places[v->id].kind != PASS_PLACE_kernel;
}

static uint64_t result_stride(const ir_op *op, uint32_t i, const cg_value *c)
{
   if (op->code != IR_OP_quant || !pass_quant_is_packed(op))
      return (uint64_t)(c->outer * c->last) * elem_bytes(c);
   uint64_t cols = (uint64_t)ir_type_row(&op->operands[0]->type);
   return i == 0 ? pack_codes_stride(cols)
                 : pack_scales_stride(cols, (uint64_t)ir_attr_i(op, IR_ATTR_group, 32));
}

static sinter_status temporary(build *b, const ir_op *op, cg_value *c)
{
   uint64_t bytes = base_align((uint64_t)(c->outer * c->last) * elem_bytes(c), 64);

   if (bytes + b->stack > max_stack(b))
      return refuse(op, "a row does not fit the stack of one kernel");
   b->stack += bytes;
   c->home = CG_HOME_stack;
   c->ptr = (uint32_t)b->temps.count;
   *vec_push(b->l->a, &b->temps) = bytes;
   return SINTER_ok;
}

/* A view becomes an address; one that is stored outside becomes a copy from that address. */
static void add_view(build *b, const ir_op *op, cg_value at)
{
   const ir_value *v = op->results[0];

   if (is_stored_outside(b, v)) {
      cg_value copy = at;
      at.v = NULL;
      copy.home = CG_HOME_memory;
      copy.index_ptr = -1;
      copy.source = (int32_t)b->values.count;
      copy.first_row = 0;
      copy.offset = 0;
      copy.pitch = copy.last;
      copy.row_bytes = result_stride(op, 0, &copy);
      copy.ptr = pointer(b, cg_ref_of(b->l, v), copy.row_bytes, true);
      *vec_push(b->l->a, &b->values) = at;
      at = copy;
   }
   *vec_push(b->l->a, &b->values) = at;
}

/* Scales by column: a row has one in each group's part, 4 bytes from the next row's. */
static sinter_status add_columns(build *b, const ir_op *op)
{
   const ir_value *v = op->results[1];
   cg_value c = {.v = v, .index_ptr = -1, .source = -1, .home = CG_HOME_memory, .dtype = DT_f32};

   if (!is_stored_outside(b, v))
      return refuse(op, "its results must leave the kernel");
   c.outer = c.last = c.pitch = 1;
   c.row_bytes = 4;
   c.ptr = pointer(b, cg_ref_of(b->l, v), 4 * (uint64_t)ir_dim_const(v->type.dim[0]), true);
   *vec_push(b->l->a, &b->values) = c;
   return SINTER_ok;
}

static sinter_status add_result(build *b, const ir_op *op, uint32_t i)
{
   const ir_value *v = op->results[i];
   cg_value c = {.v = v, .index_ptr = -1, .source = -1, .home = CG_HOME_inline};

   if (op->code == IR_OP_reshape || op->code == IR_OP_slice) {
      const char *why = view(op, find(b, op->operands[0]), &c);
      if (why)
         return refuse(op, why);
      add_view(b, op, c);
      return SINTER_ok;
   }
   if (i == 1 && cg_is_by_column(op))
      return add_columns(b, op);
   if (!shape(&c, &v->type))
      return refuse(op, "its result has no known row length");
   if (is_stored_outside(b, v)) {
      c.home = CG_HOME_memory;
      c.row_bytes = result_stride(op, i, &c);
      c.ptr = pointer(b, cg_ref_of(b->l, v), c.row_bytes, true);
   } else if (op->code == IR_OP_quant) {
      return refuse(op, "its results must leave the kernel");
   } else if (op->code == IR_OP_rope || op->code == IR_OP_concat ||
              wants_storing(b, v, (uint64_t)(c.outer * c.last) * elem_bytes(&c))) {
      SINTER_TRY(temporary(b, op, &c));
   }
   *vec_push(b->l->a, &b->values) = c;
   return SINTER_ok;
}

/* take_rows: the rows of x, at other row numbers; several of them side by side are one. */
static sinter_status add_taken(build *b, const ir_op *op)
{
   cg_value c = {.v = op->results[0], .home = CG_HOME_memory, .source = -1};

   if (in_group(b, op->operands[0]->def))
      return refuse(op, "rows are taken from memory only");
   if (!shape(&c, &op->operands[0]->type))
      return refuse(op, "the length of a row is not known");
   c.row_bytes = (uint64_t)(c.outer * c.last) * elem_bytes(&c);
   c.pitch = c.last *= ir_attr_i(op, IR_ATTR_size, 1);
   c.ptr = pointer(b, cg_ref_of(b->l, op->operands[0]), c.row_bytes, false);
   c.index_ptr = (int32_t)pointer(b, cg_ref_of(b->l, op->operands[1]), 0, false);
   add_view(b, op, c);
   return SINTER_ok;
}

/* The state's pages and where the rows go. */
static void add_kv(build *b, const ir_op *op)
{
   const pass_place *state = cg_place(b->l, op->operands[0]);
   cg_value c = {.v = op->results[0], .home = CG_HOME_none, .source = -1};

   c.dtype = op->results[0]->type.dtype;
   c.ptr = pointer(b, cg_ref_of(b->l, op->results[0]), 0, true);
   c.index_ptr = (int32_t)pointer(b, cg_ref_meta(IR_META_slots, state->index), 0, false);
   *vec_push(b->l->a, &b->values) = c;
}

static sinter_status check_quant(const ir_op *op)
{
   gemm_rows rows = cg_rows_of(op->operands[0]->type.dim[0]);

   if (op->operands[0]->type.rank != 2)
      return refuse(op, "rows of a matrix are quantised on cpu");
   if (cg_is_by_column(op) && !rows.is_sym && rows.num < 0)
      return refuse(op, "scales by column need rows that are a number or one symbol");
   return SINTER_ok;
}

static bool is_row_op(ir_opcode code)
{
   const uint64_t others = IR_SET(reshape) | IR_SET(slice) | IR_SET(take_rows) | IR_SET(cast) |
                           IR_SET(rmsnorm) | IR_SET(l2norm) | IR_SET(center) | IR_SET(quant) |
                           IR_SET(rope) | IR_SET(concat) | IR_SET(kv_write) | IR_SET(mla_write);

   return (ir_op_infos[code].props & IR_POINTWISE) || (others >> code & 1);
}

static bool is_rowless(const ir_op *op, uint32_t operand)
{
   if (op->code == IR_OP_decay)
      return operand > 0;
   if (operand != 1)
      return false;
   if (op->code == IR_OP_rmsnorm || op->code == IR_OP_quant)
      return true;
   return (op->code == IR_OP_add || op->code == IR_OP_mul) &&
          op->operands[1]->type.rank < op->operands[0]->type.rank;
}

static sinter_status add_op(build *b, const ir_op *op)
{
   if (b->l->simt && !cg_simt_takes(op))
      return refuse(op, "there is no row kernel for this operation on a GPU");
   if (!is_row_op(op->code))
      return refuse(op, "there is no row kernel for this operation on cpu");
   *vec_push(b->l->a, &b->ops) = op;
   if (op->code == IR_OP_take_rows)
      return add_taken(b, op);
   for (uint32_t i = cg_is_write(op); i < op->num_operands; i++) {
      const ir_value *v = op->operands[i];
      if (in_group(b, v->def)) {
         if (is_rowless(op, i))
            return refuse(op, "an operand without rows must come from outside the kernel");
         continue;
      }
      SINTER_TRY(outside(b, op, v, is_rowless(op, i)));
   }
   if (cg_is_write(op)) {
      add_kv(b, op);
      return SINTER_ok;
   }
   if (op->code == IR_OP_quant)
      SINTER_TRY(check_quant(op));
   for (uint32_t i = 0; i < op->num_results; i++)
      SINTER_TRY(add_result(b, op, i));
   return SINTER_ok;
}

/* ---- the key ---- */

static void print_number(text_buf *t, const build *b, const ir_value *v)
{
   for (size_t i = 0; i < b->values.count; i++)
      if (b->values.data[i].v == v)
         text_printf(t, " %%%zu", i);
}

static void print_home(text_buf *t, const cg_value *c)
{
   text_printf(
      t, "%s home %d%s ptr %u index %d source %d row +%lld *%llu +%llu [%lld,%lld] /%lld\n",
      dtype_infos[c->dtype].name, (int)c->home, c->rowless ? " rowless" : "", c->ptr, c->index_ptr,
      c->source, (long long)c->first_row, (unsigned long long)c->row_bytes,
      (unsigned long long)c->offset, (long long)c->outer, (long long)c->last, (long long)c->pitch);
}

static void print_key(text_buf *t, const build *b)
{
   for (size_t i = 0; i < b->ops.count; i++) {
      const ir_op *op = b->ops.data[i];

      text_printf(t, "%s", ir_op_infos[op->code].name);
      for (uint32_t k = 0; k < op->num_attrs; k++) {
         const ir_attr *at = &op->attrs[k];
         switch (ir_attr_infos[at->key].kind) {
         case IR_KIND_FLOAT: text_printf(t, " %s=%a", ir_attr_infos[at->key].name, at->f); break;
         case IR_KIND_STR: text_printf(t, " %s=%s", ir_attr_infos[at->key].name, at->s); break;
         default: text_printf(t, " %s=%lld", ir_attr_infos[at->key].name, (long long)at->i); break;
         }
      }
      for (uint32_t k = 0; k < op->num_operands; k++)
         print_number(t, b, op->operands[k]);
      text_printf(t, " ->");
      for (uint32_t k = 0; k < op->num_results; k++)
         print_number(t, b, op->results[k]);
      if (cg_is_by_column(op)) {
         gemm_rows rows = cg_rows_of(op->operands[0]->type.dim[0]);
         text_printf(t, " of %s%d * %lld rows", rows.is_sym ? "sym " : "", (int)rows.sym,
                     (long long)rows.num);
      }
      text_printf(t, "\n");
   }
   for (size_t i = 0; i < b->values.count; i++)
      print_home(t, &b->values.data[i]);
   text_printf(t, "block %lld of %lld", (long long)b->r->block, (long long)b->r->blocks);
}

/* ---- tiles ---- */

/* Only elementwise work on rows of one length: such rows can be cut. */
static bool can_cut(const build *b, int64_t *out_last)
{
   *out_last = 0;
   for (size_t i = 0; i < b->ops.count; i++) {
      switch (b->ops.data[i]->code) {
      case IR_OP_rmsnorm:
      case IR_OP_l2norm:
      case IR_OP_center:
      case IR_OP_quant:
      case IR_OP_rope:
      case IR_OP_concat:
      case IR_OP_kv_write:
      case IR_OP_mla_write:
      case IR_OP_reshape:
      case IR_OP_slice: return false;
      default: break;
      }
   }
   for (size_t i = 0; i < b->values.count; i++) {
      const cg_value *c = &b->values.data[i];
      if (c->outer != 1 || c->home == CG_HOME_stack || (*out_last && c->last != *out_last))
         return false;
      *out_last = c->last;
   }
   return *out_last >= WIDE_ROW;
}

static void choose_blocks(build *b)
{
   int64_t last;

   b->r->blocks = 1;
   if (can_cut(b, &last)) {
      b->r->block = BLOCK;
      b->r->blocks = (last + BLOCK - 1) / BLOCK;
   }
}

/* The rows of the kernel: dim 0 of the first result with rows. */
static ir_dim rows_of(const build *b)
{
   for (size_t i = 0; i < b->ops.count; i++) {
      const ir_op *op = b->ops.data[i];
      const ir_value *v = cg_is_write(op) ? op->operands[1] : op->results[0];
      if (v->type.rank)
         return v->type.dim[0];
   }
   return ir_dim_of(1);
}

static void finish(build *b)
{
   cg_region *r = b->r;
   text_buf t = {.a = b->l->a};

   choose_blocks(b);
   print_key(&t, b);
   r->key = t.data;
   r->symbol =
      arena_printf(b->l->a, "region_%016llx", (unsigned long long)hash64_bytes(t.data, t.len));
   r->ops = b->ops.data;
   r->num_ops = (uint32_t)b->ops.count;
   r->values = b->values.data;
   r->num_values = (uint32_t)b->values.count;
   r->refs = b->refs.data;
   r->ref_bytes = b->ref_bytes.data;
   r->ref_written = b->written.data;
   r->num_refs = (uint32_t)b->refs.count;
   r->temp_bytes = b->temps.data;
   r->num_temps = (uint32_t)b->temps.count;
   r->rows = rows_of(b);
   for (size_t i = 0; i < b->values.count; i++)
      r->flops += (uint64_t)(b->values.data[i].outer * b->values.data[i].last);
}

sinter_status cg_region_build(const cg_lower *l, const ir_group *g, cg_region **out)
{
   build b = {.l = l, .r = arena_new(l->a, cg_region), .group = g};

   for (const ir_op *op = g->first; op && op->group == g; op = op->next)
      SINTER_TRY(add_op(&b, op));
   if (b.refs.count > KARGS_MAX_PTRS)
      return refuse(g->first, "the kernel would need too many pointers");
   finish(&b);
   *out = b.r;
   return SINTER_ok;
}
