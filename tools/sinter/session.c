/* session.c - from the MODEL argument to an open artifact and an engine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "tree.h"

int cli_numerics(const options *o, sinter_numerics *out)
{
   const char *mode = o->numerics ? o->numerics : "fast";

   if (strcmp(mode, "fast") != 0 && strcmp(mode, "exact") != 0)
      return cli_usage_error("--numerics is fast or exact, not '%s'", mode);
   *out = strcmp(mode, "exact") == 0 ? SINTER_NUMERICS_exact : SINTER_NUMERICS_fast;
   return 0;
}

int cli_target(const options *o, const char **out)
{
   *out = sinter_device_target(o->device);
   if (!*out)
      return cli_error(SINTER_usage);
   if (o->target)
      *out = o->target;
   return 0;
}

int cli_experts(const options *o, buffer *out, const char **out_text)
{
   *out_text = NULL;
   if (!o->experts)
      return 0;
   if (!buffer_read_file(out, o->experts))
      return cli_fail(3, o->experts, "a file that `sinter balance` has written",
                      "the map of experts cannot be read: %s", strerror(errno));
   *out_text = out->data ? out->data : "";
   return 0;
}

int cli_with(const options *o, char *out, size_t cap)
{
   const char *with = o->with ? o->with : "", *kv = o->kv ? o->kv : "f16";
   bool is_f8 = strcmp(kv, "f8e4m3") == 0;

   if (!is_f8 && strcmp(kv, "f16") != 0)
      return cli_usage_error("--kv is f16 or f8e4m3, not '%s'", kv);
   if (is_f8 && o->numerics && strcmp(o->numerics, "exact") == 0)
      return cli_usage_error("--kv f8e4m3 is for fast: exact keeps f32");
   int n = snprintf(out, cap, "%s%s%s", with, *with && is_f8 ? "," : "", is_f8 ? "kv_f8" : "");
   return n < (int)cap ? 0 : cli_usage_error("--with is too long");
}

void cli_notes(const options *o, const char *explain)
{
   tree *t = explain && !o->quiet ? tree_parse(explain, strlen(explain)) : NULL;

   for (const tree *n = tree_first(tree_get(t, "notes")); n; n = n->next)
      fprintf(stderr, "note: %s\n", tree_string(n));
   tree_free(t);
}

/* Whether the artifact's manifest, where its key stands, holds these words. */
static bool has_key(const sinter_artifact *a, const char *words)
{
   const char *manifest = sinter_artifact_document(a, "manifest");

   return manifest && strstr(manifest, words) != NULL;
}

int cli_check_defaults(const options *o, const char *path, const sinter_artifact *a)
{
   const struct {
      const char *name, *value, *usual, *other;
   } asked[] = {
      {"numerics", o->numerics, "fast", "\"numerics\":\"exact\""},
      {"kv", o->kv, "f16", "\"kv_f8\""},
   };

   for (size_t i = 0; i < countof(asked); i++)
      if (asked[i].value && strcmp(asked[i].value, asked[i].usual) == 0 &&
          has_key(a, asked[i].other))
         return cli_fail(2, path, "name the checkpoint it came from, or leave the option out",
                         "the artifact was compiled with another --%s than %s", asked[i].name,
                         asked[i].value);
   return 0;
}

static int check_artifact(const options *o, const session *s)
{
   if (o->target && strcmp(s->path, o->args[0]) == 0)
      return cli_fail(2, s->path, "name the checkpoint it came from, or leave --target out",
                      "the model is already compiled");
   return cli_check_defaults(o, s->path, s->artifact);
}

/* Whether path is the model's file, or one of its folder that models are read from. */
static bool is_of_model(const char *path, const char *model)
{
   const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
   const char *end = strrchr(name, '.');
   char inside[4096];
   struct stat out, in;

   if (stat(path, &out) != 0 || stat(model, &in) != 0)
      return false;
   if (S_ISDIR(in.st_mode) &&
       ((end && strcmp(end, ".safetensors") == 0) || strncmp(name, "tokenizer", 9) == 0 ||
        strcmp(name, "config.json") == 0)) {
      snprintf(inside, sizeof inside, "%s/%s", model, name);
      if (stat(inside, &in) != 0)
         return false;
   }
   return in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

/* Whether what the command writes when its work is done can be written. `compile` writes with the
 * library, which looks. */
static int check_outputs(const options *o)
{
   const struct {
      const char *option, *path;
   } outputs[] = {{"-o", o->command == CMD_compile ? NULL : o->output}, {"--loads", o->loads}};

   for (size_t i = 0; i < countof(outputs); i++) {
      char folder[4096];
      const char *path = outputs[i].path, *slash = path ? strrchr(path, '/') : NULL;

      snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
               slash ? path : ".");
      if (path && access(access(path, F_OK) == 0 ? path : folder, W_OK) != 0)
         return cli_fail(1, path, "name a file in a folder that can be written",
                         "%s cannot be written: %s", outputs[i].option, strerror(errno));
      if (path && is_of_model(path, o->args[0]))
         return cli_fail(2, path, "name another file", "%s would be written over the model",
                         outputs[i].option);
   }
   return 0;
}

int cli_open(const options *o, session *s)
{
   return cli_open_watched(o, s, NULL, NULL, NULL);
}

int cli_open_watched(const options *o, session *s, const char *name, sinter_progress *watch,
                     void *user)
{
   char model[4096], with[4096];
   buffer experts = {0};
   progress p;
   sinter_compile_options c = SINTER_INIT(sinter_compile_options);
   double started = cli_seconds();

   *s = (session){.info = SINTER_INIT(sinter_model_info)};
   int code = cli_target(o, &c.targets);
   code = code ? code : check_outputs(o);
   code = code ? code : cli_numerics(o, &c.numerics);
   code = code ? code : cli_experts(o, &experts, &c.experts);
   code = code ? code : cli_with(o, with, sizeof with);
   if (code)
      return code;
   sinter_status status = cli_model_path(o->args[0], o->quiet, model, sizeof model);
   if (status != SINTER_ok)
      return cli_error(status);
   progress_init(&p, o->quiet);
   p.name = name;
   p.watch = watch;
   p.user = user;
   c.model = model;
   c.output = o->command == CMD_compile ? o->output : NULL;
   c.with = with;
   c.without = o->without;
   c.no_cache = o->no_cache;
   c.draft = o->mtp;
   c.hidden = o->embeddings;
   c.attention = o->attention;
   c.variant_per_bucket = o->variant_per_bucket;
   c.threads = (uint32_t)cli_int(o->threads, 0);
   c.artifact = &s->artifact;
   c.progress = progress_report;
   c.user = &p;
   status = sinter_compile(&c, s->path, sizeof s->path, &s->cached);
   progress_end(&p);
   buffer_free(&experts);
   if (status != SINTER_ok)
      return cli_error(status);
   code = check_artifact(o, s);
   if (code)
      return code;
   if (*with || o->attention || !s->cached)
      cli_notes(o, sinter_artifact_document(s->artifact, "explain"));
   sinter_artifact_info(s->artifact, &s->info);
   s->compile_seconds = cli_seconds() - started;
   return 0;
}

int cli_engine(const options *o, session *s, const sinter_engine_options *engine_options)
{
   sinter_engine_options e = *engine_options;

   e.draft_tokens = (uint32_t)cli_int(o->speculate, 0);
   /* Prompts then run in a form whose bits differ from decode's. */
   if (e.draft_tokens && has_key(s->artifact, "\"variant_per_bucket\":true"))
      return cli_usage_error("--speculate would change answers of a model that was compiled with "
                             "--variant-per-bucket");
   e.device = o->device;
   e.threads = (uint32_t)cli_int(o->threads, 0);
   sinter_status status = sinter_engine_create(s->artifact, &e, &s->engine);
   return status == SINTER_ok ? 0 : cli_error(status);
}

sinter_engine_options cli_room(const options *o, const session *s, uint64_t prompt,
                               uint64_t generated)
{
   sinter_engine_options e = SINTER_INIT(sinter_engine_options);
   uint64_t tokens = prompt + generated;

   if (prompt > s->info.trained_context && !o->quiet)
      fprintf(stderr, "note: %llu tokens are more than the trained context of %u\n",
              (unsigned long long)prompt, s->info.trained_context);
   if (tokens > s->info.trained_context)
      e.kv_tokens = tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
   return e;
}

void cli_close(session *s)
{
   sinter_vision_destroy(s->vision);
   sinter_engine_destroy(s->engine);
   sinter_artifact_close(s->artifact);
   *s = (session){0};
}
