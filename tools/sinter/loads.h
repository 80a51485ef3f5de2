/* loads.h - how many tokens each expert of each layer got. */
#ifndef SINTER_LOADS_H
#define SINTER_LOADS_H

#include "cli.h"

typedef struct loads {
   const sinter_route *routes;
   uint32_t num_routes;
   uint64_t *tokens; /* by layer, by expert; NULL: nobody asks */
} loads;

/* num_routes is 0 for a model without experts. The artifact must outlive it. */
void loads_begin(loads *l, const sinter_artifact *a);
void loads_end(loads *l);

/* One token's ids, layer after layer. */
void loads_count(loads *l, const int32_t *ids);

/* Adds the document that `sinter balance` reads. */
void loads_json(const loads *l, buffer *out);

/* Writes it to a file; the exit code. */
int loads_write(const loads *l, const char *path);

#endif
