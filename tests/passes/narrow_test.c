// LINK: passes ir base
/* Rewrites that add a rounding are refused unless they are asked for. */
#include "passes/pass.h"

#include <criterion/criterion.h>

static const char text[] =
   "func @f(T in 1..8) {\n%x = param {name=\"x\"} : f32[T,8]\n"
   "%a = silu %x\n%b = scale %a {scale=2}\n%c = silu %b\n%d = scale %c {scale=1}\n"
   "return %d\n}\n";

/* Narrows what silu makes; a factor of one becomes two, which rounds nothing. */
static void narrow_silu(pass_run *run)
{
   ir_func *f = pass_func(run);

   ir_op_foreach (f, op) {
      bool one = op->code == IR_OP_scale && ir_attr_f(op, IR_ATTR_scale, 0) == 1;
      pass_site *s;

      if ((op->code != IR_OP_silu && !one) || !(s = pass_site_open(run, op)))
         continue;
      if (one)
         ir_attr_set(f, op, (ir_attr){IR_ATTR_scale, {.f = 2}});
      else
         ir_retype(f, op->results[0], DT_f16);
      pass_fired(s);
   }
}

/* The same with nothing to show for it. */
static void narrow_silently(pass_run *run)
{
   ir_op_foreach (pass_func(run), op)
      if (op->code == IR_OP_silu)
         ir_retype(pass_func(run), op->results[0], DT_f16);
}

typedef struct outcome {
   arena *a;
   ir_func *f;
   pass_report report;
   sinter_status status;
   uint32_t hooks;
} outcome;

static void count(void *user, const pass_site *site, const ir_func *f)
{
   (void)site;
   (void)f;
   ++*(uint32_t *)user;
}

static outcome run(void (*body)(pass_run *), pass_phase phase, pass_numerics numerics,
                   const char *with)
{
   const pass_info info = {"narrow_silu", phase, true, numerics, "a test"};
   pass_target target = pass_target_cpu("test");
   outcome o = {0};
   ir_module m = {0};

   cr_assert_eq(arena_create(&o.a), SINTER_ok);
   cr_assert_eq(pass_register(&info, body), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(ir_parse(o.a, text, strlen(text), "f", &m), SINTER_ok, "%s", sinter_error());
   o.f = m.funcs.data[0];
   pass_options options = {.target = &target,
                           .numerics = SINTER_NUMERICS_fast,
                           .with = with,
                           .without = "fold,pointwise",
                           .site_hook = count,
                           .user = &o.hooks};
   o.status = pass_run_all(o.f, &options, &o.report);
   return o;
}

static dtype type_of(const outcome *o, const char *name)
{
   return ir_find(o->f, name)->type.dtype;
}

/* Kills: a class that is computed and not acted upon; refusing the whole pass for one site; a trial
 * that changes the function. */
Test(narrow, sites_that_round_are_refused)
{
   outcome o = run(narrow_silu, PASS_CLEAN, PASS_ANY, NULL);
   const pass_entry *e = &o.report.entry[PASS_COUNT];

   cr_assert_eq(o.status, SINTER_ok, "%s", sinter_error());
   cr_assert_eq(e->matched, 3);
   cr_assert_eq(e->fired, 1);
   cr_assert_eq(e->rounding, PASS_EXACT);
   cr_assert_eq(type_of(&o, "a"), DT_f32);
   cr_assert_eq(type_of(&o, "c"), DT_f32);
   for (size_t i = 0; i < 2; i++) {
      cr_assert_eq(e->sites.data[i]->verdict, PASS_DECLINED);
      cr_assert(strstr(e->sites.data[i]->reason, "--with narrow_silu"), "%s",
                e->sites.data[i]->reason);
   }
   cr_assert_eq(e->sites.data[2]->verdict, PASS_FIRED);
   cr_assert(o.hooks >= 1);
   arena_destroy(o.a);
}

/* Kills: a refusal that --with does not lift; one of a pass that `fast` stands for. */
Test(narrow, asked_for_by_name)
{
   outcome o = run(narrow_silu, PASS_CLEAN, PASS_ANY, "narrow_silu");

   cr_assert_eq(o.status, SINTER_ok, "%s", sinter_error());
   cr_assert_eq(o.report.entry[PASS_COUNT].fired, 3);
   cr_assert_eq(o.report.entry[PASS_COUNT].rounding, PASS_ROUND_MORE);
   cr_assert_eq(type_of(&o, "a"), DT_f16);
   arena_destroy(o.a);
}

Test(narrow, asked_for_by_numerics)
{
   outcome o = run(narrow_silu, PASS_CLEAN, PASS_FAST, NULL);

   cr_assert_eq(o.report.entry[PASS_COUNT].fired, 3);
   arena_destroy(o.a);
}

/* Kills: roundings that no site answers for; a fusion that retypes while it proposes. */
Test(narrow, roundings_without_a_site_are_errors)
{
   outcome o = run(narrow_silently, PASS_CLEAN, PASS_ANY, NULL);

   cr_assert_eq(o.status, SINTER_failed);
   cr_assert(strstr(sinter_error(), "outside of its sites"), "%s", sinter_error());
   arena_destroy(o.a);
}

Test(narrow, fusions_only_propose)
{
   outcome o = run(narrow_silently, PASS_FUSE, PASS_ANY, NULL);

   cr_assert_eq(o.status, SINTER_failed);
   cr_assert(strstr(sinter_error(), "while it proposes"), "%s", sinter_error());
   arena_destroy(o.a);
}
