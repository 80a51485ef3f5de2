/* pass.h - what a pass sees, and how passes are run.
 *
 *    pass_run_all   CLEAN rewrites ─▶ FUSE proposals ─▶ cost on the conflict graph ─▶ REST
 *    pass_finish    partition ─▶ plan_memory ─▶ pack_weights ─▶ pass_layout
 *
 * A pass is a list of rules (pattern, predicate with a reason, builder) or a walk that opens sites.
 * Every application is a site with a number that depends on the function only: it is listed,
 * skipped, explained. The driver counts, resolves conflicts, validates after each pass that changed
 * something, and computes what happened to the rounding. */
#ifndef PASS_H
#define PASS_H

#include "base/arch.h"
#include "ir/ir.h"
#include "ir/match.h"
#include "layout.h"

typedef enum pass_phase { PASS_CLEAN, PASS_FUSE, PASS_REST, PASS_FINISH } pass_phase;
typedef enum pass_numerics { PASS_ANY, PASS_FAST } pass_numerics;

typedef enum pass_id {
#define PASS(name, ...) PASS_ID_##name,
#include "passes.def"
#undef PASS
   PASS_COUNT, /* rows of passes.def; loaded passes follow */
   PASS_MAX = PASS_COUNT + 16
} pass_id;

/* What a change of types did to the result: computed by comparing the function before and after. */
typedef enum pass_rounding {
   PASS_EXACT,
   PASS_ROUND_FEWER,
   PASS_REORDER, /* the same in real numbers, summed in another order */
   PASS_ROUND_MORE,
   PASS_RANGE_CHANGE
} pass_rounding;
const char *pass_rounding_name(pass_rounding r);

/* What the kernels of a target can do. */
typedef struct pass_target {
   const char *name;        /* "cpu:x86-64-v3", "ref" */
   int64_t row_limit;       /* elements of the longest row one row kernel holds */
   uint32_t max_pointers;   /* values, weights and states one kernel can be given */
   uint32_t max_parts;      /* matmuls in one group */
   uint32_t max_steps;      /* operations behind one matmul in its kernel */
   bool has_int8;           /* qmatmul; on a GPU when it is asked for (quantspec) */
   bool has_combine;        /* a grouped matmul adds its rows to their tokens' */
   uint32_t epilogue_quant; /* largest quant group that the kernel of a matmul or an attention
                                      makes; 0: none */
   int64_t prologue_row;    /* elements of the longest row that a matmul's tile norms; 0: none */
   double repeat_ns;        /* what that costs more than a row kernel before it */
   bool splits_bf16;        /* bf16 weights take rows that a launch of their own splits in parts */
   bool reads_tops;         /* logits by upper bounds: matmuls with top panels (head_argmax) */
   bool rows_only;          /* weights stay as they are in the checkpoint (ref) */
   uint32_t min_segment;    /* shorter runs of kernels are not worth a recorded segment */
   double launch_ns, bytes_per_ns; /* cost of one more launch; memory speed */
   double float_ns, int8_ns;       /* one multiply-add of a product; 0: not judged */
   double code_ns;    /* the same with a weight that matrix units take, in fast; 0: as float_ns */
   double matrix_ns;  /* one of the instructions for matrices; 0: none */
   double peak_ns;    /* the same as fast as the machine can; 0: as fast as its kernel */
   double element_ns; /* one element of a row operation */
   /* Attention's multiply-adds, exponentials, expert selection, rows of a table: beside those. */
   double attention_factor, exp_factor, select_factor, gather_factor;
   int64_t cost_rows;                 /* T at which kernels are compared */
   uint32_t extra_props[IR_OP_COUNT]; /* properties its kernels add to props.def's */
   uint32_t host_meta;                /* fields (1u << IR_META_x) that only the host holds */
   const arch_info *arch;             /* of archs.def; NULL for a CPU */
} pass_target;

/* The defaults of a CPU target, "cpu" or "cpu:LEVEL"; change fields before use. */
pass_target pass_target_cpu(const char *name);
/* A name of archs.def or isa.def: what can be said of it without its compiler. */
pass_target pass_target_arch(const char *name);
/* The interpreter: nothing packed, nothing int8. */
pass_target pass_target_ref(void);

typedef struct pass_info {
   const char *name;
   pass_phase phase;
   bool on;
   pass_numerics numerics;
   const char *what;
} pass_info;
/* Passes by id: the rows of passes.def, then what was registered. pass_count() of them. */
extern pass_info pass_infos[PASS_MAX];
pass_id pass_count(void);

typedef struct pass_run pass_run;

/* Adds a pass from outside behind all others of its phase. The strings must live on. Call before
 * passes run: the registry is for tools and not guarded.
 * Errors  usage: a name that is taken or no [a-z0-9_]+; unsupported: too many, or a FINISH pass. */
SINTER_CHECKED sinter_status pass_register(const pass_info *info, void (*body)(pass_run *run));

/* ---- sites ---- */

typedef enum pass_verdict { PASS_OPEN, PASS_FIRED, PASS_DECLINED } pass_verdict;

/* One place where a pass applies. */
typedef struct pass_site {
   pass_run *run;
   ir_func *f;
   const pass_target *target;
   pass_id pass;
   uint32_t number; /* from 0 in program order of the pass's matches */
   uint32_t rule;   /* which rule of the pass, from 0; walks have one */
   const char *at;  /* "%name" or "op 12" of the root when the site was opened */
   pass_verdict verdict;
   const char *reason; /* of a decline */
   VEC(ir_op *) own;   /* ops the site claims: no other site may have them */
   VEC(ir_op *) host;  /* ops whose kernel it joins */
   ir_match match;     /* of a rule */
   double gain_ns;     /* FUSE: what the cost model expects */
   double again_ns;    /* of that: what its kernel does that those before it did not */
   bool reads_top;     /* its kernel reads the top of its matmul's weight only (head_argmax) */
   bool forced;
   const struct pass_site *lost_to; /* the best of those that took its ops, NULL none */
   double lost_ns;                  /* what all of them save */
   bool extends;                    /* a kernel that it joins keeps its rule's name */
   /* NULL or the last check before grouping, when earlier sites have been applied: false with a
    * reason. */
   bool (*ready)(struct pass_site *site);
} pass_site;

/* Opens the next site of the running pass. NULL when the pass may not touch it (skip list). */
pass_site *pass_site_open(pass_run *run, const ir_op *root);
void pass_own(pass_site *s, ir_op *op);
void pass_host(pass_site *s, ir_op *op);
/* Claims the views between v and the value it is a view of, each once. */
void pass_own_views(pass_site *s, ir_value *v);

/* Refuses a site. Always false, so that predicates can return it. */
bool pass_decline(pass_site *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A rewrite as data. `fits` may decline; `build` NULL: the ops of the match become one group. */
typedef struct pass_rule {
   const ir_pat *pattern;
   bool (*fits)(pass_site *site);
   void (*build)(pass_site *site);
} pass_rule;

/* Whether a pattern matches at op, as ir_match_op; when it matches in part, that is kept for
 * --why-not. For walks; pass_apply does it. */
bool pass_match(pass_run *run, const ir_pat *pattern, ir_op *op, ir_match *out);
/* Walks: op is where a site could be expected; `matched` of `total` parts were found, and why there
 * is no site. Always false. */
bool pass_note_near(pass_run *run, const ir_op *op, uint32_t matched, uint32_t total,
                    const char *fmt, ...) PRINTF_LIKE(5, 6);

/* Tries every rule at every op, in program order. In CLEAN passes a match is built at once; in FUSE
 * passes proposed. Rules must not match what they build. */
void pass_apply(pass_run *run, const pass_rule *rules, size_t num_rules);

/* Walks: a finished proposal of a FUSE pass; the site has its ops and was not declined. */
void pass_propose(pass_site *s);
/* Walks: groups own and host ops now (REST) and says whether that was possible. */
bool pass_group_now(pass_site *s);
/* Walks of CLEAN passes: the site's rewrite has been carried out. */
void pass_fired(pass_site *s);

ir_func *pass_func(const pass_run *run);
const pass_target *pass_run_target(const pass_run *run);
pass_layout *pass_run_layout(const pass_run *run);

/* ---- looking around (graph.c) ---- */

/* The value whose memory v has: reshapes are looked through. */
ir_value *pass_source(ir_value *v);
/* The op that computes pass_source(v), or NULL for another op than `code`. */
ir_op *pass_def(ir_value *v, ir_opcode code);
/* Whether a quant's results have the form that int8 kernels read (base/pack.h): i8 codes in whole
 * groups of 32, with the plain scale of each. Those of other quants are dense. */
bool pass_quant_is_packed(const ir_op *quant);
/* Whether the target's kernels of matmuls and attentions can quantise their result so; declines. */
bool pass_fits_epilogue(pass_site *s, const ir_op *quant);
/* Whether the target has codes of that type; declines. */
bool pass_has_codes(pass_site *s, const ir_op *quant);
/* Sole reader of v, views looked through; NULL when there are several, or v is returned. */
ir_op *pass_only_reader(const ir_value *v);
bool pass_is_matmul(const ir_op *op);
bool pass_is_leaf(const ir_op *op);
/* The matmul that v comes from, through ops of a set (by their operand 0) and biases; NULL:
 * none. */
ir_op *pass_matmul_behind(ir_value *v, uint64_t through);
/* Whether two ops of one kind read the same values but for their last operand, the weight. NULL, or
 * the reason. */
const char *pass_other_inputs(const ir_op *a, const ir_op *b);
/* Whether only one op reads a value of the match; else declines. */
bool pass_is_inner(pass_site *s, int cap);
/* Whether the kernel of a group reads the top of its matmul's weight. */
bool pass_reads_top(const ir_group *g);
/* Weight operand of a (q)matmul. */
ir_value *pass_weight_of(const ir_op *matmul);
/* The weight that v is, or the matrices that v is a view of (reshape, slice, transpose): such a
 * view is made when weights are packed, never at run time. NULL for other values. */
const ir_op *pass_weight_behind(const ir_value *v);
/* Ops that a row kernel can hold. */
bool pass_is_row_op(const ir_op *op);
/* Properties of an op, with what the target adds. */
uint32_t pass_props(const pass_target *t, const ir_op *op);
/* Whether every reader of v, views looked through, is in g; a returned value is not internal. */
bool pass_is_internal(const ir_value *v, const ir_group *g);
/* "%name", or "op <n>" for a nameless one. */
const char *pass_label(arena *a, const ir_op *op);
/* Elements of one row of dim 0: the product of the other dims; -1 when one is symbolic. */
int64_t pass_row_elements(const ir_type *t);
/* Calls visit for every real reader of v: views are looked through, a return is a NULL op. */
void pass_readers(const ir_value *v, void (*visit)(void *user, ir_op *reader), void *user);

/* What feeds one attention. Norms and ropes are NULL where the model has none. */
typedef struct pass_attn {
   ir_op *attention, *write;
   ir_op *q_norm, *k_norm, *q_rope, *k_rope;
   ir_op *q_matmul, *k_matmul, *v_matmul;
} pass_attn;
/* Finds the parts around a kv_write; false when no attention reads its result. */
bool pass_attn_of(ir_op *kv_write, pass_attn *out);
/* What feeds one latent attention (mla.c draws it). NULL where the model has none: q_down and
 * q_norm without a latent of q, ropes, norms, parts. */
typedef struct pass_mla {
   ir_op *attention, *write;
   ir_op *q_down, *q_norm, *q_up, *q_part, *q_rope;
   ir_op *kv_down, *c_part, *c_norm, *k_part, *k_rope;
} pass_mla;
/* Finds the parts around an mla_write; false when no attention reads its result. */
bool pass_mla_of(ir_op *mla_write, pass_mla *out);
/* Walks over kv_writes: opens a site where q and k have norms (if wanted) and ropes, claims them
 * (and the write, if wanted), and proposes it. */
void pass_propose_attn(pass_run *run, bool norms, bool write);

/* Stores f32 states of a set of kinds (1 << IR_STATE_x) in f8e4m3: a site each (state_f8.c). */
void pass_states_to_f8(pass_run *run, uint64_t kinds);

/* ---- attention (attn_backend.c) ---- */

/* Whether a row that was asked for is about an attention that wants this: a row for expanded
 * latents alone is about those only. */
bool pass_attention_concerns(attention_backend asked, uint32_t wants);
/* Why the target has no kernel for latents that are expanded: operands of an mla_expanded. NULL: it
 * has one. */
const char *pass_refuses_expanded(const pass_run *run, ir_value *const *operands);

/* ---- cost (cost.c), conflicts (conflict.c) ---- */

/* What the kernel of a group costs in a step of so many rows of one sequence that begins. */
typedef struct pass_cost {
   double bytes, multiplications;
   double memory_ns, work_ns, ns; /* ns: a launch, and the larger of both */
   double light_ns;               /* at the machine's peaks, without the launch */
} pass_cost;

/* layout: says which kernel computes an attention (without: a plain one); may be NULL. */
pass_cost pass_kernel_cost(arena *a, const pass_target *t, const pass_layout *layout,
                           const ir_group *g, int64_t rows);
/* Nanoseconds saved by making one kernel of the ops of a site: launches, writes and reads of inner
 * values, shared inputs; less what it costs to pull recordable ops into a break. */
double pass_gain(const pass_site *s);
/* Chooses among proposals that claim the same ops; the losers are declined with the winner's name.
 */
void pass_resolve(arena *a, const ir_func *f, pass_site **sites, size_t n);

/* ---- running ---- */

/* Where a pass almost had a site: an op at which its pattern matched in part. */
typedef struct pass_near {
   const ir_op *op; /* valid until the function changes */
   const char *at;
   uint32_t matched, total; /* ops of the pattern */
   const char *missing;     /* the first position or condition that failed */
} pass_near;
enum { PASS_MAX_NEAR = 8 };

typedef struct pass_entry {
   pass_id id;
   bool ran, changed;
   uint32_t matched, fired;
   pass_rounding rounding;
   double seconds; /* spent in the pass; never part of what is written */
   VEC(pass_site *) sites;
   VEC(pass_near) near; /* best first, at most PASS_MAX_NEAR */
} pass_entry;

typedef struct pass_break {
   const char *op, *property, *chain, *remedy;
} pass_break;

typedef struct pass_report {
   pass_entry entry[PASS_MAX];
   VEC(const char *) notes; /* e.g. a forced fusion without a match */
   VEC(pass_break) breaks;
} pass_report;

typedef struct pass_options {
   const pass_target *target;
   sinter_numerics numerics;
   const char *with, *without; /* comma-separated names, NULL none */
   const char *skip;           /* comma-separated sites, e.g. "qkv_merge:3", NULL none */
   const char *attention;      /* NULL or "auto"; a name of attention.def, "NAME!": no other */
   const char *only;           /* comma-separated passes to run, NULL: all that are on */
   /* Layout of another form of the same function whose weights are packed already: they keep their
    * numbers and places, and what else is needed comes behind them. NULL: none. */
   const pass_layout *shares;
   /* Which sites may be touched, besides the skip list; NULL: all. */
   bool (*allow)(void *user, pass_id pass, uint32_t number);
   /* Sees the function before and after each pass; NULL none. */
   void (*hook)(void *user, pass_id pass, bool after, bool changed, const ir_func *f);
   /* Sees the function after each site that was carried out; NULL none. */
   void (*site_hook)(void *user, const pass_site *site, const ir_func *f);
   void *user;
} pass_options;

/* Whether passes of these names are there, before there is a function. Errors  usage: an unknown or
 * unskippable name. */
SINTER_CHECKED sinter_status pass_check_names(arena *a, const pass_options *options);

/* Runs every pass before the FINISH ones. f is changed in place; the report lives in f's arena.
 * Errors  usage: an unknown or unskippable name; failed: a pass left the function invalid. */
SINTER_CHECKED sinter_status pass_run_all(ir_func *f, const pass_options *options,
                                          pass_report *report);

/* Runs the FINISH passes on a grouped function; out lives in f's arena. */
SINTER_CHECKED sinter_status pass_finish(ir_func *f, const pass_options *options,
                                         pass_report *report, pass_layout *out);

/* The pass of that name, PASS_MAX when there is none. */
pass_id pass_find(const char *name, size_t len);

/* What the passes did, as JSON; layout NULL leaves what is behind the target empty:
 *
 *    {"fusions": [{"name","matched","fired","rounding",
 *                  "declined":[{"site","at","reason"[,"gain_ns","lost_to","lost_ns"]}],
 *                  "chosen":[{"site","at","gain_ns"}], "near":[{"at","matched","of","missing"}]}],
 *     "notes": […], "target": {…},
 *     "attention": [{"form","at","count","chosen","refused":[{"name","reason"}]}],
 *     "segments": […], "breaks": […], "kernels": […]} */
void pass_explain(text_buf *out, const ir_func *f, const pass_target *target,
                  const pass_report *report, const pass_layout *layout);

/* The layout as comment lines behind a function: segments, places, weights. */
void pass_print_layout(text_buf *out, const ir_func *f, const pass_layout *layout);

#define PASS(name, ...) void pass_##name(pass_run *run);
#include "passes.def"
#undef PASS

/* Reports a failure of a FINISH pass; the first one counts. */
void pass_fail(pass_run *run, sinter_status status, const char *where, const char *remedy,
               const char *fmt, ...) PRINTF_LIKE(5, 6);

#endif
