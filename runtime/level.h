/* level.h - what this machine can run, without LLVM. */
#ifndef RT_LEVEL_H
#define RT_LEVEL_H

#include "base/arena.h"

/* The best instruction set level of this CPU that kernels are made for, e.g. "x86-64-v3"; "none"
 * when there is none. */
const char *rt_level_name(void);

/* Appends the levels this CPU runs as JSON strings, comma-separated. */
void rt_level_write(text_buf *t);

/* How well target ("cpu:x86-64-v3", "ref") suits device ("cpu", "ref", "null") here: higher is
 * better, -1 not at all. */
int rt_level_rank(const char *device, const char *target);

/* Writes a target list with every bare "cpu" resolved to the level of this machine, names checked,
 * sorted, each once. Errors USAGE for a name that is not a target, NO_DEVICE when this CPU has no
 * level. */
SINTER_CHECKED sinter_status rt_level_targets(const char *targets, char *out, size_t cap);

#endif
