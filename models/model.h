/* model.h - a checkpoint, read: its graph, its tensors, its text side.
 *
 *    file ─import/{gguf,safetensors}─▶ model_source (tensors + keys) ─family─▶ ir_func */
#ifndef MODEL_H
#define MODEL_H

#include "base/plan.h"
#include "ir/ir.h"

enum { MODEL_F8_BLOCK = 128, MODEL_MAX_ROPES = 8 };

/* How rows are put together whose bytes do not lie in the file as the tensor's type has them. */
typedef enum model_layout_kind {
   MODEL_ROWS_plain,      /* they do */
   MODEL_ROWS_f8,         /* f8_128 or i8_128 from codes, and scales of block_rows x block_cols */
   MODEL_ROWS_mxfp4,      /* mxfp4 from codes, the even element low, and scales */
   MODEL_ROWS_nvfp4,      /* i8_16 from such codes, e4m3 scales of 16 and one divisor */
   MODEL_ROWS_transposed, /* matrices stored [K, N] */
} model_layout_kind;

/* Zero: matrices as they are, one after the other. */
typedef struct model_layout {
   model_layout_kind kind;
   uint64_t stored;      /* rows of a stored matrix; 0: as many as the tensor's has */
   uint64_t first, step; /* row i of a matrix is its stored row first + i * step; step 0 is 1 */
   const uint64_t *runs; /* not NULL: it is the stored row runs[i / run] + i % run */
   uint64_t run;
   const uint64_t *matrices; /* not NULL: matrix e of the stack is the stored one matrices[e] */
   dtype scale_type;         /* u8: powers of two, e8m0 */
   uint64_t block_rows, block_cols;
   const uint8_t *scales;             /* of all matrices */
   const uint8_t *const *scale_parts; /* not NULL: of each */
   const float *divisors;             /* of each matrix, or of all when they are one tensor */
} model_layout;

typedef struct model_tensor {
   const char *name; /* canonical, e.g. "blk.0.attn_q.weight" (GGUF spelling, for both importers) */
   const char *source_name; /* as the checkpoint spells it */
   dtype dtype;
   uint32_t rank;
   uint64_t dim[5];     /* row-major, dim[0] outermost: a matrix is [N, K] */
   const uint8_t *data; /* mapped; valid while the model is open */
   uint64_t bytes, file_offset;
   bool read;     /* a family used it; unread ones are an error */
   bool is_plane; /* part of another tensor, or not for us: it has no name of its own */
   model_layout layout;
   const uint8_t *const *parts; /* not NULL: where each matrix of a stack begins */
} model_tensor;

/* Rows of a tensor of rank >= 1: all extents but the last. */
uint64_t model_tensor_rows(const model_tensor *t);

/* Bytes of a row in the form of the tensor's type; 0 when its columns do not suit the type. */
uint64_t model_tensor_row_bytes(const model_tensor *t);

/* Row r of a matrix, or of a stack whose matrices' rows are counted through, in the form of the
 * tensor's type: in the file, or put together in scratch[model_tensor_row_bytes]. Thread: any. */
const void *model_tensor_row(const model_tensor *t, uint64_t r, void *scratch);

typedef struct model {
   arena *a;
   const char *path;
   ir_func *f; /* unfused: activations f32, weights in their stored types, KV f32 */
   plan_model info;
   uint32_t num_ropes;
   rope_spec *ropes;
   uint32_t num_tensors;
   model_tensor *tensors;
   map by_name; /* canonical name → model_tensor */
   const uint8_t
      *vocab_blob; /* precompiled tokenizer, base/vocab.h; NULL when the checkpoint has none */
   size_t vocab_size;
   const char *chat_template; /* NULL: none */
   VEC(const char *) notes;   /* for people: what of the checkpoint is not used */
   void *mapping;             /* importer's: files that stay mapped */
   struct model *tower;       /* what sees images: the same tensors, its own graph; NULL: none */
} model;

typedef struct model_options {
   int64_t max_rows;      /* T: token rows of the largest step */
   int64_t max_wanted;    /* R */
   int64_t max_sequences; /* S */
   bool draft;            /* the logits are those of the draft layer (multi-token prediction) */
   const char *experts;   /* NULL, or where experts lie (expert_map.c) */
   bool hidden;           /* no logits: the states after the last norm */
} model_options;

/* Opens a GGUF file, or a folder with config.json and safetensors. Fails on unread tensors, unset
 * parameters, unknown keys that matter. The model's memory is in a; model_close unmaps the files.
 */
SINTER_CHECKED sinter_status model_open(arena *a, const char *path, const model_options *options,
                                        model **out);
void model_close(model *m);

/* Digest over every byte of the checkpoint that was used to open it, for cache keys. */
SINTER_CHECKED sinter_status model_files(arena *a, const char *path, const char ***out_paths,
                                         size_t *out_count);

#endif
