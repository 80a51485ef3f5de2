/* client.h - questions to one server, over HTTP or HTTPS. */
#ifndef CLIENT_H
#define CLIENT_H

#include "cli.h"

typedef struct client {
   char host[256], port[8];
   char at[280];    /* the same as a URL, for people */
   const char *key; /* goes with every question; NULL: none */
   void *trust;     /* TLS: who may sign the server's certificate; NULL: plain HTTP */
} client;

/* The server of a URL, else of --host and --port; 0, or the exit code after saying what is
 * wrong. */
int client_init(client *c, const options *o);
void client_deinit(client *c);

/* The body of a GET, in out; the HTTP status, or 0 after saying why there is none. */
int client_get(const client *c, const char *path, buffer *out);

#endif
