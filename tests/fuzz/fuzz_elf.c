// LINK: runtime base
/* Any bytes as a code object: declined, or loaded; never run. */
#include "runtime/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
   rt_elf *e;

   if (rt_elf_load(data, size, "fuzz", &e) == SINTER_ok) {
      void *f = rt_elf_symbol(e, "answer");
      (void)f;
      rt_elf_unload(e);
   }
   return 0;
}
