/* compile.c - from a model to its artifact: out of the cache, or through the compiler library.
 *
 *    stat ─▶ key ─▶ hit ──────────────────────────────▶ path
 *                  └▶ lock ─▶ hit ─▶ path
 *                           └▶ dlopen ─▶ compile to a temporary file ─▶ rename ─▶ trim ─▶ path */
#include "compile.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "asked.h"
#include "base/arch.h"
#include "base/attention.h"
#include "base/debug.h"
#include "key.h"
#include "level.h"

#ifndef SINTER_LLVM_FILE
#define SINTER_LLVM_FILE ""
#endif

enum { PATH_BYTES = RT_CACHE_PATH + 96, UNNAMED_BYTES = 32 };

static pthread_mutex_t compiler_lock = PTHREAD_MUTEX_INITIALIZER;
static const compiler_api *compiler;
static const char *compiler_stand_in; /* build name of a compiler given by rt_compiler_replace */

/* ---- the compiler library ---- */

static const char remedy_library[] = "run ./setup, or use an artifact that is already compiled";

/* The file this code was loaded from, and the compiler library beside it. */
static bool find_libraries(char self[PATH_BYTES], char library[PATH_BYTES])
{
   Dl_info info;
   char real[PATH_MAX];

   if (!dladdr((void *)(uintptr_t)&rt_compiler_open, &info) || !realpath(info.dli_fname, real))
      return false;
   char *slash = strrchr(real, '/');
   int a = snprintf(self, PATH_BYTES, "%s", real);
   int b = snprintf(library, PATH_BYTES, "%.*s/libsinter_compiler.so", (int)(slash - real), real);
   return a < PATH_BYTES && b < PATH_BYTES;
}

static sinter_status open_library(const compiler_api **out)
{
   char self[PATH_BYTES], path[PATH_BYTES];

   if (!find_libraries(self, path))
      return base_fail(SINTER_failed, "compiler", remedy_library,
                       "this library's own folder is not known");
   void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
   if (!library)
      return base_fail(SINTER_no_device, path, remedy_library,
                       "the compiler library cannot be opened: %s", dlerror());
   compiler_entry *entry = (compiler_entry *)(uintptr_t)dlsym(library, "sinter_compiler");
   const compiler_api *api = entry ? entry() : NULL;
   if (!api || api->abi != COMPILER_ABI) {
      dlclose(library);
      return base_fail(SINTER_failed, path, "run ./setup again",
                       "the compiler library is of another build");
   }
   *out = api;
   return SINTER_ok;
}

sinter_status rt_compiler_open(const compiler_api **out)
{
   sinter_status status = SINTER_ok;

   pthread_mutex_lock(&compiler_lock);
   if (!compiler)
      status = open_library(&compiler);
   *out = compiler;
   pthread_mutex_unlock(&compiler_lock);
   return status;
}

void rt_compiler_replace(const compiler_api *api, const char *build)
{
   pthread_mutex_lock(&compiler_lock);
   compiler = api;
   compiler_stand_in = api ? build : NULL;
   pthread_mutex_unlock(&compiler_lock);
}

sinter_status rt_compiler_check(const sinter_compile_options *options)
{
   const compiler_request request = {.with = options->with, .without = options->without};
   const compiler_api *api;

   if (!(options->with && *options->with) && !(options->without && *options->without))
      return SINTER_ok;
   SINTER_TRY(rt_compiler_open(&api));
   return api->check(&request);
}

sinter_status rt_compiler_build(const char *cache, digest *out)
{
   char self[PATH_BYTES], library[PATH_BYTES];
   digest parts[3] = {0};
   uint64_t size;

   if (compiler_stand_in) {
      *out = digest_bytes(compiler_stand_in, strlen(compiler_stand_in));
      return SINTER_ok;
   }
   if (!find_libraries(self, library))
      return base_fail(SINTER_failed, "compiler", remedy_library,
                       "this library's own folder is not known");
   if (access(library, R_OK) != 0)
      return base_fail(SINTER_no_device, library, remedy_library,
                       "the compiler library cannot be opened: %s", strerror(errno));
   SINTER_TRY_IN("compiler library", rt_key_digest(cache, library, &parts[0], &size));
   SINTER_TRY(rt_key_digest(cache, self, &parts[1], &size));
   if (SINTER_LLVM_FILE[0] && access(SINTER_LLVM_FILE, R_OK) == 0)
      SINTER_TRY(rt_key_digest(cache, SINTER_LLVM_FILE, &parts[2], &size));
   *out = digest_bytes(parts, sizeof parts);
   return SINTER_ok;
}

/* ---- one compile ---- */

typedef struct task {
   const sinter_compile_options *options;
   arena *a;
   char cache[RT_CACHE_PATH];
   rt_key key;
   bool is_artifact, hit;
   sinter_artifact *artifact; /* the model, when it is one */
   char path[PATH_BYTES];
} task;

/* Where objects of kernels are kept; NULL: nowhere, as others could put code there, or all is to be
 * made again. */
static const char *kernels_folder(const task *t, char out[PATH_BYTES])
{
   if (t->options->no_cache || !t->cache[0] || rt_cache_trust(t->cache) != SINTER_ok)
      return NULL;
   snprintf(out, PATH_BYTES, "%s/artifacts/kernels", t->cache);
   return out;
}

static sinter_status run_compiler(const task *t, const char *temp, const char *name,
                                  const char *weights_dir)
{
   const sinter_compile_options *o = t->options;
   const compiler_api *api;
   char kernels[PATH_BYTES];
   compiler_request request = {
      .model = o->model,
      .targets = t->key.targets,
      .numerics = o->numerics,
      .draft = o->draft,
      .hidden = o->hidden,
      .variant_per_bucket = o->variant_per_bucket,
      .attention = o->attention,
      .with = o->with,
      .without = o->without,
      .experts = o->experts,
      .threads = o->threads,
      .key_json = t->key.json,
      .out_path = temp,
      .out_name = name,
      .weights_dir = weights_dir,
      .kernels_dir = kernels_folder(t, kernels),
      .build = t->key.build,
      .tools = t->key.tools,
      .progress = o->progress,
      .user = o->user,
   };

   SINTER_TRY(rt_compiler_open(&api));
   sinter_status status = api->compile(&request);
   if (status != SINTER_ok)
      unlink(temp);
   return status;
}

/* Opens a file without a name in the folder of `path`, and writes how to open it again: it is gone
 * with the process. -1 where that cannot be had. */
static int open_unnamed(const char *path, char link[UNNAMED_BYTES])
{
   char folder[PATH_BYTES];
   const char *slash = strrchr(path, '/');
   int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
                    slash ? path : ".");
   int fd = n < (int)sizeof folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644) : -1;

   snprintf(link, UNNAMED_BYTES, "/proc/self/fd/%d", fd);
   if (fd < 0 || access(link, R_OK | W_OK) == 0)
      return fd;
   close(fd);
   return -1;
}

/* Compiles into such a file, which is named when it is whole; where there are none, under the name
 * itself. */
static sinter_status compile_to_temp(task *t, const char *temp)
{
   char link[UNNAMED_BYTES];
   int fd = open_unnamed(temp, link);
   sinter_status status = run_compiler(t, fd < 0 ? temp : link, t->path, NULL);

   if (fd < 0)
      return status;
   unlink(temp);
   if (status == SINTER_ok && linkat(AT_FDCWD, link, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) != 0)
      status = base_fail(SINTER_io, t->path, "check the folder and its free space",
                         "the artifact cannot be put in place: %s", strerror(errno));
   close(fd);
   return status;
}

/* One self-contained file. It comes by a rename, which would put it in the place of a device too,
 * so what is there, and the folder, are looked at before the work. */
static sinter_status check_output(const char *output)
{
   char folder[PATH_BYTES];
   const char *slash = strrchr(output, '/');
   struct stat st;

   if (stat(output, &st) == 0 && !S_ISREG(st.st_mode))
      return base_fail(SINTER_usage, output, "name a new file, or one to replace",
                       "this is no regular file");
   snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - output) + 1 : 1,
            slash ? output : ".");
   if (access(folder, W_OK | X_OK) != 0)
      return base_fail(SINTER_io, output, "name a file in a folder that can be written",
                       "the artifact cannot be put there: %s", strerror(errno));
   return SINTER_ok;
}

static sinter_status compile_to_file(task *t)
{
   char temp[PATH_BYTES];

   int n = snprintf(temp, sizeof temp, "%s.tmp-%d", t->options->output, (int)getpid());
   if (n >= (int)sizeof temp)
      return base_fail(SINTER_usage, "-o", "use a shorter one",
                       "the path of the artifact is too long");
   snprintf(t->path, sizeof t->path, "%s", t->options->output);
   SINTER_TRY(compile_to_temp(t, temp));
   return rt_cache_publish(temp, t->path);
}

static sinter_status compile_entry(task *t)
{
   char temp[PATH_BYTES], weights[PATH_BYTES], json[RT_CACHE_PATH];

   snprintf(temp, sizeof temp, "%s/artifacts/.tmp-%d-%.16s", t->cache, (int)getpid(), t->key.name);
   snprintf(weights, sizeof weights, "%s/artifacts/weights", t->cache);
   SINTER_TRY(run_compiler(t, temp, NULL, weights));
   rt_cache_entry(t->cache, t->key.name, ".json", json);
   sinter_status status = rt_cache_write(json, t->key.full, strlen(t->key.full));
   if (status != SINTER_ok) {
      unlink(temp);
      return status;
   }
   return rt_cache_publish(temp, t->path);
}

static sinter_status compile_to_cache(task *t)
{
   char folder[PATH_BYTES];
   rt_cache_lock lock;
   rt_cache_freed freed;
   uint64_t bound;
   sinter_status status = SINTER_ok;

   SINTER_TRY(rt_cache_make(t->cache));
   snprintf(folder, sizeof folder, "%s/artifacts", t->cache);
   if (access(folder, W_OK) != 0)
      return base_fail(SINTER_io, folder,
                       "set SINTER_CACHE to a folder that can be written, or use what `sinter "
                       "compile -o FILE` makes",
                       "the model is not in the cache, and the cache cannot be written: %s",
                       strerror(errno));
   SINTER_TRY(rt_cache_bound(&bound));
   rt_cache_lock_key(t->cache, t->key.name, &lock);
   /* Another process may have made it while this one waited. */
   t->hit = !t->options->no_cache && rt_cache_hit(t->cache, t->key.name, t->options->artifact);
   if (!t->hit)
      status = compile_entry(t);
   rt_cache_unlock(&lock);
   if (status == SINTER_ok && !t->hit)
      SINTER_TRY(rt_cache_trim(t->cache, bound, t->key.name, false, &freed));
   return status;
}

/* Finds out what the model is and what its key is; nothing is open or locked here. */
static sinter_status prepare(void *user)
{
   task *t = user;
   const sinter_compile_options *o = t->options;
   attention_backend backend;
   bool strict;
   sinter_status status = rt_cache_folder(o->cache_dir, t->cache);

   if (status != SINTER_ok && !o->output)
      return status;
   if (status != SINTER_ok)
      t->cache[0] = 0;
   /* So that digests can be remembered; a cache that cannot be written only forgets. */
   if (status == SINTER_ok)
      status = rt_cache_make(t->cache);
   (void)status;
   SINTER_TRY(rt_key_is_artifact(o, t->cache, &t->is_artifact));
   if (t->is_artifact && o->output)
      return base_fail(SINTER_usage, o->model, "copy the file, or name the checkpoint it came from",
                       "the model is already an artifact");
   if (t->is_artifact) {
      SINTER_TRY(sinter_artifact_open(o->model, &t->artifact));
      return rt_asked_check(t->a, o, t->artifact);
   }
   SINTER_TRY(attention_read(o->attention, &backend, &strict));
   SINTER_TRY(o->output ? check_output(o->output) : rt_cache_trust(t->cache));
   SINTER_TRY(rt_key_make(t->a, o, t->cache, &t->key));
   rt_cache_entry(t->cache, t->key.name, ".sinter", t->path);
   t->hit = !o->output && !o->no_cache && rt_cache_hit(t->cache, t->key.name, t->options->artifact);
   return SINTER_ok;
}

static sinter_status find_or_make(task *t)
{
   const sinter_compile_options *o = t->options;

   SINTER_TRY(arena_catch(prepare, t));
   if (t->is_artifact) {
      snprintf(t->path, sizeof t->path, "%s", o->model);
      t->hit = true;
   }
   if (t->hit)
      return SINTER_ok;
   return o->output ? compile_to_file(t) : compile_to_cache(t);
}

/* Hands over the artifact that was opened as the model. */
static void give_artifact(const sinter_compile_options *o, sinter_artifact *artifact)
{
   if (artifact && o->artifact)
      *o->artifact = artifact;
   else
      sinter_artifact_close(artifact);
}

static sinter_status drop_artifact(const sinter_compile_options *o, sinter_status status)
{
   if (o->artifact && *o->artifact) {
      sinter_artifact_close(*o->artifact);
      *o->artifact = NULL;
   }
   return status;
}

sinter_status sinter_compile(const sinter_compile_options *options, char *out_path, size_t path_cap,
                             bool *out_cached)
{
   sinter_compile_options o = {.size = sizeof o};
   task t = {.options = &o};

   memcpy(&o, options, MIN(options->size, sizeof o));
   if (o.artifact)
      *o.artifact = NULL;
   SINTER_TRY(debug_check());
   SINTER_TRY(arena_create(&t.a));
   sinter_status status = find_or_make(&t);
   arena_destroy(t.a);
   give_artifact(&o, t.artifact);
   if (status == SINTER_ok && strlen(t.path) >= path_cap)
      status =
         base_fail(SINTER_usage, t.path, "give more room", "the path of the artifact is too long");
   if (status == SINTER_ok && o.artifact && !*o.artifact)
      status = sinter_artifact_open(t.path, o.artifact);
   if (status != SINTER_ok)
      return drop_artifact(&o, status);
   memcpy(out_path, t.path, strlen(t.path) + 1);
   if (out_cached)
      *out_cached = t.hit;
   if (o.progress)
      o.progress(o.user, SINTER_STAGE_done, 1, 1, t.hit ? "cached" : "compiled");
   return SINTER_ok;
}

/* ---- explain ---- */

void sinter_free(char *json)
{
   free(json);
}

static sinter_status check_arch(const sinter_compile_options *o)
{
   SINTER_TRY(arch_check(o->arch));
   if (o->targets)
      return base_fail(SINTER_usage, "--arch", "leave one of them out",
                       "an architecture and a target are two machines to judge for");
   if (o->numerics != SINTER_NUMERICS_fast)
      return base_fail(SINTER_usage, "--arch", "leave --numerics out",
                       "architectures are judged as `fast` would compile for them");
   return SINTER_ok;
}

/* What the artifact says of itself: the machine it is for, and its passes, are decided. */
static sinter_status explain_artifact(void *user)
{
   task *t = user;
   const sinter_compile_options *o = t->options;

   if (o->arch || o->targets)
      return base_fail(SINTER_usage, o->model, "name the checkpoint it came from",
                       "the model is already compiled, and can be judged for no other machine");
   SINTER_TRY(sinter_artifact_open(o->model, &t->artifact));
   return rt_asked_check(t->a, o, t->artifact);
}

static sinter_status explain_of_artifact(const sinter_compile_options *o, char **out_json)
{
   task t = {.options = o};

   SINTER_TRY(arena_create(&t.a));
   sinter_status status = arena_catch(explain_artifact, &t);
   const char *document =
      status == SINTER_ok ? sinter_artifact_document(t.artifact, "explain") : NULL;
   if (status == SINTER_ok && !document)
      status = base_fail(SINTER_bad_input, o->model, "compile the model again with --no-cache",
                         "the artifact does not say what the passes did");
   if (document && !(*out_json = strdup(document)))
      status =
         base_fail(SINTER_out_of_memory, o->model, "close other programs", "memory is exhausted");
   sinter_artifact_close(t.artifact);
   arena_destroy(t.a);
   return status;
}

/* Whether the model is one; a memory of digests, which says so without opening it, may be
 * missing. */
static sinter_status is_artifact(const sinter_compile_options *o, bool *out)
{
   char cache[RT_CACHE_PATH];

   if (rt_cache_folder(o->cache_dir, cache) != SINTER_ok)
      cache[0] = 0;
   return rt_key_is_artifact(o, cache, out);
}

sinter_status sinter_explain(const sinter_compile_options *options, char **out_json)
{
   sinter_compile_options o = {.size = sizeof o};
   const compiler_api *api;
   char *json = NULL, targets[512];
   attention_backend backend;
   bool compiled, strict;

   *out_json = NULL;
   memcpy(&o, options, MIN(options->size, sizeof o));
   SINTER_TRY(is_artifact(&o, &compiled));
   if (compiled)
      return explain_of_artifact(&o, out_json);
   SINTER_TRY(attention_read(o.attention, &backend, &strict));
   if (o.arch)
      SINTER_TRY(check_arch(&o));
   /* Any target will do for another architecture; one with a level would need this machine's. */
   const char *judged = o.arch ? "null" : o.targets ? o.targets : "cpu";
   SINTER_TRY(rt_level_targets(judged, targets, sizeof targets));
   compiler_request request = {.model = o.model,
                               .targets = targets,
                               .numerics = o.numerics,
                               .variant_per_bucket = o.variant_per_bucket,
                               .attention = o.attention,
                               .with = o.with,
                               .without = o.without,
                               .experts = o.experts,
                               .threads = o.threads,
                               .arch = o.arch,
                               .progress = o.progress,
                               .user = o.user};
   SINTER_TRY(rt_compiler_open(&api));
   SINTER_TRY(api->explain(&request, &json));
   *out_json = strdup(json);
   api->release(json);
   if (!*out_json)
      return base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   return SINTER_ok;
}
