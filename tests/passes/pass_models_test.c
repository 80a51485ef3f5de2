// LINK: passes ir base
/* All passes over the graphs of the model families, executed before and after each of them. */
#include "passes/exec.h"
#include "replay.h"

#include <stdio.h>

static const char *const families[] = {"llama",  "llama_bias", "llama_gguf",
                                       "gemma3", "qwen2",      "qwen3"};

typedef struct watch {
   arena *a;
   const ir_func *before;
   const char *family;
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

/* Nothing may be wrong even for a moment: the interpreter runs between any two passes. */
static void see(void *user, pass_id pass, bool after, bool changed, const ir_func *f)
{
   watch *w = user;
   text_buf why = {.a = w->a};
   bool same = false;

   if (!after || !changed)
      return;
   w->changes++;
   cr_assert_eq(pass_exec_compare(w->a, w->before, f, PASS_EXACT, &why, &same), SINTER_ok, "%s",
                sinter_error());
   cr_expect(same, "%s after %s: %s", w->family, pass_infos[pass].name, why.data);
}

static void run_family(const char *family, sinter_numerics numerics, const char *without)
{
   watch w = {.family = family};
   pass_target target = pass_target_cpu("test");
   pass_options o = {.target = &target, .numerics = numerics, .without = without};
   pass_report report;
   pass_layout layout;

   cr_assert_eq(arena_create(&w.a), SINTER_ok);
   ir_func *f = read_family(w.a, family);
   w.before = ir_func_clone(w.a, f);
   if (numerics == SINTER_EXACT) {
      o.hook = see;
      o.user = &w;
   }
   cr_assert_eq(pass_run_all(f, &o, &report), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(pass_finish(f, &o, &report, &layout), SINTER_ok, "%s", sinter_error());
   cr_expect(numerics == SINTER_FAST || w.changes >= 2, "%s: nothing was done", family);
   replay(w.a, &layout);
   ir_op_foreach (f, op)
      cr_expect(op->group || pass_is_leaf(op) || ir_is_alias(op));
   arena_destroy(w.a);
}

/* Kills: any pass that changes a bit of a result, or whose group cannot be ordered. */
Test(models, exact_passes_change_no_bit)
{
   for (size_t i = 0; i < countof(families); i++)
      run_family(families[i], SINTER_EXACT, NULL);
}

/* Kills: a fusion that works only together with another one. */
Test(models, every_fusion_can_be_left_out)
{
   for (size_t i = 0; i < countof(families); i++)
      for (pass_id id = 0; id < pass_count(); id++)
         if (pass_infos[id].phase == PASS_FUSE || pass_infos[id].phase == PASS_REST)
            run_family(families[i], SINTER_FAST, pass_infos[id].name);
}
