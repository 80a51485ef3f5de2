/* cache_trim.c - what goes when the cache is full: entries by last use, then files nobody refers
 * to. Objects of GPU kernels are small, and can be made again: they go when they are old, or when
 * nothing else is left to go. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/artifact.h"
#include "cache.h"

enum { NAME_BYTES = 80, KERNEL_SECONDS = 30 * 24 * 3600 };

static const uint64_t default_bound = (uint64_t)20 << 30;

/* One entry and the weight files it needs. */
typedef struct holder {
   const rt_cache_item *item;
   bool kept;
   uint32_t num_weights;
   char weights[ARTIFACT_MAX_TARGETS][NAME_BYTES];
} holder;

typedef struct trim {
   const char *cache;
   rt_cache_item *items;
   holder *holders;
   size_t count;
   rt_cache_freed *freed;
} trim;

static void read_holder(const char *cache, const rt_cache_item *item, holder *out)
{
   char path[RT_CACHE_PATH];
   uint8_t page[ARTIFACT_PAGE];
   artifact_toc toc;

   *out = (holder){.item = item, .kept = true};
   rt_cache_entry(cache, item->key, ".sinter", path);
   int fd = open(path, O_RDONLY | O_CLOEXEC);
   if (fd < 0)
      return;
   bool good = pread(fd, page, sizeof page, 0) == (ssize_t)sizeof page &&
               artifact_decode(page, sizeof page, item->bytes, path, &toc) == SINTER_ok;
   close(fd);
   for (uint32_t i = 0; good && i < toc.num_sections; i++)
      if (toc.sections[i].external)
         artifact_weights_name(&toc.sections[i].digest, out->weights[out->num_weights++]);
}

static bool is_needed(const trim *t, const char *name)
{
   for (size_t i = 0; i < t->count; i++)
      for (uint32_t k = 0; t->holders[i].kept && k < t->holders[i].num_weights; k++)
         if (strcmp(t->holders[i].weights[k], name) == 0)
            return true;
   return false;
}

static uint64_t file_size(const char *cache, const char *folder, const char *name)
{
   char path[RT_CACHE_PATH];
   struct stat s;

   snprintf(path, sizeof path, "%s/%s/%s", cache, folder, name);
   return lstat(path, &s) == 0 ? (uint64_t)s.st_size : 0;
}

static void remove_file(trim *t, const char *folder, const char *name)
{
   char path[RT_CACHE_PATH];
   uint64_t size = file_size(t->cache, folder, name);

   snprintf(path, sizeof path, "%s/%s/%s", t->cache, folder, name);
   if (unlink(path) != 0)
      return;
   t->freed->files++;
   t->freed->bytes += size;
}

/* Calls visit for every plain name in a folder. */
static uint64_t each_file(trim *t, const char *folder,
                          uint64_t (*visit)(trim *, const char *, const char *))
{
   char path[RT_CACHE_PATH];
   uint64_t sum = 0;

   snprintf(path, sizeof path, "%s/%s", t->cache, folder);
   DIR *dir = opendir(path);
   if (!dir)
      return 0;
   for (struct dirent *e; (e = readdir(dir));)
      if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
         sum += visit(t, folder, e->d_name);
   closedir(dir);
   return sum;
}

static uint64_t needed_bytes(trim *t, const char *folder, const char *name)
{
   return is_needed(t, name) ? file_size(t->cache, folder, name) : 0;
}

static uint64_t file_size_of(trim *t, const char *folder, const char *name)
{
   return file_size(t->cache, folder, name);
}

static uint64_t total_bytes(trim *t)
{
   uint64_t sum = each_file(t, "artifacts/weights", needed_bytes) +
                  each_file(t, "artifacts/kernels", file_size_of);

   for (size_t i = 0; i < t->count; i++)
      sum += t->holders[i].kept ? t->holders[i].item->bytes : 0;
   return sum;
}

static uint64_t drop_unneeded(trim *t, const char *folder, const char *name)
{
   if (!is_needed(t, name))
      remove_file(t, folder, name);
   return 0;
}

static uint64_t drop_temporary(trim *t, const char *folder, const char *name)
{
   if (strstr(name, ".tmp-"))
      remove_file(t, folder, name);
   return 0;
}

/* Objects of kernels that no compile has taken for a month. */
static uint64_t drop_old_kernel(trim *t, const char *folder, const char *name)
{
   char path[RT_CACHE_PATH];
   struct stat s;

   snprintf(path, sizeof path, "%s/%s/%s", t->cache, folder, name);
   if (lstat(path, &s) != 0 || strstr(name, ".tmp-") ||
       s.st_mtim.tv_sec < time(NULL) - KERNEL_SECONDS)
      remove_file(t, folder, name);
   return 0;
}

static uint64_t drop_kernel(trim *t, const char *folder, const char *name)
{
   remove_file(t, folder, name);
   return 0;
}

/* Keys whose artifact is gone, or never came because its writer was killed. */
static uint64_t drop_lone_key(trim *t, const char *folder, const char *name)
{
   const char *end = strstr(name, ".json");

   if (!end || end - name != RT_CACHE_KEY - 1)
      return 0;
   for (size_t i = 0; i < t->count; i++)
      if (t->holders[i].kept && strncmp(t->holders[i].item->key, name, RT_CACHE_KEY - 1) == 0)
         return 0;
   remove_file(t, folder, name);
   return 0;
}

static uint64_t drop_any(trim *t, const char *folder, const char *name)
{
   char path[RT_CACHE_PATH];

   snprintf(path, sizeof path, "%s/%s/%s", t->cache, folder, name);
   unlink(path);
   return 0;
}

static void drop_entry(trim *t, holder *h)
{
   char name[RT_CACHE_KEY + 8];

   h->kept = false;
   t->freed->entries++;
   snprintf(name, sizeof name, "%s.sinter", h->item->key);
   remove_file(t, "artifacts", name);
   snprintf(name, sizeof name, "%s.json", h->item->key);
   remove_file(t, "artifacts", name);
}

static void run(trim *t, uint64_t max_bytes, const char *keep)
{
   uint64_t left = total_bytes(t);

   for (size_t i = t->count; i-- > 0 && left > max_bytes;) {
      if (keep && strcmp(t->holders[i].item->key, keep) == 0)
         continue;
      drop_entry(t, &t->holders[i]);
      left = total_bytes(t);
   }
   each_file(t, "artifacts/weights", drop_unneeded);
   each_file(t, "artifacts/kernels", left > max_bytes ? drop_kernel : drop_old_kernel);
   each_file(t, "artifacts", drop_temporary);
   each_file(t, "artifacts", drop_lone_key);
   each_file(t, "memo", drop_temporary);
   each_file(t, "locks", drop_any);
   t->freed->left = total_bytes(t);
}

/* No compile is running while `lock` is held alone, so every temporary file is an orphan. */
static int lock_alone(const char *cache, bool wait)
{
   char path[RT_CACHE_PATH];
   int result;

   snprintf(path, sizeof path, "%s/lock", cache);
   int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
   if (fd < 0)
      return -1;
   do
      result = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
   while (result != 0 && errno == EINTR);
   if (result == 0)
      return fd;
   close(fd);
   return -1;
}

sinter_status rt_cache_bound(uint64_t *out)
{
   const char *text = getenv("SINTER_CACHE_MAX");
   char *end;

   *out = default_bound;
   if (!text || !text[0])
      return SINTER_ok;
   unsigned long long mib = strtoull(text, &end, 10);
   if (text[0] < '0' || text[0] > '9' || *end || mib > UINT64_MAX >> 20)
      return base_fail(SINTER_usage, "SINTER_CACHE_MAX", "set it to a number of MiB, e.g. 20480",
                       "'%s' is no size of a cache", text);
   *out = (uint64_t)mib << 20;
   return SINTER_ok;
}

sinter_status rt_cache_trim(const char *cache, uint64_t max_bytes, const char *keep, bool wait,
                            rt_cache_freed *out)
{
   trim t = {.cache = cache, .freed = out};

   *out = (rt_cache_freed){0};
   if (access(cache, F_OK) != 0)
      return SINTER_ok;
   int lock = lock_alone(cache, wait);
   if (lock < 0)
      return wait ? base_fail(SINTER_io, cache, "check that the cache folder can be written",
                              "the cache cannot be locked: %s", strerror(errno))
                  : SINTER_ok;
   sinter_status status = rt_cache_items(cache, &t.items, &t.count);
   t.holders = calloc(MAX(t.count, 1u), sizeof *t.holders);
   if (status == SINTER_ok && !t.holders)
      status =
         base_fail(SINTER_out_of_memory, cache, "close other programs", "memory is exhausted");
   for (size_t i = 0; status == SINTER_ok && i < t.count; i++)
      read_holder(cache, &t.items[i], &t.holders[i]);
   if (status == SINTER_ok)
      run(&t, max_bytes, keep);
   close(lock);
   free(t.holders);
   free(t.items);
   return status;
}
