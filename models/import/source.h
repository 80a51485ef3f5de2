/* source.h - an opened checkpoint: mapped files, tensors under canonical names, and its keys.
 *
 *    model.gguf                          ┐
 *    config.json + *.safetensors (+index)┴▶ model_source: tensors[], gguf keys or config.json */
#ifndef MODEL_SOURCE_H
#define MODEL_SOURCE_H

#include "base/json.h"
#include "gguf.h"
#include "models/model.h"

/* One file kept mapped until source_unmap. */
typedef struct source_file {
   const char *path;
   const uint8_t *bytes;
   uint64_t size;
   struct source_file *next;
} source_file;

typedef struct model_source {
   arena *a;
   const char *path;
   source_file **files;       /* list head, owned by the model so that it survives a failed open */
   gguf_file *gguf;           /* NULL for a folder */
   const json *config;        /* config.json; NULL for GGUF */
   VEC(model_tensor) tensors; /* canonical names are set by source_name_tensors */
   const char *unused_tower;  /* prefix of the first tensor of another tower, NULL none */
   uint32_t num_unused;       /* tensors of other towers */
} model_source;

/* Maps a whole regular file and adds it to the list. An empty file is BAD_INPUT. */
SINTER_CHECKED sinter_status source_map(model_source *s, const char *path, source_file **out);
void source_unmap(source_file *list);

/* Reads a small text file (at most 64 MiB) through a mapping; NULL in *out when there is none. */
SINTER_CHECKED sinter_status source_json(model_source *s, const char *dir, const char *name,
                                         json **out);

/* Opens a GGUF file, or a folder's config.json and weights. */
SINTER_CHECKED sinter_status source_open(model_source *s);

/* Reads the tensor table of one mapped safetensors file and appends its tensors, sorted by name.
 *
 * Errors  BAD_INPUT when a header, shape or range contradicts the file: ranges must tile the data
 * section. */
SINTER_CHECKED sinter_status safetensors_read(model_source *s, const source_file *file);

/* model.safetensors, or every shard that model.safetensors.index.json names. */
SINTER_CHECKED sinter_status safetensors_read_folder(model_source *s);

/* Gives every tensor its canonical name by names.def and fills `by_name`.
 *
 *   family   rows of names.def that apply
 *
 * Tensors of other towers (vision) and buffers that are computed are marked as read. */
SINTER_CHECKED sinter_status source_name_tensors(model_source *s, const char *family, map *by_name);

/* Counts a tensor of another tower; the first one's name is kept. */
void source_skip_tower(model_source *s, const char *name);

/* The failure that two tensors have one canonical name. */
SINTER_CHECKED sinter_status source_twice(const model_source *s, const char *name);

/* Stacks under construction: the matrices of all experts as one tensor. */
typedef struct source_stack source_stack;
typedef struct source_stacks {
   map by_name;
   VEC(source_stack *) list;
} source_stacks;

/* Makes t, whose canonical name is that of the stack, number `expert` of it. */
SINTER_CHECKED sinter_status source_stack_add(model_source *s, source_stacks *stacks,
                                              model_tensor *t, long expert);

/* Turns every stack into one tensor and puts it into by_name: its first part takes the stack's
 * place in the list of tensors, the others count as read.
 *
 * Errors  BAD_INPUT when an expert is missing or differs from the others in shape or type. */
SINTER_CHECKED sinter_status source_stack_all(model_source *s, source_stacks *stacks, map *by_name);

/* How a Hugging Face checkpoint of that family would spell a canonical name, for messages. */
const char *source_spelling(arena *a, const char *family, const char *name);

/* Files of a checkpoint whose bytes decide what it means, in a fixed order. */
SINTER_CHECKED sinter_status source_files(arena *a, const char *path, const char ***out_paths,
                                          size_t *out_count);

#endif
