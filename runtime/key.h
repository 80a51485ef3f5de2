/* key.h - what an artifact depends on, as JSON: the name of its cache entry, and the `key` of its
 * manifest.
 *
 *    {"artifact","kernel_abi","targets","numerics","with","without","skip"[,"kernels"],"source":[{"name","size","digest"}]}
 *
 * The entry's name is the digest of this and of the digest of the compiler build. Paths, times,
 * users and cores are not in it. Digests of files are remembered by stat (memo.h), so that a hit
 * opens none of them. */
#ifndef RT_KEY_H
#define RT_KEY_H

#include "base/hash.h"
#include "cache.h"

typedef struct rt_key {
   const char *targets; /* resolved for this machine */
   const char *json;    /* for the manifest */
   const char *build;   /* digest of our libraries */
   const char *
      tools; /* digests of compilers that are no part of ours: a line "TARGET by COMPILER DIGEST" each */
   const char *full; /* with "build": what `name` is the digest of, and what KEY.json holds */
   char name[RT_CACHE_KEY];
} rt_key;

/* True when options->model is an artifact already. */
SINTER_CHECKED sinter_status rt_key_is_artifact(const sinter_compile_options *options,
                                                const char *cache, bool *out);

/* Writes the fields that follow from what was asked for: "numerics" to "without", each with a comma
 * behind it. */
void rt_key_options(arena *a, text_buf *t, const sinter_compile_options *options);

/* cache: where digests are remembered; "": nowhere. Reports STAGE_hash when a file has to be read.
 */
SINTER_CHECKED sinter_status rt_key_make(arena *a, const sinter_compile_options *options,
                                         const char *cache, rt_key *out);

/* Content digest of a file, remembered by its stat. Errors NOT_FOUND, IO, also when it changes
 * meanwhile. */
SINTER_CHECKED sinter_status rt_key_digest(const char *cache, const char *path, digest *out,
                                           uint64_t *out_size);

#endif
