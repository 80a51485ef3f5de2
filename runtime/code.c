/* code.c - the machine code of a kernel as text: found in the artifact, disassembled by the
 * compiler library. */
#include <stdlib.h>

#include "artifact.h"
#include "compile.h"
#include "elf.h"

/* The target with code of a CPU; false when there is none. */
static bool find_cpu(const rt_artifact *a, uint32_t *out)
{
   for (uint32_t i = 0; i < rt_artifact_num_targets(a); i++) {
      if (strncmp(rt_artifact_plan(a, i)->target, "cpu:", 4) == 0 &&
          !rt_artifact_plan(a, i)->model.tower) {
         *out = i;
         return true;
      }
   }
   return false;
}

static sinter_status disassemble(const char *level, const rt_elf *code, const char *kernel,
                                 char **out)
{
   const compiler_api *api;
   uint64_t size;
   const uint8_t *bytes = rt_elf_code(code, kernel, &size);
   char *text;

   if (!bytes)
      return base_fail(SINTER_not_found, kernel, "name a kernel of a launch",
                       "the artifact has no code of that name");
   SINTER_TRY(rt_compiler_open(&api));
   SINTER_TRY(api->disassemble(level, bytes, size, &text));
   *out = strdup(text);
   api->release(text);
   return *out ? SINTER_ok
               : base_fail(SINTER_out_of_memory, kernel, "", "no memory for the text of a kernel");
}

sinter_status sinter_artifact_code(const sinter_artifact *public, const char *kernel,
                                   char **out_text)
{
   const rt_artifact *a = rt_artifact_of(public);
   uint32_t target;
   rt_elf *code;

   *out_text = NULL;
   if (!find_cpu(a, &target))
      return base_fail(SINTER_unsupported, rt_artifact_path(a), "look at code of a CPU",
                       "code of %s cannot be shown", rt_artifact_plan(a, 0)->target);
   rt_bytes object = rt_artifact_section(a, ARTIFACT_code, target);
   SINTER_TRY(rt_elf_load(object.data, object.size, rt_artifact_path(a), &code));
   sinter_status status =
      disassemble(rt_artifact_plan(a, target)->target + 4, code, kernel, out_text);
   rt_elf_unload(code);
   return status;
}
