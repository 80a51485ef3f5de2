/* memo.h - what this user has already found out about a file, so that it need not be read again.
 *
 *    (kind, device, inode, size, mtime_ns, ctime_ns) ─▶ digest
 *    one small file each, in <cache>/memo
 *
 * A file changed less than two seconds before it was read is never remembered: a second change
 * within one tick of the clock would go unseen. Entries are hints: a damaged or missing one costs
 * time only, and failing to write is silent. */
#ifndef RT_MEMO_H
#define RT_MEMO_H

#include <sys/stat.h>

#include "base/hash.h"

/* cache: the cache folder. kind: a short word, e.g. "source". */
bool rt_memo_get(const char *cache, const char *kind, const struct stat *file, digest *out);
/* started_ns: rt_memo_now() from before the first byte was read. */
void rt_memo_put(const char *cache, const char *kind, const struct stat *file, const digest *d,
                 int64_t started_ns);
int64_t rt_memo_now(void);

/* True when both describe the same version of the same file. */
bool rt_memo_same(const struct stat *a, const struct stat *b);

#endif
