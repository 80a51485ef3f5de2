/* vocab_hf.h - what the files that read tokenizer.json share. */
#ifndef MODEL_VOCAB_HF_H
#define MODEL_VOCAB_HF_H

#include "base/json.h"
#include "vocab_build.h"

/* The four pipeline members of tokenizer.json, each NULL or JSON null when absent. */
SINTER_CHECKED sinter_status hf_normalizer(vocab_build *b, const json *j, int depth);
SINTER_CHECKED sinter_status hf_pre_tokenizer(vocab_build *b, const json *j, int depth);
SINTER_CHECKED sinter_status hf_post_processor(vocab_build *b, const json *j, int depth);
SINTER_CHECKED sinter_status hf_decoder(vocab_build *b, const json *j);

/* Members with a type check: absent or of another type gives the default. */
bool hf_bool(const json *j, const char *key, bool otherwise);
const json *hf_string(const json *j, const char *key);

SINTER_CHECKED sinter_status hf_unsupported(const char *part, const char *what);
SINTER_CHECKED sinter_status hf_bad(const json *at, const char *what);

/* Reads a tokenizer.json into a builder. num_tokens 0: ids are not bounded by a model. */
SINTER_CHECKED sinter_status hf_read(vocab_build *b, const json *root, uint32_t num_tokens);

#endif
