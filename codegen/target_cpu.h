/* target_cpu.h - kernels to one relocatable object for a level of isa.def. */
#ifndef CG_TARGET_CPU_H
#define CG_TARGET_CPU_H

#include "lower.h"

/* Emits every kernel into one object, a ELF file without undefined symbols; bytes depend on the
 * kernels and the level only. Owned by a. With SINTER_DUMP=dir in the environment, writes
 * dir/<level>.ll and dir/<level>.o; with SINTER_KERNELS=dir takes dir/<level>.o instead of its own.
 *
 *   progress   after every kernel; may be NULL */
SINTER_CHECKED sinter_status cg_cpu_object(arena *a, const isa_info *isa, const cg_kernel *kernels,
                                           uint32_t num_kernels, sinter_progress *progress,
                                           void *user, const uint8_t **out, size_t *out_size);

/* Writes $SINTER_DUMP/<name>.<ending>; nothing when SINTER_DUMP is not set. */
SINTER_CHECKED sinter_status cg_dump(const char *name, const char *ending, const void *data,
                                     size_t size);

/* Fails when the object needs anything from outside, or anything that runtime/elf.h does not load.
 */
SINTER_CHECKED sinter_status cg_check_object(const uint8_t *object, size_t size, const char *where);

#endif
