/* ir.h - the graph: functions, ops, values, types, dims, groups.
 *
 *    func ──ops──▶ op ──operands──▶ value ──def──▶ op
 *           (program order = the printed order; every operand is defined before its use)
 *
 * One SSA graph without control flow, flat over layers. The IR is its text: ir_print and ir_parse
 * are inverse. Everything lives in the function's arena and is freed with it; there is no free. */
#ifndef IR_H
#define IR_H

#include "base/arena.h"
#include "base/dtype.h"
#include "base/kargs.h"
#include "base/map.h"

enum {
   IR_MAX_RANK = 6,
   IR_MAX_PARTS = 8, /* of a row that is written side by side */
};

/* ---- dims ---- */

typedef enum ir_round { IR_ROUND_none, IR_ROUND_floor, IR_ROUND_ceil } ir_round;

/* round((sum coef[s] * sym_s + add) / div); div 1 and IR_ROUND_none for affine forms. Canonical:
 * equal dims are memcmp-equal; a form without symbols is folded to a number. */
typedef struct ir_dim {
   int64_t coef[SYM_COUNT];
   int64_t add;
   int32_t div;
   int32_t round;
} ir_dim;

enum {
   IR_MAX_COEF = 1 << 30, /* largest coefficient of a symbol, and largest end of a symbol's range */
};
#define IR_MAX_EXTENT (INT64_C(1) << 40) /* largest constant of a dim */

ir_dim ir_dim_of(int64_t n);
ir_dim ir_dim_sym(sym s);
ir_dim ir_dim_mul(ir_dim d, int64_t k);
ir_dim ir_dim_ceil_div(ir_dim d, int32_t by);
ir_dim ir_dim_floor_div(ir_dim d, int32_t by);
ir_dim ir_dim_add(ir_dim a, ir_dim b);
/* False for a result that has no form of this kind (e.g. ceil(T/4) times 3); it is printed as `?`.
 */
bool ir_dim_is_valid(ir_dim d);
bool ir_dim_is_const(ir_dim d);
int64_t ir_dim_const(ir_dim d);
bool ir_dim_equal(ir_dim a, ir_dim b);
/* Value at the symbols' values syms[SYM_COUNT]; -1 when it overflows or d is not valid. */
int64_t ir_dim_eval(ir_dim d, const int64_t *syms);

/* ---- types ---- */

typedef enum ir_state_kind {
   IR_STATE_none,
#define STATE(name, paged, window, rows, what) IR_STATE_##name,
#include "base/states.def"
#undef STATE
   IR_STATE_COUNT
} ir_state_kind;

/* A tensor type f32[T,576], a weight type q4_1[576,576], or a state type, spelled
 * `f16 kv_full[3,64]` (state != none; dtype is how it is stored). DT_none, spelled `none`, marks a
 * value whose op could not be typed; the validator says why. */
typedef struct ir_type {
   dtype dtype;
   ir_state_kind state;
   uint32_t rank;
   ir_dim dim[IR_MAX_RANK];
} ir_type;

ir_type ir_type_make(dtype element, uint32_t rank, const ir_dim *dims);
bool ir_type_equal(const ir_type *a, const ir_type *b);
/* Last dim as a number, -1 when it is symbolic or rank is 0. */
int64_t ir_type_row(const ir_type *t);
/* Elements behind the first extent of a state: d of [G,d], dk * dv of [H,dk,dv]. */
int64_t ir_state_width(const ir_type *t);

/* ---- ops and values ---- */

typedef enum ir_opcode {
#define OP(name, ...) IR_OP_##name,
#include "ops.def"
#undef OP
   IR_OP_COUNT
} ir_opcode;

typedef enum ir_attr_key {
#define ATTR(name, kind, what) IR_ATTR_##name,
#include "attrs.def"
#undef ATTR
   IR_ATTR_COUNT
} ir_attr_key;

typedef enum ir_meta_field {
#define META(name, dtype, rank, dim0, dim1, per, what) IR_META_##name,
#include "base/meta.def"
#undef META
   IR_META_COUNT
} ir_meta_field;

enum {
#define PROP(name, breaks, what) IR_PROPBIT_##name,
#include "props.def"
#undef PROP
   IR_PROP_COUNT
};
enum {
#define PROP(name, breaks, what) IR_##name = 1u << IR_PROPBIT_##name,
#include "props.def"
#undef PROP
};

typedef struct ir_func ir_func;
typedef struct ir_op ir_op;
typedef struct ir_value ir_value;
typedef struct ir_group ir_group;

typedef struct ir_attr {
   ir_attr_key key;
   union {
      int64_t i;     /* INT, and META as ir_meta_field, DTYPE as dtype */
      double f;      /* FLOAT */
      const char *s; /* STR, in the function's arena */
   };
} ir_attr;

typedef struct ir_use {
   ir_op *user;
   uint32_t operand;
   struct ir_use *next;
} ir_use;

struct ir_value {
   ir_type type;
   ir_op *def;
   uint32_t result;  /* which result of def */
   const char *name; /* printed as %name; NULL: %<number>, given when printing */
   ir_use *uses;     /* unordered */
   uint32_t id;      /* dense, unique in the function: index side tables with it */
   bool returned;    /* kept in step with func->returns */
};

struct ir_op {
   ir_opcode code;
   uint32_t num_operands, num_results, num_attrs;
   ir_value **operands;
   ir_value **results;
   ir_attr *attrs;  /* ascending key */
   ir_group *group; /* kernel this op belongs to, NULL while none */
   ir_op *prev, *next;
   uint32_t id;    /* dense, unique in the function */
   uint32_t mark;  /* scratch of ir/; 0 between calls */
   uint64_t order; /* ascending in program order, with gaps */
};

/* Ops that become one kernel. Members are contiguous in program order; groups.data[id] is the
 * group. */
struct ir_group {
   const char *name; /* printed: kernel <name> { … }; unique in the function */
   const char *rule; /* fusion that made it, e.g. "act_mul"; "" when none */
   uint32_t id;
   uint32_t num_ops;
   ir_op *first; /* in program order */
};

typedef struct ir_range {
   bool used;
   int64_t min, max;
} ir_range;

struct ir_func {
   arena *a;
   const char *name;
   ir_range range[SYM_COUNT]; /* printed in the header: (T in 1..512, R in 0..64) */
   ir_op *first, *last;
   VEC(ir_value *) returns;
   VEC(ir_group *) groups;
   uint32_t num_values, num_ops; /* ids given so far */
   uint32_t num_kernels;         /* kernel numbers given so far */
   map names;          /* value name → ir_value; may hold stale ones: read it with ir_find */
   map kernels;        /* kernel name → ir_group that had it */
   const char *misuse; /* a call that could not be carried out; the validator tells. NULL: none */
};

typedef struct ir_op_info {
   const char *name;
   int operands; /* -1: a list */
   int results;
   uint64_t required, optional; /* bits 1 << ir_attr_key */
   uint32_t props;
   uint32_t
      reads; /* fields of meta.def (1u << IR_META_x) that it reads without an operand for them */
   const char *meaning;
} ir_op_info;

extern const ir_op_info ir_op_infos[IR_OP_COUNT];

typedef enum ir_attr_kind {
   IR_KIND_INT,
   IR_KIND_FLOAT,
   IR_KIND_STR,
   IR_KIND_DTYPE,
   IR_KIND_META
} ir_attr_kind;
typedef struct ir_attr_info {
   const char *name;
   ir_attr_kind kind;
} ir_attr_info;
extern const ir_attr_info ir_attr_infos[IR_ATTR_COUNT];

typedef struct ir_state_info {
   const char *name;
   bool paged, window;
   uint32_t rows; /* of d, per head and position: 2 k and v, 1 a row that is both */
   bool entries;  /* a row for each chunk of `ratio` positions, not for each position */
} ir_state_info;
extern const ir_state_info ir_state_infos[IR_STATE_COUNT]; /* [IR_STATE_none] is empty */

typedef struct ir_meta_info {
   const char *name;
   dtype dtype;
   uint32_t rank;
   const char *dims[2]; /* a symbol's name, a number, or N */
} ir_meta_info;
extern const ir_meta_info ir_meta_infos[IR_META_COUNT];

extern const char *const ir_sym_names[SYM_COUNT];
extern const char *const ir_prop_names[IR_PROP_COUNT];
extern const bool
   ir_prop_breaks[IR_PROP_COUNT]; /* the property keeps an op out of a recorded segment */

/* ---- building ---- */

ir_func *ir_func_create(arena *a, const char *name);
void ir_func_range(ir_func *f, sym s, int64_t min, int64_t max);
void ir_func_return(ir_func *f, ir_value *v);
/* Deep copy into an arena, ids renumbered densely. */
ir_func *ir_func_clone(arena *a, const ir_func *f);

/* Attributes of one op under construction: AT(.eps = 1e-5, .scale = 2). Unset ones are absent. */
typedef struct ir_attrs {
   const char *name, *style, *score, *scale_fn, *layout, *k_scales, *v_scales;
   double eps, scale, cap, offset, min, max, floor, k_scale, v_scale;
   int64_t axis, start, size, group, window, index, layer, field;
   int64_t k, experts, groups, kept, group_top, norm;
   int64_t ratio, overlap, inverse, iters, whole;
} ir_attrs;
/* NaN / INT64_MIN mean unset; AT fills them in. */
#define IR_NO_F ((double)__builtin_nan(""))
#define IR_NO_I INT64_MIN
#define AT(...)                                                                                    \
   ((ir_attrs){.eps = IR_NO_F,                                                                     \
               .scale = IR_NO_F,                                                                   \
               .cap = IR_NO_F,                                                                     \
               .offset = IR_NO_F,                                                                  \
               .axis = IR_NO_I,                                                                    \
               .start = IR_NO_I,                                                                   \
               .size = IR_NO_I,                                                                    \
               .group = IR_NO_I,                                                                   \
               .window = IR_NO_I,                                                                  \
               .index = IR_NO_I,                                                                   \
               .layer = IR_NO_I,                                                                   \
               .field = IR_NO_I,                                                                   \
               .min = IR_NO_F,                                                                     \
               .max = IR_NO_F,                                                                     \
               .floor = IR_NO_F,                                                                   \
               .k_scale = IR_NO_F,                                                                 \
               .v_scale = IR_NO_F,                                                                 \
               .k = IR_NO_I,                                                                       \
               .experts = IR_NO_I,                                                                 \
               .groups = IR_NO_I,                                                                  \
               .kept = IR_NO_I,                                                                    \
               .group_top = IR_NO_I,                                                               \
               .norm = IR_NO_I,                                                                    \
               .ratio = IR_NO_I,                                                                   \
               .overlap = IR_NO_I,                                                                 \
               .inverse = IR_NO_I,                                                                 \
               .iters = IR_NO_I,                                                                   \
               .whole = IR_NO_I,                                                                   \
               __VA_ARGS__})

/* Where new ops go, and what they are: a cursor into a function. */
typedef struct ir_builder {
   ir_func *f;
   ir_op *before; /* insert before this op; NULL: at the end */
} ir_builder;

/* Appends an op; result types follow from its shape row (leaf ops: from `leaf`, else NULL). */
ir_op *ir_build(ir_builder *b, ir_opcode code, ir_value *const *operands, uint32_t num_operands,
                ir_attrs attrs, const ir_type *leaf);

/* An op of any row, its first result: IR_NEW(b, softcap, AT(.cap = 30), x). */
#define IR_NEW(b, op, attrs, ...)                                                                  \
   ir_build(b, IR_OP_##op, (ir_value *const[]){__VA_ARGS__},                                       \
            countof(((ir_value *[]){__VA_ARGS__})), attrs, NULL)                                   \
      ->results[0]

/* One builder per op, single result returned (the first for several). Those of rows without
 * attributes take the operands in their order, and give the op when it has several results:
 * ir_silu(b, x), ir_conv_step(b, state, x, w). */
#define IR_OPERANDS_1 ir_value *x
#define IR_OPERANDS_2 IR_OPERANDS_1, ir_value *y
#define IR_OPERANDS_3 IR_OPERANDS_2, ir_value *z
#define IR_OPERANDS_4 IR_OPERANDS_3, ir_value *w
#define IR_RESULTS_1 ir_value *
#define IR_RESULTS_2 ir_op *
#define IR_BUILDER(name, operands, results)                                                        \
   IR_RESULTS_##results ir_##name(ir_builder *b, IR_OPERANDS_##operands);
#include "builders.def"
ir_value *ir_param(ir_builder *b, const char *name, ir_type type);
ir_value *ir_weight(ir_builder *b, const char *name, ir_type type);
ir_value *ir_meta(ir_builder *b, ir_meta_field field, int64_t index, ir_type type);
ir_value *ir_state(ir_builder *b, int64_t layer, int64_t window, ir_type type);
ir_value *ir_embed(ir_builder *b, ir_value *ids, ir_value *w);
/* Ids below 0 take rows of the features. */
ir_value *ir_embed_features(ir_builder *b, ir_value *ids, ir_value *w, ir_value *features);
ir_value *ir_take_rows(ir_builder *b, ir_value *x, ir_value *idx);
/* size rows from each one on, side by side. */
ir_value *ir_take_side_by_side(ir_builder *b, ir_value *x, ir_value *idx, int64_t size);
ir_value *ir_reshape(ir_builder *b, ir_value *x, uint32_t rank, const ir_dim *dims);
ir_value *ir_slice(ir_builder *b, ir_value *x, int64_t axis, int64_t start, int64_t size);
ir_value *ir_cast(ir_builder *b, ir_value *x, dtype to);
ir_value *ir_scale(ir_builder *b, ir_value *x, double scale);
ir_value *ir_softcap(ir_builder *b, ir_value *x, double cap);
/* NaN: no bound on that side. */
ir_value *ir_clamp(ir_builder *b, ir_value *x, double min, double max);
ir_value *ir_shift(ir_builder *b, ir_value *x, double offset);
/* offset 0: absent. */
ir_value *ir_rmsnorm(ir_builder *b, ir_value *x, ir_value *w, double eps, double offset);
ir_value *ir_l2norm(ir_builder *b, ir_value *x, double eps);
/* results[0] codes, results[1] scales. */
ir_op *ir_quant(ir_builder *b, ir_value *x, int64_t group);
ir_value *ir_rope(ir_builder *b, ir_value *x, ir_value *cs, const char *style);
/* Over the last elements; inverse: back. */
ir_value *ir_rope_last(ir_builder *b, ir_value *x, ir_value *cs, const char *style, bool inverse);
/* results[0] ids, results[1] weights; bias may be NULL. attrs: AT(.k = 8, .score = "softmax",
 * …). */
ir_op *ir_route(ir_builder *b, ir_value *logits, ir_value *bias, ir_attrs attrs);
ir_value *ir_route_weights(ir_builder *b, ir_value *logits, ir_value *ids, ir_attrs attrs);
ir_value *ir_capture(ir_builder *b, ir_value *ids, int64_t layer);
/* results[0] order, results[1] offsets. */
ir_op *ir_permute(ir_builder *b, ir_value *ids, int64_t experts);
/* permute: the op that made order and offsets. */
ir_value *ir_moe_matmul(ir_builder *b, ir_value *x, const ir_op *permute, ir_value *w);
ir_value *ir_moe_qmatmul(ir_builder *b, ir_value *q, ir_value *s, const ir_op *permute,
                         ir_value *w);
ir_value *ir_attention(ir_builder *b, ir_value *q, ir_value *state, double scale, double cap);
/* Over all positions of a row's sequence, later ones too. */
ir_value *ir_attention_whole(ir_builder *b, ir_value *q, ir_value *state, double scale);
ir_value *ir_attention_sinks(ir_builder *b, ir_value *q, ir_value *state, ir_value *sinks,
                             double scale);
ir_value *ir_mla_write(ir_builder *b, ir_value *state, ir_value *c, ir_value *k);
ir_value *ir_mla_attention(ir_builder *b, ir_value *q, ir_value *p, ir_value *state, double scale);
/* ratio: of a state of entries, else 0. */
ir_value *ir_rows_state(ir_builder *b, int64_t layer, int64_t window, int64_t ratio, ir_type type);
/* Rows of n parts side by side. */
ir_value *ir_rows_write(ir_builder *b, ir_value *state, ir_value *const *parts, uint32_t n);
ir_value *ir_compress(ir_builder *b, ir_value *state, ir_value *ape, int64_t start, bool overlap);
ir_value *ir_index_topk(ir_builder *b, ir_value *q, ir_value *w, ir_value *state, int64_t k);
/* entries and ids may be NULL. */
ir_value *ir_sparse_attention(ir_builder *b, ir_value *q, ir_value *window, ir_value *sinks,
                              ir_value *entries, ir_value *ids, double scale);
/* results: pre, post, comb. attrs: AT(.eps = …, .offset = …, .iters = …). */
ir_op *ir_hc_mix(ir_builder *b, ir_value *x, ir_value *fn, ir_value *scale, ir_value *base,
                 ir_attrs attrs);
/* results[0] the state's successor, results[1] the output. */
ir_op *ir_gdn(ir_builder *b, ir_value *state, ir_value *q, ir_value *k, ir_value *v, ir_value *g,
              ir_value *beta, double scale);

/* Names v; other characters become _, and a name that is taken gets a suffix .2, .3, … */
void ir_set_name(ir_func *f, ir_value *v, const char *name);
/* The value of that name, or NULL. */
ir_value *ir_find(const ir_func *f, const char *name);

/* ---- reading and editing ---- */

const ir_attr *ir_attr_get(const ir_op *op, ir_attr_key key);
double ir_attr_f(const ir_op *op, ir_attr_key key, double otherwise);
int64_t ir_attr_i(const ir_op *op, ir_attr_key key, int64_t otherwise);
const char *ir_attr_s(const ir_op *op, ir_attr_key key, const char *otherwise);
void ir_attr_set(ir_func *f, ir_op *op, ir_attr attr);

uint32_t ir_use_count(const ir_value *v); /* operand uses; a return counts as one more */
/* Sole user when v is used once and not returned, else NULL. */
ir_op *ir_only_user(const ir_value *v);

/* These two change nothing when they are given no value, and the validator says so. */
void ir_replace_uses(ir_func *f, ir_value *from, ir_value *to); /* returns too */
void ir_set_operand(ir_func *f, ir_op *op, uint32_t i, ir_value *v);
/* Results must be unused; of one that is not, the validator names the readers. */
void ir_erase(ir_func *f, ir_op *op);
void ir_move_before(ir_func *f, ir_op *op, ir_op *before); /* NULL: to the end */

#define ir_op_foreach(f, op) for (ir_op *op = (f)->first; op; op = op->next)
#define ir_op_foreach_safe(f, op)                                                                  \
   for (ir_op *op = (f)->first, *op##_next = op ? op->next : NULL; op;                             \
        op = op##_next, op##_next = op ? op->next : NULL)

/* A view that is the whole of its operand: it has the operand's memory. */
static inline bool ir_is_alias(const ir_op *op)
{
   return op->code == IR_OP_reshape || op->code == IR_OP_capture;
}

/* Whether a stands before b in program order. */
bool ir_precedes(const ir_op *a, const ir_op *b);

/* Whether ops (all ungrouped, or whole groups) can become one kernel: the group graph stays
 * acyclic. */
bool ir_can_group(const ir_func *f, ir_op *const *ops, uint32_t n);

/* Makes one kernel of ops; groups among them are absorbed. Moves ops so that members are contiguous
 * and order is kept. Call only when ir_can_group. The name is rule<number>, unique. */
ir_group *ir_group_make(ir_func *f, const char *rule, ir_op *const *ops, uint32_t n);

/* First op of a group in program order; iterate with ->next while op->group == g. */
ir_op *ir_group_first(const ir_func *f, const ir_group *g);

/* Type of a value changed in place: widening is visible as ROUND_FEWER. Values that must have the
 * same type follow: successors of a state, and what reshape, slice and take_rows make of v. */
void ir_retype(ir_func *f, ir_value *v, dtype to);

/* ---- text ---- */

/* One function of the module text:
 *
 *    func @name(T in 1..512, R in 0..64) {
 *      %x = param {name="x"} : f32[T,576]            // comments reach to the end of the line
 *      kernel act_mul0 {                             // a group by rule act_mul; k0: by none
 *        %a = silu %x : f32[T,576]
 *        %y = mul %a, %x : f32[T,576]
 *      }
 *      return %y
 *    }
 *
 * Input may leave out `: types`, which are then inferred. Names are [A-Za-z_][A-Za-z0-9_.]*;
 * %<number> is nameless. */

/* Canonical text of one function. */
void ir_print(text_buf *out, const ir_func *f);
void ir_print_type(text_buf *out, const ir_type *t);
void ir_print_dim(text_buf *out, ir_dim d);
/* A float in the fewest digits that read back the same. */
void ir_print_float(text_buf *out, double v);
/* One op with its operands and results; for messages (nameless values print as %?). */
void ir_print_op(text_buf *out, const ir_op *op);

/* Parses a module (one or more functions). Reports line, column and reason. limits: 64 MiB of text.
 */
typedef struct ir_module {
   VEC(ir_func *) funcs;
} ir_module;
SINTER_CHECKED sinter_status ir_parse(arena *a, const char *text, size_t len, const char *where,
                                      ir_module *out);

/* Checks everything that must hold and appends one line per violation to report. False when there
 * is any. Covers: arity, attributes, types by shape rule, order of definitions, state linearity
 * (one successor, other readers before the consuming op), group contiguity and acyclicity, names,
 * ranges. */
bool ir_validate(const ir_func *f, text_buf *report);

/* Type rule of an op: computes result types; returns NULL or the reason why it cannot. */
const char *ir_infer(const ir_op *op, ir_type *out_results);

#endif
