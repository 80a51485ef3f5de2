/* status.c - failures as a code and a three-part message per thread. */
#include "base.h"

#include <stdio.h>

#ifndef SINTER_COMMIT
#define SINTER_COMMIT "unknown"
#endif

enum { MESSAGE_BYTES = 2048 };

static _Thread_local char message[MESSAGE_BYTES];

static const struct {
   const char *name;
   int exit_code;
} infos[] = {
#define STATUS(name, exit_code, http, text) {#name, exit_code},
   SINTER_STATUS_MAP(STATUS)
#undef STATUS
};

static const char *const remedies[countof(infos)] = {
#define REMEDY(name, what) [SINTER_##name] = what,
#include "remedies.def"
#undef REMEDY
};

const char *sinter_status_name(sinter_status status)
{
   return (size_t)status < countof(infos) ? infos[status].name : "unknown";
}

int sinter_status_exit_code(sinter_status status)
{
   return (size_t)status < countof(infos) ? infos[status].exit_code : 1;
}

const char *sinter_error(void)
{
   return message;
}

const char *sinter_version(void)
{
   return "sinter 0.1.0 (" SINTER_COMMIT ")";
}

/* Appends to the message, cutting at its end. */
static void append(const char *prefix, const char *text)
{
   size_t len = strlen(message);
   int n = snprintf(message + len, MESSAGE_BYTES - len, "%s%s", prefix, text);
   (void)n;
}

sinter_status base_fail(sinter_status status, const char *where, const char *remedy,
                        const char *fmt, ...)
{
   /* The arguments may point into the previous message, so it is built apart. */
   char what[MESSAGE_BYTES];
   va_list args;

   va_start(args, fmt);
   vsnprintf(what, sizeof what, fmt, args);
   va_end(args);
   char place[512], advice[512];
   snprintf(place, sizeof place, "%s", where);
   snprintf(advice, sizeof advice, "%s", remedy[0] ? remedy : remedies[status]);
   message[0] = 0;
   append("", what);
   if (place[0])
      append("\n  at: ", place);
   append("\n  try: ", advice);
   return status;
}

void base_fail_frame(const char *frame)
{
   append("\n  in: ", frame);
}
