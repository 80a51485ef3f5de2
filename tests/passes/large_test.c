// LINK: passes ir base
/* A model of 61 layers as wide as DeepSeek-V3 through everything that is done before code: parse,
 * all passes, layout, print. */
#include "large_model.h"
#include "passes/pass.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct amounts {
   size_t ops, fired, kernels, printed, memory;
} amounts;

static amounts process(int layers, bool write)
{
   pass_target target = pass_target_cpu("cpu");
   pass_options o = {.target = &target};
   amounts n = {0};
   ir_module m = {0};
   pass_layout layout;
   arena *a;

   cr_assert_eq(arena_create(&a), SINTER_ok);
   pass_report *report = arena_new(a, pass_report);
   const char *text = large_model(a, layers);
   text_buf printed = {.a = a};

   if (write)
      fputs(text, stdout);
   cr_assert_eq(ir_parse(a, text, strlen(text), "large", &m), SINTER_ok, "%s", sinter_error());
   ir_func *f = m.funcs.data[0];

   ir_op_foreach (f, op)
      n.ops++;
   cr_assert_eq(pass_run_all(f, &o, report), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(pass_finish(f, &o, report, &layout), SINTER_ok, "%s", sinter_error());
   ir_print(&printed, f);
   for (pass_id id = 0; id < pass_count(); id++)
      n.fired += report->entry[id].fired;
   n.kernels = layout.num_kernels;
   n.printed = printed.len;
   n.memory = arena_used(a);
   arena_destroy(a);
   return n;
}

/* Every layer after the dense ones adds the same: ops, sites, kernels exactly; text and memory but
 * for longer numbers and tables that double. Kills: a pass that looks at all ops for each op and
 * keeps something of each; a layer that is fused differently because others are there. */
Test(large, everything_is_linear_in_layers)
{
   amounts x = process(19, false), y = process(33, false),
           z = process(61, getenv("LARGE_MODEL_IR") != NULL);

   cr_expect_eq(z.ops - y.ops, 2 * (y.ops - x.ops));
   cr_expect_eq(z.fired - y.fired, 2 * (y.fired - x.fired));
   cr_expect_eq(z.kernels - y.kernels, 2 * (y.kernels - x.kernels));
   cr_expect_lt((double)(z.printed - y.printed), 2.1 * (double)(y.printed - x.printed));
   cr_expect_lt((double)z.memory, 1.2 * 61 / 33 * (double)y.memory, "%zu bytes after %zu", z.memory,
                y.memory);
}
