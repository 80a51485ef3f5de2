/* readers.h - reading of long bodies, beside the threads that talk with clients (readers.c). */
#ifndef SERVE_READERS_H
#define SERVE_READERS_H

#include "serve.h"

/* Does a piece of the work on a body. True when it is done, now or by the call before; false: the
 * call sleeps, and its handler is called again. */
bool readers_run(call *c, reader_work *work);
bool readers_start(server *s);
/* No call sleeps any more. */
void readers_stop(server *s);

#endif
