/* lower.h - from groups with places to launches.
 *
 *    group ─▶ family (region, gemm, embed, attention) ─▶ launches, each with the kernel it wants
 *          ─▶ phases (phase.c): launches that touch each other's memory are apart */
#ifndef CG_LOWER_H
#define CG_LOWER_H

#include "base/arch.h"
#include "base/isa.h"
#include "ir/ir.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/moe.h"
#include "passes/layout.h"
#include "vec.h"

/* Of simt.h: how a family is emitted and launched where kernels are SIMT text. */
typedef struct cg_simt_kind cg_simt_kind;
extern const cg_simt_kind cg_simt_region, cg_simt_gemm, cg_simt_embed, cg_simt_attention,
   cg_simt_route, cg_simt_slots, cg_simt_conv, cg_simt_gdn, cg_simt_compress, cg_simt_index,
   cg_simt_sparse, cg_simt_hc, cg_simt_sample;

/* &cg_simt_gemm and &cg_simt_attention, NULL for keys that have no SIMT form. */
const cg_simt_kind *cg_simt_gemm_of(const gemm_key *key);
const cg_simt_kind *cg_simt_attention_of(const attention_key *key);

/* Whether a product can go to matrix instructions, and in how many slices of k it does there, for a
 * machine that has them and weights of so many bytes: more than one where columns alone leave units
 * idle, for longer than one more launch takes. The same for any number of rows. */
bool cg_simt_has_matrix(const gemm_key *key);
/* Whether a product with such weights can take codes of inputs there. */
bool cg_simt_has_int8(const gemm_key *key);
uint32_t cg_simt_slices(const gemm_key *key, const arch_info *arch, uint64_t n, uint64_t k,
                        uint64_t weight_bytes);

/* Whether a row kernel that is SIMT text can hold the op. */
bool cg_simt_takes(const ir_op *op);

/* Bytes of scratch memory that the part form, or the expanded one, needs there for each chunk of
 * context. */
uint64_t cg_simt_attention_scratch(const attention_key *key, int64_t max_rows);
uint64_t cg_simt_expanded_scratch(const attention_key *key, int64_t max_rows);

/* What lowering reads. */
typedef struct cg_lower {
   arena *a;
   const ir_func *f;
   const pass_layout *layout;
   const isa_info *isa;
   bool simt; /* kernels are SIMT text: isa is the lowest level, for the shape of launches */
   const arch_info *arch; /* of SIMT text; NULL: a CPU */
   bool matrix;           /* products may use its matrix instructions */
   uint64_t parts_at;     /* in the arena: sums of slices of products, parts of picks */
   uint32_t picks;        /* output that tokens are picked into; 0: they are not */
   int64_t max_rows;      /* of the variant */
   bool decode;           /* few rows: attention is parallel over the context */
   bool
      one_chunk; /* with decode: no context is longer than ATTN_CHUNK, nothing to be parallel over */
} cg_lower;

/* A kernel to emit, once per symbol. */
typedef struct cg_kernel {
   const char *symbol, *family;
   void (*emit)(arena *a, vec_module *m, const void *what);
   const void *what;
   const cg_simt_kind *simt; /* NULL: there is no SIMT form of it */
} cg_kernel;

/* Memory that a launch touches. */
typedef struct cg_touch {
   uint32_t kind, index, index2; /* as in plan_ref */
   uint64_t from, to;            /* bytes */
   bool written;
} cg_touch;

enum { CG_MAX_TOUCHES = KARGS_MAX_PTRS + 2 };

/* A launch whose kernel number and phase are not known yet. */
typedef struct cg_launch {
   cg_kernel kernel;
   plan_launch launch;
   uint32_t num_touches;
   cg_touch touches[CG_MAX_TOUCHES];
} cg_launch;

typedef struct cg_launches {
   arena *a;
   VEC(cg_launch) list;
   uint64_t scratch;           /* most bytes that a launch needs for each chunk of context */
   uint64_t parts, most_parts; /* bytes at parts_at: of the group, of any */
} cg_launches;

/* The place that holds v: reshapes are followed. */
const pass_place *cg_place(const cg_lower *l, const ir_value *v);

/* The reference of a value that has memory. */
plan_ref cg_ref_of(const cg_lower *l, const ir_value *v);
/* How the weight behind a value is packed; PANEL_none where it is not. */
panel_layout cg_panels_of(const cg_lower *l, const ir_value *w);
plan_ref cg_ref_meta(ir_meta_field field, uint32_t instance);

/* Appends a pointer to a launch; bytes: from its start on, what is touched. */
void cg_launch_ref(cg_launch *to, plan_ref ref, uint64_t bytes, bool written);
/* Appends a pointer to a value. */
void cg_launch_value(const cg_lower *l, cg_launch *to, const ir_value *v, bool written);

/* Rows of a launch: a number, or a multiple of one symbol; num < 0 and no symbol for other dims. */
gemm_rows cg_rows_of(ir_dim d);

/* k times a dim that is a number or a symbol. Errors UNSUPPORTED. */
SINTER_CHECKED sinter_status cg_extent(int64_t k, ir_dim d, plan_extent *out);

/* Whether a quant makes what the int8 kernels read: codes of whole groups of 32 (base/pack.h). */
bool cg_is_panel_quant(const ir_op *op);

/* Appends the launches of one group. Errors UNSUPPORTED naming op and reason when there is no
 * kernel. */
SINTER_CHECKED sinter_status cg_lower_group(const cg_lower *l, const ir_group *g, cg_launches *out);

/* Appends a launch of a kernel without a key, whose extents and pointers are to be filled. */
cg_launch *cg_add_slots(const cg_lower *l, const ir_group *g, const slots_kernel *k,
                        cg_launches *out);

/* The same for a group of one family of kernels.def. */
#define KERNEL(name, takes, what)                                                                  \
   SINTER_CHECKED sinter_status cg_lower_##name(const cg_lower *l, const ir_group *g,              \
                                                cg_launches *out);
#include "base/kernels.def"
#undef KERNEL

/* Numbers the phases of launches in list order: a new one when a launch touches what one of the
 * current phase writes, or writes what one of them touches. */
void cg_number_phases(cg_launches *launches);

/* Whether the function returns logits of so many tokens. */
bool cg_has_logits(const cg_lower *l, uint32_t vocab);
/* Appends the launches that pick tokens from the logits, on a GPU. */
void cg_lower_picks(const cg_lower *l, uint32_t vocab, cg_launches *out);

/* Chunks of context up to which an index_topk scores nothing. */
uint32_t cg_condition_of(const cg_lower *l, const ir_op *op);
/* By kernel: chunks of context up to which nobody looks at its results; 0: somebody always does. */
uint32_t *cg_conditions(const cg_lower *l);
/* The launch has nothing to do in such contexts. */
void cg_set_condition(plan_launch *to, uint32_t above);

#endif
