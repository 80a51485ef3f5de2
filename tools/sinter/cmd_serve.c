/* cmd_serve.c - serve in the program `sinter`: becomes sinter-serve, which stands beside it and reads the same command
 * line. Only that one is linked with the HTTP library. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

int cmd_serve(const options *o)
{
   static const char name[] = "sinter-serve";
   char path[4096];
   ssize_t len = readlink("/proc/self/exe", path, sizeof path - sizeof name);

   if (len > 0)
      path[len] = 0;
   char *slash = len > 0 ? strrchr(path, '/') : NULL;
   if (slash) {
      memcpy(slash + 1, name, sizeof name);
      execv(path, o->argv);
   }
   fprintf(stderr, "error: the server cannot be started: %s\n  %s\n  try: ./setup\n",
           strerror(errno), slash ? path : name);
   return 1;
}
