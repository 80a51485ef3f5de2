/* main.c - one table lookup: the command. */
#include <locale.h>
#include <signal.h>

#include "cli.h"

int main(int argc, char **argv)
{
   static int (*const run[])(const options *) = {
#define CMD(name, args, least, most, summary) cmd_##name,
#include "commands.def"
#undef CMD
   };
   options o;

   signal(SIGPIPE, SIG_DFL);
   if (!cli_parse(argc, argv, &o))
      return 2;
   int code = 0;
   if (o.version)
      puts(sinter_version());
   else if (o.help)
      cli_help(stdout, o.command);
   else
      code = run[o.command](&o);
   /* A result that could not be written is a failure (a full disk behind a redirection). */
   if (fflush(stdout) != 0 && code == 0) {
      fputs("error: writing to stdout failed\n", stderr);
      code = 1;
   }
   return code;
}
