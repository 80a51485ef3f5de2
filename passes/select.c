/* select.c - which passes run: defaults, then --with, --without and -p; and which sites are left
 * out. */
#include "run.h"

pass_id pass_find(const char *name, size_t len)
{
   for (pass_id id = 0; id < pass_count(); id++)
      if (strlen(pass_infos[id].name) == len && !memcmp(pass_infos[id].name, name, len))
         return id;
   return PASS_MAX;
}

/* Next item of a comma-separated list; false at its end. Empty items are passed over. */
static bool next_item(const char **list, const char **item, size_t *len)
{
   while (*list && **list == ',')
      (*list)++;
   if (!*list || !**list)
      return false;
   *item = *list;
   *len = strcspn(*list, ",");
   *list += *len;
   return true;
}

static sinter_status find(const char *item, size_t len, const char *option, pass_id *out)
{
   *out = pass_find(item, len);
   if (*out == PASS_MAX)
      return base_fail(SINTER_usage, option, "sinter-opt --list shows all names.",
                       "there is no pass or fusion named '%.*s'", (int)MIN(len, 100), item);
   return SINTER_ok;
}

static sinter_status set_modes(pass_run *run, const char *list, pass_mode mode, const char *option)
{
   const char *item;
   size_t len;
   pass_id id;

   while (next_item(&list, &item, &len)) {
      SINTER_TRY(find(item, len, option, &id));
      if (mode == PASS_OFF && pass_infos[id].phase == PASS_FINISH)
         return base_fail(SINTER_usage, option, "Leave it out of the list.",
                          "%s cannot be left out: nothing runs without it", pass_infos[id].name);
      run->mode[id] = mode;
   }
   return SINTER_ok;
}

static sinter_status read_skip(pass_run *run)
{
   const char *list = run->options->skip, *item;
   size_t len;
   pass_id id;

   while (next_item(&list, &item, &len)) {
      const char *colon = memchr(item, ':', len);
      size_t name = colon ? (size_t)(colon - item) : len;

      SINTER_TRY(find(item, name, "SINTER_SKIP", &id));
      if (colon && (len == name + 1 || strspn(colon + 1, "0123456789") != len - name - 1))
         return base_fail(SINTER_usage, "SINTER_SKIP",
                          "write a site as act_mul:2, a pass as act_mul", "'%.*s' is no site",
                          (int)MIN(len, 100), item);
      (void)map_set_n(&run->skip, item, len, run);
   }
   return SINTER_ok;
}

sinter_status pass_select(pass_run *run)
{
   const pass_options *o = run->options;

   for (pass_id id = 0; id < pass_count(); id++) {
      bool finish = pass_infos[id].phase == PASS_FINISH;

      run->mode[id] = (o->only && !finish) || !pass_infos[id].on ? PASS_OFF : PASS_ON;
   }
   SINTER_TRY(set_modes(run, o->only, PASS_ON, "-p"));
   SINTER_TRY(set_modes(run, o->with, PASS_FORCED, "--with"));
   SINTER_TRY(set_modes(run, o->without, PASS_OFF, "--without"));
   return read_skip(run);
}

sinter_status pass_check_names(arena *a, const pass_options *options)
{
   pass_run run = {.options = options, .skip = {.a = a}};

   return pass_select(&run);
}
