/* cache.h - compiled artifacts by content.
 *
 *    <cache>/artifacts/KEY.sinter         container; KEY is the digest of the full key
 *            artifacts/KEY.json           the full key, for `cache why`; its mtime is the last use
 *            artifacts/weights/HEX.weights packed weights, named by their digest, shared
 *            artifacts/kernels/HEX.kernel objects of GPU kernels, named by what they were made from
 *            memo/                        digests of files by stat, see memo.h
 *            lock, locks/KEY              flock: compiles share `lock`, gc takes it alone; one
 *                                         compile per key
 *
 * Files appear by rename after fsync, so readers need no lock and a killed writer leaves only a
 * temporary file, which the next gc removes. Folders are private to the user. A cache that cannot
 * be written still answers hits. */
#ifndef RT_CACHE_H
#define RT_CACHE_H

#include "base/arena.h"

enum { RT_CACHE_PATH = 3072, RT_CACHE_KEY = 65 };

/* $SINTER_CACHE, else $XDG_CACHE_HOME/sinter, else ~/.cache/sinter; `option` not NULL goes first.
 * Writes into out[RT_CACHE_PATH]. Errors USAGE when there is no home or the path is too long. */
SINTER_CHECKED sinter_status rt_cache_folder(const char *option, char *out);

/* Makes the folders. Errors IO with the reason. */
SINTER_CHECKED sinter_status rt_cache_make(const char *cache);

/* Errors IO when another user could have put code into it. */
SINTER_CHECKED sinter_status rt_cache_trust(const char *cache);

/* The cache an artifact lies in, or the user's own one; false when there is none. */
bool rt_cache_of_artifact(const char *artifact_path, char *out);

/* Path of an entry's file: suffix ".sinter" or ".json". */
void rt_cache_entry(const char *cache, const char *key, const char *suffix,
                    char out[RT_CACHE_PATH]);

/* True when the entry is there and whole; then it counts as used. out: NULL, or gets it open. */
bool rt_cache_hit(const char *cache, const char *key, sinter_artifact **out);

/* Locks for a compile of one key; *out holds both, or -1 where locking is impossible (then it goes
 * on without). */
typedef struct rt_cache_lock {
   int shared, key;
} rt_cache_lock;

void rt_cache_lock_key(const char *cache, const char *key, rt_cache_lock *out);
void rt_cache_unlock(rt_cache_lock *lock);

/* Makes a temporary file permanent: fsync, rename over `path`, fsync of the folder. Removes it on
 * failure. */
SINTER_CHECKED sinter_status rt_cache_publish(const char *temp, const char *path);

/* Writes a small file the same way. */
SINTER_CHECKED sinter_status rt_cache_write(const char *path, const char *text, size_t len);

/* Removes least recently used entries, never `keep` (may be NULL), until at most max_bytes are
 * left, then weights and temporary files nobody needs. Does nothing when a compile is running and
 * `wait` is false. */
typedef struct rt_cache_freed {
   uint64_t entries, files, bytes, left;
} rt_cache_freed;

SINTER_CHECKED sinter_status rt_cache_trim(const char *cache, uint64_t max_bytes, const char *keep,
                                           bool wait, rt_cache_freed *out);

/* Bytes that the cache may grow to: $SINTER_CACHE_MAX in MiB, else 20 GiB. Errors USAGE for one
 * that is no such number. */
SINTER_CHECKED sinter_status rt_cache_bound(uint64_t *out);

/* Every entry, last used first. */
typedef struct rt_cache_item {
   char key[RT_CACHE_KEY];
   uint64_t bytes; /* of the container */
   int64_t used_ns;
} rt_cache_item;

/* In malloc'd memory. */
SINTER_CHECKED sinter_status rt_cache_items(const char *cache, rt_cache_item **out,
                                            size_t *out_count);

#endif
