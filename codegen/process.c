/* process.c - one compiler run: text in by a file of its own folder, object out, complaints
 * kept. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target_cpu.h"

extern char **environ;

typedef struct job {
   arena *a;
   const char *const *argv;
   const char *text, *remedy;
   size_t size;
   char folder[256], in[288], out[288], said[288];
} job;

static sinter_status io(const char *where, const char *what)
{
   return base_fail(SINTER_io, where, "check TMPDIR and its free space", "%s: %s", what,
                    strerror(errno));
}

static sinter_status write_text(const job *j)
{
   FILE *f = fopen(j->in, "wb");
   bool ok = f && fwrite(j->text, 1, j->size, f) == j->size;

   if (f && fclose(f) != 0)
      ok = false;
   return ok ? SINTER_ok : io(j->in, "the compiler's input cannot be written");
}

static sinter_status read_all(const char *path, const uint8_t **out, size_t *out_size)
{
   struct stat st;
   FILE *f = fopen(path, "rb");

   if (!f || fstat(fileno(f), &st) != 0) {
      if (f)
         fclose(f);
      return io(path, "the compiler's output cannot be read");
   }
   size_t size = (size_t)st.st_size;
   uint8_t *bytes = malloc(size + 1);
   bool ok = bytes && fread(bytes, 1, size, f) == size;
   fclose(f);
   if (!ok) {
      free(bytes);
      return io(path, "the compiler's output cannot be read");
   }
   bytes[size] = 0;
   *out = bytes;
   *out_size = size;
   return SINTER_ok;
}

static sinter_status judge(const job *j, int code, const char *line)
{
   const char *comma = *line ? ": " : "";

   if (WIFSIGNALED(code))
      return base_fail(
         SINTER_failed, j->argv[0],
         "report this with the model; docs/gpu.md, Compilers, says how to take another",
         "the compiler was ended by signal %d (%s)%s%s", WTERMSIG(code), strsignal(WTERMSIG(code)),
         comma, line);
   if (WEXITSTATUS(code) == CG_EXIT_UNKNOWN)
      return base_fail(SINTER_unsupported, j->argv[0], j->remedy, "%s", line);
   return base_fail(SINTER_failed, j->argv[0], "report this with the model",
                    "generated text does not compile: %s", line);
}

/* The first line with "error" of what the program said, else the first line. */
static sinter_status complain(const job *j, int code)
{
   const uint8_t *text;
   size_t size;
   char line[200];

   SINTER_TRY(read_all(j->said, &text, &size));
   const char *at = strstr((const char *)text, "error"), *start = (const char *)text;
   while (at && at > start && at[-1] != '\n')
      at--;
   at = at ? at : start;
   snprintf(line, sizeof line, "%.*s", (int)MIN(strcspn(at, "\n"), sizeof line - 1), at);
   free((void *)(uintptr_t)text);
   return judge(j, code, line);
}

static sinter_status run(const job *j)
{
   const char *argv[CG_ARG_MAX + 1] = {0};
   posix_spawn_file_actions_t files;
   pid_t pid;
   int code;

   for (int i = 0; i < CG_ARG_MAX && j->argv[i]; i++)
      argv[i] = strcmp(j->argv[i], "@out") == 0  ? "out"
                : strcmp(j->argv[i], "@in") == 0 ? "in"
                                                 : j->argv[i];
   posix_spawn_file_actions_init(&files);
   /* Names that compilers write into objects are the same ones everywhere. */
   posix_spawn_file_actions_addchdir_np(&files, j->folder);
   posix_spawn_file_actions_addopen(&files, 1, j->said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
   posix_spawn_file_actions_adddup2(&files, 1, 2);
   int error = posix_spawnp(&pid, argv[0], &files, NULL, (char **)(uintptr_t)argv, environ);
   posix_spawn_file_actions_destroy(&files);
   if (error)
      return base_fail(SINTER_no_device, argv[0], j->remedy, "the compiler cannot be started: %s",
                       strerror(error));
   while (waitpid(pid, &code, 0) < 0 && errno == EINTR)
      ;
   if (WIFEXITED(code) && WEXITSTATUS(code) == 127)
      return base_fail(SINTER_no_device, argv[0], j->remedy, "there is no such compiler");
   return code ? complain(j, code) : SINTER_ok;
}

static sinter_status dump_said(const job *j, const char *name)
{
   const uint8_t *text;
   size_t size;

   SINTER_TRY(read_all(j->said, &text, &size));
   sinter_status status = cg_dump(name, "resources", text, size);
   free((void *)(uintptr_t)text);
   return status;
}

static sinter_status keep(void *user)
{
   void **what = user;
   arena *a = what[0];
   size_t size = *(size_t *)what[2];

   *(const uint8_t **)what[1] = arena_copy(a, *(const uint8_t **)what[1], size + 1);
   return SINTER_ok;
}

sinter_status cg_run_compiler(arena *a, const char *const *argv, const char *text, size_t size,
                              const char *remedy, const char *dump, const uint8_t **out,
                              size_t *out_size)
{
   job j = {.a = a, .argv = argv, .text = text, .size = size, .remedy = remedy};
   const char *dir = getenv("TMPDIR");

   snprintf(j.folder, sizeof j.folder, "%s/sinter-XXXXXX", dir && *dir ? dir : "/tmp");
   if (!mkdtemp(j.folder))
      return io(j.folder, "no folder for a compiler can be made");
   snprintf(j.in, sizeof j.in, "%s/in", j.folder);
   snprintf(j.out, sizeof j.out, "%s/out", j.folder);
   snprintf(j.said, sizeof j.said, "%s/said", j.folder);
   sinter_status status = write_text(&j);
   if (status == SINTER_ok)
      status = run(&j);
   if (status == SINTER_ok && dump)
      status = dump_said(&j, dump);
   if (status == SINTER_ok)
      status = read_all(j.out, out, out_size);
   unlink(j.in);
   unlink(j.out);
   unlink(j.said);
   rmdir(j.folder);
   if (status != SINTER_ok)
      return status;
   const uint8_t *bytes = *out;
   status = arena_catch(keep, (void *[]){a, out, out_size});
   free((void *)(uintptr_t)bytes);
   return status;
}
