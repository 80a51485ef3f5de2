/* bounds.c - the table of bounds.def, and --limit. */
#include <stdlib.h>
#include <string.h>

#include "bounds.h"

serve_bounds serve_most = {
#define BOUND(name, otherwise, least, most, what) .name = (otherwise),
#include "bounds.def"
#undef BOUND
};

static const struct {
   const char *name;
   int64_t *value, least, most;
} bounds[] = {
#define BOUND(name, otherwise, least, most, what) {#name, &serve_most.name, least, most},
#include "bounds.def"
#undef BOUND
};

/* One NAME=N of len bytes; 0, or the exit code. */
static int take(const char *text, size_t len)
{
   const char *equals = memchr(text, '=', len);
   size_t name = equals ? (size_t)(equals - text) : len;
   char *end;

   for (size_t i = 0; i < countof(bounds); i++) {
      if (strlen(bounds[i].name) != name || memcmp(bounds[i].name, text, name) != 0)
         continue;
      long long n = equals ? strtoll(equals + 1, &end, 10) : 0;
      if (!equals || end == equals + 1 || end != text + len || n < bounds[i].least ||
          n > bounds[i].most)
         return cli_usage_error("--limit %s is a number from %lld to %lld", bounds[i].name,
                                (long long)bounds[i].least, (long long)bounds[i].most);
      *bounds[i].value = n;
      return 0;
   }
   return cli_usage_error("--limit: there is no '%.*s', but"
#define BOUND(name, otherwise, least, most, what) " " #name
#include "bounds.def"
#undef BOUND
                          ,
                          (int)name, text);
}

int bounds_read(const options *o)
{
   int code = 0;

   for (const char *at = o->limit; at && *at && !code;) {
      size_t len = strcspn(at, ",");

      code = take(at, len);
      at += len + (at[len] == ',');
   }
   return code;
}

void bounds_json(buffer *b)
{
   buffer_printf(b, "{");
   for (size_t i = 0; i < countof(bounds); i++)
      buffer_printf(b, "%s\"%s\":%lld", i ? "," : "", bounds[i].name, (long long)*bounds[i].value);
   buffer_printf(b, "}");
}
