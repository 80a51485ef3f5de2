/* loads.c - how many tokens each expert got, as `sinter balance` reads it; and places from that. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loads.h"

void loads_begin(loads *l, const sinter_artifact *a)
{
   size_t all = 0;

   *l = (loads){0};
   l->num_routes = sinter_artifact_routes(a, &l->routes);
   for (uint32_t i = 0; i < l->num_routes; i++)
      all += l->routes[i].experts;
   l->tokens = calloc(all + 1, sizeof *l->tokens);
   if (!l->tokens)
      exit(6);
}

void loads_end(loads *l)
{
   free(l->tokens);
   *l = (loads){0};
}

void loads_count(loads *l, const int32_t *ids)
{
   uint64_t *tokens = l->tokens;

   for (uint32_t i = 0; i < l->num_routes; i++) {
      for (uint32_t j = 0; j < l->routes[i].k; j++)
         if (ids[j] >= 0 && (uint32_t)ids[j] < l->routes[i].experts)
            tokens[ids[j]]++;
      ids += l->routes[i].k;
      tokens += l->routes[i].experts;
   }
}

void loads_json(const loads *l, buffer *out)
{
   const uint64_t *tokens = l->tokens;

   buffer_printf(out, "{\"layers\":[");
   for (uint32_t i = 0; i < l->num_routes; i++) {
      buffer_printf(out, "%s\n{\"layer\":%u,\"experts\":%u,\"tokens\":[", i ? "," : "",
                    l->routes[i].layer, l->routes[i].experts);
      for (uint32_t e = 0; e < l->routes[i].experts; e++)
         buffer_printf(out, "%s%llu", e ? "," : "", (unsigned long long)*tokens++);
      buffer_printf(out, "]}");
   }
   buffer_printf(out, "]}\n");
}

int loads_write(const loads *l, const char *path)
{
   FILE *f = fopen(path, "w");
   buffer text = {0};

   loads_json(l, &text);
   bool failed = !f || fwrite(text.data, 1, text.len, f) != text.len;
   failed |= f && fclose(f) != 0;
   buffer_free(&text);
   if (failed)
      return cli_fail(1, path, "free some space, or another file with --loads",
                      "the loads cannot be written: %s", strerror(errno));
   return 0;
}

/* ---- balance ---- */

static int write_places(const options *o, const char *json)
{
   FILE *f = o->output ? fopen(o->output, "w") : stdout;
   bool failed = !f || fprintf(f, "%s\n", json) < 0;

   failed |= f && o->output && fclose(f) != 0;
   if (!failed)
      return 0;
   return cli_fail(1, o->output ? o->output : "standard output",
                   "free some space, or another file with -o", "the places cannot be written: %s",
                   strerror(errno));
}

static bool in_range(int64_t v)
{
   return v == CLI_UNSET || (v >= 1 && v <= UINT32_MAX);
}

int cmd_balance(const options *o)
{
   sinter_balance_options b = SINTER_INIT(sinter_balance_options);
   buffer text = {0};
   char *json = NULL;

   if (!in_range(o->places) || !in_range(o->groups) || !in_range(o->nodes) || !in_range(o->devices))
      return cli_usage_error("--places, --groups, --nodes and --devices are at least 1");
   if (!buffer_read_file(&text, o->args[0]))
      return cli_fail(3, o->args[0], "a file that `sinter run --loads` has written",
                      "the loads cannot be read: %s", strerror(errno));
   b.loads = text.data;
   b.places = (uint32_t)cli_int(o->places, 0);
   b.groups = (uint32_t)cli_int(o->groups, 1);
   b.nodes = (uint32_t)cli_int(o->nodes, 1);
   b.devices = (uint32_t)cli_int(o->devices, 1);
   sinter_status status = sinter_balance(&b, &json);
   int code = status == SINTER_ok ? write_places(o, json) : cli_error(status);
   sinter_free(json);
   buffer_free(&text);
   return code;
}
