/* reply.h - answers (reply.c). The lock of the job is held. */
#ifndef SERVE_REPLY_H
#define SERVE_REPLY_H

#include "job.h"

/* The parts of a stream that are certain by now. */
void reply_stream(job *j, choice *c);
void reply_stream_end(job *j);
/* The whole answer of a request that does not stream. */
void reply_whole(job *j, buffer *out);
/* The same for /v1/embeddings (embed.c). */
void embed_whole(job *j, buffer *out);
/* The same for /v1/responses (responses.c). */
void responses_stream(job *j, choice *c);
void responses_stream_end(job *j);
void responses_whole(job *j, buffer *out);
/* Notes what such an answer repeats of the request. */
void responses_echo(ask *a, const tree *body);
/* A token's entry in logprobs. */
void reply_token(choice *c, int32_t id, float logprob, uint32_t num_top, const int32_t *top_ids,
                 const float *top_logprobs);

#endif
