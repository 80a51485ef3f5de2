/* registry.c - the list of passes: the rows of passes.def, and behind them what a tool loaded. */
#include "run.h"

pass_info pass_infos[PASS_MAX] = {
#define PASS(name, phase, on, numerics, what) {#name, PASS_##phase, on, PASS_##numerics, what},
#include "passes.def"
#undef PASS
};

void (*pass_bodies[PASS_MAX])(pass_run *run) = {
#define PASS(name, ...) pass_##name,
#include "passes.def"
#undef PASS
};

static uint32_t num_loaded;

pass_id pass_count(void)
{
   return (pass_id)(PASS_COUNT + num_loaded);
}

sinter_status pass_register(const pass_info *info, void (*body)(pass_run *run))
{
   size_t len = strlen(info->name);

   if (!len || strspn(info->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
      return base_fail(SINTER_usage, info->name, "Use small letters, digits and _.",
                       "this is no name of a pass");
   if (pass_find(info->name, len) != PASS_MAX)
      return base_fail(SINTER_usage, info->name, "Give it another name.",
                       "a pass of this name exists");
   if (info->phase == PASS_FINISH)
      return base_fail(SINTER_unsupported, info->name, "Use CLEAN, FUSE or REST.",
                       "the FINISH phase is closed: its passes decide the layout");
   if (pass_count() == PASS_MAX)
      return base_fail(SINTER_unsupported, info->name, "Load fewer.", "more than %d passes",
                       PASS_MAX - PASS_COUNT);
   pass_infos[pass_count()] = *info;
   pass_bodies[pass_count()] = body;
   num_loaded++;
   return SINTER_ok;
}
