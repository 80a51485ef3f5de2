/* elf.h - loads one relocatable x86-64 ELF object, so that running a model needs no LLVM.
 *
 *    object ─▶ checks ─▶ one mapping [ code | constants ] ─▶ relocations ─▶ code RX, constants R
 *
 * Takes what LLVM's small-model PIC objects hold: allocated, read-only PROGBITS sections and PC32,
 * PLT32, 32, 32S, 64 relocations between them. Declines writable data, thread-local data, undefined
 * symbols and any other relocation: kernels have none. Every offset is checked before use; no
 * mapping is ever writable and executable at once. */
#ifndef RT_ELF_H
#define RT_ELF_H

#include "base/base.h"

typedef struct rt_elf rt_elf;

/* where: what to name in errors. The bytes may go away afterwards. Errors BAD_INPUT, OUT_OF_MEMORY.
 */
SINTER_CHECKED sinter_status rt_elf_load(const uint8_t *bytes, size_t size, const char *where,
                                         rt_elf **out);
void rt_elf_unload(rt_elf *e);

/* Address of a function, NULL when there is none of that name. */
void *rt_elf_symbol(const rt_elf *e, const char *name);

/* The same with the bytes of its code; 0 with NULL. */
const uint8_t *rt_elf_code(const rt_elf *e, const char *name, uint64_t *out_size);

/* Appends the functions to /tmp/perf-PID.map, where `perf report` looks for names of generated
 * code. */
void rt_elf_write_perf_map(const rt_elf *e);

#endif
