/* fault.h - an error as the client sees it. */
#ifndef SERVE_FAULT_H
#define SERVE_FAULT_H

#include "tools/sinter/cli.h"

typedef struct fault {
   int http;
   const char *code;
   char param[64]; /* of a 405: the methods, for the header Allow */
   char message[400];
} fault;

/* Fills a fault; always false, so that readers can return it. */
bool fault_set(fault *f, int http, const char *code, const char *param, const char *fmt, ...)
   __attribute__((format(printf, 5, 6)));
/* The same from sinter_error(). */
bool fault_from_library(fault *f, sinter_status status, const char *param);
void fault_json(const fault *f, buffer *out);

#endif
