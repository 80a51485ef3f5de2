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

static inline void tiny_key_u32(tiny_file *f, const char *name, uint32_t v)
{
   tiny_string(f, name);
   tiny_int(f, 4, 4);
   tiny_int(f, v, 4);
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

/* A GGUF file of that version. All tensors are multiples of 32 bytes, so the data needs no padding
 * inside. */
static inline void tiny_gguf(tiny_file *f, uint32_t version)
{
   static const struct {
      const char *name;
      uint32_t value;
   } keys[] = {
      {"llama.block_count", 1},          {"llama.embedding_length", TINY_D},
      {"llama.context_length", 64},      {"llama.feed_forward_length", TINY_D},
      {"llama.attention.head_count", 2}, {"llama.attention.head_count_kv", 1},
   };
   float eps = 1e-5f;
   uint64_t offset = 0;

   f->size = 0;
   tiny_put(f, "GGUF", 4);
   tiny_int(f, version, 4);
   tiny_int(f, countof(tiny_tensors), 8);
   tiny_int(f, countof(keys) + 2, 8);
   tiny_string(f, "general.architecture");
   tiny_int(f, 8, 4);
   tiny_string(f, "llama");
   for (size_t i = 0; i < countof(keys); i++)
      tiny_key_u32(f, keys[i].name, keys[i].value);
   tiny_string(f, "llama.attention.layer_norm_rms_epsilon");
   tiny_int(f, 6, 4);
   tiny_put(f, &eps, 4);
   for (size_t i = 0; i < countof(tiny_tensors); i++) {
      const tiny_tensor *t = &tiny_tensors[i];
      tiny_string(f, t->gguf);
      tiny_int(f, t->rows ? 2 : 1, 4);
      tiny_int(f, t->cols, 8);
      if (t->rows)
         tiny_int(f, t->rows, 8);
      tiny_int(f, 0, 4);
      tiny_int(f, offset, 8);
      offset += tiny_count(t) * 4;
   }
   while (f->size % 32)
      tiny_int(f, 0, 1);
   tiny_weights(f);
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
