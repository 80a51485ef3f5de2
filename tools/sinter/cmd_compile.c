/* cmd_compile.c - compile; and the documents an artifact carries: inspect, explain. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "tree.h"

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

/* Rows of the manifest, as they are called there; lists, which may be empty, have their items in
 * one row. */
static void print_manifest(const tree *t)
{
   static const char *const rows[] = {"made_by", "llvm", "targets"}, *const of_key[] = {
                                                                        "numerics", "attention",
                                                                        "with", "without", "skip"};

   printf("model     %s (%s)\n", tree_string(tree_get(tree_get(t, "model"), "name")),
          tree_string(tree_get(tree_get(t, "model"), "family")));
   for (size_t i = 0; i < countof(rows) + countof(of_key); i++) {
      bool key = i >= countof(rows);
      const char *name = key ? of_key[i - countof(rows)] : rows[i];
      const tree *row = tree_get(key ? tree_get(t, "key") : t, name), *item = tree_first(row);

      if (!item && !tree_string(row)[0])
         continue;
      printf("%-9s %s", name, tree_string(row));
      for (; item; item = item->next)
         printf("%s%s", tree_string(item), item->next ? ", " : "");
      putchar('\n');
   }
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
      const char *manifest = sinter_artifact_document(s.artifact, "manifest");
      tree *t = manifest ? tree_parse(manifest, strlen(manifest)) : NULL;
      print_manifest(t);
      tree_free(t);
   }
   cli_close(&s);
   return code;
}
