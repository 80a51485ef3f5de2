/* trace.h - what happens when, as a file that Perfetto and chrome://tracing show. */
#ifndef SERVE_TRACE_H
#define SERVE_TRACE_H

#include "serve.h"

/* As --trace says. False after saying why not. */
bool trace_open(server *s);
/* A step that began then, and ends now: rows it computed, the engine's figures behind it. */
void trace_step(const host *h, double begin, uint64_t rows, const sinter_stats *after);
/* A job that ends now, its lock held: how long it waited, read its prompt, generated. */
void trace_job(server *s, const job *j);
void trace_close(server *s);

#endif
