/* bisect_device.c - --bisect --device cpu MODEL: which sites make kernels that give other numbers
 * than the interpreter.
 *
 *    sinter explain   ─▶ sites, by fusion: those that fire, and those that do not
 *    sinter logits    ─▶ --device ref once; --device cpu for each trial, all other sites skipped
 *
 * The checkpoint is compiled and run by the `sinter` beside this program, as users run it; a kernel
 * is wrong when a logit is off by more than a thousandth of their spread (f32 sums of a few
 * thousand terms stay below 1e-4 of it). Trials are compiled into a cache of their own. */
#include "opt.h"

#include "base/json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_APART 1e-3 /* of the spread */
static const char standard_ids[] = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24";

typedef struct fusion {
   pass_id pass;
   uint32_t matched;
   bool *fired; /* by number */
} fusion;

typedef struct device_search {
   arena *a;
   const char *model, *sinter, *folder;
   const opt_options *o;
   VEC(fusion) fusions;
   npy want;
   double spread;
   uint32_t runs;
   int64_t row, id; /* of the worst logit of the last run */
   double got, asked, apart;
} device_search;

/* ---- running sinter ---- */

static sinter_status find_sinter(device_search *s)
{
   char self[4096];
   ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

   self[n > 0 ? n : 0] = 0;
   char *slash = strrchr(self, '/');
   if (slash)
      s->sinter = arena_printf(s->a, "%.*s/sinter", (int)(slash - self), self);
   if (!slash || access(s->sinter, X_OK) != 0)
      return base_fail(SINTER_not_found, s->sinter ? s->sinter : self,
                       "Build the whole tree, so that both programs are in one folder.",
                       "there is no program to run the model with");
   return SINTER_ok;
}

/* Runs it and waits; its talk goes where ours goes, its results into `out`. */
static sinter_status spawn(device_search *s, const char *const *args, const char *skip,
                           const char *out)
{
   int status;
   pid_t child = fork();

   if (child == 0) {
      setenv("SINTER_CACHE", s->folder, 1);
      if (skip)
         setenv("SINTER_SKIP", skip, 1);
      if (freopen(out ? out : "/dev/null", "w", stdout))
         execv(s->sinter, (char *const *)(uintptr_t)args);
      _exit(127);
   }
   if (child < 0 || waitpid(child, &status, 0) < 0)
      return base_fail(SINTER_failed, s->sinter, "", "it cannot be run: %s", strerror(errno));
   if (WIFSIGNALED(status))
      return base_fail(SINTER_failed, s->model, "Report it, with the model.",
                       "sinter %s was ended by signal %d", args[1], WTERMSIG(status));
   if (WEXITSTATUS(status) == 127)
      return base_fail(SINTER_failed, s->sinter, "Build it, in the folder of sinter-opt.",
                       "sinter cannot be run");
   if (WEXITSTATUS(status) != 0)
      return base_fail(SINTER_failed, s->model, "Its message is above.",
                       "sinter %s failed, exit %d", args[1], WEXITSTATUS(status));
   return SINTER_ok;
}

static sinter_status run_logits(device_search *s, const char *device, const char *skip, npy *out)
{
   const char *path = arena_printf(s->a, "%s/logits.npy", s->folder);
   const char *numerics = s->o->numerics ? s->o->numerics : "exact";
   const char *ids = s->o->ids ? s->o->ids : standard_ids;
   const char *const args[] = {s->sinter,    "logits",  s->model,   "--ids", ids,
                               "--numerics", numerics,  "--device", device,  "-o",
                               path,         "--quiet", NULL};

   SINTER_TRY(spawn(s, args, skip, NULL));
   return npy_read(s->a, path, out);
}

/* ---- sites ---- */

/* "act_mul:3" */
static uint32_t number_of(const char *site)
{
   const char *colon = strchr(site, ':');

   return colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : UINT32_MAX;
}

static sinter_status read_fusions(device_search *s)
{
   const char *path = arena_printf(s->a, "%s/explain.json", s->folder), *text;
   const char *numerics = s->o->numerics ? s->o->numerics : "exact";
   const char *const args[] = {s->sinter, "explain", s->model,  "--numerics",
                               numerics,  "--json",  "--quiet", NULL};
   json *doc;
   size_t len;

   SINTER_TRY(spawn(s, args, NULL, path));
   SINTER_TRY(opt_read(s->a, path, &text, &len));
   SINTER_TRY(json_parse(s->a, text, len, path, &doc));
   const json *all = json_get(doc, "fusions");
   for (size_t i = 0; all && i < all->len; i++) {
      const json *name = json_get(all->items[i], "name"), *n = json_get(all->items[i], "matched");
      const json *declined = json_get(all->items[i], "declined");
      pass_id id = name ? pass_find(name->string, name->len) : PASS_MAX;

      if (id == PASS_MAX || !n || !declined)
         return base_fail(SINTER_failed, path, "Build both programs from one tree.",
                          "sinter explain names a fusion that is not known here");
      fusion f = {id, (uint32_t)n->integer, arena_array(s->a, bool, (size_t)n->integer + 1)};
      for (uint32_t k = 0; k < f.matched; k++)
         f.fired[k] = true;
      for (size_t k = 0; k < declined->len; k++) {
         uint32_t number = number_of(json_get(declined->items[k], "site")->string);
         if (number < f.matched)
            f.fired[number] = false;
      }
      *vec_push(s->a, &s->fusions) = f;
   }
   return SINTER_ok;
}

static bool is_kept(const opt_site *sites, uint32_t n, pass_id pass, uint32_t number)
{
   for (uint32_t i = 0; i < n; i++)
      if (sites[i].pass == pass && sites[i].number == number)
         return true;
   return false;
}

static sinter_status try_sites(void *user, const opt_site *sites, uint32_t n, bool *out_wrong)
{
   device_search *s = user;
   text_buf skip = {.a = s->a};
   npy got;

   for (size_t i = 0; i < s->fusions.count; i++)
      for (uint32_t k = 0; k < s->fusions.data[i].matched; k++)
         if (!is_kept(sites, n, s->fusions.data[i].pass, k))
            text_printf(&skip, "%s%s:%u", skip.len ? "," : "",
                        pass_infos[s->fusions.data[i].pass].name, k);
   SINTER_TRY(run_logits(s, s->o->device, skip.data ? skip.data : "", &got));
   if (got.count != s->want.count)
      return base_fail(SINTER_failed, s->model, "", "the devices give arrays of other sizes");
   s->runs++;
   s->apart = 0;
   for (int64_t i = 0; i < got.count; i++) {
      double d = fabs(got.data[i] - s->want.data[i]) / s->spread;

      if (d <= s->apart)
         continue;
      s->apart = isnan(d) ? INFINITY : d;
      s->row = i / got.dim[1];
      s->id = i % got.dim[1];
      s->got = got.data[i];
      s->asked = s->want.data[i];
   }
   *out_wrong = s->apart > MAX_APART;
   return SINTER_ok;
}

/* ---- the report ---- */

static void report(const device_search *s, const opt_site *sites, uint32_t n)
{
   const opt_site *last = &sites[n - 1];

   if (!s->o->json) {
      printf("%s:%u\n", pass_infos[last->pass].name, last->number);
      for (uint32_t i = 0; i + 1 < n; i++)
         printf("   only together with %s:%u\n", pass_infos[sites[i].pass].name, sites[i].number);
      printf("   its kernels give logits[%lld,%lld] = %.9g, not %.9g: %.3g of the spread apart\n",
             (long long)s->row, (long long)s->id, s->got, s->asked, s->apart);
      return;
   }
   printf(
      "{\"pass\":\"%s\",\"rule\":0,\"site\":\"%s:%u\",\"value\":\"logits\",\"element\":[%lld,%lld],"
      "\"got\":%.9g,\"want\":%.9g,\"with\":[",
      pass_infos[last->pass].name, pass_infos[last->pass].name, last->number, (long long)s->row,
      (long long)s->id, s->got, s->asked);
   for (uint32_t i = 0; i + 1 < n; i++)
      printf("%s\"%s:%u\"", i ? "," : "", pass_infos[sites[i].pass].name, sites[i].number);
   printf("],\"runs\":%u}\n", s->runs);
}

static sinter_status search(device_search *s)
{
   VEC(opt_site) fired = {0};
   double square = 0;
   bool wrong;

   SINTER_TRY(find_sinter(s));
   SINTER_TRY(read_fusions(s));
   SINTER_TRY(run_logits(s, "ref", NULL, &s->want));
   if (s->want.rank != 2 || !s->want.count)
      return base_fail(SINTER_failed, s->model, "", "the interpreter gives no logits");
   for (int64_t i = 0; i < s->want.count; i++)
      square += s->want.data[i] * s->want.data[i];
   s->spread = fmax(sqrt(square / (double)s->want.count), 1e-30);
   for (size_t i = 0; i < s->fusions.count; i++)
      for (uint32_t k = 0; k < s->fusions.data[i].matched; k++)
         if (s->fusions.data[i].fired[k])
            *vec_push(s->a, &fired) = (opt_site){s->fusions.data[i].pass, k};
   SINTER_TRY(try_sites(s, fired.data, (uint32_t)fired.count, &wrong));
   if (!wrong) {
      puts(s->o->json
              ? "{\"pass\":null,\"rule\":null,\"site\":null,\"value\":null,\"element\":null}"
              : "the kernels agree with the interpreter: there is nothing to find");
      return SINTER_ok;
   }
   SINTER_TRY(try_sites(s, NULL, 0, &wrong));
   if (wrong || !fired.count)
      return base_fail(SINTER_failed, s->model,
                       "Run tests/conform: a kernel of a single op is wrong.",
                       "logits[%lld,%lld] is %.9g, not %.9g, without any fusion", (long long)s->row,
                       (long long)s->id, s->got, s->asked);
   uint32_t n = (uint32_t)fired.count;
   SINTER_TRY(opt_fewest(s->a, try_sites, s, fired.data, &n));
   SINTER_TRY(try_sites(s, fired.data, n, &wrong));
   report(s, fired.data, n);
   return SINTER_ok;
}

static void remove_folder(const char *folder)
{
   const char *const args[] = {"rm", "-rf", "--", folder, NULL};
   pid_t child = fork();

   if (child == 0) {
      execvp(args[0], (char *const *)(uintptr_t)args);
      _exit(127);
   }
   if (child > 0)
      (void)waitpid(child, NULL, 0);
}

sinter_status opt_bisect_device(arena *a, const char *model, const opt_options *o)
{
   device_search s = {.a = a, .model = model, .o = o};
   const char *temp = getenv("TMPDIR");
   char *folder = arena_printf(a, "%s/sinter-bisect-XXXXXX", temp && *temp ? temp : "/tmp");

   if (o->load.count || o->skip || o->with || o->without || o->passes)
      return base_fail(SINTER_unsupported, "--bisect --device",
                       "Use --bisect on the function's text for them.",
                       "the default passes are looked at only");
   if (!mkdtemp(folder))
      return base_fail(SINTER_io, folder, "Set TMPDIR.", "no folder can be made: %s",
                       strerror(errno));
   s.folder = folder;
   sinter_status status = search(&s);
   remove_folder(folder);
   return status;
}
