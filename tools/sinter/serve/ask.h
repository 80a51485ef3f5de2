/* ask.h - what a client asks for (params.c). */
#ifndef SERVE_ASK_H
#define SERVE_ASK_H

#include "bounds.h"
#include "fault.h"
#include "tools/sinter/tree.h"

typedef struct host host;

typedef enum endpoint { SERVE_CHAT, SERVE_TEXT, SERVE_RESPONSES, SERVE_EMBED } endpoint;

/* A way of models to write tool calls (tools.def). */
typedef struct tool_format {
   const char *name, *signs, *begin, *end, *arguments;
} tool_format;

typedef enum tool_choice { TOOL_AUTO, TOOL_NONE, TOOL_REQUIRED, TOOL_NAMED } tool_choice;

typedef struct tool {
   char name[65];
   bool strict;
   bool barred;       /* shown to the model, and not to be called: tool_choice names others */
   buffer parameters; /* JSON schema */
} tool;

typedef struct prompt {
   int32_t *ids;
   size_t count;
   buffer text; /* as it was given, to be echoed; or empty */
} prompt;

typedef struct ask {
   endpoint endpoint;
   sinter_sampling sampling;
   int64_t top_k, seed, n, max_tokens, min_tokens, top_logprobs, timeout_ms, priority;
   bool has_seed, has_max_tokens, stream, echo, ignore_eos, logprobs, base64;
   bool has_stream_options, include_usage;
   const char *max_name; /* of the field that set max_tokens, or NULL */
   uint64_t salt;
   prompt *prompts;
   size_t num_prompts;
   char *stops[SERVE_MAX_STOPS];
   size_t stop_len[SERVE_MAX_STOPS];
   uint32_t num_stops;
   int32_t *stop_ids, *bias_ids;
   float *bias;
   uint32_t num_stop_ids;
   buffer messages, instructions, tools_json, extra; /* JSON for the chat template */
   buffer *files;                                    /* of images, as they came */
   uint32_t num_files;
   cli_images images;
   tool *tools;
   uint32_t num_tools;
   tool_choice tool_choice;
   char (*chosen)[65]; /* names that tool_choice gives; none: all tools */
   uint32_t num_chosen;
   bool parallel;
   const tool_format *calls; /* that are looked for in the answer, or NULL */
   bool thinks;              /* the answer may begin with reasoning */
   bool opens_thought;       /* the prompt ends in the middle of it */
   bool is_prose;            /* the grammar leaves text beside calls free */
   buffer grammar;           /* what the answer may be: a description, and compiled */
   const char *grammar_param;
   sinter_grammar *rules;
   buffer ignored; /* names of unknown fields, comma-separated */
   buffer echoed;  /* what /v1/responses repeats of the request */
} ask;

/* Reads a body. False with a fault. */
bool ask_read(ask *a, endpoint e, const tree *body, const host *h, fault *f);
void ask_free(ask *a);
/* The text of a chat's prompt, for /apply-template. False with a fault. */
bool ask_render(const tree *body, const host *h, buffer *out, fault *f);
/* A tool of the request that may be called, NULL when there is none of that name. */
const tool *tool_find(const ask *a, const char *name, size_t len);

#endif
