/* loads.h - how many tokens each expert of each layer got. */
#ifndef SINTER_LOADS_H
#define SINTER_LOADS_H

#include "cli.h"

typedef struct loads {
   const sinter_route *routes;
   uint32_t num_routes;
   uint64_t *tokens; /* by layer, by expert; NULL: nobody asks */
} loads;

void loads_begin(loads *l, const sinter_artifact *a);

/* One token's ids, layer after layer. */
void loads_count(loads *l, const int32_t *ids);

/* Writes the file and frees the counts; the exit code. */
int loads_write(loads *l, const char *path);

#endif
