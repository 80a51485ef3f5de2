/* tiny.h - the smallest checkpoints that open, written byte by byte: what truncation, mutation and
 * fuzz tests start from.
 *
 * One llama layer, D 8, H 2, G 1, d 4, F 8, V 12, weights f32. */
#ifndef TESTS_MODELS_TINY_H
#define TESTS_MODELS_TINY_H

#include "base/arena.h"

enum { TINY_D = 8, TINY_KV = 4, TINY_V = 12, TINY_FILE = 16 << 10 };

typedef struct tiny_file {
   size_t size;
   uint8_t bytes[TINY_FILE];
} tiny_file;

typedef struct tiny_tensor {
   const char *gguf, *hf;
   uint64_t rows, cols; /* rows 0: a vector */
} tiny_tensor;

static const tiny_tensor tiny_tensors[] = {
   {"token_embd.weight", "model.embed_tokens.weight", TINY_V, TINY_D},
   {"output_norm.weight", "model.norm.weight", 0, TINY_D},
   {"output.weight", "lm_head.weight", TINY_V, TINY_D},
   {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", 0, TINY_D},
   {"blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", TINY_D, TINY_D},
   {"blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", TINY_KV, TINY_D},
   {"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight", TINY_KV, TINY_D},
   {"blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight", TINY_D, TINY_D},
   {"blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight", 0, TINY_D},
   {"blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight", TINY_D, TINY_D},
   {"blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight", TINY_D, TINY_D},
   {"blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight", TINY_D, TINY_D},
};

static inline uint64_t tiny_count(const tiny_tensor *t)
{
   return (t->rows ? t->rows : 1) * t->cols;
}

static inline void tiny_put(tiny_file *f, const void *data, size_t n)
{
   assert(f->size + n <= TINY_FILE);
   memcpy(f->bytes + f->size, data, n);
   f->size += n;
}

static inline void tiny_int(tiny_file *f, uint64_t v, size_t n)
{
   tiny_put(f, &v, n);
}

static inline void tiny_string(tiny_file *f, const char *s)
{
   tiny_int(f, strlen(s), 8);
   tiny_put(f, s, strlen(s));
}

/* A key of GGUF type u32 (4), f32 (6), bool (7) or string (8). */
typedef struct tiny_key {
   const char *name;
   uint32_t type;
   double number;
   const char *text;
} tiny_key;

static inline void tiny_put_key(tiny_file *f, const tiny_key *k)
{
   float single = (float)k->number;

   tiny_string(f, k->name);
   tiny_int(f, k->type, 4);
   if (k->type == 8)
      tiny_string(f, k->text);
   else if (k->type == 6)
      tiny_put(f, &single, 4);
   else
      tiny_int(f, (uint64_t)k->number, k->type == 7 ? 1 : 4);
}

static inline void tiny_weights(tiny_file *f)
{
   uint32_t seed = 7;

   for (size_t i = 0; i < countof(tiny_tensors); i++)
      for (uint64_t k = 0; k < tiny_count(&tiny_tensors[i]); k++) {
         seed = seed * 1664525 + 1013904223;
         float v = (float)(seed >> 8) / (1 << 24) - 0.5f;
         tiny_put(f, &v, 4);
      }
}

/* What a GGUF file may have besides. */
typedef struct tiny_extra {
   size_t num_keys;
   const tiny_key *keys;
   bool no_head;       /* without output.weight: tied */
   bool freqs;         /* with rope_freqs.weight {1, 2} */
   const char *tensor; /* another vector, NULL none */
} tiny_extra;

static inline void tiny_gguf_tensor(tiny_file *f, const char *name, uint64_t rows, uint64_t cols,
                                    uint64_t *offset)
{
   tiny_string(f, name);
   tiny_int(f, rows ? 2 : 1, 4);
   tiny_int(f, cols, 8);
   if (rows)
      tiny_int(f, rows, 8);
   tiny_int(f, 0, 4);
   tiny_int(f, *offset, 8);
   *offset += base_align((rows ? rows : 1) * cols * 4, 32);
}

/* A GGUF file of that version. The tensors of the model are multiples of 32 bytes; a head that is
 * left out of the table leaves its bytes unused. */
static inline void tiny_gguf(tiny_file *f, uint32_t version, const tiny_extra *extra)
{
   static const tiny_key keys[] = {
      {"general.architecture", 8, 0, "llama"},
      {"llama.block_count", 4, 1, NULL},
      {"llama.embedding_length", 4, TINY_D, NULL},
      {"llama.context_length", 4, 64, NULL},
      {"llama.feed_forward_length", 4, TINY_D, NULL},
      {"llama.attention.head_count", 4, 2, NULL},
      {"llama.attention.head_count_kv", 4, 1, NULL},
      {"llama.attention.layer_norm_rms_epsilon", 6, 1e-5, NULL},
   };
   static const float freqs[8] = {1, 2};
   uint64_t offset = 0;
   size_t n = countof(tiny_tensors) - extra->no_head + extra->freqs + (extra->tensor != NULL);

   f->size = 0;
   tiny_put(f, "GGUF", 4);
   tiny_int(f, version, 4);
   tiny_int(f, n, 8);
   tiny_int(f, countof(keys) + extra->num_keys, 8);
   for (size_t i = 0; i < countof(keys); i++)
      tiny_put_key(f, &keys[i]);
   for (size_t i = 0; i < extra->num_keys; i++)
      tiny_put_key(f, &extra->keys[i]);
   for (size_t i = 0; i < countof(tiny_tensors); i++) {
      const tiny_tensor *t = &tiny_tensors[i];
      if (extra->no_head && strcmp(t->gguf, "output.weight") == 0)
         offset += tiny_count(t) * 4;
      else
         tiny_gguf_tensor(f, t->gguf, t->rows, t->cols, &offset);
   }
   if (extra->freqs)
      tiny_gguf_tensor(f, "rope_freqs.weight", 0, 2, &offset);
   if (extra->tensor)
      tiny_gguf_tensor(f, extra->tensor, 0, 2, &offset);
   while (f->size % 32)
      tiny_int(f, 0, 1);
   tiny_weights(f);
   if (extra->freqs)
      tiny_put(f, freqs, sizeof freqs);
   if (extra->tensor)
      tiny_put(f, freqs, sizeof freqs);
}

static inline void tiny_safetensors(tiny_file *f, arena *a)
{
   text_buf header = {.a = a};
   uint64_t offset = 0;

   text_printf(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
   for (size_t i = 0; i < countof(tiny_tensors); i++) {
      const tiny_tensor *t = &tiny_tensors[i];
      uint64_t end = offset + tiny_count(t) * 4;
      text_printf(&header, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[", t->hf);
      if (t->rows)
         text_printf(&header, "%llu,", (unsigned long long)t->rows);
      text_printf(&header, "%llu],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t->cols,
                  (unsigned long long)offset, (unsigned long long)end);
      offset = end;
   }
   text_printf(&header, "}");
   f->size = 0;
   tiny_int(f, header.len, 8);
   tiny_put(f, header.data, header.len);
   tiny_weights(f);
}

#define TINY_CONFIG                                                                                \
   "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":8,\"intermediate_size\":8,"          \
   "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                  \
   "\"max_position_embeddings\":64,\"vocab_size\":12,\"rms_norm_eps\":1e-5,\"hidden_act\":"        \
   "\"silu\"}"

#endif
