/* memo.c - one line a file: "sinter-memo 1 DEVICE INODE SIZE MTIME CTIME DIGEST CHECK". */
#include "memo.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 512, SETTLE_SECONDS = 2 };

static long long nanoseconds(const struct timespec *t)
{
   return (long long)t->tv_sec * 1000000000 + t->tv_nsec;
}

bool rt_memo_same(const struct stat *a, const struct stat *b)
{
   return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
          nanoseconds(&a->st_mtim) == nanoseconds(&b->st_mtim) &&
          nanoseconds(&a->st_ctim) == nanoseconds(&b->st_ctim);
}

static bool entry_path(const char *cache, const char *kind, const struct stat *s, char *out)
{
   int n = snprintf(out, PATH_BYTES, "%s/memo/%s-%llx-%llx", cache, kind,
                    (unsigned long long)s->st_dev, (unsigned long long)s->st_ino);
   return n > 0 && n < PATH_BYTES;
}

/* The line without its digest: what must be equal for the digest to count. */
static int write_identity(const struct stat *s, char *out, size_t size)
{
   return snprintf(out, size, "sinter-memo 1 %llx %llx %lld %lld %lld ",
                   (unsigned long long)s->st_dev, (unsigned long long)s->st_ino,
                   (long long)s->st_size, nanoseconds(&s->st_mtim), nanoseconds(&s->st_ctim));
}

static int write_line(const struct stat *s, const digest *d, char *out, size_t size)
{
   char hex[65];

   digest_hex(d, hex);
   int n = write_identity(s, out, size);
   n += snprintf(out + n, size - (size_t)n, "%s", hex);
   return n + snprintf(out + n, size - (size_t)n, " %016llx\n",
                       (unsigned long long)hash64_bytes(out, (size_t)n));
}

static bool read_digest(const char *hex, digest *out)
{
   for (size_t i = 0; i < sizeof out->bytes; i++) {
      unsigned byte;
      if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
         return false;
      out->bytes[i] = (uint8_t)byte;
   }
   return true;
}

bool rt_memo_get(const char *cache, const char *kind, const struct stat *file, digest *out)
{
   char path[PATH_BYTES], line[LINE_BYTES] = "", want[LINE_BYTES];

   if (!entry_path(cache, kind, file, path))
      return false;
   int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
   if (fd < 0)
      return false;
   ssize_t got = read(fd, line, sizeof line - 1);
   close(fd);
   int n = write_identity(file, want, sizeof want);
   if (got < n + 64 || memcmp(line, want, (size_t)n) != 0 || !read_digest(line + n, out))
      return false;
   /* The whole line again: a torn or edited entry does not count. */
   int whole = write_line(file, out, want, sizeof want);
   return got == whole && memcmp(line, want, (size_t)whole) == 0;
}

int64_t rt_memo_now(void)
{
   struct timespec now;

   clock_gettime(CLOCK_REALTIME, &now);
   return nanoseconds(&now);
}

void rt_memo_put(const char *cache, const char *kind, const struct stat *file, const digest *d,
                 int64_t started_ns)
{
   char path[PATH_BYTES], temp[PATH_BYTES], line[LINE_BYTES];
   long long newest = MAX(nanoseconds(&file->st_mtim), nanoseconds(&file->st_ctim));
   if (started_ns - newest < SETTLE_SECONDS * 1000000000LL)
      return;
   if (!entry_path(cache, kind, file, path))
      return;
   int n = snprintf(temp, sizeof temp, "%s/memo/.tmp-%d-%s-%llx", cache, (int)getpid(), kind,
                    (unsigned long long)file->st_ino);
   if (n <= 0 || n >= PATH_BYTES)
      return;
   int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
   if (fd < 0)
      return;
   int len = write_line(file, d, line, sizeof line);
   bool good = write(fd, line, (size_t)len) == len;
   good = close(fd) == 0 && good;
   if (!good || rename(temp, path) != 0)
      unlink(temp);
}
