/* job.h - a request while it is worked on, and its answers (job.c). */
#ifndef SERVE_JOB_H
#define SERVE_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "ask.h"

struct MHD_Connection;

/* Where split.c stands in the text of an answer. */
typedef enum split_state {
   SPLIT_START,
   SPLIT_THINK,
   SPLIT_GAP, /* white space that belongs to nothing */
   SPLIT_CONTENT,
   SPLIT_CALL,
   SPLIT_END /* behind a call */
} split_state;

typedef struct tool_call {
   char id[SERVE_ID_BYTES], name[65];
   buffer arguments;
   size_t content_at; /* bytes of content before it */
   size_t given;      /* of the arguments, to the client */
   bool named;        /* the client knows of it */
} tool_call;

/* One answer to one prompt. */
typedef struct choice {
   struct job *job;
   const prompt *prompt;
   uint32_t index;
   sinter_request *request;
   sinter_stream *decoder;
   buffer text;  /* that is certain: no stop string begins in it */
   buffer held;  /* behind it: may become a stop string */
   size_t given; /* of text or content, to the client */
   split_state split;
   size_t split_at; /* in text: before it, all is in one of these */
   size_t gap;      /* bytes before the mark of a call, which are content if it is none */
   buffer reasoning, content;
   size_t reasoning_given;
   tool_call *calls;
   uint32_t num_calls;
   bool is_calling;                        /* the last call goes on */
   uint32_t num_items, item_kind, item_at; /* of a stream of /v1/responses (responses.c) */
   buffer probs;                           /* JSON of the tokens not yet given, comma-separated */
   buffer tokens, token_probs, tops, offsets; /* the same for completions, as four lists */
   size_t offset;                             /* characters of the tokens so far */
   size_t passed;                             /* bytes of the prompt's text that were tokens */
   bool begun;                                /* there was a token that is text */
   float *state; /* an embedding (embed.c); complete once it has so many: */
   uint32_t num_states;
   uint32_t num_tokens, num_reasoning; /* the latter among them */
   double last;                        /* clock of the last token */
   bool has_role;
   bool echoes;        /* its prompt is yet to be streamed */
   const char *finish; /* NULL: goes on */
} choice;

typedef struct job {
   pthread_mutex_t lock;
   atomic_int refs;
   host *host;
   char digest[65]; /* of the artifact that answers */
   ask ask;
   char id[SERVE_ID_BYTES];
   uint64_t sequence;     /* events of /v1/responses so far */
   int64_t created;       /* seconds since 1970 */
   double started, first; /* clock: submitted, first token */
   double written;        /* clock of the last bytes, for keep-alive */
   double queued;         /* seconds until its first step; 0: it still waits */
   uint32_t kv_pages;     /* that it holds, when last looked */
   choice *choices;
   uint32_t num_choices, left;
   uint32_t cached_tokens;
   fault fault; /* http 0: none */

   buffer out;
   size_t sent;
   size_t echoed;  /* bytes of out that were prompts */
   bool ended;     /* nothing will be added to out */
   bool gone;      /* the client left, or is too slow */
   bool suspended; /* the connection waits for out */
   struct MHD_Connection *connection;
   int socket;
   struct job *next; /* in the queue or list of its host */
   bool waking;      /* in a list of those to be woken, behind it: */
   struct job *next_woken;
} job;

/* The prefix and random letters. */
void job_id(char to[SERVE_ID_BYTES], const char *prefix, size_t letters);
/* Takes over a. One reference each for the caller and the host. */
job *job_create(host *h, ask *a);
void job_release(job *j);
/* Of all prompts; of all answers so far. */
uint64_t job_prompt_tokens(const job *j);
uint64_t job_generated(const job *j);
/* Of these, tokens of reasoning. */
uint64_t job_reasoning(const job *j);
/* Wakes the connection if it waits. */
void job_wake(job *j);
/* The same for a list of jobs, whose references it drops. */
void jobs_wake(void *list);

#endif
