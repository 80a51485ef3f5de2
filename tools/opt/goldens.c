/* goldens.c - --check and --update: golden files on the command line. */
#include "opt.h"

#include "passes/golden.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

sinter_status opt_write(const char *path, const char *text, size_t len)
{
   FILE *file = fopen(path, "wb");

   if (!file)
      return base_fail(SINTER_io, path, "", "cannot write: %s", strerror(errno));
   bool ok = fwrite(text, 1, len, file) == len;

   ok &= fclose(file) == 0;
   if (!ok)
      return base_fail(SINTER_io, path, "Check the free space.", "writing failed");
   return SINTER_ok;
}

/* A golden file is replaced whole or not at all. */
static sinter_status replace(arena *a, const char *path, const text_buf *text)
{
   const char *temp = arena_printf(a, "%s.new", path);

   SINTER_TRY(opt_write(temp, text->data, text->len));
   if (rename(temp, path))
      return base_fail(SINTER_io, path, "", "cannot replace it: %s", strerror(errno));
   return SINTER_ok;
}

sinter_status opt_golden(arena *a, const char *path, const opt_options *o)
{
   text_buf report = {.a = a}, updated = {.a = a};
   pass_golden r;
   const char *text;
   size_t len;

   SINTER_TRY(opt_read(a, path, &text, &len));
   if (o->update)
      SINTER_TRY(pass_golden_update(a, text, len, path, &report, &updated, &r));
   else
      SINTER_TRY(pass_golden_run(a, text, len, path, &report, &r));
   if (r.updated)
      SINTER_TRY(replace(a, path, &updated));
   printf("%s: %u cases, %u failed, %u not executed, %u variants", path, r.cases, r.failed,
          r.skipped, r.variants);
   if (r.experts.rows)
      printf(", experts chosen as in f64: %lld of %lld before, %lld after",
             (long long)r.experts.before, (long long)r.experts.rows, (long long)r.experts.after);
   printf(r.updated ? ", %u updated\n" : "\n", r.updated);
   if (!r.failed)
      return SINTER_ok;
   fputs(report.data, stderr);
   return base_fail(
      SINTER_failed, path,
      "Correct the pass, or the case: --update writes what comes out into CHECK lines.",
      "%u of %u cases failed", r.failed, r.cases);
}
