/* process.h - compilers that are programs. */
#ifndef CG_PROCESS_H
#define CG_PROCESS_H

#include "base/arena.h"

enum { CG_ARG_MAX = 32 };

/* Exit code of a compiler that does not know the machine (tools/hiprtc/main.c). */
enum { CG_EXIT_UNKNOWN = 3 };

/* Runs argv[0] (found in PATH) with `text` as its input and a new file as its output: the argument
 * "@out" becomes the file's path, "@in" that of the text. *out is what it wrote. What it said goes
 * to $SINTER_DUMP/<dump>.resources; dump NULL: nowhere. Any thread.
 *
 * Errors NO_DEVICE with `remedy` when there is no such program; UNSUPPORTED when it does not know
 * the machine; FAILED with the first line it said, and with the signal when one ended it. */
SINTER_CHECKED sinter_status cg_run_compiler(arena *a, const char *const *argv, const char *text,
                                             size_t size, const char *remedy, const char *dump,
                                             const uint8_t **out, size_t *out_size);

#endif
