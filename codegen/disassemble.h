/* disassemble.h - machine code as text, for people. */
#ifndef CG_DISASSEMBLE_H
#define CG_DISASSEMBLE_H

#include "base/base.h"

/* A line an instruction, with its offset and the targets of jumps as offsets; malloc'ed. Errors
 * UNSUPPORTED for a level that isa.def does not have; BAD_INPUT where the bytes are no instruction
 * of it. */
SINTER_CHECKED sinter_status cg_disassemble(const char *level, const uint8_t *code, size_t size,
                                            char **out_text);

#endif
