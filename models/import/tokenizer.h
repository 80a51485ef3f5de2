/* tokenizer.h - the text side of a checkpoint: vocabulary blob, chat template, special ids. */
#ifndef MODEL_TOKENIZER_H
#define MODEL_TOKENIZER_H

#include "base/json.h"
#include "base/plan.h"
#include "gguf.h"

typedef struct model_text {
   const uint8_t
      *vocab; /* precompiled tokenizer, base/vocab.h; NULL when the checkpoint has none */
   size_t vocab_size;
   const char *chat_template; /* NULL: none */
   int32_t bos;               /* -1: the tokenizer names none */
   uint32_t num_eos;          /* ends of text and of turn the tokenizer knows of; the importer adds
                                 config.json's */
   int32_t eos[PLAN_MAX_EOS];
   bool adds_bos;
} model_text;

/* From the tokenizer.* keys of a GGUF file; marks those it uses as read.
 *
 *   num_tokens   rows of the embedding: ids must be below it
 *
 * Errors  BAD_INPUT when the keys contradict each other; UNSUPPORTED for a tokenizer kind that is
 * not ours. */
SINTER_CHECKED sinter_status model_vocab_from_gguf(arena *a, gguf_file *g, uint32_t num_tokens,
                                                   model_text *out);

/* From tokenizer.json, tokenizer_config.json and chat_template.jinja of a checkpoint folder.
 *
 * Errors  BAD_INPUT, UNSUPPORTED as above; a folder without tokenizer.json gives vocab NULL and no
 * error. */
SINTER_CHECKED sinter_status model_vocab_from_hf(arena *a, const char *dir, uint32_t num_tokens,
                                                 model_text *out);

#endif
