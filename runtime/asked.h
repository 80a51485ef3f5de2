/* asked.h - an artifact as the model: what is asked for has to be what it was compiled with. */
#ifndef RT_ASKED_H
#define RT_ASKED_H

#include "base/arena.h"

/* Compares the options that results depend on with the key in the manifest. What has its default
 * asks for nothing: the artifact is taken as it is. Errors USAGE naming the first option that
 * differs. */
SINTER_CHECKED sinter_status rt_asked_check(arena *a, const sinter_compile_options *options,
                                            const sinter_artifact *artifact);

#endif
