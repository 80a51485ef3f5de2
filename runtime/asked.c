/* asked.c - options against the key of an artifact, field by field. */
#include "asked.h"

#include "base/json.h"
#include "key.h"

/* Fields of the key that rt_key_options writes, and the option of the command that each comes
 * from. */
static const struct {
   const char *field, *option;
} fields[] = {
   {"numerics", "--numerics"},  {"draft", "--mtp"},
   {"hidden", "--embeddings"},  {"variant_per_bucket", "--variant-per-bucket"},
   {"experts", "--experts"},    {"attention", "--attention"},
   {"with", "--with and --kv"}, {"without", "--without"},
};

static sinter_status key_of(arena *a, const sinter_compile_options *o, json **out)
{
   text_buf t = {.a = a};

   text_printf(&t, "{");
   rt_key_options(a, &t, o);
   t.data[t.len - 1] = '}';
   return json_parse(a, t.data, t.len, "options", out);
}

static const char *value(arena *a, const json *key, size_t i)
{
   return json_text_of(a, json_get(key, fields[i].field));
}

sinter_status rt_asked_check(arena *a, const sinter_compile_options *options,
                             const sinter_artifact *artifact)
{
   const char *manifest = sinter_artifact_document(artifact, "manifest");
   json *asked, *usual, *has;

   SINTER_TRY(key_of(a, options, &asked));
   SINTER_TRY(key_of(a, &(sinter_compile_options){0}, &usual));
   SINTER_TRY(json_parse(a, manifest, strlen(manifest), options->model, &has));
   for (size_t i = 0; i < countof(fields); i++) {
      const char *want = value(a, asked, i), *is = value(a, json_get(has, "key"), i);

      if (strcmp(want, value(a, usual, i)) != 0 && strcmp(want, is) != 0)
         return base_fail(SINTER_usage, options->model,
                          "name the checkpoint it came from, or leave the option out",
                          "the artifact was compiled with another %s: %s, not %s", fields[i].option,
                          is, want);
   }
   return SINTER_ok;
}
