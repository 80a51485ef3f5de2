/* log.h - the request log (log.c). */
#ifndef SERVE_LOG_H
#define SERVE_LOG_H

#include "serve.h"

/* As --log says. False after saying why. */
bool log_open(server *s);
void log_request(const call *c);
/* Writes a line in one call, so that lines of other threads do not fall into it; says once that
 * some are lost. */
void log_put(FILE *to, const buffer *line, bool now, atomic_bool *is_lossy, const char *path);
void log_close(server *s);

#endif
