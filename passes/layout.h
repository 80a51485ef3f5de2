/* layout.h - what the last passes (partition, plan_memory, pack_weights) decide, and codegen turns
 * into a plan. */
#ifndef PASS_LAYOUT_H
#define PASS_LAYOUT_H

#include "base/attention.h"
#include "base/map.h"
#include "base/plan.h"
#include "ir/ir.h"

typedef enum pass_place_kind {
   PASS_PLACE_kernel, /* lives inside one kernel only: no memory */
   PASS_PLACE_arena,
   PASS_PLACE_weight, /* index: into weights; index2: 1 + that of its top panels, 0: none */
   PASS_PLACE_state,  /* index: cache group; index2: layer within it */
   PASS_PLACE_meta,   /* index: field; index2: instance */
   PASS_PLACE_output, /* index: which return */
   PASS_PLACE_alias,  /* reshape: the memory of alias */
} pass_place_kind;

typedef struct pass_place {
   pass_place_kind kind;
   uint32_t index, index2;
   uint64_t offset, size; /* arena: bytes at the largest bucket */
   const ir_value *alias;
} pass_place;

typedef struct pass_segment {
   uint32_t first_kernel, num_kernels; /* in program order */
   plan_segment_kind kind;
   const char *reason;
} pass_segment;

/* How attentions of one kind are computed. */
typedef struct pass_attention {
   attention_query query;
   attention_backend backend;
   const char *refused[ATTENTION_BACKENDS]; /* why not this one; NULL: it is taken */
   const char *at;                          /* the first of them */
   uint32_t count;
} pass_attention;

typedef struct pass_layout {
   const struct pass_layout
      *prompts;        /* of the form that prompts have of their own; NULL: this one */
   pass_place *places; /* by ir_value.id */
   uint64_t arena_bytes, weight_bytes;
   uint32_t num_segments, num_weights, num_cache_groups;
   pass_segment *segments;
   plan_weight *weights;
   map views; /* tensor and view → 1 + index into weights */
   plan_cache_group *cache_groups;
   uint32_t num_kernels;
   ir_group **kernels; /* in program order; segments count in it */
   uint32_t num_attentions;
   pass_attention *attentions;
   uint32_t *attention_of; /* of an op, by id: into attentions */
} pass_layout;

#endif
