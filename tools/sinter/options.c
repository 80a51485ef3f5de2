/* options.c - the command line, read by the tables commands.def and options.def. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef enum kind { FLAG, STR, INT, LONG, FLOAT } kind;

#define ON(name) (1u << CMD_##name)
#define ALL ((1u << CMD_COUNT) - 1)
#define COMPILING                                                                                  \
   (ON(compile) | ON(run) | ON(chat) | ON(serve) | ON(logits) | ON(encode) | ON(tokenize) |        \
    ON(detokenize) | ON(perplexity) | ON(bench) | ON(inspect) | ON(explain) | ON(cache))

static const struct {
   kind kind;
   const char *name;
   char letter;
   const char *value;
   unsigned commands;
   const char *help;
   size_t offset;
} table[] = {
#define OPT(field, kind, long_name, short_name, value, commands, help)                             \
   {kind, long_name, short_name, value, commands, help, offsetof(options, field)},
#include "options.def"
};

static const struct {
   const char *name, *args;
   int least, most;
   const char *summary;
} commands[] = {
#define CMD(name, args, least, most, summary) {#name, args, least, most, summary},
#include "commands.def"
#undef CMD
};

/* Options that say nothing without another: places of both in options. */
static const struct {
   size_t option, partner;
} needs[] = {
#define NEEDS(field, partner) {offsetof(options, field), offsetof(options, partner)},
#include "options.def"
};

/* Of the command line; CMD_COUNT until it is known. */
static command current = CMD_COUNT;

int cli_usage_error(const char *fmt, ...)
{
   va_list args;

   fputs("error: ", stderr);
   va_start(args, fmt);
   vfprintf(stderr, fmt, args);
   va_end(args);
   fprintf(stderr, "\n  try: sinter %s%s--help\n",
           current < CMD_COUNT ? commands[current].name : "", current < CMD_COUNT ? " " : "");
   return 2;
}

int64_t cli_int(int64_t value, int64_t otherwise)
{
   return value == CLI_UNSET ? otherwise : value;
}

double cli_float(double value, double otherwise)
{
   return isnan(value) ? otherwise : value;
}

static void *field(options *o, size_t i)
{
   return (char *)o + table[i].offset;
}

static void clear(options *o)
{
   *o = (options){.command = CMD_COUNT};
   for (size_t i = 0; i < countof(table); i++) {
      if (table[i].kind == INT || table[i].kind == LONG)
         *(int64_t *)field(o, i) = CLI_UNSET;
      else if (table[i].kind == FLOAT)
         *(double *)field(o, i) = NAN;
   }
}

/* -n has one letter only. */
static const char *dashes(size_t i)
{
   return strlen(table[i].name) == 1 ? "-" : "--";
}

static bool is_given(const options *o, size_t i)
{
   const void *at = (const char *)o + table[i].offset;

   switch (table[i].kind) {
   case FLAG: return *(const bool *)at;
   case STR: return *(const char *const *)at != NULL;
   case INT:
   case LONG: return *(const int64_t *)at != CLI_UNSET;
   case FLOAT: return !isnan(*(const double *)at);
   }
   return false;
}

static size_t option_at(size_t offset)
{
   size_t i = 0;

   while (table[i].offset != offset)
      i++;
   return i;
}

/* Whether every option that is given has its partner. */
static bool has_partners(const options *o)
{
   for (size_t n = 0; n < countof(needs); n++) {
      size_t i = option_at(needs[n].option), partner = option_at(needs[n].partner);

      if (!is_given(o, i) || is_given(o, partner))
         continue;
      cli_usage_error("--%s says nothing without --%s", table[i].name, table[partner].name);
      return false;
   }
   return true;
}

/* Whether what is written has a file: an artifact cannot go to a pipe, so nothing else takes - for
 * one either. */
static bool names_files(const options *o)
{
   const struct {
      const char *option, *path;
   } written[] = {{"-o", o->output}, {"--loads", o->loads}, {"--trace", o->trace}};

   for (size_t i = 0; i < countof(written); i++)
      if (written[i].path && (!*written[i].path || strcmp(written[i].path, "-") == 0)) {
         (void)cli_fail(2, written[i].option, "name a file; one that is called - is ./-",
                        "%s writes a file, not to the standard output", written[i].option);
         return false;
      }
   return true;
}

static const char *const takes[] = {
   [INT] = "whole number from 0 to 2147483647",
   [LONG] = "whole number from 0",
   [FLOAT] = "number",
};

/* Whether a number that was read (errno: by strtoll) is one that the option takes. */
static bool fits(const options *o, size_t i)
{
   const void *at = (const char *)o + table[i].offset;

   if (table[i].kind == FLOAT)
      return isfinite(*(const double *)at);
   return errno != ERANGE && *(const int64_t *)at >= 0 &&
          (table[i].kind == LONG || *(const int64_t *)at <= INT32_MAX);
}

static bool set(options *o, size_t i, const char *value)
{
   char *end = NULL;

   switch (table[i].kind) {
   case FLAG: *(bool *)field(o, i) = true; return true;
   case STR: *(const char **)field(o, i) = value; return true;
   case INT:
   case LONG:
      errno = 0;
      *(int64_t *)field(o, i) = strtoll(value, &end, 10);
      break;
   case FLOAT: *(double *)field(o, i) = strtod(value, &end); break;
   }
   if (end != value && *end == 0 && fits(o, i))
      return true;
   cli_usage_error("%s%s takes a %s, not '%s'", dashes(i), table[i].name, takes[table[i].kind],
                   value);
   return false;
}

/* Index of the option an argument names, or -1; *out_value is what follows '=' or the letter. */
static int find_option(const char *arg, const char **out_value)
{
   *out_value = NULL;
   for (size_t i = 0; i < countof(table); i++) {
      size_t len = strlen(table[i].name);
      if (arg[1] == '-' && strncmp(arg + 2, table[i].name, len) == 0 &&
          (arg[2 + len] == 0 || arg[2 + len] == '=')) {
         *out_value = arg[2 + len] ? arg + 3 + len : NULL;
         return (int)i;
      }
      if (arg[1] == table[i].letter && arg[1] && arg[1] != '-') {
         *out_value = arg[2] ? arg + 2 : NULL;
         return (int)i;
      }
   }
   return -1;
}

static bool take_option(options *o, int argc, char **argv, int *at)
{
   const char *value, *arg = argv[*at];
   int i = find_option(arg, &value);

   if (i < 0) {
      cli_usage_error("unknown option '%s'", arg);
      return false;
   }
   if (table[i].kind == FLAG && value) {
      cli_usage_error("%s%s takes no value", dashes((size_t)i), table[i].name);
      return false;
   }
   if (table[i].kind != FLAG && !value) {
      if (*at + 1 >= argc) {
         cli_usage_error("%s%s needs a value", dashes((size_t)i), table[i].name);
         return false;
      }
      value = argv[++*at];
   }
   if (o->command != CMD_COUNT && !(table[i].commands & 1u << o->command)) {
      cli_usage_error("%s%s does not belong to 'sinter %s'", dashes((size_t)i), table[i].name,
                      commands[o->command].name);
      return false;
   }
   return set(o, (size_t)i, value);
}

static bool take_command(options *o, const char *name)
{
   for (size_t c = 0; c < countof(commands); c++) {
      if (strcmp(commands[c].name, name) == 0) {
         o->command = current = (command)c;
         return true;
      }
   }
   cli_usage_error("unknown command '%s'", name);
   return false;
}

bool cli_parse(int argc, char **argv, options *o)
{
   bool only_args = false;

   clear(o);
   for (int i = 1; i < argc; i++) {
      const char *arg = argv[i];
      if (!only_args && strcmp(arg, "--") == 0) {
         only_args = true;
      } else if (!only_args && arg[0] == '-' && arg[1]) {
         if (!take_option(o, argc, argv, &i))
            return false;
      } else if (o->command == CMD_COUNT) {
         if (!take_command(o, arg))
            return false;
      } else if (o->num_args < commands[o->command].most) {
         o->args[o->num_args++] = arg;
      } else {
         cli_usage_error("'sinter %s' takes %s", commands[o->command].name,
                         commands[o->command].args[0] ? commands[o->command].args : "no argument");
         return false;
      }
   }
   if (o->help || o->version)
      return true;
   if (o->command == CMD_COUNT) {
      cli_usage_error("no command");
      return false;
   }
   if (o->num_args < commands[o->command].least) {
      cli_usage_error("'sinter %s' needs %s", commands[o->command].name, commands[o->command].args);
      return false;
   }
   return has_partners(o) && names_files(o);
}

static void print_option(FILE *out, size_t i)
{
   enum { WIDTH = 26 };
   char left[64], letter[8] = "    ";
   bool single = strlen(table[i].name) == 1;
   int columns = 0;

   if (table[i].letter)
      snprintf(letter, sizeof letter, "-%c%s", table[i].letter, single ? "  " : ", ");
   snprintf(left, sizeof left, "%s%s%s%s%s", letter, single ? "" : "--",
            single ? "" : table[i].name, table[i].value ? " " : "",
            table[i].value ? table[i].value : "");
   for (const char *p = left; *p; p++)
      columns += (*p & 0xc0) != 0x80; /* not the bytes behind the first of a character */
   fprintf(out, "  %s%*s %s\n", left, columns < WIDTH ? WIDTH - columns : 0, "", table[i].help);
}

void cli_help(FILE *out, command only)
{
   if (only == CMD_COUNT) {
      fputs("usage: sinter COMMAND …\n\n", out);
      for (size_t c = 0; c < countof(commands); c++)
         fprintf(out, "  %-11s %-28s %s\n", commands[c].name, commands[c].args,
                 commands[c].summary);
      fputs("\nMODEL is a GGUF file, a checkpoint folder, an artifact, or a known name (sinter "
            "models ls)."
            "\n\nOptions of every command:\n",
            out);
   } else {
      fprintf(out, "usage: sinter %s%s%s [options]\n\n%s\n\n", commands[only].name,
              commands[only].args[0] ? " " : "", commands[only].args, commands[only].summary);
   }
   for (size_t i = 0; i < countof(table); i++)
      if (only == CMD_COUNT ? table[i].commands == ALL : (table[i].commands >> only & 1) != 0)
         print_option(out, i);
   if (only == CMD_COUNT) {
      fputs("\nOptions of every command that makes or finds an artifact:\n", out);
      for (size_t i = 0; i < countof(table); i++)
         if (table[i].commands == COMPILING)
            print_option(out, i);
   }
   if (only == CMD_COUNT)
      fputs("\nsinter COMMAND --help shows the options of a command.\n"
            "Exit codes:"
#define EXIT(code, what) " " #code " " what ","
#include "manual.def"
            " as the man page has them (sinter help man).\n",
            out);
}

static void man_page(void)
{
   printf(".TH SINTER 1\n.SH NAME\nsinter \\- compile and run language models\n.SH SYNOPSIS\n"
          ".B sinter\nCOMMAND [options]\n.SH COMMANDS\n");
   for (size_t c = 0; c < countof(commands); c++)
      printf(".TP\n.B %s %s\n%s\n", commands[c].name, commands[c].args, commands[c].summary);
   printf(".SH OPTIONS\n");
   for (size_t i = 0; i < countof(table); i++)
      printf(".TP\n.B \\-%s%s %s\n%s\n", dashes(i)[1] ? "\\-" : "", table[i].name,
             table[i].value ? table[i].value : "", table[i].help);
   fputs(
#define ROW(name, what) ".TP\n.B " name "\n" what "\n"
#define ENV ROW
      ".SH ENVIRONMENT\n"
#include "manual.def"
#define PLACE ROW
      ".SH FILES\n"
#include "manual.def"
#define EXIT(code, what) ROW(#code, what)
      ".SH EXIT STATUS\n"
#include "manual.def"
#define EXAMPLE ROW
      ".SH EXAMPLES\n"
#include "manual.def"
      ,
      stdout);
}

static void bash_completion(void)
{
   printf("_sinter()\n{\n   local words\n   case ${COMP_WORDS[1]} in\n");
   for (size_t c = 0; c < countof(commands); c++) {
      printf("   %s) words='", commands[c].name);
      for (size_t i = 0; i < countof(table); i++)
         if (table[i].commands >> c & 1)
            printf("%s%s ", strlen(table[i].name) == 1 ? "-" : "--", table[i].name);
      printf("' ;;\n");
   }
   printf("   esac\n   [ \"$COMP_CWORD\" = 1 ] && words='");
   for (size_t c = 0; c < countof(commands); c++)
      printf("%s ", commands[c].name);
   printf("'\n   COMPREPLY=($(compgen -f -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
          "complete -F _sinter sinter\n");
}

int cmd_help(const options *o)
{
   if (o->num_args == 0)
      cli_help(stdout, CMD_COUNT);
   else if (strcmp(o->args[0], "man") == 0)
      man_page();
   else if (strcmp(o->args[0], "bash") == 0)
      bash_completion();
   else
      return cli_usage_error("'sinter help' knows man and bash, not '%s'", o->args[0]);
   return 0;
}
