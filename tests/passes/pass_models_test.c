// LINK: passes ir base
/* All passes over the graphs of the model families, executed before and after each of them. */
#include "passes/exec.h"
#include "replay.h"

#include <glob.h>
#include <stdio.h>

/* Every tests/models/<name>.ir. */
static const char *families[64];
static size_t num_families;

static void find_families(void)
{
   static char names[countof(families)][64];
   glob_t found;

   num_families = 0;
   cr_assert_eq(glob(TEST_ROOT "/models/*.ir", 0, NULL, &found), 0);
   for (size_t i = 0; i < found.gl_pathc && i < countof(families); i++) {
      const char *name = strrchr(found.gl_pathv[i], '/') + 1;

      snprintf(names[i], sizeof names[i], "%.*s", (int)(strlen(name) - 3), name);
      families[num_families++] = names[i];
   }
   globfree(&found);
   cr_assert_geq(num_families, 7);
}

typedef struct watch {
   arena *a;
   const ir_func *before;
   const char *family;
   bool executes;
   uint32_t changes;
} watch;

static ir_func *read_family(arena *a, const char *family)
{
   FILE *file = fopen(arena_printf(a, TEST_ROOT "/models/%s.ir", family), "rb");
   char *text = arena_alloc(a, 1 << 20);
   ir_module m = {0};

   cr_assert(file, "%s", family);
   size_t len = fread(text, 1, 1 << 20, file);
   fclose(file);
   cr_assert_eq(ir_parse(a, text, len, family, &m), SINTER_ok, "%s", sinter_error());
   return m.funcs.data[0];
}

static void expect_round_trip(watch *w, const ir_func *f)
{
   text_buf once = {.a = w->a}, twice = {.a = w->a}, why = {.a = w->a};
   ir_module m = {0};

   cr_expect(ir_validate(f, &why), "%s: %s", w->family, why.data);
   ir_print(&once, f);
   cr_assert_eq(ir_parse(w->a, once.data, once.len, w->family, &m), SINTER_ok, "%s",
                sinter_error());
   ir_print(&twice, m.funcs.data[0]);
   cr_expect_str_eq(once.data, twice.data);
}

static void expect_same(watch *w, const ir_func *f, uint32_t probes, const char *after)
{
   text_buf why = {.a = w->a};
   bool same = false;

   cr_assert_eq(pass_exec_probe(w->a, w->before, f, PASS_EXACT, probes, &why, &same), SINTER_ok,
                "%s", sinter_error());
   cr_expect(same, "%s after %s: %s", w->family, after, why.data);
}

/* Nothing may be wrong even for a moment: after each pass the function is valid, parses to itself,
 * and (exact) gives the same bits on the interpreter, for ordinary values; for all kinds at the
 * end. */
static void see(void *user, pass_id pass, bool after, bool changed, const ir_func *f)
{
   watch *w = user;

   if (!after || !changed)
      return;
   expect_round_trip(w, f);
   if (!w->executes)
      return;
   w->changes++;
   expect_same(w, f, 1u << PASS_PROBE_normal, pass_infos[pass].name);
}

/* Sites that make way are worth no more than what takes their ops, all together. */
static void expect_best(const char *family, const pass_report *report)
{
   for (pass_id id = 0; id < pass_count(); id++)
      for (size_t i = 0; i < report->entry[id].sites.count; i++) {
         const pass_site *s = report->entry[id].sites.data[i];

         cr_expect(!s->lost_to || s->lost_ns >= s->gain_ns, "%s: %s:%u: %s", family,
                   pass_infos[id].name, s->number, s->reason);
      }
}

/* fired: which passes did something, NULL not wanted. */
static void run_family(const char *family, sinter_numerics numerics, const char *without,
                       bool fired[PASS_MAX])
{
   watch w = {.family = family};
   pass_target target = pass_target_cpu("test");
   pass_options o = {.target = &target, .numerics = numerics, .without = without};
   pass_report report;
   pass_layout layout;

   cr_assert_eq(arena_create(&w.a), SINTER_ok);
   ir_func *f = read_family(w.a, family);
   w.before = ir_func_clone(w.a, f);
   o.hook = see;
   o.user = &w;
   w.executes = numerics == SINTER_NUMERICS_exact;
   cr_assert_eq(pass_run_all(f, &o, &report), SINTER_ok, "%s", sinter_error());
   if (w.executes)
      expect_same(&w, f, PASS_PROBES_ALL, "all passes");
   cr_assert_eq(pass_finish(f, &o, &report, &layout), SINTER_ok, "%s", sinter_error());
   cr_expect(numerics == SINTER_NUMERICS_fast || w.changes >= 2, "%s: nothing was done", family);
   expect_best(family, &report);
   replay(w.a, &layout);
   ir_op_foreach (f, op)
      cr_expect(op->group || pass_is_leaf(op) || ir_is_alias(op) ||
                pass_weight_behind(op->results[0]));
   for (pass_id id = 0; fired && id < pass_count(); id++)
      fired[id] = report.entry[id].fired > 0;
   arena_destroy(w.a);
}

/* Kills: any pass that changes a bit of a result, or whose group cannot be ordered. */
Test(models, exact_passes_change_no_bit)
{
   find_families();
   for (size_t i = 0; i < num_families; i++)
      run_family(families[i], SINTER_NUMERICS_exact, NULL, NULL);
}

/* Kills: a fusion that works only together with another one. Leaving out one that does not fire
 * changes nothing. */
Test(models, every_fusion_can_be_left_out)
{
   find_families();
   for (size_t i = 0; i < num_families; i++) {
      bool fired[PASS_MAX];

      run_family(families[i], SINTER_NUMERICS_fast, NULL, fired);
      for (pass_id id = 0; id < pass_count(); id++)
         if ((pass_infos[id].phase == PASS_FUSE || pass_infos[id].phase == PASS_REST) && fired[id])
            run_family(families[i], SINTER_NUMERICS_fast, pass_infos[id].name, NULL);
   }
}
