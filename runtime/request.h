/* request.h - a request on its way: waiting, running in a slot, done. */
#ifndef RT_REQUEST_H
#define RT_REQUEST_H

#include "images.h"
#include "kv/cache.h"
#include "kv/host.h"
#include "sampler.h"
#include "text/grammar.h"

typedef enum rt_state { RT_WAITING, RT_RUNNING, RT_DONE } rt_state;

/* Pages of a request that had to give way, kept aside (swap.h). */
typedef struct rt_kept {
   kv_extent extent;
   int64_t stored;
   int64_t first_block[KV_MAX_GROUPS], end_block[KV_MAX_GROUPS];
} rt_kept;

struct sinter_request {
   sinter_engine *engine;          /* NULL once the engine is gone */
   sinter_request_options options; /* its arrays are copies, or NULL */
   rt_state state;
   sinter_finish finish;
   char error[256]; /* why, of FINISH_error */
   bool is_cancelled;
   uint64_t arrival;               /* in order of submission */
   uint64_t step;                  /* the last step that has rows of it */
   int32_t *tokens;                /* prompt, then what was generated */
   int64_t num_tokens, max_tokens; /* max_tokens: room, and the end */
   uint32_t draft, draft_most;     /* guesses behind tokens for the next step; how many to make */
   int64_t next_logits;            /* prompt position on_logits is called for next */
   kv_sequence kv;
   rt_kept kept;
   bool has_history;
   rt_history history;
   grammar_run *grammar; /* NULL: any text */
   rt_images *images;    /* NULL: none */
   sinter_request *next_waiting;
   sinter_request *prev, *next; /* all of the engine */
   sinter_request_stats stats;
   double submitted; /* seconds of the clock */
};

/* Copies the options and checks them. Errors USAGE, OUT_OF_MEMORY.
 *
 *   max_positions   tokens that a sequence may store */
SINTER_CHECKED sinter_status rt_request_create(const sinter_request_options *options,
                                               uint32_t vocab, int64_t max_positions,
                                               sinter_request **out);
void rt_request_free(sinter_request *r);

/* Whether the row at a position is that of its next token. */
bool rt_request_asks(const sinter_request *r, int64_t at);

/* Keeps what the last failure of this thread says, with the token that it stands in the way of. */
void rt_request_fail(sinter_request *r, sinter_status status, uint32_t token);

/* Appends a generated token; there is room as long as the request is not done. */
void rt_request_append(sinter_request *r, int32_t id);

uint32_t rt_request_generated(const sinter_request *r);

/* First position whose logits are wanted, INT64_MAX when none are; all later ones then are, too. */
int64_t rt_request_wants_from(const sinter_request *r);

#endif
