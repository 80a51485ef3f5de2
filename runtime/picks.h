/* picks.h - tokens from wanted rows: which of them a device with a sampler picks of itself, and why
 * the host picks the others. */
#ifndef RT_PICKS_H
#define RT_PICKS_H

#include "base/draw.h"
#include "sampler.h"
#include "scheduler.h"

/* A row that the host picks from, for the request's next token. */
typedef struct rt_host_row {
   const sinter_request *request; /* NULL: it is no next token's, or a device picks it */
   bool is_picked;                /* ahead of rt_pick_row */
   rt_pick pick;
} rt_host_row;

typedef struct rt_picks {
   const plan_model *model;
   rt_sampler *sampler;
   draw *draws;        /* of the step's wanted rows */
   const int32_t *ids; /* what the device picked of them; NULL: it has no sampler */
   rt_host_row *rows;  /* the others of them */
   uint64_t *counts;   /* by sinter_sampled */
} rt_picks;

/* A wanted row of the step. */
typedef struct rt_wanted {
   const float *logits; /* there where the device has not picked */
   uint32_t width, number;
} rt_wanted;

static inline rt_wanted rt_wanted_next(rt_wanted w, uint32_t n)
{
   return (rt_wanted){w.logits + (size_t)n * w.width, w.width, w.number + n};
}

/* How each wanted row of the step is picked, in their order. DRAW_host: its logits are wanted. */
void rt_picks_fill(const rt_picks *p, const rt_item *items, uint32_t num_items);

/* Picks from a DRAW_host row that is a next token's ahead of rt_pick_row: the fn of a rt_host_pick,
 * whose user is the rt_picks. */
void rt_pick_ahead(void *picks, rt_sampler *s, const float *logits, uint32_t row);

/* The request's next token from a row, of those that its grammar and min_tokens allow. Errors
 * FAILED when no token can be picked. */
SINTER_CHECKED sinter_status rt_pick_row(const rt_picks *p, const sinter_request *r, rt_wanted w,
                                         rt_pick *out);

/* Whether the token that was picked, and appended, ends the request: an end token, the last that
 * has room, a text by a grammar that is complete and cannot go on. FINISH_error has its message in
 * sinter_error(). */
sinter_finish rt_pick_finish(const plan_model *m, sinter_request *r, int32_t id);

#endif
