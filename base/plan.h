/* plan.h - the artifact's schema: what the compiler decided and the runtime carries out. Read and
 * written only by plan.c.
 *
 *    variant ─ launch list ─ phase, phase, …     a barrier stands between phases, none inside
 *    launch = kernel + pointers (plan_ref) + constants + number of tiles
 *
 * Offsets are bytes. All arrays live in the arena given to plan_decode. */
#ifndef BASE_PLAN_H
#define BASE_PLAN_H

#include "arena.h"
#include "dtype.h"
#include "kargs.h"
#include "rope.h"

enum { PLAN_MAX_EOS = 16 };

typedef enum plan_head {
   PLAN_HEAD_logits,
   PLAN_HEAD_draft, /* logits of the layer that drafts tokens; what it keeps of a position depends on the token behind it,
                       so that no prefix of another sequence fits */
   PLAN_HEAD_hidden, /* no logits: the state after the last norm */
} plan_head;

/* How images become rows of patches, and rows of patches tokens. */
typedef struct plan_vision {
   uint32_t patch;                  /* side of a patch in pixels; 0: the model sees no images */
   uint32_t frames, channels;       /* of a patch */
   uint32_t merge;                  /* side of the square of patches that one token stands for */
   uint32_t table;                  /* side of the square of learned positions; 0: none */
   int32_t token;                   /* stands for a row of features in a prompt; -1: not known */
   int32_t before, after;           /* tokens around those of an image; -1: none */
   uint64_t min_pixels, max_pixels; /* of an image once it is resized */
   double mean[3], std[3];          /* by channel, of values from 0 to 1 */
} plan_vision;

/* Numbers of a row of patches. */
static inline uint32_t plan_patch_width(const plan_vision *v)
{
   return v->channels * v->frames * v->patch * v->patch;
}

typedef struct plan_model {
   const char *name, *family; /* "SmolLM2-135M-Instruct", "llama" */
   uint32_t vocab, layers, width, trained_context;
   uint32_t exact; /* numerics: 1 exact, 0 fast */
   uint32_t head;  /* what a row of output 0 is, a plan_head */
   int32_t bos;
   uint32_t num_eos;
   int32_t eos[PLAN_MAX_EOS];
   uint32_t adds_bos;
   uint32_t
      tower; /* 1: the vision tower, whose rows of logits are features: vocab is their width */
   plan_vision vision;
} plan_model;

/* Floats of a row of output 0. */
static inline uint32_t plan_row(const plan_model *m)
{
   return m->head == PLAN_HEAD_hidden ? m->width : m->vocab;
}

/* Layers that share block table and slots. Layout of one page of one layer, per kv head g (dtype
 * e): k e[d][PAGE_TOKENS] (transposed), then v e[PAGE_TOKENS][d]; of kinds with one row a position:
 * e[PAGE_TOKENS][d]; of entries e[plan_page_rows][d]. Heads follow each other; pages follow each
 * other. */
typedef struct plan_cache_group {
   uint32_t kind;         /* row of states.def */
   uint32_t heads, width; /* G, d */
   int64_t window;        /* 0: all positions */
   uint32_t ratio;        /* positions of a chunk, of kinds with an entry for each; else 0 */
   uint32_t dtype;        /* how k and v are stored */
   uint32_t num_layers;
} plan_cache_group;

extern const uint32_t plan_state_rows[]; /* column rows of states.def, by kind */
/* Whether a kind of state has pages and block tables; else a page is the whole state of a sequence,
 * e[heads][width]. */
extern const bool plan_state_paged[];

/* Whether a kind of state has a row for each closed chunk instead of each position. */
extern const bool plan_state_entries[];

/* Rows of a page: a position each, or those of the chunks that can close in it. */
static inline uint32_t plan_page_rows(uint32_t ratio)
{
   return ratio ? (PAGE_TOKENS + ratio - 1) / ratio : PAGE_TOKENS;
}

/* Where in the pages the entry of the chunk goes that a position closes, when page `page` holds the
 * position; -1 when it closes none. Chunks that close in pages before it have number position's
 * page * PAGE_TOKENS / ratio and below. */
static inline int64_t plan_entry_slot(uint32_t ratio, int64_t page, int64_t position)
{
   int64_t before = position / PAGE_TOKENS * PAGE_TOKENS / ratio;

   if ((position + 1) % ratio)
      return -1;
   return page * plan_page_rows(ratio) + (position + 1) / ratio - 1 - before;
}

/* Bytes of one position in one layer (0 where a page is a whole state), and of one page of it. */
uint64_t plan_token_bytes(const plan_cache_group *g);
uint64_t plan_page_bytes(const plan_cache_group *g);

/* extent = k * ceil(sym[f0] / div0) * ceil(sym[f1] / div1) …; num_factors may be 0. A factor with a
 * `most` is at most that, as the chunks that a window reaches; only costs have one. `above`: 0 in
 * steps of at most so many chunks of context (sym C), the condition of a region that only others
 * need; 0: none. */
typedef struct plan_extent {
   int64_t k;
   uint32_t above;
   uint32_t num_factors;
   struct {
      uint32_t sym, div;
   } factor[3];
   uint32_t most[3]; /* by factor; 0: unbounded */
} plan_extent;

int64_t plan_extent_eval(const plan_extent *e, const int64_t *syms);

typedef enum plan_ref_kind {
   PLAN_REF_arena,   /* activation arena + offset */
   PLAN_REF_weight,  /* weight section + offset */
   PLAN_REF_state,   /* pages of layer `index2` of cache group `index` */
   PLAN_REF_meta,    /* field `index` of meta.def, instance `index2` (cache group or rope table) */
   PLAN_REF_scratch, /* scratch memory + offset: contents do not survive a phase chain of one group
                      */
   PLAN_REF_output, /* what the host reads: `index` 0 = f32[R, plan_row], then plan.routes, then plan_output_picks */
} plan_ref_kind;

typedef struct plan_ref {
   uint32_t kind, index, index2;
   uint64_t offset;
} plan_ref;

typedef struct plan_launch {
   uint32_t kernel; /* index into plan.kernels */
   uint32_t phase;  /* ascending; launches of equal phase run without a barrier between them */
   uint32_t group;  /* id of the kernel group it came from, index into plan.groups */
   plan_extent tiles;
   uint32_t num_refs, num_consts;
   plan_ref refs[KARGS_MAX_PTRS];
   int64_t consts[KARGS_MAX_CONSTS];
   plan_extent bytes, flops; /* cost model, for bench, explain */
} plan_launch;

typedef enum plan_segment_kind { PLAN_SEGMENT_recorded, PLAN_SEGMENT_eager } plan_segment_kind;

typedef struct plan_segment {
   uint32_t kind, first_launch, num_launches;
   const char *reason; /* eager: the property chain that broke it */
} plan_segment;

/* The first whose guards hold is chosen: sym[T] <= max_rows, sym[C] <= max_chunks. Rows ascend, and
 * chunks with equal rows; the last one of each number of rows takes any context. */
typedef struct plan_variant {
   const char *name;             /* "decode", "deep", "prefill" */
   int64_t max_rows, max_chunks; /* max_chunks 0: any */
   uint32_t num_launches, num_segments;
   plan_launch *launches;
   plan_segment *segments;
} plan_variant;

typedef struct plan_kernel {
   const char *symbol; /* in the target's code object */
   const char *family; /* "region", "gemm", "attention", … */
} plan_kernel;

typedef struct plan_group { /* for people and tools: where a launch came from */
   const char *name, *rule;
} plan_group;

/* How one packed weight is made: sources one below the other, or each a matrix of its own in a
 * stack, transposed or not, stored at offset. */
typedef struct plan_source {
   const char *tensor; /* name in the checkpoint */
   uint64_t first_row, num_rows;
} plan_source;

typedef struct plan_weight {
   uint32_t layout;       /* row of panels.def */
   uint32_t dtype;        /* of the source */
   uint64_t rows, cols;   /* N, K after stacking */
   uint32_t stack;        /* matrices of rows / stack rows, whole panels each; 1: one matrix */
   uint32_t transposed;   /* 1: each source is [cols, rows / stack] */
   uint64_t offset, size; /* in the weight section, 64-byte aligned */
   uint32_t num_sources;
   plan_source *sources;
} plan_weight;

/* Expert ids that a layer shows: output 1 + index, i32[T][k]. */
typedef struct plan_routes {
   uint32_t layer, k, experts; /* ids are below `experts` */
} plan_routes;

typedef struct plan {
   plan_model model;
   const char *target;         /* "cpu:x86-64-v3", "ref" */
   int64_t sym_max[SYM_COUNT]; /* largest T, R, S, A this plan was made for; 0 for C, B and Q
                                  (engine-time) */
   uint64_t arena_bytes, weight_bytes;
   plan_extent scratch; /* bytes */
   uint32_t num_cache_groups, num_ropes, num_kernels, num_groups, num_weights, num_variants,
      num_routes;
   plan_cache_group *cache_groups;
   rope_spec *ropes;
   plan_kernel *kernels;
   plan_group *groups;
   plan_weight *weights;
   plan_routes *routes;
   plan_variant *variants;
} plan;

/* The output of tokens that launches pick from the logits, i32[R]: base/draw.h. */
static inline uint32_t plan_output_picks(const plan *p)
{
   return p->num_routes + 1;
}

/* Whether there are such launches. */
bool plan_has_picks(const plan *p);

/* Serialises into bytes owned by a: deterministic, little-endian. */
void plan_encode(arena *a, const plan *p, const uint8_t **out, size_t *out_size);

/* Reads and checks every index, offset and extent against its table and the given section sizes, so
 * that nothing that passes can make the runtime read or write outside its memory. Errors BAD_INPUT
 * with the offset and reason. */
SINTER_CHECKED sinter_status plan_decode(arena *a, const uint8_t *bytes, size_t size,
                                         uint64_t weight_section, plan **out);

#endif
