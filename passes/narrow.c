/* narrow.c - a rewrite that adds a rounding is refused, unless it was asked for.
 *
 *    clone ─ the pass on trial ─▶ a type narrower than before, a new quant or narrowing cast?
 *              no   the pass runs                                         (almost always)
 *              yes  once more, looking after every site: those that narrow are closed, until none does
 *
 * Asked for is a pass by --with, and one of `fast` numerics by the numerics themselves. The trial
 * is the pass's own code on a copy, so a refused site leaves no trace in the function, and hooks do
 * not see it. Kills: a class that is computed and not acted upon; closing sites that do not
 * narrow. */
#include "run.h"

bool pass_is_refused(const pass_run *run, uint32_t number)
{
   for (size_t i = 0; i < run->refused.count; i++)
      if (run->refused.data[i] == number)
         return true;
   return false;
}

void pass_trial_fired(pass_site *s)
{
   pass_run *run = s->run;

   if (pass_narrows(run->f, run->watch))
      *vec_push(run->f->a, &run->narrowing) = s->number;
   *run->watch = pass_types_of(run->f->a, run->f);
}

typedef struct trial {
   pass_run run;
   pass_report report;
   pass_options options;
   pass_types before, watch;
} trial;

/* Runs the body on a clone. per_site: the run then knows which sites narrow. */
static bool narrows_on_trial(pass_run *run, void (*body)(pass_run *run), bool per_site, trial *t)
{
   t->run = *run;
   t->options = *run->options;
   t->options.hook = NULL;
   t->options.site_hook = NULL;
   t->report = (pass_report){0};
   t->run.f = ir_func_clone(run->f->a, run->f);
   t->run.options = &t->options;
   t->run.report = &t->report;
   t->run.narrowing.count = 0;
   t->before = t->watch = pass_types_of(t->run.f->a, t->run.f);
   t->run.watch = per_site ? &t->watch : NULL;
   body(&t->run);
   return pass_narrows(t->run.f, &t->before);
}

static bool may_narrow(const pass_run *run, pass_id id)
{
   return run->mode[id] == PASS_FORCED || pass_infos[id].numerics == PASS_FAST;
}

sinter_status pass_refuse_narrowing(pass_run *run, pass_id id, void (*body)(pass_run *run))
{
   trial *t;

   run->refused.count = 0;
   if (may_narrow(run, id))
      return SINTER_ok;
   t = arena_new(run->f->a, trial);
   if (!narrows_on_trial(run, body, false, t))
      return t->run.status;
   while (narrows_on_trial(run, body, true, t)) {
      if (!t->run.narrowing.count)
         return base_fail(SINTER_failed, run->f->name,
                          "This is a defect of the pass; skip it with --without.",
                          "pass %s adds roundings outside of its sites", pass_infos[id].name);
      for (size_t i = 0; i < t->run.narrowing.count; i++)
         *vec_push(run->f->a, &run->refused) = t->run.narrowing.data[i];
   }
   return SINTER_ok;
}
