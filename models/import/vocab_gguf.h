/* vocab_gguf.h - a tokenizer from the arrays of a GGUF file. */
#ifndef MODEL_VOCAB_GGUF_H
#define MODEL_VOCAB_GGUF_H

#include "gguf.h"
#include "vocab_build.h"

/* What tokenizer.ggml.* says, unpacked. */
typedef struct gguf_vocab {
   const char *architecture, *model, *pre; /* NUL-terminated; "" when absent */
   uint64_t num_tokens, num_merges;
   const gguf_string *tokens, *merges;
   const gguf_value *types, *scores;     /* NULL when absent */
   int32_t bos, eos, unk;                /* -1: none */
   int adds_bos, adds_eos, space_prefix; /* -1: not said */
} gguf_vocab;

SINTER_CHECKED sinter_status gguf_build(vocab_build *b, const gguf_vocab *g);

#endif
