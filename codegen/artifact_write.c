/* artifact_write.c - lays out an artifact and fills it: small sections from memory, weights by
 * their recipes.
 *
 *    [ header page | manifest vocab template | plan code ir explain per target | sums | weights ]
 *
 * Where sections lie follows from their sizes and digests; weights are packed first, at the place
 * they have if no two targets share them, and move down when they do. */
#include "artifact_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/artifact.h"
#include "base/json.h"
#include "pack_weights.h"

/* Bytes of one section on their way to the file; data NULL: weights, already there. */
typedef struct part {
   const uint8_t *data;
   size_t size;
} part;

typedef struct writer {
   const compiler_request *request;
   const model *m;
   const cg_artifact_target *targets;
   uint32_t num_targets;
   const char *llvm_version;
   arena *a;
   int fd;
   artifact_toc toc;
   part parts[ARTIFACT_MAX_SECTIONS];
} writer;

/* The artifact's name in messages. */
static const char *name_of(const compiler_request *r)
{
   return r->out_name ? r->out_name : r->out_path;
}

static sinter_status io_error(const char *where, const char *what)
{
   int error = errno;

   return base_fail(SINTER_io, where,
                    error == ENOSPC || error == EFBIG
                       ? "free some space, e.g. with `sinter cache gc`"
                       : "check the folder and its permissions",
                    "%s: %s", what, strerror(error));
}

static sinter_status write_at(const writer *w, const void *data, size_t size, uint64_t at)
{
   const uint8_t *p = data;

   while (size) {
      ssize_t n = pwrite(w->fd, p, size, (off_t)at);
      if (n < 0 && errno == EINTR)
         continue;
      if (n <= 0)
         return io_error(name_of(w->request), "the artifact cannot be written");
      p += n;
      at += (uint64_t)n;
      size -= (size_t)n;
   }
   return SINTER_ok;
}

/* Reserves the bytes, so that a full disk is found before the work is done. */
static sinter_status reserve(int fd, uint64_t size, const char *where)
{
   if (size && fallocate(fd, 0, 0, (off_t)size) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
      return io_error(where, "there is no room for the artifact");
   if (ftruncate(fd, (off_t)size) != 0)
      return io_error(where, "the artifact cannot be written");
   return SINTER_ok;
}

enum { HUGE_PAGES_PART = 32 << 20 };

/* Has the file's pages made huge ones while there are none yet, where the file system can: steps
 * walk through all weights, and where pages of 4 KiB come to lie differs from file to file, by
 * several percent of their speed. What is written later goes into these pages. Only speed depends
 * on it. A part at a time: what is mapped counts as memory of the compiler's. */
static void ask_huge_pages(int fd, uint64_t size)
{
   for (uint64_t at = 0; at < size; at += HUGE_PAGES_PART) {
      uint64_t bytes = MIN(size - at, (uint64_t)HUGE_PAGES_PART);
      void *pages = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)at);

      if (pages == MAP_FAILED)
         return;
      if (madvise(pages, bytes, MADV_HUGEPAGE) == 0)
         (void)madvise(pages, bytes, MADV_POPULATE_READ);
      munmap(pages, bytes);
   }
}

/* ---- sections ---- */

static sinter_status add(writer *w, artifact_section_id id, uint32_t target, const void *data,
                         size_t size)
{
   if (w->toc.num_sections == ARTIFACT_MAX_SECTIONS)
      return base_fail(SINTER_unsupported, "--target", "name fewer targets",
                       "an artifact cannot hold so many");
   uint32_t i = w->toc.num_sections++;
   w->parts[i] = (part){data, size};
   w->toc.sections[i] = (artifact_section){.id = id, .target = target, .size = size};
   if (data)
      w->toc.sections[i].digest = digest_bytes(data, size);
   return SINTER_ok;
}

/* NULL text is left out. */
static sinter_status add_text(writer *w, artifact_section_id id, uint32_t target, const char *text)
{
   return text ? add(w, id, target, text, strlen(text) + 1) : SINTER_ok;
}

static const char *manifest(const writer *w)
{
   const plan_model *m = &w->targets[0].plan->model;
   text_buf t = {.a = w->a};

   text_printf(&t, "{\"format\":%d,\"kernel_abi\":%d,\"made_by\":", ARTIFACT_VERSION, KARGS_ABI);
   json_write_string(&t, sinter_version(), strlen(sinter_version()));
   text_printf(&t, ",\"llvm\":");
   json_write_string(&t, w->llvm_version, strlen(w->llvm_version));
   text_printf(
      &t, ",\"licences\":{\"generated code\":\"Apache-2.0\",\"weights\":\"as the checkpoint's\"}");
   text_printf(&t, ",\"model\":{\"name\":");
   json_write_string(&t, m->name, strlen(m->name));
   text_printf(&t, ",\"family\":");
   json_write_string(&t, m->family, strlen(m->family));
   text_printf(&t, "},\"targets\":[");
   for (uint32_t i = 0; i < w->num_targets && !w->targets[i].plan->model.tower; i++) {
      const char *target = w->targets[i].plan->target;
      text_printf(&t, i ? "," : "");
      json_write_string(&t, target, strlen(target));
   }
   text_printf(&t, "],\"key\":%s}", w->request->key_json ? w->request->key_json : "null");
   return t.data;
}

static sinter_status add_plan(writer *w, uint32_t target)
{
   const plan *p = w->targets[target].plan;
   const uint8_t *bytes;
   size_t size;
   plan *again;

   plan_encode(w->a, p, &bytes, &size);
   /* What the runtime would decline must not be written. */
   SINTER_TRY_IN("compiled plan", plan_decode(w->a, bytes, size, p->weight_bytes, &again));
   return add(w, ARTIFACT_plan, target, bytes, size);
}

static sinter_status add_section(writer *w, artifact_section_id id, uint32_t t)
{
   const cg_artifact_target *target = &w->targets[t];
   const model *m = w->m;

   switch (id) {
   case ARTIFACT_manifest: return add_text(w, id, t, manifest(w));
   case ARTIFACT_vocab:
      return m->vocab_blob ? add(w, id, t, m->vocab_blob, m->vocab_size) : SINTER_ok;
   case ARTIFACT_template: return add_text(w, id, t, m->chat_template);
   case ARTIFACT_plan: return add_plan(w, t);
   case ARTIFACT_code:
      return target->code ? add(w, id, t, target->code, target->code_size) : SINTER_ok;
   case ARTIFACT_ir: return add_text(w, id, t, target->ir);
   case ARTIFACT_explain: return add_text(w, id, t, target->explain);
   case ARTIFACT_sums: {
      size_t size = artifact_chunks(target->plan->weight_bytes) * sizeof(uint64_t);
      return add(w, id, t, arena_alloc(w->a, size), size);
   }
   case ARTIFACT_weights: return add(w, id, t, NULL, target->plan->weight_bytes);
   case ARTIFACT_SECTION_COUNT: break;
   }
   return SINTER_ok;
}

static sinter_status add_sections(writer *w)
{
   for (int id = 0; id < ARTIFACT_SECTION_COUNT; id++) {
      uint32_t count = artifact_section_infos[id].per_target ? w->num_targets : 1;
      for (uint32_t t = 0; t < count; t++)
         SINTER_TRY(add_section(w, (artifact_section_id)id, t));
   }
   return SINTER_ok;
}

/* ---- weights ---- */

static uint32_t index_of(const writer *w, artifact_section_id id, uint32_t target)
{
   return (uint32_t)(artifact_find(&w->toc, id, target) - w->toc.sections);
}

/* Packs the weights of one target into fd at base, and fills its checksums and digest. */
static sinter_status pack(writer *w, uint32_t target, int fd, uint64_t base, const char *where)
{
   uint32_t sums = index_of(w, ARTIFACT_sums, target),
            weights = index_of(w, ARTIFACT_weights, target);
   uint64_t *table = (uint64_t *)(uintptr_t)w->parts[sums].data;

   SINTER_TRY(cg_pack_weights(w->request, w->a, w->targets[target].m, w->targets[target].plan, fd,
                              base, where, table, &w->toc.sections[weights].digest));
   w->toc.sections[sums].digest = digest_bytes(table, w->parts[sums].size);
   return SINTER_ok;
}

static sinter_status pack_to(writer *w, uint32_t target, int fd, const char *temp)
{
   char name[80], path[4096];
   uint32_t weights = index_of(w, ARTIFACT_weights, target);

   SINTER_TRY(reserve(fd, w->targets[target].plan->weight_bytes, temp));
   ask_huge_pages(fd, w->targets[target].plan->weight_bytes);
   SINTER_TRY(pack(w, target, fd, 0, temp));
   if (fsync(fd) != 0)
      return io_error(temp, "the weights cannot be written");
   artifact_weights_name(&w->toc.sections[weights].digest, name);
   snprintf(path, sizeof path, "%s/%s", w->request->weights_dir, name);
   if (rename(temp, path) != 0)
      return io_error(path, "the weights cannot be put in place");
   return SINTER_ok;
}

/* Packs into a file of their own, named by their digest. One that is there already is replaced: its
 * bytes may have suffered since. */
static sinter_status pack_external(writer *w, uint32_t target)
{
   char temp[4096];

   snprintf(temp, sizeof temp, "%s/.tmp-%d-%u-%p", w->request->weights_dir, (int)getpid(), target,
            (void *)w);
   int fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
   if (fd < 0)
      return io_error(temp, "the weights cannot be written");
   sinter_status status = pack_to(w, target, fd, temp);
   close(fd);
   if (status != SINTER_ok)
      unlink(temp);
   return status;
}

/* Moves weights to where sharing lets them lie, which is never up. */
static sinter_status move_down(const writer *w, const artifact_toc *before)
{
   uint8_t *buffer = arena_alloc(w->a, ARTIFACT_CHUNK);

   for (uint32_t i = 0; i < w->toc.num_sections; i++) {
      uint64_t from = before->sections[i].offset, to = w->toc.sections[i].offset;
      if (w->toc.sections[i].id != ARTIFACT_weights || from == to)
         continue;
      for (uint64_t at = 0; at < w->toc.sections[i].size; at += ARTIFACT_CHUNK) {
         size_t size = (size_t)MIN(w->toc.sections[i].size - at, (uint64_t)ARTIFACT_CHUNK);
         if (pread(w->fd, buffer, size, (off_t)(from + at)) != (ssize_t)size)
            return io_error(name_of(w->request), "the artifact cannot be read back");
         SINTER_TRY(write_at(w, buffer, size, to + at));
      }
   }
   return SINTER_ok;
}

static sinter_status pack_all(writer *w)
{
   bool external = w->request->weights_dir != NULL;
   artifact_toc before;

   for (uint32_t t = 0; external && t < w->num_targets; t++) {
      w->toc.sections[index_of(w, ARTIFACT_weights, t)].external = true;
      SINTER_TRY(pack_external(w, t));
   }
   /* Digests that differ keep equal targets apart until their weights are known. */
   for (uint32_t t = 0; !external && t < w->num_targets; t++) {
      w->toc.sections[index_of(w, ARTIFACT_weights, t)].digest.bytes[0] = (uint8_t)t;
      w->toc.sections[index_of(w, ARTIFACT_sums, t)].digest = (digest){.bytes = {(uint8_t)t}};
   }
   artifact_place(&w->toc);
   before = w->toc;
   SINTER_TRY(reserve(w->fd, w->toc.file_size, name_of(w->request)));
   if (!external)
      ask_huge_pages(w->fd, w->toc.file_size);
   for (uint32_t t = 0; !external && t < w->num_targets; t++)
      SINTER_TRY(pack(w, t, w->fd, before.sections[index_of(w, ARTIFACT_weights, t)].offset,
                      name_of(w->request)));
   artifact_place(&w->toc);
   return external ? SINTER_ok : move_down(w, &before);
}

/* ---- the file ---- */

/* Bytes that weights left behind when they moved down are cleared. */
static sinter_status clear_gaps(const writer *w)
{
   static const uint8_t zeros[ARTIFACT_PAGE];
   uint64_t at = ARTIFACT_PAGE;

   for (uint32_t i = 0; i < w->toc.num_sections; i++) {
      const artifact_section *s = &w->toc.sections[i];
      if (s->external || s->offset < at)
         continue;
      SINTER_TRY(write_at(w, zeros, (size_t)(s->offset - at), at));
      at = s->offset + s->size;
   }
   return SINTER_ok;
}

static sinter_status write_file(void *user)
{
   writer *w = user;
   uint8_t page[ARTIFACT_PAGE];

   SINTER_TRY(add_sections(w));
   SINTER_TRY(pack_all(w));
   SINTER_TRY(clear_gaps(w));
   for (uint32_t i = 0; i < w->toc.num_sections; i++)
      if (w->parts[i].data)
         SINTER_TRY(write_at(w, w->parts[i].data, w->parts[i].size, w->toc.sections[i].offset));
   artifact_encode(&w->toc, page);
   SINTER_TRY(write_at(w, page, sizeof page, 0));
   if (ftruncate(w->fd, (off_t)w->toc.file_size) != 0 || fsync(w->fd) != 0)
      return io_error(name_of(w->request), "the artifact cannot be written");
   return SINTER_ok;
}

sinter_status cg_artifact_write(const compiler_request *request, const model *m,
                                const cg_artifact_target *targets, uint32_t num_targets,
                                const char *llvm_version)
{
   writer w = {.request = request,
               .m = m,
               .targets = targets,
               .num_targets = num_targets,
               .llvm_version = llvm_version,
               .toc.num_targets = num_targets};

   assert(num_targets >= 1 && num_targets <= ARTIFACT_MAX_TARGETS);
   SINTER_TRY(arena_create(&w.a));
   w.fd = open(request->out_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
   sinter_status status = w.fd < 0 ? io_error(name_of(request), "the artifact cannot be written")
                                   : arena_catch(write_file, &w);
   if (w.fd >= 0)
      close(w.fd);
   if (status != SINTER_ok && w.fd >= 0)
      unlink(request->out_path);
   arena_destroy(w.a);
   return status;
}
