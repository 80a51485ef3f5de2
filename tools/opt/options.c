/* options.c - the command line of sinter-opt, read by its table. */
#include "opt.h"

#include <stdio.h>

typedef enum option_kind { KIND_FLAG, KIND_STR, KIND_LIST } option_kind;

typedef struct option_row {
   const char *name;
   char letter;
   option_kind kind;
   size_t offset;
   const char *value, *help;
} option_row;

static const option_row rows[] = {
#define OPT(field, kind, long_name, letter, value, help)                                           \
   {long_name, letter, KIND_##kind, offsetof(opt_options, field), value, help},
#include "options.def"
#undef OPT
};

void opt_help(void)
{
   printf(
      "usage: sinter-opt [options] FILE.ir...\n\nPrints the canonical text of FILE.ir, after the "
      "passes of -p.\n\n");
   for (size_t i = 0; i < countof(rows); i++) {
      char name[40];

      snprintf(name, sizeof name, "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
               rows[i].value ? rows[i].value : "");
      printf("  %c%c  %-22s %s\n", rows[i].letter ? '-' : ' ',
             rows[i].letter ? rows[i].letter : ' ', name, rows[i].help);
   }
}

static const option_row *find(const char *arg, size_t len)
{
   for (size_t i = 0; i < countof(rows); i++) {
      bool is_long = len > 2 && !strncmp(arg, "--", 2) && strlen(rows[i].name) == len - 2 &&
                     !memcmp(rows[i].name, arg + 2, len - 2);

      if (is_long || (len == 2 && arg[0] == '-' && rows[i].letter && arg[1] == rows[i].letter))
         return &rows[i];
   }
   return NULL;
}

static sinter_status push(opt_list *list, const char *item)
{
   if (list->count == OPT_MAX_LIST)
      return base_fail(SINTER_usage, item, "Split the call.", "more than %d of one kind",
                       OPT_MAX_LIST);
   list->item[list->count++] = item;
   return SINTER_ok;
}

static sinter_status set(opt_options *o, const option_row *row, const char *value)
{
   void *field = (char *)o + row->offset;

   if (row->kind == KIND_FLAG)
      *(bool *)field = true;
   else if (row->kind == KIND_STR)
      *(const char **)field = value;
   else
      return push(field, value);
   return SINTER_ok;
}

sinter_status opt_parse(int argc, char **argv, opt_options *out)
{
   *out = (opt_options){0};
   for (int i = 1; i < argc; i++) {
      const char *arg = argv[i], *equals = strchr(arg, '=');
      size_t len = equals && !strncmp(arg, "--", 2) ? (size_t)(equals - arg) : strlen(arg);

      if (arg[0] != '-' || !arg[1]) {
         SINTER_TRY(push(&out->files, arg));
         continue;
      }
      const option_row *row = find(arg, len);

      if (!row)
         return base_fail(SINTER_usage, arg, "sinter-opt --help lists all options.",
                          "there is no such option");
      const char *value = arg[len] == '=' ? arg + len + 1 : NULL;

      if (row->kind == KIND_FLAG && value)
         return base_fail(SINTER_usage, arg, "Leave the value out.", "the option takes no value");
      if (row->kind != KIND_FLAG && !value) {
         i++;
         if (i == argc)
            return base_fail(SINTER_usage, arg, "Give one.", "the option needs a value");
         value = argv[i];
      }
      SINTER_TRY(set(out, row, value));
   }
   return SINTER_ok;
}
