// LINK: codegen runtime base
/* The cache under failure: many writers, kill -9, full disk, a folder that cannot be written. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/tiny_artifact.h"
#include "runtime/compile.h"

static char folder[64], model_path[96], cache[96];

static void begin(void)
{
   rt_compiler_replace(&tiny_compiler, "build 1");
   snprintf(folder, sizeof folder, "/tmp/sinter-faults-XXXXXX");
   cr_assert_not_null(mkdtemp(folder));
   snprintf(model_path, sizeof model_path, "%s/model.gguf", folder);
   snprintf(cache, sizeof cache, "%s/cache", folder);
   FILE *f = fopen(model_path, "w");
   cr_assert_not_null(f);
   fputs("30000\n", f);
   fclose(f);
   setenv("SINTER_CACHE", cache, 1);
   unsetenv("SINTER_CACHE_MAX");
}

static void end(void)
{
   char command[256];

   (void)umount2(cache, MNT_DETACH);
   snprintf(command, sizeof command, "rm -rf %s", folder);
   cr_assert_eq(system(command), 0);
}

TestSuite(faults, .init = begin, .fini = end);

static sinter_status compile(sinter_numerics numerics, char path[4096])
{
   sinter_compile_options o = SINTER_INIT(sinter_compile_options);

   o.model = model_path;
   o.targets = "cpu:x86-64-v3";
   o.numerics = numerics;
   o.threads = 2;
   return sinter_compile(&o, path, 4096, NULL);
}

static int count_files(const char *below, const char *pattern)
{
   char command[256];
   int count = -1;

   snprintf(command, sizeof command, "find %s/%s -name '%s' 2>/dev/null | wc -l", cache, below,
            pattern);
   FILE *f = popen(command, "r");
   cr_assert_eq(fscanf(f, "%d", &count), 1);
   pclose(f);
   return count;
}

static void collect(void)
{
   char *json;

   cr_assert_eq(sinter_cache_gc(NULL, (uint64_t)1 << 40, &json), SINTER_ok, "%s", sinter_error());
   sinter_free(json);
}

/* Twelve processes, two keys: everyone gets a whole artifact, each key is compiled once.
 * Kills: writing in place, a name shared by two writers, compiling under a key that another has
 * just made. */
Test(faults, many_writers)
{
   char log[96];
   struct sinter_status_of_children {
      pid_t pid;
   } children[12];

   snprintf(log, sizeof log, "%s/log", folder);
   for (size_t i = 0; i < countof(children); i++) {
      children[i].pid = fork();
      if (children[i].pid == 0) {
         char path[4096];
         sinter_status status = compile(i % 2 ? SINTER_NUMERICS_exact : SINTER_NUMERICS_fast, path);
         _exit(status != SINTER_ok ? 1 : sinter_artifact_verify(path) != SINTER_ok ? 2 : 0);
      }
   }
   for (size_t i = 0; i < countof(children); i++) {
      int status;
      cr_assert_eq(waitpid(children[i].pid, &status, 0), children[i].pid);
      cr_assert_eq(status, 0, "child %zu: %x", i, (unsigned)status);
   }
   cr_assert_eq(count_files("artifacts", "*.sinter"), 2);
   cr_assert_eq(count_files("artifacts", "*.weights"), 1);
   cr_assert_eq(count_files("artifacts", "*.tmp-*"), 0);
}

/* Sits in the middle of a compile, its files half written, until it is killed. */
static sinter_status hang(const compiler_request *request)
{
   char path[4200];

   snprintf(path, sizeof path, "%s/.tmp-half", request->weights_dir);
   int a = open(request->out_path, O_CREAT | O_WRONLY, 0600),
       b = open(path, O_CREAT | O_WRONLY, 0600);
   if (a < 0 || b < 0 || write(a, "SINTERAF", 8) != 8 || write(b, "half", 4) != 4)
      _exit(3);
   for (;;)
      pause();
}

static void kill_one_compile(void)
{
   static compiler_api hanging;
   pid_t child = fork();
   int status;

   if (child == 0) {
      char path[4096];
      hanging = tiny_compiler;
      hanging.compile = hang;
      rt_compiler_replace(&hanging, "build 1");
      _exit(compile(SINTER_NUMERICS_fast, path) == SINTER_ok);
   }
   for (int i = 0; i < 500 && count_files("artifacts/weights", ".tmp-half") < 1; i++)
      usleep(10000);
   usleep(20000);
   cr_assert_eq(kill(child, SIGKILL), 0);
   cr_assert_eq(waitpid(child, &status, 0), child);
}

/* Kills: a lock that outlives its process, orphans that gc does not see. */
Test(faults, kill_nine)
{
   char path[4096];

   kill_one_compile();
   cr_assert_eq(count_files("artifacts", ".tmp-*"), 2);
   cr_assert_eq(count_files("artifacts", "*.sinter"), 0);
   cr_assert_eq(compile(SINTER_NUMERICS_fast, path), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(sinter_artifact_verify(path), SINTER_ok);
   collect();
   cr_assert_eq(count_files("artifacts", ".tmp-*"), 0);
   cr_assert_eq(sinter_artifact_verify(path), SINTER_ok);
}

/* The same with -o, when the file is half written and a marker says so. */
static sinter_status hang_in_file(const compiler_request *request)
{
   char path[160];
   int a = open(request->out_path, O_CREAT | O_WRONLY, 0600);

   snprintf(path, sizeof path, "%s/half", folder);
   if (a < 0 || write(a, "SINTERAF", 8) != 8 || open(path, O_CREAT | O_WRONLY, 0600) < 0)
      _exit(3);
   for (;;)
      pause();
}

/* Kills: a temporary file that outlives a killed `compile -o`. */
Test(faults, kill_nine_of_a_file)
{
   static compiler_api hanging;
   char output[96], half[96], command[256], path[4096];
   int status;

   snprintf(output, sizeof output, "%s/out.sinter", folder);
   snprintf(half, sizeof half, "%s/half", folder);
   pid_t child = fork();
   if (child == 0) {
      sinter_compile_options o = SINTER_INIT(sinter_compile_options);
      hanging = tiny_compiler;
      hanging.compile = hang_in_file;
      rt_compiler_replace(&hanging, "build 1");
      o.model = model_path;
      o.output = output;
      _exit(sinter_compile(&o, path, sizeof path, NULL) == SINTER_ok);
   }
   for (int i = 0; i < 500 && access(half, F_OK) != 0; i++)
      usleep(10000);
   cr_assert_eq(access(half, F_OK), 0);
   cr_assert_eq(kill(child, SIGKILL), 0);
   cr_assert_eq(waitpid(child, &status, 0), child);
   snprintf(command, sizeof command, "test -z \"$(ls %s | grep out.sinter)\"", folder);
   cr_assert_eq(system(command), 0);
}

/* Killed at any moment of a real compile, the cache holds nothing broken. */
Test(faults, kill_anywhere)
{
   char path[4096], *json;
   int status;

   for (int delay = 0; delay < 30000; delay += 1500) {
      pid_t child = fork();
      if (child == 0)
         _exit(compile(SINTER_NUMERICS_fast, path) == SINTER_ok ? 0 : 1);
      usleep((useconds_t)delay);
      kill(child, SIGKILL);
      cr_assert_eq(waitpid(child, &status, 0), child);
      cr_assert_eq(sinter_cache_verify(NULL, &json), SINTER_ok, "%s", sinter_error());
      sinter_free(json);
      if (delay % 4500 == 0)
         cr_assert_eq(system("rm -rf \"$SINTER_CACHE\"/artifacts"), 0);
   }
   cr_assert_eq(compile(SINTER_NUMERICS_fast, path), SINTER_ok, "%s", sinter_error());
   collect();
   cr_assert_eq(count_files("artifacts", ".tmp-*"), 0);
}

static void expect_full(const char *what)
{
   char path[4096];

   cr_assert_eq(compile(SINTER_NUMERICS_fast, path), SINTER_io, "%s", what);
   cr_assert(strstr(sinter_error(), "sinter cache gc"), "%s", sinter_error());
   cr_assert_eq(count_files("artifacts", "*.sinter"), 0);
   cr_assert_eq(count_files("artifacts", "*.weights"), 0);
   cr_assert_eq(count_files("artifacts", "*.tmp-*"), 0);
}

/* Files may not grow past 64 KiB: writing fails half way. */
Test(faults, file_limit)
{
   struct rlimit limit = {65536, 65536};

   signal(SIGXFSZ, SIG_IGN);
   cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
   expect_full("file limit");
}

static bool mount_small(const char *size)
{
   char data[64];

   snprintf(data, sizeof data, "size=%s,mode=700", size);
   return mkdir(cache, 0700) == 0 && mount("tmpfs", cache, "tmpfs", 0, data) == 0;
}

/* A real full disk: a file system of 512 KiB (needs root; else the file limit above is the test).
 */
Test(faults, full_disk)
{
   char path[4096];

   if (!mount_small("512k"))
      cr_skip_test("mounting needs root");
   expect_full("full disk");
   cr_assert_eq(mount("tmpfs", cache, "tmpfs", MS_REMOUNT, "size=8m"), 0);
   cr_assert_eq(compile(SINTER_NUMERICS_fast, path), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(sinter_artifact_verify(path), SINTER_ok);
}

/* Read-only: hits work, and a miss says what to do. Kills: needing to write in order to answer. */
Test(faults, read_only)
{
   char path[4096], again[4096];

   if (!mount_small("8m"))
      cr_skip_test("mounting needs root");
   cr_assert_eq(compile(SINTER_NUMERICS_fast, path), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(mount("tmpfs", cache, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
   cr_assert_eq(compile(SINTER_NUMERICS_fast, again), SINTER_ok, "%s", sinter_error());
   cr_assert_str_eq(path, again);
   cr_assert_eq(sinter_artifact_verify(path), SINTER_ok, "%s", sinter_error());
   cr_assert_eq(compile(SINTER_NUMERICS_exact, again), SINTER_io);
   cr_assert(strstr(sinter_error(), "-o FILE"), "%s", sinter_error());
}
