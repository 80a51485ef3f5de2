/* bounds.h - what is bounded in the server. */
#ifndef SERVE_BOUNDS_H
#define SERVE_BOUNDS_H

#include "tools/sinter/cli.h"

enum {
   SERVE_MAX_MODELS = 64,
   SERVE_MAX_STOPS = 16,
   SERVE_MAX_STOP_BYTES = 256,
   SERVE_MAX_CALLS = 16, /* that a grammar lets an answer make */
   SERVE_ID_BYTES = 48,
};

/* What --limit sets (bounds.c); set before the first thread starts. */
typedef struct serve_bounds {
#define BOUND(name, otherwise, least, most, what) int64_t name;
#include "bounds.def"
#undef BOUND
} serve_bounds;

extern serve_bounds serve_most;

/* Takes --limit; 0, or the exit code after saying what is wrong. */
int bounds_read(const options *o);
/* All of them, as an object. */
void bounds_json(buffer *b);

#endif
