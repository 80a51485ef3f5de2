/* tls.h - GnuTLS, which is opened when it is needed. */
#ifndef SERVE_TLS_H
#define SERVE_TLS_H

#include <stdbool.h>

/* Makes TLS possible: until then no function of gnutls.h may be called, after it those of
 * tls_calls.def. False after saying why not; `at` is what asked for TLS. */
bool tls_load(const char *at);

#endif
