/* models.c - which models there are: those of the command line, and what lies in --models-dir.
 *
 * A model keeps its slot for the life of the server; only what is loaded comes and goes
 * (host.c). */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "models.h"

static bool has_file(const char *folder, const char *name)
{
   char path[4096 + 32];

   snprintf(path, sizeof path, "%s/%s", folder, name);
   return access(path, R_OK) == 0;
}

/* A GGUF file, an artifact, or a folder with a checkpoint: one that holds GGUF files has a
 * config.json, too. */
static bool is_model(const char *path, const char *name)
{
   const char *dot = strrchr(name, '.');

   if (name[0] == '.')
      return false;
   if (dot && (strcmp(dot, ".gguf") == 0 || strcmp(dot, ".sinter") == 0))
      return true;
   return has_file(path, "config.json") &&
          (has_file(path, "model.safetensors") || has_file(path, "model.safetensors.index.json"));
}

static host *find(server *s, const char *name)
{
   for (uint32_t i = 0; i < s->num_hosts; i++) {
      if (strcmp(s->hosts[i].name, name) == 0)
         return &s->hosts[i];
   }
   return NULL;
}

void models_short_name(char *out, size_t cap, const char *path)
{
   size_t len = strlen(path);

   while (len > 1 && path[len - 1] == '/')
      len--;
   size_t start = len;
   while (start && path[start - 1] != '/')
      start--;
   snprintf(out, cap, "%.*s", (int)(len - start), path + start);
   char *dot = strrchr(out, '.');
   if (dot && dot != out && (strcmp(dot, ".gguf") == 0 || strcmp(dot, ".sinter") == 0))
      *dot = 0;
}

static void add_host(server *s, const char *path, const char *name)
{
   host *h = &s->hosts[s->num_hosts++];

   host_init(h, s, path, name, true);
   h->events = events_add(s->events, h->name);
}

int models_init(server *s)
{
   const options *o = s->options;

   pthread_mutex_init(&s->adding, NULL);
   for (int i = 0; i < o->num_args; i++) {
      char name[sizeof s->hosts->name];

      models_short_name(name, sizeof name, o->args[i]);
      if (!o->alias && find(s, name))
         return cli_usage_error("two models are called '%s', and clients choose by name", name);
      int code = cli_model_check(o->args[i]);
      if (code)
         return code;
      add_host(s, o->args[i], o->alias);
   }
   return 0;
}

/* Takes an entry of the folder that is not known yet; the first of two with one name stays. */
static bool add(server *s, const char *name)
{
   host *h = &s->hosts[s->num_hosts];
   char path[4096];
   int n = snprintf(path, sizeof path, "%s/%s", s->options->models_dir, name);

   if (n < 0 || (size_t)n >= sizeof path || !is_model(path, name))
      return true;
   host_init(h, s, path, NULL, false);
   if (find(s, h->name))
      return true;
   h->events = events_add(s->events, h->name);
   if (!host_start(h))
      return false;
   s->num_hosts++; /* from here on others see it */
   return true;
}

bool models_scan(server *s)
{
   const char *folder = s->options->models_dir;
   struct dirent **entries = NULL;
   bool ok = true;

   if (!folder)
      return true;
   pthread_mutex_lock(&s->adding);
   int n = scandir(folder, &entries, NULL, alphasort), error = errno;
   for (int i = 0; i < n; i++) {
      ok = ok && (s->num_hosts == SERVE_MAX_MODELS || add(s, entries[i]->d_name));
      free(entries[i]);
   }
   free(entries);
   pthread_mutex_unlock(&s->adding);
   if (n < 0)
      (void)cli_fail(1, folder, "name a folder of models", "--models-dir cannot be read: %s",
                     strerror(error));
   return n >= 0 && ok;
}

bool models_has(host *h)
{
   pthread_mutex_lock(&h->lock);
   bool is_held = h->is_required || h->ready || h->waiting;
   pthread_mutex_unlock(&h->lock);
   return is_held || access(h->path, F_OK) == 0;
}

host *models_find(server *s, const char *name, fault *f)
{
   host *h = name ? find(s, name) : s->num_hosts == 1 ? &s->hosts[0] : NULL;

   if (!h && name && models_scan(s))
      h = find(s, name);
   if (h && !models_has(h))
      h = NULL;
   if (!h && name)
      fault_set(f, 404, "model_not_found", "model", "there is no model '%.100s': see /v1/models",
                name);
   else if (!h)
      fault_set(f, 400, "missing_parameter", "model",
                "'model' is missing and there are several models: see /v1/models");
   return h;
}
