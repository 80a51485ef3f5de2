/* ir.c - the tables, functions, ops and their place in the program order. */
#include "internal.h"

/* Order numbers start this far apart, so that an insertion seldom renumbers. */
#define ORDER_GAP (UINT64_C(1) << 32)

enum { N = -1 }; /* operands: a list */
enum {
#define PROP(name, breaks, what) name = IR_##name,
#include "props.def"
#undef PROP
};

/* Fields stand above the properties. ROW_FIELDS: what finds the positions of a row; RUN_FIELDS: the
 * state of a run. */
#define READS(field) (UINT64_C(1) << (32 + IR_META_##field))
#define ROW_FIELDS (READS(block_table) | READS(positions) | READS(seq_of))
#define RUN_FIELDS                                                                                 \
   (READS(runs) | READS(snap_rows) | READS(state_from) | READS(state_to) | READS(state_snap))
#define NONE | 0
#define SPECIAL | 0
#define REQ(x) | (attr_sets)1 << IR_ATTR_##x
#define OPT(x) | (attr_sets)1 << (64 + IR_ATTR_##x)
__extension__ typedef unsigned __int128 attr_sets; /* required, then optional ones */
const ir_op_info ir_op_infos[IR_OP_COUNT] = {
#define OP(name, operands, results, attributes, shape, properties, meaning)                        \
   [IR_OP_##name] = {#name,                                                                        \
                     operands,                                                                     \
                     results,                                                                      \
                     (uint64_t)((attr_sets)0 attributes),                                          \
                     (uint64_t)(((attr_sets)0 attributes) >> 64),                                  \
                     (uint32_t)(UINT64_C(0) | properties),                                         \
                     (uint32_t)((UINT64_C(0) | properties) >> 32),                                 \
                     meaning},
#include "ops.def"
#undef OP
};
#undef READS
#undef ROW_FIELDS
#undef RUN_FIELDS
#undef NONE
#undef SPECIAL
#undef REQ
#undef OPT

_Static_assert(IR_ATTR_COUNT <= 64, "attribute sets are 64 bits");
_Static_assert(IR_OP_COUNT <= 64, "op sets are 64 bits");

const ir_attr_info ir_attr_infos[IR_ATTR_COUNT] = {
#define ATTR(name, kind, what) [IR_ATTR_##name] = {#name, IR_KIND_##kind},
#include "attrs.def"
#undef ATTR
};

const ir_state_info ir_state_infos[IR_STATE_COUNT] = {
#define STATE(name, paged, window, rows, what)                                                     \
   [IR_STATE_##name] = {#name, paged, window, rows, (paged) == 2},
#include "base/states.def"
#undef STATE
};

const ir_meta_info ir_meta_infos[IR_META_COUNT] = {
#define META(name, dtype, rank, dim0, dim1, per, what)                                             \
   [IR_META_##name] = {#name, DT_##dtype, rank, {#dim0, #dim1}},
#include "base/meta.def"
#undef META
};

const char *const ir_sym_names[SYM_COUNT] = {
#define SYM(name, what) [SYM_##name] = #name,
#include "base/syms.def"
#undef SYM
};

const char *const ir_prop_names[IR_PROP_COUNT] = {
#define PROP(name, breaks, what) [IR_PROPBIT_##name] = #name,
#include "props.def"
#undef PROP
};

const bool ir_prop_breaks[IR_PROP_COUNT] = {
#define PROP(name, breaks, what) [IR_PROPBIT_##name] = breaks,
#include "props.def"
#undef PROP
};

ir_func *ir_func_create(arena *a, const char *name)
{
   ir_func *f = arena_new(a, ir_func);

   f->a = a;
   f->name = arena_strdup(a, name);
   f->names.a = a;
   f->kernels.a = a;
   return f;
}

void ir_func_range(ir_func *f, sym s, int64_t min, int64_t max)
{
   f->range[s] = (ir_range){.used = true, .min = min, .max = max};
}

void ir_func_return(ir_func *f, ir_value *v)
{
   v->returned = true;
   *vec_push(f->a, &f->returns) = v;
}

ir_type ir_type_make(dtype element, uint32_t rank, const ir_dim *dims)
{
   ir_type t = {.dtype = element, .rank = MIN(rank, (uint32_t)IR_MAX_RANK)};

   for (uint32_t i = 0; i < t.rank; i++)
      t.dim[i] = dims[i];
   return t;
}

bool ir_type_equal(const ir_type *a, const ir_type *b)
{
   if (a->dtype != b->dtype || a->state != b->state || a->rank != b->rank)
      return false;
   for (uint32_t i = 0; i < a->rank; i++)
      if (!ir_dim_equal(a->dim[i], b->dim[i]))
         return false;
   return true;
}

int64_t ir_type_row(const ir_type *t)
{
   if (t->rank == 0 || !ir_dim_is_const(t->dim[t->rank - 1]))
      return -1;
   return ir_dim_const(t->dim[t->rank - 1]);
}

int64_t ir_state_width(const ir_type *t)
{
   int64_t n = 1;

   for (uint32_t i = 1; i < t->rank; i++)
      n *= ir_dim_const(t->dim[i]);
   return n;
}

/* ---- ops in their list ---- */

ir_op *ir_op_create(ir_func *f, ir_opcode code, uint32_t num_operands, uint32_t num_results)
{
   ir_op *op = arena_new(f->a, ir_op);

   op->code = code;
   op->id = f->num_ops++;
   op->num_operands = num_operands;
   op->num_results = num_results;
   op->operands = arena_array(f->a, ir_value *, num_operands);
   op->results = arena_array(f->a, ir_value *, num_results);
   for (uint32_t i = 0; i < num_results; i++) {
      ir_value *v = arena_new(f->a, ir_value);
      v->def = op;
      v->result = i;
      v->id = f->num_values++;
      op->results[i] = v;
   }
   return op;
}

static void renumber(ir_func *f)
{
   uint64_t order = 0;

   ir_op_foreach (f, op)
      op->order = order += ORDER_GAP;
}

void ir_op_attach(ir_func *f, ir_op *op, ir_op *before)
{
   op->next = before;
   op->prev = before ? before->prev : f->last;
   *(op->prev ? &op->prev->next : &f->first) = op;
   *(op->next ? &op->next->prev : &f->last) = op;

   uint64_t low = op->prev ? op->prev->order : 0;
   uint64_t high = op->next ? op->next->order : low + 2 * ORDER_GAP;
   op->order = low + (high - low) / 2;
   if (op->order == low)
      renumber(f);
   if (op->group && op->next == op->group->first)
      op->group->first = op;
}

static void detach(ir_func *f, ir_op *op)
{
   if (op->group && op->group->first == op)
      op->group->first = op->next && op->next->group == op->group ? op->next : op;
   *(op->prev ? &op->prev->next : &f->first) = op->next;
   *(op->next ? &op->next->prev : &f->last) = op->prev;
   op->prev = op->next = NULL;
}

bool ir_precedes(const ir_op *a, const ir_op *b)
{
   return a->order < b->order;
}

void ir_move_before(ir_func *f, ir_op *op, ir_op *before)
{
   if (op == before)
      return;
   detach(f, op);
   ir_op_attach(f, op, before);
}

void ir_erase(ir_func *f, ir_op *op)
{
   /* What a reader could follow stays: the validator shall name it. */
   for (uint32_t i = 0; i < op->num_operands; i++) {
      ir_value *v = op->operands[i];
      ir_use_set(f, op, i, NULL);
      op->operands[i] = v;
   }
   for (uint32_t i = 0; i < op->num_results; i++)
      if (!ir_use_count(op->results[i]))
         op->results[i]->def = NULL; /* frees the name, see ir_find */
   detach(f, op);
   if (op->group)
      ir_group_drop(f, op);
}
