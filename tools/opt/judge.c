/* judge.c - which passes a command line means, and whether they keep what a function means. */
#include "opt.h"

#include "passes/exec.h"
#include "passes/golden.h"

#include <stdlib.h>

static const char *const phases[] = {"clean", "fuse", "rest", "finish"};

static sinter_status find_phase(const char *name, pass_phase otherwise, pass_phase *out)
{
   *out = otherwise;
   for (size_t i = 0; name && i < countof(phases); i++)
      if (!strcmp(name, phases[i])) {
         *out = (pass_phase)i;
         return SINTER_ok;
      }
   if (name)
      return base_fail(SINTER_usage, name, "Use clean, fuse, rest or finish.",
                       "there is no such phase");
   return SINTER_ok;
}

/* --from and --to are short for the passes of these phases. */
static sinter_status phase_names(arena *a, const opt_options *o, const char **out)
{
   pass_phase from, to;
   text_buf names = {.a = a};

   if (o->passes)
      return base_fail(SINTER_usage, "-p", "Leave one out.", "--from and --to choose the passes");
   SINTER_TRY(find_phase(o->from, PASS_CLEAN, &from));
   SINTER_TRY(find_phase(o->to, PASS_FINISH, &to));
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase >= from && pass_infos[id].phase <= to && pass_infos[id].on)
         text_printf(&names, "%s,", pass_infos[id].name);
   *out = names.data ? names.data : ",";
   return SINTER_ok;
}

static sinter_status change_target(arena *a, const opt_list *set, pass_target *target,
                                   pass_options *po)
{
   for (uint32_t i = 0; i < set->count; i++) {
      const char *item = set->item[i], *equals = strchr(item, '=');
      const char *wrong = "there is no `=` in it";

      if (equals)
         wrong = pass_golden_option(a, arena_strndup(a, item, (size_t)(equals - item)), equals + 1,
                                    target, po);
      if (wrong)
         return base_fail(SINTER_usage, item, "passes/golden.h lists what can be set.", "%s",
                          wrong);
   }
   return SINTER_ok;
}

sinter_status opt_setup(arena *a, const opt_options *o, pass_target *target, pass_options *out)
{
   const char *numerics = o->numerics ? o->numerics : "fast";
   const char *only = o->passes;

   *target = pass_target_cpu("cpu");
   if (o->from || o->to)
      SINTER_TRY(phase_names(a, o, &only));
   *out = (pass_options){.target = target,
                         .with = o->with,
                         .without = o->without,
                         .skip = o->skip ? o->skip : getenv("SINTER_SKIP"),
                         .only = only && strcmp(only, "all") ? only : NULL};
   out->numerics = strcmp(numerics, "exact") ? SINTER_NUMERICS_fast : SINTER_NUMERICS_exact;
   if (strcmp(numerics, "exact") && strcmp(numerics, "fast"))
      return base_fail(SINTER_usage, "--numerics", "Use fast or exact.", "there is no mode %s",
                       numerics);
   return change_target(a, &o->set, target, out);
}

bool opt_wants_layout(const pass_options *po)
{
   if (!po->only)
      return true;
   for (pass_id id = 0; id < pass_count(); id++)
      if (pass_infos[id].phase == PASS_FINISH && strstr(po->only, pass_infos[id].name))
         return true;
   return false;
}

static sinter_status run_passes(ir_func *f, const pass_options *po, pass_report *report)
{
   pass_layout layout;

   SINTER_TRY(pass_run_all(f, po, report));
   return opt_wants_layout(po) ? pass_finish(f, po, report, &layout) : SINTER_ok;
}

sinter_status opt_judge(arena *a, const ir_func *f, const pass_options *po, opt_verdict *out)
{
   text_buf why = {.a = a};

   /* Of a clone of a clone the ids are the same, whatever those of f are. */
   *out = (opt_verdict){.after = ir_func_clone(a, f), .report = arena_new(a, pass_report)};
   out->before = ir_func_clone(a, out->after);
   sinter_status status = run_passes(out->after, po, out->report);

   if (status == SINTER_usage)
      return status;
   if (status != SINTER_ok) {
      out->failed = true;
      out->why = arena_strdup(a, sinter_error());
      return SINTER_ok;
   }
   for (pass_id id = 0; id < pass_count(); id++)
      out->rounding = MAX(out->rounding, out->report->entry[id].rounding);
   SINTER_TRY(pass_exec_compare(a, out->before, out->after, out->rounding, &why, &out->same));
   out->why = why.data ? why.data : "";
   return SINTER_ok;
}
