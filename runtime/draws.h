/* draws.h - tokens picked from rows of logits on the threads of a pool, a row a tile: of a row as
 * it is what rt_sample would pick (sampler.h), of others what their owner picks, whatever the
 * number of threads. */
#ifndef RT_DRAWS_H
#define RT_DRAWS_H

#include "base/draw.h"
#include "device.h"
#include "threads.h"

typedef struct rt_draws rt_draws;

/* The rows of a step. */
typedef struct rt_drawn_rows {
   const draw *how;
   uint32_t count;
   draw_how first;
   const float *logits;
   int32_t *ids;
   rt_host_pick pick; /* of rows whose draw is DRAW_host */
} rt_drawn_rows;

/* For steps of at most max_rows rows of `vocab` logits. Nothing is allocated afterwards. Errors
 * OUT_OF_MEMORY. */
SINTER_CHECKED sinter_status rt_draws_create(uint32_t vocab, uint32_t threads, uint32_t max_rows,
                                             rt_draws **out);
void rt_draws_destroy(rt_draws *d);

/* Picks ids[i] from row i where how[i] is a draw of at least `first`; below 0 where its logits are
 * not finite. Other ids stay as they are, and rows of DRAW_host are `pick`'s. */
void rt_draws_run(rt_draws *d, rt_pool *pool, const rt_drawn_rows *rows);

#endif
