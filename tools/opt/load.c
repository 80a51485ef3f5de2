/* load.c - --load: a pass from a shared object.
 *
 * The object exports one sinter_pass_module. What it was built against is a hash over all tables
 * and headers that include/sinter_pass.h brings; another one is refused before anything is
 * called. */
#include "opt.h"

#include "sinter_pass.h"

#include <dlfcn.h>

static sinter_status load(const char *path)
{
   void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);

   if (!object)
      return base_fail(SINTER_bad_input, path,
                       "Build it as a shared object against include/sinter_pass.h.",
                       "cannot open it: %s", dlerror());
   const sinter_pass_module *m = dlsym(object, "sinter_pass_module_v1");

   if (!m)
      return base_fail(SINTER_bad_input, path, "Write SINTER_PASS_MODULE(...) in its source.",
                       "it exports no pass");
   if (strcmp(m->abi, SINTER_PASS_ABI) != 0)
      return base_fail(SINTER_bad_input, path, "Build it again, against this build's headers.",
                       "it was built for ABI %.16s, this is %.16s", m->abi, SINTER_PASS_ABI);
   return pass_register(&m->info, m->body); /* the object stays open */
}

sinter_status opt_load(const opt_list *files)
{
   for (uint32_t i = 0; i < files->count; i++) {
      const char *path = files->item[i];
      char here[4352];

      /* A name without a slash is a file, not something to look for in library folders. */
      if (!strchr(path, '/')) {
         if (strlen(path) + 3 > sizeof here)
            return base_fail(SINTER_usage, path, "", "the path is too long");
         here[0] = '.';
         here[1] = '/';
         memcpy(here + 2, path, strlen(path) + 1);
         path = here;
      }
      SINTER_TRY(load(path));
   }
   return SINTER_ok;
}
