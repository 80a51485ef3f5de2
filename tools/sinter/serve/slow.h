/* slow.h - what slow.c has to be told of connections. */
#ifndef SLOW_H
#define SLOW_H

#include <microhttpd.h>

#include "serve.h"

/* libmicrohttpd's notice of a connection that comes or goes; user is the server. */
void slow_connection(void *user, struct MHD_Connection *connection, void **context,
                     enum MHD_ConnectionNotificationCode what);
/* Closes connections that have been sending headers for too long; to be called often, by one
 * thread. */
void slow_sweep(server *s);
/* The headers of a request are read; or, !begins, it is over. */
void slow_request(server *s, struct MHD_Connection *connection, bool begins);

#endif
