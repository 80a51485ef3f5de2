/* cache_docs.c - the cache, and this machine, as JSON documents. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/artifact.h"
#include "base/isa.h"
#include "base/json.h"
#include "base/arch.h"
#include "base/toolkit.h"
#include "cache.h"
#include "compile.h"
#include "key.h"
#include "gpu.h"
#include "level.h"

/* A document in the making: body writes into t, in an arena. */
typedef struct document {
   arena *a;
   text_buf t;
   char cache[RT_CACHE_PATH];
   const sinter_compile_options *options;
   uint64_t max_bytes;
   rt_cache_item *items; /* malloc'd, so that an arena that runs out leaks nothing */
   size_t count;
   uint32_t damaged;
} document;

static sinter_status make(document *d, const char *cache_dir, sinter_status (*body)(void *),
                          char **out)
{
   *out = NULL;
   SINTER_TRY(rt_cache_folder(cache_dir, d->cache));
   SINTER_TRY(arena_create(&d->a));
   d->t.a = d->a;
   sinter_status status = rt_cache_items(d->cache, &d->items, &d->count);
   if (status == SINTER_ok)
      status = arena_catch(body, d);
   if (status == SINTER_ok && !(*out = strdup(d->t.data)))
      status = base_fail(SINTER_out_of_memory, "", "close other programs", "memory is exhausted");
   free(d->items);
   arena_destroy(d->a);
   return status;
}

static void text_field(text_buf *t, const char *before, const char *name, const char *value)
{
   text_printf(t, "%s\"%s\":", before, name);
   json_write_string(t, value, strlen(value));
}

/* ---- ls ---- */

/* The full key of an entry, NULL when its file is missing or damaged. */
static const json *read_key(const document *d, const char *key)
{
   enum { MAX_KEY = 1 << 20 };
   char path[RT_CACHE_PATH];
   json *j = NULL;

   rt_cache_entry(d->cache, key, ".json", path);
   char *text = arena_alloc(d->a, MAX_KEY);
   FILE *f = fopen(path, "re");
   if (!f)
      return NULL;
   size_t len = fread(text, 1, MAX_KEY, f);
   fclose(f);
   return json_parse(d->a, text, len, path, &j) == SINTER_ok ? j : NULL;
}

static const char *string_of(const json *j, const char *name)
{
   const json *v = json_get(j, name);

   return v && v->kind == JSON_string ? v->string : "";
}

/* What the manifest says of an entry: its model's name, and the bytes of its weights. */
static void write_entry(document *d, const rt_cache_item *item, bool first)
{
   char path[RT_CACHE_PATH];
   sinter_artifact *artifact;
   const json *key = read_key(d, item->key);
   json *manifest = NULL;

   rt_cache_entry(d->cache, item->key, ".sinter", path);
   text_field(&d->t, first ? "{" : ",\n{", "key", item->key);
   text_field(&d->t, ",", "path", path);
   text_printf(&d->t, ",\"bytes\":%llu", (unsigned long long)item->bytes);
   if (sinter_artifact_open(path, &artifact) == SINTER_ok) {
      sinter_model_info info = SINTER_INIT(sinter_model_info);
      const char *text = sinter_artifact_document(artifact, "manifest");
      sinter_artifact_info(artifact, &info);
      text = arena_strdup(d->a, text ? text : "{}");
      sinter_artifact_close(artifact);
      text_printf(&d->t, ",\"weight_bytes\":%llu", (unsigned long long)info.weight_bytes);
      if (json_parse(d->a, text, strlen(text), path, &manifest) == SINTER_ok)
         text_field(&d->t, ",", "model", string_of(json_get(manifest, "model"), "name"));
   } else {
      text_printf(&d->t, ",\"damaged\":true");
   }
   text_field(&d->t, ",", "target", string_of(json_get(key, "key"), "targets"));
   text_field(&d->t, ",", "numerics", string_of(json_get(key, "key"), "numerics"));
   text_printf(&d->t, ",\"last_used\":%lld}", (long long)(item->used_ns / 1000000000));
}

static sinter_status list(void *user)
{
   document *d = user;

   text_printf(&d->t, "[");
   for (size_t i = 0; i < d->count; i++)
      write_entry(d, &d->items[i], i == 0);
   text_printf(&d->t, "]");
   return SINTER_ok;
}

sinter_status sinter_cache_list(const char *cache_dir, char **out_json)
{
   document d = {0};

   return make(&d, cache_dir, list, out_json);
}

/* ---- why ---- */

/* Writes the fields in which two keys differ, or only counts them. */
static uint32_t compare(document *d, const json *stored, const json *wanted, bool write)
{
   uint32_t count = 0;

   for (size_t i = 0; i < wanted->len; i++) {
      const char *name = wanted->keys[i];
      const json *was = json_get(stored, name);
      if (wanted->items[i]->kind == JSON_object && was) {
         count += compare(d, was, wanted->items[i], write);
         continue;
      }
      const char *a = json_text_of(d->a, was), *b = json_text_of(d->a, wanted->items[i]);
      if (strcmp(a, b) == 0)
         continue;
      if (write) {
         text_field(&d->t, d->t.data[d->t.len - 1] == '[' ? "{" : ",{", "field", name);
         text_field(&d->t, ",", "stored", a);
         text_field(&d->t, ",", "wanted", b);
         text_printf(&d->t, "}");
      }
      count++;
   }
   return count;
}

static void write_nearest(document *d, const json *wanted)
{
   const json *best = NULL;
   const char *best_key = "";
   uint32_t fewest = UINT32_MAX;

   for (size_t i = 0; i < d->count; i++) {
      const json *stored = read_key(d, d->items[i].key);
      uint32_t count = stored ? compare(d, stored, wanted, false) : UINT32_MAX;
      if (count < fewest) {
         best = stored;
         best_key = d->items[i].key;
         fewest = count;
      }
   }
   if (!best) {
      text_printf(&d->t, ",\"nearest\":null,\"differs\":[]");
      return;
   }
   text_field(&d->t, ",", "nearest", best_key);
   text_printf(&d->t, ",\"differs\":[");
   compare(d, best, wanted, true);
   text_printf(&d->t, "]");
}

static sinter_status why(void *user)
{
   document *d = user;
   rt_key key;
   bool is_artifact;
   json *wanted;

   SINTER_TRY(rt_key_is_artifact(d->options, d->cache, &is_artifact));
   if (is_artifact)
      return base_fail(SINTER_usage, d->options->model, "name the checkpoint it came from",
                       "the model is an artifact, which needs no cache");
   SINTER_TRY(rt_key_make(d->a, d->options, d->cache, &key));
   SINTER_TRY(json_parse(d->a, key.full, strlen(key.full), "key", &wanted));
   bool hit = rt_cache_hit(d->cache, key.name, NULL);
   text_printf(&d->t, "{\"hit\":%s", hit ? "true" : "false");
   text_field(&d->t, ",", "key", key.name);
   if (!hit)
      write_nearest(d, wanted);
   text_printf(&d->t, ",\"fields\":%s}", key.full);
   return SINTER_ok;
}

sinter_status sinter_cache_why(const sinter_compile_options *options, char **out_json)
{
   sinter_compile_options o = {.size = sizeof o};
   document d = {.options = &o};

   memcpy(&o, options, MIN(options->size, sizeof o));
   return make(&d, o.cache_dir, why, out_json);
}

/* ---- verify and gc ---- */

static sinter_status verify(void *user)
{
   document *d = user;

   text_printf(&d->t, "{\"checked\":%zu,\"damaged\":[", d->count);
   for (size_t i = 0; i < d->count; i++) {
      char path[RT_CACHE_PATH];
      rt_cache_entry(d->cache, d->items[i].key, ".sinter", path);
      if (sinter_artifact_verify(path) == SINTER_ok)
         continue;
      text_field(&d->t, d->damaged++ ? ",{" : "{", "path", path);
      text_field(&d->t, ",", "error", sinter_error());
      text_printf(&d->t, "}");
   }
   text_printf(&d->t, "]}");
   return SINTER_ok;
}

sinter_status sinter_cache_verify(const char *cache_dir, char **out_json)
{
   document d = {0};

   SINTER_TRY(make(&d, cache_dir, verify, out_json));
   if (d.damaged)
      return base_fail(SINTER_verify_failed, d.cache, "compile with --no-cache, or remove the file",
                       "%u of %zu entries are damaged", d.damaged, d.count);
   return SINTER_ok;
}

static sinter_status collect(void *user)
{
   document *d = user;
   rt_cache_freed freed;

   SINTER_TRY(rt_cache_trim(d->cache, d->max_bytes, NULL, true, &freed));
   text_printf(&d->t,
               "{\"removed_entries\":%llu,\"removed_files\":%llu,\"removed_bytes\":%llu,\"left_"
               "bytes\":%llu}",
               (unsigned long long)freed.entries, (unsigned long long)freed.files,
               (unsigned long long)freed.bytes, (unsigned long long)freed.left);
   return SINTER_ok;
}

sinter_status sinter_cache_gc(const char *cache_dir, uint64_t max_bytes, char **out_json)
{
   document d = {.max_bytes = max_bytes};

   if (!max_bytes)
      SINTER_TRY(rt_cache_bound(&d.max_bytes));
   return make(&d, cache_dir, collect, out_json);
}

/* ---- doctor ---- */

static const char *compiler_state(arena *a)
{
   const compiler_api *api;

   if (rt_compiler_open(&api) == SINTER_ok)
      return arena_printf(a, "LLVM %s", api->llvm_version);
   const char *error = sinter_error();
   return arena_printf(a, "absent: %.*s", (int)strcspn(error, "\n"), error);
}

/* The GPU of a vendor and how it gives memory, or why there is none. */
static const char *gpu_state(arena *a, const rt_gpu_ops *ops)
{
   rt_gpu *gpu;

   if (ops->open(NULL, &gpu) == SINTER_ok) {
      size_t piece = 0;
      bool grows = ops->granularity(gpu, &piece) == SINTER_ok && piece;
      const char *text =
         grows
            ? arena_printf(a, "%s, a KV pool grows by %zu KiB a layer", ops->arch(gpu), piece >> 10)
            : arena_printf(a, "%s, a KV pool is one piece of memory", ops->arch(gpu));
      ops->close(gpu);
      return text;
   }
   const char *error = sinter_error();
   return arena_printf(a, "absent: %.*s", (int)strcspn(error, "\n"), error);
}

/* Whose kernels can be made here. */
static void write_toolkits(document *d)
{
   for (int t = 0; t < TOOLKIT_COUNT; t++) {
      char path[TOOLKIT_PATH];
      bool found = toolkit_find((toolkit)t, path) == SINTER_ok;

      text_field(&d->t, ",", toolkit_infos[t].name,
                 found ? path : arena_printf(d->a, "absent: %s", toolkit_infos[t].remedy));
   }
}

/* Which of them is taken for each of AMD's GPUs. */
static void write_hip_compilers(document *d)
{
   char known[4096], path[TOOLKIT_PATH];
   const char *other = toolkit_find(TOOLKIT_clang, path) == SINTER_ok ? "clang" : "absent",
              *comma = "";

   toolkit_hiprtc_gpus(known, sizeof known);
   text_printf(&d->t, ",\"hip_compilers\":[");
   for (uint32_t i = 0; arch_at(i); i++) {
      const char *gpu = arch_at(i)->name;

      if (strcmp(arch_vendor(arch_at(i)), "hip") != 0)
         continue;
      text_printf(&d->t, "%s\"%s:%s\"", comma, gpu,
                  toolkit_has_line(known, gpu) ? "hiprtc" : other);
      comma = ",";
   }
   text_printf(&d->t, "]");
}

static sinter_status doctor(void *user)
{
   document *d = user;
   char folder[RT_CACHE_PATH + 16];
   uint64_t bytes = 0;

   snprintf(folder, sizeof folder, "%s/artifacts", d->cache);
   for (size_t i = 0; i < d->count; i++)
      bytes += d->items[i].bytes;
   text_field(&d->t, "{", "version", sinter_version());
   text_printf(&d->t, ",\"cores\":%ld", sysconf(_SC_NPROCESSORS_ONLN));
   text_field(&d->t, ",", "level", rt_level_name());
   text_printf(&d->t, ",\"levels\":[");
   rt_level_write(&d->t);
   text_printf(&d->t, "]");
   text_field(&d->t, ",", "tiles", isa_no_tiles()[0] ? isa_no_tiles() : "amx");
   text_field(&d->t, ",", "compiler", compiler_state(d->a));
   text_field(&d->t, ",", "cuda", gpu_state(d->a, &rt_cuda_ops));
   text_field(&d->t, ",", "hip", gpu_state(d->a, &rt_hip_ops));
   write_toolkits(d);
   write_hip_compilers(d);
   text_field(&d->t, ",", "cache", d->cache);
   text_printf(&d->t, ",\"cache_entries\":%zu,\"cache_bytes\":%llu", d->count,
               (unsigned long long)bytes);
   bool absent = access(d->cache, F_OK) != 0;
   text_printf(&d->t, ",\"cache_writable\":%s}",
               absent || access(folder, W_OK) == 0 ? "true" : "false");
   return SINTER_ok;
}

sinter_status sinter_doctor(char **out_json)
{
   document d = {0};

   return make(&d, NULL, doctor, out_json);
}
