/* cache.c - folders, locks and files of the cache; what goes when it is full. */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "artifact.h"

/* ---- paths ---- */

static bool join(char *out, const char *a, const char *b)
{
   int n = snprintf(out, RT_CACHE_PATH, "%s%s", a, b);

   /* Room for the names below the folder. */
   return n > 0 && n < RT_CACHE_PATH - 256;
}

sinter_status rt_cache_folder(const char *option, char *out)
{
   const char *env = getenv("SINTER_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
              *home = getenv("HOME");
   bool good = true;

   if (option && option[0])
      good = join(out, option, "");
   else if (env && env[0])
      good = join(out, env, "");
   else if (xdg && xdg[0] == '/')
      good = join(out, xdg, "/sinter");
   else if (home && home[0] == '/')
      good = join(out, home, "/.cache/sinter");
   else
      return base_fail(SINTER_usage, "cache", "set SINTER_CACHE to a folder, or use -o FILE",
                       "there is no home folder to keep a cache in");
   if (!good)
      return base_fail(SINTER_usage, "cache", "use a shorter one",
                       "the path of the cache is too long");
   return SINTER_ok;
}

static sinter_status make_folder(const char *path)
{
   struct stat s;

   if (mkdir(path, 0700) == 0 || (errno == EEXIST && stat(path, &s) == 0 && S_ISDIR(s.st_mode)))
      return SINTER_ok;
   return base_fail(SINTER_io, path,
                    "set SINTER_CACHE to a folder that can be written, or use -o FILE",
                    "the cache folder cannot be made: %s", strerror(errno));
}

sinter_status rt_cache_make(const char *cache)
{
   static const char *const below[] = {
      "", "/artifacts", "/artifacts/weights", "/artifacts/kernels", "/memo", "/locks"};
   char path[RT_CACHE_PATH];

   for (const char *p = cache + 1; (p = strchr(p, '/')); p++) {
      snprintf(path, sizeof path, "%.*s", (int)(p - cache), cache);
      if (access(path, F_OK) != 0)
         SINTER_TRY(make_folder(path));
   }
   for (size_t i = 0; i < countof(below); i++) {
      snprintf(path, sizeof path, "%s%s", cache, below[i]);
      SINTER_TRY(make_folder(path));
   }
   return SINTER_ok;
}

sinter_status rt_cache_trust(const char *cache)
{
   char path[RT_CACHE_PATH];
   struct stat s;

   snprintf(path, sizeof path, "%s/artifacts", cache);
   if (stat(path, &s) != 0)
      return SINTER_ok; /* nothing there to trust */
   bool owned = s.st_uid == geteuid() || s.st_uid == 0;
   if (owned && !(s.st_mode & (S_IWGRP | S_IWOTH)))
      return SINTER_ok;
   return base_fail(SINTER_io, path,
                    owned ? "take the right to write from others: chmod go-w"
                          : "set SINTER_CACHE to a folder of your own",
                    "the cache holds code to run, and others can write to it");
}

bool rt_cache_of_artifact(const char *artifact_path, char *out)
{
   const char *slash = strrchr(artifact_path, '/');
   struct stat s;
   int n = slash ? snprintf(out, RT_CACHE_PATH, "%.*s/../memo", (int)(slash - artifact_path),
                            artifact_path)
                 : 0;

   if (n > 0 && n < RT_CACHE_PATH && stat(out, &s) == 0 && S_ISDIR(s.st_mode)) {
      out[n - 5] = 0; /* without "/memo" */
      return true;
   }
   return rt_cache_folder(NULL, out) == SINTER_ok;
}

void rt_cache_entry(const char *cache, const char *key, const char *suffix, char out[RT_CACHE_PATH])
{
   snprintf(out, RT_CACHE_PATH, "%s/artifacts/%s%s", cache, key, suffix);
}

/* ---- files ---- */

static sinter_status publish_error(const char *path)
{
   return base_fail(SINTER_io, path,
                    errno == ENOSPC ? "free some space, e.g. with `sinter cache gc`" : "",
                    "the file cannot be put in place: %s", strerror(errno));
}

static void sync_folder_of(const char *path)
{
   char folder[RT_CACHE_PATH];
   const char *slash = strrchr(path, '/');

   snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
   int fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
   if (fd < 0)
      return;
   /* Some file systems cannot; the rename itself is done. */
   int ignored = fsync(fd);
   (void)ignored;
   close(fd);
}

sinter_status rt_cache_publish(const char *temp, const char *path)
{
   int fd = open(temp, O_RDONLY | O_CLOEXEC);
   bool good = fd >= 0 && fsync(fd) == 0;

   if (fd >= 0)
      close(fd);
   if (!good || rename(temp, path) != 0) {
      sinter_status status = publish_error(path);
      unlink(temp);
      return status;
   }
   sync_folder_of(path);
   return SINTER_ok;
}

sinter_status rt_cache_write(const char *path, const char *text, size_t len)
{
   char temp[RT_CACHE_PATH + 32];

   snprintf(temp, sizeof temp, "%s.tmp-%d", path, (int)getpid());
   int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
   if (fd < 0)
      return publish_error(path);
   ssize_t n = write(fd, text, len);
   if (close(fd) != 0 || n != (ssize_t)len) {
      sinter_status status = publish_error(path);
      unlink(temp);
      return status;
   }
   return rt_cache_publish(temp, path);
}

/* ---- entries ---- */

/* Reads the header page of an entry; false when it is not whole. */
static bool read_toc(const char *path, artifact_toc *out)
{
   uint8_t page[ARTIFACT_PAGE];
   struct stat s;
   int fd = open(path, O_RDONLY | O_CLOEXEC);

   if (fd < 0)
      return false;
   bool good = fstat(fd, &s) == 0 && pread(fd, page, sizeof page, 0) == (ssize_t)sizeof page &&
               artifact_decode(page, sizeof page, (uint64_t)s.st_size, path, out) == SINTER_ok;
   close(fd);
   return good;
}

static bool has_weights(const char *cache, const artifact_toc *toc)
{
   char name[80], path[RT_CACHE_PATH];
   struct stat s;

   for (uint32_t i = 0; i < toc->num_sections; i++) {
      if (!toc->sections[i].external)
         continue;
      artifact_weights_name(&toc->sections[i].digest, name);
      snprintf(path, sizeof path, "%s/artifacts/weights/%s", cache, name);
      if (stat(path, &s) != 0 || (uint64_t)s.st_size != toc->sections[i].size)
         return false;
   }
   return true;
}

/* Opens the entry, which checks code and plan, and its weights, unless this version of their file
 * is known to be good: a damaged entry is made again instead of failing later. */
static bool is_whole(const char *path, sinter_artifact **out)
{
   sinter_artifact *artifact;
   rt_bytes weights;
   bool good = true;

   if (sinter_artifact_open(path, &artifact) != SINTER_ok)
      return false;
   const rt_artifact *a = rt_artifact_of(artifact);
   for (uint32_t t = 0; good && t < rt_artifact_num_targets(a); t++)
      good = rt_artifact_weights(a, t, &weights) == SINTER_ok;
   if (good && out)
      *out = artifact;
   else
      sinter_artifact_close(artifact);
   return good;
}

bool rt_cache_hit(const char *cache, const char *key, sinter_artifact **out)
{
   char path[RT_CACHE_PATH];
   artifact_toc toc;

   rt_cache_entry(cache, key, ".sinter", path);
   if (!read_toc(path, &toc) || !has_weights(cache, &toc) || !is_whole(path, out))
      return false;
   /* A cache that cannot be written forgets the order of use; nothing else. */
   rt_cache_entry(cache, key, ".json", path);
   int ignored = utimensat(AT_FDCWD, path, NULL, 0);
   (void)ignored;
   return true;
}

static int open_lock(const char *cache, const char *name, int operation)
{
   char path[RT_CACHE_PATH];

   snprintf(path, sizeof path, "%s/%s", cache, name);
   int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
   if (fd < 0)
      return -1;
   int result;
   do
      result = flock(fd, operation);
   while (result != 0 && errno == EINTR);
   if (result == 0)
      return fd;
   close(fd);
   return -1;
}

void rt_cache_lock_key(const char *cache, const char *key, rt_cache_lock *out)
{
   char name[RT_CACHE_KEY + 8];

   snprintf(name, sizeof name, "locks/%s", key);
   out->shared = open_lock(cache, "lock", LOCK_SH);
   out->key = open_lock(cache, name, LOCK_EX);
}

void rt_cache_unlock(rt_cache_lock *lock)
{
   if (lock->key >= 0)
      close(lock->key);
   if (lock->shared >= 0)
      close(lock->shared);
   *lock = (rt_cache_lock){-1, -1};
}

static int64_t last_use(const char *cache, const char *key, const struct stat *artifact)
{
   char path[RT_CACHE_PATH];
   struct stat s;

   rt_cache_entry(cache, key, ".json", path);
   const struct timespec *t = stat(path, &s) == 0 ? &s.st_mtim : &artifact->st_mtim;
   return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static int by_use(const void *a, const void *b)
{
   const rt_cache_item *x = a, *y = b;

   if (x->used_ns != y->used_ns)
      return x->used_ns < y->used_ns ? 1 : -1;
   return strcmp(x->key, y->key);
}

static bool is_entry(const char *name)
{
   return strlen(name) == 64 + strlen(".sinter") && strcmp(name + 64, ".sinter") == 0 &&
          strspn(name, "0123456789abcdef") == 64;
}

static sinter_status add_item(const char *cache, const char *name, rt_cache_item **items,
                              size_t *count, size_t *cap)
{
   char path[RT_CACHE_PATH];
   struct stat s;
   rt_cache_item item = {.bytes = 0};

   memcpy(item.key, name, RT_CACHE_KEY - 1);
   rt_cache_entry(cache, item.key, ".sinter", path);
   if (stat(path, &s) != 0 || !S_ISREG(s.st_mode))
      return SINTER_ok;
   item.bytes = (uint64_t)s.st_size;
   item.used_ns = last_use(cache, item.key, &s);
   if (*count == *cap) {
      *cap = *cap ? *cap * 2 : 64;
      rt_cache_item *more = realloc(*items, *cap * sizeof **items);
      if (!more)
         return base_fail(SINTER_out_of_memory, cache, "close other programs",
                          "memory is exhausted");
      *items = more;
   }
   (*items)[(*count)++] = item;
   return SINTER_ok;
}

sinter_status rt_cache_items(const char *cache, rt_cache_item **out, size_t *out_count)
{
   char path[RT_CACHE_PATH];
   size_t cap = 0;
   sinter_status status = SINTER_ok;

   *out = NULL;
   *out_count = 0;
   snprintf(path, sizeof path, "%s/artifacts", cache);
   DIR *dir = opendir(path);
   if (!dir && errno != ENOENT && errno != ENOTDIR)
      return base_fail(SINTER_io, path, "check the folder and its permissions",
                       "the cache cannot be read: %s", strerror(errno));
   if (!dir)
      return SINTER_ok; /* an absent cache is an empty one */
   for (struct dirent *e; status == SINTER_ok && (e = readdir(dir));)
      if (is_entry(e->d_name))
         status = add_item(cache, e->d_name, out, out_count, &cap);
   closedir(dir);
   if (status == SINTER_ok && *out_count)
      qsort(*out, *out_count, sizeof **out, by_use);
   return status;
}
