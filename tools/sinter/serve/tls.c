/* tls.c - GnuTLS for libmicrohttpd and client.c, loaded when TLS is spoken only: its libraries and
 * their start cost every other start a millisecond and more. libmicrohttpd is linked as an archive;
 * what it and client.c call are the jumps below, whose targets are found by tls_load. Before that,
 * its start and end of the library do nothing, and nothing else is called. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "tls.h"

static int no_library(void)
{
   return 0;
}

/* Targets of the jumps. They have no types here: the arguments are where both sides expect them. */
__attribute__((used)) static int (*tls_calls[])(void) = {
#define TLS(index, name) [index] = no_library,
#include "tls_calls.def"
#undef TLS
};

#define TLS(index, name)                                                                           \
   __asm__(".text\n.globl gnutls_" #name "\n.type gnutls_" #name ", @function\ngnutls_" #name      \
           ":\n   jmp *tls_calls + 8 * " #index "(%rip)\n");
#include "tls_calls.def"
#undef TLS

void *(*gnutls_malloc)(size_t size) = malloc;

bool tls_load(const char *at)
{
   static const char *const names[] = {
#define TLS(index, name) [index] = "gnutls_" #name,
#include "tls_calls.def"
#undef TLS
   };
   void *library = dlopen("libgnutls.so.30", RTLD_NOW | RTLD_LOCAL);

   for (size_t i = 0; i < countof(names); i++) {
      void *found = library ? dlsym(library, names[i]) : NULL;

      if (!found) {
         (void)cli_fail(1, at, "apt-get install libgnutls30", "TLS cannot be spoken: %s",
                        dlerror());
         return false;
      }
      memcpy(&tls_calls[i], &found, sizeof found);
   }
   return true;
}
