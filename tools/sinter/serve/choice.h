/* choice.h - one answer to one prompt, between the engine and the reply. The lock of its job is
 * held. */
#ifndef CHOICE_H
#define CHOICE_H

#include "job.h"

/* Submits it; a choice with nothing to run is finished at once. */
sinter_status choice_submit(choice *c, sinter_on_token *on_token, sinter_on_logits *on_logits);
/* Takes a token, or the end without one. True when the answer is complete. */
bool choice_token(choice *c, const sinter_token *t);
/* Takes the logits of prompt position pos, for the log probability of the token behind it. */
void choice_prompt_logits(choice *c, uint32_t pos, const float *logits);
/* Takes the state at prompt position pos, for an embedding (embed.c). */
void embed_take(choice *c, uint32_t pos, const float *state);
/* First position whose state an embedding needs. */
uint32_t embed_from(const choice *c);
/* Frees what it holds of the engine. Not inside a callback. */
void choice_end(choice *c);

#endif
