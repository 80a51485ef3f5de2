/* family.h - what a family's graph is written with. Nothing here mentions devices, quantisation,
 * paging or batching.
 *
 * A failure (a missing tensor, a wrong shape) is kept in the builder and building goes on with a
 * value of the type that was asked for, so that a definition reads without error handling;
 * model_open reports the first one. */
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "import/config.h"
#include "model.h"

typedef struct model_build {
   model *m;
   const model_config *config;
   ir_builder b;
   ir_value *ids, *rows; /* token of each row; rows whose logits are wanted */
   ir_value *next_ids;   /* token behind each row; NULL unless the draft layer is computed */
   ir_value *features;   /* rows of images in the place of embeddings; NULL: the model sees none */
   uint32_t num_layers;  /* with the draft layers that are computed */
   bool hidden;          /* the output is what the last norm gives */
   /* cos and sin: of full layers, of sliding ones where they differ, then config->more_ropes */
   ir_value *tables[MODEL_MAX_ROPES];
   ir_value **kv; /* per layer: the state before its block, after it once the block is built; NULL
                     for layers that read another's */
   ir_value **conv, **memory; /* of recurrent layers, in the place of kv: inputs of the convolution,
                                 what the delta net remembers */
   ir_value **rows_of, **entries,
      **keys;                  /* of layers with compressed attention: what entries are made
                                          of, entries, keys to choose them by; NULL elsewhere */
   ir_value **routes;          /* per layer: captured expert ids, NULL for dense layers */
   struct expert_map *experts; /* where experts lie; NULL: as stored */
   ir_value *positions;        /* of each row; NULL until somebody asks */
   map weights;          /* tensor name → ir_value: a tensor that is used twice is one value */
   sinter_status status; /* first failure */
} model_build;

/* Says in the state of a layer which scales the checkpoint has for it (kv_scales.c). */
void model_kv_scales(model_build *m, uint32_t l);

/* Rows of the embedding table for the step's tokens, times `scale`. f32[T, D] */
ir_value *model_embed(model_build *m, double scale);

/* x W^T (+ bias when `bias`), W = blk.<l>.<name>.weight[rows, row length of x]. f32[…, rows] */
ir_value *model_linear(model_build *m, uint32_t l, const char *name, ir_value *x, uint32_t rows,
                       bool bias);

/* RMSNorm over the last dim with blk.<l>.<name>.weight. */
ir_value *model_norm(model_build *m, uint32_t l, const char *name, ir_value *x);

/* [T, n*d] → [T, n, d], and back. */
ir_value *model_heads(model_build *m, ir_value *x, uint32_t n);
ir_value *model_merge(model_build *m, ir_value *x);

/* The projections of attention, in heads. f32[T, n, d] */
ir_value *model_query(model_build *m, uint32_t l, ir_value *x);
ir_value *model_key(model_build *m, uint32_t l, ir_value *x);
ir_value *model_value(model_build *m, uint32_t l, ir_value *x);

/* Rotates each head of x[T, n, d] by the table of layer l. */
ir_value *model_rope(model_build *m, uint32_t l, ir_value *x);

/* Appends k and v to the state of layer l, then attends with q. f32[T, H, d] */
ir_value *model_attend(model_build *m, uint32_t l, ir_value *q, ir_value *k, ir_value *v);

/* ffn_down<kind> (act(ffn_gate<kind> x) * (ffn_up<kind> x)) of layer l. kind "": the layer's own;
 * "_shexp": of its shared experts. */
ir_value *model_gated(model_build *m, uint32_t l, const char *kind, ir_value *x, uint32_t ffn,
                      ir_value *(*act)(ir_builder *b, ir_value *x));

/* The halves of a block, and which norms are around them:
 *
 *    h += post_attention_norm?(attention(attn_norm?(h)))
 *    h += post_ffw_norm?(feed_forward(ffn_norm?(h)))
 */
typedef struct model_halves {
   ir_value *(*attention)(model_build *m, uint32_t l, ir_value *x);
   ir_value *(*feed_forward)(model_build *m, uint32_t l, ir_value *x);
   bool norm_in, norm_out;
} model_halves;

/* h behind the block of layer l, named; behind the blocks of all layers. */
ir_value *model_block(model_build *m, uint32_t l, ir_value *h, const model_halves *of);
ir_value *model_blocks(model_build *m, ir_value *h, const model_halves *of);

/* y[T, C] of the causal convolution of width W over x[T, C] with blk.<l>.<name>, stored [C, W] or
 * [C, 1, W]; moves the conv state of layer l on. */
ir_value *model_conv(model_build *m, uint32_t l, const char *name, ir_value *x, uint32_t width);

/* Makes rows first[i] .. first[i] + part, i < count, of the tensor `from`, which has `rows`, the
 * tensor `name` (gather.c). Without `from` there is no `name`. */
void model_gather(model_build *m, const char *from, uint64_t rows, const char *name, uint64_t part,
                  const uint64_t *first, uint64_t count);

/* What a mixture of experts needs to know besides its tensors (moe.c). */
typedef struct model_experts {
   uint32_t experts, used, ffn; /* E, K, F */
   ir_attrs route;              /* of op route; k is filled in */
   bool select_bias;            /* blk.<l>.exp_probs_b.bias is added for the selection */
   bool router_bias, biases;    /* the router's logits, each expert's three matrices have one */
   bool alternate;              /* gate and up in one stack take turns row by row */
   /* silu(gate) * up unless given */
   ir_value *(*act)(model_build *m, ir_value *gate, ir_value *up);
} model_experts;

/* Sum over the experts that the router chooses for each row of x[T, D] of weight * expert(x):
 *
 *    logits = x W_ffn_gate_inp^T ─route─▶ ids (captured), weights
 *    ffn_down_exps[e] (act(ffn_gate_exps[e] x) * (ffn_up_exps[e] x)), combined by weight
 *
 * Stacks are three tensors, or gate and up in one (ffn_gate_up_exps, gate rows first,
 * or alternating); biases alike. */
ir_value *model_moe(model_build *m, uint32_t l, ir_value *x, const model_experts *how);

/* A stack of plain matrices that the checkpoint holds as [n, cols, rows] is [n, rows, cols] from
 * here on; quantised ones are as they should be. */
void model_turn_stack(model_build *m, uint32_t l, const char *name);

/* The two halves of it, for routers of another kind: ids and weights of x; the experts' sum. */
ir_op *model_route(model_build *m, uint32_t l, ir_value *x, const model_experts *how);
ir_value *model_experts_of(model_build *m, uint32_t l, ir_value *x, ir_value *ids,
                           ir_value *weights, const model_experts *how);

/* blk.<l>.<name> as f32[n], as a matrix [rows, cols] and as a stack [n, rows, cols] in their stored
 * types; name with its suffix. */
ir_value *model_vector(model_build *m, uint32_t l, const char *name, uint64_t n);
ir_value *model_matrix(model_build *m, uint32_t l, const char *name, uint64_t rows, uint64_t cols);
ir_value *model_stack(model_build *m, uint32_t l, const char *name, uint64_t n, uint64_t rows,
                      uint64_t cols);

/* The same for a table of f32, widened when it is small floats; and for one of expert ids,
 * ascending in each row, all below `below`. */
ir_value *model_table(model_build *m, const char *name, uint64_t rows, uint64_t cols);
ir_value *model_ids(model_build *m, uint32_t l, const char *name, uint64_t rows, uint64_t cols,
                    uint64_t below);

/* The same for tensors that belong to no layer. */
ir_value *model_global_vector(model_build *m, const char *name, uint64_t n);
ir_value *model_global_matrix(model_build *m, const char *name, uint64_t rows, uint64_t cols);

/* The number that the tensor blk.<l>.<name> of one element holds. */
double model_number(model_build *m, uint32_t l, const char *name);
double model_global_number(model_build *m, const char *name);

/* Final norm and head for the wanted rows, capped when the config says so. Returns f32[R, V] and
 * every state. */
void model_finish(model_build *m, ir_value *h);
/* The same for rows that have been chosen already. */
void model_finish_rows(model_build *m, ir_value *h);
/* The same with another norm. */
void model_finish_with(model_build *m, ir_value *h, const char *norm);

/* Weight of the final norm. */
ir_value *model_output_norm(model_build *m);

/* Rows of the embedding table for other ids. f32[T, D] */
ir_value *model_embed_ids(model_build *m, ir_value *ids);

/* Marks a tensor that must be a copy of another one as read; fails when it is not. */
void model_expect_copy(model_build *m, uint32_t l, const char *name, const char *of);

/* Appends the graph of the vision tower (vision.c). */
void model_build_tower(model_build *m);

/* Names a value of layer l for people: h<l>. model_block does. */
ir_value *model_name_block(model_build *m, uint32_t l, ir_value *h);

/* Families, as models.def names them. */
#define MODEL(name, family, hf_class, model_type, gguf, rope, traits)                              \
   void family##_defaults(model_config *c);                                                        \
   SINTER_CHECKED sinter_status family##_derive(model_source *s, model_config *c);                 \
   void family##_build(model_build *m);
#include "models.def"

#endif
