/* config.h - what a checkpoint's keys say about its architecture, in one spelling. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include "source.h"

enum {
   MODEL_TRAIT_bias_by_flag = 1,      /* attention_bias: q, k, v, o; mlp_bias: gate, up, down */
   MODEL_TRAIT_qkv_bias = 2,          /* q, k, v always have one */
   MODEL_TRAIT_qk_norm = 4,           /* RMSNorm over each head of q and k */
   MODEL_TRAIT_window_everywhere = 8, /* sliding_window holds for all layers */
   MODEL_TRAIT_window_late = 16,   /* for layers from max_window_layers on, if use_sliding_window */
   MODEL_TRAIT_window_flag = 32,   /* for all layers, if use_sliding_window */
   MODEL_TRAIT_experts = 64,       /* layers may be mixtures of experts */
   MODEL_TRAIT_experts_gguf = 128, /* the same, in GGUF only */
   MODEL_TRAIT_delta_by_head = 256, /* delta nets keep the rows of a key head together */
   MODEL_TRAIT_select_bias = 512,   /* experts are chosen by sigmoid scores and a bias */
   MODEL_TRAIT_latent_keys = 1024,  /* GGUF: keys of latent attention, routing and draft layers */
   MODEL_TRAIT_by_layer = 2048,     /* GGUF: kv heads and widths that differ between layers */
   MODEL_TRAIT_vision = 4096, /* a vision_config describes a tower that sees images (vision.c) */
   MODEL_TRAIT_vision_old = 8192, /* of Qwen2-VL: hidden_size is that of the features, mlp_ratio */
   MODEL_TRAIT_uncapped = 16384,  /* the library never applies final_logit_softcapping */
};

/* Places of models.def's rows. */
enum {
#define MODEL(name, ...) MODEL_AT_##name,
#include "models/models.def"
};

struct model_build;
typedef struct model_config model_config;

/* A row of models.def. */
typedef struct model_row {
   const char *name, *family, *hf_class, *model_type, *gguf, *rope_style;
   unsigned traits;
   int at; /* MODEL_AT_ */
   /* Fields that config.json may leave out, before it is read; those of DEFAULT rows go on top. */
   void (*defaults)(model_config *c);
   /* Completes the fields that only this family derives: layer types, scales. */
   sinter_status (*derive)(model_source *s, model_config *c);
   /* Appends the whole graph; failures are kept in the builder. */
   void (*build)(struct model_build *m);
} model_row;

typedef uint32_t config_INT;
typedef double config_FLOAT;
typedef bool config_BOOL;

/* What a layer keeps of each position. */
typedef struct model_state {
   uint32_t heads, width; /* kv heads, and how wide they and the query heads are */
   uint32_t layer;        /* whose state it reads: its own, or an earlier one's */
} model_state;

/* Rows of the vision tower's largest step: no image has more patches. */
enum { MODEL_TOWER_ROWS = 16384, MODEL_TOWER_SEQUENCES = 64 };

/* The tower that sees images. */
typedef struct model_vision {
   uint32_t layers, heads, width, ffn, out; /* out: width of the features */
   bool quick;                              /* x sigmoid(1.702 x) instead of gelu in the blocks */
   plan_vision how;
   rope_spec rope;
} model_vision;

struct model_config {
   const model_row *row;
   bool from_folder; /* config.json and safetensors, not GGUF */
#define KEY(field, kind, need, hf, gguf) config_##kind field;
#include "config.def"
   const char *activation; /* "silu", "gelu_pytorch_tanh", …; NULL: the family's own */
   bool *sliding;          /* per layer: attends to the last `window` positions only */
   bool *sparse;           /* per layer: a mixture of experts */
   bool *recurrent;        /* per layer: a gated delta net instead of attention; NULL: none is */
   uint32_t *ratios; /* per layer: positions of a chunk that has an entry, 0 none; NULL: no layer */
   bool *indexed;    /* per layer: entries are made of two chunks, and chosen */
   bool *hashed;     /* per layer: a token's id decides its experts; NULL: in no layer */
   model_state *states; /* per layer; NULL: each its own, kv_heads of head_width */
   bool qkv_bias, output_bias;
   double norm_offset; /* added to norm weights: 1 where the checkpoint stores w - 1 */
   double attention_scale;
   const char *route_score; /* of op route, where the family reads it */
   const char *rope_style;
   rope_spec rope;       /* of full layers */
   rope_spec rope_local; /* of sliding layers, where the family has two */
   model_vision *vision; /* NULL: the model sees no images */
   uint32_t num_more_ropes;
   rope_spec *more_ropes; /* behind these two */
   int32_t bos;           /* -1: none */
   uint32_t num_eos;
   int32_t eos[PLAN_MAX_EOS];
};

/* Finds the row of a checkpoint's architecture.
 *
 * Errors  UNSUPPORTED with the list of what is supported; BAD_INPUT when the checkpoint names none.
 */
SINTER_CHECKED sinter_status config_find_row(model_source *s, const model_row **out);

/* Reads every key. Errors BAD_INPUT for values that cannot be, missing and contradicting ones;
 * UNSUPPORTED for unknown keys that may matter. */
SINTER_CHECKED sinter_status config_read(model_source *s, const model_row *row, model_config *out);

/* Fills the tables of rotary positions. `local_base` 0: the family has one table.
 * Reads rope_scaling or rope_parameters (config.json), or rope.scaling.* and the rope_freqs tensors
 * (GGUF). */
SINTER_CHECKED sinter_status config_read_rope(model_source *s, model_config *c, bool two_tables);

/* The two tables of DeepSeek V4: rope, of layers without entries, and rope_local, of those with
 * entries. */
SINTER_CHECKED sinter_status config_read_entry_ropes(model_source *s, model_config *c);

/* Fills c->vision where the architecture has a tower and config.json describes one.
 *
 * Errors  UNSUPPORTED for keys, activations and rotary kinds that are unknown; BAD_INPUT for values
 *         that cannot be. */
SINTER_CHECKED sinter_status config_read_vision(model_source *s, model_config *c);

/* The factor by which the attention's scale grows, squared, with mscale_all_dim; after
 * config_read_rope. 1 where there is none. */
double config_rope_mscale(const model_source *s, const model_config *c);

/* The text model's part of config.json. */
const json *config_text(const model_source *s);

/* Fills c->sliding from sliding_window_pattern: a number n, every n-th layer sees everything; or
 * letters L (slides) and G, repeated over the layers, of which the last sees everything. */
SINTER_CHECKED sinter_status config_window_pattern(model_source *s, model_config *c);

/* Overwrites c->sliding from layer_types (config.json) or the array form of sliding_window_pattern
 * (GGUF); *out_given says whether there was one. */
SINTER_CHECKED sinter_status config_layer_types(model_source *s, model_config *c, bool *out_given);

/* Fills c->sparse: the layers that hold experts, by mlp_only_layers and decoder_sparse_step, or in
 * GGUF by their tensors.
 *
 * Errors  UNSUPPORTED when the architecture has none; BAD_INPUT when counts cannot be. */
SINTER_CHECKED sinter_status config_sparse_layers(model_source *s, model_config *c);

/* The activation of the feed-forward, where the checkpoint names one. Errors UNSUPPORTED:
 * another. */
SINTER_CHECKED sinter_status config_check_activation(const model_source *s, const model_config *c,
                                                     const char *one);

/* GGUF: <architecture>.<key>, one number a layer, or one for all; false in *out_given when absent.
 *
 * Errors  BAD_INPUT when it is no list of numbers of that length. */
SINTER_CHECKED sinter_status config_layer_numbers(model_source *s, const model_config *c,
                                                  const char *key, uint32_t *out, bool *out_given);

/* Whether the checkpoint has a tensor spelled so. */
bool config_has_tensor(const model_source *s, const char *name);

/* A failure about the configuration: BAD_INPUT at the checkpoint's path. It is wrong, or says what
 * is larger or odder than this build has room for (past), which is to be reported. */
SINTER_CHECKED sinter_status config_fail(const model_source *s, bool past, const char *fmt, ...)
   PRINTF_LIKE(3, 4);
#define config_bad(s, ...) config_fail(s, false, __VA_ARGS__)
#define config_past(s, ...) config_fail(s, true, __VA_ARGS__)

/* Adds an end-of-text id once; BAD_INPUT when it is outside the vocabulary or there are too many.
 */
SINTER_CHECKED sinter_status config_add_eos(const model_source *s, model_config *c, int64_t id);

#endif
