/* compile.h - the way to the compiler library, which is opened only when something has to be
 * compiled or interpreted. */
#ifndef RT_COMPILE_H
#define RT_COMPILE_H

#include "base/compiler_api.h"
#include "base/hash.h"

/* Opens libsinter_compiler.so beside this library, once per process. Errors NO_DEVICE when it is
 * not there, FAILED when it is of another build. */
SINTER_CHECKED sinter_status rt_compiler_open(const compiler_api **out);

/* What the bytes of an artifact depend on besides its key: the digests of the compiler library, of
 * this library and of LLVM, remembered in `cache` by stat. Opens none of them when they are
 * remembered. */
SINTER_CHECKED sinter_status rt_compiler_build(const char *cache, digest *out);

/* Whether the fusions that the options name are there. Opens the library when any is named. */
SINTER_CHECKED sinter_status rt_compiler_check(const sinter_compile_options *options);

/* Uses this compiler instead of the library, for tests; NULL: the library again. `build` stands for
 * its digest. */
void rt_compiler_replace(const compiler_api *api, const char *build);

#endif
