/* compiled.h - a model as an artifact, made by the compiler that is linked. */
#ifndef TESTS_MODELS_COMPILED_H
#define TESTS_MODELS_COMPILED_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/compiler_api.h"
#include "sinter.h"

const compiler_api *sinter_compiler(void);

/* with: fusions to force, NULL none. The caller closes it; no file is left. */
static inline sinter_artifact *compiled(const char *model, const char *targets,
                                        sinter_numerics numerics, const char *with)
{
   char path[] = "/tmp/sinter_compiled_XXXXXX";
   int fd = mkstemp(path);
   sinter_artifact *artifact;
   compiler_request request = {.model = model,
                               .targets = targets,
                               .numerics = numerics,
                               .with = with,
                               .threads = 1,
                               .key_json = "{}",
                               .out_path = path};

   cr_assert_geq(fd, 0);
   close(fd);
   cr_assert_eq(sinter_compiler()->compile(&request), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(sinter_artifact_open(path, &artifact), SINTER_ok, "%s", sinter_error());
   unlink(path);
   return artifact;
}

#endif
