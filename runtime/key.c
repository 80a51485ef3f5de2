/* key.c - digests of the source files and the options, in one canonical text. */
#include "key.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/artifact.h"
#include "base/isa.h"
#include "base/json.h"
#include "base/kargs.h"
#include "base/toolkit.h"
#include "compile.h"
#include "level.h"
#include "memo.h"
#include "weights.h"

enum { MAX_FILES = 4096 };

static const char remedy_path[] = "check the path of the model";

static sinter_status open_error(const char *path)
{
   return base_fail(errno == ENOENT ? SINTER_not_found : SINTER_io, path, remedy_path,
                    "the file cannot be read: %s", strerror(errno));
}

/* ---- digests of files ---- */

static sinter_status digest_file(const char *cache, const char *path, digest *out,
                                 uint64_t *out_size)
{
   struct stat before, after;
   int64_t started = rt_memo_now();
   int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no wait for a pipe's writer */

   if (fd < 0)
      return open_error(path);
   if (fstat(fd, &before) != 0 || !S_ISREG(before.st_mode)) {
      close(fd);
      return base_fail(SINTER_bad_input, path, remedy_path, "this is not a file");
   }
   sinter_status status = rt_weights_digest(fd, 0, (uint64_t)before.st_size, path, out);
   if (status == SINTER_ok && (fstat(fd, &after) != 0 || !rt_memo_same(&before, &after)))
      status = base_fail(SINTER_io, path, "wait until the file is complete",
                         "the file changed while it was read");
   close(fd);
   *out_size = (uint64_t)before.st_size;
   if (status == SINTER_ok)
      rt_memo_put(cache, "source", &before, out, started);
   return status;
}

/* What is remembered of a file; false when it has to be read. */
static bool is_known(const char *cache, const char *path, digest *out, uint64_t *out_size)
{
   struct stat s;

   if (stat(path, &s) != 0 || !rt_memo_get(cache, "source", &s, out))
      return false;
   *out_size = (uint64_t)s.st_size;
   return true;
}

sinter_status rt_key_digest(const char *cache, const char *path, digest *out, uint64_t *out_size)
{
   if (is_known(cache, path, out, out_size))
      return SINTER_ok;
   return digest_file(cache, path, out, out_size);
}

sinter_status rt_key_is_artifact(const sinter_compile_options *options, const char *cache,
                                 bool *out)
{
   char magic[8] = "";
   struct stat s;
   digest known;

   *out = false;
   if (!options->model || !options->model[0])
      return base_fail(SINTER_usage, "model",
                       "name a GGUF file, a checkpoint folder or an artifact", "there is no model");
   if (stat(options->model, &s) != 0 && errno == ENOENT)
      return base_fail(SINTER_not_found, options->model,
                       "check the path; `sinter models ls` shows the names that are known",
                       "there is no file, folder or known model of this name");
   if (stat(options->model, &s) != 0)
      return open_error(options->model);
   /* Only sources are remembered, so one that is need not be opened. */
   if (!S_ISREG(s.st_mode) || rt_memo_get(cache, "source", &s, &known))
      return SINTER_ok;
   int fd = open(options->model, O_RDONLY | O_CLOEXEC);
   if (fd < 0)
      return open_error(options->model);
   ssize_t n = read(fd, magic, sizeof magic);
   close(fd);
   *out = n > 0 && artifact_is(magic, (size_t)n);
   return SINTER_ok;
}

/* ---- the source ---- */

typedef struct file {
   const char *name, *path;
   digest digest;
   uint64_t size;
} file;

typedef struct source {
   arena *a;
   const sinter_compile_options *options;
   const char *cache;
   VEC(file) files;
} source;

/* What an importer may read of a folder. */
static bool is_checkpoint_file(const char *name)
{
   static const char *const ends[] = {".json", ".safetensors", ".model", ".jinja", ".txt"};
   size_t len = strlen(name);

   for (size_t i = 0; i < countof(ends); i++) {
      size_t end = strlen(ends[i]);
      if (name[0] != '.' && len > end && strcmp(name + len - end, ends[i]) == 0)
         return true;
   }
   return false;
}

static int by_name(const void *a, const void *b)
{
   return strcmp(((const file *)a)->name, ((const file *)b)->name);
}

/* Names only: nothing is allocated in the arena while the folder is open but through `names`. */
static sinter_status read_folder(const char *path, char names[][256], size_t *count)
{
   DIR *dir = opendir(path);

   if (!dir)
      return open_error(path);
   *count = 0;
   for (struct dirent *e; (e = readdir(dir));) {
      if (!is_checkpoint_file(e->d_name))
         continue;
      if (*count == MAX_FILES) {
         closedir(dir);
         return base_fail(SINTER_bad_input, path, "name the folder of one checkpoint",
                          "the folder has too many files");
      }
      memcpy(names[(*count)++], e->d_name, strlen(e->d_name) + 1);
   }
   closedir(dir);
   if (*count)
      return SINTER_ok;
   return base_fail(SINTER_bad_input, path,
                    "name a folder with config.json and safetensors, or a GGUF file",
                    "the folder holds no checkpoint");
}

static sinter_status list_folder(source *s, const char *path)
{
   char(*names)[256] = arena_alloc_array(s->a, MAX_FILES, sizeof *names);
   size_t count = 0;

   SINTER_TRY(read_folder(path, names, &count));
   for (size_t i = 0; i < count; i++)
      *vec_push(s->a, &s->files) =
         (file){.name = names[i], .path = arena_printf(s->a, "%s/%s", path, names[i])};
   qsort(s->files.data, s->files.count, sizeof *s->files.data, by_name);
   return SINTER_ok;
}

static void tell(const sinter_compile_options *o, uint64_t done, uint64_t total, const char *name)
{
   if (o->progress)
      o->progress(o->user, SINTER_STAGE_hash, done, total, name);
}

/* Tells about files that have to be read only: a hit has nothing to say. */
static sinter_status digest_files(source *s)
{
   bool told = false;

   for (size_t i = 0; i < s->files.count; i++) {
      file *f = &s->files.data[i];
      if (is_known(s->cache, f->path, &f->digest, &f->size))
         continue;
      if (!told) /* before the first file is read, which may take long */
         SINTER_TRY(rt_compiler_check(s->options));
      told = true;
      tell(s->options, i, s->files.count, f->name);
      SINTER_TRY(digest_file(s->cache, f->path, &f->digest, &f->size));
   }
   if (told)
      tell(s->options, s->files.count, s->files.count, "");
   return SINTER_ok;
}

/* What is written takes the place of what is there. */
static sinter_status check_kept(const source *s)
{
   struct stat out, in;

   if (!s->options->output || stat(s->options->output, &out) != 0)
      return SINTER_ok;
   for (size_t i = 0; i < s->files.count; i++)
      if (stat(s->files.data[i].path, &in) == 0 && in.st_dev == out.st_dev &&
          in.st_ino == out.st_ino)
         return base_fail(SINTER_usage, s->options->output, "name another file",
                          "the artifact would take the place of the checkpoint's own file");
   return SINTER_ok;
}

static sinter_status write_source(source *s, text_buf *t)
{
   const char *model = s->options->model;
   struct stat st;
   char hex[65];

   if (stat(model, &st) != 0)
      return open_error(model);
   if (S_ISDIR(st.st_mode))
      SINTER_TRY(list_folder(s, model));
   else
      *vec_push(s->a, &s->files) = (file){.name = "", .path = model};
   SINTER_TRY(check_kept(s));
   SINTER_TRY(digest_files(s));
   text_printf(t, "\"source\":[");
   for (size_t i = 0; i < s->files.count; i++) {
      const file *f = &s->files.data[i];
      digest_hex(&f->digest, hex);
      text_printf(t, "%s{\"name\":", i ? "," : "");
      json_write_string(t, f->name, strlen(f->name));
      text_printf(t, ",\"size\":%llu,\"digest\":\"%s\"}", (unsigned long long)f->size, hex);
   }
   text_printf(t, "]");
   return SINTER_ok;
}

/* ---- the options ---- */

static int by_text(const void *a, const void *b)
{
   return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A comma-separated list as a sorted array, each name once. */
static void write_names(arena *a, text_buf *t, const char *field, const char *list)
{
   VEC(const char *) names = {0};

   for (const char *p = list ? list : ""; *p;) {
      size_t len = strcspn(p, ",");
      if (len)
         *vec_push(a, &names) = arena_strndup(a, p, len);
      p += len + (p[len] == ',');
   }
   if (names.count)
      qsort(names.data, names.count, sizeof *names.data, by_text);
   text_printf(t, "\"%s\":[", field);
   const char *before = NULL;
   for (size_t i = 0; i < names.count; i++) {
      if (before && strcmp(before, names.data[i]) == 0)
         continue;
      text_printf(t, before ? "," : "");
      before = names.data[i];
      json_write_string(t, before, strlen(before));
   }
   text_printf(t, "],");
}

/* Digest of $SINTER_KERNELS/<name>, if there is such a file. */
static sinter_status write_kernel(arena *a, text_buf *t, const char *dir, const char *name, int *n)
{
   FILE *f = fopen(arena_printf(a, "%s/%s", dir, name), "rb");
   uint8_t block[4096];
   digest_state s;
   size_t got;
   char hex[65];

   if (!f)
      return SINTER_ok;
   digest_init(&s);
   while ((got = fread(block, 1, sizeof block, f)))
      digest_update(&s, block, got);
   bool failed = ferror(f);
   fclose(f);
   if (failed)
      return base_fail(SINTER_io, dir, "look at SINTER_KERNELS", "an object cannot be read");
   digest d = digest_final(&s);
   digest_hex(&d, hex);
   text_printf(t, "%s\"%s\":\"%s\"", (*n)++ ? "," : "", name, hex);
   return SINTER_ok;
}

/* What takes the place of the compiler's objects (codegen/target_cpu.h) and texts (codegen/simt.h),
 * by what is in it. */
static sinter_status write_kernels(arena *a, text_buf *t, const char *targets)
{
   const char *dir = getenv("SINTER_KERNELS");
   int n = 0;

   if (!dir || !*dir)
      return SINTER_ok;
   text_printf(t, "\"kernels\":{");
   for (int i = 0; i < ISA_LEVEL_COUNT; i++)
      SINTER_TRY(write_kernel(a, t, dir, arena_printf(a, "%s.o", isa_infos[i].name), &n));
   for (const char *p = targets; *p; p += strcspn(p, ","), p += *p == ',')
      SINTER_TRY(
         write_kernel(a, t, dir, arena_printf(a, "%.*s.simt", (int)strcspn(p, ","), p), &n));
   text_printf(t, "},");
   return SINTER_ok;
}

/* A file that has a say in what a target's kernels become. */
static sinter_status write_tool(text_buf *t, text_buf *tools, const char *cache, const char *target,
                                const char *name, const char *path)
{
   int len = (int)strcspn(target, ",");
   char hex[65];
   digest d;
   uint64_t size;

   SINTER_TRY(rt_key_digest(cache, path, &d, &size));
   digest_hex(&d, hex);
   text_printf(t, "\"%.*s by %s\":\"%s\",", len, target, name, hex);
   text_printf(tools, "%.*s by %s %s\n", len, target, name, hex);
   return SINTER_ok;
}

/* Compilers of one target that are here: of several the one that knows the GPU makes the kernels,
 * which their files decide. hiprtc gets its options from the program that runs it. */
static sinter_status write_compilers(text_buf *t, text_buf *tools, const char *cache,
                                     const char *target)
{
   sinter_status status = SINTER_ok;
   bool found = false;

   for (int i = 0; i < TOOLKIT_COUNT; i++) {
      char path[TOOLKIT_PATH];

      if (!toolkit_serves((toolkit)i, target))
         continue;
      status = toolkit_find((toolkit)i, path);
      if (status != SINTER_ok)
         continue;
      SINTER_TRY(write_tool(t, tools, cache, target, toolkit_infos[i].name, path));
      if (i == TOOLKIT_hiprtc && toolkit_hiprtc_program(path))
         SINTER_TRY(write_tool(t, tools, cache, target, "sinter-hiprtc", path));
      found = true;
   }
   return found ? SINTER_ok : status;
}

/* Compilers that are no part of ours, by what is in their files. Errors NO_DEVICE where a target
 * has none. */
static sinter_status write_toolkits(text_buf *t, text_buf *tools, const char *cache,
                                    const char *targets)
{
   for (const char *p = targets; *p; p += strcspn(p, ","), p += *p == ',')
      SINTER_TRY(write_compilers(t, tools, cache, p));
   return SINTER_ok;
}

void rt_key_options(arena *a, text_buf *t, const sinter_compile_options *options)
{
   char hex[65];

   text_printf(t, "\"numerics\":\"%s\",",
               options->numerics == SINTER_NUMERICS_exact ? "exact" : "fast");
   if (options->draft)
      text_printf(t, "\"draft\":true,");
   if (options->hidden)
      text_printf(t, "\"hidden\":true,");
   if (options->variant_per_bucket)
      text_printf(t, "\"variant_per_bucket\":true,");
   if (options->experts) {
      digest d = digest_bytes(options->experts, strlen(options->experts));
      digest_hex(&d, hex);
      text_printf(t, "\"experts\":\"%s\",", hex);
   }
   if (options->attention && strcmp(options->attention, "auto") != 0) {
      text_printf(t, "\"attention\":");
      json_write_string(t, options->attention, strlen(options->attention));
      text_printf(t, ",");
   }
   write_names(a, t, "with", options->with);
   write_names(a, t, "without", options->without);
}

sinter_status rt_key_make(arena *a, const sinter_compile_options *options, const char *cache,
                          rt_key *out)
{
   text_buf t = {.a = a}, tools = {.a = a};
   source s = {.a = a, .options = options, .cache = cache};
   char targets[512], hex[65];
   digest build;

   SINTER_TRY(
      rt_level_targets(options->targets ? options->targets : "cpu", targets, sizeof targets));
   text_printf(&t, "{\"artifact\":%d,\"kernel_abi\":%d,", ARTIFACT_VERSION, KARGS_ABI);
   text_printf(&t, "\"targets\":\"%s\",", targets);
   rt_key_options(a, &t, options);
   write_names(a, &t, "skip", getenv("SINTER_SKIP"));
   SINTER_TRY(write_kernels(a, &t, targets));
   SINTER_TRY(write_toolkits(&t, &tools, cache, targets));
   SINTER_TRY(write_source(&s, &t));
   text_printf(&t, "}");
   SINTER_TRY(rt_compiler_build(cache, &build));
   digest_hex(&build, hex);
   out->targets = arena_strdup(a, targets);
   out->json = t.data;
   out->build = arena_strdup(a, hex);
   out->tools = tools.data;
   out->full = arena_printf(a, "{\"build\":\"%s\",\"key\":%s}\n", hex, t.data);
   digest d = digest_bytes(out->full, strlen(out->full));
   digest_hex(&d, out->name);
   return SINTER_ok;
}
