/* cmd_query.c - explain, cache, doctor: JSON documents of the library, as they are or as a table.
 */
#include <string.h>

#include "cli.h"
#include "tree.h"

/* Prints the document as JSON, or through `table`; frees it. */
static int show(const options *o, sinter_status status, char *json,
                void (*table)(const options *, const tree *))
{
   if (json && o->json) {
      puts(json);
   } else if (json) {
      tree *t = tree_parse(json, strlen(json));
      if (t)
         table(o, t);
      tree_free(t);
   }
   sinter_free(json);
   return status == SINTER_ok ? 0 : cli_error(status);
}

/* What compile options point to, as long as the command lives. */
typedef struct texts {
   char path[4352], with[4096];
   buffer experts;
} texts;

static int options_of(const options *o, const char *model, texts *t, sinter_compile_options *c)
{
   sinter_status status = cli_model_path(model, o->quiet, t->path, sizeof t->path);

   if (status != SINTER_ok)
      return cli_error(status);
   int code = o->device || o->target ? cli_target(o, &c->targets) : 0;
   code = code ? code : cli_numerics(o, &c->numerics);
   code = code ? code : cli_experts(o, &t->experts, &c->experts);
   code = code ? code : cli_with(o, t->with, sizeof t->with);
   c->model = t->path;
   c->threads = (uint32_t)cli_int(o->threads, 0);
   c->with = t->with;
   c->without = o->without;
   c->attention = o->attention;
   c->variant_per_bucket = o->variant_per_bucket;
   return code;
}

/* Declined sites, then the places where the pattern almost matched. --at takes a site or a
 * place. */
static void why_not(const options *o, const tree *fusion)
{
   for (const tree *d = tree_first(tree_get(fusion, "declined")); d; d = d->next) {
      const char *site = tree_string(tree_get(d, "site")), *at = tree_string(tree_get(d, "at"));
      const tree *gain = tree_get(d, "gain_ns");

      if (o->at && strcmp(o->at, site) != 0 && strcmp(o->at, at) != 0)
         continue;
      printf("   %-18s %-18s %s\n", site, at, tree_string(tree_get(d, "reason")));
      if (gain)
         printf("   %-18s %-18s would save %s ns; what has its ops saves %s ns\n", "", "",
                tree_string(gain), tree_string(tree_get(d, "lost_ns")));
   }
   for (const tree *n = tree_first(tree_get(fusion, "near")); n; n = n->next) {
      const char *at = tree_string(tree_get(n, "at"));

      if (!o->at || strcmp(o->at, at) == 0)
         printf("   %-18s %-18s %s of %s parts: %s\n", "almost", at,
                tree_string(tree_get(n, "matched")), tree_string(tree_get(n, "of")),
                tree_string(tree_get(n, "missing")));
   }
}

/* Which kernel computes attention, and why no other. */
static void attention_table(const tree *t)
{
   for (const tree *e = tree_first(tree_get(t, "attention")); e; e = e->next) {
      const char *form = tree_string(tree_get(e, "form"));

      printf("attention %s%s%s, %s alike: %s\n", strcmp(form, "prompts") ? "" : "of prompts ",
             tree_string(tree_get(e, "at")), strcmp(form, "decode") ? "" : " of decode",
             tree_string(tree_get(e, "count")), tree_string(tree_get(e, "chosen")));
      for (const tree *r = tree_first(tree_get(e, "refused")); r; r = r->next)
         printf("   not %-14s %s\n", tree_string(tree_get(r, "name")),
                tree_string(tree_get(r, "reason")));
   }
}

static void explain_table(const options *o, const tree *t)
{
   const tree *fusions = tree_get(t, "fusions"), *target = tree_get(t, "target");
   const char *machine = tree_string(tree_get(target, "machine"));

   printf("for %s%s%s\n", tree_string(tree_get(target, "name")), *machine ? ": " : "", machine);
   printf("%-20s %8s %8s %9s\n", "fusion", "matched", "fired", "declined");
   for (const tree *f = tree_first(fusions); f; f = f->next) {
      const tree *declined = tree_get(f, "declined");
      const char *name = tree_string(tree_get(f, "name"));
      if (o->why_not && strcmp(o->why_not, name) != 0)
         continue;
      printf("%-20s %8s %8s %9zu\n", name, tree_string(tree_get(f, "matched")),
             tree_string(tree_get(f, "fired")), tree_count(declined));
      if (o->why_not)
         why_not(o, f);
   }
   static const char *const counts[] = {"segments", "breaks", "kernels"};
   for (size_t i = 0; i < countof(counts); i++) {
      const tree *v = tree_get(t, counts[i]);
      printf("%-20s %8zu\n", counts[i], tree_count(v));
   }
   attention_table(t);
   if (o->arch)
      cli_prediction(t);
}

static bool has_fusion(const char *json, const char *name)
{
   tree *t = tree_parse(json, strlen(json));
   bool found = false;

   for (const tree *f = tree_first(tree_get(t, "fusions")); f && !found; f = f->next)
      found = strcmp(tree_string(tree_get(f, "name")), name) == 0;
   tree_free(t);
   return found;
}

/* Whether a site that was declined, or a place that almost matched, is called so. */
static bool has_site(const char *json, const char *fusion, const char *name)
{
   tree *t = tree_parse(json, strlen(json));
   bool found = false;

   for (const tree *f = tree_first(tree_get(t, "fusions")); f; f = f->next) {
      if (strcmp(tree_string(tree_get(f, "name")), fusion) != 0)
         continue;
      for (const tree *d = tree_first(tree_get(f, "declined")); d && !found; d = d->next)
         found = strcmp(tree_string(tree_get(d, "site")), name) == 0 ||
                 strcmp(tree_string(tree_get(d, "at")), name) == 0;
      for (const tree *n = tree_first(tree_get(f, "near")); n && !found; n = n->next)
         found = strcmp(tree_string(tree_get(n, "at")), name) == 0;
   }
   tree_free(t);
   return found;
}

/* A checkpoint is compiled as the options say; an artifact is already. */
static int check_artifact(const options *o, const char *path)
{
   sinter_artifact *a = NULL;

   if ((!o->numerics && !o->kv) || sinter_artifact_open(path, &a) != SINTER_ok)
      return 0;
   int code = cli_check_defaults(o, path, a);
   sinter_artifact_close(a);
   return code;
}

int cmd_explain(const options *o)
{
   static texts t;
   char *json = NULL;
   sinter_compile_options c = SINTER_INIT(sinter_compile_options);

   int code = options_of(o, o->args[0], &t, &c);
   code = code ? code : check_artifact(o, t.path);
   if (code)
      return code;
   c.arch = o->arch;
   sinter_status status = sinter_explain(&c, &json);
   if (status == SINTER_ok && o->why_not && !has_fusion(json, o->why_not)) {
      sinter_free(json);
      return cli_fail(
         2, "--why-not",
         "sinter explain MODEL lists the fusions; sinter-opt --why-not knows all passes",
         "there is no fusion named '%s'", o->why_not);
   }
   if (status == SINTER_ok && o->at && !has_site(json, o->why_not, o->at)) {
      sinter_free(json);
      return cli_fail(
         2, o->at, "leave --at out, which shows all of them",
         "%s has no site of this name that was declined, and no place that almost matched",
         o->why_not);
   }
   cli_notes(o, json);
   return show(o, status, json, explain_table);
}

static void list_table(const options *o, const tree *t)
{
   (void)o;
   for (const tree *e = tree_first(t); e; e = e->next)
      printf("%-16.16s %10s %-24s %s\n", tree_string(tree_get(e, "key")),
             tree_string(tree_get(e, "bytes")), tree_string(tree_get(e, "target")),
             tree_string(tree_get(e, "model")));
}

static void why_table(const options *o, const tree *t)
{
   const tree *nearest = tree_get(t, "nearest");

   (void)o;
   printf("%s %.16s\n", tree_string(tree_get(t, "hit"))[0] == 'y' ? "hit " : "miss",
          tree_string(tree_get(t, "key")));
   if (nearest && nearest->kind == TREE_string)
      printf("nearest %.16s differs in\n", tree_string(nearest));
   for (const tree *d = tree_first(tree_get(t, "differs")); d; d = d->next)
      printf("   %-18s is %s, wanted %s\n", tree_string(tree_get(d, "field")),
             tree_string(tree_get(d, "stored")), tree_string(tree_get(d, "wanted")));
}

static void verify_table(const options *o, const tree *t)
{
   (void)o;
   printf("%s checked, %zu damaged\n", tree_string(tree_get(t, "checked")),
          tree_count(tree_get(t, "damaged")));
   for (const tree *d = tree_first(tree_get(t, "damaged")); d; d = d->next)
      printf("%s\n   %s\n", tree_string(tree_get(d, "path")), tree_string(tree_get(d, "error")));
}

static void gc_table(const options *o, const tree *t)
{
   (void)o;
   printf("removed %s entries and %s other files, %s bytes; %s bytes are left\n",
          tree_string(tree_get(t, "removed_entries")), tree_string(tree_get(t, "removed_files")),
          tree_string(tree_get(t, "removed_bytes")), tree_string(tree_get(t, "left_bytes")));
}

/* Of --max; one byte holds nothing, and 0 would be the cache's own bound. */
static uint64_t most_bytes(int64_t mib)
{
   if (mib == CLI_UNSET)
      return 0;
   if ((uint64_t)mib > UINT64_MAX >> 20)
      return UINT64_MAX;
   return mib ? (uint64_t)mib << 20 : 1;
}

int cmd_cache(const options *o)
{
   static texts t;
   char *json = NULL;
   const char *verb = o->args[0];
   sinter_status status;

   if (strcmp(verb, "why") == 0) {
      sinter_compile_options c = SINTER_INIT(sinter_compile_options);
      if (o->num_args != 2)
         return cli_usage_error("'sinter cache why' needs a MODEL");
      int code = options_of(o, o->args[1], &t, &c);
      if (code)
         return code;
      status = sinter_cache_why(&c, &json);
      return show(o, status, json, why_table);
   }
   if (o->num_args != 1)
      return cli_usage_error("'sinter cache %s' takes no argument", verb);
   if (o->max_bytes != CLI_UNSET && strcmp(verb, "gc") != 0)
      return cli_usage_error("--max says nothing without 'gc'");
   if (strcmp(verb, "ls") == 0) {
      status = sinter_cache_list(NULL, &json);
      return show(o, status, json, list_table);
   }
   if (strcmp(verb, "verify") == 0) {
      status = sinter_cache_verify(NULL, &json);
      return show(o, status, json, verify_table);
   }
   if (strcmp(verb, "gc") == 0) {
      status = sinter_cache_gc(NULL, most_bytes(o->max_bytes), &json);
      return show(o, status, json, gc_table);
   }
   return cli_usage_error("'sinter cache' takes ls, why, verify or gc, not '%s'", verb);
}

static void doctor_table(const options *o, const tree *t)
{
   (void)o;
   for (const tree *e = tree_first(t); e; e = e->next) {
      printf("%-14s ", e->key);
      for (const tree *item = tree_first(e); item; item = item->next)
         printf("%s ", tree_string(item));
      printf("%s\n", tree_first(e) ? "" : tree_string(e));
   }
}

int cmd_doctor(const options *o)
{
   char *json = NULL;
   sinter_status status = sinter_doctor(&json);

   return show(o, status, json, doctor_table);
}
