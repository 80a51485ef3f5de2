// LINK: passes ir base
/* Golden files of all passes, run as sinter-opt --check runs them, and what holds for the driver.
 */
#include "passes/golden.h"

#include <criterion/criterion.h>
#include <stdio.h>

typedef struct file_run {
   const char *name;
   arena *a;
   text_buf report;
   pass_golden result;
} file_run;

static char *slurp(arena *a, const char *name, size_t *out_len)
{
   const char *path = arena_printf(a, TEST_ROOT "/passes/%s.ir", name);
   FILE *file = fopen(path, "rb");
   char *text = arena_alloc(a, 1 << 20);

   if (!file)
      return NULL;
   *out_len = fread(text, 1, (1 << 20) - 1, file);
   fclose(file);
   return text;
}

static sinter_status run_file(void *user)
{
   file_run *r = user;
   size_t len = 0;
   char *text = slurp(r->a, r->name, &len);

   if (!text)
      return base_fail(SINTER_not_found, r->name, "Write tests/passes/<name>.ir.",
                       "the pass has no golden file");
   r->report.a = r->a;
   return pass_golden_run(r->a, text, len, r->name, &r->report, &r->result);
}

static void check_file(const char *name)
{
   file_run r = {.name = name};
   sinter_status status = arena_create(&r.a);

   cr_assert_eq(status, SINTER_ok);
   status = arena_catch(run_file, &r);
   cr_expect_eq(status, SINTER_ok, "%s: %s", name, status ? sinter_error() : "");
   cr_expect_eq(r.result.failed, 0, "%s", r.report.data ? r.report.data : "");
   cr_expect_geq(r.result.cases, 2, "%s has too few cases", name);
   arena_destroy(r.a);
}

/* Kills: a pass without a golden file; any mutation a file names. */
Test(passes, every_pass_has_a_golden_file_that_holds)
{
   for (pass_id id = 0; id < pass_count(); id++)
      check_file(pass_infos[id].name);
}

/* Kills: fusions whose golden file shows only what they do, not what they leave. */
Test(passes, every_fusion_file_has_a_decline)
{
   for (pass_id id = 0; id < pass_count(); id++) {
      file_run r = {.name = pass_infos[id].name};

      if (pass_infos[id].phase == PASS_FINISH)
         continue;
      cr_assert_eq(arena_create(&r.a), SINTER_ok);
      cr_assert_eq(arena_catch(run_file, &r), SINTER_ok);
      cr_expect_gt(r.result.declines, 0, "%s", r.name);
      arena_destroy(r.a);
   }
}
