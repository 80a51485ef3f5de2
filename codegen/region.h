/* region.h - a row kernel made from a group of pointwise and row operations.
 *
 *    group ──cg_region_build──▶ values with a home, pointers, key ──cg_region_emit──▶ one kernel
 *
 * One tile is one row (dim 0) of the group; a row is `outer` heads of `last` elements, or, for wide
 * rows without reductions, a block of its elements. Every value has a home: memory  an operand from
 * outside, or a result that is read outside: loaded and stored in its own dtype stack   computed
 * for the whole row before it is used, because something needs it twice or in another shape inline
 * computed where it is used, a vector at a time, rounded to its dtype Views (reshape, slice,
 * take_rows) of a home are addresses, not work. */
#ifndef CG_REGION_H
#define CG_REGION_H

#include "lower.h"
#include "vec.h"

typedef enum cg_home { CG_HOME_memory, CG_HOME_stack, CG_HOME_inline, CG_HOME_none } cg_home;

typedef struct cg_value {
   const ir_value *v;
   cg_home home;
   bool rowless;       /* the same for every row: weights, biases */
   uint32_t ptr;       /* memory: kernel pointer; stack: temporary number */
   int32_t index_ptr;  /* memory: pointer to i32 row numbers (take_rows); -1: the tile's row.
                          kv_write: slots */
   int32_t source;     /* a stored view: number of the value it copies; -1 */
   int64_t first_row;  /* added to the row (slice of dim 0) */
   uint64_t row_bytes; /* memory: between rows */
   uint64_t offset;    /* bytes from the start of the row */
   int64_t outer, last, pitch; /* elements: heads, of a head, between heads */
   dtype dtype;
} cg_value;

typedef struct cg_region {
   const char *symbol; /* region_<hash of key> */
   const char *key;    /* equal keys, equal code */
   uint32_t num_ops, num_values, num_refs, num_temps;
   const ir_op **ops;
   cg_value *values;    /* one per value that the group touches; v NULL: source of a stored view */
   plan_ref *refs;      /* kernel pointers */
   uint64_t *ref_bytes; /* per row, of each pointer: 0 when it is not per row */
   bool *ref_written;
   uint64_t *temp_bytes;
   ir_dim rows;           /* extent of dim 0 */
   int64_t blocks, block; /* blocks of a wide row, and elements in one; 1 and 0: whole rows */
   uint64_t flops;        /* per row, roughly */
} cg_region;

/* What one loop of a row kernel computes: a run of results of one shape, or an op of its own
 * form. */
typedef struct cg_stage {
   uint32_t num_ops;
   const ir_op *ops[8];
} cg_stage;

/* The stages of a region in the order in which they run; returns how many. */
uint32_t cg_region_stages(const cg_region *r, arena *a, cg_stage **out);

/* Whether an op is a stage of its own, with a loop that is not element by element. */
bool cg_has_own_form(const ir_op *op);

/* Whether op writes rows into the pages of operand 0. */
static inline bool cg_is_write(const ir_op *op)
{
   return op->code == IR_OP_kv_write || op->code == IR_OP_mla_write;
}

/* Whether a quant's scales lie by column: all rows of a group, then the next group's. */
static inline bool cg_is_by_column(const ir_op *op)
{
   return op->code == IR_OP_quant && strcmp(ir_attr_s(op, IR_ATTR_layout, "row"), "col") == 0;
}

/* Analyses a group. Errors UNSUPPORTED naming the op when it holds something that is no row
 * operation. */
SINTER_CHECKED sinter_status cg_region_build(const cg_lower *l, const ir_group *g, cg_region **out);

/* Emits the kernel of a region under its symbol; a: for what lasts until then. */
void cg_region_emit(const cg_region *r, arena *a, vec_module *m);

/* Ops that need a sum over a head before its first element: of squares, or for center of what is
 * there. */
static inline bool cg_is_norm(const ir_op *op)
{
   return op->code == IR_OP_rmsnorm || op->code == IR_OP_l2norm || op->code == IR_OP_center;
}

/* The home of v in r. */
const cg_value *cg_region_value(const cg_region *r, const ir_value *v);

#endif
