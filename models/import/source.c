/* source.c - opens the files of a checkpoint. */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TEXT = 64 << 20 };

/* Maps an open descriptor into node. */
static sinter_status map_descriptor(int fd, source_file *node)
{
   struct stat st;

   if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
      return base_fail(SINTER_bad_input, node->path, "name a regular file",
                       "it is no regular file");
   if (st.st_size <= 0)
      return base_fail(SINTER_bad_input, node->path, "fetch the file again", "the file is empty");
   void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
   if (bytes == MAP_FAILED)
      return base_fail(SINTER_io, node->path, "check that the file can be read",
                       "mapping failed: %s", strerror(errno));
   node->bytes = bytes;
   node->size = (uint64_t)st.st_size;
   return SINTER_ok;
}

sinter_status source_map(model_source *s, const char *path, source_file **out)
{
   source_file *node = arena_new(s->a, source_file); /* before open: an arena may unwind */
   sinter_status status;

   node->path = arena_strdup(s->a, path);
   int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no wait for a pipe's writer */
   if (fd < 0)
      return base_fail(errno == ENOENT ? SINTER_not_found : SINTER_io, path,
                       "check the path and its permissions", "the file cannot be opened: %s",
                       strerror(errno));
   status = map_descriptor(fd, node);
   close(fd);
   SINTER_TRY(status);
   node->next = *s->files;
   *s->files = node;
   *out = node;
   return SINTER_ok;
}

void source_unmap(source_file *list)
{
   for (; list; list = list->next)
      munmap((void *)list->bytes, list->size);
}

sinter_status source_json(model_source *s, const char *dir, const char *name, json **out)
{
   const char *path = arena_printf(s->a, "%s/%s", dir, name);
   source_file *f;

   *out = NULL;
   if (access(path, F_OK) != 0)
      return SINTER_ok;
   SINTER_TRY(source_map(s, path, &f));
   if (f->size > MAX_TEXT)
      return base_fail(SINTER_bad_input, path, "check that this is the file it should be",
                       "%llu bytes exceed the limit for this file", (unsigned long long)f->size);
   SINTER_TRY(json_parse(s->a, (const char *)f->bytes, f->size, path, out));
   if ((*out)->kind != JSON_object)
      return base_fail(SINTER_bad_input, path, "fetch the file again", "it is no JSON object");
   return SINTER_ok;
}

static bool is_folder(const char *path)
{
   struct stat st;

   return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* GGUF extents are stored innermost first. */
static model_tensor from_gguf(const gguf_tensor *g)
{
   model_tensor t = {.source_name = g->name, .dtype = g->dtype, .rank = g->rank};

   for (uint32_t d = 0; d < g->rank; d++)
      t.dim[d] = g->dim[g->rank - 1 - d];
   t.data = g->data;
   t.bytes = g->bytes;
   t.file_offset = g->file_offset;
   return t;
}

static sinter_status open_gguf(model_source *s)
{
   source_file *f;

   SINTER_TRY(source_map(s, s->path, &f));
   SINTER_TRY(gguf_read(s->a, f->bytes, f->size, s->path, &s->gguf));
   const gguf_value *split = gguf_find(s->gguf, "split.count");
   int64_t parts = 1;
   if (split && (!gguf_int(split, 0, &parts) || parts != 1))
      return base_fail(SINTER_unsupported, s->path, "merge the parts with gguf-split --merge",
                       "the model is split over %lld files", (long long)parts);
   for (uint64_t i = 0; i < s->gguf->num_tensors; i++)
      *vec_push(s->a, &s->tensors) = from_gguf(&s->gguf->tensors[i]);
   return SINTER_ok;
}

sinter_status source_open(model_source *s)
{
   json *config;

   if (!is_folder(s->path))
      return open_gguf(s);
   SINTER_TRY(source_json(s, s->path, "config.json", &config));
   if (!config)
      return base_fail(SINTER_not_found, s->path, "name a checkpoint folder or a GGUF file",
                       "the folder holds no config.json");
   s->config = config;
   return safetensors_read_folder(s);
}

/* Every file whose bytes may change what a folder means; weights follow. */
static const char *const text_files[] = {
   "config.json",           "generation_config.json",   "tokenizer.json",
   "tokenizer_config.json", "chat_template.jinja",      "special_tokens_map.json",
   "added_tokens.json",     "preprocessor_config.json",
};

static void add_file(arena *a, const char *dir, const char *name, const char **paths, size_t *n)
{
   const char *path = arena_printf(a, "%s/%s", dir, name);

   for (size_t i = 0; i < *n; i++)
      if (strcmp(paths[i], path) == 0)
         return;
   if (access(path, F_OK) == 0)
      paths[(*n)++] = path;
}

sinter_status source_files(arena *a, const char *path, const char ***out_paths, size_t *out_count)
{
   source_file *files = NULL;
   model_source s = {.a = a, .path = path, .files = &files};
   json *index = NULL;
   const json *shards = NULL;
   size_t n = 0;

   if (is_folder(path)) {
      sinter_status status = source_json(&s, path, "model.safetensors.index.json", &index);
      source_unmap(files);
      SINTER_TRY(status);
      shards = json_get(index, "weight_map");
   }
   const char **paths =
      arena_array(a, const char *, countof(text_files) + 2 + (shards ? shards->len : 0));
   if (!is_folder(path)) {
      paths[n++] = arena_strdup(a, path);
   } else {
      for (size_t i = 0; i < countof(text_files); i++)
         add_file(a, path, text_files[i], paths, &n);
      add_file(a, path, index ? "model.safetensors.index.json" : "model.safetensors", paths, &n);
      for (size_t i = 0; shards && i < shards->len; i++)
         if (shards->items[i]->kind == JSON_string && !strchr(shards->items[i]->string, '/'))
            add_file(a, path, shards->items[i]->string, paths, &n);
   }
   *out_paths = paths;
   *out_count = n;
   return SINTER_ok;
}
