/* cmd_compile.c - compile; and the documents an artifact carries: inspect, explain. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

int cmd_compile(const options *o)
{
   session s;
   struct stat st;
   int code = cli_open(o, &s);

   if (code)
      return code;
   uint64_t bytes = stat(s.path, &st) == 0 ? (uint64_t)st.st_size : 0;
   if (o->json) {
      buffer out = {0};
      buffer_printf(&out, "{\"artifact\":");
      buffer_json_string(&out, s.path, strlen(s.path));
      buffer_printf(&out, ",\"bytes\":%llu,\"cached\":%s,\"seconds\":%.3f}\n",
                    (unsigned long long)bytes, s.cached ? "true" : "false", s.compile_seconds);
      fwrite(out.data, 1, out.len, stdout);
      buffer_free(&out);
   } else {
      if (!o->quiet)
         fprintf(stderr, "%s %.1f MiB in %.2f s\n", s.cached ? "cached  " : "compiled",
                 (double)bytes / 0x1p20, s.compile_seconds);
      puts(s.path);
   }
   cli_close(&s);
   return 0;
}

static int print_document(const session *s, const char *name)
{
   const char *text = sinter_artifact_document(s->artifact, name);

   if (!text)
      return cli_fail(1, s->path, "compile the model again with --no-cache",
                      "the artifact has no '%s' section", name);
   puts(text);
   return 0;
}

int cmd_inspect(const options *o)
{
   session s;
   int code = cli_open(o, &s);

   if (code)
      return code;
   if (o->json) {
      const char *manifest = sinter_artifact_document(s.artifact, "manifest"),
                 *plan = sinter_artifact_document(s.artifact, "plan");
      printf("{\"manifest\":%s,\"plan\":%s}\n", manifest ? manifest : "null", plan ? plan : "null");
   } else {
      printf("artifact  %s\nvocab     %u\nlayers    %u\nwidth     %u\ncontext   %u\nweights   %.1f "
             "MiB\n",
             s.path, s.info.vocab, s.info.layers, s.info.width, s.info.trained_context,
             (double)s.info.weight_bytes / 0x1p20);
      code = print_document(&s, "manifest");
   }
   cli_close(&s);
   return code;
}
