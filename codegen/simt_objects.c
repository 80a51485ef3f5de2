/* simt_objects.c - the text of all kernels as objects: one a kernel, or one for kernels that are
 * the same text, compiled on all cores or taken from where objects are kept by content.
 *
 *    text ─cut─▶ language + kernel ─┬ kept under the digest of compilers and text ─▶ object
 *                                   └ compiled, and kept                          ─▶ object
 *    objects ─▶ a row for each kernel of the plan, then the objects: the code section (base/simt_abi.h)
 *
 * Neither the number of threads nor what was kept shows in the bytes. While SINTER_DUMP is set
 * nothing is taken: the dump shows what compilers say. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/simt_abi.h"
#include "simt.h"
#include "target_cpu.h"

enum { MAX_WORKERS = 64, PATH_BYTES = 4096, ALIGN = 64 };

/* What is compiled at a time. */
typedef struct unit {
   const char *text;
   size_t size;
   digest key; /* what it is kept under */
   const uint8_t *object;
   size_t object_size;
} unit;

typedef struct job {
   const cg_simt_request *q;
   arena *a;
   unit *units;
   uint32_t num_units;
   atomic_uint next, made;
   atomic_bool failed;
} job;

/* Objects lie in the arena of the thread that made them. */
typedef struct worker {
   pthread_t thread;
   job *j;
   arena *a;
   bool reports;
} worker;

/* ---- cutting ---- */

static const char marker[] = "\n#line 1 \"";

/* The next kernel of the text, from its mark on; the end when there is none. Files of kernels/ have
 * marks, too. */
static const char *next_kernel(const char *at)
{
   for (at = strstr(at, marker); at; at = strstr(at + 1, marker))
      if (strncmp(at + strlen(marker), "kernels/", 8) != 0)
         return at + 1;
   return NULL;
}

/* The text of a kernel behind its mark, which names it; false: a text by hand may lack it. */
static bool find_kernel(const text_buf *all, const char *symbol, const char **out, size_t *out_size)
{
   size_t len = strlen(symbol);

   for (const char *at = next_kernel(all->data), *end; at; at = end) {
      end = next_kernel(at);
      const char *name = at + strlen(marker) - 1;
      if (strncmp(name, symbol, len) != 0 || strncmp(name + len, "\"\n", 2) != 0)
         continue;
      *out = name + len + 2;
      *out_size = (size_t)((end ? end : all->data + all->len) - *out);
      return true;
   }
   return false;
}

/* Digest of our build, the compilers of the target, which name it, and the text. */
static digest key_of(const cg_simt_request *q, const text_buf *text)
{
   const char *tools = q->compile->tools ? q->compile->tools : "";
   size_t len = strlen(q->target);
   digest_state s;

   digest_init(&s);
   if (q->compile->build)
      digest_update(&s, q->compile->build, strlen(q->compile->build));
   for (const char *line = tools; *line; line += strcspn(line, "\n"), line += *line == '\n')
      if (strncmp(line, q->target, len) == 0 && line[len] == ' ')
         digest_update(&s, line, strcspn(line, "\n") + 1);
   digest_update(&s, text->data, text->len);
   return digest_final(&s);
}

/* The unit of a kernel, by its number; -1: there is no such kernel. */
static int unit_of(job *j, const text_buf *all, const char *symbol)
{
   text_buf text = {.a = j->a};
   const char *first = next_kernel(all->data), *own;
   size_t size;

   if (!find_kernel(all, symbol, &own, &size))
      return -1;
   text_append(&text, all->data, (size_t)(first - all->data));
   text_printf(&text, "#line 1 \"kernel\"\n");
   text_append(&text, own, size);
   const unit made = {.text = text.data, .size = text.len, .key = key_of(j->q, &text)};
   for (uint32_t i = 0; i < j->num_units; i++)
      if (digest_equal(&j->units[i].key, &made.key))
         return (int)i;
   j->units[j->num_units] = made;
   return (int)j->num_units++;
}

/* ---- keeping ---- */

static bool keeps(const cg_simt_request *q, const unit *u, char path[PATH_BYTES])
{
   char hex[65];

   digest_hex(&u->key, hex);
   return q->compile->kernels_dir &&
          snprintf(path, PATH_BYTES, "%s/%s.kernel", q->compile->kernels_dir, hex) < PATH_BYTES;
}

static bool read_file(const char *path, uint8_t *to, size_t size)
{
   int fd = open(path, O_RDONLY | O_CLOEXEC);
   bool good = fd >= 0 && read(fd, to, size) == (ssize_t)size;

   if (fd >= 0)
      close(fd);
   return good;
}

/* A digest and the object. One that suffered is made again. */
static bool take_kept(arena *a, const char *path, unit *u)
{
   struct stat st;

   if (stat(path, &st) != 0 || st.st_size <= (off_t)sizeof(digest))
      return false;
   uint8_t *bytes = arena_alloc(a, (size_t)st.st_size);
   if (!read_file(path, bytes, (size_t)st.st_size))
      return false;
   u->object_size = (size_t)st.st_size - sizeof(digest);
   digest is = digest_bytes(bytes + sizeof is, u->object_size);
   if (memcmp(&is, bytes, sizeof is) != 0)
      return false;
   u->object = bytes + sizeof is;
   /* It counts as used; a folder that cannot be written forgets that, and nothing else. */
   int ignored = utimensat(AT_FDCWD, path, NULL, 0);
   (void)ignored;
   return true;
}

/* What cannot be kept will be compiled again. */
static void keep(const char *path, const unit *u)
{
   digest is = digest_bytes(u->object, u->object_size);
   char temp[PATH_BYTES + 32];

   snprintf(temp, sizeof temp, "%s.tmp-%d", path, (int)getpid());
   int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
   if (fd < 0)
      return;
   bool good = write(fd, &is, sizeof is) == (ssize_t)sizeof is &&
               write(fd, u->object, u->object_size) == (ssize_t)u->object_size;
   close(fd);
   if (!good || rename(temp, path) != 0)
      unlink(temp);
}

/* ---- compiling ---- */

static sinter_status make_unit(const job *j, arena *a, unit *u)
{
   const cg_simt_request *q = j->q;
   const char *dump = arena_printf(a, "%s.%u", q->target, (unsigned)(u - j->units));
   char path[PATH_BYTES];
   const uint8_t *object;
   bool kept = keeps(q, u, path), shown = getenv("SINTER_DUMP") && *getenv("SINTER_DUMP");

   if (kept && !shown && take_kept(a, path, u))
      return SINTER_ok;
   SINTER_TRY(
      cg_simt_object(a, q->dialect, q->arch, dump, u->text, u->size, &object, &u->object_size));
   u->object = object;
   if (kept)
      keep(path, u);
   return cg_dump(dump, "code", u->object, u->object_size);
}

static sinter_status take_units(void *user)
{
   const worker *w = user;
   job *j = w->j;
   const compiler_request *c = j->q->compile;

   for (uint32_t i;
        (i = atomic_fetch_add(&j->next, 1)) < j->num_units && !atomic_load(&j->failed);) {
      SINTER_TRY(make_unit(j, w->a, &j->units[i]));
      uint32_t made = atomic_fetch_add(&j->made, 1) + 1;
      if (w->reports && c->progress)
         c->progress(c->user, SINTER_STAGE_codegen, made, j->num_units, j->q->target);
   }
   return SINTER_ok;
}

static void *work(void *user)
{
   worker *w = user;

   if (arena_catch(take_units, w) != SINTER_ok)
      atomic_store(&w->j->failed, true);
   return NULL;
}

static uint32_t num_workers(const job *j)
{
   long cores = sysconf(_SC_NPROCESSORS_ONLN);
   uint32_t want = j->q->compile->threads ? j->q->compile->threads : (uint32_t)MAX(cores, 1);

   return MIN(MIN(want, j->num_units), (uint32_t)MAX_WORKERS);
}

/* This thread works, too. What another could not make is made here, or fails here, with a message
 * of this thread. */
static sinter_status make_all(job *j, worker *workers)
{
   uint32_t want = num_workers(j), count = 0;
   worker own = {.j = j, .a = j->a, .reports = true};

   while (count + 1 < want && arena_create(&workers[count].a) == SINTER_ok) {
      workers[count].j = j;
      if (pthread_create(&workers[count].thread, NULL, work, &workers[count]) != 0)
         break;
      count++;
   }
   sinter_status status = arena_catch(take_units, &own);
   if (status != SINTER_ok)
      atomic_store(&j->failed, true);
   while (count)
      pthread_join(workers[--count].thread, NULL);
   for (uint32_t i = 0; status == SINTER_ok && i < j->num_units; i++)
      if (!j->units[i].object)
         status = make_unit(j, j->a, &j->units[i]);
   return status;
}

/* ---- the section ---- */

static void write_section(const job *j, const int *units, uint32_t num_kernels, uint8_t **out,
                          size_t *out_size)
{
   uint64_t *at = arena_array(j->a, uint64_t, j->num_units + 1);

   at[0] = base_align(num_kernels * sizeof(simt_code_row), ALIGN);
   for (uint32_t i = 0; i < j->num_units; i++)
      at[i + 1] = base_align(at[i] + j->units[i].object_size, ALIGN);
   *out_size = at[j->num_units];
   *out = arena_alloc(j->a, *out_size);
   simt_code_row *rows = (simt_code_row *)(void *)*out;
   for (uint32_t i = 0; i < num_kernels; i++)
      if (units[i] >= 0)
         rows[i] = (simt_code_row){at[units[i]], j->units[units[i]].object_size};
   for (uint32_t i = 0; i < j->num_units; i++)
      memcpy(*out + at[i], j->units[i].object, j->units[i].object_size);
}

typedef struct whole {
   job *j;
   worker *workers;
   const int *units;
   uint32_t num_kernels;
   uint8_t *out;
   size_t size;
} whole;

static sinter_status make_section(void *user)
{
   whole *w = user;

   SINTER_TRY(make_all(w->j, w->workers));
   write_section(w->j, w->units, w->num_kernels, &w->out, &w->size);
   return SINTER_ok;
}

sinter_status cg_simt_objects(arena *a, const cg_simt_request *q, const text_buf *text,
                              const cg_kernel *kernels, uint32_t num_kernels, const uint8_t **out,
                              size_t *out_size)
{
   worker workers[MAX_WORKERS] = {0};
   int *units = arena_array(a, int, num_kernels);
   job j = {.q = q, .a = a, .units = arena_array(a, unit, num_kernels)};

   atomic_init(&j.next, 0);
   atomic_init(&j.made, 0);
   atomic_init(&j.failed, false);
   for (uint32_t i = 0; i < num_kernels; i++)
      units[i] = unit_of(&j, text, kernels[i].symbol);
   whole w = {&j, workers, units, num_kernels, NULL, 0};
   sinter_status status = arena_catch(make_section, &w);
   for (uint32_t i = 0; i < MAX_WORKERS; i++)
      if (workers[i].a)
         arena_destroy(workers[i].a);
   *out = w.out;
   *out_size = w.size;
   return status;
}
