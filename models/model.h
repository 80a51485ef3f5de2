/* model.h - a checkpoint, read: its graph, its tensors, its text side.
 *
 *    file ─import/{gguf,safetensors}─▶ model_source (tensors + keys) ─family─▶ ir_func */
#ifndef MODEL_H
#define MODEL_H

#include "base/plan.h"
#include "ir/ir.h"

typedef struct model_tensor {
   const char *name; /* canonical, e.g. "blk.0.attn_q.weight" (GGUF spelling, for both importers) */
   const char *source_name; /* as the checkpoint spells it */
   dtype dtype;
   uint32_t rank;
   uint64_t dim[4];     /* row-major, dim[0] outermost: a matrix is [N, K] */
   const uint8_t *data; /* mapped; valid while the model is open */
   uint64_t bytes, file_offset;
   bool read; /* a family used it; unread ones are an error */
   /* A stack of matrices that do not follow each other in one piece: where each begins, and bytes
    * from row to row. NULL and 0: all rows are at `data`, one after the other. */
   const uint8_t *const *parts;
   uint64_t row_stride;
} model_tensor;

/* Row r of a matrix, or of a stack whose matrices' rows are counted through. */
const uint8_t *model_tensor_row(const model_tensor *t, uint64_t r);

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
} model;

typedef struct model_options {
   int64_t max_rows;      /* T: token rows of the largest step */
   int64_t max_wanted;    /* R */
   int64_t max_sequences; /* S */
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
