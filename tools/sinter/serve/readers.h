/* readers.h - reading of long bodies, beside the threads that talk with clients (readers.c). */
#ifndef SERVE_READERS_H
#define SERVE_READERS_H

#include "serve.h"

/* Reads c->reading.body by c->reading.read. True when that is done, now or before; false: the call
 * sleeps, and its handler is called again. */
bool readers_read(call *c);
bool readers_start(server *s);
/* No call sleeps any more. */
void readers_stop(server *s);

#endif
