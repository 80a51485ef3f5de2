/* disassemble.c - LLVM's disassembler over one function. */
#include "disassemble.h"

#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/isa.h"

static void prepare(void)
{
   LLVMInitializeX86TargetInfo();
   LLVMInitializeX86TargetMC();
   LLVMInitializeX86Disassembler();
}

static sinter_status write_lines(LLVMDisasmContextRef d, const char *level, const uint8_t *code,
                                 size_t size, FILE *out)
{
   for (size_t at = 0; at < size;) {
      char line[256];
      /* LLVM asks for bytes that may be written, and does not. */
      size_t used = LLVMDisasmInstruction(d, (uint8_t *)(uintptr_t)(code + at), size - at, at, line,
                                          sizeof line);
      if (!used)
         return base_fail(SINTER_bad_input, level, "compile the model again",
                          "byte %zu of the code begins no instruction", at);
      for (char *c = line; *c; c++)
         *c = *c == '\t' ? ' ' : *c;
      fprintf(out, "%6zx %s\n", at, line);
      at += used;
   }
   return SINTER_ok;
}

sinter_status cg_disassemble(const char *level, const uint8_t *code, size_t size, char **out_text)
{
   static pthread_once_t once = PTHREAD_ONCE_INIT;
   isa_level isa = isa_from_name(level);
   size_t len;

   *out_text = NULL;
   if (isa == ISA_LEVEL_COUNT)
      return base_fail(SINTER_unsupported, level, "look at code of a CPU",
                       "code of this target cannot be shown");
   pthread_once(&once, prepare);
   LLVMDisasmContextRef d = LLVMCreateDisasmCPUFeatures(
      "x86_64-unknown-linux-gnu", isa_infos[isa].cpu, isa_infos[isa].features, NULL, 0, NULL, NULL);
   FILE *out = d ? open_memstream(out_text, &len) : NULL;
   if (!out) {
      if (d)
         LLVMDisasmDispose(d);
      return base_fail(SINTER_out_of_memory, level, "", "no memory for the text of a kernel");
   }
   sinter_status status = write_lines(d, level, code, size, out);
   bool whole = fclose(out) == 0;
   LLVMDisasmDispose(d);
   if (status == SINTER_ok && !whole)
      status = base_fail(SINTER_out_of_memory, level, "", "no memory for the text of a kernel");
   if (status != SINTER_ok) {
      free(*out_text);
      *out_text = NULL;
   }
   return status;
}
